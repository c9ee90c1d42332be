//! What all handles of one backend share.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rekindle_core::store::{Durability, Locks, Watchers};
use rekindle_core::types::LogId;
use rekindle_core::{Error, ErrorKind, Result};
use sqlx::postgres::{PgArguments, PgConnectOptions, PgPool, PgRow};
use sqlx::query::Query;
use sqlx::{ConnectOptions, Execute, PgConnection, Postgres};

use crate::composite::RowTypes;
use crate::config::{PostgresConfig, Schema};
use crate::error::{classify, ends_connection};
use crate::heads::Heads;
use crate::kept::Kept;
use crate::open::{apply, session_settings};
use crate::rows::{self, Columns};
use crate::sql::Sql;
use crate::wake::{Hints, Listener};

/// An open store.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) pool: PgPool,
    pub(crate) options: PgConnectOptions,
    pub(crate) config: PostgresConfig,
    pub(crate) sql: Sql,
    pub(crate) durability: Durability,
    /// So that commits of this process wait for each other here, and not with a connection each.
    pub(crate) locks: Locks,
    /// Whether one batch of a lock key is sent at a time; and the locks by which the others wait.
    pub(crate) sends_one: bool,
    pub(crate) sending: Locks,
    pub(crate) heads: Heads,
    /// The types of the schema: they have other numbers when it is made anew.
    pub(crate) row_types: Mutex<RowTypes>,
    pub(crate) kept: Kept,
    pub(crate) watchers: Arc<Watchers>,
    pub(crate) hints: Hints,
    pub(crate) listener: Listener,
}

/// The tenant as the database keeps it.
pub(crate) fn tenant(log: &LogId) -> &str {
    log.tenant.as_ref().map_or("", |tenant| tenant.as_str())
}

impl Store {
    pub(crate) fn schema(&self) -> &Schema {
        &self.config.schema
    }

    /// A connection outside of the pool, on which a lock is waited for so long.
    pub(crate) async fn connect(&self, lock_timeout: Option<Duration>) -> Result<PgConnection> {
        let mut connection = self.options.connect().await.map_err(classify)?;
        apply(&mut connection, session_settings(lock_timeout)).await.map_err(classify)?;
        Ok(connection)
    }

    /// How many connections may have died with one server.
    pub(crate) fn attempts(&self) -> u32 {
        self.config.max_connections.saturating_add(1)
    }

    /// Runs a query that changes nothing. If the connection turns out to be dead, as all are after the server was
    /// restarted, it is run again on another one.
    ///
    /// It runs in a task of its own: a future that is kept and never polled again must not keep a connection of the pool.
    pub(crate) async fn read(self: &Arc<Self>, mut query: Query<'_, Postgres, PgArguments>) -> Result<Vec<PgRow>> {
        let arguments = query.take_arguments().map_err(|error| classify(sqlx::Error::Encode(error)))?;
        let (persistent, statement, arguments) =
            (Execute::persistent(&query), query.sql(), arguments.unwrap_or_default());
        let store = Arc::clone(self);
        let task = tokio::spawn(async move {
            let mut attempt = 1;
            loop {
                let mut connection = store.own_connection().await?;
                let query = sqlx::query_with(statement.clone(), arguments.clone()).persistent(persistent);
                match query.fetch_all(&mut **connection).await {
                    Ok(rows) => {
                        store.keep(connection);
                        return Ok(rows);
                    }
                    Err(error) if ends_connection(&error) && attempt < store.attempts() => {
                        connection.close_on_drop();
                        attempt += 1;
                    }
                    Err(error) => {
                        if ends_connection(&error) {
                            connection.close_on_drop();
                        }
                        return Err(classify(error));
                    }
                }
            }
        });
        task.await.map_err(|error| unread().with_source(error))?
    }

    /// The head of a log; the default one if there is no such log.
    pub(crate) async fn head(self: &Arc<Self>, log: &LogId) -> Result<rekindle_core::store::Head> {
        let query = sqlx::query(self.sql.head()).bind(log.name.as_str()).bind(tenant(log));
        let rows = self.read(query).await?;
        let Some(row) = rows.first() else { return Ok(rekindle_core::store::Head::default()) };
        let columns = Columns(row);
        let read =
            || rows::head(columns.count(0)?, columns.count(1)?, columns.int2(2)?.into(), columns.count_or_null(3)?);
        read().map_err(|error: Error| error.at(format!("the head of the log {log}")))
    }
}

fn unread() -> Error {
    Error::new(ErrorKind::Unavailable, "the task that read came to no end: the runtime was shut down")
}
