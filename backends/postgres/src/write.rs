//! Writing what was decided: one call of one function, with a list for each column.

use std::collections::BTreeMap;

use rekindle_core::Result;
use rekindle_core::store::decide::LogChanges;
use rekindle_core::types::{Actor, Event, LogId, Payload, RecordId};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::batch::BatchLocks;
use crate::rows::{action_type_code, bigint, identities_text, to_text};
use crate::sql::Sql;
use crate::store::tenant;
use crate::view::{Failed, Seen};

/// Writes the changes of all logs. The error is `is_stale` if one of them is not at the version any more that was seen.
pub(crate) async fn write(
    connection: &mut PgConnection,
    sql: &Sql,
    locks: &BatchLocks,
    seen: &Seen,
    changes: &BTreeMap<LogId, LogChanges>,
) -> Result<(), Failed> {
    let removed = removed_attributes(changes)?;
    let identities = identities(changes)?;
    let lists = Lists::new(seen, changes, &removed, &identities)?;
    let Lists { logs, events, sealed, records, freed, taken } = lists;
    sqlx::query(sql.write_batch())
        .bind(&locks.ones)
        .bind(&locks.firsts)
        .bind(&locks.seconds)
        .bind(logs.ids)
        .bind(logs.names)
        .bind(logs.tenants)
        .bind(logs.versions)
        .bind(logs.positions)
        .bind(events.log)
        .bind(events.position)
        .bind(events.revision)
        .bind(events.occurred_at)
        .bind(events.version)
        .bind(events.id)
        .bind(events.action_type)
        .bind(events.resource)
        .bind(events.record_id)
        .bind(events.action)
        .bind(events.actor_kind)
        .bind(events.actor_id)
        .bind(events.data)
        .bind(events.changed)
        .bind(events.metadata)
        .bind(events.removed)
        .bind(sealed.at)
        .bind(sealed.data)
        .bind(sealed.changed)
        .bind(sealed.metadata)
        .bind(records.log)
        .bind(records.generation)
        .bind(records.revision)
        .bind(records.resource)
        .bind(records.id)
        .bind(records.attributes)
        .bind(records.identities)
        .bind(freed.log)
        .bind(freed.generation)
        .bind(freed.resource)
        .bind(freed.name)
        .bind(freed.value)
        .bind(taken.log)
        .bind(taken.generation)
        .bind(taken.resource)
        .bind(taken.name)
        .bind(taken.value)
        .bind(taken.owner)
        .execute(connection)
        .await?;
    Ok(())
}

/// The texts that have to be made, in the order of the rows that they are for.
fn removed_attributes(changes: &BTreeMap<LogId, LogChanges>) -> Result<BTreeMap<(&LogId, usize), String>> {
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

type IdentityTexts<'a> = BTreeMap<(&'a LogId, &'a rekindle_core::types::RecordKey), String>;

fn identities(changes: &BTreeMap<LogId, LogChanges>) -> Result<IdentityTexts<'_>> {
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
struct Logs<'a> {
    ids: Vec<Option<i64>>,
    names: Vec<&'a str>,
    tenants: Vec<&'a str>,
    versions: Vec<i64>,
    positions: Vec<i64>,
}

#[derive(Default)]
struct EventLists<'a> {
    log: Vec<i32>,
    position: Vec<i64>,
    revision: Vec<Option<i64>>,
    occurred_at: Vec<i64>,
    version: Vec<i64>,
    id: Vec<Uuid>,
    action_type: Vec<i16>,
    resource: Vec<&'a str>,
    record_id: Vec<&'a str>,
    action: Vec<&'a str>,
    actor_kind: Vec<Option<&'a str>>,
    actor_id: Vec<Option<&'a str>>,
    data: Vec<Option<&'a str>>,
    changed: Vec<Option<&'a str>>,
    metadata: Vec<Option<&'a str>>,
    removed: Vec<Option<&'a str>>,
}

/// The events that have sealed sections, by their place among the events, from 1 on.
#[derive(Default)]
struct Sealed<'a> {
    at: Vec<i32>,
    data: Vec<Option<&'a [u8]>>,
    changed: Vec<Option<&'a [u8]>>,
    metadata: Vec<Option<&'a [u8]>>,
}

#[derive(Default)]
struct Records<'a> {
    log: Vec<i32>,
    generation: Vec<i64>,
    revision: Vec<i64>,
    resource: Vec<&'a str>,
    id: Vec<&'a str>,
    attributes: Vec<Option<&'a str>>,
    identities: Vec<Option<&'a str>>,
}

#[derive(Default)]
struct Identities<'a> {
    log: Vec<i32>,
    generation: Vec<i64>,
    resource: Vec<&'a str>,
    name: Vec<&'a str>,
    value: Vec<&'a str>,
    owner: Vec<&'a str>,
}

#[derive(Default)]
struct Lists<'a> {
    logs: Logs<'a>,
    events: EventLists<'a>,
    sealed: Sealed<'a>,
    records: Records<'a>,
    freed: Identities<'a>,
    taken: Identities<'a>,
}

impl<'a> Lists<'a> {
    fn new(
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
            for (at, event) in changes.events.iter().enumerate() {
                lists.event(place, event, removed.get(&(log, at)).map(String::as_str))?;
            }
            let generation = bigint(changes.head.generation.get(), "the generation")?;
            lists.log_records(place, generation, log, changes, identities)?;
            lists.log_identities(place, generation, changes);
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
}

fn clear(payload: &Payload) -> Option<&str> {
    match payload {
        Payload::Json(json) => Some(json.as_str()),
        Payload::Sealed(_) => None,
    }
}

fn sealed(payload: &Payload) -> Option<&[u8]> {
    match payload {
        Payload::Json(_) => None,
        Payload::Sealed(bytes) => Some(bytes),
    }
}
