//! The list of the logs that have the vault's keys.
//!
//! **Invariant**: a log is in the list before it has its first key. So a log of the list may have none, and no log that has
//! one is missing.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use futures::stream::{self, StreamExt, TryStreamExt};
use redis::{Value, cmd};
use rekindle_core::types::LogId;
use rekindle_core::{Error, ErrorKind, Result, codec};

use crate::error::unexpected;
use crate::keys;
use crate::store::{Effect, Store, bytes, parts};

/// How many logs are asked for their keys at the same time.
const AT_ONCE: usize = 64;

/// The logs that this process has put on the list.
#[derive(Debug, Default)]
pub(crate) struct Keyed(Mutex<HashSet<LogId>>);

impl Store {
    /// Puts a log on the list: once in the life of a process, so that a list that lost it has it again.
    pub(crate) async fn enter_keyed(&self, log: &LogId) -> Result<()> {
        let entered = || self.keyed.0.lock().unwrap_or_else(PoisonError::into_inner);
        if entered().contains(log) {
            return Ok(());
        }
        let mut add = cmd("SADD");
        add.arg(keys::keyed_logs(&self.config.prefix)).arg(codec::encode(log)?);
        self.call(&add, Effect::Idempotent).await.map_err(|error| match error.kind() {
            // Being on the list changes nothing, and the commit that it was for is not made.
            ErrorKind::Indeterminate => {
                Error::new(ErrorKind::Unavailable, error.message().to_owned()).with_source(error)
            }
            _ => error,
        })?;
        entered().insert(log.clone());
        Ok(())
    }

    /// The logs of the list that have keys, sorted.
    pub(crate) async fn keyed_logs(&self) -> Result<Vec<LogId>> {
        let mut members = cmd("SMEMBERS");
        members.arg(keys::keyed_logs(&self.config.prefix));
        let listed = match self.call(&members, Effect::None).await? {
            Value::Set(members) => members,
            members => parts(members, "SMEMBERS")?,
        };
        let logs = listed.into_iter().map(|log| {
            let log = bytes(log, "SMEMBERS")?.ok_or_else(|| unexpected("SMEMBERS"))?;
            codec::decode::<LogId>(&log).map_err(|e: Error| e.at("the list of logs that have keys"))
        });
        let keyed = stream::iter(logs).map(|log| async {
            let log = log?;
            Ok::<_, Error>(self.has_keys(&log).await?.then_some(log))
        });
        let mut logs: Vec<LogId> =
            keyed.buffer_unordered(AT_ONCE).try_filter_map(async |log| Ok(log)).try_collect().await?;
        logs.sort_unstable();
        Ok(logs)
    }

    async fn has_keys(&self, log: &LogId) -> Result<bool> {
        let mut exists = cmd("EXISTS");
        exists.arg(self.tag(log).keys());
        Ok(self.call(&exists, Effect::None).await? == Value::Int(1))
    }
}
