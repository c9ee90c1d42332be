//! Opening: the keys of a page, and what they open.

use std::hash::BuildHasherDefault;

use zeroize::Zeroizing;

use super::Vault;
use super::aad::Place;
use super::by_id::ById;
use super::cache::Known;
use super::envelope;
use super::ring::{Material, Ring};
use crate::error::{Error, Result, VaultFault};
use crate::types::{KeyId, LogId, Redacted};

/// The keys that something is opened with.
pub(crate) struct OpenKeys {
    pub(super) log: LogId,
    pub(super) keys: ById<Known>,
}

/// Opens envelopes one after the other.
pub(crate) struct Opener<'a> {
    keys: &'a OpenKeys,
    aad: Vec<u8>,
    plaintext: Zeroizing<Vec<u8>>,
}

/// What was in an envelope.
pub(crate) enum Opened<'a> {
    /// This.
    Plaintext(&'a [u8]),
    /// It was sealed for a subject that was forgotten.
    Redacted(&'a Redacted),
}

/// The key that an envelope was sealed with.
pub(crate) fn key_of(envelope: &[u8]) -> Result<KeyId> {
    envelope::read(envelope).map(|envelope| envelope.key)
}

impl Vault {
    /// The keys of these ids, as far as there are any.
    ///
    /// # Errors
    ///
    /// Those of the store and of the provider of key-encryption keys; `Vault` for a key that cannot be unwrapped.
    pub(crate) async fn keys_to_open(&self, log: &LogId, mut ids: Vec<KeyId>) -> Result<OpenKeys> {
        ids.sort_unstable();
        ids.dedup();
        let mut keys = ById::with_capacity_and_hasher(ids.len(), BuildHasherDefault::default());
        let mut unknown = Vec::new();
        for (id, cached) in ids.iter().zip(self.cache.known(log, &ids)) {
            match cached {
                Some(known) => {
                    keys.insert(*id, known);
                }
                None => unknown.push(*id),
            }
        }
        if !unknown.is_empty() {
            let found = self.look_up(log, &unknown).await?;
            self.cache.add_known(log, found.iter().cloned());
            keys.extend(found);
        }
        Ok(OpenKeys { log: log.clone(), keys })
    }

    async fn look_up(&self, log: &LogId, ids: &[KeyId]) -> Result<Vec<(KeyId, Known)>> {
        let rows = self.key_store()?.keys_by_id(log, ids).await?;
        let (mut found, mut wrapped) = (Vec::new(), Vec::new());
        for (id, row) in ids.iter().zip(rows) {
            let Some(row) = row else { continue };
            let ring = Ring::of_row(&row)?;
            let key = ring.keys.into_iter().find(|key| key.id == *id).ok_or_else(|| {
                let message = format!("the key {id} is known as one of {}, which does not have it", row.subject);
                Error::vault(VaultFault::Tampered, message)
            })?;
            match key.material {
                Material::Wrapped { .. } => wrapped.push((row.subject, key)),
                Material::Destroyed { at, reason, .. } => {
                    found.push((*id, Known::Destroyed(Redacted { subject: row.subject, at, reason })));
                }
            }
        }
        let unwrapped = self.unwrap(log, wrapped).await?;
        found.extend(unwrapped.into_iter().map(|(id, subject, key)| (id, Known::Key(subject, key))));
        Ok(found)
    }
}

impl OpenKeys {
    pub(crate) fn opener(&self) -> Opener<'_> {
        Opener { keys: self, aad: Vec::with_capacity(256), plaintext: Zeroizing::default() }
    }
}

impl Opener<'_> {
    /// Opens an envelope, in its place.
    ///
    /// # Errors
    ///
    /// `Vault` with `UnknownKey` if its key is not in the store, `Tampered` if it was changed or moved.
    pub(crate) fn open(&mut self, place: &Place<'_>, envelope: &[u8]) -> Result<Opened<'_>> {
        let envelope = envelope::read(envelope)?;
        match self.keys.keys.get(&envelope.key) {
            Some(Known::Key(subject, key)) => {
                place.write_aad(&self.keys.log, subject, &mut self.aad);
                key.open_to(&envelope, &self.aad, &mut self.plaintext)?;
                Ok(Opened::Plaintext(&self.plaintext))
            }
            Some(Known::Destroyed(redacted)) => Ok(Opened::Redacted(redacted)),
            None => {
                let message = format!("it was sealed by the key {}, which is not in the store", envelope.key);
                Err(Error::vault(VaultFault::UnknownKey, message))
            }
        }
    }
}
