//! What `docs/vault-format.md` says, held against the code.

mod aad;
mod aead;
mod cache;
mod debug;
mod envelope;
mod hkdf;
mod index;
mod interop;
mod kek;
#[cfg(unix)]
mod kek_text;
mod open;
mod page;
mod ring;

use crate::error::{ErrorKind, Result, VaultFault};

/// Why the vault refused.
fn fault<T>(result: Result<T>) -> VaultFault {
    match result.err().expect("it is refused").kind() {
        ErrorKind::Vault(fault) => fault.clone(),
        other => panic!("the vault refuses by a fault, not by {other:?}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(byte).collect()
}
