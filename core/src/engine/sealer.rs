//! What is sealed of commits and opened of pages: where the engine and the vault meet.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::registry::Registry;
use crate::error::{Error, ErrorKind, Result, VaultFault};
use crate::store::LoadedRecord;
use crate::types::{
    Change, Check, Commit, Event, Expected, Identity, IdentityValue, Json, JsonObject, KeyId, LogId, NewEvent, Payload,
    Record, RecordKey, Redacted, ResourceName, Subject, WriteState,
};
use crate::vault::{IndexKey, OpenKeys, Opened, Place, SealKeys, Sealed, Section, Vault, key_of};

/// The member that lists which others are sealed.
pub(crate) const SEALED: &str = "$sealed";
const DATA: &str = "data";
const CHANGED: &str = "changed_attributes";
const METADATA: &str = "metadata";
/// Pages beyond so many sealed bytes are opened off the async threads.
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
    pub(crate) async fn seal(&self, commit: &Commit, subjects: &[Subject], again: bool) -> Result<(Commit, SealKeys)> {
        let (mut all, mut new) = (HashSet::new(), HashSet::new());
        for (change, subject) in commit.changes.iter().zip(subjects) {
            all.insert(subject.clone());
            if let Some(event) = &change.event
                && self.seals_everything()
            {
                all.insert(metadata_subject(event, subject)?);
            }
            // A record that comes to be has no keys yet, in all likelihood; if it has, the commit is sealed again.
            if let Some(write) = change.write.as_ref().filter(|write| write.expected == Expected::Absent)
                && Subject::of_record(&write.key)? == *subject
            {
                new.insert(subject.clone());
            }
        }
        let likely_new = |subject: &Subject| !again && new.contains(subject);
        let mut keys = self.vault.keys_to_seal(&commit.log, all.into_iter().collect(), likely_new).await?;
        let mut sealed = Commit {
            guards: keys.guards.clone(),
            keys: keys.writes.clone(),
            checks: self.hash_checks(&commit.log, &commit.checks).await?,
            ..Commit::new(commit.log.clone(), commit.lock)
        };
        sealed.accepts = commit.accepts;
        for (change, subject) in commit.changes.iter().zip(subjects) {
            let event = change.event.as_ref().map(|event| self.seal_event(&mut keys, event, subject)).transpose()?;
            let mut write = change.write.clone();
            if let Some(write) = &mut write
                && let Some(state) = &mut write.state
            {
                self.seal_state(&mut keys, &write.key, subject, state)?;
                self.hash_identities(&commit.log, &write.key.resource, &mut state.identities).await?;
            }
            sealed.changes.push(Change { event, write });
        }
        Ok((sealed, keys))
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
    pub(crate) async fn seal_records(&self, log: &LogId, mut records: Vec<LoadedRecord>) -> Result<Vec<LoadedRecord>> {
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
        for (at, record) in records.iter_mut().enumerate() {
            let Some(state) = &mut record.state else { continue };
            match subjects.get(&at) {
                Some(subject) if all.contains(subject) => self.seal_state(&mut keys, &record.key, subject, state)?,
                Some(_) => *state = self.scrubbed(&record.key.resource, state)?,
                None => {}
            }
            self.hash_identities(log, &record.key.resource, &mut state.identities).await?;
        }
        Ok(records)
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

    /// Opens the sections of events.
    pub(crate) async fn open_events(&self, log: &LogId, events: Vec<Event>) -> Result<Vec<Event>> {
        let mut ids = Vec::new();
        let mut bytes = 0;
        for event in &events {
            for section in [&event.data, &event.changed_attributes, &event.metadata] {
                let found = match section {
                    Payload::Sealed(envelope) => key_of(envelope).map(|id| vec![id]),
                    Payload::Json(json) => self.expect_sealed(event).and_then(|()| Self::keys_in(json)),
                    Payload::Redacted { .. } => Ok(Vec::new()),
                };
                ids.extend(found.map_err(|error| in_event(event, error))?);
                bytes += section.size();
            }
        }
        if ids.is_empty() {
            return Ok(events);
        }
        let keys = self.vault.keys_to_open(log, ids).await?;
        let open = move |mut events: Vec<Event>| {
            for event in &mut events {
                open_event(&keys, event).map_err(|error| in_event(event, error))?;
            }
            Ok(events)
        };
        if bytes < LARGE {
            return open(events);
        }
        let opened = tokio::task::spawn_blocking(move || open(events)).await;
        opened.unwrap_or_else(|source| Err(Error::corrupt("opening a page came to no end").with_source(source)))
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
        for (place, members) in sealed {
            let Some((key, attributes)) = records.get_mut(place).map(|record| &mut **record) else { continue };
            let opened = members.open(&keys, |member| Place::in_record(key, member));
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
        let Ok(spec) = self.registry.resource(resource.as_str()) else { return Ok(()) };
        let sensitive: Vec<&str> = spec.sensitive_identities().collect();
        for identity in identities.iter_mut().filter(|identity| sensitive.contains(&identity.name.as_str())) {
            let index = self.index(log).await?;
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

/// Whose data the metadata of an event is: the actor's, if there is one.
fn metadata_subject(event: &NewEvent, subject: &Subject) -> Result<Subject> {
    event.actor.as_ref().map_or_else(|| Ok(subject.clone()), Subject::of_actor)
}

fn in_event(event: &Event, error: Error) -> Error {
    error.at(format!("the event at position {}", event.position))
}

fn expect_own_name(json: &Json) -> Result<()> {
    if json.as_str().contains(SEALED) && json.to_object()?.contains(SEALED) {
        return Err(Error::invalid(format!("a member {SEALED:?} is Rekindle's own")));
    }
    Ok(())
}

/// Seals members of a JSON object; those that are null stay so.
fn seal_members<'m: 'p, 'p>(
    keys: &mut SealKeys,
    subject: &Subject,
    json: &Json,
    members: impl Iterator<Item = &'m str>,
    place: impl Fn(&'m str) -> Place<'p>,
) -> Result<Json> {
    expect_own_name(json)?;
    let mut members = members.peekable();
    if members.peek().is_none() {
        return Ok(json.clone());
    }
    let mut object = json.to_object()?;
    let mut sealed = Vec::new();
    for member in members {
        let Some(value) = object.get(member).filter(|value| *value != "null") else { continue };
        let envelope = keys.seal(subject, &place(member), value.as_bytes())?;
        object.set(member, &STANDARD.encode(envelope))?;
        sealed.push(member);
    }
    if sealed.is_empty() {
        return Ok(json.clone());
    }
    sealed.sort_unstable();
    sealed.dedup();
    object.set(SEALED, &sealed)?;
    object.to_json()
}

fn sealed_names(object: &JsonObject) -> Result<Vec<String>> {
    let Some(names) = object.get(SEALED) else { return Ok(Vec::new()) };
    serde_json::from_str(names).map_err(|source| {
        Error::vault(VaultFault::Tampered, "the names of what is sealed cannot be read").with_source(source)
    })
}

/// A JSON object some of whose members are sealed.
struct Members {
    object: JsonObject,
    envelopes: Vec<(String, Vec<u8>)>,
}

impl Members {
    /// `None` if none is sealed.
    fn of(json: &Json) -> Result<Option<Self>> {
        if !json.as_str().contains(SEALED) {
            return Ok(None);
        }
        let mut object = json.to_object()?;
        let names = sealed_names(&object)?;
        if !object.remove(SEALED) {
            return Ok(None);
        }
        let envelope = |name: String| {
            let text: Option<String> = object.get(&name).and_then(|value| serde_json::from_str(value).ok());
            let bytes = text.and_then(|text| STANDARD.decode(text).ok());
            let bytes = bytes.ok_or_else(|| {
                Error::vault(VaultFault::Tampered, format!("{name:?} is said to be sealed, and is no envelope"))
            })?;
            Ok((name, bytes))
        };
        let envelopes = names.into_iter().map(envelope).collect::<Result<_>>()?;
        Ok(Some(Self { object, envelopes }))
    }

    fn ids(&self) -> Result<Vec<KeyId>> {
        self.envelopes.iter().map(|(_, envelope)| key_of(envelope)).collect()
    }

    /// The object with its members opened, and why one of them is null, if one is.
    fn open<'a>(
        &'a self,
        keys: &OpenKeys,
        place: impl Fn(&'a str) -> Place<'a>,
    ) -> Result<(JsonObject, Option<Redacted>)> {
        let (mut object, mut why) = (self.object.clone(), None);
        for (name, envelope) in &self.envelopes {
            match keys.open(&place(name), envelope).map_err(|error| error.at(format!("{name:?}")))? {
                Opened::Plaintext(plaintext) => object.set_text(name.clone(), text(&plaintext)?)?,
                Opened::Redacted(redacted) => {
                    object.set(name.clone(), &())?;
                    why = Some(redacted);
                }
            }
        }
        Ok((object, why))
    }
}

fn text(plaintext: &[u8]) -> Result<String> {
    String::from_utf8(plaintext.to_vec())
        .map_err(|_| Error::corrupt("what was sealed is no text"))
}

fn open_event(keys: &OpenKeys, event: &mut Event) -> Result<()> {
    let key = event.key();
    let mut opened = Vec::with_capacity(3);
    for (section, name) in [(&event.data, DATA), (&event.changed_attributes, CHANGED), (&event.metadata, METADATA)] {
        let payload = match section {
            Payload::Sealed(envelope) => {
                let place = Place::in_event(event, &key, Section::Whole(name));
                match keys.open(&place, envelope).map_err(|error| error.at(name))? {
                    Opened::Plaintext(plaintext) => Payload::Json(Json::from_stored(text(&plaintext)?)),
                    Opened::Redacted(why) => Payload::Redacted { why, rest: Json::empty() },
                }
            }
            Payload::Json(json) => match Members::of(json)? {
                None => section.clone(),
                Some(members) => {
                    let place = |member| Place::in_event(event, &key, Section::Member(name, member));
                    let (object, why) = members.open(keys, place).map_err(|error| error.at(name))?;
                    let rest = object.to_json()?;
                    match why {
                        Some(why) => Payload::Redacted { why, rest },
                        None => Payload::Json(rest),
                    }
                }
            },
            Payload::Redacted { .. } => section.clone(),
        };
        opened.push(payload);
    }
    let sections = [&mut event.event.data, &mut event.event.changed_attributes, &mut event.event.metadata];
    for (section, payload) in sections.into_iter().zip(opened) {
        *section = payload;
    }
    Ok(())
}

