//! The state's read path, and the rebuild path.

use async_trait::async_trait;

use super::rebuild::{Fence, LoadedRecord, Rebuild, RebuildMode};
use crate::error::Result;
use crate::types::{Identity, LockKey, LogId, Page, Position, Record, RecordCursor, RecordKey, RecordQuery};

/// Stores the records of any number of logs. They are written by [`EventStore::commit`](super::EventStore::commit) and by
/// rebuilds.
///
/// What changes a log's state as a whole takes the log's lock key, and waits for the commits under it.
///
/// Each call reads one state of the log: never half a commit, and never two generations.
#[async_trait]
pub trait ResourceStore: Send + Sync + 'static {
    /// The records of these keys, in the same order; `None` for one that is not there. All are of one state.
    ///
    /// # Errors
    ///
    /// - `Rebuilding`: the log is being rebuilt in place.
    /// - `Corrupt`: a record cannot be decoded; the message names it.
    /// - `Unavailable`: the store cannot be reached.
    ///
    /// # Cancel safety
    ///
    /// It changes nothing, so it can be dropped at any time.
    async fn get(&self, log: &LogId, keys: &[RecordKey]) -> Result<Vec<Option<Record>>>;

    /// One page of the records of a resource, by the bytes of their ids. Commits and rebuilds between pages may be seen in
    /// later pages; a record that is there all the time is seen exactly once.
    ///
    /// # Errors
    ///
    /// - `Invalid`: the cursor is of another resource.
    /// - `Rebuilding`, `Corrupt`, `Unavailable`: as for [`get`](Self::get).
    ///
    /// # Cancel safety
    ///
    /// It changes nothing, so it can be dropped at any time.
    async fn list(&self, log: &LogId, query: &RecordQuery) -> Result<Page<Record, RecordCursor>>;

    /// The record that owns an identity.
    ///
    /// # Errors
    ///
    /// `Rebuilding`, `Corrupt`, `Unavailable`: as for [`get`](Self::get).
    ///
    /// # Cancel safety
    ///
    /// It changes nothing, so it can be dropped at any time.
    async fn find(&self, log: &LogId, identity: &Identity) -> Result<Option<Record>>;

    /// Begins a rebuild: an empty generation to load records into. With [`RebuildMode::InPlace`] the log's records are
    /// cleared at once and its state is `Rebuilding` until the rebuild is finished; with [`RebuildMode::Shadow`] nothing
    /// that a reader or a commit sees changes. What an earlier rebuild left unfinished is discarded.
    ///
    /// # Errors
    ///
    /// - `Rebuilding`: another rebuild of this log is running. One whose [`Rebuild`] was dropped, or whose process ended,
    ///   is not running.
    /// - `Unavailable`: the store cannot be reached or written to.
    ///
    /// # Cancel safety
    ///
    /// Dropped, the rebuild has begun or it has not; if it has, it is not running.
    async fn begin_rebuild(&self, log: &LogId, lock: LockKey, mode: RebuildMode) -> Result<Rebuild>;

    /// The records that a rebuild has loaded so far: destroyed ones (without state) among them.
    ///
    /// # Errors
    ///
    /// - `Conflict`: the rebuild is over.
    /// - `Corrupt`, `Unavailable`: as for [`get`](Self::get).
    ///
    /// # Cancel safety
    ///
    /// It changes nothing, so it can be dropped at any time.
    async fn loaded(&self, rebuild: &Rebuild, keys: &[RecordKey]) -> Result<Vec<Option<LoadedRecord>>>;

    /// Sets records of a rebuild to these states. Identities are indexed, and are unique when all calls are done: within a
    /// rebuild, one may for a while belong to two records; the last that took it owns it, and giving it up leaves it to
    /// whoever took it since.
    ///
    /// # Errors
    ///
    /// - `Conflict`: the rebuild is over.
    /// - `Unavailable`: the store cannot be written to.
    ///
    /// # Cancel safety
    ///
    /// Dropped, any part of the records may be loaded: load them again, or abandon the rebuild.
    async fn load(&self, rebuild: &Rebuild, records: Vec<LoadedRecord>) -> Result<()>;

    /// Takes the log's lock: until the fence is dropped, no commit under its key is made. Commits wait.
    ///
    /// # Errors
    ///
    /// - `Conflict`: the rebuild is over.
    /// - `Unavailable`: the lock cannot be had.
    ///
    /// # Cancel safety
    ///
    /// Dropped, the lock is not held.
    async fn fence(&self, rebuild: &Rebuild) -> Result<Fence>;

    /// Makes the loaded generation the one in use, in one step: a reader sees the old one or the new one. The log is then
    /// at `through`: `Live` if that is its last position, else `Rewound`, until a commit [accepts](crate::types::Commit::accepts)
    /// it or another rebuild brings it to its head. The generation before it is removed. The rebuild
    /// is over, on an error, too: after one in place the log then stays in state `Rebuilding`.
    ///
    /// # Errors
    ///
    /// - `Conflict`: the rebuild is over, or the fence is not this log's.
    /// - `Invalid`: `through` is above the log's last position.
    /// - `Unavailable`: the store cannot be written to, and the old generation is in use.
    /// - `Indeterminate`: either generation is in use; [`head`](super::EventStore::head) tells which.
    ///
    /// # Cancel safety
    ///
    /// Dropped, either generation is in use, whole.
    async fn finish_rebuild(&self, rebuild: Rebuild, fence: Fence, through: Position) -> Result<()>;

    /// Gives a rebuild up, and removes what it has loaded. After one in place the log stays in state `Rebuilding`.
    ///
    /// # Errors
    ///
    /// - `Unavailable`: the store cannot be written to; the next rebuild discards what was loaded.
    ///
    /// # Cancel safety
    ///
    /// Dropped, the rebuild is over; what it loaded may be there until the next one.
    async fn abandon_rebuild(&self, rebuild: Rebuild) -> Result<()>;

    /// Removes all records of a log, with their identities, and gives their number. Events, positions and every other log
    /// stay. A log that has events is then `Rewound` to 0; after a rebuild in place that was broken off it stays
    /// `Rebuilding`. What was known of destroyed records goes, too: on a log that is taken as it is after this, revisions
    /// begin at 1 again.
    ///
    /// # Errors
    ///
    /// - `Rebuilding`: a rebuild of this log is running.
    /// - `Unavailable`, `Indeterminate`: the store cannot be written to.
    ///
    /// # Cancel safety
    ///
    /// Dropped, all records are there or none is.
    async fn clear(&self, log: &LogId, lock: LockKey) -> Result<u64>;
}
