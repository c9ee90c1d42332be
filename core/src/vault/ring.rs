//! The keys of a subject, as they are in the body of a row.

use serde::{Deserialize, Serialize};

use crate::codec;
use crate::error::{Error, Result};
use crate::types::{EventId, KeyId, KeyRow, KeyVersion, Redacted, Subject, Timestamp};

/// All keys that a subject has had, the oldest first. The order of the fields is the format.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ring {
    pub(super) state: State,
    pub(super) keys: Vec<RingKey>,
}

/// Whether something can be sealed for the subject.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum State {
    /// It can: by the last key.
    Open,
    /// It was forgotten.
    Forgotten(Forgetting),
}

/// How a subject was forgotten, and what is left to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Forgetting {
    pub(super) at: Timestamp,
    pub(super) reason: String,
    /// The id of the event that tells of it: chosen here, so that it is told once.
    pub(super) event: EventId,
    /// Whether it was told, and the records are scrubbed.
    pub(super) done: bool,
}

/// One key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RingKey {
    pub(super) generation: u32,
    pub(super) id: KeyId,
    pub(super) material: Material,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Material {
    /// It is there, wrapped by the key-encryption key of this name.
    Wrapped {
        kek: String,
        #[serde(with = "serde_bytes")]
        wrapped: Vec<u8>,
    },
    /// It was destroyed; the key-encryption key is the one that wrapped it last.
    Destroyed { kek: String, at: Timestamp, reason: String },
}

impl Ring {
    /// That of a subject without keys.
    pub(super) fn empty() -> Self {
        Self { state: State::Open, keys: Vec::new() }
    }

    pub(super) fn of_row(row: &KeyRow) -> Result<Self> {
        codec::decode(&row.body).map_err(|error| error.at(format!("the keys of {}", row.subject)))
    }

    /// The row after a row at this version.
    pub(super) fn row(&self, subject: &Subject, after: KeyVersion, new_epoch: bool) -> Result<KeyRow> {
        Ok(KeyRow {
            subject: subject.clone(),
            version: after.version + 1,
            epoch: after.epoch + u64::from(new_epoch),
            body: codec::encode(self)?,
        })
    }

    /// The key that is sealed by; `None` if there is none yet.
    pub(super) fn current(&self, subject: &Subject) -> Result<Option<&RingKey>> {
        match &self.state {
            State::Open => Ok(self.keys.last().filter(|key| matches!(key.material, Material::Wrapped { .. }))),
            State::Forgotten(forgetting) => Err(Error::redacted(forgetting.redacted(subject))),
        }
    }

    pub(super) fn next_generation(&self) -> u32 {
        self.keys.last().map_or(1, |key| key.generation.saturating_add(1))
    }
}

impl Forgetting {
    pub(super) fn redacted(&self, subject: &Subject) -> Redacted {
        Redacted { subject: subject.clone(), at: self.at, reason: self.reason.clone() }
    }
}
