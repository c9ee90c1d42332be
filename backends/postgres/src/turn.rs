//! Which batches of this process are under way at the same time.

use rekindle_core::store::{Locks, LocksHeld};
use rekindle_core::types::{Commit, LockKey};

use crate::store::Store;

/// A batch's turn, until this is dropped.
pub(crate) struct Turn {
    held: Option<LocksHeld>,
    /// The lock key, if another batch of it may be under way.
    pub(crate) beside: Option<LockKey>,
}

impl Store {
    /// Waits for the turn of a batch. One of a single lock key may be under way beside another one.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it is nobody's turn.
    pub(crate) async fn turn(&self, batch: &[Commit]) -> Turn {
        let key = batch.first().map(|commit| commit.lock);
        match key.filter(|key| self.batches_at_once() > 1 && batch.iter().all(|commit| commit.lock == *key)) {
            Some(key) => Turn { held: Some(self.locks.of_batch_beside(batch).await), beside: Some(key) },
            None => Turn { held: Some(self.locks.of_batch(batch).await), beside: None },
        }
    }

    /// How many batches of one lock key may be under way. Two take a connection each.
    pub(crate) fn batches_at_once(&self) -> usize {
        if self.config.max_connections > 1 { 2 } else { 1 }
    }
}

impl Turn {
    /// Waits until no other batch of the key is under way, and lets none begin.
    pub(crate) async fn alone(&mut self, locks: &Locks) {
        if let Some(key) = self.beside.take() {
            // Two that wait for each other to end would wait for ever.
            self.held = None;
            self.held = Some(locks.of_key(key).await);
        }
    }
}
