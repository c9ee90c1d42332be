//! Key-encryption keys that come and go: rewrapping what they wrap, retiring them, and keeping keys apart from a dump.

use std::sync::Arc;

use futures::stream::{self, StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};

use super::Vault;
use super::aad::Place;
use super::canary;
use super::ring::{Forgetting, Material, Ring, State};
use crate::codec;
use crate::error::{Error, Result, VaultFault};
use crate::store::EventStore;
use crate::types::{Commit, KeyRow, KeyVersion, KeyWrite, LogId, Subject};

/// So many rows are read and written at a time.
const PAGE: usize = 500;

/// What a rewrap has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rewrapped {
    /// The keys that were wrapped anew.
    pub keys: u64,
    /// The rows that were looked at.
    pub rows: u64,
}

/// The keys of a subject, wrapped, to be kept apart from a dump of the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportedKeys {
    log: LogId,
    row: KeyRow,
}

/// What an import has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Imported {
    /// The rows that were written, over older ones.
    pub written: u64,
    /// The rows that were there already, as new or newer.
    pub kept: u64,
    /// The subjects of these logs were forgotten since the dump. Nothing opens what was sealed for them; forget them again, so
    /// that the restored log tells of it and its records are scrubbed.
    pub forgotten: Vec<(LogId, Subject)>,
}

impl Vault {
    /// Wraps every key by the primary key-encryption key that is wrapped by another. It can be broken off at any time, and
    /// goes on where it was when it is run again; a key that is destroyed meanwhile stays destroyed.
    ///
    /// # Errors
    ///
    /// - `Vault` with `NoKek`: a key is wrapped by a key-encryption key that is not there.
    /// - `Vault` with `WrongKey` or `Tampered`: a key cannot be unwrapped.
    /// - `Unavailable`, `Indeterminate`, `Corrupt`.
    ///
    /// # Cancel safety
    ///
    /// Dropped, each key is wrapped by the one or the other.
    pub async fn rewrap(&self) -> Result<Rewrapped> {
        let mut done = Rewrapped::default();
        for log in self.key_store()?.logs_with_keys().await? {
            if log == canary::log()? {
                continue;
            }
            let mut after: Option<Subject> = None;
            loop {
                let page = self.key_store()?.list_keys(&log, after.as_ref(), PAGE).await?;
                done.rows += page.items.len() as u64;
                done.keys += self.rewrap_rows(&log, page.items).await?;
                match page.next {
                    Some(next) => after = Some(next),
                    None => break,
                }
            }
        }
        Ok(done)
    }

    /// Rewraps these rows, and those again that were changed by somebody else in between.
    async fn rewrap_rows(&self, log: &LogId, mut rows: Vec<KeyRow>) -> Result<u64> {
        let mut keys = 0;
        while !rows.is_empty() {
            // Each owns its row: the future of a closure that borrows it cannot be spawned.
            let rewraps = rows.into_iter().map(|row| async move { self.rewrap_row(log, &row).await });
            let rewrapped: Vec<Option<(u64, KeyWrite)>> = stream::iter(rewraps).buffered(16).try_collect().await?;
            let (counts, writes): (Vec<u64>, Vec<KeyWrite>) = rewrapped.into_iter().flatten().unzip();
            let lock = self.lock_keys.key(log)?;
            let subjects: Vec<Subject> = writes.iter().map(|write| write.row.subject.clone()).collect();
            let commits: Arc<[Commit]> = writes
                .into_iter()
                .map(|write| Commit { keys: vec![write], ..Commit::new(log.clone(), lock) })
                .collect();
            let mut again = Vec::new();
            let answers = self.store.commit(commits).await;
            for ((answer, count), subject) in answers.into_iter().zip(counts).zip(subjects) {
                match answer {
                    Ok(_) => keys += count,
                    Err(error) if *error.kind() == crate::ErrorKind::Vault(VaultFault::KeyChanged) => {
                        again.push(subject);
                    }
                    Err(error) => return Err(error),
                }
            }
            rows = self.key_store()?.keys(log, &again).await?.into_iter().flatten().collect();
        }
        Ok(keys)
    }

    async fn rewrap_row(&self, log: &LogId, row: &KeyRow) -> Result<Option<(u64, KeyWrite)>> {
        let primary = self.keks.primary();
        let mut ring = Ring::of_row(row)?;
        let mut count = 0;
        for key in &mut ring.keys {
            let Material::Wrapped { kek, wrapped } = &mut key.material else { continue };
            if kek == primary {
                continue;
            }
            let context = Place::key(key.generation).aad(log, &row.subject);
            let place = |error: Error| error.at(format!("the key {} of {}", key.id, row.subject));
            let secret = self.keks.unwrap(kek, wrapped, &context).await.map_err(place)?;
            *wrapped = self.keks.wrap(primary, &secret, &context).await?;
            *kek = primary.to_owned();
            count += 1;
        }
        if count == 0 {
            return Ok(None);
        }
        let new = ring.row(&row.subject, row.at(), false)?;
        Ok(Some((count, KeyWrite { expected: row.version, row: new, new_ids: Vec::new() })))
    }

    /// How many keys are wrapped by a key-encryption key.
    ///
    /// # Errors
    ///
    /// `Unavailable`, `Corrupt`.
    ///
    /// # Cancel safety
    ///
    /// It changes nothing, so it can be dropped at any time.
    pub async fn keys_wrapped_by(&self, kek: &str) -> Result<u64> {
        let mut count = 0;
        for exported in self.export_keys().await? {
            if exported.log == canary::log()? {
                continue;
            }
            let ring = Ring::of_row(&exported.row)?;
            let by = |material: &Material| matches!(material, Material::Wrapped { kek: by, .. } if by == kek);
            count += ring.keys.iter().filter(|key| by(&key.material)).count() as u64;
        }
        Ok(count)
    }

    /// Retires a key-encryption key that wraps nothing any more: it can be destroyed then, and with it every copy of the keys
    /// that it has wrapped, in dumps and on disks.
    ///
    /// # Errors
    ///
    /// `Vault` with `KekInUse` if it wraps keys: [`rewrap`](Self::rewrap) first. `Invalid` for the primary one.
    /// `Unavailable`, `Indeterminate`, `Corrupt`.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it is retired or it is not.
    pub async fn retire(&self, kek: &str) -> Result<()> {
        if kek == self.keks.primary() {
            return Err(Error::invalid(format!("the key-encryption key {kek:?} is the primary one")));
        }
        let wrapped = self.keys_wrapped_by(kek).await?;
        if wrapped > 0 {
            let message = format!("the key-encryption key {kek:?} wraps {wrapped} keys: rewrap them first");
            return Err(Error::vault(VaultFault::KekInUse, message));
        }
        self.set_retired(kek).await
    }

    /// All keys, wrapped: to be kept apart from dumps of the store, which hold old ones. They open nothing without the
    /// key-encryption keys.
    ///
    /// # Errors
    ///
    /// `Unavailable`, `Corrupt`.
    ///
    /// # Cancel safety
    ///
    /// It changes nothing, so it can be dropped at any time.
    pub async fn export_keys(&self) -> Result<Vec<ExportedKeys>> {
        let mut exported = Vec::new();
        for log in self.key_store()?.logs_with_keys().await? {
            let mut after: Option<Subject> = None;
            loop {
                let page = self.key_store()?.list_keys(&log, after.as_ref(), PAGE).await?;
                exported.extend(page.items.into_iter().map(|row| ExportedKeys { log: log.clone(), row }));
                match page.next {
                    Some(next) => after = Some(next),
                    None => break,
                }
            }
        }
        Ok(exported)
    }

    /// Puts exported keys in the place of older ones, after a dump of the store was restored: so what has been forgotten since
    /// the dump stays shut. Newer ones stay. Do it before a log is opened: a vault is opened without one by
    /// [`open`](Self::open).
    ///
    /// # Errors
    ///
    /// `Unavailable`, `Indeterminate`, `Corrupt`.
    ///
    /// # Cancel safety
    ///
    /// Dropped, some are imported: import them again.
    pub async fn import_keys(&self, keys: impl IntoIterator<Item = ExportedKeys>) -> Result<Imported> {
        let mut imported = Imported::default();
        for ExportedKeys { log, mut row } in keys {
            let subject = row.subject.clone();
            let (mut new_ids, mut forgotten) = (Vec::new(), false);
            if log != canary::log()? {
                let mut ring = Ring::of_row(&row)?;
                new_ids.extend(ring.keys.iter().map(|key| key.id));
                // The restored log neither tells of it nor are its records scrubbed.
                if let State::Forgotten(forgetting) = &mut ring.state {
                    (forgetting.done, forgotten) = (false, true);
                    row.body = codec::encode(&ring)?;
                }
            }
            loop {
                let known = self.row(&log, &subject).await?;
                let at = known.as_ref().map_or(KeyVersion::default(), KeyRow::at);
                let row = match known {
                    Some(known) if at.version >= row.version => match self.destroyed_again(&log, &known, &row)? {
                        Some(row) => row,
                        None => {
                            imported.kept += 1;
                            break;
                        }
                    },
                    _ => row.clone(),
                };
                // What was sealed since the dump was restored must not land.
                let row = KeyRow { epoch: row.epoch.max(at.epoch.saturating_add(1)), ..row };
                let write = KeyWrite { expected: at.version, row, new_ids: new_ids.clone() };
                if self.write(&log, write).await? {
                    imported.written += 1;
                    if forgotten {
                        imported.forgotten.push((log, subject));
                    }
                    break;
                }
            }
        }
        Ok(imported)
    }

    /// The row after a newer one in which a key is there that the exported one knows as destroyed; `None` if there is none.
    /// A restored dump may have been written on before the import.
    fn destroyed_again(&self, log: &LogId, known: &KeyRow, exported: &KeyRow) -> Result<Option<KeyRow>> {
        if *log == canary::log()? {
            return Ok(None);
        }
        let (local, mut ring) = (Ring::of_row(known)?, Ring::of_row(exported)?);
        let destroyed =
            |id| ring.keys.iter().any(|key| key.id == id && matches!(key.material, Material::Destroyed { .. }));
        let is_there = |material: &Material| matches!(material, Material::Wrapped { .. });
        if !local.keys.iter().any(|key| is_there(&key.material) && destroyed(key.id)) {
            return Ok(None);
        }
        // Keys that are younger than the dump go before those of the export, whose last one stays the one to seal by.
        let own = local.keys.into_iter().filter(|key| ring.keys.iter().all(|exported| exported.id != key.id));
        let mut keys: Vec<_> = own.collect();
        if let State::Forgotten(Forgetting { at, reason, .. }) = &ring.state {
            for key in &mut keys {
                if let Material::Wrapped { kek, .. } = &key.material {
                    key.material = Material::Destroyed { kek: kek.clone(), at: *at, reason: reason.clone() };
                }
            }
        }
        keys.append(&mut ring.keys);
        ring.keys = keys;
        ring.row(&known.subject, known.at(), true).map(Some)
    }
}
