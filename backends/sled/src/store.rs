//! What all handles of one folder share, and reading its rows.

use std::collections::HashMap;
use std::ops::RangeBounds;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use rekindle_core::store::decide::rebuilding;
use rekindle_core::store::{Head, Locks, LogState, Watchers};
use rekindle_core::types::{
    Event, EventId, Generation, Identity, KeyRow, LogId, Position, RecordId, RecordKey, Subject,
};
use rekindle_core::{Error, Result};
use sled::{Batch, IVec};

use crate::config::SledConfig;
use crate::disk::Disk;
use crate::error::classify;
use crate::greatest::Greatest;
use crate::keys::{self, LogNumber};
use crate::rebuild::Token;
use crate::{open, rows};

/// An open database.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) db: sled::Db,
    pub(crate) disk: Disk,
    pub(crate) config: SledConfig,
    pub(crate) locks: Locks,
    pub(crate) watchers: Watchers,
    /// The rebuilds of this process.
    pub(crate) rebuilds: Mutex<HashMap<LogId, Arc<Token>>>,
    /// Held from reading a head until the change that follows from it is applied; not while that is flushed. The lock keys
    /// order the commits of a log; this makes them safe even if somebody commits to one log under two keys.
    writer: Mutex<Greatest>,
    /// Shared by who reads several rows of one state; exclusive while a batch is applied.
    gate: RwLock<()>,
    next_log: AtomicU32,
}

impl Store {
    pub(crate) fn open(folder: &Path, config: SledConfig) -> Result<Self> {
        let db = open::open(folder, &config)?;
        let disk = Disk::open(db.clone(), folder, config.sync)?;
        let last = db.range(keys::heads()).next_back().transpose().map_err(classify)?;
        let last = last.and_then(|(key, _)| keys::log_of_head(&key)).unwrap_or(0);
        let store = Self {
            db,
            disk,
            config,
            locks: Locks::default(),
            watchers: Watchers::default(),
            rebuilds: Mutex::default(),
            writer: Mutex::default(),
            gate: RwLock::default(),
            next_log: AtomicU32::new(last.saturating_add(1)),
        };
        store.remove_marked(keys::all_marks())?;
        Ok(store)
    }

    /// Begins a change that follows from what is stored.
    pub(crate) fn write(&self) -> Result<MutexGuard<'_, Greatest>> {
        let guard = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        self.disk.check()?;
        Ok(guard)
    }

    /// Begins to read several rows of one state.
    pub(crate) fn one_state(&self) -> Result<RwLockReadGuard<'_, ()>> {
        let guard = self.gate.read().unwrap_or_else(PoisonError::into_inner);
        self.disk.check()?;
        Ok(guard)
    }

    /// Applies a batch in one step. If that fails, part of it may be in memory, so nothing is read or written any more.
    pub(crate) fn apply(&self, batch: Batch) -> Result<()> {
        let _alone = self.gate.write().unwrap_or_else(PoisonError::into_inner);
        self.db.apply_batch(batch).map_err(classify).inspect_err(|error| self.disk.set_broken(error))?;
        self.disk.applied();
        Ok(())
    }

    /// Writes or removes one row that nobody reads yet, and gives the one before it. [`Disk::applied`] must follow.
    pub(crate) fn put(&self, key: Vec<u8>, row: Option<Vec<u8>>) -> Result<Option<IVec>> {
        let before = match row {
            Some(row) => self.db.insert(key, row),
            None => self.db.remove(key),
        };
        before.map_err(classify).inspect_err(|error| self.disk.set_broken(error))
    }

    /// A number for a new log. One that is not used after all is lost, which does no harm.
    pub(crate) fn new_log(&self) -> Result<LogNumber> {
        let number = self.next_log.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |next| next.checked_add(1));
        number.map_err(|_| Error::unsupported("there are too many logs in one folder"))
    }

    pub(crate) fn row(&self, key: &[u8]) -> Result<Option<IVec>> {
        self.db.get(key).map_err(classify)
    }

    pub(crate) fn rows(
        &self,
        range: impl RangeBounds<Vec<u8>>,
    ) -> impl DoubleEndedIterator<Item = Result<(IVec, IVec)>> {
        self.db.range(range).map(|row| row.map_err(classify))
    }

    /// The number and the head of a log; `None` if there is no such log.
    pub(crate) fn log(&self, log: &LogId) -> Result<Option<(LogNumber, Head)>> {
        let Some(number) = self.row(&keys::log(log))? else { return Ok(None) };
        let number = LogNumber::from_be_bytes(rows::fixed(&number, &format!("the number of the log {log}"))?);
        match self.row(&keys::head(number))? {
            Some(head) => {
                Ok(Some((number, rows::decode_head(&head).map_err(|e| e.at(format!("the head of the log {log}")))?)))
            }
            None => Err(Error::corrupt(format!("the log {log} has no head"))),
        }
    }

    /// The number of a log and the generation that is read; `None` if there is no such log.
    pub(crate) fn readable(&self, log: &LogId) -> Result<Option<(LogNumber, Generation)>> {
        match self.log(log)? {
            Some((_, Head { state: LogState::Rebuilding, .. })) => Err(rebuilding(log)),
            found => Ok(found.map(|(number, head)| (number, head.generation))),
        }
    }

    /// The event at a position where there must be one.
    pub(crate) fn event(&self, log: LogNumber, position: Position) -> Result<Event> {
        match self.row(&keys::event(log, position))? {
            Some(row) => rows::decode_event(&row, position),
            None => Err(Error::corrupt(format!("the event at position {position} is missing"))),
        }
    }

    /// The last key that begins like this.
    pub(crate) fn last_key(&self, begin: &[u8]) -> Result<Option<Vec<u8>>> {
        let last = self.db.scan_prefix(begin).next_back().transpose().map_err(classify)?;
        Ok(last.map(|(key, _)| key.to_vec()))
    }

    /// Where the event of this id is.
    pub(crate) fn position(&self, log: LogNumber, id: EventId) -> Result<Option<Position>> {
        let row = self.row(&keys::event_id(log, id))?;
        row.map(|row| {
            Ok(Position::new(u64::from_be_bytes(rows::fixed(&row, &format!("the position of the event {id}"))?)))
        })
        .transpose()
    }

    /// The keys of a subject.
    pub(crate) fn keys(&self, log: LogNumber, subject: &Subject) -> Result<Option<KeyRow>> {
        self.row(&keys::subject(log, subject))?.map(|row| rows::decode_keys(&row, subject)).transpose()
    }

    pub(crate) fn record(&self, log: LogNumber, generation: Generation, key: &RecordKey) -> Result<Option<IVec>> {
        self.row(&keys::record(log, generation, key))
    }

    pub(crate) fn owner(
        &self,
        log: LogNumber,
        generation: Generation,
        identity: &Identity,
    ) -> Result<Option<RecordId>> {
        self.row(&keys::identity(log, generation, identity))?.map(|id| rows::record_id(&id)).transpose()
    }
}
