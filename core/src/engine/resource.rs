//! Resources: what records are of.

use std::fmt::Display;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::action::ActionSpec;
use crate::error::{Error, ErrorKind, Result};
use crate::types::{IdentityValue, Json, JsonObject, RecordId, RecordKey, ResourceName, Subject, Timestamp};

/// A type whose values are records. Derive it: `#[derive(Resource)]`.
///
/// It must serialize to a JSON object whose members are its attributes, and read back from it.
pub trait Resource: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The type of its id: a UUID, an integer, text. Two ids are the same if they are written the same.
    type Id: Display + Send + Sync;

    /// The name under which its records and events are stored, such as `accounts.user`.
    const NAME: &'static str;

    /// Its attributes: the members of its JSON.
    const ATTRIBUTES: &'static [Attribute];

    /// Its identities: what is unique among the records of the resource.
    const IDENTITIES: &'static [IdentitySpec] = &[];

    /// Whether an action that leaves its record as it was is recorded.
    const RECORD_UNCHANGED: bool = false;

    /// Whose data a record is, for the vault: the record itself unless an attribute says otherwise.
    const SUBJECT: Option<SubjectSpec> = None;

    /// The actions that may be run on it.
    fn actions() -> Vec<ActionSpec>;

    /// The id of this record.
    fn id(&self) -> String;

    /// The unique values that this record owns, by the names of the identities; an identity without a value is left out.
    fn identities(&self) -> Vec<(&'static str, String)>;

    /// Sets the attributes that hold when the record was created (only if it is being created) and updated.
    fn stamp(&mut self, created: bool, at: Timestamp);
}

/// An attribute of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attribute {
    /// Its name in the JSON.
    pub name: &'static str,
    /// Whether it is the id. A replay gives a created record the id of its event, whatever the action's body has made.
    pub id: bool,
    /// Whether events hold null in its place, or it is sealed, where there is a vault.
    pub sensitive: bool,
    /// Whether events hold it all the same, though it is sensitive.
    pub stored: bool,
}

/// An identity of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdentitySpec {
    /// Its name.
    pub name: &'static str,
    /// The attributes that its value is made of.
    pub attributes: &'static [&'static str],
}

/// The attribute that says whose data a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubjectSpec {
    /// The attribute. A record in which it is null is its own subject.
    pub attribute: &'static str,
    /// The resource whose record with this id is the subject; `None` if the value is the [name](Subject::named) of one.
    pub of: Option<&'static str>,
}

impl Subject {
    /// The subject that a record is, by its typed id.
    ///
    /// # Errors
    ///
    /// `Invalid` or `TooLarge` if the id is no record id.
    pub fn of<R: Resource>(id: &R::Id) -> Result<Self> {
        Self::of_record(&key_of::<R>(id)?)
    }
}

/// The value of an identity over several attributes: a JSON array of their texts, so that no two of them read the same.
///
/// ```
/// assert_eq!(rekindle_core::engine::compound(["shop 1", "shelf \"B\""]), r#"["shop 1","shelf \"B\""]"#);
/// ```
pub fn compound<S: AsRef<str>>(parts: impl IntoIterator<Item = S>) -> String {
    let parts: Vec<_> = parts.into_iter().map(|part| serde_json::Value::from(part.as_ref())).collect();
    serde_json::Value::from(parts).to_string()
}

/// The name of a resource, checked.
pub(crate) fn name_of<R: Resource>() -> Result<ResourceName> {
    ResourceName::from_static(R::NAME)
}

/// The key of a record by its typed id.
pub(crate) fn key_of<R: Resource>(id: &R::Id) -> Result<RecordKey> {
    Ok(RecordKey { resource: name_of::<R>()?, id: RecordId::new(id.to_string())? })
}

/// A record as its stored form: the key, the attributes, the identities.
pub(crate) struct Stored {
    pub(crate) key: RecordKey,
    pub(crate) attributes: JsonObject,
    pub(crate) identities: Vec<IdentityValue>,
}

impl Stored {
    pub(crate) fn of<R: Resource>(record: &R) -> Result<Self> {
        let key = RecordKey { resource: name_of::<R>()?, id: RecordId::new(record.id())? };
        let (_, attributes) = JsonObject::of_value(record).map_err(|error| error.at(&key))?;
        let identities = record.identities().into_iter().map(|(name, value)| IdentityValue::new(name, value));
        Ok(Self { identities: identities.collect::<Result<_>>().map_err(|error| error.at(&key))?, key, attributes })
    }
}

/// What replay needs of a resource, its type erased.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ResourceSpec {
    pub(crate) attributes: &'static [Attribute],
    identity_specs: &'static [IdentitySpec],
    subject: Option<SubjectSpec>,
    /// Whether there is a vault: then events and records hold what is sensitive, sealed.
    sealed: bool,
    /// What the store keeps beside the attributes. They must be those of the record with this id.
    pub(crate) identities: fn(&RecordId, &Json) -> Result<Vec<IdentityValue>>,
}

impl ResourceSpec {
    pub(crate) fn of<R: Resource>() -> Self {
        fn identities<R: Resource>(id: &RecordId, attributes: &Json) -> Result<Vec<IdentityValue>> {
            let record: R = attributes.to_value()?;
            let own = record.id();
            if own != id.as_str() {
                return Err(Error::invalid(format!("its attributes are those of a record with the id {own:?}")));
            }
            record.identities().into_iter().map(|(name, value)| IdentityValue::new(name, value)).collect()
        }
        Self {
            attributes: R::ATTRIBUTES,
            identity_specs: R::IDENTITIES,
            subject: R::SUBJECT,
            sealed: false,
            identities: identities::<R>,
        }
    }

    pub(crate) fn has_attribute(&self, name: &str) -> bool {
        self.attributes.iter().any(|attribute| attribute.name == name)
    }

    /// That there is a vault.
    pub(crate) fn seal(&mut self) {
        self.sealed = true;
    }

    pub(crate) fn is_sealed(&self) -> bool {
        self.sealed
    }

    /// The attributes that are sensitive.
    pub(crate) fn sensitive(&self) -> impl Iterator<Item = &'static str> + use<> {
        self.attributes.iter().filter(|attribute| attribute.sensitive).map(|attribute| attribute.name)
    }

    /// The attributes that events do not hold.
    pub(crate) fn hidden(&self) -> impl Iterator<Item = &'static str> + use<> {
        let sealed = self.sealed;
        self.attributes
            .iter()
            .filter(move |attribute| attribute.sensitive && !attribute.stored && !sealed)
            .map(|attribute| attribute.name)
    }

    /// The identities whose values are made of sensitive attributes.
    pub(crate) fn sensitive_identities(&self) -> impl Iterator<Item = &'static str> {
        let reveals = |identity: &&IdentitySpec| self.sensitive().any(|name| identity.attributes.contains(&name));
        self.identity_specs.iter().filter(reveals).map(|identity| identity.name)
    }

    /// The attribute that says whose data a record is, if one does.
    pub(crate) fn subject_spec(&self) -> Option<SubjectSpec> {
        self.subject
    }

    /// Whose data a record is.
    pub(crate) fn subject(&self, key: &RecordKey, attributes: &JsonObject) -> Result<Subject> {
        let Some(SubjectSpec { attribute, of }) = self.subject else { return Subject::of_record(key) };
        let value = attributes.get(attribute).unwrap_or("null");
        let value = serde_json::from_str(value).unwrap_or(serde_json::Value::Null);
        let text = match value {
            serde_json::Value::Null => return Subject::of_record(key),
            serde_json::Value::String(text) => text,
            serde_json::Value::Number(number) => number.to_string(),
            _ => {
                let message = format!("the attribute {attribute:?} of {key} says whose data it is, and is no text");
                return Err(Error::invalid(message));
            }
        };
        match of {
            Some(resource) => Subject::of_record(&RecordKey::new(resource, text)?),
            None => Subject::named(&text),
        }
    }

    /// The identities whose values are made of such attributes.
    pub(crate) fn hidden_identities(&self) -> impl Iterator<Item = &'static str> {
        let hides = |identity: &&IdentitySpec| self.hidden().any(|hidden| identity.attributes.contains(&hidden));
        self.identity_specs.iter().filter(hides).map(|identity| identity.name)
    }

    /// The attribute that is the id; `None` if the id is made of something else.
    pub(crate) fn id_attribute(&self) -> Option<&'static str> {
        self.attributes.iter().find(|attribute| attribute.id).map(|attribute| attribute.name)
    }

    /// The input's members that are attributes.
    pub(crate) fn known(&self, mut input: JsonObject) -> JsonObject {
        input.retain(|name| self.has_attribute(name));
        input
    }

    /// The members with null in the place of what is sensitive, these among it; `None` if nothing is.
    pub(crate) fn redacted(&self, section: &JsonObject, members: &[&'static str]) -> Result<Option<JsonObject>> {
        let mut redacted = None;
        if self.sealed {
            return Ok(redacted);
        }
        for name in self.hidden().chain(members.iter().copied()).filter(|name| section.contains(name)) {
            redacted.get_or_insert_with(|| section.clone()).set(name, &())?;
        }
        Ok(redacted)
    }
}

/// Reads a typed record from its attributes.
pub(crate) fn typed<R: Resource>(key: &RecordKey, attributes: &Json) -> Result<R> {
    attributes.to_value().map_err(|error| {
        let message = format!("the attributes of {key} do not fit {}", std::any::type_name::<R>());
        Error::new(ErrorKind::Corrupt, message).with_source(error)
    })
}
