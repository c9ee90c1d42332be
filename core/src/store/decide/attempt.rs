//! One commit of a batch.

use std::collections::BTreeMap;

use super::{LogChanges, PlacedEvent, View, WrittenRecord, key_changed, rebuilding};
use crate::error::{Error, ErrorKind, Result};
use crate::store::{LoadedRecord, LogState};
use crate::types::{
    Change, Check, Commit, Committed, CommittedEvent, Event, EventId, Identity, IdentityValue, KeyWrite, LogId,
    RecordId, RecordKey, RecordWrite, Revision, Subject, WriteState,
};

/// One commit on top of the earlier ones of its batch; nothing of it is kept unless it succeeds.
pub(super) struct Attempt<'a, 'b, V> {
    view: &'b V,
    log: &'a LogId,
    earlier: &'b mut LogChanges<'a>,
    /// The records that it has written, each as often as it was.
    written: Vec<Written<'a>>,
    /// Whether one of them has identities, or had some.
    has_identities: bool,
    owners: BTreeMap<Identity, Option<&'a RecordId>>,
}

/// A record that is written, and what it was just before.
struct Written<'a> {
    key: &'a RecordKey,
    before: Found<'a>,
}

/// What a record is, to a commit.
enum Found<'a> {
    /// What is stored.
    Stored(Option<LoadedRecord>),
    /// What this commit or an earlier one of the batch has written.
    Written(WrittenRecord<'a>),
}

impl Found<'_> {
    fn revision(&self) -> Revision {
        match self {
            Self::Stored(record) => record.as_ref().map_or(Revision::ZERO, |record| record.revision),
            Self::Written(record) => record.revision,
        }
    }

    fn state(&self) -> Option<&WriteState> {
        match self {
            Self::Stored(record) => record.as_ref().and_then(|record| record.state.as_ref()),
            Self::Written(record) => record.state,
        }
    }

    /// The revision, unless it is not there or destroyed.
    fn live(&self) -> Option<Revision> {
        self.state().map(|_| self.revision())
    }
}

impl<'a, 'b, V: View> Attempt<'a, 'b, V> {
    pub(super) fn new(view: &'b V, log: &'a LogId, earlier: &'b mut LogChanges<'a>) -> Self {
        Self { view, log, earlier, written: Vec::new(), has_identities: false, owners: BTreeMap::new() }
    }

    /// Makes the commit, or fails, with what it has written to be taken back by [`undo`](Self::undo).
    pub(super) fn make(&mut self, commit: &'a Commit) -> Result<Committed> {
        if let Some(known) = self.known(commit)? {
            return Ok(known);
        }
        self.takes(commit)?;
        self.keys(commit)?;
        for check in &commit.checks {
            self.check(check)?;
        }
        let mut events = Vec::with_capacity(commit.changes.len());
        self.written.reserve_exact(commit.changes.len());
        for Change { event, write } in &commit.changes {
            let revision = write.as_ref().map(|write| self.write(write)).transpose()?;
            events.extend(event.as_ref().map(|event| (event, revision)));
        }
        self.settle_identities()?;

        // From here on, nothing fails.
        let earlier = &mut *self.earlier;
        if !commit.is_of_keys() {
            // It is live, or has just been taken as it is.
            earlier.head.state = LogState::Live;
        }
        for KeyWrite { row, new_ids, .. } in &commit.keys {
            earlier.key_ids.extend(new_ids.iter().map(|id| (id, &row.subject)));
            earlier.keys.insert(&row.subject, row);
        }
        let mut committed = Committed { events: Vec::with_capacity(events.len()) };
        for (event, revision) in events {
            let position = earlier.head.position.next();
            earlier.head.position = position;
            earlier.known.insert(event.id, earlier.events.len());
            earlier.events.push(PlacedEvent { position, revision, event });
            committed.events.push(CommittedEvent { position, revision });
        }
        earlier.owners.append(&mut self.owners);
        Ok(committed)
    }

    /// Takes back what was written.
    pub(super) fn undo(&mut self) {
        for Written { key, before } in self.written.drain(..).rev() {
            match before {
                Found::Written(before) => self.earlier.records.insert(key, before),
                Found::Stored(_) => self.earlier.records.remove(key),
            };
        }
    }

    /// Whether the log takes the commit, in the state that it is in.
    fn takes(&self, commit: &Commit) -> Result<()> {
        match self.earlier.head.state {
            _ if commit.is_of_keys() => Ok(()),
            LogState::Live if commit.accepts.is_none() => Ok(()),
            LogState::Live => {
                let message = format!("{} is not rewound, so that nothing is to be taken as it is", commit.log);
                Err(Error::new(ErrorKind::Conflict { actual: None }, message))
            }
            LogState::Rebuilding => Err(rebuilding(&commit.log)),
            LogState::Rewound(at) if commit.accepts == Some(at) => Ok(()),
            LogState::Rewound(at) => {
                let message = format!(
                    "the records of {} are at position {at} of {}: replay it to its head, or accept it as it is, before it takes commits",
                    commit.log, self.earlier.head.position
                );
                Err(Error::new(ErrorKind::Rewound { at }, message))
            }
        }
    }

    fn known(&self, commit: &Commit) -> Result<Option<Committed>> {
        let mut committed = Committed::default();
        let mut unknown = None;
        for event in commit.events() {
            let stored;
            let found = match self.earlier.known.get(&event.id).and_then(|at| self.earlier.events.get(*at)) {
                Some(found) => Some(*found),
                None => {
                    stored = self.view.event(self.log, event.id)?;
                    stored.as_ref().map(|Event { position, revision, event }| PlacedEvent {
                        position: *position,
                        revision: *revision,
                        event,
                    })
                }
            };
            match found {
                Some(found) if found.event == event => {
                    committed.events.push(CommittedEvent { position: found.position, revision: found.revision });
                }
                Some(found) => {
                    return Err(reused(event.id, &format!("is at position {} with other content", found.position)));
                }
                None => unknown = Some(event.id),
            }
        }
        match unknown {
            Some(id) if !committed.events.is_empty() => Err(reused(id, "is not known, and others of its commit are")),
            None if !committed.events.is_empty() => Ok(Some(committed)),
            _ => Ok(None),
        }
    }

    /// That the keys are those that were sealed with, and those that are to be written are as they were read.
    fn keys(&self, commit: &Commit) -> Result<()> {
        let at = |subject: &Subject| match self.earlier.keys.get(subject) {
            Some(row) => Ok(row.at()),
            None => self.view.keys(self.log, subject),
        };
        for guard in &commit.guards {
            if at(&guard.subject)?.epoch != guard.epoch {
                return Err(key_changed(&guard.subject));
            }
        }
        for write in &commit.keys {
            if at(&write.row.subject)?.version != write.expected {
                return Err(key_changed(&write.row.subject));
            }
        }
        Ok(())
    }

    fn record(&self, key: &RecordKey) -> Result<Found<'a>> {
        match self.earlier.records.get(key) {
            Some(record) => Ok(Found::Written(*record)),
            None => self.view.record(self.log, key).map(Found::Stored),
        }
    }

    fn owner(&self, identity: &Identity) -> Result<Option<RecordId>> {
        match self.owners.get(identity).or_else(|| self.earlier.owners.get(identity)) {
            Some(owner) => Ok(owner.cloned()),
            None => self.view.owner(self.log, identity),
        }
    }

    fn check(&self, check: &Check) -> Result<()> {
        match check {
            Check::Record { key, expected } => expected.verify_check(key, self.record(key)?.live()),
            Check::Identity { identity, owner: expected } => {
                let actual = self.owner(identity)?;
                if actual == *expected {
                    return Ok(());
                }
                let name = |owner: Option<&RecordId>| {
                    owner.map_or_else(|| "no record".to_owned(), |id| format!("{:?}", id.as_str()))
                };
                let (found, expected) = (name(actual.as_ref()), name(expected.as_ref()));
                let message = format!("the identity {identity} belongs to {found}; expected was {expected}");
                Err(Error::new(ErrorKind::Conflict { actual: None }, message))
            }
        }
    }

    fn write(&mut self, RecordWrite { key, expected, state }: &'a RecordWrite) -> Result<Revision> {
        let before = self.record(key)?;
        expected.verify_write(key, before.live())?;
        let (revision, state) = (before.revision().next(), state.as_ref());
        self.has_identities |= !identities(before.state()).is_empty() || !identities(state).is_empty();
        self.earlier.records.insert(key, WrittenRecord { revision, state });
        self.written.push(Written { key, before });
        Ok(revision)
    }

    /// Frees what the commit gives up, then takes what it takes: so two records can swap an identity.
    fn settle_identities(&mut self) -> Result<()> {
        if !self.has_identities {
            return Ok(());
        }
        let mut taken = Vec::new();
        // Of what a record was at several writes, the first is what it was before the commit.
        let mut written: Vec<&Written<'_>> = self.written.iter().collect();
        written.sort_by_key(|written| written.key);
        written.dedup_by_key(|written| written.key);
        for Written { key, before } in written {
            let old = identities(before.state());
            let new = identities(self.earlier.records.get(key).and_then(|record| record.state));
            for identity in old.iter().filter(|identity| !new.contains(identity)) {
                self.owners.insert(identity.of(&key.resource), None);
            }
            taken.extend(
                new.iter()
                    .filter(|identity| !old.contains(identity))
                    .map(|identity| (identity.of(&key.resource), &key.id)),
            );
        }
        // Sorted, so that of two that take the same one it is always the same that is told to own it.
        taken.sort_unstable();
        for (identity, id) in taken {
            match self.owner(&identity)? {
                Some(owner) if owner != *id => {
                    let message = format!("the identity {identity} belongs to {:?}", owner.as_str());
                    let kind = ErrorKind::IdentityTaken { identity: identity.name, owner: owner.as_str().to_owned() };
                    return Err(Error::new(kind, message));
                }
                _ => self.owners.insert(identity, Some(id)),
            };
        }
        Ok(())
    }
}

fn identities(state: Option<&WriteState>) -> &[IdentityValue] {
    state.map_or(&[], |state| &state.identities)
}

fn reused(id: EventId, why: &str) -> Error {
    Error::new(ErrorKind::IdReused, format!("the event id {id} {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Head;
    use crate::store::decide::{Decided, decide};
    use crate::types::{
        ActionName, ActionType, Expected, Json, KeyVersion, Limits, LockKey, NewEvent, Payload, Position, ResourceName,
        Timestamp,
    };

    /// One record is stored: "a", at revision 5, that owns "one".
    struct Stored;

    impl View for Stored {
        fn head(&self, _: &LogId) -> Result<Head> {
            Ok(Head { position: Position::new(9), ..Head::default() })
        }

        fn event(&self, _: &LogId, _: EventId) -> Result<Option<Event>> {
            Ok(None)
        }

        fn record(&self, _: &LogId, key: &RecordKey) -> Result<Option<LoadedRecord>> {
            let record = || LoadedRecord { key: key.clone(), revision: Revision::new(5), state: owning(&["one"]) };
            Ok((key.id.as_str() == "a").then(record))
        }

        fn owner(&self, _: &LogId, identity: &Identity) -> Result<Option<RecordId>> {
            Ok((identity.value == "one").then(|| key("a").id))
        }

        fn keys(&self, _: &LogId, _: &Subject) -> Result<KeyVersion> {
            Ok(KeyVersion::default())
        }
    }

    fn key(id: &str) -> RecordKey {
        RecordKey { resource: ResourceName::new("thing").unwrap(), id: RecordId::new(id).unwrap() }
    }

    fn owning(values: &[&str]) -> Option<WriteState> {
        let identity = |value: &&str| IdentityValue { name: format!("is_{value}"), value: (*value).into() };
        Some(WriteState { attributes: Json::empty(), identities: values.iter().map(identity).collect() })
    }

    fn change(id: &str, expected: Expected, state: Option<WriteState>) -> Change {
        let RecordKey { resource, id: record_id } = key(id);
        let event = NewEvent {
            id: EventId::generate(),
            resource,
            record_id,
            action: ActionName::new("set").unwrap(),
            action_type: ActionType::Update,
            version: 1,
            actor: None,
            data: Payload::empty(),
            changed_attributes: Payload::empty(),
            removed_attributes: Vec::new(),
            metadata: Payload::empty(),
            occurred_at: Timestamp::from_microseconds(0).unwrap(),
        };
        Change { event: Some(event), write: Some(RecordWrite { key: key(id), expected, state }) }
    }

    fn commit(changes: Vec<Change>) -> Commit {
        Commit { changes, ..Commit::new(LogId::new("log").unwrap(), LockKey::One(1)) }
    }

    /// All that is written, as text.
    fn written(decided: &Decided<'_>) -> String {
        let of_log = |changes: &LogChanges<'_>| {
            let LogChanges { head, events, records, owners, keys, key_ids, known } = changes;
            assert!(known.iter().all(|(id, at)| events[*at].event.id == *id) && known.len() == events.len());
            format!("{head:?} {events:#?} {records:#?} {owners:#?} {keys:?} {key_ids:?}")
        };
        decided.logs.values().map(of_log).collect()
    }

    #[test]
    fn a_commit_that_fails_leaves_what_the_others_of_its_batch_have_written() {
        let absent = || change("nobody", Expected::Exists, None);
        let fails = |mut changes: Vec<Change>| {
            changes.push(absent());
            commit(changes)
        };
        let any = |id: &str, values: &[&str]| change(id, Expected::Any, owning(values));
        let good = [
            commit(vec![change("a", Expected::Revision(Revision::new(5)), owning(&["two"]))]),
            commit(vec![change("a", Expected::Revision(Revision::new(6)), None)]),
            commit(vec![change("b", Expected::Absent, owning(&["one"]))]),
            commit(vec![any("b", &["two"]), any("b", &["one", "three"])]),
        ];
        let bad = [
            // Over what is stored, and a record that is new.
            fails(vec![any("a", &[]), any("a", &["x"]), any("c", &["one"])]),
            // Over what an earlier commit has written, more than once; the identity that is taken back is free again.
            fails(vec![any("a", &["y"]), change("a", Expected::Exists, None), any("b", &["two"])]),
            commit(vec![any("c", &["four"]), any("d", &["four"])]),
            fails(vec![any("a", &["one"]), any("b", &[])]),
            fails(vec![change("b", Expected::Exists, None), any("b", &["five"])]),
        ];
        let batch: Vec<&Commit> = bad.iter().zip(&good).flat_map(|(bad, good)| [bad, good]).chain(bad.last()).collect();
        let decided = decide(&Stored, &Limits::default(), batch.iter().copied());
        assert!(
            decided.answers.iter().enumerate().all(|(at, answer)| answer.is_ok() == (at % 2 == 1)),
            "{:#?}",
            decided.answers
        );
        let taken = "the identity thing.is_four=\"four\" belongs to \"c\"";
        assert_eq!(decided.answers[4].as_ref().unwrap_err().message(), taken);

        // As if nobody had tried.
        let alone = decide(&Stored, &Limits::default(), &good);
        assert_eq!(written(&decided), written(&alone));
        assert_eq!(
            decided.answers.iter().flatten().collect::<Vec<_>>(),
            alone.answers.iter().flatten().collect::<Vec<_>>()
        );
    }

    #[test]
    fn what_a_record_had_before_a_commit_counts_however_often_the_commit_writes_it() {
        let any = |values: &[&str]| change("a", Expected::Any, owning(values));
        // "one" is given up in between, and is its own again in the end: nobody else may take it.
        let batch = [commit(vec![any(&[]), any(&["one"])]), commit(vec![any(&["one"]), any(&[]), any(&["two"])])];
        let decided = decide(&Stored, &Limits::default(), &batch);
        let changes = decided.logs.values().next().unwrap();
        let owners: Vec<_> = changes.owners.iter().map(|(identity, owner)| (&*identity.value, *owner)).collect();
        assert_eq!(owners, [("one", None), ("two", Some(&key("a").id))]);
        assert_eq!(changes.records[&key("a")].revision, Revision::new(10));
    }
}
