//! Which batches of this process are under way at the same time.

use std::time::{Duration, Instant};

use rekindle_core::store::{Locks, LocksHeld};
use rekindle_core::types::{Commit, LockKey};
use sqlx::{Connection, PgConnection};

use crate::config::PostgresConfig;
use crate::store::Store;

/// A server is near if a round trip takes less.
///
/// One that is near is better off with one connection: two that wait for the same lock cost it more than is lost between an
/// answer and the next call, which is ready by then. With 128 callers one was faster by a tenth without any delay, two were by
/// a twentieth at 250 microseconds, and by four tenths at a millisecond.
const NEAR: Duration = Duration::from_micros(300);

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

    /// Waits until the batch of this key that was sent before is answered; for nothing where two are sent at once.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it is nobody's turn.
    pub(crate) async fn turn_to_send(&self, key: LockKey) -> Option<LocksHeld> {
        if self.sends_one { Some(self.sending.of_key(key).await) } else { None }
    }

    /// How many batches of one lock key may be under way. Where two are sent, each takes a connection.
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

/// Whether one batch of a lock key is sent at a time: if the settings say so, or else if the server is near.
pub(crate) async fn sends_one(connection: &mut PgConnection, config: &PostgresConfig) -> Result<bool, sqlx::Error> {
    if let Some(batches) = config.sends_at_once {
        return Ok(batches <= 1);
    }
    let mut fastest = Duration::MAX;
    for _ in 0..3 {
        let sent = Instant::now();
        connection.ping().await?;
        fastest = fastest.min(sent.elapsed());
    }
    Ok(fastest < NEAR)
}
