//! For backends in one process: waking whoever waits for a log to grow.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;

use crate::types::{LogId, Position};

/// The last known position of each log that somebody waits for.
#[derive(Debug, Default)]
pub struct Watchers {
    by_log: Mutex<HashMap<LogId, watch::Sender<Position>>>,
}

impl Watchers {
    /// Tells that a log has grown to this position.
    pub fn notify(&self, log: &LogId, position: Position) {
        let mut by_log = self.by_log.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = by_log.get(log) {
            sender.send_replace(position);
            if sender.receiver_count() == 0 {
                by_log.remove(log);
            }
        }
    }

    /// A receiver of a log's positions. Look at the log after taking it and before waiting on it.
    pub fn subscribe(&self, log: &LogId) -> watch::Receiver<Position> {
        let mut by_log = self.by_log.lock().unwrap_or_else(PoisonError::into_inner);
        by_log.entry(log.clone()).or_insert_with(|| watch::channel(Position::ZERO).0).subscribe()
    }
}
