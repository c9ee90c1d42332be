//! What is stored if a batch's commits are right about it: they say what they expect.
//!
//! **Invariant**: whatever a decision on this depends on is either written over at the revision or version that was expected,
//! refused by a unique index, or among what [`Expectations`] lists. So the function that writes finds out if any of it is
//! otherwise.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use rekindle_core::Result;
use rekindle_core::store::decide::{LogChanges, View, WrittenRecord};
use rekindle_core::store::{Head, LoadedRecord};
use rekindle_core::types::{
    Check, Commit, Event, EventId, Expected, Identity, IdentityValue, Json, KeyVersion, LogId, RecordId, RecordKey,
    Revision, Subject, WriteState,
};

/// What the commits expect of the store, before any of them.
#[derive(Default)]
pub(crate) struct Expectations<'a> {
    head: Head,
    pub(crate) records: BTreeMap<&'a RecordKey, Option<Present<'a>>>,
    pub(crate) keys: BTreeMap<&'a Subject, ExpectedKeys>,
}

/// A record that is to be there.
pub(crate) struct Present<'a> {
    revision: Revision,
    identities: &'a [IdentityValue],
}

/// How far the keys of a subject are to be; `None` for what nobody asked for.
#[derive(Default)]
pub(crate) struct ExpectedKeys {
    pub(crate) version: Option<u64>,
    pub(crate) epoch: Option<u64>,
}

impl<'a> Expectations<'a> {
    /// What the commits say; `None` if it is not enough. The first that names a record or keys says what they are before all
    /// of them.
    pub(crate) fn of(head: Head, batch: &[&'a Commit]) -> Option<Self> {
        let mut expectations = Self { head, ..Self::default() };
        let first = batch.first()?;
        for commit in batch {
            if commit.log != first.log || commit.lock != first.lock || commit.accepts.is_some() {
                return None;
            }
            for guard in &commit.guards {
                // After a write of them, they are what it wrote.
                let keys = expectations.keys.entry(&guard.subject).or_default();
                if keys.version.is_none() {
                    keys.epoch.get_or_insert(guard.epoch);
                }
            }
            for write in &commit.keys {
                expectations.keys.entry(&write.row.subject).or_default().version.get_or_insert(write.expected);
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
    fn expect(&mut self, key: &'a RecordKey, expected: Expected, identities: &'a [IdentityValue]) -> Option<()> {
        if let Entry::Vacant(new) = self.records.entry(key) {
            new.insert(match expected {
                Expected::Absent => None,
                // The columns have 0 for a record that is not there.
                Expected::Revision(Revision::ZERO) | Expected::Exists | Expected::Any => return None,
                Expected::Revision(revision) => Some(Present { revision, identities }),
            });
        }
        Some(())
    }

    /// Whether the function that writes would find out if one of them is wrong that these changes depend on.
    pub(crate) fn cover(&self, changes: &LogChanges<'a>) -> bool {
        let identities = |state: Option<&'a WriteState>| state.map_or(&[][..], |state| &state.identities);
        let mut written = self.written(changes);
        changes.owners.values().all(Option::is_some)
            && written
                .all(|(_, record, before)| before.is_none_or(|before| before.identities == identities(record.state)))
    }

    /// The records that are written, in order, each with what it is to be before.
    pub(crate) fn written<'b>(
        &'b self,
        changes: &'b LogChanges<'a>,
    ) -> impl Iterator<Item = (&'a RecordKey, WrittenRecord<'a>, Option<&'b Present<'a>>)> {
        // Whoever writes a record says what it is to be, and both are sorted.
        let mut expected = self.records.iter();
        changes.records.iter().map(move |(key, record)| {
            let before = expected.find(|(other, _)| *other == key).and_then(|(_, before)| before.as_ref());
            (*key, *record, before)
        })
    }

    /// Whether keys are written, and only of subjects that are to have none.
    pub(crate) fn keys_are_new(&self) -> bool {
        let mut written = self.keys.values().filter_map(|keys| keys.version).peekable();
        written.peek().is_some() && written.all(|version| version == 0)
    }
}

/// The revision that a record is to be at; 0 if it is not to be there.
pub(crate) fn revision(before: Option<&Present<'_>>) -> Revision {
    before.map_or(Revision::ZERO, |record| record.revision)
}

impl View for Expectations<'_> {
    fn head(&self, _: &LogId) -> Result<Head> {
        Ok(self.head)
    }

    fn event(&self, _: &LogId, _: EventId) -> Result<Option<Event>> {
        Ok(None)
    }

    fn record(&self, _: &LogId, key: &RecordKey) -> Result<Option<LoadedRecord>> {
        let record = |Present { revision, identities }: &Present<'_>| LoadedRecord {
            key: key.clone(),
            revision: *revision,
            state: Some(WriteState { attributes: Json::empty(), identities: identities.to_vec() }),
        };
        Ok(self.records.get(key).and_then(Option::as_ref).map(record))
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
