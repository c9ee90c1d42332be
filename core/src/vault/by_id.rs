//! Maps by the ids of keys, which are random already: there is nothing to hash.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use crate::types::KeyId;

/// A map by key ids.
pub(crate) type ById<V> = HashMap<KeyId, V, BuildHasherDefault<FirstBytes>>;

/// The first eight bytes of an id. What is shorter counts for nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FirstBytes(u64);

impl Hasher for FirstBytes {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk() {
            self.0 = u64::from_le_bytes(*first);
        }
    }

    /// Lengths are all the same.
    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}
