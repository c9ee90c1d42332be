//! What is stored.

use std::collections::{BTreeMap, HashMap};

use rekindle_core::Result;
use rekindle_core::store::decide::{LogChanges, PlacedEvent, View, WrittenRecord};
use rekindle_core::store::{Head, LoadedRecord};
use rekindle_core::types::{
    Event, EventId, Generation, Identity, KeyId, KeyRow, KeyVersion, LogId, Position, Record, RecordId, RecordKey,
    ResourceName, Subject,
};

/// All logs.
#[derive(Debug, Default)]
pub(crate) struct State {
    logs: BTreeMap<LogId, Log>,
}

/// One log: its events, its records, and the rebuild that runs.
#[derive(Debug, Default)]
pub(crate) struct Log {
    pub(crate) head: Head,
    /// The event at position n is at index n - 1.
    pub(crate) events: Vec<Event>,
    positions: HashMap<EventId, Position>,
    pub(crate) records: Records,
    pub(crate) rebuild: Option<Loading>,
    pub(crate) keys: BTreeMap<Subject, KeyRow>,
    pub(crate) key_ids: HashMap<KeyId, Subject>,
}

/// The generation that a rebuild loads.
#[derive(Debug)]
pub(crate) struct Loading {
    pub(crate) generation: Generation,
    pub(crate) records: Records,
}

/// One generation: the records, destroyed ones among them, and who owns which identity.
#[derive(Debug, Default)]
pub(crate) struct Records {
    pub(crate) by_resource: BTreeMap<ResourceName, BTreeMap<RecordId, LoadedRecord>>,
    owners: HashMap<Identity, RecordId>,
}

impl State {
    pub(crate) fn log(&self, log: &LogId) -> Option<&Log> {
        self.logs.get(log)
    }

    pub(crate) fn logs(&self) -> impl Iterator<Item = (&LogId, &Log)> {
        self.logs.iter()
    }

    pub(crate) fn log_mut(&mut self, log: &LogId) -> &mut Log {
        self.logs.entry(log.clone()).or_default()
    }
}

impl Log {
    pub(crate) fn apply(&mut self, changes: LogChanges<'_>) {
        self.head.position = changes.head.position;
        self.head.state = changes.head.state;
        for PlacedEvent { position, revision, event } in changes.events {
            self.positions.insert(event.id, position);
            self.events.push(Event { position, revision, event: event.clone() });
        }
        for (key, WrittenRecord { revision, state }) in changes.records {
            self.records.put(LoadedRecord { key: key.clone(), revision, state: state.cloned() });
        }
        self.keys.extend(changes.keys.into_iter().map(|(subject, row)| (subject.clone(), row.clone())));
        self.key_ids.extend(changes.key_ids.into_iter().map(|(id, subject)| (*id, subject.clone())));
        for (identity, owner) in changes.owners {
            match owner {
                Some(owner) => self.records.owners.insert(identity, owner.clone()),
                None => self.records.owners.remove(&identity),
            };
        }
    }
}

impl Records {
    pub(crate) fn get(&self, key: &RecordKey) -> Option<Record> {
        self.loaded(key).and_then(live)
    }

    /// A record, a destroyed one included.
    pub(crate) fn loaded(&self, key: &RecordKey) -> Option<&LoadedRecord> {
        self.by_resource.get(&key.resource)?.get(&key.id)
    }

    fn put(&mut self, record: LoadedRecord) {
        self.by_resource.entry(record.key.resource.clone()).or_default().insert(record.key.id.clone(), record);
    }

    pub(crate) fn find(&self, identity: &Identity) -> Option<Record> {
        let id = self.owners.get(identity)?.clone();
        self.get(&RecordKey { resource: identity.resource.clone(), id })
    }

    pub(crate) fn load(&mut self, records: Vec<LoadedRecord>) {
        for key in records.iter().map(|record| &record.key) {
            let old = self.loaded(key).and_then(|old| old.state.as_ref());
            let given_up: Vec<Identity> =
                old.iter().flat_map(|state| &state.identities).map(|identity| identity.of(&key.resource)).collect();
            for identity in given_up {
                if self.owners.get(&identity) == Some(&key.id) {
                    self.owners.remove(&identity);
                }
            }
        }
        for record in records {
            for identity in record.state.iter().flat_map(|state| &state.identities) {
                self.owners.insert(identity.of(&record.key.resource), record.key.id.clone());
            }
            self.put(record);
        }
    }
}

/// The record as readers see it; `None` if it is destroyed.
pub(crate) fn live(record: &LoadedRecord) -> Option<Record> {
    record.state.as_ref().map(|state| Record {
        key: record.key.clone(),
        revision: record.revision,
        attributes: state.attributes.clone(),
        identities: state.identities.clone(),
    })
}

impl View for State {
    fn head(&self, log: &LogId) -> Result<Head> {
        Ok(self.log(log).map(|log| log.head).unwrap_or_default())
    }

    fn event(&self, log: &LogId, id: EventId) -> Result<Option<Event>> {
        let log = self.log(log);
        Ok(log.and_then(|log| log.positions.get(&id).and_then(|position| log.events.get(index(*position)).cloned())))
    }

    fn record(&self, log: &LogId, key: &RecordKey) -> Result<Option<LoadedRecord>> {
        Ok(self.log(log).and_then(|log| log.records.loaded(key).cloned()))
    }

    fn owner(&self, log: &LogId, identity: &Identity) -> Result<Option<RecordId>> {
        Ok(self.log(log).and_then(|log| log.records.owners.get(identity).cloned()))
    }

    fn keys(&self, log: &LogId, subject: &Subject) -> Result<KeyVersion> {
        Ok(self.log(log).and_then(|log| log.keys.get(subject)).map_or(KeyVersion::default(), KeyRow::at))
    }
}

/// Where the event at a position is.
pub(crate) fn index(position: Position) -> usize {
    usize::try_from(position.get()).unwrap_or(usize::MAX).saturating_sub(1)
}
