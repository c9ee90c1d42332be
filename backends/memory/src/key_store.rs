//! Where the vault's keys are.

use std::ops::Bound;

use async_trait::async_trait;
use rekindle_core::Result;
use rekindle_core::store::KeyStore;
use rekindle_core::types::{KeyId, KeyRow, LogId, Page, Subject};

use crate::MemoryBackend;

#[async_trait]
impl KeyStore for MemoryBackend {
    async fn keys(&self, log: &LogId, subjects: &[Subject]) -> Result<Vec<Option<KeyRow>>> {
        let state = self.state();
        let of_log = state.log(log);
        Ok(subjects.iter().map(|subject| of_log.and_then(|log| log.keys.get(subject).cloned())).collect())
    }

    async fn keys_by_id(&self, log: &LogId, ids: &[KeyId]) -> Result<Vec<Option<KeyRow>>> {
        let state = self.state();
        let of_log = state.log(log);
        let row = |id: &KeyId| of_log.and_then(|log| log.keys.get(log.key_ids.get(id)?).cloned());
        Ok(ids.iter().map(row).collect())
    }

    async fn list_keys(&self, log: &LogId, after: Option<&Subject>, limit: usize) -> Result<Page<KeyRow, Subject>> {
        let limit = limit.min(self.config.limits.page_rows);
        let state = self.state();
        let (Some(log), true) = (state.log(log), limit > 0) else { return Ok(Page::empty()) };
        let bound = after.map_or(Bound::Unbounded, Bound::Excluded);
        let items: Vec<KeyRow> =
            log.keys.range((bound, Bound::Unbounded)).take(limit).map(|(_, row)| row.clone()).collect();
        let next = items.last().filter(|_| items.len() == limit).map(|row| row.subject.clone());
        Ok(Page { items, next })
    }

    async fn logs_with_keys(&self) -> Result<Vec<LogId>> {
        Ok(self.state().logs().filter(|(_, log)| !log.keys.is_empty()).map(|(id, _)| id.clone()).collect())
    }
}
