//! What a running rebuild holds: a connection of its own, outside of the pool.
//!
//! On it is the lock that makes it the only rebuild of its log. A session's lock ends with its session, so a rebuild whose
//! process has ended is not running. Everything that the rebuild writes goes over it; so a pool of one connection is enough
//! for all others. While the fence is held, the connection is in a transaction that has the log's lock.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use rekindle_core::store::LocksHeld;
use rekindle_core::types::{Generation, LogId};
use rekindle_core::{Error, ErrorKind, Result};
use sqlx::{Connection, Executor, PgConnection};
use tokio::sync::{Mutex as AsyncMutex, MutexGuard};

use crate::config::{LockMode, Schema};
use crate::error::{classify, is_lock_timeout};
use crate::open::{apply, session_settings};
use crate::store::Store;

/// So long a rebuild waits for the end of one before it: a server notices a little later that a client is gone.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);

/// The lock key of something that is no log: the 64-bit FNV-1a of its name.
pub(crate) fn key_of(name: &str) -> i64 {
    let hash = format!("rekindle {name}")
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    i64::from_be_bytes(hash.to_be_bytes())
}

/// The lock key of the rebuilds of a log.
pub(crate) fn rebuild_key(schema: &Schema, log: i64) -> i64 {
    key_of(&format!("rebuild {schema} {log}"))
}

/// The connections of a rebuild.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) connection: PgConnection,
    /// In the mode of row locks: a transaction that holds the rebuild's row.
    keeper: Option<PgConnection>,
}

impl Session {
    /// Connects, and takes the lock of the log's rebuilds.
    pub(crate) async fn open(store: &Store, name: &LogId, log: i64) -> Result<Self> {
        let running = |error: sqlx::Error| {
            if is_lock_timeout(&error) { is_running("another", name).with_source(error) } else { classify(error) }
        };
        let mut connection = store.connect(Some(PATIENCE)).await?;
        let keeper = match store.config.lock_mode {
            LockMode::Advisory => {
                let lock = sqlx::query("SELECT pg_advisory_lock($1)").bind(rebuild_key(store.schema(), log));
                lock.execute(&mut connection).await.map_err(running)?;
                None
            }
            LockMode::Row => {
                let mut keeper = store.connect(Some(PATIENCE)).await?;
                sqlx::query(store.sql.rebuild_row()).bind(log).execute(&mut keeper).await.map_err(classify)?;
                keeper.execute("BEGIN").await.map_err(classify)?;
                let lock = sqlx::query(store.sql.rebuild_row_lock()).bind(log);
                lock.execute(&mut keeper).await.map_err(running)?;
                Some(keeper)
            }
        };
        apply(&mut connection, session_settings(store.config.lock_timeout)).await.map_err(classify)?;
        // What is loaded need not be durable before the rebuild is finished, which waits for all of it.
        connection.execute("SET synchronous_commit = off").await.map_err(classify)?;
        Ok(Self { connection, keeper })
    }

    /// Sees to it that the lock is still held.
    pub(crate) async fn check(&mut self) -> Result<()> {
        match &mut self.keeper {
            Some(keeper) => keeper.ping().await.map_err(classify),
            None => Ok(()),
        }
    }

    /// Frees the lock, and closes the connections.
    pub(crate) async fn close(mut self) {
        // If it does not come off, the server frees the lock when it notices that the session is gone.
        if let Some(mut keeper) = self.keeper {
            let _ = keeper.execute("ROLLBACK").await;
            let _ = keeper.close().await;
        } else {
            let _ = self.connection.execute("ROLLBACK; SELECT pg_advisory_unlock_all()").await;
        }
        let _ = self.connection.close().await;
    }
}

/// The error for a log that is being rebuilt: `which` is "a" or "another".
pub(crate) fn is_running(which: &str, log: &LogId) -> Error {
    Error::new(ErrorKind::Rebuilding, format!("{which} rebuild of {log} is running"))
}

/// A running rebuild, shared by its calls that are under way.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) log: i64,
    pub(crate) generation: Generation,
    session: AsyncMutex<Option<Session>>,
    over: AtomicBool,
    pub(crate) loaded: Mutex<Loaded>,
}

/// What was loaded, by hashes: what is not among them is new, and can be copied without a look at what is there.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    pub(crate) records: HashSet<u64>,
    pub(crate) identities: HashSet<u64>,
    /// There were too many to remember: anything may have been loaded.
    pub(crate) anything: bool,
}

impl Link {
    pub(crate) fn new(log: i64, generation: Generation, session: Session) -> Self {
        Self {
            log,
            generation,
            session: AsyncMutex::new(Some(session)),
            over: AtomicBool::new(false),
            loaded: Mutex::default(),
        }
    }

    /// The connections, for one call at a time; `None` if the rebuild is over.
    pub(crate) async fn session(&self) -> Option<MutexGuard<'_, Option<Session>>> {
        let session = self.session.lock().await;
        (session.is_some() && !self.over.load(Ordering::SeqCst)).then_some(session)
    }

    /// Ends the rebuild: nothing is loaded any more.
    pub(crate) fn end(&self) {
        self.over.store(true, Ordering::SeqCst);
    }

    /// Ends the rebuild, and takes its connections once the call that is under way is done.
    pub(crate) async fn take(&self) -> Option<Session> {
        self.end();
        self.session.lock().await.take()
    }

    /// Closes the connections; the rebuild's lock is free then.
    pub(crate) async fn close(&self) {
        if let Some(session) = self.take().await {
            session.close().await;
        }
    }
}

/// Ends the rebuild when it is dropped: what a [`Rebuild`](rekindle_core::store::Rebuild) holds.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) link: Arc<Link>,
    store: Weak<Store>,
}

impl Running {
    pub(crate) fn new(link: Link, store: &Arc<Store>) -> Self {
        Self { link: Arc::new(link), store: Arc::downgrade(store) }
    }

    pub(crate) fn is_of(&self, store: &Arc<Store>) -> bool {
        std::ptr::eq(self.store.as_ptr(), Arc::as_ptr(store))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.link.end();
        let link = Arc::clone(&self.link);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            drop(runtime.spawn(async move { link.close().await }));
        }
        // Without a runtime, the connection is closed with the last hold on the link.
    }
}

/// The log's lock: what a [`Fence`](rekindle_core::store::Fence) holds.
pub(crate) struct Fenced {
    pub(crate) link: Arc<Link>,
    held: Option<LocksHeld>,
    ended: AtomicBool,
}

impl Fenced {
    pub(crate) fn new(link: Arc<Link>, held: LocksHeld) -> Self {
        Self { link, held: Some(held), ended: AtomicBool::new(false) }
    }

    /// The transaction has ended, so there is nothing to end when this is dropped.
    pub(crate) fn ended(&self) {
        self.ended.store(true, Ordering::SeqCst);
    }
}

impl Drop for Fenced {
    fn drop(&mut self) {
        if self.ended.load(Ordering::SeqCst) {
            return;
        }
        let (link, held) = (Arc::clone(&self.link), self.held.take());
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            drop(runtime.spawn(async move {
                // What was loaded under the fence stays loaded; the lock is freed.
                let mut session = link.session.lock().await;
                if let Some(session) = session.as_mut()
                    && session.connection.execute("COMMIT").await.is_err()
                {
                    link.end();
                }
                drop(session);
                drop(held);
            }));
        }
    }
}
