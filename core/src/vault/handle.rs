//! The vault's handle, and how it writes keys.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, StreamExt, TryStreamExt};

use super::aad::Place;
use super::cache::Cache;
use super::crypto::{SealingKey, SecretKey};
use super::kek::{KekProvider, Keks};
use super::ring::{Material, Ring, RingKey};
use crate::error::{Error, ErrorKind, Result, VaultFault};
use crate::store::{EventStore, EventStoreExt, KeyStore};
use crate::types::{Commit, KeyId, KeyRow, KeyVersion, KeyWrite, LockKeys, LogId, Position, Subject, Timestamp};

/// How many keys are unwrapped at a time: with a service, each is a call.
const UNWRAP_AT_ONCE: usize = 16;
/// A key that somebody changes all the time is written so often.
pub(super) const ATTEMPTS: usize = 64;

/// What a vault is made of.
#[derive(Clone)]
pub struct VaultConfig {
    pub(super) keks: Arc<dyn KekProvider>,
    pub(super) cached_keys: usize,
    pub(super) cache_time: Duration,
    pub(crate) sealed: Sealed,
}

/// What of a log is sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sealed {
    /// Every section of every event, but for clear text up to a position; and what is sensitive in records.
    Everything { plaintext_until: Position },
    /// What is sensitive, in events and in records.
    Sensitive,
}

impl VaultConfig {
    /// A vault whose keys are wrapped by these.
    pub fn new(keks: impl KekProvider) -> Self {
        Self {
            keks: Arc::new(keks),
            cached_keys: 131_072,
            cache_time: Duration::from_secs(60),
            sealed: Sealed::Everything { plaintext_until: Position::ZERO },
        }
    }

    /// Seals sensitive attributes and inputs only, in events and in records. Unless it is set, every section of every event
    /// is sealed as a whole, and an event in clear text is refused.
    #[must_use]
    pub fn sensitive_only(mut self) -> Self {
        self.sealed = Sealed::Sensitive;
        self
    }

    /// Takes events up to this position in clear text, too: for a log that had events before it had a vault.
    #[must_use]
    pub fn plaintext_until(mut self, position: Position) -> Self {
        self.sealed = Sealed::Everything { plaintext_until: position };
        self
    }

    /// How many unwrapped keys are kept in memory: 131,072 unless it is set.
    #[must_use]
    pub fn with_cached_keys(mut self, keys: usize) -> Self {
        self.cached_keys = keys;
        self
    }

    /// How long an unwrapped key is used before the store is asked for it again: 60 seconds unless it is set. What another
    /// process has forgotten can be read here for so long; nothing can be sealed for it.
    #[must_use]
    pub fn with_cache_time(mut self, time: Duration) -> Self {
        self.cache_time = time;
        self
    }
}

impl From<Keks> for VaultConfig {
    fn from(keks: Keks) -> Self {
        Self::new(keks)
    }
}

impl fmt::Debug for VaultConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VaultConfig")
            .field("keks", &self.keks.names())
            .field("cached_keys", &self.cached_keys)
            .field("cache_time", &self.cache_time)
            .finish_non_exhaustive()
    }
}

/// The keys of a store: what seals and opens, rotates, rewraps and forgets. Clones share it.
#[derive(Clone)]
pub struct Vault {
    pub(super) store: Arc<dyn EventStore>,
    pub(super) keks: Arc<dyn KekProvider>,
    pub(super) lock_keys: Arc<dyn LockKeys>,
    pub(super) cache: Arc<Cache>,
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vault").field("keks", &self.keks.names()).finish_non_exhaustive()
    }
}

impl Vault {
    /// The vault of a store. It proves that each key-encryption key is the one that had its name before.
    ///
    /// # Errors
    ///
    /// - `Unsupported`: the store keeps no keys.
    /// - `Vault` with [`WrongKey`](VaultFault::WrongKey): a key-encryption key is another than the one of its name before.
    /// - `Invalid`: the primary key was retired.
    /// - `Unavailable`, `Indeterminate`, `Corrupt`.
    ///
    /// # Cancel safety
    ///
    /// Dropped, what proves the keys may be in the store.
    pub async fn open(store: Arc<dyn EventStore>, config: VaultConfig, lock_keys: Arc<dyn LockKeys>) -> Result<Self> {
        let VaultConfig { keks, cached_keys, cache_time, .. } = config;
        let cache = Arc::new(Cache::new(cached_keys, cache_time));
        let vault = Self { store, keks, lock_keys, cache };
        vault.key_store()?;
        vault.prove_keks().await?;
        Ok(vault)
    }

    pub(super) fn key_store(&self) -> Result<&dyn KeyStore> {
        let backend = self.store.info().backend;
        self.store.key_store().ok_or_else(|| Error::unsupported(format!("the store {backend} keeps no keys")))
    }

    pub(super) async fn row(&self, log: &LogId, subject: &Subject) -> Result<Option<KeyRow>> {
        Ok(self.key_store()?.keys(log, std::slice::from_ref(subject)).await?.pop().flatten())
    }

    /// Writes a row of keys; `false` if the one before it is not as expected any more.
    pub(super) async fn write(&self, log: &LogId, write: KeyWrite) -> Result<bool> {
        let (subject, row) = (write.row.subject.clone(), write.row.clone());
        let commit = Commit { keys: vec![write], ..Commit::new(log.clone(), self.lock_keys.key(log)?) };
        self.cache.evict(log, [&subject]);
        match self.store.commit_one(commit).await {
            Ok(_) => Ok(true),
            Err(error) if *error.kind() == ErrorKind::Vault(VaultFault::KeyChanged) => Ok(false),
            // What is there tells whether it was made.
            Err(error) if *error.kind() == ErrorKind::Indeterminate => match self.row(log, &subject).await {
                Ok(found) if found.as_ref() == Some(&row) => Ok(true),
                Ok(found) if found.as_ref().map(|found| found.version) >= Some(row.version) => Ok(false),
                _ => Err(error),
            },
            Err(error) => Err(error),
        }
    }

    /// A new key for a subject, wrapped; it comes after these.
    pub(super) async fn new_key(&self, log: &LogId, subject: &Subject, ring: &mut Ring) -> Result<SealingKey> {
        let key = SealingKey::made_at(SecretKey::generate()?, Timestamp::now())?;
        let generation = ring.next_generation();
        let kek = self.keks.primary().to_owned();
        let wrapped = self.keks.wrap(&kek, key.secret(), &Place::key(generation).aad(log, subject)).await?;
        ring.keys.push(RingKey { generation, id: key.id(), material: Material::Wrapped { kek, wrapped } });
        Ok(key)
    }

    /// Unwraps keys of rings, several at a time. Each is checked to be the one that its id says.
    pub(super) async fn unwrap(
        &self,
        log: &LogId,
        keys: Vec<(Subject, RingKey)>,
    ) -> Result<Vec<(KeyId, Subject, Arc<SealingKey>)>> {
        let unwrapped = keys.into_iter().map(|(subject, key)| async move {
            let Material::Wrapped { kek, wrapped } = &key.material else {
                return Err(Error::corrupt(format!("the key {} of {subject} was destroyed", key.id)));
            };
            let context = Place::key(key.generation).aad(log, &subject);
            let place = format!("the key {} of {subject}", key.id);
            let secret = self.keks.unwrap(kek, wrapped, &context).await.map_err(|error| error.at(&place))?;
            let sealing = SealingKey::made_with(secret, &key.id)?;
            if sealing.id() != key.id {
                return Err(Error::vault(VaultFault::Tampered, format!("{place} has another id: {}", sealing.id())));
            }
            Ok((key.id, subject, Arc::new(sealing)))
        });
        stream::iter(unwrapped).buffered(UNWRAP_AT_ONCE).try_collect().await
    }

    /// Changes the keys of a subject: as often as somebody else changes them in between. `change` makes the new ring of the
    /// old one, or gives `None` if there is nothing to do; it tells whether what was sealed before is outdated, and which
    /// keys are new.
    pub(super) async fn change<T, F, Fut>(&self, log: &LogId, subject: &Subject, mut change: F) -> Result<T>
    where
        F: FnMut(Ring) -> Fut + Send,
        Fut: Future<Output = Result<Change<T>>> + Send,
    {
        for _ in 0..ATTEMPTS {
            let row = self.row(log, subject).await?;
            let at = row.as_ref().map_or(KeyVersion::default(), KeyRow::at);
            let ring = row.as_ref().map(Ring::of_row).transpose()?.unwrap_or_else(Ring::empty);
            let Change { ring, new_epoch, new_ids, done } = change(ring).await?;
            let Some(ring) = ring else { return Ok(done) };
            let write = KeyWrite { expected: at.version, row: ring.row(subject, at, new_epoch)?, new_ids };
            if self.write(log, write).await? {
                return Ok(done);
            }
        }
        Err(crate::store::decide::key_changed(subject))
    }
}

/// What becomes of the keys of a subject.
pub(super) struct Change<T> {
    /// The ring after it; `None` if it stays as it is.
    pub(super) ring: Option<Ring>,
    pub(super) new_epoch: bool,
    pub(super) new_ids: Vec<KeyId>,
    pub(super) done: T,
}

impl<T> Change<T> {
    pub(super) fn nothing(done: T) -> Self {
        Self { ring: None, new_epoch: false, new_ids: Vec::new(), done }
    }
}
