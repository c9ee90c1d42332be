//! Key-encryption keys: what data keys are wrapped by.

use std::collections::BTreeMap;
use std::env::VarError;
use std::fmt;
use std::path::Path;

use async_trait::async_trait;
use zeroize::Zeroizing;

use super::crypto::{SealingKey, SecretKey, fill};
use super::envelope::{self, NONCE};
use crate::error::{Error, ErrorKind, Result, VaultFault};

/// Wraps and unwraps data keys: local keys ([`Keks`]), or a service that keeps them (a KMS), by an implementation of yours.
///
/// A key-encryption key has a name, by which what it wraps is found again. New keys are wrapped by the primary one.
#[async_trait]
pub trait KekProvider: Send + Sync + 'static {
    /// The name of the key that new keys are wrapped by.
    fn primary(&self) -> &str;

    /// The names of all keys that there are, the primary among them.
    fn names(&self) -> Vec<String>;

    /// Wraps a key by the key-encryption key of this name. `context` must be given again to unwrap it.
    ///
    /// # Errors
    ///
    /// - `Vault` with [`NoKek`](VaultFault::NoKek): there is no key of this name.
    /// - `Unavailable`: the service cannot be reached.
    ///
    /// # Cancel safety
    ///
    /// It changes nothing, so it can be dropped at any time.
    async fn wrap(&self, kek: &str, key: &SecretKey, context: &[u8]) -> Result<Vec<u8>>;

    /// Unwraps a key that was wrapped by the key-encryption key of this name.
    ///
    /// # Errors
    ///
    /// - `Vault` with [`NoKek`](VaultFault::NoKek): there is no key of this name.
    /// - `Vault` with [`WrongKey`](VaultFault::WrongKey): there is one, and it is another than the one that wrapped it.
    /// - `Vault` with [`Tampered`](VaultFault::Tampered): it was changed, or the context is another.
    /// - `Unavailable`: the service cannot be reached.
    ///
    /// # Cancel safety
    ///
    /// It changes nothing, so it can be dropped at any time.
    async fn unwrap(&self, kek: &str, wrapped: &[u8], context: &[u8]) -> Result<SecretKey>;
}

/// Key-encryption keys in the memory of this process: from an environment variable, a file, or where you have them from.
pub struct Keks {
    primary: String,
    keys: BTreeMap<String, SealingKey>,
}

impl Keks {
    /// One key, the primary one. Its name is 1 to 200 ASCII letters, digits, `_`, `-` and `.`.
    ///
    /// # Errors
    ///
    /// `Invalid` if it is no such name.
    pub fn new(name: &str, key: SecretKey) -> Result<Self> {
        Self::none(name).with(name, key)
    }

    /// No key yet, not even the primary one.
    pub(super) fn none(primary: &str) -> Self {
        Self { primary: primary.to_owned(), keys: BTreeMap::new() }
    }

    pub(super) fn has_primary(&self) -> bool {
        self.keys.contains_key(&self.primary)
    }

    /// Adds a key that is not the primary one: what it has wrapped can be opened, and nothing is wrapped by it any more.
    ///
    /// # Errors
    ///
    /// `Invalid` if there is a key of this name, or it is no name.
    pub fn with(mut self, name: &str, key: SecretKey) -> Result<Self> {
        if !is_name(name) {
            return Err(Error::invalid(format!("{name:?} is no name of a key-encryption key: {NAME}")));
        }
        if self.keys.insert(name.to_owned(), SealingKey::new(key)?).is_some() {
            return Err(Error::invalid(format!("there are two key-encryption keys named {name:?}")));
        }
        Ok(self)
    }

    /// Keys from their text, a JSON object: `{"primary": "2026", "keys": {"2025": "BASE64", "2026": "BASE64"}}`,
    /// each of 32 bytes in standard base64. `head -c 32 /dev/urandom | base64` makes one.
    ///
    /// # Errors
    ///
    /// `Invalid` if it is none, a name is none or there twice, a key does not have 32 bytes, or the primary one is not there.
    /// No message shows a key.
    pub fn from_text(text: &str) -> Result<Self> {
        super::kek_text::read(text)
    }

    /// Keys from an environment variable that holds [their text](Self::from_text).
    ///
    /// # Errors
    ///
    /// `Invalid` if it is not set, or is no UTF-8, or as for [`from_text`](Self::from_text).
    pub fn from_env(variable: &str) -> Result<Self> {
        let text = std::env::var(variable).map(Zeroizing::new).map_err(|error| {
            let what = match error {
                VarError::NotPresent => "is not set",
                VarError::NotUnicode(_) => "is no UTF-8",
            };
            Error::invalid(format!("the environment variable {variable} with the key-encryption keys {what}"))
        })?;
        Self::from_text(&text).map_err(|error| error.at(format!("the environment variable {variable}")))
    }

    /// Keys from a file that holds [their text](Self::from_text), and that nobody but its owner may read: mode 0600.
    ///
    /// # Errors
    ///
    /// `Invalid` if it cannot be read, others may read or write it, or as for [`from_text`](Self::from_text).
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let read = || -> std::io::Result<Result<Zeroizing<String>>> {
            let file = std::fs::File::open(path)?;
            if let Err(error) = check_mode(&file.metadata()?) {
                return Ok(Err(error));
            }
            Ok(Ok(Zeroizing::new(std::io::read_to_string(file)?)))
        };
        let unread = |source| Error::invalid("the file of key-encryption keys cannot be read").with_source(source);
        let text = read().map_err(unread).and_then(|text| text).map_err(|error| error.at(path.display()))?;
        Self::from_text(&text).map_err(|error| error.at(path.display()))
    }

    fn key(&self, name: &str) -> Result<&SealingKey> {
        self.keys.get(name).ok_or_else(|| {
            let message = format!("the key-encryption key {name:?} is asked for, and it is not there");
            Error::vault(VaultFault::NoKek, message)
        })
    }
}

pub(super) const NAME: &str = "it takes 1 to 200 ASCII letters, digits, '_', '-' and '.'";

pub(super) fn is_name(name: &str) -> bool {
    (1..=200).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'))
}

#[cfg(unix)]
fn check_mode(metadata: &std::fs::Metadata) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "the file of key-encryption keys has the mode {mode:04o}, so that others than its owner can reach it: make it 0600"
    )))
}

/// Elsewhere, who may read a file is not told by a mode.
#[cfg(not(unix))]
fn check_mode(_: &std::fs::Metadata) -> Result<()> {
    Ok(())
}

impl fmt::Debug for Keks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keks({}, primary {})", self.keys.keys().cloned().collect::<Vec<_>>().join(", "), self.primary)
    }
}

#[async_trait]
impl KekProvider for Keks {
    fn primary(&self) -> &str {
        &self.primary
    }

    fn names(&self) -> Vec<String> {
        self.keys.keys().cloned().collect()
    }

    async fn wrap(&self, kek: &str, key: &SecretKey, context: &[u8]) -> Result<Vec<u8>> {
        let mut nonce = [0; NONCE];
        fill(&mut nonce)?;
        self.key(kek)?.seal(&nonce, context, key.expose())
    }

    async fn unwrap(&self, kek: &str, wrapped: &[u8], context: &[u8]) -> Result<SecretKey> {
        let opened = self.key(kek)?.open(&envelope::read(wrapped)?, context).map_err(|error| match error.kind() {
            ErrorKind::Vault(VaultFault::WrongKey) => {
                let message = format!("the key-encryption key {kek:?} is not the one of this name that wrapped this");
                Error::vault(VaultFault::WrongKey, message).with_source(error)
            }
            _ => error.at("a wrapped key"),
        })?;
        let bytes = opened.first_chunk::<32>().filter(|_| opened.len() == 32);
        bytes.map(|bytes| SecretKey::from_bytes(*bytes)).ok_or_else(|| Error::corrupt("a wrapped key has not 32 bytes"))
    }
}

#[async_trait]
impl KekProvider for std::sync::Arc<dyn KekProvider> {
    fn primary(&self) -> &str {
        (**self).primary()
    }
    fn names(&self) -> Vec<String> {
        (**self).names()
    }
    async fn wrap(&self, kek: &str, key: &SecretKey, context: &[u8]) -> Result<Vec<u8>> {
        (**self).wrap(kek, key, context).await
    }
    async fn unwrap(&self, kek: &str, wrapped: &[u8], context: &[u8]) -> Result<SecretKey> {
        (**self).unwrap(kek, wrapped, context).await
    }
}
