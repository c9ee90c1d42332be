//! For backends in one process: one asynchronous lock for each lock key.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

use crate::types::{Commit, LockKey};

/// The locks of one store, by key. A lock that nobody holds or waits for takes no memory.
#[derive(Debug, Default)]
pub struct Locks {
    by_key: Mutex<HashMap<LockKey, Weak<AsyncMutex<()>>>>,
}

/// Locks that are held until this is dropped.
#[must_use = "the locks are freed when this is dropped"]
#[derive(Debug)]
pub struct LocksHeld {
    _guards: Vec<OwnedMutexGuard<()>>,
}

impl Locks {
    /// Takes the locks of all commits of a batch, in sorted order.
    ///
    /// # Cancel safety
    ///
    /// Dropped, none is held.
    pub async fn of_batch(&self, batch: &[Commit]) -> LocksHeld {
        self.take(batch.iter().map(|commit| commit.lock).collect()).await
    }

    /// Takes one lock.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it is not held.
    pub async fn of_key(&self, key: LockKey) -> LocksHeld {
        self.take(BTreeSet::from([key])).await
    }

    async fn take(&self, keys: BTreeSet<LockKey>) -> LocksHeld {
        let mut guards = Vec::with_capacity(keys.len());
        for key in keys {
            guards.push(self.lock(key).lock_owned().await);
        }
        LocksHeld { _guards: guards }
    }

    fn lock(&self, key: LockKey) -> Arc<AsyncMutex<()>> {
        let mut by_key = self.by_key.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lock) = by_key.get(&key).and_then(Weak::upgrade) {
            return lock;
        }
        by_key.retain(|_, lock| lock.strong_count() > 0);
        let lock = Arc::new(AsyncMutex::new(()));
        by_key.insert(key, Arc::downgrade(&lock));
        lock
    }
}
