//! Key-encryption keys: what data keys are wrapped by.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::crypto::{SealingKey, SecretKey, fill};
use super::envelope::{self, NONCE};
use crate::error::{Error, ErrorKind, Result, VaultFault};
use crate::types::ActionName;

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

/// Their text: which is the primary one, and the bytes of each in base64.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    primary: String,
    keys: BTreeMap<String, Zeroizing<String>>,
}

impl Keks {
    /// One key, the primary one. Its name is 1 to 200 ASCII letters, digits, `_`, `-` and `.`, and starts with a letter.
    ///
    /// # Errors
    ///
    /// `Invalid` or `TooLarge` if it is no such name.
    pub fn new(name: &str, key: SecretKey) -> Result<Self> {
        Self { primary: name.to_owned(), keys: BTreeMap::new() }.with(name, key)
    }

    /// Adds a key that is not the primary one: what it has wrapped can be opened, and nothing is wrapped by it any more.
    ///
    /// # Errors
    ///
    /// `Invalid` if there is a key of this name, or it is no name; `TooLarge` if it is too long.
    pub fn with(mut self, name: &str, key: SecretKey) -> Result<Self> {
        ActionName::new(name).map_err(|error| error.at("the name of a key-encryption key"))?;
        if self.keys.insert(name.to_owned(), SealingKey::new(key)?).is_some() {
            return Err(Error::invalid(format!("there are two key-encryption keys named {name:?}")));
        }
        Ok(self)
    }

    /// Keys from their text, a JSON object: `{"primary": "2026", "keys": {"2025": "BASE64", "2026": "BASE64"}}`, each of 32
    /// bytes in standard base64. `head -c 32 /dev/urandom | base64` makes one.
    ///
    /// # Errors
    ///
    /// `Invalid` if it is none, a key does not have 32 bytes, or the primary one is not there. No message shows a key.
    pub fn from_text(text: &str) -> Result<Self> {
        // The error of serde could show a piece of the text.
        let text: Text = serde_json::from_str(text).map_err(|error| {
            let message = format!(
                "the text of the key-encryption keys is no {{\"primary\": NAME, \"keys\": {{NAME: BASE64, ..}}}} (line {}, column {})",
                error.line(),
                error.column()
            );
            Error::invalid(message)
        })?;
        let mut keks = Self { primary: text.primary, keys: BTreeMap::new() };
        for (name, encoded) in text.keys {
            let mut bytes = Zeroizing::new([0; 33]);
            let length = STANDARD.decode_slice(encoded.trim(), &mut bytes[..]);
            let key = match (length, bytes.first_chunk::<32>()) {
                (Ok(32), Some(key)) => SecretKey::from_bytes(*key),
                _ => {
                    let message = format!("the key-encryption key {name:?} is no 32 bytes in base64");
                    return Err(Error::invalid(message));
                }
            };
            keks = keks.with(&name, key)?;
        }
        if !keks.keys.contains_key(&keks.primary) {
            let message = format!("the primary key-encryption key is to be {:?}, and it is not there", keks.primary);
            return Err(Error::invalid(message));
        }
        Ok(keks)
    }

    /// Keys from an environment variable that holds [their text](Self::from_text).
    ///
    /// # Errors
    ///
    /// `Invalid` if it is not set, or as for [`from_text`](Self::from_text).
    pub fn from_env(variable: &str) -> Result<Self> {
        let text = std::env::var(variable).map(Zeroizing::new).map_err(|_| {
            Error::invalid(format!("the environment variable {variable} with the key-encryption keys is not set"))
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
