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

#[cfg(test)]
mod tests {
    use rekindle_core::types::{Generation, RecordKey};

    use super::*;
    use crate::SledConfig;

    fn key(resource: &str, id: u64) -> Vec<u8> {
        keys::record(1, Generation::new(1), &RecordKey::new(resource, format!("{id:03}")).unwrap())
    }

    #[test]
    fn what_is_behind_the_last_row_is_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), SledConfig::new()).unwrap();
        let mut greatest = Greatest::default();
        let mut is_behind = 0;
        // In an order that is the same each time: mostly upwards, and back again.
        for step in 0..2_000_u64 {
            let key = key(["a", "a.b", "b"][step as usize % 3], step / 4 + step * step % 37);
            if greatest.is_behind(&store, &key).unwrap() {
                assert_eq!(store.row(&key).unwrap(), None, "in step {step}");
                is_behind += 1;
            }
            match step % 5 {
                0 => {}
                // Untold, and so forgotten.
                1 => {
                    store.put(key, Some(vec![1])).unwrap();
                    greatest.forget();
                }
                _ => {
                    store.put(key.clone(), Some(vec![1])).unwrap();
                    greatest.saw(&key);
                }
            }
        }
        assert!((100..1_900).contains(&is_behind), "{is_behind}");
    }

    #[test]
    fn another_range_does_not_count() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), SledConfig::new()).unwrap();
        let mut greatest = Greatest::default();
        store.put(key("b", 9), Some(vec![1])).unwrap();
        assert!(greatest.is_behind(&store, &key("a", 0)).unwrap());
        assert!(!greatest.is_behind(&store, &key("b", 9)).unwrap());
        assert!(greatest.is_behind(&store, &key("b", 10)).unwrap());
    }
}
