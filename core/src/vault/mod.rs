//! The vault: what is sealed for a subject is unreadable once the subject is forgotten.
//!
//! Each subject has a random data key, wrapped by a key-encryption key of a [`KekProvider`]. The wrapped keys are in the
//! store's [`KeyStore`](crate::store::KeyStore), written by the very commit that is the first to be sealed with them. A
//! commit carries a [guard](crate::types::KeyGuard) for each key that it was sealed with, so that none lands after its
//! subject was forgotten.
//!
//! The engine seals and opens; see [`Builder::vault`](crate::engine::Builder::vault). The format is in
//! `docs/vault-format.md`, byte by byte.

mod aad;
mod by_id;
mod cache;
mod canary;
mod crypto;
mod envelope;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod handle;
mod kek;
mod kek_text;
mod open;
mod rewrap;
mod ring;
mod seal;
mod shred;
#[cfg(test)]
mod tests;

pub use crypto::SecretKey;
pub use envelope::OVERHEAD;
pub use handle::{Vault, VaultConfig};
pub use kek::{KekProvider, Keks};
pub use rewrap::{ExportedKeys, Imported, Rewrapped};
pub use shred::SubjectStatus;

pub(crate) use aad::{Place, Section};
pub(crate) use crypto::IndexKey;
pub(crate) use handle::Sealed;
pub(crate) use open::{Opened, Opener, key_of};
pub(crate) use seal::SealKeys;
pub(crate) use shred::Shredded;
