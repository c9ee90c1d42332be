//! What is sealed of commits and opened of pages: where the engine and the vault meet.

mod members;

use std::collections::{HashMap, HashSet};
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use self::members::{Members, expect_own_name, open_event, seal_members, sealed_names};
use super::registry::Registry;
use crate::error::{Error, ErrorKind, Result, VaultFault};
use crate::store::LoadedRecord;
use crate::types::{
    Change, Check, Commit, Event, Expected, Identity, IdentityValue, Json, KeyId, LogId, NewEvent, Payload, Record,
    RecordKey, ResourceName, Subject, WriteState,
};
use crate::vault::{IndexKey, Place, SealKeys, Sealed, Section, Vault, key_of};

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

    /// Opens the sections of events; with or without the metadata.
    pub(crate) async fn open_events(&self, log: &LogId, events: Vec<Event>, metadata: bool) -> Result<Vec<Event>> {
        let mut ids = Vec::new();
        let mut bytes = 0;
        for event in &events {
            let about = metadata.then_some(&event.metadata);
            for section in [&event.data, &event.changed_attributes].into_iter().chain(about) {
                let found = match section {
                    Payload::Sealed(envelope) => key_of(envelope).map(|id| ids.push(id)),
                    Payload::Json(json) => {
                        self.expect_sealed(event).and_then(|()| Self::keys_in(json)).map(|found| ids.extend(found))
                    }
                    Payload::Redacted { .. } => Ok(()),
                };
                found.map_err(|error| in_event(event, error))?;
                bytes += section.size();
            }
        }
        if ids.is_empty() {
            return Ok(events);
        }
        let keys = self.vault.keys_to_open(log, ids).await?;
        let open = move |mut events: Vec<Event>| {
            let mut opener = keys.opener();
            for event in &mut events {
                open_event(&mut opener, event, metadata).map_err(|error| in_event(event, error))?;
            }
            Ok(events)
        };
        if bytes < LARGE {
            return open(events);
        }
        off_the_async_threads(move || open(events)).await
    }

    /// That clear text may be where this event is.
    fn expect_sealed(&self, event: &Event) -> Result<()> {
        match self.mode {
            Sealed::Everything { plaintext_until } if event.position > plaintext_until => {
                Err(Error::vault(VaultFault::Plaintext, "it has a section in clear text, and the log is sealed"))
            }
            _ => Ok(()),
        }
    }

    /// Opens the attributes of records.
    pub(crate) async fn open_records(&self, log: &LogId, mut records: Vec<&mut (RecordKey, Json)>) -> Result<()> {
        let at = |key: &RecordKey, error: Error| error.at(format!("the record {key}"));
        let (mut sealed, mut ids) = (Vec::new(), Vec::new());
        for (place, record) in records.iter().enumerate() {
            let (key, attributes) = &**record;
            if let Some(members) = Members::of(attributes).map_err(|error| at(key, error))? {
                ids.extend(members.ids().map_err(|error| at(key, error))?);
                sealed.push((place, members));
            }
        }
        if sealed.is_empty() {
            return Ok(());
        }
        let keys = self.vault.keys_to_open(log, ids).await?;
        let mut opener = keys.opener();
        for (place, members) in sealed {
            let Some((key, attributes)) = records.get_mut(place).map(|record| &mut **record) else { continue };
            let opened = members.open(&mut opener, |member| Place::in_record(key, member));
            let (object, _) = opened.map_err(|error| at(key, error))?;
            *attributes = object.to_json()?;
        }
        Ok(())
    }

    /// Opens one record.
    pub(crate) async fn open_record(&self, log: &LogId, record: &mut Record) -> Result<()> {
        let mut one = (record.key.clone(), record.attributes.clone());
        self.open_records(log, vec![&mut one]).await?;
        record.attributes = one.1;
        Ok(())
    }

    /// The key of a log's index.
    async fn index(&self, log: &LogId) -> Result<Arc<IndexKey>> {
        let known = self.indexes.lock().unwrap_or_else(PoisonError::into_inner).get(log).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let key = Arc::new(self.vault.index_key(log).await?);
        self.indexes.lock().unwrap_or_else(PoisonError::into_inner).insert(log.clone(), Arc::clone(&key));
        Ok(key)
    }

    /// The key of a log's index, if one of these resources has an identity whose values are sensitive.
    async fn index_of<'a>(
        &self,
        log: &LogId,
        resources: impl Iterator<Item = &'a ResourceName>,
    ) -> Result<Option<Arc<IndexKey>>> {
        let mut specs = resources.filter_map(|name| self.registry.resource(name.as_str()).ok());
        match specs.any(|spec| spec.sensitive_identities().next().is_some()) {
            true => self.index(log).await.map(Some),
            false => Ok(None),
        }
    }

    /// Puts keyed hashes in the place of values that are sensitive.
    pub(crate) async fn hash_identities(
        &self,
        log: &LogId,
        resource: &ResourceName,
        identities: &mut [IdentityValue],
    ) -> Result<()> {
        if identities.is_empty() {
            return Ok(());
        }
        let index = self.index_of(log, [resource].into_iter()).await?;
        self.hash_with(index.as_deref(), resource, identities)
    }

    fn hash_with(
        &self,
        index: Option<&IndexKey>,
        resource: &ResourceName,
        identities: &mut [IdentityValue],
    ) -> Result<()> {
        let (Some(index), Ok(spec)) = (index, self.registry.resource(resource.as_str())) else { return Ok(()) };
        let sensitive: Vec<&str> = spec.sensitive_identities().collect();
        for identity in identities.iter_mut().filter(|identity| sensitive.contains(&identity.name.as_str())) {
            identity.value = index.hash(&[resource.as_str(), &identity.name, &identity.value])?;
        }
        Ok(())
    }

    /// An identity as the store has it.
    pub(crate) async fn hash_identity(&self, log: &LogId, identity: &Identity) -> Result<Identity> {
        let mut value = [IdentityValue { name: identity.name.clone(), value: identity.value.clone() }];
        self.hash_identities(log, &identity.resource, &mut value).await?;
        let [value] = value;
        Ok(value.of(&identity.resource))
    }

    /// Whether a record, opened, has this identity. It has not if its subject was forgotten, and it is not scrubbed yet.
    ///
    /// # Errors
    ///
    /// `Vault` with `Tampered` if it has another one.
    pub(crate) fn owns(&self, record: &Record, identity: &Identity) -> Result<bool> {
        let spec = self.registry.resource(record.key.resource.as_str())?;
        let own = (spec.identities)(&record.key.id, &record.attributes)?;
        match own.into_iter().find(|own| own.name == identity.name) {
            Some(own) if own.value == identity.value => Ok(true),
            Some(_) => {
                let message = format!("it is found by an {:?} that is not its own", identity.name);
                Err(Error::vault(VaultFault::Tampered, message).at(format!("the record {}", record.key)))
            }
            None => Ok(false),
        }
    }

    async fn hash_checks(&self, log: &LogId, checks: &[Check]) -> Result<Vec<Check>> {
        let mut hashed = Vec::with_capacity(checks.len());
        for check in checks {
            hashed.push(match check {
                Check::Identity { identity, owner } => {
                    Check::Identity { identity: self.hash_identity(log, identity).await?, owner: owner.clone() }
                }
                other @ Check::Record { .. } => other.clone(),
            });
        }
        Ok(hashed)
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

fn in_event(event: &Event, error: Error) -> Error {
    error.at(format!("the event at position {}", event.position))
}
