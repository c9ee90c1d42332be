//! What `docs/vault-format.md` says, held against the code.

mod cache;
mod kek;
#[cfg(unix)]
mod kek_text;

use crate::error::{ErrorKind, Result, VaultFault};

/// Why the vault refused.
fn fault<T>(result: Result<T>) -> VaultFault {
    match result.err().expect("it is refused").kind() {
        ErrorKind::Vault(fault) => fault.clone(),
        other => panic!("the vault refuses by a fault, not by {other:?}"),
    }
}
