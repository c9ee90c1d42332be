//! Writing what was decided on what commits expect: one call of one function, which sees to it that they are right.

use rekindle_core::Result;
use rekindle_core::store::decide::LogChanges;
use rekindle_core::types::{LockKey, Revision};

use crate::config::LockMode;
use crate::expected::{Expectations, ExpectedKeys};
use crate::foresight::Foreseen;
use crate::lists::{Call, Lists, some};
use crate::rows::bigint;
use crate::sql::Sql;

/// The call that writes the changes of a batch. Its error is `is_stale` if something is not as it was expected.
pub(crate) fn append<'a>(
    sql: &Sql,
    mode: LockMode,
    foreseen: &'a Foreseen,
    changes: &'a LogChanges,
) -> Result<Call<'a>> {
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
    let query = sqlx::query(sql.append_batch())
        .bind(one)
        .bind(first)
        .bind(second)
        .bind(foreseen.at.id)
        .bind(foreseen.at.version)
        .bind(bigint(foreseen.at.head.position.get(), "the position")?);
    let query = events.bind(query).bind(before.updated).bind(some(before.revision));
    let query = records
        .bind(query)
        .bind(some(taken.resource))
        .bind(some(taken.name))
        .bind(some(taken.value))
        .bind(some(taken.owner))
        .bind(some(checked.resource))
        .bind(some(checked.id))
        .bind(some(checked.revision))
        .bind(some(relied.subject))
        .bind(some(relied.version))
        .bind(some(relied.epoch))
        .bind(foreseen.expectations.keys_are_new())
        .bind(some(keys.subject))
        .bind(some(keys.version))
        .bind(some(keys.epoch))
        .bind(some(keys.body))
        .bind(some(key_ids.id))
        .bind(some(key_ids.subject));
    Ok(query)
}

/// What the records that are written must be before; in the order of their rows.
#[derive(Default)]
struct Before {
    updated: i32,
    revision: Vec<i64>,
}

impl Before {
    fn new(expectations: &Expectations, changes: &LogChanges) -> Result<Self> {
        let mut before = Self::default();
        for key in changes.records.keys() {
            let revision = expectations.revision(key);
            if revision > Revision::ZERO {
                before.updated += 1;
            }
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
