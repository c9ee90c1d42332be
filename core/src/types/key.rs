//! What a store keeps of keys: rows that it does not understand, with a version and an epoch that it does.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::subject::Subject;

/// The id of a data key: 32 bytes, of which the first six tell when it was made (milliseconds since 1970), so that ids mostly
/// grow, and the others are derived from it and that time, so that a key cannot be taken for another.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyId([u8; 32]);

impl KeyId {
    /// The id of these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The keys of a subject, as a store keeps them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRow {
    /// Whose keys they are.
    pub subject: Subject,
    /// Counts the writes of this row, from 1.
    pub version: u64,
    /// Counts the changes after which nothing may be sealed as before: a new key, or none any more.
    pub epoch: u64,
    /// The keys, wrapped. A store keeps the bytes as they are.
    #[serde(with = "serde_bytes")]
    pub body: Vec<u8>,
}

/// That the keys of a subject are still those that something was sealed with. Else [`VaultFault::KeyChanged`].
///
/// [`VaultFault::KeyChanged`]: crate::error::VaultFault::KeyChanged
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyGuard {
    /// Whose keys.
    pub subject: Subject,
    /// The epoch that their row must be at.
    pub epoch: u64,
}

/// A write of a subject's keys, if their row is at a version. Else [`VaultFault::KeyChanged`].
///
/// [`VaultFault::KeyChanged`]: crate::error::VaultFault::KeyChanged
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyWrite {
    /// The version that the row must be at; 0 if it must not be there.
    pub expected: u64,
    /// The row after it.
    pub row: KeyRow,
    /// The keys that are new in it: from now on the row is found by their ids, too.
    pub new_ids: Vec<KeyId>,
}

/// How far the keys of a subject are, without what they are. Both are 0 if there are none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyVersion {
    /// See [`KeyRow::version`].
    pub version: u64,
    /// See [`KeyRow::epoch`].
    pub epoch: u64,
}

impl KeyRow {
    /// Its version and epoch.
    #[must_use]
    pub const fn at(&self) -> KeyVersion {
        KeyVersion { version: self.version, epoch: self.epoch }
    }
}
