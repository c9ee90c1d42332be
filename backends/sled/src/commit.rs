//! Committing a batch: one atomic step of sled, and one flush.

use std::cell::RefCell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

use rekindle_core::store::decide::{Decided, LogChanges, View, decide};
use rekindle_core::store::{Head, LoadedRecord};
use rekindle_core::types::{
    Commit, Committed, Event, EventId, Identity, KeyRow, KeyVersion, LogId, RecordId, RecordKey, Subject,
};
use rekindle_core::{Error, Result, codec};
use sled::Batch;

use crate::error::indeterminate;
use crate::keys::{self, LogNumber};
use crate::rows;
use crate::store::{NewestIds, Store};

/// What is stored, with the logs of the batch looked up once.
struct Rows<'a> {
    store: &'a Store,
    logs: RefCell<HashMap<LogId, Option<(LogNumber, Head)>>>,
    /// The record that was asked for last: deciding on a write asks for the same one again, for its identities.
    last: RefCell<Option<(LogId, RecordKey, Option<LoadedRecord>)>>,
    newest: RefCell<&'a mut NewestIds>,
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

    /// Whether an event id is above all that the log has.
    fn is_new(&self, log: LogNumber, id: EventId) -> Result<bool> {
        let mut newest = self.newest.borrow_mut();
        let newest = match newest.entry(log) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(unknown) => *unknown.insert(self.store.newest_id(log)?),
        };
        Ok(id > newest)
    }
}

impl View for Rows<'_> {
    fn head(&self, log: &LogId) -> Result<Head> {
        Ok(self.log(log)?.map(|(_, head)| head).unwrap_or_default())
    }

    fn event(&self, log: &LogId, id: EventId) -> Result<Option<Event>> {
        let Some((number, _)) = self.log(log)? else { return Ok(None) };
        if self.is_new(number, id)? {
            return Ok(None);
        }
        self.store.position(number, id)?.map(|position| self.store.event(number, position)).transpose()
    }

    fn record(&self, log: &LogId, key: &RecordKey) -> Result<Option<LoadedRecord>> {
        let Some((number, head)) = self.log(log)? else { return Ok(None) };
        if let Some((_, _, record)) = self.last.borrow().as_ref().filter(|(of, last, _)| of == log && last == key) {
            return Ok(record.clone());
        }
        let row = self.store.record(number, head.generation, key)?;
        let record = row.map(|row| rows::decode_record(&row, key.clone())).transpose()?;
        *self.last.borrow_mut() = Some((log.clone(), key.clone(), record.clone()));
        Ok(record)
    }

    fn owner(&self, log: &LogId, identity: &Identity) -> Result<Option<RecordId>> {
        let Some((number, head)) = self.log(log)? else { return Ok(None) };
        self.store.owner(number, head.generation, identity)
    }

    fn keys(&self, log: &LogId, subject: &Subject) -> Result<KeyVersion> {
        let Some((number, _)) = self.log(log)? else { return Ok(KeyVersion::default()) };
        Ok(self.store.keys(number, subject)?.as_ref().map_or(KeyVersion::default(), KeyRow::at))
    }
}

impl Store {
    /// Commits a batch; the caller holds its lock keys. It blocks.
    pub(crate) fn commit(&self, batch: Vec<Commit>) -> Vec<Result<Committed>> {
        let commits = batch.len();
        let decided = {
            let mut newest = match self.write() {
                Ok(newest) => newest,
                // What an earlier batch wrote may be durable or not, and this may be its retry.
                Err(error) => return vec![Err(indeterminate(&error)); commits],
            };
            let view = Rows {
                store: self,
                logs: RefCell::default(),
                last: RefCell::default(),
                newest: RefCell::new(&mut newest),
            };
            let mut decided = decide(&view, &self.config.limits, batch);
            if !decided.logs.is_empty() {
                let (rows, ids) = match self.encode(&view, &mut decided) {
                    Ok(encoded) => encoded,
                    Err(error) => return decided.failed(&error),
                };
                if let Err(error) = self.apply(rows) {
                    return decided.failed(&indeterminate(&error));
                }
                for (log, id) in ids {
                    newest.entry(log).and_modify(|newest| *newest = id.max(*newest));
                }
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

    /// All rows of a batch, and the greatest event id in it of each log.
    fn encode(&self, view: &Rows<'_>, decided: &mut Decided) -> Result<(Batch, Vec<(LogNumber, EventId)>)> {
        let (mut batch, mut newest) = (Batch::default(), Vec::new());
        for (log, changes) in &mut decided.logs {
            let number = match view.log(log)? {
                Some((number, _)) => number,
                None => self.add_log(&mut batch, log)?,
            };
            newest.extend(changes.events.iter().map(|event| event.id).max().map(|id| (number, id)));
            encode_log(&mut batch, number, changes)?;
        }
        Ok((batch, newest))
    }

    /// Adds the number of a log that is new. Its head must follow in the same batch.
    pub(crate) fn add_log(&self, batch: &mut Batch, log: &LogId) -> Result<LogNumber> {
        let number = self.new_log()?;
        batch.insert(keys::log(log), &number.to_be_bytes());
        Ok(number)
    }
}

fn encode_log(batch: &mut Batch, log: LogNumber, changes: &mut LogChanges) -> Result<()> {
    for event in changes.events.drain(..) {
        let position = event.position;
        batch.insert(keys::event(log, position), codec::encode(&event)?);
        batch.insert(keys::event_id(log, event.id), &position.get().to_be_bytes());
        batch.insert(keys::history(log, &event.resource, &event.record_id, position), &[]);
    }
    let generation = changes.head.generation;
    for (key, record) in changes.records.drain() {
        batch.insert(keys::record(log, generation, &key), rows::encode_record(&record)?);
    }
    for (identity, owner) in changes.owners.drain() {
        let key = keys::identity(log, generation, &identity);
        match owner {
            Some(owner) => batch.insert(key, owner.as_str().as_bytes()),
            None => batch.remove(key),
        }
    }
    for (subject, row) in &changes.keys {
        batch.insert(keys::subject(log, subject), codec::encode(row)?);
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
