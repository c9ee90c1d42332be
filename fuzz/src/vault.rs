//! The vault's formats: envelopes, rows of keys, key-encryption keys as text. What must hold of them is in
//! `core/src/vault/fuzzing.rs`; the first byte says which of them the others are.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| rekindle_core::vault::fuzzing::any(bytes));
