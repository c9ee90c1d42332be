//! What all handles of one backend share.

use std::sync::Arc;

use rekindle_core::store::{Durability, Locks, Watchers};
use rekindle_core::types::LogId;
use rekindle_core::{Error, Result};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgPool, PgRow};
use sqlx::query::Query;
use sqlx::{Execute, Postgres};

use crate::config::{PostgresConfig, Schema};
use crate::error::{classify, ends_connection};
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

    /// A connection of the pool. One that has died meanwhile is found out when it is used: see [`read`](Self::read).
    pub(crate) async fn connection(&self) -> Result<PoolConnection<Postgres>> {
        self.pool.acquire().await.map_err(classify)
    }

    /// How many connections may have died with one server.
    pub(crate) fn attempts(&self) -> u32 {
        self.config.max_connections.saturating_add(1)
    }

    /// Runs a query that changes nothing. If the connection turns out to be dead, as all are after the server was
    /// restarted, it is run again on another one.
    pub(crate) async fn read(&self, mut query: Query<'_, Postgres, PgArguments>) -> Result<Vec<PgRow>> {
        let arguments = query.take_arguments().map_err(|error| classify(sqlx::Error::Encode(error)))?.unwrap_or_default();
        let statement = query.sql();
        let mut attempt = 1;
        loop {
            let mut connection = self.connection().await?;
            let query = sqlx::query_with(statement.clone(), arguments.clone());
            match query.fetch_all(&mut *connection).await {
                Ok(rows) => return Ok(rows),
                Err(error) if ends_connection(&error) => {
                    connection.close_on_drop();
                    if attempt >= self.attempts() {
                        return Err(classify(error));
                    }
                    attempt += 1;
                }
                Err(error) => return Err(classify(error)),
            }
        }
    }

    /// The head of a log; the default one if there is no such log.
    pub(crate) async fn head(&self, log: &LogId) -> Result<rekindle_core::store::Head> {
        let query = sqlx::query(self.sql.head()).bind(log.name.as_str()).bind(tenant(log));
        let rows = self.read(query).await?;
        let Some(row) = rows.first() else { return Ok(rekindle_core::store::Head::default()) };
        let columns = Columns(row);
        let read = || rows::head(columns.count(0)?, columns.count(1)?, columns.int2(2)?.into(), columns.count_or_null(3)?);
        read().map_err(|error: Error| error.at(format!("the head of the log {log}")))
    }
}
