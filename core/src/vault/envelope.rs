//! The envelope: version (1 byte), suite (1), key id (32), nonce (24), ciphertext, tag (16).

use crate::error::{Error, Result, VaultFault};
use crate::types::KeyId;

pub(super) const VERSION: u8 = 1;
/// XChaCha20-Poly1305, its key derived by HKDF-SHA256.
pub(super) const SUITE: u8 = 1;
pub(super) const NONCE: usize = 24;
pub(super) const TAG: usize = 16;
const HEAD: usize = 2 + 32 + NONCE;

/// What an envelope adds to the plaintext, in bytes.
pub const OVERHEAD: usize = HEAD + TAG;

/// The parts of an envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Envelope<'a> {
    pub(super) key: KeyId,
    pub(super) nonce: &'a [u8; NONCE],
    /// The ciphertext and its tag.
    pub(super) sealed: &'a [u8],
}

/// The head of an envelope, with room for what is sealed: so many bytes of plaintext.
pub(super) fn begin(key: &KeyId, nonce: &[u8; NONCE], plaintext: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(OVERHEAD + plaintext);
    bytes.extend([VERSION, SUITE]);
    bytes.extend(key.as_bytes());
    bytes.extend(nonce);
    bytes
}

/// An envelope of these parts.
#[cfg(any(test, fuzzing))]
pub(super) fn write(key: &KeyId, nonce: &[u8; NONCE], sealed: &[u8]) -> Vec<u8> {
    let mut bytes = begin(key, nonce, sealed.len());
    bytes.extend(sealed);
    bytes
}

/// Reads the parts. Whether they belong together is seen when it is opened.
pub(super) fn read(bytes: &[u8]) -> Result<Envelope<'_>> {
    let refused = |why: String| Error::vault(VaultFault::Tampered, why);
    if bytes.len() < OVERHEAD {
        return Err(refused(format!("an envelope of {} bytes is cut: the shortest has {OVERHEAD}", bytes.len())));
    }
    let parts = bytes.split_first_chunk::<2>().and_then(|(head, rest)| {
        let (key, rest) = rest.split_first_chunk::<32>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE>()?;
        Some((head, key, nonce, sealed))
    });
    match parts {
        Some(([VERSION, SUITE], key, nonce, sealed)) => Ok(Envelope { key: KeyId::from_bytes(*key), nonce, sealed }),
        Some(([VERSION, suite], ..)) => Err(refused(format!("an envelope is of the suite {suite}; known is {SUITE}"))),
        Some(([version, _], ..)) => {
            Err(refused(format!("an envelope is of the version {version}; known is {VERSION}")))
        }
        None => Err(refused("an envelope is cut".to_owned())),
    }
}
