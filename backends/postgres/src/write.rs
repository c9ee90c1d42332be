//! Writing what was decided on what was read: one call of one function.

use std::collections::BTreeMap;
use std::mem;

use rekindle_core::store::decide::LogChanges;
use rekindle_core::types::LogId;
use sqlx::PgConnection;

use crate::batch::BatchLocks;
use crate::lists::Lists;
use crate::rows::{bigint, state_codes};
use crate::sql::Sql;
use crate::store::tenant;
use crate::view::{Failed, Seen};

/// Writes the changes of all logs. The error is `is_stale` if one of them is not at the version any more that was seen.
pub(crate) async fn write(
    connection: &mut PgConnection,
    sql: &Sql,
    locks: &BatchLocks,
    seen: &Seen,
    changes: &BTreeMap<&LogId, LogChanges<'_>>,
) -> Result<(), Failed> {
    let (logs, lists) = lists(seen, changes)?;
    let Lists { mut events, mut records, freed, taken, keys, key_ids } = lists;
    let query = sqlx::query(sql.write_batch())
        .bind(&locks.ones)
        .bind(&locks.firsts)
        .bind(&locks.seconds)
        .bind(logs.ids)
        .bind(logs.names)
        .bind(logs.tenants)
        .bind(logs.versions)
        .bind(logs.positions)
        .bind(logs.states)
        .bind(logs.rewound_to)
        .bind(mem::take(&mut events.log))
        .bind(mem::take(&mut events.position));
    let query = events.bind(query).bind(mem::take(&mut records.log)).bind(mem::take(&mut records.generation));
    records
        .bind(query)
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
        .bind(keys.log)
        .bind(keys.subject)
        .bind(keys.version)
        .bind(keys.epoch)
        .bind(keys.body)
        .bind(key_ids.log)
        .bind(key_ids.id)
        .bind(key_ids.subject)
        .execute(connection)
        .await?;
    Ok(())
}

#[derive(Default)]
struct Logs<'a> {
    ids: Vec<Option<i64>>,
    names: Vec<&'a str>,
    tenants: Vec<&'a str>,
    versions: Vec<i64>,
    positions: Vec<i64>,
    states: Vec<i16>,
    rewound_to: Vec<Option<i64>>,
}

fn lists<'a>(
    seen: &Seen,
    changes: &'a BTreeMap<&LogId, LogChanges<'a>>,
) -> rekindle_core::Result<(Logs<'a>, Lists<'a>)> {
    let (mut logs, mut lists) = (Logs::default(), Lists::default());
    // Locks on rows are taken in one order by everybody: known logs by id, new ones by name after them.
    let mut sorted: Vec<_> = changes.iter().collect();
    sorted.sort_by_key(|(log, _)| seen.log(log).map_or(i64::MAX, |seen| seen.id));
    for ((log, changes), place) in sorted.into_iter().zip(1..) {
        let known = seen.log(log);
        let (state, rewound_to) = state_codes(changes.head.state)?;
        logs.ids.push(known.map(|known| known.id));
        logs.names.push(log.name.as_str());
        logs.tenants.push(tenant(log));
        logs.versions.push(known.map_or(0, |known| known.version));
        logs.positions.push(bigint(changes.head.position.get(), "the position")?);
        logs.states.push(state);
        logs.rewound_to.push(rewound_to);
        lists.add(place, changes)?;
    }
    Ok((logs, lists))
}
