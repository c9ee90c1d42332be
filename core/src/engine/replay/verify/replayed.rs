//! What the log makes of a record, and how a live one differs from it.

use std::collections::BTreeSet;

use super::drift::Difference;
use crate::engine::fold::FoldState;
use crate::engine::log::Log;
use crate::error::{Error, ErrorKind, Result};
use crate::types::{IdentityValue, JsonObject, Position, Record, RecordKey, Revision};

/// What the log makes of a record.
#[derive(Clone)]
pub(super) struct Replayed {
    pub(super) revision: Revision,
    /// Without what is sensitive; `None` if there is no such record.
    attributes: Option<JsonObject>,
    pub(super) identities: Vec<IdentityValue>,
    hidden: Vec<&'static str>,
    hidden_identities: Vec<&'static str>,
}

impl Replayed {
    pub(super) fn nothing() -> Self {
        Self {
            revision: Revision::ZERO,
            attributes: None,
            identities: Vec::new(),
            hidden: Vec::new(),
            hidden_identities: Vec::new(),
        }
    }

    pub(super) async fn of(log: &Log, key: &RecordKey, state: &FoldState) -> Result<Self> {
        let resource = log.engine.registry.resource(key.resource.as_str())?;
        let hidden: Vec<_> = resource.hidden().collect();
        let hidden_identities: Vec<_> = resource.hidden_identities().collect();
        let mut identities = match &state.attributes {
            // Of a record of which too little can be read, nothing is known.
            Some(attributes)
                if state.redacted.is_some() && (resource.identities)(&key.id, &attributes.to_json()?).is_err() =>
            {
                return Ok(Self { revision: state.revision, ..Self::nothing() });
            }
            Some(attributes) => (resource.identities)(&key.id, &attributes.to_json()?).map_err(|error| {
                let position = state.position;
                let message = format!("after the event at position {position}: {key}: {error}");
                Error::new(ErrorKind::Replay { position }, message)
            })?,
            None => Vec::new(),
        };
        if let Some(sealer) = &log.engine.sealer {
            sealer.hash_identities(&log.id, &key.resource, &mut identities).await?;
        }
        identities.retain(|identity| !hidden_identities.contains(&identity.name.as_str()));
        let mut attributes = state.attributes.clone();
        if let Some(attributes) = &mut attributes {
            attributes.retain(|name| !hidden.contains(&name));
        }
        Ok(Self { revision: state.revision, attributes, identities, hidden, hidden_identities })
    }
}

pub(super) fn differences(replayed: &Replayed, live: Option<&Record>) -> Vec<Difference> {
    let (attributes, live) = match (&replayed.attributes, live) {
        (None, None) => return Vec::new(),
        (Some(_), None) => return vec![Difference::Missing],
        (None, Some(_)) => return vec![Difference::Extra],
        (Some(attributes), Some(live)) => (attributes, live),
    };
    let mut found = Vec::new();
    let mut stored = live.attributes.to_object().unwrap_or_default();
    stored.retain(|name| !replayed.hidden.contains(&name));
    let names: BTreeSet<&str> = stored.names().chain(attributes.names()).collect();
    for name in names {
        let same = match (stored.get(name), attributes.get(name)) {
            (Some(value), Some(_)) => attributes.has(name, value),
            _ => false,
        };
        if !same {
            let text = |object: &JsonObject| object.get(name).map(str::to_owned);
            let (live, replayed) = (text(&stored), text(attributes));
            found.push(Difference::Attribute { name: name.to_owned(), live, replayed });
        }
    }
    if live.revision != replayed.revision {
        found.push(Difference::Revision { live: live.revision, replayed: replayed.revision });
    }
    let mut identities = live.identities.clone();
    identities.retain(|identity| !replayed.hidden_identities.contains(&identity.name.as_str()));
    let sorted = |identities: &[IdentityValue]| identities.iter().cloned().collect::<BTreeSet<_>>();
    if sorted(&identities) != sorted(&replayed.identities) {
        found.push(Difference::Identities { live: identities, replayed: replayed.identities.clone() });
    }
    found
}

/// Whether a record is what the log makes of it at the revision that it is at.
pub(super) fn right_at_its_revision(steps: &[(Position, Replayed)], live: Option<&Record>) -> bool {
    live.is_some_and(|live| {
        let at = steps.iter().find(|(_, replayed)| replayed.revision == live.revision);
        at.is_some_and(|(_, replayed)| differences(replayed, Some(live)).is_empty())
    })
}

/// The event after which they part: the first one after the last at which they agreed, or the last that changed it.
pub(super) fn parted(difference: &Difference, steps: &[(Position, Replayed)]) -> Option<Position> {
    let value = |replayed: &Replayed| match difference {
        Difference::Missing | Difference::Extra => Some(replayed.attributes.is_some().to_string()),
        Difference::Attribute { name, .. } => {
            replayed.attributes.as_ref().and_then(|attributes| attributes.get(name)).map(str::to_owned)
        }
        Difference::Revision { .. } => Some(replayed.revision.to_string()),
        Difference::Identities { .. } => Some(format!("{:?}", replayed.identities)),
        Difference::Index { identity, .. } => Some(replayed.identities.contains(identity).to_string()),
    };
    let live = match difference {
        Difference::Missing => Some("false".to_owned()),
        Difference::Extra => Some("true".to_owned()),
        Difference::Attribute { live, .. } => live.clone(),
        Difference::Revision { live, .. } => Some(live.to_string()),
        Difference::Identities { live, .. } => Some(format!("{live:?}")),
        Difference::Index { .. } => Some("false".to_owned()),
    };
    if let Some(agreed) = steps.iter().rposition(|(_, replayed)| value(replayed) == live) {
        return steps.get(agreed + 1).map(|(position, _)| *position);
    }
    let mut before = Some(Replayed::nothing()).as_ref().and_then(value);
    let mut changed = None;
    for (position, replayed) in steps {
        let now = value(replayed);
        if now != before || changed.is_none() {
            changed = Some(*position);
        }
        before = now;
    }
    changed
}
