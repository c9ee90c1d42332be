//! A store as plainly as it can be written: what the suite holds a backend against. It shares no rule with `core`.

use std::collections::{BTreeMap, BTreeSet};

use rekindle_core::store::{LoadedRecord, LogState};
use rekindle_core::types::{
    Check, Commit, Committed, CommittedEvent, Event, EventQuery, Expected, Identity, KeyId, KeyRow, LogId, Order,
    Position, RecordId, RecordKey, Revision, Subject,
};
use rekindle_core::{ErrorKind, VaultFault};

/// All logs.
#[derive(Debug, Default)]
pub(crate) struct Model {
    pub(crate) logs: BTreeMap<LogId, ModelLog>,
}

/// One log.
#[derive(Clone, Debug)]
pub(crate) struct ModelLog {
    pub(crate) events: Vec<Event>,
    /// Destroyed ones among them.
    pub(crate) records: BTreeMap<RecordKey, LoadedRecord>,
    pub(crate) state: LogState,
    pub(crate) keys: BTreeMap<Subject, KeyRow>,
    pub(crate) key_ids: BTreeMap<KeyId, Subject>,
}

impl Default for ModelLog {
    fn default() -> Self {
        Self {
            events: Vec::new(),
            records: BTreeMap::new(),
            state: LogState::Live,
            keys: BTreeMap::new(),
            key_ids: BTreeMap::new(),
        }
    }
}

impl Model {
    pub(crate) fn log(&self, log: &LogId) -> ModelLog {
        self.logs.get(log).cloned().unwrap_or_default()
    }

    /// Makes one commit on a copy of its log, and keeps the copy if nothing failed.
    pub(crate) fn commit(&mut self, commit: &Commit) -> Result<Committed, ErrorKind> {
        let mut log = self.log(&commit.log);
        let committed = log.commit(commit)?;
        self.logs.insert(commit.log.clone(), log);
        Ok(committed)
    }
}

impl ModelLog {
    fn commit(&mut self, commit: &Commit) -> Result<Committed, ErrorKind> {
        if let Some(known) = self.known(commit)? {
            return Ok(known);
        }
        let of_keys_only = !commit.keys.is_empty() && commit.changes.is_empty() && commit.checks.is_empty();
        match self.state {
            _ if of_keys_only => {}
            LogState::Live => {}
            LogState::Rebuilding => return Err(ErrorKind::Rebuilding),
            LogState::Rewound(at) => return Err(ErrorKind::Rewound { at }),
        }
        self.write_keys(commit)?;
        for check in &commit.checks {
            self.check(check)?;
        }
        let mut committed = Committed::default();
        for change in &commit.changes {
            let mut revision = None;
            if let Some(write) = &change.write {
                let actual = self.revision(&write.key);
                match (write.expected, actual) {
                    (Expected::Absent, Some(actual)) => return Err(ErrorKind::AlreadyExists { actual }),
                    (Expected::Exists | Expected::Revision(_), None) => return Err(ErrorKind::NotFound),
                    (Expected::Revision(expected), Some(found)) if expected != found => {
                        return Err(ErrorKind::Conflict { actual });
                    }
                    _ => {}
                }
                let next = self.records.get(&write.key).map_or(1, |record| record.revision.get() + 1);
                revision = Some(Revision::new(next));
                let record =
                    LoadedRecord { key: write.key.clone(), revision: Revision::new(next), state: write.state.clone() };
                self.records.insert(write.key.clone(), record);
            }
            if let Some(event) = &change.event {
                let position = Position::new(self.events.len() as u64 + 1);
                self.events.push(Event { position, revision, event: event.clone() });
                committed.events.push(CommittedEvent { position, revision });
            }
        }
        let mut owned = BTreeSet::new();
        for (identity, owner) in self.identities() {
            if !owned.insert(identity.clone()) {
                return Err(ErrorKind::IdentityTaken { identity: identity.name, owner: owner.as_str().to_owned() });
            }
        }
        Ok(committed)
    }

    fn known(&self, commit: &Commit) -> Result<Option<Committed>, ErrorKind> {
        let found: Vec<Option<&Event>> =
            commit.events().map(|event| self.events.iter().find(|known| known.id == event.id)).collect();
        if found.iter().all(Option::is_none) {
            return Ok(None);
        }
        let mut committed = Committed::default();
        for (event, found) in commit.events().zip(found) {
            let Some(found) = found.filter(|found| found.event == *event) else { return Err(ErrorKind::IdReused) };
            committed.events.push(CommittedEvent { position: found.position, revision: found.revision });
        }
        Ok(Some(committed))
    }

    fn write_keys(&mut self, commit: &Commit) -> Result<(), ErrorKind> {
        let changed = ErrorKind::Vault(VaultFault::KeyChanged);
        for guard in &commit.guards {
            if self.keys.get(&guard.subject).map_or(0, |row| row.epoch) != guard.epoch {
                return Err(changed);
            }
        }
        for write in &commit.keys {
            if self.keys.get(&write.row.subject).map_or(0, |row| row.version) != write.expected {
                return Err(changed);
            }
            self.keys.insert(write.row.subject.clone(), write.row.clone());
            self.key_ids.extend(write.new_ids.iter().map(|id| (*id, write.row.subject.clone())));
        }
        Ok(())
    }

    pub(crate) fn keys_by_id(&self, id: KeyId) -> Option<&KeyRow> {
        self.keys.get(self.key_ids.get(&id)?)
    }

    fn check(&self, check: &Check) -> Result<(), ErrorKind> {
        match check {
            Check::Record { key, expected } => {
                let actual = self.revision(key);
                let holds = match expected {
                    Expected::Any => true,
                    Expected::Absent => actual.is_none(),
                    Expected::Exists => actual.is_some(),
                    Expected::Revision(expected) => actual == Some(*expected),
                };
                if holds { Ok(()) } else { Err(ErrorKind::Conflict { actual }) }
            }
            Check::Identity { identity, owner } => {
                if self.owner(identity) == *owner {
                    Ok(())
                } else {
                    Err(ErrorKind::Conflict { actual: None })
                }
            }
        }
    }

    fn revision(&self, key: &RecordKey) -> Option<Revision> {
        self.records.get(key).filter(|record| record.state.is_some()).map(|record| record.revision)
    }

    pub(crate) fn owner(&self, identity: &Identity) -> Option<RecordId> {
        self.identities().find(|(owned, _)| owned == identity).map(|(_, owner)| owner)
    }

    fn identities(&self) -> impl Iterator<Item = (Identity, RecordId)> {
        self.records.values().flat_map(|record| {
            let owned = record.state.iter().flat_map(|state| &state.identities);
            owned.map(|identity| (identity.of(&record.key.resource), record.key.id.clone()))
        })
    }
}

/// Whether an event is in the result of a query, if it had no limit.
pub(crate) fn matches(query: &EventQuery, event: &Event) -> bool {
    let (position, at) = (event.position, event.occurred_at);
    let mut fails = vec![
        query.after.is_some_and(|after| position.get() <= after.get()),
        query.up_to.is_some_and(|up_to| position.get() > up_to.get()),
        query.id.is_some_and(|id| event.id != id),
        query.resource.as_ref().is_some_and(|name| event.resource.as_str() != name.as_str()),
        query.record_id.as_ref().is_some_and(|id| event.record_id.as_str() != id.as_str()),
        query.action.as_ref().is_some_and(|name| event.action.as_str() != name.as_str()),
        query.action_type.is_some_and(|kind| event.action_type != kind),
        query
            .actor
            .as_ref()
            .is_some_and(|actor| event.actor.as_ref().map(ToString::to_string) != Some(actor.to_string())),
        query.occurred_from.is_some_and(|from| at.as_microseconds() < from.as_microseconds()),
        query.occurred_until.is_some_and(|until| at.as_microseconds() > until.as_microseconds()),
    ];
    fails.push(query.cursor.is_some_and(|cursor| match query.order {
        Order::Forward => position.get() <= cursor.get(),
        Order::Backward => position.get() >= cursor.get(),
    }));
    !fails.contains(&true)
}

/// What a page of a query holds, of all events of a log.
pub(crate) fn page(all: &[Event], query: &EventQuery, page_rows: usize) -> Vec<Event> {
    let mut passing: Vec<Event> = all.iter().filter(|event| matches(query, event)).cloned().collect();
    if query.order == Order::Backward {
        passing.reverse();
    }
    passing.truncate(query.limit.min(page_rows));
    passing
}
