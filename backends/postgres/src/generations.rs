//! Generations: beginning a new one, putting it in use, and removing those that are not.

use std::sync::Arc;

use rekindle_core::store::{LocksHeld, RebuildMode};
use rekindle_core::types::{Generation, LockKey, LogId, Position};
use rekindle_core::{Error, Result};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use crate::batch::BatchLocks;
use crate::config::LockMode;
use crate::error::{classify, damaged, ends_connection, in_commit, is_lock_timeout};
use crate::rebuild::{Fenced, Link, PATIENCE, Running, Session, is_running, rebuild_key};
use crate::rows::{Columns, bigint};
use crate::store::{Store, tenant};

/// A log whose head is locked.
struct LockedLog {
    id: i64,
    generation: i64,
    state: i16,
}

impl Store {
    /// Begins a rebuild. It must be carried through.
    pub(crate) async fn begin(
        self: &Arc<Self>,
        log: &LogId,
        lock: LockKey,
        mode: RebuildMode,
    ) -> Result<(Running, Generation)> {
        let id = self.id_of(log).await?;
        // First the rebuild's lock: while it is waited for, commits go on.
        let mut session = Session::open(self, log, id).await?;
        let held = self.locks.of_key(lock).await;
        let begun = self.begin_generation(&mut session.connection, log, lock, mode).await;
        drop(held);
        let (generation, in_use) = begun?;
        // What earlier rebuilds left behind, and in place the records that nobody reads any more.
        let kept = (mode == RebuildMode::Shadow).then_some(in_use);
        self.purge(&mut session.connection, id, (0, generation - 1), kept).await.map_err(classify)?;
        let generation = Generation::new(u64::try_from(generation).map_err(|_| damaged("a generation is below zero"))?);
        Ok((Running::new(Link::new(id, generation, session), self), generation))
    }

    /// The id of a log, which is made if it is not there: a log without events reads as one that is not there.
    async fn id_of(&self, log: &LogId) -> Result<i64> {
        let mut connection = self.connection().await?;
        let added =
            sqlx::query(self.sql.add_log()).bind(log.name.as_str()).bind(tenant(log)).execute(&mut *connection).await;
        if let Err(error) = added {
            if ends_connection(&error) {
                connection.close_on_drop();
            }
            return Err(classify(error));
        }
        let rows = sqlx::query(self.sql.composed("SELECT id FROM @schema@.logs WHERE name = $1 AND tenant = $2"))
            .bind(log.name.as_str())
            .bind(tenant(log))
            .fetch_all(&mut *connection)
            .await
            .map_err(classify)?;
        let row = rows.first().ok_or_else(|| damaged(format!("the log {log} was removed at this moment")))?;
        Columns(row).int8(0)
    }

    async fn begin_generation(
        &self,
        connection: &mut PgConnection,
        log: &LogId,
        lock: LockKey,
        mode: RebuildMode,
    ) -> Result<(i64, i64)> {
        connection.execute("BEGIN; SET LOCAL synchronous_commit = on").await.map_err(classify)?;
        let begun = async {
            let Some(locked) = self.lock_log(connection, log, lock).await? else {
                return Err(damaged(format!("the log {log} was removed at this moment")));
            };
            let row = sqlx::query(self.sql.begin_generation())
                .bind(locked.id)
                .bind(mode == RebuildMode::InPlace)
                .fetch_one(&mut *connection)
                .await
                .map_err(classify)?;
            let columns = Columns(&row);
            // The records of a rebuild in place that was broken off are nobody's.
            let in_use = if columns.int2(2)? == 1 { -1 } else { columns.int8(1)? };
            Ok((columns.int8(0)?, in_use))
        };
        let begun = begun.await?;
        connection.execute("COMMIT").await.map_err(classify)?;
        Ok(begun)
    }

    /// Takes the log's lock in a transaction that is open; `None` if there is no such log.
    async fn lock_log(&self, connection: &mut PgConnection, log: &LogId, lock: LockKey) -> Result<Option<LockedLog>> {
        if self.config.lock_mode == LockMode::Advisory {
            let locks = BatchLocks::of([lock], LockMode::Advisory);
            let query = sqlx::query(self.sql.lock()).bind(locks.ones).bind(locks.firsts).bind(locks.seconds);
            query.execute(&mut *connection).await.map_err(classify)?;
        }
        let rows = sqlx::query(self.sql.lock_head())
            .bind(log.name.as_str())
            .bind(tenant(log))
            .fetch_all(connection)
            .await
            .map_err(classify)?;
        let Some(row) = rows.first() else { return Ok(None) };
        let columns = Columns(row);
        Ok(Some(LockedLog { id: columns.int8(0)?, generation: columns.int8(1)?, state: columns.int2(2)? }))
    }

    /// Takes the log's lock for a rebuild; `None` if the rebuild is over.
    pub(crate) async fn fence(&self, link: Arc<Link>, lock: LockKey, held: LocksHeld) -> Result<Option<Fenced>> {
        {
            let Some(mut session) = link.session().await else { return Ok(None) };
            let Some(session) = session.as_mut() else { return Ok(None) };
            let connection = &mut session.connection;
            connection.execute("BEGIN; SET LOCAL synchronous_commit = on").await.map_err(classify)?;
            let taken = async {
                if self.config.lock_mode == LockMode::Advisory {
                    let locks = BatchLocks::of([lock], LockMode::Advisory);
                    let query = sqlx::query(self.sql.lock()).bind(locks.ones).bind(locks.firsts).bind(locks.seconds);
                    query.execute(&mut *connection).await?;
                }
                let head = self.sql.composed("SELECT id FROM @schema@.logs WHERE id = $1 FOR UPDATE");
                sqlx::query(head).bind(link.log).execute(&mut *connection).await
            };
            if let Err(error) = taken.await {
                if connection.execute("ROLLBACK").await.is_err() {
                    link.end();
                }
                return Err(classify(error));
            }
        }
        Ok(Some(Fenced::new(link, held)))
    }

    /// Puts the loaded generation in use, and ends the fence's transaction; `None` if the rebuild is over. Gives the
    /// generation before it.
    pub(crate) async fn finish(&self, link: &Link, log: &LogId, through: Position) -> Result<Option<i64>> {
        let Some(mut session) = link.session().await else { return Ok(None) };
        let Some(session) = session.as_mut() else { return Ok(None) };
        let swapped = self.swap(session, link, log, through).await;
        // It is over whatever came of it: the transaction that held the lock has ended.
        link.end();
        match swapped {
            Ok(old) => match session.connection.execute("COMMIT").await {
                Ok(_) => Ok(old),
                Err(error) => Err(in_commit(error)),
            },
            Err(error) => {
                let _ = session.connection.execute("ROLLBACK").await;
                Err(error)
            }
        }
    }

    async fn swap(&self, session: &mut Session, link: &Link, log: &LogId, through: Position) -> Result<Option<i64>> {
        session.check().await?;
        let connection = &mut session.connection;
        let head = self.sql.composed("SELECT position, generation FROM @schema@.logs WHERE id = $1");
        let rows = sqlx::query(head).bind(link.log).fetch_all(&mut *connection).await.map_err(classify)?;
        let Some(row) = rows.first() else { return Ok(None) };
        let (position, old) = (Columns(row).count(0)?, Columns(row).int8(1)?);
        if through.get() > position {
            return Err(Error::invalid(format!("the log {log} is at position {position}, not yet at {through}")));
        }
        sqlx::query(self.sql.finish())
            .bind(link.log)
            .bind(bigint(link.generation.get(), "the generation")?)
            .bind(bigint(through.get(), "the position")?)
            .execute(&mut *connection)
            .await
            .map_err(classify)?;
        Ok(Some(old))
    }

    /// Removes the generation that was in use before, and ends the session of the rebuild. What cannot be removed now is
    /// removed by the next rebuild.
    pub(crate) async fn tidy(&self, link: &Link, old: i64) {
        let Some(mut session) = link.take().await else { return };
        if let Err(error) = self.purge(&mut session.connection, link.log, (old, old), None).await {
            tracing::warn!(%error, "an old generation could not be removed; it is removed by the next rebuild");
        }
        session.close().await;
    }

    /// Ends a rebuild, and removes what it has loaded.
    pub(crate) async fn abandon(&self, link: &Link) -> Result<()> {
        let Some(mut session) = link.take().await else { return Ok(()) };
        // A fence that was dropped has ended its transaction; one that failed has not.
        session.connection.execute("ROLLBACK").await.map_err(classify)?;
        let generation = bigint(link.generation.get(), "the generation")?;
        let purged = self.purge(&mut session.connection, link.log, (generation, generation), None).await;
        session.close().await;
        purged.map_err(classify)
    }

    /// Puts an empty generation in use, and gives the number of records that were there. It must be carried through.
    pub(crate) async fn clear(&self, log: &LogId, lock: LockKey, held: LocksHeld) -> Result<u64> {
        let mut connection = self.connect(self.config.lock_timeout).await?;
        let cleared = self.clear_in(&mut connection, log, lock).await;
        let cleared = end(&mut connection, cleared).await;
        drop(held);
        let (records, old) = cleared?;
        if let Some((id, generation)) = old
            && let Err(error) = self.purge(&mut connection, id, (generation, generation), None).await
        {
            tracing::warn!(%error, "an old generation could not be removed; it is removed by the next rebuild");
        }
        let _ = connection.close().await;
        Ok(records)
    }

    async fn clear_in(
        &self,
        connection: &mut PgConnection,
        log: &LogId,
        lock: LockKey,
    ) -> Result<(u64, Option<(i64, i64)>)> {
        connection.execute("BEGIN").await.map_err(classify)?;
        let Some(locked) = self.lock_log(connection, log, lock).await? else { return Ok((0, None)) };
        let patience = format!("SET LOCAL lock_timeout = {}", PATIENCE.as_millis());
        connection.execute(AssertSqlSafe(patience)).await.map_err(classify)?;
        let alone = match self.config.lock_mode {
            LockMode::Advisory => {
                sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(rebuild_key(self.schema(), locked.id))
            }
            LockMode::Row => sqlx::query(self.sql.rebuild_row_lock()).bind(locked.id),
        };
        alone.execute(&mut *connection).await.map_err(|error| {
            if is_lock_timeout(&error) { is_running("a", log).with_source(error) } else { classify(error) }
        })?;
        if locked.state == 1 {
            return Ok((0, None));
        }
        let count = sqlx::query(self.sql.count_records())
            .bind(locked.id)
            .bind(locked.generation)
            .fetch_one(&mut *connection)
            .await
            .map_err(classify)?;
        sqlx::query(self.sql.clear()).bind(locked.id).execute(&mut *connection).await.map_err(classify)?;
        Ok((Columns(&count).count(0)?, Some((locked.id, locked.generation))))
    }

    /// Removes the records and identities of generations from one to another, but for one that is kept: a part at a time, so
    /// that no transaction gets long.
    async fn purge(
        &self,
        connection: &mut PgConnection,
        log: i64,
        (first, last): (i64, i64),
        kept: Option<i64>,
    ) -> Result<(), sqlx::Error> {
        for statement in [self.sql.purge_records(), self.sql.purge_identities()] {
            loop {
                let purge = sqlx::query(sqlx::AssertSqlSafe(Arc::clone(&statement.0)));
                let purge = purge.bind(log).bind(first).bind(last).bind(kept);
                if purge.execute(&mut *connection).await?.rows_affected() == 0 {
                    break;
                }
            }
        }
        Ok(())
    }
}

/// Ends a transaction: commits it if what it did went well.
async fn end<T>(connection: &mut PgConnection, done: Result<T>) -> Result<T> {
    let statement = if done.is_ok() { "COMMIT" } else { "ROLLBACK" };
    match connection.execute(statement).await {
        Ok(_) => done,
        Err(error) => done.and_then(|_| Err(in_commit(error))),
    }
}
