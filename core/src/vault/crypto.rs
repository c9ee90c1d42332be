//! The one place where cryptography is used: a key, what is derived from it, and sealing and opening by it.
//!
//! Only the crates of RustCrypto do the work. What is done with them, byte by byte, is in `docs/vault-format.md`.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{KeyInit, Tag, XChaCha20Poly1305, XNonce};
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::envelope::{self, Envelope, NONCE, TAG};
use crate::error::{Error, ErrorKind, Result, VaultFault};
use crate::types::{KeyId, Timestamp};

/// What is derived from a key, by the names under which it is.
pub(super) const KEY_ID: &[u8] = b"rekindle/v1/key-id";
pub(super) const CIPHER: &[u8] = b"rekindle/v1/xchacha20poly1305";
pub(super) const INDEX: &[u8] = b"rekindle/v1/identity-index";

/// The 32 bytes of a key. They are wiped from memory when they are dropped, and are never shown.
#[derive(Clone)]
pub struct SecretKey(Zeroizing<[u8; 32]>);

impl SecretKey {
    /// The key of these bytes. They should come from a source of randomness that is fit for cryptography.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// A new key, from the operating system's randomness.
    ///
    /// # Errors
    ///
    /// `Unavailable` if the operating system has none.
    pub fn generate() -> Result<Self> {
        let mut bytes = Zeroizing::new([0; 32]);
        fill(&mut bytes[..])?;
        Ok(Self(bytes))
    }

    /// The bytes. Whoever asks for them answers for where they go.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(..)")
    }
}

/// Fills with randomness of the operating system.
pub(super) fn fill(bytes: &mut [u8]) -> Result<()> {
    getrandom::fill(bytes).map_err(|source| {
        Error::new(ErrorKind::Unavailable, "the operating system has no randomness").with_source(source)
    })
}

/// What is derived from a key under a name.
pub(super) fn derive(secret: &SecretKey, name: &[u8]) -> Result<Zeroizing<[u8; 32]>> {
    expand(&Hkdf::new(None, secret.expose()), &[name])
}

fn expand(extracted: &Hkdf<Sha256>, name: &[&[u8]]) -> Result<Zeroizing<[u8; 32]>> {
    let mut derived = Zeroizing::new([0; 32]);
    // It gives so many bytes always. But if it did not, this would be a key of zeros, which everybody knows.
    let expanded = extracted.expand_multi_info(name, &mut derived[..]);
    expanded.map_err(|_| Error::invalid("HKDF does not give 32 bytes"))?;
    Ok(derived)
}

/// When a key was made, as its id begins: milliseconds since 1970. Zeros tell nothing.
type Made = [u8; 6];

/// A key in use: it seals and opens envelopes.
pub(super) struct SealingKey {
    id: KeyId,
    secret: SecretKey,
    cipher: Cipher,
}

impl SealingKey {
    /// The key of which it is not told when it was made.
    pub(super) fn new(secret: SecretKey) -> Result<Self> {
        Self::of(secret, Made::default())
    }

    /// The key that was made at this time.
    pub(super) fn made_at(secret: SecretKey, at: Timestamp) -> Result<Self> {
        let milliseconds = u64::try_from(at.as_microseconds() / 1000).unwrap_or_default();
        let [_, _, made @ ..] = milliseconds.to_be_bytes();
        Self::of(secret, made)
    }

    /// The key that was made when the one of this id was. If it is that one, it has the same id.
    pub(super) fn made_with(secret: SecretKey, id: &KeyId) -> Result<Self> {
        Self::of(secret, id.as_bytes().first_chunk().copied().unwrap_or_default())
    }

    fn of(secret: SecretKey, made: Made) -> Result<Self> {
        let extracted = Hkdf::new(None, secret.expose());
        let mut id = *expand(&extracted, &[KEY_ID, &made])?;
        // The last bytes make room for the first.
        id.rotate_right(made.len());
        id[..made.len()].copy_from_slice(&made);
        let cipher = Cipher::new(&*expand(&extracted, &[CIPHER])?);
        Ok(Self { id: KeyId::from_bytes(id), secret, cipher })
    }

    pub(super) fn id(&self) -> KeyId {
        self.id
    }

    pub(super) fn secret(&self) -> &SecretKey {
        &self.secret
    }

    /// Seals: the envelope.
    pub(super) fn seal(&self, nonce: &[u8; NONCE], aad: &[u8], plaintext: &[u8]) -> Result<Vec<u8>> {
        let mut envelope = envelope::begin(&self.id, nonce, plaintext.len());
        self.cipher.seal(nonce, aad, plaintext, &mut envelope)?;
        Ok(envelope)
    }

    /// Opens an envelope that was sealed by this key.
    pub(super) fn open(&self, envelope: &Envelope<'_>, aad: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        let mut plaintext = Zeroizing::default();
        self.open_to(envelope, aad, &mut plaintext)?;
        Ok(plaintext)
    }

    /// Opens one in the place of what is there. If it fails, nothing is there.
    pub(super) fn open_to(
        &self,
        envelope: &Envelope<'_>,
        aad: &[u8],
        plaintext: &mut Zeroizing<Vec<u8>>,
    ) -> Result<()> {
        plaintext.clear();
        if envelope.key != self.id {
            let message = format!("it was sealed by the key {}, and not by {}", envelope.key, self.id);
            return Err(Error::vault(VaultFault::WrongKey, message));
        }
        self.cipher.open(envelope.nonce, aad, envelope.sealed, plaintext)
    }

    /// The value of an identity as an index holds it: the same for the same value, and nothing to whoever lacks the key.
    pub(super) fn index(&self) -> Result<IndexKey> {
        derive(&self.secret, INDEX).map(IndexKey)
    }
}

/// XChaCha20-Poly1305 under a key that was derived for it.
pub(super) struct Cipher(XChaCha20Poly1305);

impl Cipher {
    pub(super) fn new(key: &[u8; 32]) -> Self {
        Self(XChaCha20Poly1305::new(key.into()))
    }

    /// Adds the ciphertext and its tag to these bytes. If it fails, they are to be thrown away.
    pub(super) fn seal(&self, nonce: &[u8; NONCE], aad: &[u8], plaintext: &[u8], to: &mut Vec<u8>) -> Result<()> {
        let begin = to.len();
        to.extend(plaintext);
        let (_, inside) = to.split_at_mut(begin);
        let sealed = self.0.encrypt_inout_detached(&XNonce::from(*nonce), aad, inside.into());
        // It fails beyond 256 GiB only.
        let tag = sealed.map_err(|_| Error::new(ErrorKind::TooLarge, "it is too large to be sealed"))?;
        to.extend(tag);
        Ok(())
    }

    /// Puts the plaintext in the place of what is there. If it fails, nothing is there.
    pub(super) fn open(
        &self,
        nonce: &[u8; NONCE],
        aad: &[u8],
        sealed: &[u8],
        plaintext: &mut Zeroizing<Vec<u8>>,
    ) -> Result<()> {
        let tampered = || Error::vault(VaultFault::Tampered, "it was changed, or moved from where it belongs");
        let (ciphertext, tag) = sealed.split_last_chunk::<TAG>().ok_or_else(tampered)?;
        if plaintext.capacity() < ciphertext.len() {
            // A vector that grows leaves what was in it behind.
            *plaintext = Zeroizing::new(Vec::with_capacity(ciphertext.len().next_power_of_two()));
        }
        plaintext.clear();
        plaintext.extend(ciphertext);
        let opened = self.0.decrypt_inout_detached(
            &XNonce::from(*nonce),
            aad,
            plaintext.as_mut_slice().into(),
            &Tag::from(*tag),
        );
        opened.map_err(|_| {
            plaintext.clear();
            tampered()
        })
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealingKey({})", self.id)
    }
}

/// The key by which values of identities are hashed.
pub(crate) struct IndexKey(Zeroizing<[u8; 32]>);

impl IndexKey {
    /// The keyed hash of these parts, as text.
    pub(crate) fn hash(&self, parts: &[&str]) -> Result<String> {
        let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(&self.0[..])
            .map_err(|_| Error::invalid("HMAC takes no key of 32 bytes"))?;
        for part in parts {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part.as_bytes());
        }
        Ok(URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
    }
}

impl fmt::Debug for IndexKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IndexKey(..)")
    }
}
