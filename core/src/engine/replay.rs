//! Replay: rebuilding a log's records from its events.

mod plan;
mod run;
mod verify;
mod workers;

pub use plan::{Handling, Plan, Planned};
pub use verify::{Difference, Drift, Verified};

use std::future::IntoFuture;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::BoxFuture;

use super::log::Log;
use super::past::AsOf;
use crate::error::{Error, ErrorKind, Result};
use crate::store::RebuildMode;
use crate::types::{EventId, EventQuery, LogId, Position, Timestamp};

/// A replay, to be awaited. It runs no hook and no policy, and writes no event.
///
/// Unless told otherwise it goes to the log's head, beside the records in use: the log stays in use, commits go on, and
/// the rebuilt records are swapped in as one, with what was committed in the meantime.
#[must_use = "a replay does nothing until it is awaited"]
pub struct Replay<'a> {
    log: &'a Log,
    until: Until,
    mode: RebuildMode,
    workers: usize,
    memory: usize,
    progress: Option<Arc<dyn Progress>>,
    clear: Option<Arc<dyn ClearRecords>>,
}

enum Until {
    Head,
    Point(AsOf),
    Event(EventId),
}

/// What a replay has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Replayed {
    /// The events that were read.
    pub events: u64,
    /// The records that were written, each as often as it was.
    pub records: u64,
    /// The position that the records are at.
    pub through: Position,
    /// The records that are left out: too little can be read of them since their subjects were forgotten.
    pub redacted: u64,
}

/// How far a replay is.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Progressed {
    /// The events that were read.
    pub events: u64,
    /// The events that there are to read, as far as is known.
    pub total: u64,
    /// The time since the replay began.
    pub elapsed: Duration,
}

impl Progressed {
    /// Events a second since the replay began.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.events as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }

    /// The time left at that rate.
    #[must_use]
    pub fn left(&self) -> Duration {
        let seconds = self.total.saturating_sub(self.events) as f64 / self.rate().max(1e-9);
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
    }
}

/// Takes reports of a replay's progress.
pub trait Progress: Send + Sync + 'static {
    /// Called now and then, and when the replay has ended.
    fn progressed(&self, progress: &Progressed);
}

impl<F: Fn(&Progressed) + Send + Sync + 'static> Progress for F {
    fn progressed(&self, progress: &Progressed) {
        self(progress);
    }
}

/// Clears what a user keeps of the records elsewhere, before a replay in place.
#[async_trait]
pub trait ClearRecords: Send + Sync + 'static {
    /// Clears it.
    ///
    /// # Errors
    ///
    /// Whatever stops the replay; the store's records are not cleared then.
    async fn clear(&self, log: &LogId) -> Result<()>;
}

impl<'a> Replay<'a> {
    pub(crate) fn new(log: &'a Log) -> Self {
        // One processor is busy with reading.
        let workers = std::thread::available_parallelism().map_or(1, |all| all.get().saturating_sub(1).max(1));
        let memory = 128 << 20;
        Self { log, until: Until::Head, mode: RebuildMode::Shadow, workers, memory, progress: None, clear: None }
    }

    /// Stops after the event at this position. Unless that is the last one, the log is `Rewound` then.
    pub fn until_position(mut self, position: impl Into<Position>) -> Self {
        self.until = Until::Point(AsOf::Position(position.into()));
        self
    }

    /// Stops after the event with this id. Unless that is the last one, the log is `Rewound` then.
    pub fn until_event(mut self, id: EventId) -> Self {
        self.until = Until::Event(id);
        self
    }

    /// Applies the events that occurred at this time or earlier. Unless those are all, the log is `Rewound` then, to the
    /// position before the first one that was left out.
    pub fn until(mut self, time: Timestamp) -> Self {
        self.until = Until::Point(AsOf::Time(time));
        self
    }

    /// Clears the log's records first, and rebuilds them in their place: it takes no second copy of them. Until it has
    /// finished, the log gives neither records nor takes commits; if it is broken off, that stays so until a replay
    /// finishes.
    pub fn in_place(mut self) -> Self {
        self.mode = RebuildMode::InPlace;
        self
    }

    /// Before the records are cleared for a replay in place, this clears what is kept of them elsewhere. A replay that is
    /// not in place is `Invalid` with it.
    pub fn clear_records(mut self, clear: impl ClearRecords) -> Self {
        self.clear = Some(Arc::new(clear));
        self
    }

    /// How many records are worked on at once: the default is one for each processor but one, which reads. The result does not depend on it.
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers.max(1);
        self
    }

    /// How much memory the records of a window may take, in bytes, roughly: the default is 128 MiB. A record is written
    /// once a window, so that a larger window writes less.
    pub fn memory(mut self, bytes: usize) -> Self {
        self.memory = bytes;
        self
    }

    /// Where progress is reported to.
    pub fn progress(mut self, progress: impl Progress) -> Self {
        self.progress = Some(Arc::new(progress));
        self
    }

    async fn point(&self) -> Result<Option<AsOf>> {
        let id = match &self.until {
            Until::Head => return Ok(None),
            Until::Point(point) => return Ok(Some(*point)),
            Until::Event(id) => *id,
        };
        let query = EventQuery::new().with_id(id).with_limit(1);
        let found = self.log.engine.events.read(&self.log.id, &query).await?;
        match found.items.first() {
            Some(event) => Ok(Some(AsOf::Position(event.position))),
            None => Err(Error::new(ErrorKind::NotFound, format!("there is no event {id} in {}", self.log.id))),
        }
    }
}

impl<'a> IntoFuture for Replay<'a> {
    type Output = Result<Replayed>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    /// Runs the replay.
    ///
    /// # Errors
    ///
    /// - `Replay` with the position of an event that cannot be applied: an unknown resource, action or version without a
    ///   route, a record that is not there, data that does not fit. The records in use are as they were (in place: they
    ///   are cleared).
    /// - `Rebuilding`: another replay of the log is running.
    /// - `NotFound`, `Invalid`: the event or the position to stop at is not there.
    /// - `Corrupt`, `Unavailable`, `Indeterminate`, `Unsupported`: see [`ResourceStore`](crate::store::ResourceStore).
    ///
    /// # Cancel safety
    ///
    /// Dropped, the records in use are the old ones or the new ones, whole (in place: they are cleared).
    fn into_future(self) -> Self::IntoFuture {
        Box::pin(run::run(self))
    }
}
