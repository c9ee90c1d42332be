//! The unit of change.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::event::{NewEvent, Payload};
use super::json::Json;
use super::key::{KeyGuard, KeyWrite};
use super::limits::Limits;
use super::lock::LockKey;
use super::name::LogId;
use super::position::{Position, Revision};
use super::record::{Identity, IdentityValue, RecordId, RecordKey};
use crate::error::{Error, ErrorKind, Result};

/// Changes to one log, with what must hold for them: all or none.
///
/// A store evaluates it in this order, under the log's lock: known event ids, then the state of the log, then the keys, then
/// the checks, then the changes one after the other, each seeing those before it. A commit of [keys only](Self::is_of_keys)
/// does not ask for the state of the log: keys are no part of it.
#[derive(Clone, Debug)]
pub struct Commit {
    /// The log.
    pub log: LogId,
    /// What the commit is serialized by: commits under one key never overlap.
    pub lock: LockKey,
    /// What the keys must be that its events and records were sealed with.
    pub guards: Vec<KeyGuard>,
    /// The writes of keys, in order.
    pub keys: Vec<KeyWrite>,
    /// What else must hold: what the caller has read.
    pub checks: Vec<Check>,
    /// The changes, in order.
    pub changes: Vec<Change>,
    /// Takes a log that is rewound to this position as it is: the commit is made on it, and the log is live from then on.
    /// If the log is not rewound to this position, it is refused. `None` for any other commit.
    pub accepts: Option<Position>,
}

/// An event, a record write, or both: then the event is of that record, and bears its new revision.
#[derive(Clone, Debug)]
pub struct Change {
    /// The event. `None` for a write that the log does not show.
    pub event: Option<NewEvent>,
    /// The write. `None` for an event that changes no record.
    pub write: Option<RecordWrite>,
}

/// One write of one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordWrite {
    /// The record.
    pub key: RecordKey,
    /// What it must be before.
    pub expected: Expected,
    /// What it is after; `None` destroys it.
    pub state: Option<WriteState>,
}

/// A record's content, as a write sets it: all of it, not a difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriteState {
    /// Its attributes.
    pub attributes: Json,
    /// The unique values that it owns from now on; those that are not among them are free again.
    pub identities: Vec<IdentityValue>,
}

/// What a record must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Not there. Else `AlreadyExists` for a write, `Conflict` for a check.
    Absent,
    /// There, at this revision. Else `NotFound` for a write to a record that is not there, `Conflict` in all other cases.
    Revision(Revision),
    /// There, at any revision. Else `NotFound` for a write, `Conflict` for a check.
    Exists,
    /// There or not.
    Any,
}

/// Something that the caller has read and that must still be so. Else `Conflict`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// A record is as expected.
    Record {
        /// The record.
        key: RecordKey,
        /// What it must be.
        expected: Expected,
    },
    /// An identity belongs to this record, or to none.
    Identity {
        /// The identity.
        identity: Identity,
        /// The record that owns it.
        owner: Option<RecordId>,
    },
}

/// The answer to a commit: where its events stand. A commit of known event ids gives the same answer as it gave first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// Its events, in order.
    pub events: Vec<CommittedEvent>,
}

/// Where an event stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommittedEvent {
    /// Its position.
    pub position: Position,
    /// The revision of its record after it; `None` if it came without a record write.
    pub revision: Option<Revision>,
}

impl Commit {
    /// A commit without checks and changes.
    #[must_use]
    pub fn new(log: LogId, lock: LockKey) -> Self {
        Self { log, lock, guards: Vec::new(), keys: Vec::new(), checks: Vec::new(), changes: Vec::new(), accepts: None }
    }

    /// Whether it writes keys, and asks for and changes nothing else: then it is made whatever state the log is in.
    #[must_use]
    pub fn is_of_keys(&self) -> bool {
        !self.keys.is_empty() && self.checks.is_empty() && self.changes.is_empty() && self.accepts.is_none()
    }

    /// Its events, in order.
    pub fn events(&self) -> impl Iterator<Item = &NewEvent> {
        self.changes.iter().filter_map(|change| change.event.as_ref())
    }

    /// Its record writes, in order.
    pub fn writes(&self) -> impl Iterator<Item = &RecordWrite> {
        self.changes.iter().filter_map(|change| change.write.as_ref())
    }

    /// Checks what can be checked without looking at the store. Every backend calls it for each commit before anything
    /// else.
    ///
    /// # Errors
    ///
    /// `TooLarge` for whatever is over a limit; `Invalid` for an event id that is in the commit twice, an event that is
    /// not of the record that its change writes, a section that is redacted, an identity that is no text or is given twice,
    /// and keys that are written or guarded twice or whose version does not follow the one that is expected.
    pub fn validate(&self, limits: &Limits) -> Result<()> {
        let name = |what: &str, name: &str| limits.check(what, name.len(), limits.name_bytes);
        let keys = self.keys.len() + self.guards.len();
        limits.check("changes in a commit", self.changes.len() + self.checks.len(), limits.commit_changes)?;
        limits.check("keys in a commit", keys, limits.commit_changes.saturating_mul(2))?;
        self.validate_keys(limits)?;
        name("bytes in the name of a log", self.log.name.as_str())?;
        name("bytes in a tenant", self.log.tenant.as_ref().map_or("", |tenant| tenant.as_str()))?;
        let mut ids = HashSet::new();
        for change in &self.changes {
            if let Some(event) = &change.event {
                if self.changes.len() > 1 && !ids.insert(event.id) {
                    return Err(Error::invalid(format!("the event id {} is twice in one commit", event.id)));
                }
                name("bytes in the name of a resource", event.resource.as_str())?;
                name("bytes in a record id", event.record_id.as_str())?;
                name("bytes in the name of an action", event.action.as_str())?;
                if let Some(actor) = &event.actor {
                    name("bytes in the kind of an actor", actor.kind().as_str())?;
                    name("bytes in the id of an actor", actor.id())?;
                }
                limits.check("bytes in the metadata of an event", event.metadata.size(), limits.metadata_bytes)?;
                for section in [&event.data, &event.changed_attributes, &event.metadata] {
                    if let Payload::Redacted { .. } = section {
                        return Err(Error::invalid(format!("the event {} has a section that is redacted", event.id)));
                    }
                }
                let removed: usize = event.removed_attributes.iter().map(String::len).sum();
                let size = event.data.size() + event.changed_attributes.size() + event.metadata.size() + removed;
                limits.check("bytes in an event", size, limits.event_bytes)?;
            }
            if let Some(write) = &change.write {
                name("bytes in the name of a resource", write.key.resource.as_str())?;
                name("bytes in a record id", write.key.id.as_str())?;
                if change
                    .event
                    .as_ref()
                    .is_some_and(|event| event.resource != write.key.resource || event.record_id != write.key.id)
                {
                    return Err(Error::invalid(format!(
                        "a change writes {}, and its event is of another record",
                        write.key
                    )));
                }
                if let Some(state) = &write.state {
                    limits.check("bytes in a record", state.attributes.as_str().len(), limits.record_bytes)?;
                    let mut names = HashSet::new();
                    for identity in &state.identities {
                        identity.check()?;
                        name("bytes in the name of an identity", &identity.name)?;
                        name("bytes in the value of an identity", &identity.value)?;
                        if !names.insert(&identity.name) {
                            return Err(Error::invalid(format!(
                                "{} has the identity {:?} twice",
                                write.key, identity.name
                            )));
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn validate_keys(&self, limits: &Limits) -> Result<()> {
        let mut subjects = HashSet::new();
        let guarded = self.guards.iter().map(|guard| &guard.subject);
        for subject in self.keys.iter().map(|write| &write.row.subject).chain(guarded) {
            if !subjects.insert(subject) {
                return Err(Error::invalid(format!("the keys of {subject} are twice in one commit")));
            }
        }
        for KeyWrite { expected, row, .. } in &self.keys {
            if row.version <= *expected {
                let (subject, version) = (&row.subject, row.version);
                let message = format!("the keys of {subject} are to be at version {version}, after version {expected}");
                return Err(Error::invalid(message));
            }
            limits.check("bytes in the keys of a subject", row.body.len(), limits.record_bytes)?;
        }
        Ok(())
    }
}

impl Expected {
    /// Whether a record that is at `actual` (`None`: not there) is as a write expects it.
    ///
    /// # Errors
    ///
    /// `AlreadyExists`, `NotFound` or `Conflict`, as each variant says.
    pub fn verify_write(self, key: &RecordKey, actual: Option<Revision>) -> Result<()> {
        match (self, actual) {
            (Self::Absent, Some(actual)) => {
                Err(Error::new(ErrorKind::AlreadyExists { actual }, format!("{key} exists, at revision {actual}")))
            }
            (Self::Exists | Self::Revision(_), None) => {
                Err(Error::new(ErrorKind::NotFound, format!("{key} does not exist")))
            }
            (Self::Revision(expected), Some(actual)) if expected != actual => Err(conflict(key, self, Some(actual))),
            _ => Ok(()),
        }
    }

    /// Whether a record that is at `actual` (`None`: not there) is as a check expects it.
    ///
    /// # Errors
    ///
    /// `Conflict`, with the actual revision.
    pub fn verify_check(self, key: &RecordKey, actual: Option<Revision>) -> Result<()> {
        let holds = match self {
            Self::Absent => actual.is_none(),
            Self::Revision(expected) => actual == Some(expected),
            Self::Exists => actual.is_some(),
            Self::Any => true,
        };
        if holds { Ok(()) } else { Err(conflict(key, self, actual)) }
    }
}

fn conflict(key: &RecordKey, expected: Expected, actual: Option<Revision>) -> Error {
    let expected = match expected {
        Expected::Absent => "no such record".to_owned(),
        Expected::Revision(revision) => format!("revision {revision}"),
        Expected::Exists | Expected::Any => "some revision".to_owned(),
    };
    let found = actual.map_or_else(|| "is not there".to_owned(), |actual| format!("is at revision {actual}"));
    Error::new(ErrorKind::Conflict { actual }, format!("{key} {found}; expected was {expected}"))
}
