//! The keyed hashes of sensitive identities.

use proptest::prelude::*;

use crate::vault::crypto::SealingKey;
use crate::vault::{IndexKey, SecretKey};

fn index(byte: u8) -> IndexKey {
    SealingKey::new(SecretKey::from_bytes([byte; 32])).unwrap().index().unwrap()
}

#[test]
fn e9_a_hash_is_the_same_for_the_same_identity_and_key_only() {
    let parts = ["shop.customer", "email", "ada@example.org"];
    let hash = index(7).hash(&parts).unwrap();
    assert_eq!(hash, index(7).hash(&parts).unwrap());
    assert_eq!(hash.len(), 43);
    assert_ne!(hash, index(8).hash(&parts).unwrap());
    for other in [
        ["shop.seller", "email", "ada@example.org"],
        ["shop.customer", "login", "ada@example.org"],
        ["shop.customer", "email", "ada@example.com"],
    ] {
        assert_ne!(hash, index(7).hash(&other).unwrap());
    }
}

proptest! {
    /// The same text, cut into parts at two places.
    #[test]
    fn e9_parts_do_not_run_into_each_other(text in "[a-b\u{0}]{6}", a in 0..=6_usize, b in 0..=6_usize) {
        let hash = |at: usize| index(7).hash(&["r", &text[..at], &text[at..]]).unwrap();
        prop_assert_eq!(a == b, hash(a) == hash(b));
    }
}
