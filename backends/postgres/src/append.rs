//! Writing what was decided on what commits expect: one call of one function, which sees to it that they are right.

use rekindle_core::Result;
use rekindle_core::store::decide::LogChanges;
use rekindle_core::types::{LockKey, Revision};
use sqlx::PgConnection;

use crate::config::LockMode;
use crate::expected::Expectations;
use crate::foresight::Foreseen;
use crate::lists::{Lists, sorted};
use crate::rows::bigint;
use crate::sql::Sql;
use crate::view::Failed;

/// Writes the changes of a batch. The error is `is_stale` if something is not as it was expected.
pub(crate) async fn append(
    connection: &mut PgConnection,
    sql: &Sql,
    mode: LockMode,
    foreseen: &Foreseen,
    changes: &LogChanges,
) -> Result<(), Failed> {
    let (one, first, second) = match (mode, foreseen.lock) {
        (LockMode::Row, _) => (None, None, None),
        (LockMode::Advisory, LockKey::One(one)) => (Some(one), None, None),
        (LockMode::Advisory, LockKey::Two(first, second)) => (None, Some(first), Some(second)),
    };
    let mut lists = Lists::default();
    lists.add(1, changes)?;
    let Lists { events, records, taken, keys, key_ids, .. } = lists;
    let before = Before::new(&foreseen.expectations, changes)?;
    let checked = Checked::new(&foreseen.expectations, changes)?;
    let relied = Relied::new(&foreseen.expectations)?;
    sqlx::query(sql.append_batch())
        .bind(one)
        .bind(first)
        .bind(second)
        .bind(foreseen.at.id)
        .bind(foreseen.at.version)
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
        .bind(events.sealed_data)
        .bind(events.sealed_changed)
        .bind(events.sealed_metadata)
        .bind(before.created)
        .bind(before.updated)
        .bind(before.revision)
        .bind(records.revision)
        .bind(records.resource)
        .bind(records.id)
        .bind(records.attributes)
        .bind(records.identities)
        .bind(taken.resource)
        .bind(taken.name)
        .bind(taken.value)
        .bind(taken.owner)
        .bind(checked.resource)
        .bind(checked.id)
        .bind(checked.revision)
        .bind(relied.subject)
        .bind(relied.version)
        .bind(relied.epoch)
        .bind(keys.subject)
        .bind(keys.version)
        .bind(keys.epoch)
        .bind(keys.body)
        .bind(key_ids.id)
        .bind(key_ids.subject)
        .execute(connection)
        .await?;
    Ok(())
}

/// What the records that are written must be before; in the order of their rows.
#[derive(Default)]
struct Before {
    created: i32,
    updated: i32,
    revision: Vec<i64>,
}

impl Before {
    fn new(expectations: &Expectations, changes: &LogChanges) -> Result<Self> {
        let mut before = Self::default();
        for (key, _) in sorted(changes) {
            let revision = expectations.revision(key);
            let count = if revision == Revision::ZERO { &mut before.created } else { &mut before.updated };
            *count += 1;
            before.revision.push(bigint(revision.get(), "the revision")?);
        }
        Ok(before)
    }
}

/// What the records must be that are not written.
#[derive(Default)]
struct Checked<'a> {
    resource: Vec<&'a str>,
    id: Vec<&'a str>,
    revision: Vec<i64>,
}

impl<'a> Checked<'a> {
    fn new(expectations: &'a Expectations, changes: &LogChanges) -> Result<Self> {
        let mut checked = Self::default();
        for key in expectations.records.keys().filter(|key| !changes.records.contains_key(key)) {
            checked.resource.push(key.resource.as_str());
            checked.id.push(key.id.as_str());
            checked.revision.push(bigint(expectations.revision(key).get(), "the revision")?);
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
    fn new(expectations: &'a Expectations) -> Result<Self> {
        let mut relied = Self::default();
        let number = |number: Option<u64>| number.map(|number| bigint(number, "a number of keys")).transpose();
        for (subject, keys) in &expectations.keys {
            relied.subject.push(subject.as_str());
            relied.version.push(number(keys.version)?);
            relied.epoch.push(number(keys.epoch)?);
        }
        Ok(relied)
    }
}
