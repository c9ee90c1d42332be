//! What a rebuild of a log's records holds in hand.

use std::any::Any;
use std::fmt;

use crate::error::{Error, ErrorKind};
use crate::types::{Generation, LockKey, LogId, RecordKey, Revision, WriteState};

/// Where a rebuild puts its records while it runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RebuildMode {
    /// Beside those in use, which stay in use until the new ones are swapped in.
    #[default]
    Shadow,
    /// In their place: they are cleared first.
    InPlace,
}

/// The final state of a record, as a rebuild loads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadedRecord {
    /// The record.
    pub key: RecordKey,
    /// Its revision.
    pub revision: Revision,
    /// Its content; `None` if it is destroyed, so that its revisions go on from there.
    pub state: Option<WriteState>,
}

/// A running rebuild. Dropping it ends the rebuild; what it has loaded is never seen, and is removed by the next one.
#[must_use = "a rebuild ends when it is dropped"]
pub struct Rebuild {
    log: LogId,
    lock: LockKey,
    generation: Generation,
    mode: RebuildMode,
    guard: Box<dyn Any + Send + Sync>,
}

impl Rebuild {
    /// For backends: a rebuild into this generation. `guard` is the backend's own; dropping it must end the rebuild.
    pub fn new(
        log: LogId,
        lock: LockKey,
        generation: Generation,
        mode: RebuildMode,
        guard: impl Any + Send + Sync,
    ) -> Self {
        Self { log, lock, generation, mode, guard: Box::new(guard) }
    }

    /// The log.
    #[must_use]
    pub fn log(&self) -> &LogId {
        &self.log
    }

    /// The log's lock key.
    #[must_use]
    pub fn lock(&self) -> LockKey {
        self.lock
    }

    /// The generation that is loaded.
    #[must_use]
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// Where it puts its records.
    #[must_use]
    pub fn mode(&self) -> RebuildMode {
        self.mode
    }

    /// For backends: the guard, if it is of this type.
    #[must_use]
    pub fn guard<T: Any>(&self) -> Option<&T> {
        self.guard.downcast_ref()
    }

    /// For backends: the error for a rebuild that is not the running one.
    #[must_use]
    pub fn is_over(&self) -> Error {
        Error::new(
            ErrorKind::Conflict { actual: None },
            format!("the rebuild of {} into generation {} is over", self.log, self.generation),
        )
    }
}

impl fmt::Debug for Rebuild {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rebuild({} into {}, {:?})", self.log, self.generation, self.mode)
    }
}

/// The log's lock, held until it is dropped.
#[must_use = "the lock is freed when the fence is dropped"]
pub struct Fence {
    guard: Box<dyn Any + Send + Sync>,
}

impl Fence {
    /// For backends: a fence whose guard frees the lock when it is dropped.
    pub fn new(guard: impl Any + Send + Sync) -> Self {
        Self { guard: Box::new(guard) }
    }

    /// For backends: the guard, if it is of this type.
    #[must_use]
    pub fn guard<T: Any>(&self) -> Option<&T> {
        self.guard.downcast_ref()
    }
}

impl fmt::Debug for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fence")
    }
}
