//! What was decided, as lists of columns: what `write_batch` takes, and what few batches have of what `append_batch` does.
//!
//! A list that can hold nulls ends with its last value: the functions put nulls where a list is too short. So a column that
//! nothing is in costs nothing.

use std::collections::BTreeMap;

use rekindle_core::Result;
use rekindle_core::store::decide::{LogChanges, PlacedEvent, WrittenRecord};
use rekindle_core::types::{Actor, KeyId, Payload, RecordId, RecordKey, Subject};
use sqlx::Postgres;
use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use uuid::Uuid;

use crate::rows::{action_type_code, bigint, identities_text, to_text};

/// Each `log` is the place of a row's log, from 1 on.
#[derive(Default)]
pub(crate) struct Lists<'a> {
    pub(crate) events: Events<'a>,
    pub(crate) records: Records<'a>,
    pub(crate) freed: Identities<'a>,
    pub(crate) taken: Identities<'a>,
    pub(crate) keys: Keys<'a>,
    pub(crate) key_ids: KeyIds<'a>,
}

#[derive(Default)]
pub(crate) struct Events<'a> {
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
    pub(crate) removed: Vec<Option<String>>,
    pub(crate) sealed_data: Vec<Option<&'a [u8]>>,
    pub(crate) sealed_changed: Vec<Option<&'a [u8]>>,
    pub(crate) sealed_metadata: Vec<Option<&'a [u8]>>,
}

#[derive(Default)]
pub(crate) struct Records<'a> {
    pub(crate) log: Vec<i32>,
    pub(crate) generation: Vec<i64>,
    pub(crate) revision: Vec<i64>,
    pub(crate) resource: Vec<&'a str>,
    pub(crate) id: Vec<&'a str>,
    pub(crate) attributes: Vec<Option<&'a str>>,
    pub(crate) identities: Vec<Option<String>>,
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

/// `None` for an empty list: the functions take every list apart that they are given, and many are empty.
pub(crate) fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

/// Adds the value of the row that comes after `rows` others.
fn put<T>(list: &mut Vec<Option<T>>, rows: usize, value: Option<T>) {
    if value.is_some() {
        list.resize_with(rows, || None);
        list.push(value);
    }
}

impl<'a> Lists<'a> {
    /// Adds the changes of the log at this place.
    pub(crate) fn add(&mut self, log: i32, changes: &'a LogChanges<'a>) -> Result<()> {
        for event in &changes.events {
            self.events.add(log, event)?;
        }
        let generation = bigint(changes.head.generation.get(), "the generation")?;
        for (key, record) in &changes.records {
            self.records.add(log, generation, key, record)?;
        }
        self.add_identities(log, generation, changes);
        self.add_keys(log, changes)
    }

    pub(crate) fn add_identities(&mut self, log: i32, generation: i64, changes: &'a LogChanges<'a>) {
        for (identity, owner) in &changes.owners {
            let lists = if owner.is_some() { &mut self.taken } else { &mut self.freed };
            lists.log.push(log);
            lists.generation.push(generation);
            lists.resource.push(identity.resource.as_str());
            lists.name.push(&identity.name);
            lists.value.push(&identity.value);
            lists.owner.extend(owner.map(RecordId::as_str));
        }
    }

    pub(crate) fn add_keys(&mut self, log: i32, changes: &'a LogChanges<'a>) -> Result<()> {
        for (subject, row) in &changes.keys {
            self.keys.log.push(log);
            self.keys.subject.push(subject.as_str());
            self.keys.version.push(bigint(row.version, "the version of keys")?);
            self.keys.epoch.push(bigint(row.epoch, "the epoch of keys")?);
            self.keys.body.push(&row.body);
        }
        // By id, so that each is there once: an upsert takes no row twice.
        let ids: BTreeMap<&KeyId, &Subject> = changes.key_ids.iter().copied().collect();
        for (id, subject) in ids {
            self.key_ids.log.push(log);
            self.key_ids.id.push(id.as_bytes());
            self.key_ids.subject.push(subject.as_str());
        }
        Ok(())
    }
}

/// A call whose arguments are being bound.
pub(crate) type Call<'q> = Query<'q, Postgres, PgArguments>;

impl<'a> Events<'a> {
    /// Binds the columns behind the position.
    pub(crate) fn bind(self, call: Call<'a>) -> Call<'a> {
        call.bind(some(self.revision))
            .bind(some(self.occurred_at))
            .bind(some(self.version))
            .bind(some(self.id))
            .bind(some(self.action_type))
            .bind(some(self.resource))
            .bind(some(self.record_id))
            .bind(some(self.action))
            .bind(some(self.actor_kind))
            .bind(some(self.actor_id))
            .bind(some(self.data))
            .bind(some(self.changed))
            .bind(some(self.metadata))
            .bind(some(self.removed))
            .bind(some(self.sealed_data))
            .bind(some(self.sealed_changed))
            .bind(some(self.sealed_metadata))
    }

    fn add(&mut self, log: i32, placed: &PlacedEvent<'a>) -> Result<()> {
        let rows = self.id.len();
        let PlacedEvent { position, revision, event } = *placed;
        let removed = &event.removed_attributes;
        let removed = if removed.is_empty() { None } else { Some(to_text(removed)?) };
        let revision = revision.map(|revision| bigint(revision.get(), "the revision")).transpose()?;
        self.log.push(log);
        self.position.push(bigint(position.get(), "the position")?);
        put(&mut self.revision, rows, revision);
        self.occurred_at.push(event.occurred_at.as_microseconds());
        self.version.push(event.version.into());
        self.id.push(*event.id.as_uuid());
        self.action_type.push(action_type_code(event.action_type));
        self.resource.push(event.resource.as_str());
        self.record_id.push(event.record_id.as_str());
        self.action.push(event.action.as_str());
        put(&mut self.actor_kind, rows, event.actor.as_ref().map(|actor| actor.kind().as_str()));
        put(&mut self.actor_id, rows, event.actor.as_ref().map(Actor::id));
        put(&mut self.data, rows, clear(&event.data));
        put(&mut self.changed, rows, clear(&event.changed_attributes));
        put(&mut self.metadata, rows, clear(&event.metadata));
        put(&mut self.removed, rows, removed);
        put(&mut self.sealed_data, rows, sealed(&event.data));
        put(&mut self.sealed_changed, rows, sealed(&event.changed_attributes));
        put(&mut self.sealed_metadata, rows, sealed(&event.metadata));
        Ok(())
    }
}

impl<'a> Records<'a> {
    /// Binds the columns behind the generation.
    pub(crate) fn bind(self, call: Call<'a>) -> Call<'a> {
        call.bind(some(self.revision))
            .bind(some(self.resource))
            .bind(some(self.id))
            .bind(some(self.attributes))
            .bind(some(self.identities))
    }

    fn add(&mut self, log: i32, generation: i64, key: &'a RecordKey, record: &WrittenRecord<'a>) -> Result<()> {
        let rows = self.id.len();
        let state = record.state;
        let identities = state.map(|state| identities_text(&state.identities)).transpose()?.flatten();
        self.log.push(log);
        self.generation.push(generation);
        self.revision.push(bigint(record.revision.get(), "the revision")?);
        self.resource.push(key.resource.as_str());
        self.id.push(key.id.as_str());
        put(&mut self.attributes, rows, state.map(|state| state.attributes.as_str()));
        put(&mut self.identities, rows, identities);
        Ok(())
    }
}

pub(crate) fn clear(payload: &Payload) -> Option<&str> {
    match payload {
        Payload::Json(json) => Some(json.as_str()),
        Payload::Sealed(_) | Payload::Redacted { .. } => None,
    }
}

pub(crate) fn sealed(payload: &Payload) -> Option<&[u8]> {
    match payload {
        Payload::Sealed(bytes) => Some(bytes),
        Payload::Json(_) | Payload::Redacted { .. } => None,
    }
}
