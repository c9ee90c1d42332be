//! Where the vault's keys are.
//!
//! A subject that has keys has a row for ever, and so has a key id; so what two commands find one after the other fits, and
//! plain commands do.

use async_trait::async_trait;
use redis::{Value, cmd};
use rekindle_core::store::KeyStore;
use rekindle_core::types::{KeyId, KeyRow, LogId, Page, Subject};
use rekindle_core::{Error, Result};

use crate::RedisBackend;
use crate::rows;
use crate::store::{Effect, Store, bytes, parts, text};

impl Store {
    async fn keys(&self, log: &LogId, subjects: Vec<Subject>) -> Result<Vec<Option<KeyRow>>> {
        if subjects.is_empty() {
            return Ok(Vec::new());
        }
        let mut get = cmd("HMGET");
        get.arg(self.tag(log).keys());
        for subject in &subjects {
            get.arg(subject.as_str());
        }
        let found = parts(self.call(&get, Effect::None).await?, "HMGET")?;
        let rows = found
            .into_iter()
            .zip(subjects)
            .map(|(row, subject)| bytes(row, "HMGET")?.map(|row| rows::decode_keys(&row, subject)).transpose());
        rows.collect::<Result<_>>().map_err(|e| e.at(format!("the log {log}")))
    }

    async fn keys_by_id(&self, log: &LogId, ids: &[KeyId]) -> Result<Vec<Option<KeyRow>>> {
        let mut get = cmd("HMGET");
        get.arg(self.tag(log).key_ids());
        for id in ids {
            get.arg(&id.as_bytes()[..]);
        }
        let found = parts(self.call(&get, Effect::None).await?, "HMGET")?;
        let of_id = |value| if value == Value::Nil { Ok(None) } else { subject(value).map(Some) };
        let subjects = found.into_iter().map(of_id).collect::<Result<Vec<_>>>()?;
        let mut rows = self.keys(log, subjects.iter().flatten().cloned().collect()).await?.into_iter();
        let row = |(id, subject): (&KeyId, Option<Subject>)| match subject.map(|subject| (subject, rows.next())) {
            None => Ok(None),
            Some((_, Some(Some(row)))) => Ok(Some(row)),
            Some((subject, _)) => Err(Error::corrupt(format!("the key {id} is one of {subject}, which has none"))),
        };
        ids.iter().zip(subjects).map(row).collect()
    }

    async fn list_keys(&self, log: &LogId, after: Option<&Subject>, limit: usize) -> Result<Vec<KeyRow>> {
        let mut range = cmd("ZRANGE");
        let first = after.map_or_else(|| "-".to_owned(), |after| format!("({after}"));
        range.arg(self.tag(log).subjects()).arg(first).arg("+").arg("BYLEX").arg("LIMIT").arg(0).arg(limit);
        let listed = parts(self.call(&range, Effect::None).await?, "ZRANGE")?;
        let subjects = listed.into_iter().map(subject).collect::<Result<Vec<_>>>()?;
        let rows = self.keys(log, subjects.clone()).await?;
        let row = |(row, subject): (Option<KeyRow>, Subject)| {
            row.ok_or_else(|| Error::corrupt(format!("the keys of {subject} are in a list, and are not there")))
        };
        rows.into_iter().zip(subjects).map(row).collect()
    }
}

/// A subject that was stored.
fn subject(value: Value) -> Result<Subject> {
    Subject::new(text(value, "a subject")?)
        .map_err(|error| Error::corrupt("a stored subject is none").with_source(error))
}

#[async_trait]
impl KeyStore for RedisBackend {
    async fn keys(&self, log: &LogId, subjects: &[Subject]) -> Result<Vec<Option<KeyRow>>> {
        self.store.keys(log, subjects.to_vec()).await
    }

    async fn keys_by_id(&self, log: &LogId, ids: &[KeyId]) -> Result<Vec<Option<KeyRow>>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        self.store.keys_by_id(log, ids).await
    }

    async fn list_keys(&self, log: &LogId, after: Option<&Subject>, limit: usize) -> Result<Page<KeyRow, Subject>> {
        let limit = limit.min(self.store.config.limits.page_rows);
        if limit == 0 {
            return Ok(Page::empty());
        }
        let items = self.store.list_keys(log, after, limit).await?;
        let next = items.last().filter(|_| items.len() == limit).map(|row| row.subject.clone());
        Ok(Page { items, next })
    }

    async fn logs_with_keys(&self) -> Result<Vec<LogId>> {
        self.store.keyed_logs().await
    }
}
