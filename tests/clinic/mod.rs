//! What the tests of the vault share: patients, and letters that are their patients' data.

#![allow(dead_code, unreachable_pub, unused_imports, reason = "each test file uses some of it")]

pub mod between;
pub mod heard;

use std::sync::Arc;

use futures::TryStreamExt;
use rekindle::store::{EventStoreExt, Store};
use rekindle::{
    Action, Actor, Context, Create, ErrorKind, Event, EventQuery, Keks, Log, LogId, Position, Rejection, Rekindle,
    Resource, SecretKey, Subject, Update, VaultConfig, VaultFault,
};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Resource)]
#[resource(name = "clinic.patient", actions(Admit, Treat))]
pub struct Patient {
    #[resource(id)]
    pub id: u64,
    pub ward: String,
    #[resource(identity, sensitive)]
    pub insurance: Option<String>,
    #[resource(sensitive)]
    pub diagnosis: Option<String>,
}

#[derive(Serialize, Deserialize, Action)]
#[action(create, resource = Patient)]
pub struct Admit {
    pub id: u64,
    pub ward: String,
    pub insurance: Option<String>,
}

impl Create for Admit {
    fn create(self, _: &Context) -> Result<Patient, Rejection> {
        Ok(Patient { id: self.id, ward: self.ward, insurance: self.insurance, diagnosis: None })
    }
}

#[derive(Serialize, Deserialize, Action)]
#[action(update, resource = Patient)]
pub struct Treat {
    pub diagnosis: String,
}

impl Update for Treat {
    fn update(self, patient: &mut Patient, _: &Context) -> Result<(), Rejection> {
        patient.diagnosis = Some(self.diagnosis);
        Ok(())
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Resource)]
#[resource(name = "clinic.letter", actions(Write))]
pub struct Letter {
    #[resource(id)]
    pub id: u64,
    #[resource(subject = "clinic.patient")]
    pub patient: u64,
    #[resource(sensitive)]
    pub text: Option<String>,
}

#[derive(Serialize, Deserialize, Action)]
#[action(create, resource = Letter)]
pub struct Write {
    pub id: u64,
    pub patient: u64,
    pub text: String,
}

impl Create for Write {
    fn create(self, _: &Context) -> Result<Letter, Rejection> {
        Ok(Letter { id: self.id, patient: self.patient, text: Some(self.text) })
    }
}

pub const FIRST: [u8; 32] = *b"kek one: thirty-two bytes of it.";
pub const SECOND: [u8; 32] = *b"kek two: thirty-two bytes of it.";

pub fn first() -> Keks {
    Keks::new("first", SecretKey::from_bytes(FIRST)).unwrap()
}

pub fn second() -> Keks {
    Keks::new("second", SecretKey::from_bytes(SECOND)).unwrap()
}

pub fn both(primary: &str) -> Keks {
    match primary {
        "first" => first().with("second", SecretKey::from_bytes(SECOND)).unwrap(),
        _ => second().with("first", SecretKey::from_bytes(FIRST)).unwrap(),
    }
}

pub async fn try_open(store: Arc<dyn Store>, log: &str, config: impl Into<VaultConfig>) -> rekindle::Result<Log> {
    let builder = Rekindle::on(store).log(log).resource::<Patient>().resource::<Letter>();
    builder.vault(config).start().await
}

pub async fn open(store: &Arc<dyn Store>, log: &str, config: impl Into<VaultConfig>) -> Log {
    try_open(Arc::clone(store), log, config).await.unwrap()
}

pub fn patient(id: u64) -> Subject {
    Subject::of::<Patient>(&id).unwrap()
}

pub fn admit(id: u64) -> Admit {
    Admit { id, ward: "ward-north".to_owned(), insurance: Some(format!("number {id}")) }
}

pub fn treat(diagnosis: &str) -> Treat {
    Treat { diagnosis: diagnosis.to_owned() }
}

pub fn letter(id: u64, patient: u64, text: &str) -> Write {
    Write { id, patient, text: text.to_owned() }
}

/// Patients 1 and 2; letters 1 to 3 of patient 2, and 4 of patient 1. All that is sensitive has these words in it.
pub async fn lived_in(log: &Log, words: &str) {
    let nurse = log.as_actor(Actor::new("nurse", 1).unwrap());
    for id in 1..=2 {
        let insurance = Some(format!("{words} number {id}"));
        nurse.create(Admit { insurance, ..admit(id) }).await.unwrap();
        nurse.update(&id, treat(&format!("{words} cold"))).await.unwrap();
    }
    for (id, of) in [(1, 2), (2, 2), (3, 2), (4, 1)] {
        nurse.create(letter(id, of, &format!("{words} dear"))).await.unwrap();
    }
}

pub fn fault(error: &rekindle::Error) -> VaultFault {
    match error.kind() {
        ErrorKind::Vault(fault) => fault.clone(),
        other => panic!("no fault of the vault: {other:?}: {error}"),
    }
}

pub async fn raw_events(store: &Arc<dyn Store>, log: &LogId) -> Vec<Event> {
    store.stream(log, EventQuery::new()).try_collect().await.unwrap()
}
