//! The proof that a key-encryption key is the one that had its name before: so a wrong key is told at once, and not by the
//! first event that it cannot open.

use serde::{Deserialize, Serialize};

use super::Vault;
use super::aad::Place;
use super::crypto::SecretKey;
use crate::codec;
use crate::error::{Error, ErrorKind, Result, VaultFault};
use crate::types::{KeyRow, KeyVersion, KeyWrite, LogId, Subject};

/// What is kept of a key-encryption key, in the body of a row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Canary {
    /// A key of zeros, wrapped by it.
    pub(super) wrapped: Vec<u8>,
    pub(super) retired: bool,
}

/// The log under which the canaries are: it has neither events nor records.
pub(super) fn log() -> Result<LogId> {
    LogId::new("rekindle.vault")
}

fn subject(kek: &str) -> Result<Subject> {
    Subject::reserved(&format!("kek/{kek}"))
}

impl Vault {
    pub(super) async fn prove_keks(&self) -> Result<()> {
        let (log, primary) = (log()?, self.keks.primary().to_owned());
        for kek in self.keks.names() {
            let subject = subject(&kek)?;
            let context = Place::canary().aad(&log, &subject);
            let row = match self.row(&log, &subject).await? {
                Some(row) => row,
                None => {
                    let wrapped = self.keks.wrap(&kek, &SecretKey::from_bytes([0; 32]), &context).await?;
                    let row = row(&subject, KeyVersion::default(), &Canary { wrapped, retired: false })?;
                    if self.write(&log, KeyWrite { expected: 0, row: row.clone(), new_ids: Vec::new() }).await? {
                        continue;
                    }
                    // Another process was faster: its own must open by our key.
                    self.row(&log, &subject).await?.ok_or_else(|| Error::corrupt("a canary has vanished"))?
                }
            };
            let canary = read(&row)?;
            self.keks.unwrap(&kek, &canary.wrapped, &context).await.map_err(|error| match error.kind() {
                ErrorKind::Vault(VaultFault::WrongKey | VaultFault::Tampered) => {
                    let message = format!(
                        "the key-encryption key {kek:?} is another than the one that this store knows by the name"
                    );
                    Error::vault(VaultFault::WrongKey, message).with_source(error)
                }
                _ => error.at(format!("the key-encryption key {kek:?}")),
            })?;
            if canary.retired && kek == primary {
                let message = format!("the key-encryption key {kek:?} was retired, and is to be the primary one");
                return Err(Error::invalid(message));
            }
        }
        Ok(())
    }

    /// Whether a key-encryption key was retired.
    pub(crate) async fn is_retired(&self, kek: &str) -> Result<bool> {
        let row = self.row(&log()?, &subject(kek)?).await?;
        row.map_or(Ok(false), |row| Ok(read(&row)?.retired))
    }

    /// Notes that a key-encryption key wraps nothing any more.
    pub(super) async fn set_retired(&self, kek: &str) -> Result<()> {
        let (log, subject) = (log()?, subject(kek)?);
        for _ in 0..super::handle::ATTEMPTS {
            let Some(known) = self.row(&log, &subject).await? else { return Ok(()) };
            let canary = read(&known)?;
            if canary.retired {
                return Ok(());
            }
            let row = row(&subject, known.at(), &Canary { retired: true, ..canary })?;
            if self.write(&log, KeyWrite { expected: known.version, row, new_ids: Vec::new() }).await? {
                return Ok(());
            }
        }
        Err(crate::store::decide::key_changed(&subject))
    }
}

fn read(row: &KeyRow) -> Result<Canary> {
    codec::decode(&row.body).map_err(|error| error.at(&row.subject))
}

fn row(subject: &Subject, after: KeyVersion, canary: &Canary) -> Result<KeyRow> {
    let body = codec::encode(canary)?;
    Ok(KeyRow { subject: subject.clone(), version: after.version + 1, epoch: after.epoch, body })
}
