//! Records and their unique identities.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::json::Json;
use super::name::{ResourceName, check_text, text_newtype};
use super::position::Revision;
use crate::error::{Error, Result};

text_newtype!(
    /// The id of a record: any text of 1 to 1024 bytes without NUL. A UUID and an integer are written as text.
    RecordId, "record id", check_text
);

/// Which record: its resource and its id. Keys sort by resource, then by the bytes of the id.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RecordKey {
    /// The resource.
    pub resource: ResourceName,
    /// The id.
    pub id: RecordId,
}

impl RecordKey {
    /// The key of this record.
    ///
    /// # Errors
    ///
    /// `Invalid` or `TooLarge` if a part breaks its rules.
    pub fn new(resource: impl AsRef<str>, id: impl AsRef<str>) -> Result<Self> {
        Ok(Self { resource: ResourceName::new(resource)?, id: RecordId::new(id)? })
    }
}

impl fmt::Display for RecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.resource, self.id)
    }
}

impl fmt::Debug for RecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The state of a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Which record.
    pub key: RecordKey,
    /// How often it was written.
    pub revision: Revision,
    /// Its attributes: one JSON object, byte for byte as it was written.
    pub attributes: Json,
    /// The unique values that it owns, in the order in which they were written.
    pub identities: Vec<IdentityValue>,
}

/// A unique value of a record, without the resource that it belongs to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct IdentityValue {
    /// The name of the identity.
    pub name: String,
    /// The value.
    pub value: String,
}

/// A named unique value of a record (an e-mail address): within a log, one record of a resource owns it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Identity {
    /// The resource.
    pub resource: ResourceName,
    /// The name of the identity.
    pub name: String,
    /// The value.
    pub value: String,
}

impl Identity {
    /// The identity of this name and value.
    ///
    /// # Errors
    ///
    /// `Invalid` or `TooLarge` if a part breaks its rules; names and values are text of 1 to 1024 bytes without NUL.
    pub fn new(resource: impl AsRef<str>, name: impl Into<String>, value: impl Into<String>) -> Result<Self> {
        let value = IdentityValue::new(name, value)?;
        Ok(Self { resource: ResourceName::new(resource)?, name: value.name, value: value.value })
    }
}

impl fmt::Display for IdentityValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={:?}", self.name, self.value)
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}={:?}", self.resource, self.name, self.value)
    }
}

impl IdentityValue {
    /// The value of an identity.
    ///
    /// # Errors
    ///
    /// `Invalid` or `TooLarge` if a part is not text of 1 to 1024 bytes without NUL.
    pub fn new(name: impl Into<String>, value: impl Into<String>) -> Result<Self> {
        let identity = Self { name: name.into(), value: value.into() };
        identity.check()?;
        Ok(identity)
    }

    pub(super) fn check(&self) -> Result<()> {
        check_text(&self.name, "identity name")?;
        check_text(&self.value, "identity value").map_err(|e: Error| e.at(format!("identity {:?}", self.name)))
    }

    /// The same, of a resource.
    #[must_use]
    pub fn of(&self, resource: &ResourceName) -> Identity {
        Identity { resource: resource.clone(), name: self.name.clone(), value: self.value.clone() }
    }
}
