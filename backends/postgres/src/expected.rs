//! What is stored if a batch's commits are right about it: they say what they expect.
//!
//! **Invariant**: whatever a decision on this depends on is either written over at the revision or version that was expected,
//! refused by a unique index, or among what [`Expectations`] lists. So the function that writes finds out if any of it is
//! otherwise.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use rekindle_core::Result;
use rekindle_core::store::decide::{LogChanges, View, WrittenRecord};
use rekindle_core::store::{Head, LoadedRecord};
use rekindle_core::types::{
    Check, Commit, Event, EventId, Expected, Identity, IdentityValue, Json, KeyVersion, LogId, RecordId, RecordKey,
    Revision, Subject, WriteState,
};

/// What the commits expect of the store, before any of them.
#[derive(Default)]
pub(crate) struct Expectations {
    head: Head,
    pub(crate) records: HashMap<RecordKey, Option<LoadedRecord>>,
    pub(crate) keys: HashMap<Subject, ExpectedKeys>,
}

/// How far the keys of a subject are to be; `None` for what nobody asked for.
#[derive(Default)]
pub(crate) struct ExpectedKeys {
    pub(crate) version: Option<u64>,
    pub(crate) epoch: Option<u64>,
}

impl Expectations {
    /// What the commits say; `None` if it is not enough. The first that names a record or keys says what they are before all
    /// of them.
    pub(crate) fn of(head: Head, batch: &[&Commit]) -> Option<Self> {
        let mut expectations = Self { head, records: HashMap::with_capacity(batch.len()), ..Self::default() };
        let first = batch.first()?;
        for commit in batch {
            if commit.log != first.log || commit.lock != first.lock || commit.accepts.is_some() {
                return None;
            }
            for guard in &commit.guards {
                // After a write of them, they are what it wrote.
                let keys = expectations.keys.entry(guard.subject.clone()).or_default();
                if keys.version.is_none() {
                    keys.epoch.get_or_insert(guard.epoch);
                }
            }
            for write in &commit.keys {
                expectations.keys.entry(write.row.subject.clone()).or_default().version.get_or_insert(write.expected);
            }
            for check in &commit.checks {
                match check {
                    Check::Record { key, expected } => expectations.expect(key, *expected, &[])?,
                    Check::Identity { .. } => return None,
                }
            }
            for write in commit.writes() {
                let identities = write.state.as_ref().map_or(&[][..], |state| &state.identities);
                expectations.expect(&write.key, write.expected, identities)?;
            }
        }
        Some(expectations)
    }

    /// Takes in what is expected of a record. If it is there, it has the identities that it will have: a write that changes
    /// them does not say what they were.
    fn expect(&mut self, key: &RecordKey, expected: Expected, identities: &[IdentityValue]) -> Option<()> {
        let state = |identities: &[IdentityValue]| {
            Some(WriteState { attributes: Json::empty(), identities: identities.to_vec() })
        };
        match self.records.entry(key.clone()) {
            Entry::Occupied(_) => {}
            Entry::Vacant(new) => {
                let record = match expected {
                    Expected::Absent => None,
                    // The columns have 0 for a record that is not there.
                    Expected::Revision(Revision::ZERO) | Expected::Exists | Expected::Any => return None,
                    Expected::Revision(revision) => {
                        Some(LoadedRecord { key: key.clone(), revision, state: state(identities) })
                    }
                };
                new.insert(record);
            }
        }
        Some(())
    }

    /// Whether the function that writes would find out if one of them is wrong that these changes depend on.
    pub(crate) fn cover(&self, changes: &LogChanges<'_>) -> bool {
        let identities = |state: Option<&WriteState>| state.map_or(&[][..], |state| &state.identities).to_vec();
        let same = |(key, record): (&&RecordKey, &WrittenRecord<'_>)| match self.records.get(*key) {
            Some(Some(before)) => identities(before.state.as_ref()) == identities(record.state),
            _ => true,
        };
        changes.owners.values().all(Option::is_some) && changes.records.iter().all(same)
    }

    /// Whether keys are written, and only of subjects that are to have none.
    pub(crate) fn keys_are_new(&self) -> bool {
        let mut written = self.keys.values().filter_map(|keys| keys.version).peekable();
        written.peek().is_some() && written.all(|version| version == 0)
    }

    /// The revision that a record is to be at; 0 if it is not to be there.
    pub(crate) fn revision(&self, key: &RecordKey) -> Revision {
        self.records.get(key).and_then(Option::as_ref).map_or(Revision::ZERO, |record| record.revision)
    }
}

impl View for Expectations {
    fn head(&self, _: &LogId) -> Result<Head> {
        Ok(self.head)
    }

    fn event(&self, _: &LogId, _: EventId) -> Result<Option<Event>> {
        Ok(None)
    }

    fn record(&self, _: &LogId, key: &RecordKey) -> Result<Option<LoadedRecord>> {
        Ok(self.records.get(key).cloned().flatten())
    }

    fn owner(&self, _: &LogId, _: &Identity) -> Result<Option<RecordId>> {
        Ok(None)
    }

    fn keys(&self, _: &LogId, subject: &Subject) -> Result<KeyVersion> {
        let keys = self.keys.get(subject);
        Ok(KeyVersion {
            version: keys.and_then(|keys| keys.version).unwrap_or_default(),
            epoch: keys.and_then(|keys| keys.epoch).unwrap_or_default(),
        })
    }
}
