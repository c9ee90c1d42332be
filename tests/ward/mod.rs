//! What the tests of a log with a vault share: patients with secrets, and letters that are their patients' data.

#![allow(dead_code, unreachable_pub, reason = "each test file uses some of it")]

use futures::TryStreamExt;
use rekindle::store::{EventStoreExt, ResourceStoreExt};
use rekindle::types::{Payload, RecordQuery, ResourceName};
use rekindle::{
    Action, Actor, Context, Create, ErrorKind, Event, EventQuery, Keks, Log, LogId, Rejection, Resource, SecretKey,
    SoftDestroy, Subject, Update, VaultConfig, VaultFault,
};
use serde::{Deserialize, Serialize};

use crate::shop::Bed;

/// All secrets of these tests have this in them.
pub const SECRET: &str = "s3cr3t";

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Resource)]
#[resource(name = "clinic.patient", actions(Admit, Treat, Discharge))]
pub struct Patient {
    #[resource(id)]
    pub id: u64,
    pub ward: String,
    #[resource(identity, sensitive)]
    pub insurance: Option<String>,
    #[resource(sensitive)]
    pub diagnosis: Option<String>,
    pub visits: u32,
}

#[derive(Serialize, Deserialize, Action)]
#[action(create, resource = Patient)]
pub struct Admit {
    pub id: u64,
    pub ward: String,
    pub insurance: Option<String>,
    #[action(sensitive)]
    pub password: String,
}

impl Create for Admit {
    fn create(self, _: &Context) -> Result<Patient, Rejection> {
        let diagnosis = Some(format!("{SECRET} unknown"));
        Ok(Patient { id: self.id, ward: self.ward, insurance: self.insurance, diagnosis, visits: 0 })
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
        patient.visits += 1;
        Ok(())
    }
}

#[derive(Serialize, Deserialize, Action)]
#[action(soft_destroy, resource = Patient)]
pub struct Discharge {}

impl SoftDestroy for Discharge {
    fn destroy(self, patient: &mut Patient, _: &Context) -> Result<(), Rejection> {
        patient.ward = "gone".to_owned();
        Ok(())
    }
}

/// A letter is its patient's data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Resource)]
#[resource(name = "clinic.letter", actions(Write, Readdress))]
pub struct Letter {
    #[resource(id)]
    pub id: u64,
    #[resource(subject = "clinic.patient")]
    pub patient: u64,
    #[resource(sensitive)]
    pub text: Option<String>,
    pub pages: u32,
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
        Ok(Letter { id: self.id, patient: self.patient, text: Some(self.text), pages: 1 })
    }
}

#[derive(Serialize, Deserialize, Action)]
#[action(update, resource = Letter)]
pub struct Readdress {
    pub patient: u64,
}

impl Update for Readdress {
    fn update(self, letter: &mut Letter, _: &Context) -> Result<(), Rejection> {
        letter.patient = self.patient;
        Ok(())
    }
}

pub fn keks(byte: u8) -> Keks {
    Keks::new("first", SecretKey::from_bytes([byte; 32])).unwrap()
}

pub fn both(primary: &str) -> Keks {
    let (first, second) = (SecretKey::from_bytes([7; 32]), SecretKey::from_bytes([8; 32]));
    match primary {
        "first" => Keks::new("first", first).unwrap().with("second", second).unwrap(),
        _ => Keks::new("second", second).unwrap().with("first", first).unwrap(),
    }
}

pub async fn start(bed: &Bed, config: impl Into<VaultConfig>) -> Log {
    bed.bare().resource::<Patient>().resource::<Letter>().vault(config).start().await.unwrap()
}

pub async fn sealed(bed: &Bed) -> Log {
    start(bed, keks(7)).await
}

pub async fn sensitive_only(bed: &Bed) -> Log {
    start(bed, VaultConfig::new(keks(7)).sensitive_only()).await
}

pub fn admit(id: u64) -> Admit {
    let insurance = Some(format!("{SECRET} number {id}"));
    Admit { id, ward: "west".to_owned(), insurance, password: format!("{SECRET} password") }
}

pub fn treat(text: &str) -> Treat {
    Treat { diagnosis: format!("{SECRET} {text}") }
}

pub fn patient(id: u64) -> Subject {
    Subject::of::<Patient>(&id).unwrap()
}

pub fn fault(error: &rekindle::Error) -> VaultFault {
    match error.kind() {
        ErrorKind::Vault(fault) => fault.clone(),
        other => panic!("no fault of the vault: {other:?}: {error}"),
    }
}

#[track_caller]
pub fn is_redacted(error: &rekindle::Error, subject: &Subject, reason: &str) {
    match fault(error) {
        VaultFault::Redacted(why) => assert_eq!((&why.subject, why.reason.as_str()), (subject, reason)),
        other => panic!("not redacted: {other:?}: {error}"),
    }
}

pub async fn raw_events(bed: &Bed, log: &LogId) -> Vec<Event> {
    bed.store.stream(log, EventQuery::new()).try_collect().await.unwrap()
}

/// All that is in the store of events and records, as text.
pub async fn raw_text(bed: &Bed, log: &LogId) -> String {
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
        let query = RecordQuery::new(ResourceName::new(resource).unwrap());
        let records: Vec<_> = bed.store.stream_records(log, query).try_collect().await.unwrap();
        text += &format!("{records:?}");
    }
    text
}

pub async fn lived_in(log: &Log) {
    let user = log.as_actor(Actor::new("nurse", 1).unwrap()).with("why", "s3cr3t reason");
    for id in 1..=3 {
        user.create(admit(id)).await.unwrap();
        user.update(&id, treat("cold")).await.unwrap();
    }
    user.update(&2, treat("fever")).await.unwrap();
}
