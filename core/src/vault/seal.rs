//! Sealing: the keys for a commit, and what they seal.

use std::collections::HashMap;
use std::sync::Arc;

use super::Vault;
use super::aad::Place;
use super::cache::Current;
use super::crypto::{IndexKey, fill};
use super::envelope::NONCE;
use super::ring::Ring;
use crate::error::{Error, Result};
use crate::types::{KeyGuard, KeyRow, KeyVersion, KeyWrite, LogId, Subject};

/// Nonces are taken from the operating system so many at a time.
const NONCES: usize = 8;

/// The keys that a commit is sealed with.
pub(crate) struct SealKeys {
    log: LogId,
    keys: HashMap<Subject, Current>,
    /// That they are still the same when the commit is made.
    pub(crate) guards: Vec<KeyGuard>,
    /// Those that the commit makes.
    pub(crate) writes: Vec<KeyWrite>,
    /// The subjects of those.
    made: Vec<Subject>,
    nonces: Vec<[u8; NONCE]>,
    /// The associated data of the last one.
    aad: Vec<u8>,
}

impl Vault {
    /// The keys to seal with for these subjects. A subject without one gets one, which the commit must write. Those that
    /// are likely to have none are not looked for.
    ///
    /// # Errors
    ///
    /// `Vault` with `Redacted` if one of the subjects was forgotten; the errors of the store and of the provider of
    /// key-encryption keys.
    pub(crate) async fn keys_to_seal(
        &self,
        log: &LogId,
        subjects: Vec<Subject>,
        likely_new: impl Fn(&Subject) -> bool,
    ) -> Result<SealKeys> {
        let mut seal = SealKeys {
            log: log.clone(),
            keys: HashMap::with_capacity(subjects.len()),
            guards: Vec::new(),
            writes: Vec::new(),
            made: Vec::new(),
            nonces: Vec::new(),
            aad: Vec::with_capacity(256),
        };
        let cached = self.cache.current(log, &subjects);
        let (mut unknown, mut new) = (Vec::new(), Vec::new());
        for (subject, cached) in subjects.into_iter().zip(cached) {
            match cached {
                Some(current) => seal.add(subject, current),
                None if likely_new(&subject) => new.push((subject, None)),
                None => unknown.push(subject),
            }
        }
        if !unknown.is_empty() {
            let rows = self.key_store()?.keys(log, &unknown).await?;
            let mut wrapped = Vec::new();
            let mut at = HashMap::new();
            for (subject, row) in unknown.into_iter().zip(rows) {
                let ring = row.as_ref().map(Ring::of_row).transpose()?;
                match ring.as_ref().map(|ring| ring.current(&subject)).transpose()?.flatten() {
                    Some(key) => {
                        at.insert(subject.clone(), row.as_ref().map_or(KeyVersion::default(), KeyRow::at));
                        wrapped.push((subject, key.clone()));
                    }
                    None => new.push((subject, row.zip(ring))),
                }
            }
            let unwrapped = self.unwrap(log, wrapped).await?.into_iter().map(|(_, subject, key)| {
                let at = at.get(&subject).copied().unwrap_or_default();
                (subject, Current { key, at })
            });
            let unwrapped: Vec<_> = unwrapped.collect();
            self.cache.add_current(log, unwrapped.iter().cloned());
            unwrapped.into_iter().for_each(|(subject, current)| seal.add(subject, current));
        }
        for (subject, known) in new {
            let at = known.as_ref().map_or(KeyVersion::default(), |(row, _)| row.at());
            let mut ring = known.map_or_else(Ring::empty, |(_, ring)| ring);
            let key = self.new_key(log, &subject, &mut ring).await?;
            let row = ring.row(&subject, at, true)?;
            let current = Current { at: row.at(), key: Arc::new(key) };
            seal.writes.push(KeyWrite { expected: at.version, row, new_ids: vec![current.key.id()] });
            seal.made.push(subject.clone());
            seal.keys.insert(subject, current);
        }
        Ok(seal)
    }

    /// Tells that a commit was made that was sealed with these: what it wrote is known from now on.
    pub(crate) fn were_committed(&self, seal: SealKeys) {
        if seal.made.is_empty() {
            return;
        }
        let SealKeys { log, mut keys, made, .. } = seal;
        let written = made.into_iter().filter_map(|subject| keys.remove_entry(&subject));
        self.cache.add_current(&log, written);
    }

    /// Tells that these are not up to date: they are looked for the next time.
    pub(crate) fn are_outdated(&self, seal: &SealKeys) {
        self.cache.evict(&seal.log, seal.keys.keys());
    }

    /// Sees to it that these subjects have keys, and gives them.
    pub(crate) async fn ensure_keys(&self, log: &LogId, subjects: &[Subject]) -> Result<SealKeys> {
        for _ in 0..super::handle::ATTEMPTS {
            let mut seal = self.keys_to_seal(log, subjects.to_vec(), |_| false).await?;
            let mut made = true;
            for write in std::mem::take(&mut seal.writes) {
                made &= self.write(log, write).await?;
            }
            if made {
                let keys: Vec<_> = seal.keys.iter().map(|(subject, key)| (subject.clone(), key.clone())).collect();
                self.cache.add_current(log, keys);
                return Ok(seal);
            }
            self.are_outdated(&seal);
        }
        Err(Error::new(crate::ErrorKind::Unavailable, format!("the keys of {log} are changed all the time")))
    }

    /// The key by which the values of sensitive identities of a log are hashed.
    pub(crate) async fn index_key(&self, log: &LogId) -> Result<IndexKey> {
        let subject = Subject::reserved("index")?;
        let seal = self.ensure_keys(log, std::slice::from_ref(&subject)).await?;
        let key = seal.keys.get(&subject).ok_or_else(|| Error::corrupt("the key of an index has vanished"))?;
        key.key.index()
    }
}

impl SealKeys {
    fn add(&mut self, subject: Subject, current: Current) {
        self.guards.push(KeyGuard { subject: subject.clone(), epoch: current.at.epoch });
        self.keys.insert(subject, current);
    }

    /// Seals for a subject, in a place.
    pub(crate) fn seal(&mut self, subject: &Subject, place: &Place<'_>, plaintext: &[u8]) -> Result<Vec<u8>> {
        let nonce = self.nonce()?;
        let current = self.keys.get(subject);
        let current =
            current.ok_or_else(|| Error::invalid(format!("there is no key at hand to seal for {subject}")))?;
        place.write_aad(&self.log, subject, &mut self.aad);
        current.key.seal(&nonce, &self.aad, plaintext)
    }

    fn nonce(&mut self) -> Result<[u8; NONCE]> {
        if let Some(nonce) = self.nonces.pop() {
            return Ok(nonce);
        }
        let mut nonces = vec![[0; NONCE]; NONCES];
        fill(nonces.as_flattened_mut())?;
        self.nonces = nonces;
        self.nonces.pop().ok_or_else(|| Error::invalid("no nonce was made"))
    }
}
