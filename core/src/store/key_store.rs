//! Where the vault's keys are kept.

use async_trait::async_trait;

use crate::error::Result;
use crate::types::{KeyId, KeyRow, LogId, Page, Subject};

/// Stores the wrapped keys of subjects: the capability `keys`. [`EventStore::key_store`](super::EventStore::key_store) gives it.
///
/// Keys are written by [`EventStore::commit`](super::EventStore::commit) only, with [`Commit::keys`](crate::types::Commit::keys):
/// in the same atomic step as what is sealed by them, under the same lock, at the same durability. They are no records: no
/// rebuild and no [`clear`](super::ResourceStore::clear) touches them.
///
/// What a store gets is opaque: it sees neither a key nor whether there is one.
#[async_trait]
pub trait KeyStore: Send + Sync + 'static {
    /// The rows of these subjects, in the same order; `None` for one that has no keys.
    ///
    /// # Errors
    ///
    /// - `Corrupt`: a row cannot be decoded; the message names the subject.
    /// - `Unavailable`: the store cannot be reached.
    ///
    /// # Cancel safety
    ///
    /// It changes nothing, so it can be dropped at any time.
    async fn keys(&self, log: &LogId, subjects: &[Subject]) -> Result<Vec<Option<KeyRow>>>;

    /// The rows that hold the keys with these ids, in the same order; `None` for a key that was never there. A row is found
    /// by every id that was ever [new](crate::types::KeyWrite::new_ids) in it.
    ///
    /// # Errors
    ///
    /// As for [`keys`](Self::keys).
    ///
    /// # Cancel safety
    ///
    /// It changes nothing, so it can be dropped at any time.
    async fn keys_by_id(&self, log: &LogId, ids: &[KeyId]) -> Result<Vec<Option<KeyRow>>>;

    /// One page of the rows of a log, by the bytes of their subjects, above a subject. Its `next` is the last subject if
    /// there may be more. `limit` is cut to the store's `page_rows`.
    ///
    /// # Errors
    ///
    /// As for [`keys`](Self::keys).
    ///
    /// # Cancel safety
    ///
    /// It changes nothing, so it can be dropped at any time.
    async fn list_keys(&self, log: &LogId, after: Option<&Subject>, limit: usize) -> Result<Page<KeyRow, Subject>>;

    /// The logs that have keys, sorted.
    ///
    /// # Errors
    ///
    /// As for [`keys`](Self::keys).
    ///
    /// # Cancel safety
    ///
    /// It changes nothing, so it can be dropped at any time.
    async fn logs_with_keys(&self) -> Result<Vec<LogId>>;
}
