//! For backends in one process: one asynchronous lock for each lock key.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::types::{Commit, LockKey};

/// So many can hold one lock together, if they are allowed to be beside each other.
const PLACES: u32 = 2;

/// The locks of one store, by key. A lock that nobody holds or waits for takes no memory. They are fair: who has come first is
/// first.
#[derive(Debug, Default)]
pub struct Locks {
    by_key: Mutex<HashMap<LockKey, Weak<Semaphore>>>,
}

/// Locks that are held until this is dropped.
#[must_use = "the locks are freed when this is dropped"]
#[derive(Debug)]
pub struct LocksHeld {
    _permits: Vec<OwnedSemaphorePermit>,
}

impl Locks {
    /// Takes the locks of all commits of a batch, in sorted order.
    ///
    /// # Cancel safety
    ///
    /// Dropped, none is held.
    pub async fn of_batch(&self, batch: &[Commit]) -> LocksHeld {
        self.take(batch.iter().map(|commit| commit.lock).collect(), PLACES).await
    }

    /// Takes one lock.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it is not held.
    pub async fn of_key(&self, key: LockKey) -> LocksHeld {
        self.take(BTreeSet::from([key]), PLACES).await
    }

    /// Takes the lock of a batch so that one other batch may be under way beside it, if its lock was taken like this, too:
    /// for a store that keeps them apart by itself where it must. A batch of several lock keys is alone.
    ///
    /// # Cancel safety
    ///
    /// Dropped, none is held.
    pub async fn of_batch_beside(&self, batch: &[Commit]) -> LocksHeld {
        let keys: BTreeSet<LockKey> = batch.iter().map(|commit| commit.lock).collect();
        let places = if keys.len() == 1 { 1 } else { PLACES };
        self.take(keys, places).await
    }

    async fn take(&self, keys: BTreeSet<LockKey>, places: u32) -> LocksHeld {
        let mut permits = Vec::with_capacity(keys.len());
        for key in keys {
            // It is never closed, which is the only error.
            permits.extend(self.lock(key).acquire_many_owned(places).await);
        }
        LocksHeld { _permits: permits }
    }

    fn lock(&self, key: LockKey) -> Arc<Semaphore> {
        let mut by_key = self.by_key.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lock) = by_key.get(&key).and_then(Weak::upgrade) {
            return lock;
        }
        by_key.retain(|_, lock| lock.strong_count() > 0);
        let lock = Arc::new(Semaphore::new(PLACES as usize));
        by_key.insert(key, Arc::downgrade(&lock));
        lock
    }
}
