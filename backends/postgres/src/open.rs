//! Connecting.

use std::str::FromStr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rekindle_core::store::{Durability, Locks, Watchers};
use rekindle_core::types::{LogId, Position};
use rekindle_core::{Error, ErrorKind, Result};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions, Executor, PgConnection};

use crate::composite::RowTypes;
use crate::config::PostgresConfig;
use crate::error::{classify, damaged};
use crate::heads::Heads;
use crate::kept::Kept;
use crate::migrate::{self, Migration};
use crate::rows::Columns;
use crate::sql::Sql;
use crate::store::Store;
use crate::turn;
use crate::wake::{Hints, Listener};

/// The oldest PostgreSQL that the statements are for.
const OLDEST: i32 = 130_000;

/// A store in a schema of a database, over a pool of connections. Clones share it.
#[derive(Clone, Debug)]
pub struct PostgresBackend {
    pub(crate) store: Arc<Store>,
}

impl PostgresBackend {
    /// Connects to the database at this URL, with the default settings.
    ///
    /// # Errors
    ///
    /// Those of [`connect_with`](Self::connect_with).
    pub async fn connect(url: &str) -> Result<Self> {
        Self::connect_with(url, PostgresConfig::default()).await
    }

    /// Connects to the database at this URL, with these settings. The schema must have been [migrated](Self::migrate).
    ///
    /// # Errors
    ///
    /// - `Invalid`: the URL is none, the server refuses the user, or a migration is missing; the message names it.
    /// - `Unsupported`: the server is older than PostgreSQL 13, or the database is not in UTF-8.
    /// - `Unavailable`: the server cannot be reached.
    pub async fn connect_with(url: &str, config: PostgresConfig) -> Result<Self> {
        let options = options_of(url)?;
        let patience = config.lock_timeout.map_or(POOL_PATIENCE, |timeout| timeout.min(POOL_PATIENCE));
        let settings = session_settings(Some(patience));
        let pool = PgPoolOptions::new()
            .max_connections(config.max_connections)
            .acquire_timeout(config.acquire_timeout)
            // A question before each use would cost a round trip. What is dead shows itself, and is replaced.
            .test_before_acquire(false)
            .after_connect(move |connection, _| {
                let settings = settings.clone();
                Box::pin(async move { apply(connection, settings).await })
            })
            .connect_with(options.clone())
            .await
            .map_err(classify)?;
        let sql = Sql::new(&config.schema);
        let mut connection = pool.acquire().await.map_err(classify)?;
        let durability = check_server(&mut connection, &sql).await?;
        migrate::check(&mut connection, &sql, &config.schema).await?;
        let row_types = RowTypes::read(&mut connection, &sql, &config.schema).await.map_err(classify)?;
        let row_types = row_types.ok_or_else(|| {
            Error::invalid("the schema lacks the types event_row and record_row, which its migrations make")
        })?;
        let sends_one = turn::sends_one(&mut connection, &config).await.map_err(classify)?;
        drop(connection);
        let watchers = Arc::new(Watchers::default());
        let listener = Listener::new(options.clone(), &config, Arc::clone(&watchers));
        let store = Store {
            hints: Hints::new(&config),
            pool,
            options,
            config,
            sql,
            durability,
            locks: Locks::default(),
            sends_one,
            sending: Locks::default(),
            heads: Heads::default(),
            row_types: Mutex::new(row_types),
            kept: Kept::default(),
            watchers,
            listener,
        };
        Ok(Self { store: Arc::new(store) })
    }

    /// Brings the schema up to this version of Rekindle, and makes it if it is not there. Any number of processes may do so at
    /// once. Tells how many migrations were made.
    ///
    /// # Errors
    ///
    /// - `Invalid`: the URL is none, the server refuses the user, or the schema is of a newer version.
    /// - `Unsupported`: as for [`connect_with`](Self::connect_with).
    /// - `Unavailable`: the server cannot be reached or written to; nothing was changed.
    /// - `Indeterminate`: the connection was lost in the end; migrating again is safe.
    ///
    /// # Cancel safety
    ///
    /// Dropped, all missing migrations are made or none is.
    pub async fn migrate(url: &str, config: &PostgresConfig) -> Result<usize> {
        let mut connection = options_of(url)?.connect().await.map_err(classify)?;
        apply(&mut connection, session_settings(config.lock_timeout)).await.map_err(classify)?;
        check_server(&mut connection, &Sql::new(&config.schema)).await?;
        migrate::run(connection, config).await
    }

    /// The migrations, each with its SQL for this configuration: for those who migrate by their own tools. They are to be run
    /// in order, each once.
    #[must_use]
    pub fn migrations(config: &PostgresConfig) -> Vec<Migration> {
        migrate::all(&config.schema)
    }

    /// Wakes whoever waits, in any process, for this log to grow to this position. The backend does so after its own commits;
    /// after one in a transaction of yours it cannot know. It is a hint: without it they wake at the next poll.
    pub fn announce(&self, log: &LogId, position: Position) {
        self.store.announce(log, position);
    }

    /// Closes the pool: waits until what is under way is done, and ends its connections. Calls on any clone are `Unavailable`
    /// from then on.
    ///
    /// # Cancel safety
    ///
    /// Dropped, the pool is closed, and its connections end when they become free.
    pub async fn close(self) {
        self.store.listener.close();
        let closed = self.store.pool.close();
        self.store.kept.clear();
        closed.await;
    }
}

fn options_of(url: &str) -> Result<PgConnectOptions> {
    let options = PgConnectOptions::from_str(url).map_err(|source| {
        // The URL is not repeated: it may have a password in it.
        Error::new(ErrorKind::Invalid, "this is no URL of a Postgres database").with_source(source)
    })?;
    Ok(options.application_name("rekindle").disable_statement_logging())
}

/// So long a lock is waited for on a connection of the pool: who waits for longer goes on outside of it, so that no pool is
/// used up by those who wait for one lock.
pub(crate) const POOL_PATIENCE: Duration = Duration::from_millis(100);

/// Sets a session up.
pub(crate) async fn apply(connection: &mut PgConnection, settings: String) -> Result<(), sqlx::Error> {
    // Each of them is a text of this crate and numbers.
    connection.execute(AssertSqlSafe(settings)).await.map(|_| ())
}

/// What a session of this backend is set to. Every statement reads by a key, and is planned once, for all values:
/// to plan a page of a hundred events each time took a fifth of the server's time for it. So the planner is kept from ways that
/// suit the small tables of the beginning.
pub(crate) fn session_settings(lock_timeout: Option<Duration>) -> String {
    let mut settings = "SET plan_cache_mode = force_generic_plan; SET jit = off; \
        SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; \
        SET default_transaction_isolation = 'read committed'; SET client_min_messages = warning; \
        SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
        .to_owned();
    match lock_timeout {
        Some(timeout) => {
            settings.push_str(&format!("; SET lock_timeout = {}", timeout.as_millis().clamp(1, 2_147_483_647)));
        }
        None => settings.push_str("; RESET lock_timeout"),
    }
    settings
}

/// Sees to it that the server is one that the backend can work on, and tells what it makes durable.
async fn check_server(connection: &mut PgConnection, sql: &Sql) -> Result<Durability> {
    let row = sqlx::query(sql.settings()).fetch_one(connection).await.map_err(classify)?;
    let columns = Columns(&row);
    let (version, encoding, fsync) = (columns.int4(0)?, columns.text(1)?, columns.text(2)?);
    if version < OLDEST {
        return Err(Error::unsupported(format!("the server is PostgreSQL {}; it takes 13 or later", version / 10_000)));
    }
    if encoding != "UTF8" {
        return Err(Error::unsupported(format!("the database is encoded in {encoding}; it takes UTF8")));
    }
    match fsync {
        "on" => Ok(Durability::PowerLoss),
        "off" => Ok(Durability::ProcessCrash),
        other => Err(damaged(format!("fsync is {other:?}"))),
    }
}
