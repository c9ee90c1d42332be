//! Forgetting a subject: its keys are destroyed, the log tells of it, and what is sensitive leaves the records.

use std::collections::BTreeSet;

use futures::TryStreamExt;
use serde::Serialize;

use super::log::Log;
use super::rewound::RESOURCE;
use super::sealer::{Sealer, log_subject};
use super::session::Session;
use crate::error::{Error, ErrorKind, Result};
use crate::store::{EventStoreExt, ResourceStore, ResourceStoreExt};
use crate::types::{
    Change, EventId, EventQuery, Expected, Json, JsonObject, Payload, Position, Record, RecordKey, RecordQuery,
    RecordWrite, Redacted, ResourceName, Subject, WriteState,
};
use crate::vault::{Shredded, SubjectStatus};

/// The action of the events that tell what is left of a record.
pub(crate) const SCRUB: &str = "rekindle.scrub";
/// The action of the event that tells of it.
const FORGET: &str = "forget";
const RECORD: &str = "subjects";
/// A record that is written all the time is scrubbed in so many attempts.
const ATTEMPTS: usize = 64;

/// That a subject was forgotten, and how far.
///
/// **Logically** it is so at once: its keys are gone from the store, and nothing that was sealed for it can be read.
/// **Physically** it is so once [`pending`](Self::pending) is empty: copies of its wrapped keys may be in dumps, and in
/// parts of the disk that the store has not used again. They open nothing once the key-encryption keys that wrapped them are
/// destroyed: rewrap all others to a new one, retire the old one, and destroy it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Receipt {
    /// Who was forgotten, when and why.
    pub redacted: Redacted,
    /// Where the log tells of it.
    pub position: Position,
    /// How many keys were destroyed.
    pub keys: usize,
    /// How many records were scrubbed by this call.
    pub records: u64,
    /// The key-encryption keys that wrapped the keys and are not retired yet.
    pub pending: Vec<String>,
}

/// The data of the event.
#[derive(Serialize)]
struct Forgotten<'a> {
    subject: &'a Subject,
    reason: &'a str,
}

impl Log {
    /// How a subject stands: whether it has keys, or was forgotten.
    ///
    /// # Errors
    ///
    /// `Unsupported` if the log has no vault; `Unavailable`, `Corrupt`.
    ///
    /// # Cancel safety
    ///
    /// It changes nothing, so it can be dropped at any time.
    pub async fn subject(&self, subject: &Subject) -> Result<SubjectStatus> {
        self.sealer()?.vault.status(&self.id, subject).await
    }

    fn sealer(&self) -> Result<&Sealer> {
        let sealer = self.engine.sealer.as_deref();
        sealer.ok_or_else(|| Error::unsupported(format!("the log {} was opened without a vault", self.id)))
    }
}

impl Session {
    /// Forgets a subject: destroys its keys, tells of it in the log, and takes what is sensitive out of its records. From the
    /// first step on nothing can be sealed for it, by any process. Done again, it goes on where it was broken off, and gives
    /// the receipt as it is then; time and reason stay those of the first time.
    ///
    /// The reason and the subject are stored in clear. Records of the subject are found by their ids, and those of resources
    /// that name their subject in an attribute by looking at all of them.
    ///
    /// # Errors
    ///
    /// - `Unsupported`: the log has no vault. `Forbidden` by a policy. `Closed` after a shutdown.
    /// - `Rewound`, `Rebuilding`: its keys are destroyed, and the log takes no event of it now: do it again when it does.
    /// - `Unavailable`, `Indeterminate`, `Corrupt`: do it again.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it is forgotten as far as it has come: do it again.
    pub async fn forget(&self, subject: &Subject, reason: &str) -> Result<Receipt> {
        let log = self.log()?;
        let sealer = log.sealer()?;
        if subject.as_str().starts_with("rekindle:") {
            return Err(Error::invalid(format!("{subject} is Rekindle's own")));
        }
        let mut unit = self.begin()?;
        let data = Json::from_value(&Forgotten { subject, reason })?;
        unit.allow(&unit.own_call(FORGET, data)).await?;
        let (now, id) = (unit.context().now(), unit.context().new_event_id());
        let shredded = sealer.vault.shred(&log.id, subject, now, reason, id).await?;
        let position = self.tell(&log, &shredded).await?;
        let mut records = 0;
        if !shredded.done {
            records = self.scrub_all(&log, sealer, &shredded, position).await?;
            sealer.vault.finish_shredding(&log.id, subject).await?;
        }
        let mut pending = Vec::new();
        for kek in shredded.keks {
            if !sealer.vault.is_retired(&kek).await? {
                pending.push(kek);
            }
        }
        Ok(Receipt { redacted: shredded.redacted, position, keys: shredded.keys.len(), records, pending })
    }

    /// Tells of it in the log, once; gives where.
    async fn tell(&self, log: &Log, shredded: &Shredded) -> Result<Position> {
        if let Some(position) = told(log, shredded.event).await? {
            return Ok(position);
        }
        let Redacted { subject, reason, .. } = &shredded.redacted;
        let mut unit = self.begin()?;
        let data = Json::from_value(&Forgotten { subject, reason })?;
        let mut event = unit.own_event(RecordKey::new(RESOURCE, RECORD)?, FORGET, data)?;
        event.id = shredded.event;
        unit.push(Change { event: Some(event), write: None }, Some(log_subject()?));
        match unit.commit().await {
            Ok(committed) => Ok(committed.events.first().map_or(Position::ZERO, |event| event.position)),
            // Somebody else was faster, and has sealed it in other bytes.
            Err(error) if *error.kind() == ErrorKind::IdReused => told(log, shredded.event).await?.ok_or(error),
            Err(error) => Err(error),
        }
    }

    async fn scrub_all(&self, log: &Log, sealer: &Sealer, shredded: &Shredded, told: Position) -> Result<u64> {
        let Some(stored) = &log.engine.stored else { return Ok(0) };
        let (registry, subject) = (&log.engine.registry, &shredded.redacted.subject);
        let mut keys = BTreeSet::new();
        if let Some(key) = subject.record().filter(|key| registry.resource(key.resource.as_str()).is_ok()) {
            keys.insert(key);
        }
        for resource in registry.resources() {
            if registry.resource(resource)?.subject_spec().is_none() {
                continue;
            }
            let mut records = stored.stream_records(&log.id, RecordQuery::new(ResourceName::new(resource)?));
            while let Some(record) = records.try_next().await? {
                if belongs(log, &record, shredded)? {
                    keys.insert(record.key);
                }
            }
        }
        let mut scrubbed = 0;
        for key in keys {
            scrubbed += u64::from(self.scrub(log, sealer, stored.as_ref(), &key, shredded, told).await?);
        }
        Ok(scrubbed)
    }

    /// Takes what is sensitive out of a record, and tells what is left of it; whether there was something to do.
    async fn scrub(
        &self,
        log: &Log,
        sealer: &Sealer,
        stored: &dyn ResourceStore,
        key: &RecordKey,
        shredded: &Shredded,
        told: Position,
    ) -> Result<bool> {
        for _ in 0..ATTEMPTS {
            let Some(record) = stored.get_one(&log.id, key).await? else { return Ok(false) };
            if !belongs(log, &record, shredded)? || is_scrubbed(log, key, told).await? {
                return Ok(false);
            }
            let before = WriteState { attributes: record.attributes, identities: record.identities };
            let state = sealer.scrubbed(&key.resource, &before)?;
            let changed = if sealer.seals_everything() {
                state.attributes.to_object()?
            } else {
                nulled(&before.attributes.to_object()?, &state.attributes.to_object()?)
            };
            if state == before && !sealer.seals_everything() {
                return Ok(false);
            }
            let mut unit = self.begin()?;
            let mut event = unit.own_event(key.clone(), SCRUB, Json::empty())?;
            event.changed_attributes = Payload::Json(changed.to_json()?);
            let write =
                RecordWrite { key: key.clone(), expected: Expected::Revision(record.revision), state: Some(state) };
            unit.push(Change { event: Some(event), write: Some(write) }, Some(log_subject()?));
            match unit.commit().await {
                Ok(_) => return Ok(true),
                Err(error) if matches!(error.kind(), ErrorKind::Conflict { .. } | ErrorKind::NotFound) => {}
                Err(error) => return Err(error),
            }
        }
        Err(Error::new(ErrorKind::Conflict { actual: None }, format!("{key} is written all the time")))
    }
}

async fn told(log: &Log, event: EventId) -> Result<Option<Position>> {
    let query = EventQuery::new().with_id(event).with_limit(1);
    let found = log.engine.events.read(&log.id, &query).await?;
    Ok(found.items.first().map(|event| event.position))
}

/// Whether what is left of a record was told after the subject was forgotten.
async fn is_scrubbed(log: &Log, key: &RecordKey, told: Position) -> Result<bool> {
    let query = EventQuery::new().with_record(key.clone()).with_after(told);
    let mut events = log.engine.events.stream(&log.id, query);
    while let Some(event) = events.try_next().await? {
        if event.action.as_str() == SCRUB {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether a stored record is data of the subject.
fn belongs(log: &Log, record: &Record, shredded: &Shredded) -> Result<bool> {
    if Sealer::keys_in(&record.attributes)?.iter().any(|id| shredded.keys.contains(id)) {
        return Ok(true);
    }
    let resource = log.engine.registry.resource(record.key.resource.as_str())?;
    Ok(resource.subject(&record.key, &record.attributes.to_object()?)? == shredded.redacted.subject)
}

/// The attributes that were not null before.
fn nulled(before: &JsonObject, after: &JsonObject) -> JsonObject {
    let mut changed = after.clone();
    changed.retain(|name| before.get(name) != after.get(name));
    changed
}
