//! For backends: deciding a batch of commits against what is stored.
//!
//! The rules of [`EventStore::commit`](super::EventStore::commit) live here once. A backend takes the locks, hands in a
//! [`View`] of what is stored, writes the [`Decided`] in one atomic step, and answers.

use std::collections::{BTreeMap, HashMap};

use super::event_store::{Head, LogState};
use super::rebuild::LoadedRecord;
use crate::error::{Error, ErrorKind, Result, VaultFault};
use crate::types::{
    Change, Check, Commit, Committed, CommittedEvent, Event, EventId, Identity, IdentityValue, KeyId, KeyRow,
    KeyVersion, Limits, LogId, RecordId, RecordKey, RecordWrite, Revision, Subject,
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

/// The outcome of a batch: what to answer, and what to write first.
#[derive(Debug, Default)]
pub struct Decided {
    /// One answer for each commit, in order.
    pub answers: Vec<Result<Committed>>,
    /// What changes, by log; logs without a change are not in it.
    pub logs: BTreeMap<LogId, LogChanges>,
}

impl Decided {
    /// The answers if the write failed: every commit that was to succeed gets this error.
    #[must_use]
    pub fn failed(self, error: &Error) -> Vec<Result<Committed>> {
        self.answers.into_iter().map(|answer| answer.and_then(|_| Err(error.clone()))).collect()
    }
}

/// What a batch changes in one log: the final state of everything that it touches, sorted, so that those who write it wait for
/// each other and not in a circle.
#[derive(Debug, Default)]
pub struct LogChanges {
    /// The head after the batch: its position and its state may be new.
    pub head: Head,
    /// The new events, in the order of their positions.
    pub events: Vec<Event>,
    /// The records that were written, as they are after the batch.
    pub records: BTreeMap<RecordKey, LoadedRecord>,
    /// The identities that changed hands, with their owner after the batch.
    pub owners: BTreeMap<Identity, Option<RecordId>>,
    /// The keys that were written, as they are after the batch.
    pub keys: BTreeMap<Subject, KeyRow>,
    /// The keys that are new, with the subjects that they are of.
    pub key_ids: Vec<(KeyId, Subject)>,
    known: HashMap<EventId, usize>,
}

impl LogChanges {
    fn is_empty(&self) -> bool {
        self.events.is_empty() && self.records.is_empty() && self.keys.is_empty()
    }
}

/// Decides the commits one after the other, each seeing those before it.
#[must_use]
pub fn decide(view: &impl View, limits: &Limits, batch: Vec<Commit>) -> Decided {
    let commits = batch.len();
    let mut decided = Decided { answers: Vec::with_capacity(commits), logs: BTreeMap::new() };
    for commit in batch {
        let answer = decide_one(view, limits, &mut decided.logs, commit, commits);
        decided.answers.push(answer);
    }
    decided.logs.retain(|_, changes| !changes.is_empty());
    decided
}

fn decide_one(
    view: &impl View,
    limits: &Limits,
    logs: &mut BTreeMap<LogId, LogChanges>,
    commit: Commit,
    commits: usize,
) -> Result<Committed> {
    commit.validate(limits)?;
    if !logs.contains_key(&commit.log) {
        let head = view.head(&commit.log)?;
        // Mostly, a batch has one log, and a commit has one event.
        let likely = if logs.is_empty() { commits } else { 0 };
        let (events, known) = (Vec::with_capacity(likely), HashMap::with_capacity(likely));
        logs.insert(commit.log.clone(), LogChanges { head, events, known, ..LogChanges::default() });
    }
    let Some(earlier) = logs.get_mut(&commit.log) else {
        return Err(Error::corrupt("a log that was inserted is not there"));
    };
    let log = commit.log.clone();
    let mut attempt =
        Attempt { view, log: &log, earlier, written: Vec::new(), has_identities: false, owners: BTreeMap::new() };
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

/// One commit on top of the earlier ones of its batch; nothing of it is kept unless it succeeds.
struct Attempt<'a, V> {
    view: &'a V,
    log: &'a LogId,
    earlier: &'a mut LogChanges,
    /// The records that it has written, each as often as it was.
    written: Vec<Written>,
    /// Whether one of them has identities, or had some.
    has_identities: bool,
    owners: BTreeMap<Identity, Option<RecordId>>,
}

/// A record that is written.
struct Written {
    key: RecordKey,
    /// What it was just before.
    before: Option<LoadedRecord>,
    /// Whether that was written in this batch, too.
    in_batch: bool,
}

impl<V: View> Attempt<'_, V> {
    /// Makes the commit, or fails, with what it has written undone by [`undo`](Self::undo).
    fn make(&mut self, commit: Commit) -> Result<Committed> {
        if let Some(known) = self.known(&commit)? {
            return Ok(known);
        }
        self.takes(&commit)?;
        self.keys(&commit)?;
        for check in &commit.checks {
            self.check(check)?;
        }
        let is_of_keys = commit.is_of_keys();
        self.written.reserve_exact(commit.changes.len());
        let mut events = Vec::with_capacity(commit.changes.len());
        for Change { event, write } in commit.changes {
            let revision = write.map(|write| self.write(write)).transpose()?;
            events.extend(event.map(|event| (event, revision)));
        }
        self.settle_identities()?;

        // From here on, nothing fails.
        let earlier = &mut *self.earlier;
        if !is_of_keys {
            // It is live, or has just been taken as it is.
            earlier.head.state = LogState::Live;
        }
        for write in commit.keys {
            earlier.key_ids.extend(write.new_ids.into_iter().map(|id| (id, write.row.subject.clone())));
            earlier.keys.insert(write.row.subject.clone(), write.row);
        }
        let mut committed = Committed { events: Vec::with_capacity(events.len()) };
        for (event, revision) in events {
            let position = earlier.head.position.next();
            earlier.head.position = position;
            earlier.known.insert(event.id, earlier.events.len());
            earlier.events.push(Event { position, revision, event });
            committed.events.push(CommittedEvent { position, revision });
        }
        earlier.owners.append(&mut self.owners);
        Ok(committed)
    }

    /// Takes back what was written.
    fn undo(&mut self) {
        for Written { key, before, in_batch } in self.written.drain(..).rev() {
            match before.filter(|_| in_batch) {
                Some(before) => self.earlier.records.insert(key, before),
                None => self.earlier.records.remove(&key),
            };
        }
    }

    /// Whether the log takes the commit, in the state that it is in.
    fn takes(&self, commit: &Commit) -> Result<()> {
        match self.earlier.head.state {
            _ if commit.is_of_keys() => Ok(()),
            LogState::Live if commit.accepts.is_none() => Ok(()),
            LogState::Live => {
                let message = format!("{} is not rewound, so that nothing is to be taken as it is", commit.log);
                Err(Error::new(ErrorKind::Conflict { actual: None }, message))
            }
            LogState::Rebuilding => Err(rebuilding(&commit.log)),
            LogState::Rewound(at) if commit.accepts == Some(at) => Ok(()),
            LogState::Rewound(at) => {
                let message = format!(
                    "the records of {} are at position {at} of {}: replay it to its head, or accept it as it is, before it takes commits",
                    commit.log, self.earlier.head.position
                );
                Err(Error::new(ErrorKind::Rewound { at }, message))
            }
        }
    }

    fn known(&self, commit: &Commit) -> Result<Option<Committed>> {
        let mut committed = Committed::default();
        let mut unknown = None;
        for event in commit.events() {
            let stored;
            let found = match self.earlier.known.get(&event.id).and_then(|at| self.earlier.events.get(*at)) {
                Some(found) => Some(found),
                None => {
                    stored = self.view.event(self.log, event.id)?;
                    stored.as_ref()
                }
            };
            match found {
                Some(found) if found.event == *event => {
                    committed.events.push(CommittedEvent { position: found.position, revision: found.revision });
                }
                Some(found) => {
                    return Err(reused(event.id, &format!("is at position {} with other content", found.position)));
                }
                None => unknown = Some(event.id),
            }
        }
        match unknown {
            Some(id) if !committed.events.is_empty() => Err(reused(id, "is not known, and others of its commit are")),
            None if !committed.events.is_empty() => Ok(Some(committed)),
            _ => Ok(None),
        }
    }

    /// That the keys are those that were sealed with, and those that are to be written are as they were read.
    fn keys(&self, commit: &Commit) -> Result<()> {
        let at = |subject: &Subject| match self.earlier.keys.get(subject) {
            Some(row) => Ok(row.at()),
            None => self.view.keys(self.log, subject),
        };
        for guard in &commit.guards {
            if at(&guard.subject)?.epoch != guard.epoch {
                return Err(key_changed(&guard.subject));
            }
        }
        for write in &commit.keys {
            if at(&write.row.subject)?.version != write.expected {
                return Err(key_changed(&write.row.subject));
            }
        }
        Ok(())
    }

    /// A record as it is now, and whether it was written in this batch.
    fn record(&self, key: &RecordKey) -> Result<(Option<LoadedRecord>, bool)> {
        match self.earlier.records.get(key) {
            Some(record) => Ok((Some(record.clone()), true)),
            None => self.view.record(self.log, key).map(|record| (record, false)),
        }
    }

    fn owner(&self, identity: &Identity) -> Result<Option<RecordId>> {
        match self.owners.get(identity).or_else(|| self.earlier.owners.get(identity)) {
            Some(owner) => Ok(owner.clone()),
            None => self.view.owner(self.log, identity),
        }
    }

    fn check(&self, check: &Check) -> Result<()> {
        match check {
            Check::Record { key, expected } => expected.verify_check(key, live_revision(self.record(key)?.0.as_ref())),
            Check::Identity { identity, owner: expected } => {
                let actual = self.owner(identity)?;
                if actual == *expected {
                    return Ok(());
                }
                let name = |owner: Option<&RecordId>| {
                    owner.map_or_else(|| "no record".to_owned(), |id| format!("{:?}", id.as_str()))
                };
                let (found, expected) = (name(actual.as_ref()), name(expected.as_ref()));
                let message = format!("the identity {identity} belongs to {found}; expected was {expected}");
                Err(Error::new(ErrorKind::Conflict { actual: None }, message))
            }
        }
    }

    fn write(&mut self, RecordWrite { key, expected, state }: RecordWrite) -> Result<Revision> {
        let (before, in_batch) = self.record(&key)?;
        expected.verify_write(&key, live_revision(before.as_ref()))?;
        let revision = before.as_ref().map_or(Revision::ZERO, |record| record.revision).next();
        let record = LoadedRecord { key: key.clone(), revision, state };
        self.has_identities |=
            [before.as_ref(), Some(&record)].into_iter().any(|record| !identities(record).is_empty());
        self.earlier.records.insert(key.clone(), record);
        self.written.push(Written { key, before, in_batch });
        Ok(revision)
    }

    /// Frees what the commit gives up, then takes what it takes: so two records can swap an identity.
    fn settle_identities(&mut self) -> Result<()> {
        if !self.has_identities {
            return Ok(());
        }
        let mut taken = Vec::new();
        // Of what a record was at several writes, the first is what it was before the commit.
        let mut written: Vec<&Written> = self.written.iter().collect();
        written.sort_by(|a, b| a.key.cmp(&b.key));
        written.dedup_by(|later, first| later.key == first.key);
        for Written { key, before, .. } in written {
            let old = identities(before.as_ref());
            let new = identities(self.earlier.records.get(key));
            for identity in old.iter().filter(|identity| !new.contains(identity)) {
                self.owners.insert(identity.of(&key.resource), None);
            }
            taken.extend(
                new.iter()
                    .filter(|identity| !old.contains(identity))
                    .map(|identity| (identity.of(&key.resource), key.id.clone())),
            );
        }
        // Sorted, so that of two that take the same one it is always the same that is told to own it.
        taken.sort_unstable();
        for (identity, id) in taken {
            match self.owner(&identity)? {
                Some(owner) if owner != id => {
                    let message = format!("the identity {identity} belongs to {:?}", owner.as_str());
                    let kind = ErrorKind::IdentityTaken { identity: identity.name, owner: owner.as_str().to_owned() };
                    return Err(Error::new(kind, message));
                }
                _ => self.owners.insert(identity, Some(id)),
            };
        }
        Ok(())
    }
}

fn identities(record: Option<&LoadedRecord>) -> &[IdentityValue] {
    record.and_then(|record| record.state.as_ref()).map_or(&[], |state| &state.identities)
}

fn live_revision(record: Option<&LoadedRecord>) -> Option<Revision> {
    record.filter(|record| record.state.is_some()).map(|record| record.revision)
}

fn reused(id: EventId, why: &str) -> Error {
    Error::new(ErrorKind::IdReused, format!("the event id {id} {why}"))
}
