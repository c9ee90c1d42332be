//! A little of what the fuzzer does, with nothing that guides it.

use std::path::Path;

use proptest::prelude::*;

use super::ring::rings;
use crate::codec;
use crate::vault::fuzzing;

fn of_kind(kind: u8, bytes: &[u8]) {
    fuzzing::any(&[&[kind], bytes].concat());
}

proptest! {
    #[test]
    fn e8_what_holds_for_all_bytes_holds_for_any(kind in 0..6_u8, bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        of_kind(kind, &bytes);
    }

    #[test]
    fn e8_an_envelope_that_is_of_the_format_and_was_not_sealed_does_not_open(
        bytes in prop::collection::vec(any::<u8>(), 72..300),
    ) {
        of_kind(0, &[&[1, 1], &bytes[..]].concat());
    }

    /// A row in which one byte is another one.
    #[test]
    fn a_row_that_was_changed_is_read_as_it_is_or_corrupt(ring in rings(), at in any::<prop::sample::Index>(), byte: u8) {
        let mut row = codec::encode(&ring).unwrap();
        of_kind(2, &row);
        let at = at.index(row.len());
        row[at] = byte;
        of_kind(2, &row);
    }

    #[test]
    fn a_text_of_keys_is_read_or_refused_without_showing_one(
        primary in "(a|b||[+/A-Za-z0-9]{42}[AEIMQUYcgkosw048]=)",
        names in prop::collection::vec("(a|b|[+/A-Za-z0-9]{42}[AEIMQUYcgkosw048]=)", 0..3),
        key in "([+/A-Za-z0-9]{42}[AEIMQUYcgkosw048]=|[+/A-Za-z0-9]{40,44}|a)",
    ) {
        let keys: Vec<String> = names.iter().map(|name| format!("\"{name}\": \"{key}\"")).collect();
        of_kind(5, format!("{{\"primary\": \"{primary}\", \"keys\": {{{}}}}}", keys.join(", ")).as_bytes());
    }
}

#[test]
fn the_seeds_of_the_fuzzer_hold() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds");
    let mut kinds = Vec::new();
    for seed in std::fs::read_dir(folder).unwrap() {
        let seed = std::fs::read(seed.unwrap().path()).unwrap();
        kinds.push(seed[0]);
        fuzzing::any(&seed);
    }
    kinds.sort_unstable();
    kinds.dedup();
    assert_eq!(kinds, [0, 1, 2, 3, 4, 5]);
}
