//! What is sealed, on the store under test: the engine with a vault, and the bare store to look and to meddle.

mod forgetting;
mod keys;
mod moved;
mod patient;
mod secrets;
mod service;

use std::fmt::Debug;
use std::sync::Arc;

use rekindle_core::engine::{Builder, Log, Session};
use rekindle_core::store::{EventStoreExt, KeyStore, ResourceStoreExt, Store};
use rekindle_core::types::{
    Actor, Event, EventId, EventQuery, Json, KeyRow, KeyWrite, Limits, LogId, NewEvent, Payload, Record, RecordKey,
    Subject,
};
use rekindle_core::vault::{Keks, SecretKey, VaultConfig};
use rekindle_core::{Error, ErrorKind, Result, VaultFault};

use crate::fixture::{Backend, Opened};
use crate::look::{events, put};
use crate::sample::{commit, log, only};
use patient::{Patient, SECRET};

pub(crate) use forgetting::*;
pub(crate) use keys::*;
pub(crate) use moved::*;
pub(crate) use secrets::*;

/// An empty store. `None` if it keeps no keys: then a vault on it is refused, and there is nothing else to check.
async fn open(backend: Backend) -> Option<Opened> {
    open_with(backend, Limits::default()).await
}

async fn open_with(backend: Backend, limits: Limits) -> Option<Opened> {
    let opened = backend.open_with(limits).await;
    if opened.store.key_store().is_some() {
        return Some(opened);
    }
    let error = try_start(&opened.store, keks(7)).await.expect_err("a vault is taken by a store that keeps no keys");
    assert_eq!(error.kind(), &ErrorKind::Unsupported, "{error:?}");
    None
}

/// The log on a store, with a vault.
async fn start(store: &Arc<dyn Store>, config: impl Into<VaultConfig>) -> Log {
    try_start(store, config).await.expect("a log with a vault does not start")
}

async fn try_start(store: &Arc<dyn Store>, config: impl Into<VaultConfig>) -> Result<Log> {
    Builder::on(Arc::clone(store)).log(log().name.as_str()).resource::<Patient>().vault(config).start().await
}

/// The key-encryption key `first`, of these bytes.
fn keks(byte: u8) -> Keks {
    kek("first", byte)
}

fn kek(name: &str, byte: u8) -> Keks {
    Keks::new(name, SecretKey::from_bytes([byte; 32])).unwrap()
}

/// The key-encryption keys `second`, the primary one, and `first`.
fn both() -> Keks {
    kek("second", 8).with("first", SecretKey::from_bytes([7; 32])).unwrap()
}

fn nurse(log: &Log) -> Session {
    log.as_actor(Actor::new("nurse", "1").unwrap()).with("why", format!("{SECRET} reason"))
}

fn key_of(id: u64) -> RecordKey {
    RecordKey::new("suite.patient", id.to_string()).unwrap()
}

fn subject(id: u64) -> Subject {
    Subject::of_record(&key_of(id)).unwrap()
}

#[track_caller]
fn assert_fault(error: &Error, fault: &VaultFault, of: &dyn Debug) {
    assert_eq!(error.kind(), &ErrorKind::Vault(fault.clone()), "{of:?}: the error is another: {error:?}");
}

#[track_caller]
fn assert_redacted(error: &Error, subject: &Subject, of: &dyn Debug) {
    match error.kind() {
        ErrorKind::Vault(VaultFault::Redacted(why)) => assert_eq!(&why.subject, subject, "{of:?}: {error:?}"),
        _ => panic!("{of:?}: {subject} was forgotten, and the error tells otherwise: {error:?}"),
    }
}

/// An event of a log, read through the vault.
async fn opened_event(log: &Log, id: EventId) -> Result<Event> {
    Ok(log.events(&EventQuery::new().with_id(id)).await?.items.pop().expect("an event that was committed is not there"))
}

fn value(payload: &Payload) -> serde_json::Value {
    payload.json().expect("a section is not readable").to_value().unwrap()
}

fn sections(event: &mut NewEvent) -> [&mut Payload; 3] {
    [&mut event.data, &mut event.changed_attributes, &mut event.metadata]
}

#[track_caller]
fn envelope(payload: &mut Payload) -> &mut Vec<u8> {
    match payload {
        Payload::Sealed(bytes) => bytes,
        other => panic!("a section is stored in clear: {other:?}"),
    }
}

/// The events of a patient, as they are stored, in order.
async fn stored_events(store: &dyn Store, id: u64) -> Vec<NewEvent> {
    let of_patient = |event: &Event| event.key() == key_of(id);
    events(store, &log()).await.into_iter().filter(of_patient).map(|event| event.event).collect()
}

async fn put_event(store: &dyn Store, log: &LogId, event: NewEvent) {
    put(store, commit(log, vec![only(event)])).await;
}

/// The record of a patient, as it is stored.
async fn stored_record(store: &dyn Store, id: u64) -> Record {
    store.get_one(&log(), &key_of(id)).await.unwrap().expect("the record of a patient is not there")
}

fn attributes(record: &Record) -> serde_json::Value {
    record.attributes.to_value().unwrap()
}

fn json_of(value: &serde_json::Value) -> Json {
    Json::from_value(value).unwrap()
}

fn key_store(store: &dyn Store) -> &dyn KeyStore {
    store.key_store().expect("the store keeps no keys any more")
}

async fn key_row(store: &dyn Store, id: u64) -> KeyRow {
    let mut rows = key_store(store).keys(&log(), &[subject(id)]).await.unwrap();
    rows.pop().flatten().expect("a patient has no keys")
}

/// All rows of keys of all logs.
async fn all_keys(store: &dyn Store) -> Vec<(LogId, KeyRow)> {
    let mut all = Vec::new();
    for log in key_store(store).logs_with_keys().await.unwrap() {
        let mut after = None;
        loop {
            let page = key_store(store).list_keys(&log, after.as_ref(), 100).await.unwrap();
            all.extend(page.items.into_iter().map(|row| (log.clone(), row)));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
    }
    all
}

/// Another store, with the keys of a log and none of its events.
async fn with_keys_of(backend: Backend, other: &Log) -> (Opened, Log) {
    let opened = backend.open().await;
    let log = start(&opened.store, keks(7)).await;
    let keys = other.vault().unwrap().export_keys().await.unwrap();
    let imported = log.vault().unwrap().import_keys(keys).await.unwrap();
    assert!(imported.written > 0, "no keys were imported: {imported:?}");
    (opened, log)
}

async fn put_keys(store: &dyn Store, log: &LogId, write: KeyWrite) -> Result<()> {
    let keys = rekindle_core::types::Commit { keys: vec![write], ..commit(log, Vec::new()) };
    store.commit_one(keys).await.map(|_| ())
}
