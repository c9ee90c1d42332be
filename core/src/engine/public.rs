//! Which fields of events are shown to others.

use crate::error::Result;
use crate::types::{Event, JsonObject, Payload};

/// Which fields of events [`Log::public`](super::Log::public) shows: none, unless it is said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum PublicFields {
    /// None.
    #[default]
    None,
    /// These: see [`PublicFields::NAMES`].
    Some(Vec<String>),
    /// All.
    All,
}

impl PublicFields {
    /// The names of the fields.
    pub const NAMES: [&'static str; 14] = [
        "position",
        "id",
        "resource",
        "record_id",
        "action",
        "action_type",
        "version",
        "actor",
        "data",
        "changed_attributes",
        "removed_attributes",
        "metadata",
        "occurred_at",
        "revision",
    ];

    /// The names that are no fields.
    pub(crate) fn mistakes(&self) -> Vec<String> {
        let Self::Some(names) = self else { return Vec::new() };
        let unknown = names.iter().filter(|name| !Self::NAMES.contains(&name.as_str()));
        unknown.map(|name| format!("{name:?} is to be a public field, and is no field of an event")).collect()
    }

    /// The public fields of an event.
    pub(crate) fn of(&self, event: &Event) -> Result<JsonObject> {
        let shown = |name: &str| match self {
            Self::None => false,
            Self::Some(names) => names.iter().any(|shown| shown == name),
            Self::All => true,
        };
        let mut fields = JsonObject::default();
        for name in Self::NAMES.into_iter().filter(|name| shown(name)) {
            match name {
                "position" => fields.set(name, &event.position)?,
                "id" => fields.set(name, &event.id)?,
                "resource" => fields.set(name, &event.resource)?,
                "record_id" => fields.set(name, &event.record_id.as_str())?,
                "action" => fields.set(name, &event.action)?,
                "action_type" => fields.set(name, &event.action_type)?,
                "version" => fields.set(name, &event.version)?,
                "actor" => fields.set(name, &event.actor)?,
                "data" => section(&mut fields, name, &event.data)?,
                "changed_attributes" => section(&mut fields, name, &event.changed_attributes)?,
                "removed_attributes" => fields.set(name, &event.removed_attributes)?,
                "metadata" => section(&mut fields, name, &event.metadata)?,
                "occurred_at" => fields.set(name, &event.occurred_at)?,
                _ => fields.set(name, &event.revision)?,
            }
        }
        Ok(fields)
    }
}

fn section(fields: &mut JsonObject, name: &str, payload: &Payload) -> Result<()> {
    fields.set(name, &payload.readable()?.to_object()?)
}
