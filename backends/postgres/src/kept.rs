//! The connections that commits and reads use one after the other.
//!
//! The pool asks each connection that comes back to it whether it is still there, which is a round trip, and hands out the one
//! that has been idle for longest, whose process on the server has nothing in the processor's caches any more. So who comes
//! next takes the connection that was used last; the pool gets it back when it is not used for a while, when others wait for
//! the pool, and from time to time.

use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rekindle_core::Result;
use sqlx::Postgres;
use sqlx::pool::PoolConnection;
use tokio::runtime::Handle;

use crate::error::classify;
use crate::store::Store;

/// When a connection was not used for this time, or a little more, the pool gets it back.
const PAUSE: Duration = Duration::from_millis(50);
/// After this time the pool gets a connection back in any case, to look at its age.
const LONGEST: Duration = Duration::from_secs(10);

/// A connection of the pool that is kept for the next one when it has done its work.
pub(crate) struct Own {
    connection: PoolConnection<Postgres>,
    since: Instant,
}

/// Those that nobody uses at the moment.
#[derive(Default)]
pub(crate) struct Kept {
    idle: Arc<Mutex<Idle>>,
    /// How many wait for the pool. While anybody does, nothing is kept from it.
    waiting: AtomicUsize,
}

/// One who waits for the pool, until it is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

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
    /// A connection of the pool. One that has died meanwhile is found out when it is used: see [`read`](Self::read).
    pub(crate) async fn connection(&self) -> Result<PoolConnection<Postgres>> {
        let _waiting = Waiting::new(&self.kept.waiting);
        self.pool.acquire().await.map_err(classify)
    }

    /// A connection that is given to [`keep`](Self::keep) when it has done its work.
    pub(crate) async fn own_connection(&self) -> Result<Own> {
        let kept = self.kept.idle.lock().unwrap_or_else(PoisonError::into_inner).connections.pop();
        if let Some((own, _)) = kept {
            return Ok(own);
        }
        Ok(Own { connection: self.connection().await?, since: Instant::now() })
    }

    /// Keeps a connection for the next one who wants one: of the pool's, no more than half.
    pub(crate) fn keep(&self, own: Own) {
        let Ok(runtime) = Handle::try_current() else { return };
        let most = usize::try_from(self.config.max_connections / 2).unwrap_or(0);
        if self.kept.waiting.load(Ordering::SeqCst) > 0 || own.since.elapsed() > LONGEST {
            return;
        }
        let mut idle = self.kept.idle.lock().unwrap_or_else(PoisonError::into_inner);
        // Seen under the lock: a pool that closes has those back that were put here before.
        if idle.connections.len() < most && !self.pool.is_closed() {
            idle.connections.push((own, Instant::now()));
            if !idle.is_watched {
                idle.is_watched = true;
                drop(runtime.spawn(give_back(Arc::clone(&self.kept.idle))));
            }
        }
    }
}

impl Kept {
    /// Gives all of them back.
    pub(crate) fn clear(&self) {
        let idle = std::mem::take(&mut self.idle.lock().unwrap_or_else(PoisonError::into_inner).connections);
        drop(idle);
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

#[cfg(test)]
mod tests {
    use rekindle_core::ErrorKind;
    use rekindle_core::store::EventStoreExt;
    use rekindle_core::types::{Commit, KeyRow, KeyWrite, LockKey, LogId, Subject};
    use rekindle_test_servers::Postgres;

    use super::*;
    use crate::rows::Columns;
    use crate::{PostgresBackend, PostgresConfig};

    /// A backend on a schema of its own, without hints, which take a connection now and then.
    async fn opened(server: &Postgres, config: PostgresConfig) -> PostgresBackend {
        let config = config.with_schema(server.fresh_schema()).unwrap().with_notify(false);
        PostgresBackend::migrate(server.url(), &config).await.unwrap();
        PostgresBackend::connect_with(server.url(), config).await.unwrap()
    }

    /// A commit of its own log, so that none knows of another.
    fn commit(n: u64) -> Commit {
        let mut commit = Commit::new(LogId::new(format!("log-{n}")).unwrap(), LockKey::One(1));
        let row = KeyRow { subject: Subject::new("a").unwrap(), version: 1, epoch: 1, body: vec![1] };
        commit.keys.push(KeyWrite { expected: 0, row, new_ids: Vec::new() });
        commit
    }

    /// Batches that are decided on each other's outcome, two of them at the same time.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_is_sent_one_at_a_time_goes_by_one_connection_and_what_is_not_by_two() {
        let Some(server) = rekindle_test_servers::postgres() else { return };
        for sends in [1, 2] {
            let backend = opened(server, PostgresConfig::new().with_sends_at_once(sends)).await;
            let of_subject = |n: u64| {
                let mut commit = commit(0);
                commit.keys[0].row.subject = Subject::new(format!("{n:09}")).unwrap();
                commit
            };
            let (mut greatest, mut n) = (0, 0);
            let enough = async {
                while n < 400 || greatest < sends as usize {
                    let pair = [backend.commit_one(of_subject(n)), backend.commit_one(of_subject(n + 1))];
                    for committed in futures::future::join_all(pair).await {
                        committed.unwrap();
                    }
                    n += 2;
                    greatest = greatest.max(backend.store.kept.idle.lock().unwrap().connections.len());
                }
            };
            tokio::time::timeout(Duration::from_secs(30), enough).await.expect("two were never sent at once");
            assert_eq!(greatest, sends as usize, "{sends} at once");
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn commits_keep_half_of_the_pool_at_the_most_and_the_pool_gets_it_back() {
        let Some(server) = rekindle_test_servers::postgres() else { return };
        for (connections, most) in [(1, 0), (2, 1), (3, 1), (10, 2)] {
            let backend = opened(server, PostgresConfig::new().with_max_connections(connections)).await;
            let store = &backend.store;
            let kept = || store.kept.idle.lock().unwrap().connections.len();
            let mut greatest = 0;
            for n in 0..200 {
                let pair = [backend.commit_one(commit(2 * n)), backend.commit_one(commit(2 * n + 1))];
                for committed in futures::future::join_all(pair).await {
                    committed.unwrap();
                }
                greatest = greatest.max(kept());
            }
            // Two are under way together only where the pool has room for both; one is kept from time to time in any case.
            assert!(greatest <= most && (greatest > 0) == (most > 0), "{greatest} of {connections} were kept");
            let all_back = async {
                while kept() > 0 || store.pool.num_idle() < store.pool.size() as usize {
                    tokio::task::yield_now().await;
                }
            };
            tokio::time::timeout(Duration::from_secs(30), all_back).await.expect("a connection is kept for ever");
        }
    }

    /// The pool hands out the one of its ten that has been idle for longest.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn reads_that_follow_each_other_use_one_connection() {
        let Some(server) = rekindle_test_servers::postgres() else { return };
        let backend = opened(server, PostgresConfig::new()).await;
        drop(futures::future::join_all((0..10).map(|_| backend.store.connection())).await);
        let mut processes = Vec::new();
        for _ in 0..100 {
            let rows = backend.store.read(sqlx::query("SELECT pg_backend_pid()")).await.unwrap();
            processes.push(Columns(&rows[0]).int4(0).unwrap());
        }
        let same = processes.windows(2).filter(|pair| pair[0] == pair[1]).count();
        // Where the machine stalls for longer than a connection is kept, the next one is another.
        assert!(same > 50, "the same as before in {same} of 99");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn nothing_is_kept_from_those_who_wait_for_the_pool() {
        let Some(server) = rekindle_test_servers::postgres() else { return };
        let backend = opened(server, PostgresConfig::new().with_max_connections(2)).await;
        let store = Arc::clone(&backend.store);
        let (first, second) = (store.own_connection().await.unwrap(), store.own_connection().await.unwrap());
        let waits = Arc::clone(&store);
        let third = tokio::spawn(async move { waits.own_connection().await });
        while store.kept.waiting.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        store.keep(first);
        assert_eq!(store.kept.idle.lock().unwrap().connections.len(), 0, "who came first is to have it");
        third.await.unwrap().unwrap();
        assert_eq!(store.kept.waiting.load(Ordering::SeqCst), 0);
        store.keep(second);
        assert_eq!(store.kept.idle.lock().unwrap().connections.len(), 1, "nobody waits any more");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn nothing_is_kept_from_a_pool_that_closes() {
        let Some(server) = rekindle_test_servers::postgres() else { return };
        let backend = opened(server, PostgresConfig::new()).await;
        let (store, log) = (Arc::clone(&backend.store), LogId::new("main").unwrap());
        let busy = store.own_connection().await.unwrap();
        store.head(&log).await.unwrap();
        let mut closing = std::pin::pin!(backend.close());
        assert!(futures::poll!(&mut closing).is_pending(), "one is in use");
        assert_eq!(*store.head(&log).await.unwrap_err().kind(), ErrorKind::Unavailable);
        store.keep(busy);
        assert_eq!(store.kept.idle.lock().unwrap().connections.len(), 0);
        closing.await;
    }
}
