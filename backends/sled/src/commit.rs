//! Committing a batch: one atomic step of sled, and one flush.

use std::cell::RefCell;
use std::collections::HashMap;

use rekindle_core::store::decide::{Decided, LogChanges, View, decide};
use rekindle_core::store::{Head, LoadedRecord};
use rekindle_core::types::{
    Commit, Committed, Event, EventId, Identity, KeyRow, KeyVersion, LogId, RecordId, RecordKey, Subject,
};
use rekindle_core::{Error, Result, codec};
use sled::Batch;

use crate::error::indeterminate;
use crate::greatest::Greatest;
use crate::keys::{self, LogNumber};
use crate::rows;
use crate::store::Store;

/// What is stored, with the logs of the batch looked up once.
struct Rows<'a> {
    store: &'a Store,
    logs: RefCell<HashMap<LogId, Option<(LogNumber, Head)>>>,
    /// The keys that were looked for, by those of their rows: many commits are sealed with the same ones.
    keys: RefCell<HashMap<Vec<u8>, KeyVersion>>,
    greatest: RefCell<&'a mut Greatest>,
}

impl Rows<'_> {
    fn log(&self, log: &LogId) -> Result<Option<(LogNumber, Head)>> {
        if let Some(known) = self.logs.borrow().get(log) {
            return Ok(*known);
        }
        let found = self.store.log(log)?;
        self.logs.borrow_mut().insert(log.clone(), found);
        Ok(found)
    }

    /// Whether a row cannot be there.
    fn is_new(&self, key: &[u8]) -> Result<bool> {
        self.greatest.borrow_mut().is_behind(self.store, key)
    }
}

impl View for Rows<'_> {
    fn head(&self, log: &LogId) -> Result<Head> {
        Ok(self.log(log)?.map(|(_, head)| head).unwrap_or_default())
    }

    fn event(&self, log: &LogId, id: EventId) -> Result<Option<Event>> {
        let Some((number, _)) = self.log(log)? else { return Ok(None) };
        if self.is_new(&keys::event_id(number, id))? {
            return Ok(None);
        }
        self.store.position(number, id)?.map(|position| self.store.event(number, position)).transpose()
    }

    fn record(&self, log: &LogId, key: &RecordKey) -> Result<Option<LoadedRecord>> {
        let Some((number, head)) = self.log(log)? else { return Ok(None) };
        if self.is_new(&keys::record(number, head.generation, key))? {
            return Ok(None);
        }
        let row = self.store.record(number, head.generation, key)?;
        row.map(|row| rows::decode_record(&row, key.clone())).transpose()
    }

    fn owner(&self, log: &LogId, identity: &Identity) -> Result<Option<RecordId>> {
        let Some((number, head)) = self.log(log)? else { return Ok(None) };
        self.store.owner(number, head.generation, identity)
    }

    fn keys(&self, log: &LogId, subject: &Subject) -> Result<KeyVersion> {
        let Some((number, _)) = self.log(log)? else { return Ok(KeyVersion::default()) };
        let key = keys::subject(number, subject);
        if self.is_new(&key)? {
            return Ok(KeyVersion::default());
        }
        if let Some(known) = self.keys.borrow().get(&key) {
            return Ok(*known);
        }
        let found = self.store.keys(number, subject)?.as_ref().map_or(KeyVersion::default(), KeyRow::at);
        self.keys.borrow_mut().insert(key, found);
        Ok(found)
    }
}

impl Store {
    /// Commits a batch; the caller holds its lock keys. It blocks.
    pub(crate) fn commit(&self, batch: &[Commit]) -> Vec<Result<Committed>> {
        let commits = batch.len();
        let decided = {
            let mut greatest = match self.write() {
                Ok(greatest) => greatest,
                // What an earlier batch wrote may be durable or not, and this may be its retry.
                Err(error) => return vec![Err(indeterminate(&error)); commits],
            };
            let view = Rows {
                store: self,
                logs: RefCell::default(),
                keys: RefCell::default(),
                greatest: RefCell::new(&mut greatest),
            };
            let decided = decide(&view, &self.config.limits, batch);
            if !decided.logs.is_empty() {
                let (rows, written) = match self.encode(&view, &decided) {
                    Ok(encoded) => encoded,
                    Err(error) => return decided.failed(&error),
                };
                if let Err(error) = self.apply(rows) {
                    return decided.failed(&indeterminate(&error));
                }
                written.iter().for_each(|key| greatest.saw(key));
            }
            decided
        };
        // A success without a change is one that was known: what it stands on must be durable, too.
        let successes = decided.answers.iter().flatten().any(|committed| !committed.events.is_empty());
        if (successes || !decided.logs.is_empty())
            && let Err(error) = self.disk.flush()
        {
            return decided.failed(&indeterminate(&error));
        }
        for (log, changes) in &decided.logs {
            self.watchers.notify(log, changes.head.position);
        }
        decided.answers
    }

    /// All rows of a batch, and the keys of those that a later one looks for.
    fn encode(&self, view: &Rows<'_>, decided: &Decided<'_>) -> Result<(Batch, Vec<Vec<u8>>)> {
        let (mut batch, mut written) = (Batch::default(), Vec::new());
        for (log, changes) in &decided.logs {
            let number = match view.log(log)? {
                Some((number, _)) => number,
                None => self.add_log(&mut batch, log)?,
            };
            encode_log(&mut batch, &mut written, number, changes)?;
        }
        Ok((batch, written))
    }

    /// Adds the number of a log that is new. Its head must follow in the same batch.
    pub(crate) fn add_log(&self, batch: &mut Batch, log: &LogId) -> Result<LogNumber> {
        let number = self.new_log()?;
        batch.insert(keys::log(log), &number.to_be_bytes());
        Ok(number)
    }
}

fn encode_log(batch: &mut Batch, written: &mut Vec<Vec<u8>>, log: LogNumber, changes: &LogChanges<'_>) -> Result<()> {
    let newest = changes.events.iter().map(|placed| placed.event.id).max();
    written.extend(newest.map(|id| keys::event_id(log, id)));
    for placed in &changes.events {
        let (position, event) = (placed.position, placed.event);
        batch.insert(keys::event(log, position), codec::encode(placed)?);
        batch.insert(keys::event_id(log, event.id), &position.get().to_be_bytes());
        batch.insert(keys::history(log, &event.resource, &event.record_id, position), &[]);
    }
    let generation = changes.head.generation;
    for (key, record) in &changes.records {
        let key = keys::record(log, generation, key);
        batch.insert(&key[..], rows::encode_record(record.revision, record.state)?);
        written.push(key);
    }
    for (identity, owner) in &changes.owners {
        let key = keys::identity(log, generation, identity);
        match owner {
            Some(owner) => batch.insert(key, owner.as_str().as_bytes()),
            None => batch.remove(key),
        }
    }
    for (subject, row) in &changes.keys {
        let key = keys::subject(log, subject);
        batch.insert(&key[..], codec::encode(row)?);
        written.push(key);
    }
    for (id, subject) in &changes.key_ids {
        batch.insert(keys::key_id(log, id), subject.as_str().as_bytes());
    }
    set_head(batch, log, &changes.head)
}

/// Sets the head of a log.
pub(crate) fn set_head(batch: &mut Batch, log: LogNumber, head: &Head) -> Result<()> {
    batch.insert(keys::head(log), rows::encode_head(head).map_err(|e: Error| e.at("a head"))?);
    Ok(())
}
