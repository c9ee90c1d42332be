//! A log with a vault: what is recorded is sealed, reads and replays open it, and a subject can be forgotten.

#![cfg(all(feature = "derive", feature = "memory", feature = "sled"))]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests")]

mod shop;

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use rekindle::store::{EventStoreExt, ResourceStoreExt};
use rekindle::types::{Payload, RecordKey};
use rekindle::{
    Action, Actor, Context, Create, ErrorKind, Event, EventQuery, Keks, Log, LogId, OnRedacted, Position, Rejection,
    Resource, SecretKey, SoftDestroy, Subject, SubjectStatus, Update, VaultConfig, VaultFault,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use shop::{Bed, events, on_each_backend, session};

on_each_backend![
    p34_every_section_is_sealed_in_the_store_and_opened_by_the_log,
    p34_a_replay_a_history_and_the_past_are_as_without_a_vault,
    p16_sensitive_inputs_and_attributes_are_sealed_and_come_back,
    e9_nothing_sensitive_is_in_clear_text_in_the_store,
    e9_an_identity_over_a_sensitive_attribute_is_a_keyed_hash_and_is_found,
    e8_a_forgotten_subject_is_unreadable_and_all_others_are_not,
    e8_a_replay_after_forgetting_gives_the_records_that_are_there,
    e8_forgetting_twice_gives_the_same_receipt,
    e8_nothing_is_recorded_for_a_forgotten_subject_until_it_is_allowed,
    e8_a_rotated_key_seals_what_comes_and_opens_what_was,
    e8_of_64_creators_of_a_subjects_key_one_wins_and_all_is_readable,
    e8_a_key_encryption_key_is_replaced_and_retired,
    e8_a_subject_that_an_attribute_names_takes_its_records_along,
    e8_an_actor_is_a_subject_of_its_own,
    e8_what_a_replay_does_with_redacted_events_is_said_by_resource,
    a_log_in_clear_text_goes_on_sealed,
    a_sealed_log_is_not_opened_without_its_vault,
    a_sealed_log_refuses_an_event_in_clear_text,
    another_key_of_the_same_name_is_told_at_once,
];

/// All secrets of these tests have this in them.
const SECRET: &str = "s3cr3t";

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Resource)]
#[resource(name = "clinic.patient", actions(Admit, Treat, Discharge))]
struct Patient {
    #[resource(id)]
    id: u64,
    ward: String,
    #[resource(identity, sensitive)]
    insurance: Option<String>,
    #[resource(sensitive)]
    diagnosis: Option<String>,
    visits: u32,
}

#[derive(Serialize, Deserialize, Action)]
#[action(create, resource = Patient)]
struct Admit {
    id: u64,
    ward: String,
    insurance: Option<String>,
    #[action(sensitive)]
    password: String,
}

impl Create for Admit {
    fn create(self, _: &Context) -> Result<Patient, Rejection> {
        let diagnosis = Some(format!("{SECRET} unknown"));
        Ok(Patient { id: self.id, ward: self.ward, insurance: self.insurance, diagnosis, visits: 0 })
    }
}

#[derive(Serialize, Deserialize, Action)]
#[action(update, resource = Patient)]
struct Treat {
    diagnosis: String,
}

impl Update for Treat {
    fn update(self, patient: &mut Patient, _: &Context) -> Result<(), Rejection> {
        patient.diagnosis = Some(self.diagnosis);
        patient.visits += 1;
        Ok(())
    }
}

#[derive(Serialize, Deserialize, Action)]
#[action(soft_destroy, resource = Patient)]
struct Discharge {}

impl SoftDestroy for Discharge {
    fn destroy(self, patient: &mut Patient, _: &Context) -> Result<(), Rejection> {
        patient.ward = "gone".to_owned();
        Ok(())
    }
}

/// A letter is its patient's data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Resource)]
#[resource(name = "clinic.letter", actions(Write, Readdress))]
struct Letter {
    #[resource(id)]
    id: u64,
    #[resource(subject = "clinic.patient")]
    patient: u64,
    #[resource(sensitive)]
    text: Option<String>,
    pages: u32,
}

#[derive(Serialize, Deserialize, Action)]
#[action(create, resource = Letter)]
struct Write {
    id: u64,
    patient: u64,
    text: String,
}

impl Create for Write {
    fn create(self, _: &Context) -> Result<Letter, Rejection> {
        Ok(Letter { id: self.id, patient: self.patient, text: Some(self.text), pages: 1 })
    }
}

#[derive(Serialize, Deserialize, Action)]
#[action(update, resource = Letter)]
struct Readdress {
    patient: u64,
}

impl Update for Readdress {
    fn update(self, letter: &mut Letter, _: &Context) -> Result<(), Rejection> {
        letter.patient = self.patient;
        Ok(())
    }
}

fn keks(byte: u8) -> Keks {
    Keks::new("first", SecretKey::from_bytes([byte; 32])).unwrap()
}

fn both(primary: &str) -> Keks {
    let (first, second) = (SecretKey::from_bytes([7; 32]), SecretKey::from_bytes([8; 32]));
    match primary {
        "first" => Keks::new("first", first).unwrap().with("second", second).unwrap(),
        _ => Keks::new("second", second).unwrap().with("first", first).unwrap(),
    }
}

async fn start(bed: &Bed, config: impl Into<VaultConfig>) -> Log {
    bed.bare().resource::<Patient>().resource::<Letter>().vault(config).start().await.unwrap()
}

async fn sealed(bed: &Bed) -> Log {
    start(bed, keks(7)).await
}

async fn sensitive_only(bed: &Bed) -> Log {
    start(bed, VaultConfig::new(keks(7)).sensitive_only()).await
}

fn admit(id: u64) -> Admit {
    let insurance = Some(format!("{SECRET} number {id}"));
    Admit { id, ward: "west".to_owned(), insurance, password: format!("{SECRET} password") }
}

fn treat(text: &str) -> Treat {
    Treat { diagnosis: format!("{SECRET} {text}") }
}

fn patient(id: u64) -> Subject {
    Subject::of::<Patient>(&id).unwrap()
}

fn fault(error: &rekindle::Error) -> VaultFault {
    match error.kind() {
        ErrorKind::Vault(fault) => fault.clone(),
        other => panic!("no fault of the vault: {other:?}: {error}"),
    }
}

#[track_caller]
fn is_redacted(error: &rekindle::Error, subject: &Subject, reason: &str) {
    match fault(error) {
        VaultFault::Redacted(why) => assert_eq!((&why.subject, why.reason.as_str()), (subject, reason)),
        other => panic!("not redacted: {other:?}: {error}"),
    }
}

async fn raw_events(bed: &Bed, log: &LogId) -> Vec<Event> {
    use futures::TryStreamExt;
    bed.store.stream(log, EventQuery::new()).try_collect().await.unwrap()
}

/// All that is in the store of events and records, as text.
async fn raw_text(bed: &Bed, log: &LogId) -> String {
    use futures::TryStreamExt;
    let mut text = String::new();
    for event in raw_events(bed, log).await {
        text += &format!("{event:?}{}", serde_json::to_string(&event).unwrap());
        for section in [&event.data, &event.changed_attributes, &event.metadata] {
            if let Payload::Sealed(bytes) = section {
                text += &String::from_utf8_lossy(bytes);
            }
        }
    }
    for resource in ["clinic.patient", "clinic.letter"] {
        let query = rekindle::types::RecordQuery::new(rekindle::types::ResourceName::new(resource).unwrap());
        let records: Vec<_> = bed.store.stream_records(log, query).try_collect().await.unwrap();
        text += &format!("{records:?}");
    }
    text
}

async fn lived_in(log: &Log) {
    let user = log.as_actor(Actor::new("nurse", 1).unwrap()).with("why", "s3cr3t reason");
    for id in 1..=3 {
        user.create(admit(id)).await.unwrap();
        user.update(&id, treat("cold")).await.unwrap();
    }
    user.update(&2, treat("fever")).await.unwrap();
}

async fn p34_every_section_is_sealed_in_the_store_and_opened_by_the_log(bed: Bed) {
    let log = sealed(&bed).await;
    lived_in(&log).await;
    for event in raw_events(&bed, log.id()).await {
        for section in [&event.data, &event.changed_attributes, &event.metadata] {
            assert!(matches!(section, Payload::Sealed(_)), "{section:?}");
        }
    }
    let first = events(&log).await.remove(0);
    assert_eq!(shop::json(&first.metadata), json!({"why": "s3cr3t reason"}));
    assert_eq!(shop::json(&first.data)["insurance"], json!("s3cr3t number 1"));
    assert_eq!(shop::json(&first.changed_attributes), json!({"diagnosis": "s3cr3t unknown", "visits": 0}));
}

async fn p34_a_replay_a_history_and_the_past_are_as_without_a_vault(bed: Bed) {
    let log = sealed(&bed).await;
    lived_in(&log).await;
    let before: Vec<Patient> = shop::all(&log).await;
    assert_eq!(before[1].diagnosis.as_deref(), Some("s3cr3t fever"));
    log.clear_records().await.unwrap();
    let replayed = log.replay().await.unwrap();
    assert_eq!((replayed.events, replayed.redacted), (7, 0));
    assert_eq!(shop::all::<Patient>(&log).await, before);
    assert_eq!(log.replay().verify().await.unwrap().drifts, []);
    let then = log.as_of(Position::new(4)).get::<Patient>(&2).await.unwrap().unwrap();
    assert_eq!(then.diagnosis.as_deref(), Some("s3cr3t cold"));
    let history = log.history::<Patient>(&2).await.unwrap();
    let diagnoses: Vec<_> = history.iter().map(|revised| revised.record.clone().unwrap().diagnosis.unwrap()).collect();
    assert_eq!(diagnoses, ["s3cr3t unknown", "s3cr3t cold", "s3cr3t fever"]);
}

async fn p16_sensitive_inputs_and_attributes_are_sealed_and_come_back(bed: Bed) {
    let log = sensitive_only(&bed).await;
    lived_in(&log).await;
    let raw = raw_events(&bed, log.id()).await.remove(0);
    let data = shop::json(&raw.data);
    assert_eq!((&data["ward"], &data["$sealed"]), (&json!("west"), &json!(["insurance", "password"])));
    let before: Vec<Patient> = shop::all(&log).await;
    assert_eq!(before[0].insurance.as_deref(), Some("s3cr3t number 1"));
    log.replay().await.unwrap();
    assert_eq!(shop::all::<Patient>(&log).await, before, "a replay brings it back");
    assert_eq!(log.replay().verify().await.unwrap().drifts, []);
    assert_eq!(shop::json(&events(&log).await[0].data)["password"], json!("s3cr3t password"));
}

async fn e9_nothing_sensitive_is_in_clear_text_in_the_store(bed: Bed) {
    let log = sealed(&bed).await;
    lived_in(&log).await;
    log.replay().await.unwrap();
    session(&log).create(Write { id: 1, patient: 1, text: format!("{SECRET} dear") }).await.unwrap();
    let text = raw_text(&bed, log.id()).await;
    assert!(!text.contains(SECRET), "{text}");
    assert!(text.contains("west"), "what is not sensitive stays in clear in records");
}

async fn e9_an_identity_over_a_sensitive_attribute_is_a_keyed_hash_and_is_found(bed: Bed) {
    let log = sealed(&bed).await;
    lived_in(&log).await;
    let found = log.find::<Patient>("insurance", "s3cr3t number 2").await.unwrap().unwrap();
    assert_eq!(found.id, 2);
    let taken = Admit { id: 9, ..admit(2) };
    let taken = Admit { insurance: Some("s3cr3t number 2".to_owned()), ..taken };
    let error = session(&log).create(taken).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::IdentityTaken { .. }), "{error}");
    assert!(!error.to_string().contains(SECRET), "{error}");
    log.replay().await.unwrap();
    assert_eq!(log.find::<Patient>("insurance", "s3cr3t number 2").await.unwrap(), Some(found));
    assert_eq!(log.find::<Patient>("insurance", "s3cr3t number 4").await.unwrap(), None);
}

async fn e8_a_forgotten_subject_is_unreadable_and_all_others_are_not(bed: Bed) {
    for log in [sealed(&bed).await, sensitive_only(&bed).await.tenant("other").unwrap()] {
        lived_in(&log).await;
        let receipt = session(&log).forget(&patient(2), "article 17").await.unwrap();
        assert_eq!((receipt.keys, receipt.records, receipt.pending), (1, 1, vec!["first".to_owned()]));
        let left = log.get::<Patient>(&2).await.unwrap().unwrap();
        assert_eq!(left, Patient { id: 2, ward: "west".into(), insurance: None, diagnosis: None, visits: 2 });
        assert_eq!(log.find::<Patient>("insurance", "s3cr3t number 2").await.unwrap(), None);
        assert_eq!(log.get::<Patient>(&1).await.unwrap().unwrap().diagnosis.unwrap(), "s3cr3t cold");
        let all = events(&log).await;
        for event in all.iter().filter(|event| event.record_id.as_str() == "2" && event.position <= Position::new(7)) {
            is_redacted(&event.data.json().unwrap_err(), &patient(2), "article 17");
        }
        assert!(all.iter().filter(|event| event.record_id.as_str() == "1").all(|event| event.data.json().is_ok()));
        match log.subject(&patient(2)).await.unwrap() {
            SubjectStatus::Forgotten(why) => {
                assert_eq!((why.reason.as_str(), why.at), ("article 17", receipt.redacted.at));
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(log.subject(&patient(1)).await.unwrap(), SubjectStatus::Known { keys: 1 });
    }
}

async fn e8_a_replay_after_forgetting_gives_the_records_that_are_there(bed: Bed) {
    for log in [sealed(&bed).await, sensitive_only(&bed).await.tenant("other").unwrap()] {
        lived_in(&log).await;
        session(&log).create(Write { id: 1, patient: 2, text: format!("{SECRET} dear") }).await.unwrap();
        session(&log).destroy(&3, Discharge {}).await.unwrap();
        for id in [2, 3] {
            session(&log).forget(&patient(id), "asked").await.unwrap();
        }
        let before: (Vec<Patient>, Vec<Letter>) = (shop::all(&log).await, shop::all(&log).await);
        assert_eq!(log.replay().verify().await.unwrap().drifts, []);
        assert_eq!(log.replay().await.unwrap().redacted, 0);
        assert_eq!((shop::all(&log).await, shop::all(&log).await), before);
        log.replay().memory(1).workers(1).await.unwrap();
        assert_eq!((shop::all(&log).await, shop::all(&log).await), before, "in many windows, too");
        assert_eq!(before.1[0].text, None);
    }
}

async fn e8_forgetting_twice_gives_the_same_receipt(bed: Bed) {
    let log = sealed(&bed).await;
    lived_in(&log).await;
    let first = session(&log).forget(&patient(2), "asked").await.unwrap();
    let head = log.head().await.unwrap();
    let again = session(&log).forget(&patient(2), "for another reason").await.unwrap();
    assert_eq!((again.redacted, again.position, again.keys), (first.redacted, first.position, first.keys));
    assert_eq!((again.records, log.head().await.unwrap()), (0, head));
}

async fn e8_nothing_is_recorded_for_a_forgotten_subject_until_it_is_allowed(bed: Bed) {
    let log = sealed(&bed).await;
    lived_in(&log).await;
    session(&log).forget(&patient(2), "asked").await.unwrap();
    let error = session(&log).update(&2, treat("back")).await.unwrap_err();
    is_redacted(&error, &patient(2), "asked");
    log.vault().unwrap().allow_new_key(log.id(), &patient(2)).await.unwrap();
    session(&log).update(&2, treat("back")).await.unwrap();
    assert_eq!(log.get::<Patient>(&2).await.unwrap().unwrap().diagnosis.as_deref(), Some("s3cr3t back"));
    is_redacted(&events(&log).await[2].data.json().unwrap_err(), &patient(2), "asked");
    assert_eq!(log.replay().verify().await.unwrap().drifts, []);
    // One that was never seen can be forgotten, too.
    session(&log).forget(&patient(99), "asked before").await.unwrap();
    is_redacted(&session(&log).create(admit(99)).await.unwrap_err(), &patient(99), "asked before");
}

async fn e8_a_rotated_key_seals_what_comes_and_opens_what_was(bed: Bed) {
    let log = sealed(&bed).await;
    let other = sealed(&bed).await;
    lived_in(&log).await;
    session(&other).update(&2, treat("seen by the other")).await.unwrap();
    log.vault().unwrap().rotate(log.id(), &patient(2)).await.unwrap();
    // The other handle still has the key before it, and is told.
    session(&other).update(&2, treat("after")).await.unwrap();
    assert_eq!(log.subject(&patient(2)).await.unwrap(), SubjectStatus::Known { keys: 2 });
    let texts: Vec<_> = events(&log).await.iter().map(|event| shop::json(&event.data)).collect();
    assert_eq!(texts.last().unwrap(), &json!({"diagnosis": "s3cr3t after"}));
    session(&other).forget(&patient(2), "asked").await.unwrap();
    let all = events(&other).await;
    assert!(
        all.iter()
            .filter(|event| event.record_id.as_str() == "2" && event.action.as_str() == "treat")
            .all(|event| event.data.json().is_err())
    );
}

async fn e8_of_64_creators_of_a_subjects_key_one_wins_and_all_is_readable(bed: Bed) {
    let logs = [sealed(&bed).await, sealed(&bed).await];
    let letters = (0..64).map(|id| {
        let session = session(&logs[usize::try_from(id % 2).unwrap()]);
        tokio::spawn(async move { session.create(Write { id, patient: 5, text: format!("{SECRET} {id}") }).await })
    });
    for written in join_all(letters).await {
        written.unwrap().unwrap();
    }
    let status = logs[0].subject(&patient(5)).await.unwrap();
    assert_eq!(status, SubjectStatus::Known { keys: 1 });
    let letters: Vec<Letter> = shop::all(&logs[1]).await;
    assert_eq!(letters.len(), 64);
    assert!(letters.iter().all(|letter| letter.text == Some(format!("{SECRET} {}", letter.id))));
    assert!(events(&logs[0]).await.iter().all(|event| event.data.json().is_ok()));
}

async fn e8_a_key_encryption_key_is_replaced_and_retired(bed: Bed) {
    let log = start(&bed, both("first")).await;
    lived_in(&log).await;
    let vault = log.vault().unwrap();
    assert_eq!(
        fault(&start(&bed, both("second")).await.vault().unwrap().retire("first").await.unwrap_err()),
        VaultFault::KekInUse
    );
    let forgotten = session(&log).forget(&patient(3), "asked").await.unwrap();
    assert_eq!(forgotten.pending, ["first"]);
    let wrapped = vault.keys_wrapped_by("first").await.unwrap();
    let newer = start(&bed, both("second")).await;
    let rewrapped = newer.vault().unwrap().rewrap().await.unwrap();
    assert_eq!(rewrapped.keys, wrapped);
    assert_eq!(newer.vault().unwrap().rewrap().await.unwrap().keys, 0, "it has nothing more to do");
    newer.vault().unwrap().retire("first").await.unwrap();
    assert_eq!(session(&newer).forget(&patient(3), "asked").await.unwrap().pending, Vec::<String>::new());
    let alone = start(&bed, Keks::new("second", SecretKey::from_bytes([8; 32])).unwrap()).await;
    assert_eq!(alone.get::<Patient>(&2).await.unwrap().unwrap().diagnosis.as_deref(), Some("s3cr3t fever"));
    assert_eq!(alone.get::<Patient>(&3).await.unwrap().unwrap().diagnosis, None);
    let error = bed.bare().resource::<Patient>().vault(both("first")).start().await.unwrap_err();
    shop::is(
        &error,
        &ErrorKind::Invalid,
        r#"the key-encryption key "first" was retired, and is to be the primary one"#,
    );
}

async fn e8_a_subject_that_an_attribute_names_takes_its_records_along(bed: Bed) {
    let log = sealed(&bed).await;
    lived_in(&log).await;
    for id in 1..=3 {
        session(&log).create(Write { id, patient: 2, text: format!("{SECRET} letter {id}") }).await.unwrap();
    }
    session(&log).update(&3, Readdress { patient: 1 }).await.unwrap();
    let receipt = session(&log).forget(&patient(2), "asked").await.unwrap();
    assert_eq!(receipt.records, 3, "the patient and two letters");
    let letters: Vec<Letter> = shop::all(&log).await;
    let texts: Vec<_> = letters.iter().map(|letter| letter.text.as_deref()).collect();
    assert_eq!(texts, [None, None, Some("s3cr3t letter 3")]);
    assert_eq!(log.replay().verify().await.unwrap().drifts, []);
    log.replay().await.unwrap();
    assert_eq!(shop::all::<Letter>(&log).await, letters);
}

async fn e8_an_actor_is_a_subject_of_its_own(bed: Bed) {
    let log = sealed(&bed).await;
    lived_in(&log).await;
    let nurse = Subject::of_actor(&Actor::new("nurse", 1).unwrap()).unwrap();
    session(&log).forget(&nurse, "left").await.unwrap();
    let first = events(&log).await.remove(0);
    is_redacted(&first.metadata.json().unwrap_err(), &nurse, "left");
    assert_eq!(shop::json(&first.data)["ward"], json!("west"), "the patient's data is the patient's");
}

async fn e8_what_a_replay_does_with_redacted_events_is_said_by_resource(bed: Bed) {
    let log = sealed(&bed).await;
    lived_in(&log).await;
    session(&log).forget(&patient(2), "asked").await.unwrap();
    let open = |on: OnRedacted| {
        let builder = bed.bare().resource::<Patient>().resource::<Letter>().vault(keks(7));
        async move { builder.on_redacted::<Patient>(on).start().await.unwrap() }
    };
    let before: Vec<Patient> = shop::all(&log).await;
    let failing = open(OnRedacted::Fail).await;
    let error = failing.replay().await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Replay { position: Position::new(3) });
    assert!(error.to_string().contains("clinic.patient/2 was forgotten at"), "{error}");
    let skipping = open(OnRedacted::Skip).await;
    assert_eq!(skipping.replay().await.unwrap().redacted, 0);
    assert_eq!(shop::all::<Patient>(&skipping).await, before);
    // Before it was forgotten, nothing can be told of it.
    is_redacted(&log.as_of(Position::new(5)).get::<Patient>(&2).await.unwrap_err(), &patient(2), "asked");
    let replayed = log.replay().until_position(5).await.unwrap();
    assert_eq!(replayed.redacted, 1, "the record is left out, and counted");
    assert_eq!(log.get::<Patient>(&2).await.unwrap(), None);
    log.replay().await.unwrap();
    assert_eq!(shop::all::<Patient>(&log).await, before);
    let history = log.history::<Patient>(&2).await.unwrap();
    assert!(history[0].redacted.is_some() && history[0].record.is_none(), "{history:?}");
    assert_eq!(history.last().unwrap().record.as_ref(), Some(&before[1]));
}

async fn a_log_in_clear_text_goes_on_sealed(bed: Bed) {
    let plain = bed.bare().resource::<shop::Label>().start().await.unwrap();
    session(&plain).create(shop::print(1)).await.unwrap();
    plain.shutdown().await.unwrap();
    let config = VaultConfig::new(keks(7)).plaintext_until(Position::new(1));
    let log = bed.bare().resource::<shop::Label>().vault(config).start().await.unwrap();
    session(&log).create(shop::print(2)).await.unwrap();
    assert_eq!(events(&log).await.len(), 2);
    log.replay().await.unwrap();
    let strict = bed.bare().resource::<shop::Label>().vault(keks(7)).start().await.unwrap();
    assert_eq!(fault(&strict.events(&EventQuery::new()).await.unwrap_err()), VaultFault::Plaintext);
}

async fn a_sealed_log_is_not_opened_without_its_vault(bed: Bed) {
    drop(sealed(&bed).await);
    let error = bed.bare().resource::<Patient>().start().await.unwrap_err();
    let kind = ErrorKind::Vault(VaultFault::Sealed);
    shop::is(&error, &kind, "the log main is sealed: open it with its vault, by `.vault(..)`");
    assert!(bed.bare().log("another").resource::<Patient>().start().await.is_ok());
}

async fn a_sealed_log_refuses_an_event_in_clear_text(bed: Bed) {
    let log = sealed(&bed).await;
    lived_in(&log).await;
    let mut event = events(&log).await.remove(0).event;
    event.id = rekindle::EventId::generate();
    let mut commit = rekindle::types::Commit::new(log.id().clone(), rekindle::LockKey::One(2_147_483_647));
    commit.changes.push(rekindle::types::Change { event: Some(event), write: None });
    bed.store.commit_one(commit).await.unwrap();
    let error = log.replay().await.unwrap_err();
    assert_eq!(fault(&error), VaultFault::Plaintext);
    let message = "the event at position 8: it has a section in clear text, and the log is sealed";
    assert_eq!(error.to_string(), message);
}

async fn another_key_of_the_same_name_is_told_at_once(bed: Bed) {
    drop(sealed(&bed).await);
    let error = bed.bare().resource::<Patient>().vault(keks(9)).start().await.unwrap_err();
    assert_eq!(fault(&error), VaultFault::WrongKey);
    let message = r#"the key-encryption key "first" is another than the one that this store knows by the name"#;
    assert_eq!(error.message(), message);
}

#[tokio::test]
async fn a_store_without_a_cache_is_asked_each_time() {
    let bed = Bed::memory();
    let config = || VaultConfig::new(keks(7)).with_cache_time(Duration::ZERO).with_cached_keys(0);
    let (log, other) = (start(&bed, config()).await, start(&bed, config()).await);
    lived_in(&log).await;
    session(&log).forget(&patient(2), "asked").await.unwrap();
    is_redacted(&events(&other).await[2].data.json().unwrap_err(), &patient(2), "asked");
    let store = Arc::clone(&bed.store);
    let key = RecordKey::new("clinic.patient", "2").unwrap();
    assert!(!store.get_one(log.id(), &key).await.unwrap().unwrap().attributes.as_str().contains("$sealed"));
}
