//! A sealed log that somebody has meddled with, in the live store: each is refused, and the fault tells which it is.

#![cfg(all(feature = "derive", feature = "memory", feature = "sled"))]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests")]

mod clinic;
mod shop;

use std::sync::{Arc, Mutex};

use clinic::between::Between;
use clinic::{Letter, Patient, admit, fault, first, lived_in, open, patient, raw_events, treat};
use rekindle::store::{EventStoreExt, Store};
use rekindle::types::{Commit, KeyRow, KeyWrite, LockKey, NewEvent, Payload};
use rekindle::{Error, ErrorKind, EventQuery, Json, Log, Position, Rekindle, VaultFault};
use serde_json::Value;
use shop::{Bed, on_each_backend, session};

on_each_backend![
    p34_sections_of_an_event_that_are_swapped_are_refused,
    p34_a_section_of_another_event_is_refused,
    p34_a_section_of_another_record_is_refused,
    p34_a_section_of_another_log_is_refused,
    p34_metadata_of_another_event_is_refused_wherever_somebody_sees_it,
    p34_an_event_that_is_told_of_another_record_or_action_is_refused,
    p34_an_attribute_that_was_moved_to_another_record_is_refused,
    p34_an_attribute_that_was_moved_to_another_name_is_refused,
    p34_an_identity_that_leads_to_another_record_is_refused,
    e8_keys_of_another_subject_are_refused,
    e8_a_wrapped_key_of_another_subject_is_refused,
    e8_the_name_of_another_key_is_refused_and_that_of_a_destroyed_one_is_no_way_in,
];

/// A log on a store that can be meddled with. Its last event is at position 8.
async fn meddled(bed: &Bed) -> (Arc<Between>, Log) {
    let between = Between::around(&bed.store);
    let store: Arc<dyn Store> = Arc::<Between>::clone(&between);
    let log = open(&store, "main", first()).await;
    lived_in(&log, "secret").await;
    assert_eq!(log.head().await.unwrap().position, Position::new(8));
    (between, log)
}

fn event(commit: &mut Commit) -> &mut NewEvent {
    commit.changes[0].event.as_mut().unwrap()
}

/// What a process that has seen nothing yet says of the events, of a replay, and of the events of before.
async fn events_are_refused(bed: &Bed, expected: &VaultFault, message: &str) {
    let fresh = open(&bed.store, "main", first()).await;
    for error in [
        fresh.events(&EventQuery::new()).await.unwrap_err(),
        fresh.events(&EventQuery::new().with_after(Position::new(8))).await.unwrap_err(),
        fresh.replay().await.unwrap_err(),
    ] {
        assert_eq!((&fault(&error), error.to_string().as_str()), (expected, message));
    }
    let before = fresh.events(&EventQuery::new().with_limit(8)).await.unwrap();
    assert!(before.items.iter().all(|event| event.data.json().is_ok()), "the others open");
}

#[track_caller]
fn is(error: &Error, expected: &VaultFault, message: &str) {
    assert_eq!((&fault(error), error.to_string().as_str()), (expected, message));
}

const MOVED: &str = "it was changed, or moved from where it belongs";

async fn p34_sections_of_an_event_that_are_swapped_are_refused(bed: Bed) {
    let (between, log) = meddled(&bed).await;
    between.next(|commit| {
        let event = event(commit);
        std::mem::swap(&mut event.data, &mut event.changed_attributes);
    });
    session(&log).update(&2, treat("fever")).await.unwrap();
    events_are_refused(&bed, &VaultFault::Tampered, &format!("the event at position 9: data: {MOVED}")).await;
}

async fn p34_a_section_of_another_event_is_refused(bed: Bed) {
    let (between, log) = meddled(&bed).await;
    // Of the same record and action.
    let other = raw_events(&bed.store, log.id()).await.remove(3).event;
    assert_eq!((other.record_id.as_str(), other.action.as_str()), ("2", "treat"));
    between.next(|commit| event(commit).changed_attributes = other.changed_attributes);
    session(&log).update(&2, treat("fever")).await.unwrap();
    let message = format!("the event at position 9: changed_attributes: {MOVED}");
    events_are_refused(&bed, &VaultFault::Tampered, &message).await;
}

async fn p34_a_section_of_another_record_is_refused(bed: Bed) {
    let (between, log) = meddled(&bed).await;
    let other = raw_events(&bed.store, log.id()).await.remove(1).event;
    assert_eq!((other.record_id.as_str(), other.action.as_str()), ("1", "treat"));
    between.next(|commit| event(commit).data = other.data);
    session(&log).update(&2, treat("fever")).await.unwrap();
    events_are_refused(&bed, &VaultFault::Tampered, &format!("the event at position 9: data: {MOVED}")).await;
}

async fn p34_a_section_of_another_log_is_refused(bed: Bed) {
    let (between, log) = meddled(&bed).await;
    let tenant = log.tenant("other").unwrap();
    session(&tenant).create(admit(2)).await.unwrap();
    let other = raw_events(&bed.store, tenant.id()).await.remove(0).event;
    let key = key_id(&other.data);
    between.next(|commit| event(commit).data = other.data);
    session(&log).update(&2, treat("fever")).await.unwrap();
    let key: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    let message = format!("the event at position 9: data: it was sealed by the key {key}, which is not in the store");
    events_are_refused(&bed, &VaultFault::UnknownKey, &message).await;
}

/// A replay looks at no metadata, unless it has a change that is shown the events.
async fn p34_metadata_of_another_event_is_refused_wherever_somebody_sees_it(bed: Bed) {
    let (between, log) = meddled(&bed).await;
    let other = raw_events(&bed.store, log.id()).await.remove(1).event;
    between.next(|commit| event(commit).metadata = other.metadata);
    session(&log).update(&2, treat("fever")).await.unwrap();
    let message = format!("the event at position 9: metadata: {MOVED}");
    let fresh = open(&bed.store, "main", first()).await;
    is(&fresh.events(&EventQuery::new()).await.unwrap_err(), &VaultFault::Tampered, &message);
    is(&fresh.history::<Patient>(&2).await.err().unwrap(), &VaultFault::Tampered, &message);
    assert_eq!(fresh.replay().await.unwrap().events, 9);
    assert_eq!(fresh.get::<Patient>(&2).await.unwrap().unwrap().diagnosis.unwrap(), "fever");

    let builder = Rekindle::on(Arc::clone(&bed.store)).log("main").resource::<Patient>().resource::<Letter>();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let builder = builder.change_on_replay({
        let seen = Arc::clone(&seen);
        move |_: &mut Patient, event, _| seen.lock().unwrap().push(event.metadata.json().unwrap().to_string())
    });
    let shown = builder.vault(first()).start().await.unwrap();
    is(&shown.replay().await.unwrap_err(), &VaultFault::Tampered, &message);
    shown.replay().until_position(Position::new(8)).await.unwrap();
    assert_eq!(seen.lock().unwrap().len(), 4, "two patients, two events each");
}

async fn p34_an_event_that_is_told_of_another_record_or_action_is_refused(bed: Bed) {
    let (between, log) = meddled(&bed).await;
    between.next(|commit| {
        commit.changes[0].write = None;
        event(commit).version += 1;
    });
    session(&log).update(&2, treat("fever")).await.unwrap();
    let error = log.events(&EventQuery::new()).await.unwrap_err();
    is(&error, &VaultFault::Tampered, &format!("the event at position 9: data: {MOVED}"));
    between.next(|commit| {
        commit.changes[0].write = None;
        event(commit).record_id = "1".parse().unwrap();
    });
    session(&log).update(&2, treat("fever")).await.unwrap();
    let error = log.events(&EventQuery::new().with_after(Position::new(9))).await.unwrap_err();
    is(&error, &VaultFault::Tampered, &format!("the event at position 10: data: {MOVED}"));
}

/// Changes the attributes of the next record that is written.
fn attributes(commit: &mut Commit, change: impl FnOnce(&mut Value)) {
    let state = commit.changes[0].write.as_mut().unwrap().state.as_mut().unwrap();
    let mut attributes = state.attributes.to_value().unwrap();
    change(&mut attributes);
    state.attributes = Json::from_value(&attributes).unwrap();
}

async fn record_is_refused(bed: &Bed, name: &str) {
    let fresh = open(&bed.store, "main", first()).await;
    let error = fresh.get::<Patient>(&2).await.unwrap_err();
    is(&error, &VaultFault::Tampered, &format!("the record clinic.patient/2: {name:?}: {MOVED}"));
    let error = session(&fresh).update(&2, treat("over it")).await.unwrap_err();
    assert_eq!(fault(&error), VaultFault::Tampered, "{error}");
    assert!(fresh.get::<Patient>(&1).await.unwrap().is_some(), "the others open");
    // Its events are whole: a replay mends it.
    fresh.replay().await.unwrap();
    assert_eq!(fresh.get::<Patient>(&2).await.unwrap().unwrap().diagnosis.as_deref(), Some("fever"));
}

async fn p34_an_attribute_that_was_moved_to_another_record_is_refused(bed: Bed) {
    let (between, log) = meddled(&bed).await;
    let other = Arc::new(Mutex::new(Value::Null));
    let taken = Arc::clone(&other);
    between.next(move |commit| attributes(commit, |all| *taken.lock().unwrap() = all["diagnosis"].clone()));
    session(&log).update(&1, treat("cough")).await.unwrap();
    between.next(move |commit| attributes(commit, |all| all["diagnosis"] = other.lock().unwrap().clone()));
    session(&log).update(&2, treat("fever")).await.unwrap();
    record_is_refused(&bed, "diagnosis").await;
}

async fn p34_an_attribute_that_was_moved_to_another_name_is_refused(bed: Bed) {
    let (between, log) = meddled(&bed).await;
    between.next(|commit| attributes(commit, |all| all["diagnosis"] = all["insurance"].clone()));
    session(&log).update(&2, treat("fever")).await.unwrap();
    record_is_refused(&bed, "diagnosis").await;
}

fn identity(commit: &mut Commit) -> &mut String {
    &mut commit.changes[0].write.as_mut().unwrap().state.as_mut().unwrap().identities[0].value
}

async fn p34_an_identity_that_leads_to_another_record_is_refused(bed: Bed) {
    let (between, log) = meddled(&bed).await;
    let row = Arc::new(Mutex::new(String::new()));
    let taken = Arc::clone(&row);
    between.next(move |commit| *taken.lock().unwrap() = std::mem::replace(identity(commit), "nobody's".to_owned()));
    session(&log).create(admit(3)).await.unwrap();
    // The row of patient 3 leads to patient 4.
    between.next(move |commit| identity(commit).clone_from(&row.lock().unwrap()));
    session(&log).create(admit(4)).await.unwrap();
    let fresh = open(&bed.store, "main", first()).await;
    let error = fresh.find::<Patient>("insurance", "number 3").await.unwrap_err();
    let message = r#"the record clinic.patient/4: it is found by an "insurance" that is not its own"#;
    is(&error, &VaultFault::Tampered, message);
    let drifts = fresh.replay().verify().await.unwrap().drifts;
    let drifted: Vec<_> = drifts.iter().map(|drift| drift.key.to_string()).collect();
    assert_eq!(drifted, ["clinic.patient/3", "clinic.patient/3", "clinic.patient/4", "clinic.patient/4"], "{drifts:?}");
    fresh.replay().await.unwrap();
    assert_eq!(fresh.find::<Patient>("insurance", "number 3").await.unwrap().unwrap().id, 3);
}

fn key_id(section: &Payload) -> Vec<u8> {
    match section {
        Payload::Sealed(envelope) => envelope[2..34].to_vec(),
        other => panic!("not sealed: {other:?}"),
    }
}

async fn rows(bed: &Bed, log: &Log) -> [KeyRow; 2] {
    let keys = bed.store.key_store().unwrap().keys(log.id(), &[patient(1), patient(2)]).await.unwrap();
    keys.into_iter().map(Option::unwrap).collect::<Vec<_>>().try_into().unwrap()
}

async fn write_keys(bed: &Bed, log: &Log, before: &KeyRow, body: Vec<u8>) {
    let row = KeyRow { version: before.version + 1, body, ..before.clone() };
    let mut commit = Commit::new(log.id().clone(), LockKey::One(2_147_483_647));
    commit.keys.push(KeyWrite { expected: before.version, row, new_ids: Vec::new() });
    bed.store.commit_one(commit).await.unwrap();
}

async fn e8_keys_of_another_subject_are_refused(bed: Bed) {
    let (_, log) = meddled(&bed).await;
    let [one, two] = rows(&bed, &log).await;
    write_keys(&bed, &log, &one, two.body.clone()).await;
    write_keys(&bed, &log, &two, one.body.clone()).await;
    let fresh = open(&bed.store, "main", first()).await;
    let events = raw_events(&bed.store, log.id()).await;
    let hex = |id: Vec<u8>| id.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let [key_one, key_two] = [0, 2].map(|at: usize| hex(key_id(&events[at].data)));
    let error = fresh.get::<Patient>(&1).await.unwrap_err();
    let message = format!("the key {key_one} is known as one of clinic.patient/1, which does not have it");
    is(&error, &VaultFault::Tampered, &message);
    let error = session(&fresh).create(clinic::letter(9, 1, "new")).await.unwrap_err();
    let message = format!("the key {key_two} of clinic.patient/1: a wrapped key: {MOVED}");
    is(&error, &VaultFault::Tampered, &message);
}

async fn e8_a_wrapped_key_of_another_subject_is_refused(bed: Bed) {
    let (_, log) = meddled(&bed).await;
    let rows = rows(&bed, &log).await;
    let events = raw_events(&bed.store, log.id()).await;
    let ids = [0, 2].map(|at: usize| key_id(&events[at].data));
    // The id stays that of the subject; what is wrapped behind it becomes that of the other.
    let cut = |at: usize| {
        let start = rows[at].body.windows(32).position(|bytes| bytes == ids[at]).unwrap();
        rows[at].body.split_at(start + 32)
    };
    let ((head, _), (_, tail)) = (cut(0), cut(1));
    write_keys(&bed, &log, &rows[0], [head, tail].concat()).await;
    let fresh = open(&bed.store, "main", first()).await;
    let key: String = ids[0].iter().map(|byte| format!("{byte:02x}")).collect();
    let message = format!("the key {key} of clinic.patient/1: a wrapped key: {MOVED}");
    is(&fresh.get::<Patient>(&1).await.unwrap_err(), &VaultFault::Tampered, &message);
    is(&session(&fresh).update(&1, treat("new")).await.unwrap_err(), &VaultFault::Tampered, &message);
    let error = fresh.vault().unwrap().rotate(log.id(), &patient(2)).await;
    assert!(error.is_ok(), "the other is whole: {error:?}");
}

async fn e8_the_name_of_another_key_is_refused_and_that_of_a_destroyed_one_is_no_way_in(bed: Bed) {
    let (between, log) = meddled(&bed).await;
    let events = raw_events(&bed.store, log.id()).await;
    let [one, two] = [0, 2].map(|at: usize| key_id(&events[at].data));
    let name = |section: &mut Payload, id: &[u8]| match section {
        Payload::Sealed(envelope) => envelope[2..34].copy_from_slice(id),
        other => panic!("not sealed: {other:?}"),
    };
    let put = |id: Vec<u8>| between.next(move |commit| name(&mut event(commit).data, &id));
    let read = |at: u64| {
        let store = Arc::clone(&bed.store);
        async move {
            let fresh = open(&store, "main", first()).await;
            let query = EventQuery::new().with_after(Position::new(at - 1)).with_limit(1);
            fresh.events(&query).await
        }
    };
    put(one);
    session(&log).update(&2, treat("fever")).await.unwrap();
    let error = read(9).await.unwrap_err();
    is(&error, &VaultFault::Tampered, &format!("the event at position 9: data: {MOVED}"));
    put(vec![7; 32]);
    session(&log).update(&2, treat("cough")).await.unwrap();
    let message = format!(
        "the event at position 10: data: it was sealed by the key {}, which is not in the store",
        "07".repeat(32)
    );
    is(&read(10).await.unwrap_err(), &VaultFault::UnknownKey, &message);
    // Another key-encryption key of the same name, told from all of these.
    let other = rekindle::Keks::new("first", rekindle::SecretKey::from_bytes([9; 32])).unwrap();
    let error = clinic::try_open(Arc::clone(&bed.store), "main", other).await.unwrap_err();
    assert_eq!(fault(&error), VaultFault::WrongKey);
    // And a subject that was forgotten.
    session(&log).forget(&patient(2), "asked").await.unwrap();
    let at = log.head().await.unwrap().position.get() + 1;
    put(two);
    session(&log).update(&1, treat("flu")).await.unwrap();
    let error = read(at).await.unwrap().items.remove(0).data.json().unwrap_err();
    assert!(matches!(fault(&error), VaultFault::Redacted(why) if why.subject == patient(2)), "{error}");
    assert!(matches!(error.kind(), ErrorKind::Vault(_)));
    let letters: Vec<Letter> = shop::all(&open(&bed.store, "main", first()).await).await;
    assert_eq!(letters.iter().filter(|letter| letter.text.is_some()).count(), 1);
}
