//! The faults of the keys.

use async_trait::async_trait;
use rekindle_core::Result;
use rekindle_core::store::{EventStore, KeyStore};
use rekindle_core::types::{Commit, KeyId, KeyRow, LogId, Page, Subject};

use super::{Fault, Faulty};

impl Faulty {
    fn keys_of_inner(&self) -> &dyn KeyStore {
        self.inner.key_store().unwrap()
    }

    /// Notes rows that are written over for the first time.
    pub(super) async fn remember_keys(&self, commit: &Commit) {
        if !self.has(Fault::DestroyedKeysComeBack) {
            return;
        }
        for write in &commit.keys {
            let subject = write.row.subject.clone();
            let rows = self.keys_of_inner().keys(&commit.log, std::slice::from_ref(&subject)).await;
            if let Some(row) = rows.unwrap().pop().flatten() {
                self.memory().first_keys.entry((commit.log.clone(), subject)).or_insert(row);
            }
        }
    }
}

#[async_trait]
impl KeyStore for Faulty {
    async fn keys(&self, log: &LogId, subjects: &[Subject]) -> Result<Vec<Option<KeyRow>>> {
        self.keys_of_inner().keys(log, subjects).await
    }

    async fn keys_by_id(&self, log: &LogId, ids: &[KeyId]) -> Result<Vec<Option<KeyRow>>> {
        let rows = self.keys_of_inner().keys_by_id(log, ids).await?;
        let memory = self.memory();
        let first = |row: KeyRow| memory.first_keys.get(&(log.clone(), row.subject.clone())).cloned().unwrap_or(row);
        Ok(rows.into_iter().map(|row| row.map(first)).collect())
    }

    async fn list_keys(&self, log: &LogId, after: Option<&Subject>, limit: usize) -> Result<Page<KeyRow, Subject>> {
        self.keys_of_inner().list_keys(log, after, limit).await
    }

    async fn logs_with_keys(&self) -> Result<Vec<LogId>> {
        self.keys_of_inner().logs_with_keys().await
    }
}
