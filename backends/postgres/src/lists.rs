//! What was decided, as the lists that the functions take: one for each column.

use std::collections::BTreeMap;

use rekindle_core::Result;
use rekindle_core::store::decide::LogChanges;
use rekindle_core::types::{Actor, Event, KeyId, LogId, Payload, RecordId, Subject};
use uuid::Uuid;

use crate::rows::{action_type_code, bigint, identities_text, state_codes, to_text};
use crate::store::tenant;
use crate::view::Seen;

/// The texts that have to be made, in the order of the rows that they are for.
pub(crate) fn removed_attributes(changes: &BTreeMap<LogId, LogChanges>) -> Result<BTreeMap<(&LogId, usize), String>> {
    let mut texts = BTreeMap::new();
    for (log, changes) in changes {
        for (at, event) in changes.events.iter().enumerate() {
            if !event.removed_attributes.is_empty() {
                texts.insert((log, at), to_text(&event.removed_attributes)?);
            }
        }
    }
    Ok(texts)
}

pub(crate) type IdentityTexts<'a> = BTreeMap<(&'a LogId, &'a rekindle_core::types::RecordKey), String>;

pub(crate) fn identities(changes: &BTreeMap<LogId, LogChanges>) -> Result<IdentityTexts<'_>> {
    let mut texts = BTreeMap::new();
    for (log, changes) in changes {
        for (key, record) in &changes.records {
            let Some(state) = &record.state else { continue };
            if let Some(text) = identities_text(&state.identities)? {
                texts.insert((log, key), text);
            }
        }
    }
    Ok(texts)
}

#[derive(Default)]
pub(crate) struct Logs<'a> {
    pub(crate) ids: Vec<Option<i64>>,
    pub(crate) names: Vec<&'a str>,
    pub(crate) tenants: Vec<&'a str>,
    pub(crate) versions: Vec<i64>,
    pub(crate) positions: Vec<i64>,
    pub(crate) states: Vec<i16>,
    pub(crate) rewound_to: Vec<Option<i64>>,
}

#[derive(Default)]
pub(crate) struct EventLists<'a> {
    pub(crate) log: Vec<i32>,
    pub(crate) position: Vec<i64>,
    pub(crate) revision: Vec<Option<i64>>,
    pub(crate) occurred_at: Vec<i64>,
    pub(crate) version: Vec<i64>,
    pub(crate) id: Vec<Uuid>,
    pub(crate) action_type: Vec<i16>,
    pub(crate) resource: Vec<&'a str>,
    pub(crate) record_id: Vec<&'a str>,
    pub(crate) action: Vec<&'a str>,
    pub(crate) actor_kind: Vec<Option<&'a str>>,
    pub(crate) actor_id: Vec<Option<&'a str>>,
    pub(crate) data: Vec<Option<&'a str>>,
    pub(crate) changed: Vec<Option<&'a str>>,
    pub(crate) metadata: Vec<Option<&'a str>>,
    pub(crate) removed: Vec<Option<&'a str>>,
}

/// The events that have sealed sections, by their place among the events, from 1 on.
#[derive(Default)]
pub(crate) struct Sealed<'a> {
    pub(crate) at: Vec<i32>,
    pub(crate) data: Vec<Option<&'a [u8]>>,
    pub(crate) changed: Vec<Option<&'a [u8]>>,
    pub(crate) metadata: Vec<Option<&'a [u8]>>,
}

#[derive(Default)]
pub(crate) struct Records<'a> {
    pub(crate) log: Vec<i32>,
    pub(crate) generation: Vec<i64>,
    pub(crate) revision: Vec<i64>,
    pub(crate) resource: Vec<&'a str>,
    pub(crate) id: Vec<&'a str>,
    pub(crate) attributes: Vec<Option<&'a str>>,
    pub(crate) identities: Vec<Option<&'a str>>,
}

#[derive(Default)]
pub(crate) struct Identities<'a> {
    pub(crate) log: Vec<i32>,
    pub(crate) generation: Vec<i64>,
    pub(crate) resource: Vec<&'a str>,
    pub(crate) name: Vec<&'a str>,
    pub(crate) value: Vec<&'a str>,
    pub(crate) owner: Vec<&'a str>,
}

#[derive(Default)]
pub(crate) struct Keys<'a> {
    pub(crate) log: Vec<i32>,
    pub(crate) subject: Vec<&'a str>,
    pub(crate) version: Vec<i64>,
    pub(crate) epoch: Vec<i64>,
    pub(crate) body: Vec<&'a [u8]>,
}

#[derive(Default)]
pub(crate) struct KeyIds<'a> {
    pub(crate) log: Vec<i32>,
    pub(crate) id: Vec<&'a [u8]>,
    pub(crate) subject: Vec<&'a str>,
}

#[derive(Default)]
pub(crate) struct Lists<'a> {
    pub(crate) logs: Logs<'a>,
    pub(crate) events: EventLists<'a>,
    pub(crate) sealed: Sealed<'a>,
    pub(crate) records: Records<'a>,
    pub(crate) freed: Identities<'a>,
    pub(crate) taken: Identities<'a>,
    pub(crate) keys: Keys<'a>,
    pub(crate) key_ids: KeyIds<'a>,
}

impl<'a> Lists<'a> {
    pub(crate) fn new(
        seen: &Seen,
        changes: &'a BTreeMap<LogId, LogChanges>,
        removed: &'a BTreeMap<(&'a LogId, usize), String>,
        identities: &'a IdentityTexts<'a>,
    ) -> Result<Self> {
        let mut lists = Self::default();
        // Locks on rows are taken in one order by everybody: known logs by id, new ones by name after them.
        let mut sorted: Vec<_> = changes.iter().collect();
        sorted.sort_by_key(|(log, _)| seen.log(log).map_or(i64::MAX, |seen| seen.id));
        for ((log, changes), place) in sorted.into_iter().zip(1..) {
            let known = seen.log(log);
            lists.logs.ids.push(known.map(|known| known.id));
            lists.logs.names.push(log.name.as_str());
            lists.logs.tenants.push(tenant(log));
            lists.logs.versions.push(known.map_or(0, |known| known.version));
            lists.logs.positions.push(bigint(changes.head.position.get(), "the position")?);
            let (state, rewound_to) = state_codes(changes.head.state)?;
            lists.logs.states.push(state);
            lists.logs.rewound_to.push(rewound_to);
            for (at, event) in changes.events.iter().enumerate() {
                lists.event(place, event, removed.get(&(log, at)).map(String::as_str))?;
            }
            let generation = bigint(changes.head.generation.get(), "the generation")?;
            lists.log_records(place, generation, log, changes, identities)?;
            lists.log_identities(place, generation, changes);
            lists.log_keys(place, changes)?;
        }
        Ok(lists)
    }

    fn event(&mut self, log: i32, event: &'a Event, removed: Option<&'a str>) -> Result<()> {
        let lists = &mut self.events;
        lists.log.push(log);
        lists.position.push(bigint(event.position.get(), "the position")?);
        lists.revision.push(event.revision.map(|revision| bigint(revision.get(), "the revision")).transpose()?);
        lists.occurred_at.push(event.occurred_at.as_microseconds());
        lists.version.push(event.version.into());
        lists.id.push(*event.id.as_uuid());
        lists.action_type.push(action_type_code(event.action_type));
        lists.resource.push(event.resource.as_str());
        lists.record_id.push(event.record_id.as_str());
        lists.action.push(event.action.as_str());
        lists.actor_kind.push(event.actor.as_ref().map(|actor| actor.kind().as_str()));
        lists.actor_id.push(event.actor.as_ref().map(Actor::id));
        lists.data.push(clear(&event.event.data));
        lists.changed.push(clear(&event.event.changed_attributes));
        lists.metadata.push(clear(&event.event.metadata));
        lists.removed.push(removed);
        let [data, changed, metadata] =
            [&event.event.data, &event.event.changed_attributes, &event.event.metadata].map(sealed);
        if data.is_some() || changed.is_some() || metadata.is_some() {
            self.sealed.at.push(i32::try_from(self.events.log.len()).unwrap_or(i32::MAX));
            self.sealed.data.push(data);
            self.sealed.changed.push(changed);
            self.sealed.metadata.push(metadata);
        }
        Ok(())
    }

    /// The records, by key: unordered upserts of two batches could wait for each other.
    fn log_records(
        &mut self,
        log: i32,
        generation: i64,
        id: &'a LogId,
        changes: &'a LogChanges,
        identities: &'a IdentityTexts<'a>,
    ) -> Result<()> {
        let mut sorted: Vec<_> = changes.records.iter().collect();
        sorted.sort_unstable_by_key(|(key, _)| *key);
        for (key, record) in sorted {
            let lists = &mut self.records;
            lists.log.push(log);
            lists.generation.push(generation);
            lists.revision.push(bigint(record.revision.get(), "the revision")?);
            lists.resource.push(key.resource.as_str());
            lists.id.push(key.id.as_str());
            lists.attributes.push(record.state.as_ref().map(|state| state.attributes.as_str()));
            lists.identities.push(identities.get(&(id, key)).map(String::as_str));
        }
        Ok(())
    }

    fn log_identities(&mut self, log: i32, generation: i64, changes: &'a LogChanges) {
        let mut sorted: Vec<_> = changes.owners.iter().collect();
        sorted.sort_unstable_by_key(|(identity, _)| *identity);
        for (identity, owner) in sorted {
            let lists = if owner.is_some() { &mut self.taken } else { &mut self.freed };
            lists.log.push(log);
            lists.generation.push(generation);
            lists.resource.push(identity.resource.as_str());
            lists.name.push(&identity.name);
            lists.value.push(&identity.value);
            lists.owner.extend(owner.as_ref().map(RecordId::as_str));
        }
    }

    fn log_keys(&mut self, log: i32, changes: &'a LogChanges) -> Result<()> {
        for (subject, row) in &changes.keys {
            self.keys.log.push(log);
            self.keys.subject.push(subject.as_str());
            self.keys.version.push(bigint(row.version, "the version of keys")?);
            self.keys.epoch.push(bigint(row.epoch, "the epoch of keys")?);
            self.keys.body.push(&row.body);
        }
        // By id, so that each is there once: an upsert takes no row twice.
        let ids: BTreeMap<&KeyId, &Subject> = changes.key_ids.iter().map(|(id, subject)| (id, subject)).collect();
        for (id, subject) in ids {
            self.key_ids.log.push(log);
            self.key_ids.id.push(id.as_bytes());
            self.key_ids.subject.push(subject.as_str());
        }
        Ok(())
    }
}

fn clear(payload: &Payload) -> Option<&str> {
    match payload {
        Payload::Json(json) => Some(json.as_str()),
        Payload::Sealed(_) | Payload::Redacted { .. } => None,
    }
}

fn sealed(payload: &Payload) -> Option<&[u8]> {
    match payload {
        Payload::Json(_) | Payload::Redacted { .. } => None,
        Payload::Sealed(bytes) => Some(bytes),
    }
}
