//! The faults of the records and of rebuilds.

use async_trait::async_trait;
use rekindle_core::Result;
use rekindle_core::store::{Fence, LoadedRecord, Rebuild, RebuildMode, ResourceStore, ResourceStoreExt};
use rekindle_core::types::{
    Identity, LockKey, LogId, Page, Position, Record, RecordCursor, RecordKey, RecordQuery, Revision, WriteState,
};

use super::{Fault, Faulty};

impl Faulty {
    /// A record as this store shows it.
    fn shown(&self, log: &LogId, mut record: Record) -> Record {
        let memory = self.memory();
        let key = (log.clone(), record.key.clone());
        if let Some(early) = memory.early.get(&key) {
            return early.clone();
        }
        let base = memory.destroyed.get(&key).copied().unwrap_or(0);
        record.revision = Revision::new(record.revision.get() - base);
        record
    }
}

#[async_trait]
impl ResourceStore for Faulty {
    async fn get(&self, log: &LogId, keys: &[RecordKey]) -> Result<Vec<Option<Record>>> {
        let mut keys = keys.to_vec();
        if self.has(Fault::KeysSorted) {
            keys.sort();
        }
        let found = self.inner.get(log, &keys).await?;
        Ok(found.into_iter().map(|record| record.map(|record| self.shown(log, record))).collect())
    }

    async fn list(&self, log: &LogId, query: &RecordQuery) -> Result<Page<Record, RecordCursor>> {
        let mut page = self.inner.list(log, query).await?;
        if let (Some(cursor), true) = (&query.cursor, self.has(Fault::RecordCursorInclusive) && query.limit > 0) {
            let text = cursor.to_string();
            let (_, key) = text.split_once('.').unwrap();
            let (resource, id) = key.split_once('/').unwrap();
            let last = self.inner.get_one(log, &RecordKey::new(resource, id).unwrap()).await?;
            page.items = last.into_iter().chain(page.items).take(query.limit).collect();
        }
        page.items.retain(|record| !self.memory().unlisted.contains(&(log.clone(), record.key.clone())));
        page.items = page.items.into_iter().map(|record| self.shown(log, record)).collect();
        Ok(page)
    }

    async fn find(&self, log: &LogId, identity: &Identity) -> Result<Option<Record>> {
        Ok(self.inner.find(log, identity).await?.map(|record| self.shown(log, record)))
    }

    async fn begin_rebuild(&self, log: &LogId, lock: LockKey, mode: RebuildMode) -> Result<Rebuild> {
        let lock = if self.has(Fault::FenceNotExclusive) { LockKey::Two(i32::MIN, 7) } else { lock };
        self.inner.begin_rebuild(log, lock, mode).await
    }

    async fn loaded(&self, rebuild: &Rebuild, keys: &[RecordKey]) -> Result<Vec<Option<LoadedRecord>>> {
        self.inner.loaded(rebuild, keys).await
    }

    async fn load(&self, rebuild: &Rebuild, mut records: Vec<LoadedRecord>) -> Result<()> {
        if self.has(Fault::TombstonesNotLoaded) {
            records.retain(|record| record.state.is_some());
        }
        if self.has(Fault::SwappedTooEarly) {
            for LoadedRecord { key, revision, state } in records.clone() {
                let Some(state) = state else { continue };
                let record =
                    Record { key: key.clone(), revision, attributes: state.attributes, identities: state.identities };
                self.memory().early.insert((rebuild.log().clone(), key), record);
            }
        }
        self.inner.load(rebuild, records).await
    }

    async fn fence(&self, rebuild: &Rebuild) -> Result<Fence> {
        self.inner.fence(rebuild).await
    }

    async fn finish_rebuild(&self, rebuild: Rebuild, fence: Fence, through: Position) -> Result<()> {
        self.memory().early.clear();
        if self.has(Fault::OldGenerationKept) {
            let old = self.inner.list(rebuild.log(), &RecordQuery::new("suite.item".parse().unwrap())).await?.items;
            for Record { key, revision, attributes, identities } in old {
                if self.inner.loaded(&rebuild, std::slice::from_ref(&key)).await? == [None] {
                    let state = Some(WriteState { attributes, identities });
                    self.inner.load(&rebuild, vec![LoadedRecord { key, revision, state }]).await?;
                }
            }
        }
        self.inner.finish_rebuild(rebuild, fence, through).await
    }

    async fn abandon_rebuild(&self, rebuild: Rebuild) -> Result<()> {
        self.inner.abandon_rebuild(rebuild).await
    }

    async fn clear(&self, log: &LogId, lock: LockKey) -> Result<u64> {
        if self.has(Fault::ClearTooWide) {
            let others: Vec<(LogId, LockKey)> =
                self.memory().logs.clone().into_iter().filter(|(other, _)| other != log).collect();
            for (other, lock) in others {
                self.inner.clear(&other, lock).await?;
            }
        }
        self.memory().cleared.insert(log.clone());
        self.inner.clear(log, lock).await
    }
}
