//! What is sealed of commits and opened of pages: where the engine and the vault meet.

mod identities;
mod members;
mod open;

use std::collections::{HashMap, HashSet};
use std::mem;
use std::sync::{Arc, Mutex};

use self::members::{Members, expect_own_name, seal_members, sealed_names};
use super::registry::Registry;
use crate::error::{Error, ErrorKind, Result, VaultFault};
use crate::store::LoadedRecord;
use crate::types::{
    Change, Commit, Expected, Json, KeyId, LogId, NewEvent, Payload, RecordKey, ResourceName, Subject, WriteState,
};
use crate::vault::{IndexKey, Place, SealKeys, Sealed, Section, Vault};

/// The member that lists which others are sealed.
pub(crate) const SEALED: &str = "$sealed";
const DATA: &str = "data";
const CHANGED: &str = "changed_attributes";
const METADATA: &str = "metadata";
/// What has more bytes than this is sealed and opened off the async threads.
const LARGE: usize = 64 << 10;

/// The subject of what is about the log itself.
pub(crate) fn log_subject() -> Result<Subject> {
    Subject::reserved("log")
}

pub(crate) struct Sealer {
    pub(crate) vault: Vault,
    mode: Sealed,
    registry: Arc<Registry>,
    indexes: Mutex<HashMap<LogId, Arc<IndexKey>>>,
}

impl Sealer {
    pub(crate) fn new(vault: Vault, mode: Sealed, registry: Arc<Registry>) -> Self {
        Self { vault, mode, registry, indexes: Mutex::default() }
    }

    /// Whether the sections of events are sealed as a whole.
    pub(crate) fn seals_everything(&self) -> bool {
        matches!(self.mode, Sealed::Everything { .. })
    }

    /// Seals a commit; `subjects` are those of its changes. The keys are for [`Vault::were_committed`] or, if they have
    /// changed meanwhile, [`Vault::are_outdated`]: then it is sealed again, and `again` set.
    pub(crate) async fn seal(
        self: &Arc<Self>,
        commit: &Commit,
        subjects: &[Subject],
        again: bool,
    ) -> Result<(Commit, SealKeys)> {
        let (mut all, mut new) = (Vec::with_capacity(subjects.len() * 2), HashSet::new());
        for (change, subject) in commit.changes.iter().zip(subjects) {
            all.push(subject.clone());
            if let Some(event) = &change.event
                && self.seals_everything()
            {
                all.push(metadata_subject(event, subject)?);
            }
            // A record that comes to be has no keys yet, in all likelihood; if it has, the commit is sealed again.
            if let Some(write) = change.write.as_ref().filter(|write| write.expected == Expected::Absent)
                && subject.is_of_record(&write.key)
            {
                new.insert(subject.clone());
            }
        }
        all.sort_unstable();
        all.dedup();
        let likely_new = |subject: &Subject| !again && new.contains(subject);
        let mut keys = self.vault.keys_to_seal(&commit.log, all, likely_new).await?;
        let mut sealed = Commit {
            guards: mem::take(&mut keys.guards),
            keys: mem::take(&mut keys.writes),
            checks: self.hash_checks(&commit.log, &commit.checks).await?,
            ..Commit::new(commit.log.clone(), commit.lock)
        };
        sealed.accepts = commit.accepts;
        let index = self.index_of(&commit.log, commit.writes().map(|write| &write.key.resource)).await?;
        let size = |event: &NewEvent| event.data.size() + event.changed_attributes.size() + event.metadata.size();
        let large = commit.events().map(size).sum::<usize>() > LARGE;
        sealed.changes = if large {
            let (sealer, changes, subjects) = (Arc::clone(self), commit.changes.clone(), subjects.to_vec());
            let work = move || {
                let sealed = sealer.seal_changes(&mut keys, index.as_deref(), &changes, &subjects)?;
                Ok((sealed, keys))
            };
            let (changes, used) = off_the_async_threads(work).await?;
            keys = used;
            changes
        } else {
            self.seal_changes(&mut keys, index.as_deref(), &commit.changes, subjects)?
        };
        Ok((sealed, keys))
    }

    fn seal_changes(
        &self,
        keys: &mut SealKeys,
        index: Option<&IndexKey>,
        changes: &[Change],
        subjects: &[Subject],
    ) -> Result<Vec<Change>> {
        let seal = |(change, subject): (&Change, &Subject)| {
            let event = change.event.as_ref().map(|event| self.seal_event(keys, event, subject)).transpose()?;
            let mut write = change.write.clone();
            if let Some(write) = &mut write
                && let Some(state) = &mut write.state
            {
                self.seal_state(keys, &write.key, subject, state)?;
                self.hash_with(index, &write.key.resource, &mut state.identities)?;
            }
            Ok(Change { event, write })
        };
        changes.iter().zip(subjects).map(seal).collect()
    }

    fn seal_event(&self, keys: &mut SealKeys, event: &NewEvent, subject: &Subject) -> Result<NewEvent> {
        let key = event.key();
        let mut sealed = event.clone();
        let sensitive: Vec<&str> = match self.registry.resource(event.resource.as_str()) {
            Ok(resource) => resource.sensitive().collect(),
            Err(_) => Vec::new(),
        };
        let inputs = self.registry.sensitive_inputs(event.resource.as_str(), event.action.as_str());
        match self.mode {
            Sealed::Everything { .. } => {
                let about = metadata_subject(event, subject)?;
                for (section, name, subject) in [
                    (&mut sealed.data, DATA, subject),
                    (&mut sealed.changed_attributes, CHANGED, subject),
                    (&mut sealed.metadata, METADATA, &about),
                ] {
                    let place = Place::in_event(event, &key, Section::Whole(name));
                    let envelope = keys.seal(subject, &place, section.json()?.as_str().as_bytes())?;
                    *section = Payload::Sealed(envelope);
                }
            }
            Sealed::Sensitive => {
                expect_own_name(event.metadata.json()?)?;
                for (section, name) in [(&mut sealed.data, DATA), (&mut sealed.changed_attributes, CHANGED)] {
                    let members = sensitive.iter().chain(inputs.iter().filter(|_| name == DATA)).copied();
                    let place = |member| Place::in_event(event, &key, Section::Member(name, member));
                    let json = seal_members(keys, subject, section.json()?, members, place)?;
                    *section = Payload::Json(json);
                }
            }
        }
        Ok(sealed)
    }

    fn seal_state(
        &self,
        keys: &mut SealKeys,
        key: &RecordKey,
        subject: &Subject,
        state: &mut WriteState,
    ) -> Result<()> {
        let resource = self.registry.resource(key.resource.as_str())?;
        let place = |member| Place::in_record(key, member);
        state.attributes = seal_members(keys, subject, &state.attributes, resource.sensitive(), place)?;
        Ok(())
    }

    /// Seals records that are loaded. A sensitive value of a subject that was forgotten meanwhile is left out.
    pub(crate) async fn seal_records(
        self: &Arc<Self>,
        log: &LogId,
        mut records: Vec<LoadedRecord>,
    ) -> Result<Vec<LoadedRecord>> {
        let mut subjects: HashMap<usize, Subject> = HashMap::new();
        for (at, record) in records.iter().enumerate() {
            let Some(state) = &record.state else { continue };
            let resource = self.registry.resource(record.key.resource.as_str())?;
            if resource.sensitive().next().is_some() {
                let attributes = state.attributes.to_object()?;
                if resource.sensitive().any(|name| attributes.get(name).is_some_and(|value| value != "null")) {
                    subjects.insert(at, resource.subject(&record.key, &attributes)?);
                }
            }
        }
        if subjects.is_empty() {
            return Ok(records);
        }
        let mut all: Vec<Subject> = subjects.values().cloned().collect::<HashSet<_>>().into_iter().collect();
        let mut keys = loop {
            match self.vault.ensure_keys(log, &all).await {
                Ok(keys) => break keys,
                Err(error) => match error.kind() {
                    ErrorKind::Vault(VaultFault::Redacted(why)) if all.contains(&why.subject) => {
                        all.retain(|subject| *subject != why.subject);
                    }
                    _ => return Err(error),
                },
            }
        };
        let index = self.index_of(log, records.iter().map(|record| &record.key.resource)).await?;
        let (sealer, all) = (Arc::clone(self), all.into_iter().collect::<HashSet<_>>());
        off_the_async_threads(move || {
            for (at, record) in records.iter_mut().enumerate() {
                let Some(state) = &mut record.state else { continue };
                match subjects.get(&at) {
                    Some(subject) if all.contains(subject) => {
                        sealer.seal_state(&mut keys, &record.key, subject, state)?;
                    }
                    Some(_) => *state = sealer.scrubbed(&record.key.resource, state)?,
                    None => {}
                }
                sealer.hash_with(index.as_deref(), &record.key.resource, &mut state.identities)?;
            }
            Ok(records)
        })
        .await
    }

    /// A record's state without anything sensitive, sealed or not.
    pub(crate) fn scrubbed(&self, resource: &ResourceName, state: &WriteState) -> Result<WriteState> {
        let spec = self.registry.resource(resource.as_str())?;
        let mut attributes = state.attributes.to_object()?;
        let sealed = sealed_names(&attributes)?;
        attributes.remove(SEALED);
        for name in spec.sensitive().map(str::to_owned).chain(sealed) {
            if attributes.contains(&name) {
                attributes.set(name, &())?;
            }
        }
        let gone: Vec<&str> = spec.sensitive_identities().collect();
        let mut identities = state.identities.clone();
        identities.retain(|identity| !gone.contains(&identity.name.as_str()));
        Ok(WriteState { attributes: attributes.to_json()?, identities })
    }

    /// The ids of the keys that members of this JSON were sealed with.
    pub(crate) fn keys_in(json: &Json) -> Result<Vec<KeyId>> {
        match Members::of(json)? {
            Some(members) => members.ids(),
            None => Ok(Vec::new()),
        }
    }
}

/// Runs what takes long where it holds nobody up.
async fn off_the_async_threads<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|source| Err(Error::corrupt("sealing or opening came to no end").with_source(source)))
}

/// Whose data the metadata of an event is: the actor's, if there is one.
fn metadata_subject(event: &NewEvent, subject: &Subject) -> Result<Subject> {
    event.actor.as_ref().map_or_else(|| Ok(subject.clone()), Subject::of_actor)
}
