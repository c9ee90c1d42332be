//! Maps by the ids of keys, which end at random already: there is nothing to hash.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use crate::types::KeyId;

/// A map by key ids.
pub(crate) type ById<V> = HashMap<KeyId, V, BuildHasherDefault<LastBytes>>;

/// The last eight bytes of an id. What is shorter counts for nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LastBytes(u64);

impl Hasher for LastBytes {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(last) = bytes.last_chunk() {
            self.0 = u64::from_le_bytes(*last);
        }
    }

    /// Lengths are all the same.
    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}
