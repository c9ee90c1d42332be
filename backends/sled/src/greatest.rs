//! What is not there, known without a look.
//!
//! Ids of version 7 grow with time. So the rows of new events, records and subjects mostly come behind all others of their
//! kind; and what would be behind the last one is not there.

use std::collections::HashMap;

use rekindle_core::Result;

use crate::keys;
use crate::store::Store;

/// So many ranges are kept in mind; beyond that, all are forgotten.
const RANGES: usize = 10_000;

/// The last key of each [range](keys::range_of) that was asked for, or one behind it.
///
/// It is never before the last key that is stored: whoever writes to a range tells it, or makes it forget.
#[derive(Debug, Default)]
pub(crate) struct Greatest(HashMap<Vec<u8>, Vec<u8>>);

impl Greatest {
    /// Whether the key is behind all that its range has: so there is no such row.
    pub(crate) fn is_behind(&mut self, store: &Store, key: &[u8]) -> Result<bool> {
        let range = keys::range_of(key);
        if let Some(last) = self.0.get(range) {
            return Ok(key > &last[..]);
        }
        if self.0.len() >= RANGES {
            self.0.clear();
        }
        let last = store.last_key(range)?.unwrap_or_else(|| range.to_vec());
        let is_behind = key > &last[..];
        self.0.insert(range.to_vec(), last);
        Ok(is_behind)
    }

    /// A row has been written.
    pub(crate) fn saw(&mut self, key: &[u8]) {
        if let Some(last) = self.0.get_mut(keys::range_of(key)).filter(|last| key > &last[..]) {
            last.clear();
            last.extend_from_slice(key);
        }
    }

    /// Rows may have been written that it was not told of.
    pub(crate) fn forget(&mut self) {
        self.0.clear();
    }
}
