//! A store as the engine reads it: pages come opened, and what is loaded is sealed.

use std::sync::Arc;

use async_trait::async_trait;

use super::sealer::Sealer;
use crate::error::Result;
use crate::store::{EventStore, Fence, Head, KeyStore, LoadedRecord, Rebuild, RebuildMode, ResourceStore, StoreInfo};
use crate::types::{
    Commit, Committed, Event, EventQuery, Identity, Json, LockKey, LogId, Page, Position, Record, RecordCursor,
    RecordKey, RecordQuery,
};

/// Events, opened. Commits are handed on as they are: they were sealed before.
pub(crate) struct OpenedEvents {
    pub(crate) inner: Arc<dyn EventStore>,
    pub(crate) sealer: Arc<Sealer>,
    /// Whether the metadata is opened, too.
    pub(crate) metadata: bool,
}

#[async_trait]
impl EventStore for OpenedEvents {
    fn info(&self) -> StoreInfo {
        self.inner.info()
    }

    fn key_store(&self) -> Option<&dyn KeyStore> {
        self.inner.key_store()
    }

    async fn commit(&self, batch: Arc<[Commit]>) -> Vec<Result<Committed>> {
        self.inner.commit(batch).await
    }

    async fn read(&self, log: &LogId, query: &EventQuery) -> Result<Page<Event, Position>> {
        let Page { items, next } = self.inner.read(log, query).await?;
        Ok(Page { items: self.sealer.open_events(log, items, self.metadata).await?, next })
    }

    async fn head(&self, log: &LogId) -> Result<Head> {
        self.inner.head(log).await
    }

    async fn changed(&self, log: &LogId, after: Position) -> Result<()> {
        self.inner.changed(log, after).await
    }
}

/// Records, opened.
pub(crate) struct OpenedRecords {
    pub(crate) inner: Arc<dyn ResourceStore>,
    pub(crate) sealer: Arc<Sealer>,
}

impl OpenedRecords {
    /// Opens attributes where they are.
    async fn open<'a>(
        &self,
        log: &LogId,
        records: impl Iterator<Item = (&'a RecordKey, &'a mut Json)> + Send,
    ) -> Result<()> {
        let (mut places, mut copies) = (Vec::new(), Vec::new());
        for (key, attributes) in records {
            copies.push((key.clone(), attributes.clone()));
            places.push(attributes);
        }
        self.sealer.open_records(log, copies.iter_mut().collect()).await?;
        for (place, (_, opened)) in places.into_iter().zip(copies) {
            *place = opened;
        }
        Ok(())
    }
}

#[async_trait]
impl ResourceStore for OpenedRecords {
    async fn get(&self, log: &LogId, keys: &[RecordKey]) -> Result<Vec<Option<Record>>> {
        let mut records = self.inner.get(log, keys).await?;
        let found = records.iter_mut().flatten().map(|record| (&record.key, &mut record.attributes));
        self.open(log, found).await?;
        Ok(records)
    }

    async fn list(&self, log: &LogId, query: &RecordQuery) -> Result<Page<Record, RecordCursor>> {
        let mut page = self.inner.list(log, query).await?;
        self.open(log, page.items.iter_mut().map(|record| (&record.key, &mut record.attributes))).await?;
        Ok(page)
    }

    async fn find(&self, log: &LogId, identity: &Identity) -> Result<Option<Record>> {
        let stored = self.sealer.hash_identity(log, identity).await?;
        let Some(mut record) = self.inner.find(log, &stored).await? else { return Ok(None) };
        self.sealer.open_record(log, &mut record).await?;
        // A hash says nothing of the record that it leads to.
        Ok((stored == *identity || self.sealer.owns(&record, identity)?).then_some(record))
    }

    async fn begin_rebuild(&self, log: &LogId, lock: LockKey, mode: RebuildMode) -> Result<Rebuild> {
        self.inner.begin_rebuild(log, lock, mode).await
    }

    async fn loaded(&self, rebuild: &Rebuild, keys: &[RecordKey]) -> Result<Vec<Option<LoadedRecord>>> {
        let mut records = self.inner.loaded(rebuild, keys).await?;
        let found = records.iter_mut().flatten().filter_map(|record| {
            let LoadedRecord { key, state, .. } = record;
            state.as_mut().map(|state| (&*key, &mut state.attributes))
        });
        self.open(rebuild.log(), found).await?;
        Ok(records)
    }

    async fn load(&self, rebuild: &Rebuild, records: Vec<LoadedRecord>) -> Result<()> {
        let sealed = self.sealer.seal_records(rebuild.log(), records).await?;
        self.inner.load(rebuild, sealed).await
    }

    async fn fence(&self, rebuild: &Rebuild) -> Result<Fence> {
        self.inner.fence(rebuild).await
    }

    async fn finish_rebuild(&self, rebuild: Rebuild, fence: Fence, through: Position) -> Result<()> {
        self.inner.finish_rebuild(rebuild, fence, through).await
    }

    async fn abandon_rebuild(&self, rebuild: Rebuild) -> Result<()> {
        self.inner.abandon_rebuild(rebuild).await
    }

    async fn clear(&self, log: &LogId, lock: LockKey) -> Result<u64> {
        self.inner.clear(log, lock).await
    }
}
