//! Writing what was decided on what commits expect: one call of one function, which sees to it that they are right.

use rekindle_core::Result;
use rekindle_core::store::decide::{LogChanges, PlacedEvent, WrittenRecord};
use rekindle_core::types::{Actor, LockKey};
use sqlx::postgres::PgArguments;
use sqlx::{Arguments, Encode, Postgres, Type};

use crate::composite::{RowList, RowTypes};
use crate::config::LockMode;
use crate::error::classify;
use crate::expected::{self, Expectations, ExpectedKeys};
use crate::foresight::Foreseen;
use crate::lists::{Call, Lists, clear, sealed, some};
use crate::rows::{action_type_code, bigint, identities_text, to_text};
use crate::sql::Sql;

/// The call that writes the changes of a batch. Its error is `is_stale` if something is not as it was expected.
pub(crate) fn append<'a>(
    sql: &Sql,
    mode: LockMode,
    types: RowTypes,
    foreseen: &Foreseen<'a>,
    changes: &LogChanges<'a>,
) -> Result<Call<'static>> {
    let (one, first, second) = match (mode, foreseen.lock) {
        (LockMode::Row, _) => (None, None, None),
        (LockMode::Advisory, LockKey::One(one)) => (Some(one), None, None),
        (LockMode::Advisory, LockKey::Two(first, second)) => (None, Some(first), Some(second)),
    };
    let (events, (updated, records)) = (events(types, changes)?, records(types, &foreseen.expectations, changes)?);
    let mut lists = Lists::default();
    lists.add_identities(1, 0, changes);
    lists.add_keys(1, changes)?;
    let Lists { taken, keys, key_ids, .. } = lists;
    let checked = Checked::new(&foreseen.expectations, changes)?;
    let relied = Relied::new(&foreseen.expectations)?;
    let mut arguments = PgArguments::default();
    let to = &mut arguments;
    add(to, one)?;
    add(to, first)?;
    add(to, second)?;
    add(to, foreseen.at.id)?;
    add(to, foreseen.at.version)?;
    add(to, bigint(foreseen.at.head.position.get(), "the position")?)?;
    add(to, events)?;
    add(to, updated)?;
    add(to, records)?;
    let is_plain = taken.name.is_empty()
        && checked.id.is_empty()
        && relied.subject.is_empty()
        && keys.subject.is_empty()
        && key_ids.id.is_empty();
    if is_plain {
        return Ok(sqlx::query_with(sql.append_plain(), arguments));
    }
    add(to, some(taken.resource))?;
    add(to, some(taken.name))?;
    add(to, some(taken.value))?;
    add(to, some(taken.owner))?;
    add(to, some(checked.resource))?;
    add(to, some(checked.id))?;
    add(to, some(checked.revision))?;
    add(to, some(relied.subject))?;
    add(to, some(relied.version))?;
    add(to, some(relied.epoch))?;
    add(to, foreseen.expectations.keys_are_new())?;
    add(to, some(keys.subject))?;
    add(to, some(keys.version))?;
    add(to, some(keys.epoch))?;
    add(to, some(keys.body))?;
    add(to, some(key_ids.id))?;
    add(to, some(key_ids.subject))?;
    Ok(sqlx::query_with(sql.append_batch(), arguments))
}

fn add<'a, T: Encode<'a, Postgres> + Type<Postgres>>(arguments: &mut PgArguments, value: T) -> Result<()> {
    arguments.add(value).map_err(|error| classify(sqlx::Error::Encode(error)))
}

fn events(types: RowTypes, changes: &LogChanges<'_>) -> Result<RowList> {
    let mut list = RowList::with_capacity(types.event, changes.events.len() * 640);
    for PlacedEvent { position: _, revision, event } in &changes.events {
        let removed = &event.removed_attributes;
        let removed = if removed.is_empty() { None } else { Some(to_text(removed)?) };
        list.add(|row| {
            row.int8_or_null(revision.map(|revision| bigint(revision.get(), "the revision")).transpose()?)?;
            row.int8(event.occurred_at.as_microseconds())?;
            row.int8(event.version.into())?;
            row.uuid(event.id.as_uuid())?;
            row.int2(action_type_code(event.action_type))?;
            row.text(event.resource.as_str())?;
            row.text(event.record_id.as_str())?;
            row.text(event.action.as_str())?;
            row.text_or_null(event.actor.as_ref().map(|actor| actor.kind().as_str()))?;
            row.text_or_null(event.actor.as_ref().map(Actor::id))?;
            row.text_or_null(clear(&event.data))?;
            row.text_or_null(clear(&event.changed_attributes))?;
            row.text_or_null(clear(&event.metadata))?;
            row.text_or_null(removed.as_deref())?;
            row.bytes_or_null(sealed(&event.data))?;
            row.bytes_or_null(sealed(&event.changed_attributes))?;
            row.bytes_or_null(sealed(&event.metadata))
        })?;
    }
    Ok(list)
}

/// The records, and how many of them are there before.
fn records<'a>(types: RowTypes, expectations: &Expectations<'a>, changes: &LogChanges<'a>) -> Result<(i32, RowList)> {
    let mut list = RowList::with_capacity(types.record, changes.records.len() * 384);
    let mut updated = 0;
    for (key, WrittenRecord { revision, state }, before) in expectations.written(changes) {
        updated += i32::from(before.is_some());
        let before = expected::revision(before);
        let identities = state.map(|state| identities_text(&state.identities)).transpose()?.flatten();
        list.add(|row| {
            row.int8(bigint(before.get(), "the revision")?)?;
            row.int8(bigint(revision.get(), "the revision")?)?;
            row.text(key.resource.as_str())?;
            row.text(key.id.as_str())?;
            row.text_or_null(state.map(|state| state.attributes.as_str()))?;
            row.text_or_null(identities.as_deref())
        })?;
    }
    Ok((updated, list))
}

/// What the records must be that are not written.
#[derive(Default)]
struct Checked<'a> {
    resource: Vec<&'a str>,
    id: Vec<&'a str>,
    revision: Vec<i64>,
}

impl<'a> Checked<'a> {
    fn new(expectations: &Expectations<'a>, changes: &LogChanges<'_>) -> Result<Self> {
        let mut checked = Self::default();
        if expectations.records.len() > changes.records.len() {
            for (key, before) in &expectations.records {
                if !changes.records.contains_key(key) {
                    checked.resource.push(key.resource.as_str());
                    checked.id.push(key.id.as_str());
                    checked.revision.push(bigint(expected::revision(before.as_ref()).get(), "the revision")?);
                }
            }
        }
        Ok(checked)
    }
}

/// How far the keys must be before they are written, and those that something is sealed with.
#[derive(Default)]
struct Relied<'a> {
    subject: Vec<&'a str>,
    version: Vec<Option<i64>>,
    epoch: Vec<Option<i64>>,
}

impl<'a> Relied<'a> {
    fn new(expectations: &Expectations<'a>) -> Result<Self> {
        let mut relied = Self::default();
        let number = |number: Option<u64>| number.map(|number| bigint(number, "a number of keys")).transpose();
        // New ones are refused by the unique index if they are there.
        let all_new = expectations.keys_are_new();
        let is_refused =
            |keys: &ExpectedKeys| all_new && keys.version.is_some() && keys.epoch.is_none_or(|epoch| epoch == 0);
        for (subject, keys) in expectations.keys.iter().filter(|(_, keys)| !is_refused(keys)) {
            relied.subject.push(subject.as_str());
            relied.version.push(number(keys.version)?);
            relied.epoch.push(number(keys.epoch)?);
        }
        Ok(relied)
    }
}
