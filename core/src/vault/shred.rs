//! Forgetting a subject: its keys are destroyed, and no new one is made unless it is allowed.

use std::sync::Arc;

use super::Vault;
use super::cache::Known;
use super::handle::Change;
use super::ring::{Forgetting, Material, State};
use crate::error::{Error, ErrorKind, Result};
use crate::types::{EventId, KeyId, LogId, Redacted, Subject, Timestamp};

/// How a subject stands.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SubjectStatus {
    /// It has no keys: nothing was sealed for it yet.
    Unknown,
    /// It has keys: so many are there.
    Known {
        /// Its keys.
        keys: usize,
    },
    /// It was forgotten.
    Forgotten(Redacted),
}

/// What is known of a subject whose keys are destroyed.
#[derive(Clone, Debug)]
pub(crate) struct Shredded {
    pub(crate) redacted: Redacted,
    /// The id of the event that tells of it.
    pub(crate) event: EventId,
    /// Whether it was told and everything is scrubbed.
    pub(crate) done: bool,
    /// The ids of all its keys.
    pub(crate) keys: Vec<KeyId>,
    /// The key-encryption keys that wrapped what was destroyed.
    pub(crate) keks: Vec<String>,
}

impl Vault {
    /// How a subject stands.
    ///
    /// # Errors
    ///
    /// `Unavailable`, `Corrupt`.
    ///
    /// # Cancel safety
    ///
    /// It changes nothing, so it can be dropped at any time.
    pub async fn status(&self, log: &LogId, subject: &Subject) -> Result<SubjectStatus> {
        let Some(row) = self.row(log, subject).await? else { return Ok(SubjectStatus::Unknown) };
        let ring = super::ring::Ring::of_row(&row)?;
        let keys = ring.keys.iter().filter(|key| matches!(key.material, Material::Wrapped { .. })).count();
        Ok(match ring.state {
            State::Forgotten(forgetting) => SubjectStatus::Forgotten(forgetting.redacted(subject)),
            State::Open if keys > 0 => SubjectStatus::Known { keys },
            State::Open => SubjectStatus::Unknown,
        })
    }

    /// The fence and the destruction, in one atomic step: after it no commit lands that was sealed for the subject, and
    /// every generation of its keys is gone. Forgotten already, it stays as it was.
    pub(crate) async fn shred(
        &self,
        log: &LogId,
        subject: &Subject,
        at: Timestamp,
        reason: &str,
        event: EventId,
    ) -> Result<Shredded> {
        let shredded = self
            .change(log, subject, |mut ring| {
                let reason = reason.to_owned();
                async move {
                    if let State::Forgotten(forgetting) = &ring.state {
                        return Ok(Change::nothing(shredded(subject, forgetting, &ring.keys)));
                    }
                    for key in &mut ring.keys {
                        if let Material::Wrapped { kek, .. } = &key.material {
                            key.material = Material::Destroyed { kek: kek.clone(), at, reason: reason.clone() };
                        }
                    }
                    let forgetting = Forgetting { at, reason, event, done: false };
                    let done = shredded(subject, &forgetting, &ring.keys);
                    ring.state = State::Forgotten(forgetting);
                    Ok(Change { ring: Some(ring), new_epoch: true, new_ids: Vec::new(), done })
                }
            })
            .await?;
        self.cache.evict(log, [subject]);
        let destroyed = shredded.keys.iter().map(|id| (*id, Known::Destroyed(shredded.redacted.clone())));
        self.cache.add_known(log, destroyed);
        Ok(shredded)
    }

    /// Notes that it was told, and that everything is scrubbed.
    pub(crate) async fn finish_shredding(&self, log: &LogId, subject: &Subject) -> Result<()> {
        self.change(log, subject, |mut ring| async move {
            match &mut ring.state {
                State::Forgotten(forgetting) if !forgetting.done => forgetting.done = true,
                _ => return Ok(Change::nothing(())),
            }
            Ok(Change { ring: Some(ring), new_epoch: false, new_ids: Vec::new(), done: () })
        })
        .await
    }

    /// Lets new things be sealed for a subject that was forgotten, by a new key. What was sealed before stays shut.
    ///
    /// # Errors
    ///
    /// `Conflict` if it is not forgotten to the end yet: forget it again first. `Unavailable`, `Indeterminate`, `Corrupt`.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it is allowed or it is not.
    pub async fn allow_new_key(&self, log: &LogId, subject: &Subject) -> Result<()> {
        self.change(log, subject, |mut ring| async move {
            match &ring.state {
                State::Open => return Ok(Change::nothing(())),
                State::Forgotten(forgetting) if !forgetting.done => {
                    let message = format!("{subject} is not forgotten to the end: forget it again first");
                    return Err(Error::new(ErrorKind::Conflict { actual: None }, message));
                }
                State::Forgotten(_) => ring.state = State::Open,
            }
            Ok(Change { ring: Some(ring), new_epoch: true, new_ids: Vec::new(), done: () })
        })
        .await
    }

    /// Gives a subject a new key, by which everything is sealed from now on. What was sealed before is opened by the keys
    /// before it.
    ///
    /// # Errors
    ///
    /// `Vault` with `Redacted` if it was forgotten; `Invalid` for a subject of Rekindle's own whose key does not change;
    /// `Unavailable`, `Indeterminate`, `Corrupt`, and the errors of the provider of key-encryption keys.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it has the new key or it has not.
    pub async fn rotate(&self, log: &LogId, subject: &Subject) -> Result<()> {
        if *subject == Subject::reserved("index")? {
            return Err(Error::invalid(
                "the key of the index is not rotated: what is looked up by it would not be found",
            ));
        }
        let vault = Arc::new(self.clone());
        self.change(log, subject, |mut ring| {
            let vault = Arc::clone(&vault);
            async move {
                ring.current(subject)?;
                let key = vault.new_key(log, subject, &mut ring).await?;
                Ok(Change { ring: Some(ring), new_epoch: true, new_ids: vec![key.id()], done: () })
            }
        })
        .await
    }
}

fn shredded(subject: &Subject, forgetting: &Forgetting, keys: &[super::ring::RingKey]) -> Shredded {
    let mut keks: Vec<String> = keys
        .iter()
        .filter_map(|key| match &key.material {
            Material::Destroyed { kek, .. } => Some(kek.clone()),
            Material::Wrapped { .. } => None,
        })
        .collect();
    keks.sort_unstable();
    keks.dedup();
    Shredded {
        redacted: forgetting.redacted(subject),
        event: forgetting.event,
        done: forgetting.done,
        keys: keys.iter().map(|key| key.id).collect(),
        keks,
    }
}
