//! What a sealed log has in its store, read and written by a program in Python that knows the page of the format only.

#![cfg(all(feature = "derive", feature = "memory"))]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests")]

use std::path::Path;

use rekindle::memory::MemoryBackend;
use rekindle::store::{EventStore, EventStoreExt, ResourceStoreExt};
use rekindle::types::{
    ActionName, ActionType, Change, Commit, DefaultLockKeys, EventId, Expected, Json, KeyId, KeyRow, KeyWrite,
    LockKeys, NewEvent, Payload, RecordKey, RecordWrite, WriteState,
};
use rekindle::{
    Action, Actor, Context, Create, Event, EventQuery, Keks, Log, LogId, Rejection, Rekindle, Resource, Subject,
    Timestamp, Update, VaultConfig,
};
use rekindle_test_servers::{Python, python};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

const KEKS: &str = r#"{"primary": "2026", "keys": {"2026": "//////////////////////////////////////////8="}}"#;

#[derive(Debug, PartialEq, Serialize, Deserialize, Resource)]
#[resource(name = "clinic.patient", actions(Admit, Treat))]
struct Patient {
    #[resource(id)]
    id: u64,
    ward: String,
    #[resource(identity, sensitive)]
    insurance: Option<String>,
    #[resource(sensitive)]
    diagnosis: Option<String>,
}

#[derive(Serialize, Deserialize, Action)]
#[action(create, resource = Patient, version = 3)]
struct Admit {
    id: u64,
    ward: String,
    insurance: String,
}

impl Create for Admit {
    fn create(self, _: &Context) -> Result<Patient, Rejection> {
        let diagnosis = Some("ünknown".to_owned());
        Ok(Patient { id: self.id, ward: self.ward, insurance: Some(self.insurance), diagnosis })
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
        Ok(())
    }
}

fn admit(id: u64) -> Admit {
    Admit { id, ward: "west".to_owned(), insurance: format!("A {id}") }
}

async fn start(store: &MemoryBackend, config: VaultConfig) -> Log {
    let log = Rekindle::on(store.clone()).resource::<Patient>().vault(config).start().await.unwrap();
    log.tenant("north").unwrap()
}

fn vault() -> VaultConfig {
    VaultConfig::new(Keks::from_text(KEKS).unwrap())
}

async fn lived_in(log: &Log) {
    let nurse = log.as_actor(Actor::new("nurse", 1).unwrap()).with("why", "rounds");
    nurse.create(admit(1)).await.unwrap();
    nurse.update(&1, Treat { diagnosis: "a cold".to_owned() }).await.unwrap();
}

fn ask(python: &Python, name: &str, task: &Value) -> Value {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("core/tests/interop/vault.py");
    let answers = python.run(&program, &json!({ name: task }).to_string());
    serde_json::from_str::<Value>(&answers).unwrap()[name].take()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &Value) -> Vec<u8> {
    let text = text.as_str().unwrap();
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn patient() -> Subject {
    Subject::of::<Patient>(&1).unwrap()
}

/// What the store has of a subject's keys.
async fn row(store: &MemoryBackend, log: &LogId, subject: &Subject) -> Value {
    let row = store.key_store().unwrap().keys(log, std::slice::from_ref(subject)).await.unwrap().remove(0).unwrap();
    json!({ "log": log.name, "tenant": log.tenant, "subject": subject, "body": hex(&row.body) })
}

/// The place of a section of an event.
fn in_event(event: &NewEvent, log: &LogId, subject: &Subject, section: &str) -> Value {
    json!({
        "log": log.name, "tenant": log.tenant, "subject": subject, "event": event.id, "resource": event.resource,
        "record": event.record_id, "action": event.action, "version": event.version, "section": section,
    })
}

/// The place of the attributes of the one record.
fn in_record(log: &LogId) -> Value {
    json!({
        "log": log.name, "tenant": log.tenant, "subject": patient(), "event": "", "resource": "clinic.patient",
        "record": "1", "action": "", "version": 0, "section": "record",
    })
}

/// The sections of an event that are sealed for the one subject, and for the other.
fn sections(event: &NewEvent) -> [(&'static str, &Payload); 3] {
    [("data", &event.data), ("changed_attributes", &event.changed_attributes), ("metadata", &event.metadata)]
}

async fn events(log: &Log) -> Vec<Event> {
    log.events(&EventQuery::new()).await.unwrap().items
}

async fn raw_events(store: &MemoryBackend, log: &LogId) -> Vec<Event> {
    store.read(log, &EventQuery::new()).await.unwrap().items
}

#[tokio::test]
async fn p34_python_opens_the_sections_of_the_events_of_a_log() {
    let Some(python) = python() else { return };
    let store = MemoryBackend::new();
    let log = start(&store, vault()).await;
    lived_in(&log).await;
    let actor = Subject::of_actor(&Actor::new("nurse", 1).unwrap()).unwrap();
    let (opened, raw) = (events(&log).await, raw_events(&store, log.id()).await);
    assert_eq!(raw.len(), 2);
    for (event, opened) in raw.iter().zip(&opened) {
        for ((section, payload), (_, expected)) in sections(event).into_iter().zip(sections(opened)) {
            let Payload::Sealed(envelope) = payload else { panic!("{payload:?}") };
            let subject = if section == "metadata" { &actor } else { &patient() };
            let mut place = in_event(event, log.id(), subject, section);
            place["envelope"] = hex(envelope).into();
            let row = row(&store, log.id(), subject).await;
            let answer = ask(&python, "open", &json!({ "keks": KEKS, "row": row, "places": [place] }));
            assert_eq!(String::from_utf8(unhex(&answer[0])).unwrap(), expected.json().unwrap().as_str());
        }
    }
}

#[tokio::test]
async fn e9_python_opens_single_members_and_hashes_an_identity() {
    let Some(python) = python() else { return };
    let store = MemoryBackend::new();
    let log = start(&store, vault().sensitive_only()).await;
    lived_in(&log).await;
    let keys = row(&store, log.id(), &patient()).await;
    let open = |place: Value, json: &Json| {
        let task = json!({ "keks": KEKS, "row": keys, "place": place, "json": json.as_str() });
        ask(&python, "open_members", &task)
    };
    let (opened, raw) = (events(&log).await, raw_events(&store, log.id()).await);
    let event = &raw[0];
    for ((section, payload), (_, expected)) in sections(event).into_iter().zip(sections(&opened[0])).take(2) {
        let answer = open(in_event(event, log.id(), &patient(), section), payload.json().unwrap());
        assert_eq!(answer, expected.json().unwrap().to_value::<Value>().unwrap());
    }

    let record = store.get_one(log.id(), &RecordKey::new("clinic.patient", "1").unwrap()).await.unwrap().unwrap();
    let answer = open(in_record(log.id()), &record.attributes);
    assert_eq!(answer, json!({ "id": 1, "ward": "west", "insurance": "A 1", "diagnosis": "a cold" }));

    let index = row(&store, log.id(), &Subject::new("rekindle:index").unwrap()).await;
    let task = json!({ "keks": KEKS, "row": index, "parts": ["clinic.patient", "insurance", "A 1"] });
    assert_eq!(ask(&python, "index", &task), record.identities[0].value);
}

#[tokio::test]
async fn p34_a_log_reads_and_replays_what_python_has_sealed() {
    let Some(python) = python() else { return };
    let store = MemoryBackend::new();
    let log = start(&store, vault()).await;
    let key = RecordKey::new("clinic.patient", "1").unwrap();
    let mut event = NewEvent {
        id: EventId::generate(),
        resource: key.resource.clone(),
        record_id: key.id.clone(),
        action: ActionName::new("admit").unwrap(),
        action_type: ActionType::Create,
        version: 3,
        actor: None,
        data: Payload::empty(),
        changed_attributes: Payload::empty(),
        removed_attributes: Vec::new(),
        metadata: Payload::empty(),
        occurred_at: Timestamp::EPOCH,
    };
    let texts = [r#"{"id":1,"ward":"west","insurance":"A 1"}"#, r#"{"diagnosis":"a cold"}"#, r#"{"why":"rounds"}"#];
    let places: Vec<Value> = sections(&event)
        .into_iter()
        .zip(texts)
        .map(|((section, _), text)| {
            let mut place = in_event(&event, log.id(), &patient(), section);
            place["plaintext"] = hex(text.as_bytes()).into();
            place
        })
        .collect();
    let attributes = json!({ "id": 1, "ward": "west", "insurance": null, "diagnosis": "a cold" });
    let object = json!({ "place": in_record(log.id()), "json": attributes.to_string(), "names": ["diagnosis"] });
    let owner = json!({ "log": log.id().name, "tenant": log.id().tenant, "subject": patient() });
    let task = json!({ "keks": KEKS, "row": owner, "places": places, "objects": [object] });
    let answer = ask(&python, "seal", &task);

    [event.data, event.changed_attributes, event.metadata] =
        std::array::from_fn(|number| Payload::Sealed(unhex(&answer["envelopes"][number])));
    let sealed = Json::parse(answer["objects"][0].as_str().unwrap()).unwrap();
    let row = KeyRow { subject: patient(), version: 1, epoch: 1, body: unhex(&answer["body"]) };
    let id = KeyId::from_bytes(unhex(&answer["id"]).try_into().unwrap());
    let state = Some(WriteState { attributes: sealed, identities: Vec::new() });
    let write = RecordWrite { key, expected: Expected::Absent, state };
    let commit = Commit {
        keys: vec![KeyWrite { expected: 0, row, new_ids: vec![id] }],
        changes: vec![Change { event: Some(event), write: Some(write) }],
        ..Commit::new(log.id().clone(), DefaultLockKeys::default().key(log.id()).unwrap())
    };
    store.commit_one(commit).await.unwrap();

    let read = log.get::<Patient>(&1).await.unwrap().unwrap();
    assert_eq!((read.diagnosis.as_deref(), read.insurance), (Some("a cold"), None));
    let opened = events(&log).await.remove(0);
    assert_eq!(sections(&opened).map(|(_, payload)| payload.json().unwrap().as_str().to_owned()), texts);
    log.replay().await.unwrap();
    let replayed = log.find::<Patient>("insurance", "A 1").await.unwrap().unwrap();
    assert_eq!(replayed.diagnosis.as_deref(), Some("a cold"));
    // It goes on with the key that Python made.
    log.as_system("ward").update(&1, Treat { diagnosis: "well".to_owned() }).await.unwrap();
    let Payload::Sealed(envelope) = &raw_events(&store, log.id()).await[1].data else { panic!("it is in clear") };
    assert_eq!(envelope[2..34], *id.as_bytes());
}
