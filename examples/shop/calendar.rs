//! A clock that the example turns on itself: two weeks pass at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use rekindle::{Clock, Timestamp};

const MINUTE: i64 = 60;
const DAY: i64 = 24 * 60 * MINUTE;

/// Each look at it takes a minute.
#[derive(Clone)]
pub(crate) struct Calendar(Arc<AtomicI64>);

impl Default for Calendar {
    /// 2026-01-05T09:00:00Z.
    fn default() -> Self {
        Self(Arc::new(AtomicI64::new(1_767_603_600)))
    }
}

impl Calendar {
    pub(crate) fn days_pass(&self, days: i64) {
        self.0.fetch_add(days * DAY, Ordering::SeqCst);
    }

    /// So many days ago.
    pub(crate) fn days_ago(&self, days: i64) -> rekindle::Result<Timestamp> {
        Timestamp::from_seconds(self.0.load(Ordering::SeqCst) - days * DAY)
    }
}

impl Clock for Calendar {
    fn now(&self) -> Timestamp {
        Timestamp::from_seconds(self.0.fetch_add(MINUTE, Ordering::SeqCst)).unwrap_or(Timestamp::EPOCH)
    }
}
