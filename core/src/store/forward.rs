//! `Arc<S>` and `Box<S>` are stores where `S` is: every method is handed on.

use std::sync::Arc;

use async_trait::async_trait;

use super::{EventStore, Fence, Head, KeyStore, LoadedRecord, Rebuild, RebuildMode, ResourceStore, StoreInfo};
use crate::error::Result;
use crate::types::{
    Commit, Committed, Event, EventQuery, Identity, LockKey, LogId, Page, Position, Record, RecordCursor, RecordKey,
    RecordQuery,
};

macro_rules! forward {
    ($($pointer:ident)*) => {$(
        #[async_trait]
        #[deny(clippy::missing_trait_methods)]
        impl<S: EventStore + ?Sized> EventStore for $pointer<S> {
            fn info(&self) -> StoreInfo {
                (**self).info()
            }
            fn key_store(&self) -> Option<&dyn KeyStore> {
                (**self).key_store()
            }
            async fn commit(&self, batch: Arc<[Commit]>) -> Vec<Result<Committed>> {
                (**self).commit(batch).await
            }
            async fn read(&self, log: &LogId, query: &EventQuery) -> Result<Page<Event, Position>> {
                (**self).read(log, query).await
            }
            async fn head(&self, log: &LogId) -> Result<Head> {
                (**self).head(log).await
            }
            async fn changed(&self, log: &LogId, after: Position) -> Result<()> {
                (**self).changed(log, after).await
            }
        }

        #[async_trait]
        #[deny(clippy::missing_trait_methods)]
        impl<S: ResourceStore + ?Sized> ResourceStore for $pointer<S> {
            async fn get(&self, log: &LogId, keys: &[RecordKey]) -> Result<Vec<Option<Record>>> {
                (**self).get(log, keys).await
            }
            async fn list(&self, log: &LogId, query: &RecordQuery) -> Result<Page<Record, RecordCursor>> {
                (**self).list(log, query).await
            }
            async fn find(&self, log: &LogId, identity: &Identity) -> Result<Option<Record>> {
                (**self).find(log, identity).await
            }
            async fn begin_rebuild(&self, log: &LogId, lock: LockKey, mode: RebuildMode) -> Result<Rebuild> {
                (**self).begin_rebuild(log, lock, mode).await
            }
            async fn loaded(&self, rebuild: &Rebuild, keys: &[RecordKey]) -> Result<Vec<Option<LoadedRecord>>> {
                (**self).loaded(rebuild, keys).await
            }
            async fn load(&self, rebuild: &Rebuild, records: Vec<LoadedRecord>) -> Result<()> {
                (**self).load(rebuild, records).await
            }
            async fn fence(&self, rebuild: &Rebuild) -> Result<Fence> {
                (**self).fence(rebuild).await
            }
            async fn finish_rebuild(&self, rebuild: Rebuild, fence: Fence, through: Position) -> Result<()> {
                (**self).finish_rebuild(rebuild, fence, through).await
            }
            async fn abandon_rebuild(&self, rebuild: Rebuild) -> Result<()> {
                (**self).abandon_rebuild(rebuild).await
            }
            async fn clear(&self, log: &LogId, lock: LockKey) -> Result<u64> {
                (**self).clear(log, lock).await
            }
        }
    )*};
}

forward!(Arc Box);
