//! Events.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::actor::Actor;
use super::json::Json;
use super::name::{ActionName, ResourceName};
use super::position::{Position, Revision};
use super::record::{RecordId, RecordKey};
use super::subject::Subject;
use super::time::Timestamp;
use crate::error::{Error, ErrorKind, Result, VaultFault};

/// The id of an event: a UUID, version 7 when Rekindle makes it, known before the commit.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EventId(Uuid);

impl EventId {
    /// A new id of the present time.
    #[must_use]
    pub fn generate() -> Self {
        Self(Uuid::now_v7())
    }

    /// The id with this UUID.
    #[must_use]
    pub const fn from_uuid(uuid: Uuid) -> Self {
        Self(uuid)
    }

    /// The UUID.
    #[must_use]
    pub const fn as_uuid(&self) -> &Uuid {
        &self.0
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// What an action does to its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActionType {
    /// The record comes to be.
    Create,
    /// The record changes.
    Update,
    /// The record ends.
    Destroy,
}

impl fmt::Display for ActionType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Destroy => "destroy",
        })
    }
}

/// One of the three sections of an event (data, changed attributes, metadata), as it is stored.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Payload {
    /// JSON in clear text.
    Json(Json),
    /// An envelope of the vault. A store keeps the bytes as they are.
    #[serde(with = "serde_bytes")]
    Sealed(Vec<u8>),
    /// What is left of a section after the subject was forgotten that it, or a part of it, was sealed for. It is never
    /// stored.
    Redacted {
        /// Who was forgotten, when and why.
        why: Redacted,
        /// What was not sealed for the subject; members that were are null. Empty if all of it was.
        rest: Json,
    },
}

/// Why something cannot be read any more: the subject that it was sealed for was forgotten.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redacted {
    /// Who was forgotten.
    pub subject: Subject,
    /// When, in microseconds.
    pub at: Timestamp,
    /// Why, as whoever did it has said.
    pub reason: String,
}

impl fmt::Display for Redacted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} was forgotten at {}: {}", self.subject, self.at, self.reason)
    }
}

impl fmt::Debug for Redacted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Payload {
    /// An empty object.
    #[must_use]
    pub fn empty() -> Self {
        Self::Json(Json::empty())
    }

    /// The JSON.
    ///
    /// # Errors
    ///
    /// `Vault`: with [`VaultFault::Sealed`] if the section is sealed, and with [`VaultFault::Redacted`] if its subject was
    /// forgotten.
    pub fn json(&self) -> Result<&Json> {
        match self {
            Self::Json(json) => Ok(json),
            Self::Sealed(_) => {
                let message = "a section of the event is sealed, and there is no vault to open it";
                Err(Error::new(ErrorKind::Vault(VaultFault::Sealed), message))
            }
            Self::Redacted { why, .. } => Err(Error::redacted(why.clone())),
        }
    }

    /// What can be read of it: the JSON, or what is left of it after a subject was forgotten.
    ///
    /// # Errors
    ///
    /// `Vault` with [`VaultFault::Sealed`] if the section is sealed.
    pub fn readable(&self) -> Result<&Json> {
        match self {
            Self::Redacted { rest, .. } => Ok(rest),
            _ => self.json(),
        }
    }

    /// Who was forgotten, if that is why it cannot be read.
    #[must_use]
    pub fn redacted(&self) -> Option<&Redacted> {
        match self {
            Self::Redacted { why, .. } => Some(why),
            _ => None,
        }
    }

    /// The size in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        match self {
            Self::Json(json) => json.as_str().len(),
            Self::Sealed(bytes) => bytes.len(),
            Self::Redacted { rest, .. } => rest.as_str().len(),
        }
    }
}

impl From<Json> for Payload {
    fn from(json: Json) -> Self {
        Self::Json(json)
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(json) => write!(f, "{json}"),
            Self::Sealed(bytes) => write!(f, "<sealed, {} bytes>", bytes.len()),
            Self::Redacted { why, rest } => write!(f, "{rest} <redacted: {why}>"),
        }
    }
}

/// An event before its commit: all that the caller says of it. The commit adds the position and the revision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewEvent {
    /// The id, made before the commit. Committing the same id again answers as the first time did.
    pub id: EventId,
    /// The resource whose record the action was run on.
    pub resource: ResourceName,
    /// The id of that record.
    pub record_id: RecordId,
    /// The action.
    pub action: ActionName,
    /// What the action does to its record.
    pub action_type: ActionType,
    /// The version of the action's input.
    pub version: u32,
    /// Who ran it; `None` is an anonymous actor, which is said in so many words where the action is run.
    pub actor: Option<Actor>,
    /// The input.
    pub data: Payload,
    /// What changed beyond the input.
    pub changed_attributes: Payload,
    /// The attributes that were taken away.
    pub removed_attributes: Vec<String>,
    /// What the caller tells about the call.
    pub metadata: Payload,
    /// When it happened, in microseconds.
    pub occurred_at: Timestamp,
}

impl NewEvent {
    /// The record that it is about.
    #[must_use]
    pub fn key(&self) -> RecordKey {
        RecordKey { resource: self.resource.clone(), id: self.record_id.clone() }
    }
}

/// A stored event: what was committed, where it stands, and the revision that the record had after it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Where it stands in its log.
    pub position: Position,
    /// The revision of the record after it; `None` if the commit had no record write for it.
    pub revision: Option<Revision>,
    /// What was committed.
    pub event: NewEvent,
}

impl std::ops::Deref for Event {
    type Target = NewEvent;
    fn deref(&self) -> &NewEvent {
        &self.event
    }
}
