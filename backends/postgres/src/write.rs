//! Writing what was decided: one call of one function, with a list for each column.

use std::collections::BTreeMap;

use rekindle_core::store::decide::LogChanges;
use rekindle_core::types::LogId;
use sqlx::PgConnection;

use crate::batch::BatchLocks;
use crate::lists::{Lists, identities, removed_attributes};
use crate::sql::Sql;
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
    let Lists { logs, events, sealed, records, freed, taken, keys, key_ids } = lists;
    sqlx::query(sql.write_batch())
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
