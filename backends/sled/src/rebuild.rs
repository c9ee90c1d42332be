//! Generations: loading a new one, swapping it in, and removing those that are not in use.
//!
//! A generation that is not in use bears a mark from before its first row is written until after its last row is removed.
//! So whatever a killed process leaves is found by its mark, and no number is used again while there are rows under it.

use std::collections::HashMap;
use std::ops::RangeBounds;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rekindle_core::store::{Head, LoadedRecord, LogState, RebuildMode};
use rekindle_core::types::{Generation, LogId, Position, RecordId, WriteState};
use rekindle_core::{Error, ErrorKind, Result};
use sled::Batch;

use crate::commit::set_head;
use crate::error::indeterminate;
use crate::keys::{self, LogNumber};
use crate::rows;
use crate::store::Store;

/// How many rows are removed in one step, so that commits get in between.
const CHUNK: usize = 2_000;

/// A rebuild of this process: running until it is over.
#[derive(Debug, Default)]
pub(crate) struct Token {
    over: AtomicBool,
    /// Held while something of the rebuild is written. A call whose future was dropped may still be at it.
    busy: Mutex<()>,
}

impl Token {
    pub(crate) fn end(&self) {
        self.over.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    fn busy(&self) -> MutexGuard<'_, ()> {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends a rebuild when it is dropped: what a [`Rebuild`](rekindle_core::store::Rebuild) holds.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) token: Arc<Token>,
    pub(crate) log: LogNumber,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.token.end();
    }
}

/// What a running rebuild loads: its token, its log and its generation.
#[derive(Clone, Debug)]
pub(crate) struct Loading {
    pub(crate) token: Arc<Token>,
    pub(crate) log: LogNumber,
    pub(crate) generation: Generation,
}

impl Loading {
    /// Keeps others from writing to the generation; `None` if the rebuild is over.
    fn alone(&self) -> Option<MutexGuard<'_, ()>> {
        let busy = self.token.busy();
        (!self.token.is_over()).then_some(busy)
    }
}

impl Store {
    /// Begins a rebuild; the caller holds the log's lock key.
    pub(crate) fn begin(&self, log: &LogId, mode: RebuildMode) -> Result<(Running, Generation)> {
        let token = Arc::new(Token::default());
        let before = {
            let mut rebuilds = self.rebuilds.lock().unwrap_or_else(PoisonError::into_inner);
            if rebuilds.get(log).is_some_and(|running| !running.is_over()) {
                return Err(Error::new(ErrorKind::Rebuilding, format!("another rebuild of {log} is running")));
            }
            rebuilds.retain(|_, running| !running.is_over() || Arc::strong_count(running) > 1);
            rebuilds.insert(log.clone(), Arc::clone(&token))
        };
        let mut running = Running { token, log: 0 };
        // What the one before may still be writing, it must have written before it is removed.
        drop(before.as_ref().map(|before| before.busy()));
        if let Some((number, _)) = self.log(log)? {
            self.remove_marked(keys::marks(number))?;
        }
        let old = {
            let _writer = self.write()?;
            let mut batch = Batch::default();
            let (number, mut head) = match self.log(log)? {
                Some(found) => found,
                None => (self.add_log(&mut batch, log)?, Head::default()),
            };
            running.log = number;
            let old = head.generation;
            let generation = self.unused(number, old)?;
            batch.insert(keys::mark(number, generation), &[]);
            if mode == RebuildMode::InPlace {
                // From now on nobody reads the old records, and only a new generation ends that.
                head.state = LogState::Rebuilding;
                batch.insert(keys::mark(number, old), &[]);
            }
            set_head(&mut batch, number, &head)?;
            self.apply(batch)?;
            (old, generation)
        };
        self.disk.flush()?;
        let (old, generation) = old;
        if mode == RebuildMode::InPlace {
            self.remove(running.log, old)?;
        }
        Ok((running, generation))
    }

    /// A number above that of every generation that has rows.
    fn unused(&self, log: LogNumber, in_use: Generation) -> Result<Generation> {
        let marked = self.rows(keys::marks(log)).next_back().transpose()?;
        let marked = marked.and_then(|(key, _)| keys::marked(&key)).map_or(in_use, |(_, generation)| generation);
        Ok(marked.max(in_use).next())
    }

    /// Writes records of a rebuild; `None` if it is over. Nothing is flushed: the end of the rebuild is.
    ///
    /// Nothing of it is seen before that end, so its rows are written one by one: sorted, that is faster than a batch, and
    /// writing a row gives the one that it replaces.
    pub(crate) fn load(&self, loading: &Loading, records: &[LoadedRecord]) -> Result<Option<()>> {
        let Some(_alone) = loading.alone() else { return Ok(None) };
        self.disk.check()?;
        let Loading { log, generation, .. } = *loading;
        let mut rows = Vec::with_capacity(records.len());
        for (at, record) in records.iter().enumerate() {
            rows.push((
                keys::record(log, generation, &record.key),
                at,
                rows::encode_record(record.revision, record.state.as_ref())?,
            ));
        }
        // By key, then by place: of two states of one record the later one stays.
        rows.sort_unstable_by(|(key, at, _), (other, other_at, _)| (key, at).cmp(&(other, other_at)));
        let mut replaced = HashMap::new();
        for (key, at, row) in rows {
            if let Some(before) = self.put(key, Some(row))?
                && let Some(record) = records.get(at)
            {
                replaced.insert(at, rows::decode_record(&before, record.key.clone())?);
            }
        }
        let mut owners = HashMap::new();
        for (at, record) in records.iter().enumerate() {
            let before = replaced.get(&at).and_then(|before| before.state.as_ref());
            self.settle(loading, &mut owners, before, record)?;
        }
        let mut owners: Vec<_> = owners.into_iter().collect();
        owners.sort_unstable_by(|(key, _), (other, _)| key.cmp(other));
        for (key, owner) in owners {
            self.put(key, owner.map(|owner| owner.as_str().as_bytes().to_vec()))?;
        }
        self.disk.applied();
        Ok(Some(()))
    }

    /// Frees what a record owned, then takes what it owns.
    fn settle(
        &self,
        loading: &Loading,
        owners: &mut HashMap<Vec<u8>, Option<RecordId>>,
        before: Option<&WriteState>,
        record: &LoadedRecord,
    ) -> Result<()> {
        let Loading { log, generation, .. } = *loading;
        for identity in identities(before) {
            let identity = identity.of(&record.key.resource);
            let key = keys::identity(log, generation, &identity);
            let owner = match owners.get(&key) {
                Some(owner) => owner.clone(),
                None => self.owner(log, generation, &identity)?,
            };
            if owner.as_ref() == Some(&record.key.id) {
                owners.insert(key, None);
            }
        }
        for identity in identities(record.state.as_ref()) {
            let key = keys::identity(log, generation, &identity.of(&record.key.resource));
            owners.insert(key, Some(record.key.id.clone()));
        }
        Ok(())
    }

    /// Puts the loaded generation in use; the caller holds the log's lock key. `None` if the rebuild is over.
    pub(crate) fn finish(&self, log: &LogId, loading: &Loading, through: Position) -> Result<Option<Generation>> {
        let Some(_alone) = loading.alone() else { return Ok(None) };
        let old = {
            let mut greatest = self.write()?;
            // It was not told of what was loaded.
            greatest.forget();
            let Some((number, mut head)) = self.log(log)? else { return Ok(None) };
            if through > head.position {
                return Err(Error::invalid(format!(
                    "the log {log} is at position {}, not yet at {through}",
                    head.position
                )));
            }
            let old = head.generation;
            head.generation = loading.generation;
            head.state = if through == head.position { LogState::Live } else { LogState::Rewound(through) };
            let mut batch = Batch::default();
            batch.remove(keys::mark(number, loading.generation));
            batch.insert(keys::mark(number, old), &[]);
            set_head(&mut batch, number, &head)?;
            self.apply(batch).map_err(|e| indeterminate(&e))?;
            old
        };
        self.disk.flush().map_err(|e| indeterminate(&e))?;
        loading.token.end();
        Ok(Some(old))
    }

    /// Ends a rebuild, and removes what it has loaded.
    pub(crate) fn abandon(&self, loading: &Loading) -> Result<()> {
        // First the end, so that a load that waits does nothing; then alone, so that a new rebuild waits.
        loading.token.end();
        let _busy = loading.token.busy();
        self.remove(loading.log, loading.generation)
    }

    /// Puts an empty generation in use; the caller holds the log's lock key. Gives the number of records that were there,
    /// and the generation that is to be removed.
    pub(crate) fn clear(&self, log: &LogId) -> Result<(u64, Option<(LogNumber, Generation)>)> {
        let rebuilds = self.rebuilds.lock().unwrap_or_else(PoisonError::into_inner);
        let running = rebuilds.get(log).is_some_and(|running| !running.is_over());
        drop(rebuilds);
        if running {
            return Err(Error::new(ErrorKind::Rebuilding, format!("a rebuild of {log} is running")));
        }
        let (records, number, old) = {
            let _writer = self.write()?;
            let Some((number, mut head)) = self.log(log)? else { return Ok((0, None)) };
            if head.state == LogState::Rebuilding {
                return Ok((0, None));
            }
            let old = head.generation;
            let [of_records, _] = keys::generation(number, old);
            let mut records = 0;
            for row in self.rows(of_records) {
                records += u64::from(!rows::is_destroyed(&row?.1));
            }
            head.generation = self.unused(number, old)?;
            if head.position > Position::ZERO {
                head.state = LogState::Rewound(Position::ZERO);
            }
            let mut batch = Batch::default();
            batch.insert(keys::mark(number, old), &[]);
            set_head(&mut batch, number, &head)?;
            self.apply(batch).map_err(|e| indeterminate(&e))?;
            (records, number, old)
        };
        self.disk.flush().map_err(|e| indeterminate(&e))?;
        Ok((records, Some((number, old))))
    }

    /// Removes all generations whose marks are in this range.
    pub(crate) fn remove_marked(&self, marks: impl RangeBounds<Vec<u8>>) -> Result<()> {
        let marks: Vec<_> =
            self.rows(marks).map(|row| row.map(|(key, _)| keys::marked(&key))).collect::<Result<_>>()?;
        for (log, generation) in marks.into_iter().flatten() {
            self.remove(log, generation)?;
        }
        Ok(())
    }

    /// Removes a generation that is not in use, a chunk at a time, and then its mark.
    pub(crate) fn remove(&self, log: LogNumber, generation: Generation) -> Result<()> {
        for range in keys::generation(log, generation) {
            loop {
                let keys = self
                    .rows(range.clone())
                    .take(CHUNK)
                    .map(|row| row.map(|(key, _)| key))
                    .collect::<Result<Vec<_>>>()?;
                let removed = keys.len();
                let mut batch = Batch::default();
                keys.into_iter().for_each(|key| batch.remove(key));
                if removed > 0 {
                    self.apply(batch)?;
                }
                if removed < CHUNK {
                    break;
                }
            }
        }
        let mut batch = Batch::default();
        batch.remove(keys::mark(log, generation));
        self.apply(batch)
    }
}

fn identities(state: Option<&WriteState>) -> &[rekindle_core::types::IdentityValue] {
    state.map_or(&[], |state| &state.identities)
}
