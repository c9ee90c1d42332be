//! The connections that commits use one after the other.
//!
//! The pool asks each connection that comes back to it whether it is still there, which is a round trip. So the next commit
//! takes the connection of the one before; the pool gets it back when commits pause, and from time to time.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rekindle_core::Result;
use sqlx::Postgres;
use sqlx::pool::PoolConnection;
use tokio::runtime::Handle;

use crate::store::Store;

/// When no commit has used a connection for this time, or a little more, the pool gets it back.
const PAUSE: Duration = Duration::from_millis(50);
/// After this time the pool gets a connection back in any case, to look at its age.
const LONGEST: Duration = Duration::from_secs(10);

/// A connection for commits.
pub(crate) struct Own {
    connection: PoolConnection<Postgres>,
    since: Instant,
}

/// Those that no commit uses at the moment.
#[derive(Default)]
pub(crate) struct Kept(Arc<Mutex<Idle>>);

#[derive(Default)]
struct Idle {
    connections: Vec<(Own, Instant)>,
    is_watched: bool,
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Kept")
    }
}

impl Store {
    /// A connection for a commit.
    pub(crate) async fn own_connection(&self) -> Result<Own> {
        let kept = self.kept.0.lock().unwrap_or_else(PoisonError::into_inner).connections.pop();
        if let Some((own, _)) = kept {
            return Ok(own);
        }
        Ok(Own { connection: self.connection().await?, since: Instant::now() })
    }

    /// Keeps a connection for the next commit. At least half of the pool is left to readers.
    pub(crate) fn keep(&self, own: Own) {
        let Ok(runtime) = Handle::try_current() else { return };
        let most = usize::try_from(self.config.max_connections / 2).unwrap_or(0);
        if own.since.elapsed() > LONGEST {
            return;
        }
        let mut idle = self.kept.0.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.connections.len() < most.min(self.batches_at_once()) {
            idle.connections.push((own, Instant::now()));
            if !idle.is_watched {
                idle.is_watched = true;
                drop(runtime.spawn(give_back(Arc::clone(&self.kept.0))));
            }
        }
    }
}

impl Deref for Own {
    type Target = PoolConnection<Postgres>;
    fn deref(&self) -> &Self::Target {
        &self.connection
    }
}

impl DerefMut for Own {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.connection
    }
}

/// Gives back what was not used for a while, until nothing is kept.
async fn give_back(kept: Arc<Mutex<Idle>>) {
    loop {
        tokio::time::sleep(PAUSE).await;
        let (unused, ends) = {
            let mut idle = kept.lock().unwrap_or_else(PoisonError::into_inner);
            let (unused, used): (Vec<_>, Vec<_>) =
                idle.connections.drain(..).partition(|(_, since)| since.elapsed() >= PAUSE);
            idle.connections = used;
            idle.is_watched = !idle.connections.is_empty();
            (unused, !idle.is_watched)
        };
        drop(unused);
        if ends {
            return;
        }
    }
}
