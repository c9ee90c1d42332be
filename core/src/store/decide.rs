//! For backends: deciding a batch of commits against what is stored.
//!
//! The rules of [`EventStore::commit`](super::EventStore::commit) live here once. A backend takes the locks, hands in a
//! [`View`] of what is stored, writes the [`Decided`] in one atomic step, and answers.

mod attempt;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use self::attempt::Attempt;
use super::event_store::Head;
use super::rebuild::LoadedRecord;
use crate::error::{Error, ErrorKind, Result, VaultFault};
use crate::types::{
    Commit, Committed, Event, EventId, Identity, KeyId, KeyRow, KeyVersion, Limits, LogId, NewEvent, Position,
    RecordId, RecordKey, Revision, Subject, WriteState,
};

/// What is stored, as the commits of a batch find it. A backend that reads over a network fetches all of it beforehand.
pub trait View {
    /// The head of a log.
    ///
    /// # Errors
    ///
    /// `Corrupt` or `Unavailable`.
    fn head(&self, log: &LogId) -> Result<Head>;

    /// The event with this id.
    ///
    /// # Errors
    ///
    /// `Corrupt` or `Unavailable`.
    fn event(&self, log: &LogId, id: EventId) -> Result<Option<Event>>;

    /// A record of the generation in use, a destroyed one (without state) included.
    ///
    /// # Errors
    ///
    /// `Corrupt` or `Unavailable`.
    fn record(&self, log: &LogId, key: &RecordKey) -> Result<Option<LoadedRecord>>;

    /// The record that owns an identity.
    ///
    /// # Errors
    ///
    /// `Corrupt` or `Unavailable`.
    fn owner(&self, log: &LogId, identity: &Identity) -> Result<Option<RecordId>>;

    /// How far the keys of a subject are.
    ///
    /// # Errors
    ///
    /// `Corrupt` or `Unavailable`; `Unsupported` if the store keeps no keys.
    fn keys(&self, log: &LogId, subject: &Subject) -> Result<KeyVersion>;
}

/// The outcome of a batch: what to answer, and what to write first. What is written is borrowed from the batch.
#[derive(Debug, Default)]
pub struct Decided<'a> {
    /// One answer for each commit, in order.
    pub answers: Vec<Result<Committed>>,
    /// What changes, by log; logs without a change are not in it.
    pub logs: BTreeMap<&'a LogId, LogChanges<'a>>,
}

impl Decided<'_> {
    /// The answers if the write failed: every commit that was to succeed gets this error.
    #[must_use]
    pub fn failed(self, error: &Error) -> Vec<Result<Committed>> {
        self.answers.into_iter().map(|answer| answer.and_then(|_| Err(error.clone()))).collect()
    }
}

/// What a batch changes in one log: the final state of everything that it touches, sorted, so that those who write it wait for
/// each other and not in a circle.
#[derive(Debug, Default)]
pub struct LogChanges<'a> {
    /// The head after the batch: its position and its state may be new.
    pub head: Head,
    /// The new events, in the order of their positions.
    pub events: Vec<PlacedEvent<'a>>,
    /// The records that were written, as they are after the batch.
    pub records: BTreeMap<&'a RecordKey, WrittenRecord<'a>>,
    /// The identities that changed hands, with their owner after the batch.
    pub owners: BTreeMap<Identity, Option<&'a RecordId>>,
    /// The keys that were written, as they are after the batch.
    pub keys: BTreeMap<&'a Subject, &'a KeyRow>,
    /// The keys that are new, with the subjects that they are of.
    pub key_ids: Vec<(&'a KeyId, &'a Subject)>,
    known: HashMap<EventId, usize>,
}

/// An event that has its place. It serializes as the [`Event`] that it is to be.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct PlacedEvent<'a> {
    /// Where it stands in its log.
    pub position: Position,
    /// The revision of the record after it; `None` if the commit had no record write for it.
    pub revision: Option<Revision>,
    /// What is committed.
    pub event: &'a NewEvent,
}

/// A record as it is written.
#[derive(Clone, Copy, Debug)]
pub struct WrittenRecord<'a> {
    /// Its revision.
    pub revision: Revision,
    /// Its state; `None` if it is destroyed.
    pub state: Option<&'a WriteState>,
}

impl LogChanges<'_> {
    fn is_empty(&self) -> bool {
        self.events.is_empty() && self.records.is_empty() && self.keys.is_empty()
    }
}

/// Decides the commits one after the other, each seeing those before it.
#[must_use]
pub fn decide<'a>(view: &impl View, limits: &Limits, batch: impl IntoIterator<Item = &'a Commit>) -> Decided<'a> {
    let batch = batch.into_iter();
    let (commits, _) = batch.size_hint();
    let mut decided = Decided { answers: Vec::with_capacity(commits), logs: BTreeMap::new() };
    for commit in batch {
        let answer = decide_one(view, limits, &mut decided.logs, commit, commits);
        decided.answers.push(answer);
    }
    decided.logs.retain(|_, changes| !changes.is_empty());
    decided
}

fn decide_one<'a>(
    view: &impl View,
    limits: &Limits,
    logs: &mut BTreeMap<&'a LogId, LogChanges<'a>>,
    commit: &'a Commit,
    commits: usize,
) -> Result<Committed> {
    commit.validate(limits)?;
    // Mostly, a batch has one log, and a commit has one event.
    let likely = if logs.is_empty() { commits } else { 0 };
    let earlier = match logs.entry(&commit.log) {
        Entry::Occupied(earlier) => earlier.into_mut(),
        Entry::Vacant(new) => {
            let (head, events) = (view.head(&commit.log)?, Vec::with_capacity(likely));
            new.insert(LogChanges { head, events, known: HashMap::with_capacity(likely), ..LogChanges::default() })
        }
    };
    let mut attempt = Attempt::new(view, &commit.log, earlier);
    let answer = attempt.make(commit);
    if answer.is_err() {
        attempt.undo();
    }
    answer
}

/// The error for a log that is being rebuilt in place.
#[must_use]
pub fn rebuilding(log: &LogId) -> Error {
    Error::new(
        ErrorKind::Rebuilding,
        format!("the records of {log} are being rebuilt in place, and the rebuild has not finished"),
    )
}

/// The error for keys that are not as a commit expects them.
#[must_use]
pub fn key_changed(subject: &Subject) -> Error {
    Error::vault(VaultFault::KeyChanged, format!("the keys of {subject} have changed since they were read"))
}
