//! A clock and ids that are the same in each run.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use rekindle_core::engine::{Clock, IdSource};
use rekindle_core::types::Timestamp;
use uuid::Uuid;

/// A clock that goes on by one second each time it is asked: the first time it says a second past 1970.
///
/// Each action asks it once, and a [`Unit`](rekindle_core::engine::Unit) of several actions once for all of them.
///
/// ```
/// use rekindle::{Clock, testing::TickingClock};
///
/// let clock = TickingClock::default();
/// assert_eq!(clock.now(), TickingClock::tick(1));
/// assert_eq!(clock.now().to_string(), "1970-01-01T00:00:02Z");
/// ```
#[derive(Debug, Default)]
pub struct TickingClock(AtomicI64);

impl TickingClock {
    /// What the clock says the n-th time.
    #[must_use]
    pub fn tick(n: i64) -> Timestamp {
        Timestamp::from_seconds(n).unwrap_or_else(|_| Timestamp::max())
    }
}

impl Clock for TickingClock {
    fn now(&self) -> Timestamp {
        Self::tick(self.0.fetch_add(1, Ordering::SeqCst) + 1)
    }
}

/// Ids that are counted: the first one is `00000000-0000-0000-0000-000000000001`.
///
/// Records and events take theirs from the same source, as they do in your program: an action that makes one for its
/// record takes two, and the event's is the second.
///
/// ```
/// use rekindle::{IdSource, testing::CountingIds};
///
/// let ids = CountingIds::default();
/// assert_eq!((ids.next(), ids.next()), (CountingIds::id(1), CountingIds::id(2)));
/// ```
#[derive(Debug, Default)]
pub struct CountingIds(AtomicU64);

impl CountingIds {
    /// The n-th id.
    #[must_use]
    pub fn id(n: u64) -> Uuid {
        Uuid::from_u128(n.into())
    }
}

impl IdSource for CountingIds {
    fn next(&self) -> Uuid {
        Self::id(self.0.fetch_add(1, Ordering::SeqCst) + 1)
    }
}
