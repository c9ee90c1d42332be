//! The write path, and the log's read path.

use std::sync::Arc;

use async_trait::async_trait;

use super::info::StoreInfo;
use super::key_store::KeyStore;
use crate::error::Result;
use crate::types::{Commit, Committed, Event, EventQuery, Generation, LogId, Page, Position};

/// Stores the events of any number of logs, and commits records along with them.
///
/// This is what a backend author implements; [`EventStoreExt`](super::EventStoreExt) is what a user calls beside it. A log
/// comes to be with its first commit: one that was never written to reads as empty.
#[async_trait]
pub trait EventStore: Send + Sync + 'static {
    /// What this store is and can do. It does not change while the store is open.
    fn info(&self) -> StoreInfo;

    /// Where it keeps the vault's keys; `None` if it keeps none. Then it refuses commits with [`keys`](Commit::keys) or
    /// [`guards`](Commit::guards), by `Unsupported`.
    fn key_store(&self) -> Option<&dyn KeyStore>;

    /// Makes commits, each all-or-none, in the order in which they are given; a later one sees the earlier ones. The
    /// answers come in the same order, one for each.
    ///
    /// The batch is shared: who hands it over still has it, to make a commit again whose acknowledgement was lost.
    ///
    /// # Guarantees
    ///
    /// - Each commit succeeds or fails alone: a failing one has no effect, on its neighbours either.
    /// - A success is answered once it is durable, at the level of [`StoreInfo::durability`].
    /// - Events take the next positions of their log in order, without a gap; position n+1 is never visible before n.
    /// - Commits under one lock key never overlap; those under another key do not wait for them. A batch over several
    ///   keys takes them in sorted order.
    /// - If every event id of a commit is known with the same content, the commit has no effect and gives the answer that
    ///   it gave before, whatever else it holds and whatever state the log is in. Content is all of [`NewEvent`].
    /// - Within a commit, changes apply in order. Identities are unique per log and resource after each commit, not
    ///   between its changes: two records can swap one.
    /// - Event ids are known per log. A commit without events has none to be known by: made again, it is made twice.
    /// - A commit without changes and keys whose checks hold succeeds and leaves nothing.
    /// - Keys are written with the changes or not at all. No commit is made whose [`guards`](Commit::guards) do not hold at
    ///   the moment at which it is made.
    /// - Readers see a commit whole or not at all: its events, its records and the head, each call by itself.
    /// - A batch of [`Limits::batch_commits`](crate::types::Limits::batch_commits) commits is accepted; a larger one may be.
    ///
    /// # Errors
    ///
    /// Each of them for one commit:
    /// - `Invalid`, `TooLarge`: see [`Commit::validate`].
    /// - `IdReused`: an event id is known with other content, or only some ids of the commit are known.
    /// - `Rebuilding`: the log is being rebuilt in place.
    /// - `Rewound`: its records are at an earlier position, and not at one that the commit [`accepts`](Commit::accepts).
    /// - `Conflict`: the commit accepts a rewound log, and it is not rewound; a check does not hold, or a record is at another revision than a write expects.
    /// - `Vault` with [`KeyChanged`](crate::VaultFault::KeyChanged): keys are not at the version that a write of them
    ///   expects, or not at the epoch of a guard.
    /// - `AlreadyExists`, `NotFound`: a record is there or is not, against what a write expects.
    /// - `IdentityTaken`: an identity belongs to another record.
    /// - `Unsupported`: record writes or checks, and the store keeps no records; keys or guards, and it keeps no keys.
    /// - `Unavailable`: the store cannot be reached or written to, and nothing was changed.
    /// - `Indeterminate`: the acknowledgement was lost.
    /// - `Corrupt`: something that had to be read is damaged.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves each commit whole or absent, and the store usable.
    ///
    /// [`NewEvent`]: crate::types::NewEvent
    async fn commit(&self, batch: Arc<[Commit]>) -> Vec<Result<Committed>>;

    /// Reads one page of events.
    ///
    /// # Guarantees
    ///
    /// The page holds the first `limit` events that pass the query, in its order; `next` is the position of the last one
    /// whenever there may be more. A cursor is a position like any other, and none is refused. Nothing is held between
    /// pages. An unknown log and an inverted range are empty.
    ///
    /// # Errors
    ///
    /// - `Corrupt`: an event cannot be decoded; the message names its position.
    /// - `Unavailable`: the store cannot be reached.
    ///
    /// # Cancel safety
    ///
    /// It changes nothing, so it can be dropped at any time.
    async fn read(&self, log: &LogId, query: &EventQuery) -> Result<Page<Event, Position>>;

    /// The state of a log. An unknown log is at position 0, live.
    ///
    /// # Errors
    ///
    /// - `Unavailable`: the store cannot be reached.
    /// - `Corrupt`: the head cannot be decoded.
    ///
    /// # Cancel safety
    ///
    /// It changes nothing, so it can be dropped at any time.
    async fn head(&self, log: &LogId) -> Result<Head>;

    /// Returns once the log has an event above the position; at once if it has.
    ///
    /// It may return early: a caller reads, and waits again if there is nothing.
    ///
    /// # Errors
    ///
    /// - `Unavailable`: the store cannot be reached.
    ///
    /// # Cancel safety
    ///
    /// It changes nothing, so it can be dropped at any time.
    async fn changed(&self, log: &LogId, after: Position) -> Result<()>;
}

/// The state of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The position of its last event.
    pub position: Position,
    /// The generation of its records that is in use.
    pub generation: Generation,
    /// Whether it takes commits.
    pub state: LogState,
}

impl Default for Head {
    fn default() -> Self {
        Self { position: Position::ZERO, generation: Generation::ZERO, state: LogState::Live }
    }
}

/// Whether a log takes commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogState {
    /// It does.
    Live,
    /// Its records are being rebuilt in place, or a rebuild in place was broken off: neither commits nor reads of records,
    /// until a rebuild finishes.
    Rebuilding,
    /// Its records are at this earlier position: reads, and no commits.
    Rewound(Position),
}
