//! Where the vault's keys are.

use async_trait::async_trait;
use rekindle_core::store::KeyStore;
use rekindle_core::types::{KeyId, KeyRow, LogId, Page, Subject};
use rekindle_core::{Error, Result};

use crate::SledBackend;
use crate::keys;
use crate::rows;
use crate::store::Store;

impl Store {
    fn keys_of(&self, log: &LogId, subjects: &[Subject]) -> Result<Vec<Option<KeyRow>>> {
        let Some((number, _)) = self.log(log)? else { return Ok(vec![None; subjects.len()]) };
        subjects.iter().map(|subject| self.keys(number, subject)).collect()
    }

    fn keys_by_id(&self, log: &LogId, ids: &[KeyId]) -> Result<Vec<Option<KeyRow>>> {
        let Some((number, _)) = self.log(log)? else { return Ok(vec![None; ids.len()]) };
        let find = |id: &KeyId| {
            let Some(subject) = self.row(&keys::key_id(number, id))? else { return Ok(None) };
            let subject = rows::subject(&subject).map_err(|e| e.at(format!("the key {id}")))?;
            match self.keys(number, &subject)? {
                Some(row) => Ok(Some(row)),
                None => Err(Error::corrupt(format!("the key {id} is one of {subject}, which has none"))),
            }
        };
        ids.iter().map(find).collect()
    }

    fn list_keys(&self, log: &LogId, after: Option<&Subject>, limit: usize) -> Result<Vec<KeyRow>> {
        let Some((number, _)) = self.log(log)? else { return Ok(Vec::new()) };
        let rows = self.rows(keys::subjects(number, after)).take(limit);
        rows.map(|row| row.and_then(|(key, row)| rows::decode_keys(&row, &rows::subject(&key[5..])?))).collect()
    }

    fn logs_with_keys(&self) -> Result<Vec<LogId>> {
        let mut logs = Vec::new();
        for row in self.rows(keys::logs()) {
            let (key, _) = row?;
            let (name, tenant) = keys::log_of(&key).ok_or_else(|| Error::corrupt("the key of a log is damaged"))?;
            let log = LogId::new(name)?;
            let log = if tenant.is_empty() { log } else { log.with_tenant(tenant)? };
            if !self.list_keys(&log, None, 1)?.is_empty() {
                logs.push(log);
            }
        }
        logs.sort_unstable();
        Ok(logs)
    }
}

#[async_trait]
impl KeyStore for SledBackend {
    async fn keys(&self, log: &LogId, subjects: &[Subject]) -> Result<Vec<Option<KeyRow>>> {
        let (log, subjects) = (log.clone(), subjects.to_vec());
        self.blocking(move |store| {
            let _one_state = store.one_state()?;
            store.keys_of(&log, &subjects)
        })
        .await
    }

    async fn keys_by_id(&self, log: &LogId, ids: &[KeyId]) -> Result<Vec<Option<KeyRow>>> {
        let (log, ids) = (log.clone(), ids.to_vec());
        self.blocking(move |store| {
            let _one_state = store.one_state()?;
            store.keys_by_id(&log, &ids)
        })
        .await
    }

    async fn list_keys(&self, log: &LogId, after: Option<&Subject>, limit: usize) -> Result<Page<KeyRow, Subject>> {
        let limit = limit.min(self.store.config.limits.page_rows);
        if limit == 0 {
            return Ok(Page::empty());
        }
        let (log, after) = (log.clone(), after.cloned());
        let items = self
            .blocking(move |store| {
                let _one_state = store.one_state()?;
                store.list_keys(&log, after.as_ref(), limit)
            })
            .await?;
        let next = items.last().filter(|_| items.len() == limit).map(|row| row.subject.clone());
        Ok(Page { items, next })
    }

    async fn logs_with_keys(&self) -> Result<Vec<LogId>> {
        self.blocking(|store| {
            let _one_state = store.one_state()?;
            store.logs_with_keys()
        })
        .await
    }
}
