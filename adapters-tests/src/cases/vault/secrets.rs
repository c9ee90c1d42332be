//! What is sealed comes back, and is nowhere in clear.

use std::collections::BTreeSet;

use futures::TryStreamExt;
use rekindle_core::ErrorKind;
use rekindle_core::engine::Log;
use rekindle_core::store::{ResourceStoreExt, Store};
use rekindle_core::types::{EventQuery, LogId, Payload, RecordQuery};
use rekindle_core::vault::VaultConfig;
use serde_json::json;

use super::patient::{Patient, SECRET, admit, insurance, lived_in, treat};
use super::{all_keys, attributes, envelope, keks, nurse, open, sections, start, stored_events, stored_record, value};
use crate::fixture::Backend;
use crate::look::events;
use crate::sample::log;

async fn assert_readable(log: &Log) {
    let page = log.events(&EventQuery::new()).await.expect("sealed events are not read");
    let treated = page.items.iter().find(|event| event.action.as_str() == "treat").unwrap();
    assert_eq!(value(&treated.data), json!({"diagnosis": "s3cr3t cold"}), "the data of an event");
    assert_eq!(value(&treated.changed_attributes), json!({"visits": 1}), "the changed attributes of an event");
    assert_eq!(value(&treated.metadata), json!({"why": "s3cr3t reason"}), "the metadata of an event");
    for id in 1..=3 {
        let patient = Patient {
            id,
            ward: "west".to_owned(),
            insurance: Some(insurance(id)),
            diagnosis: Some("s3cr3t fever".to_owned()),
            visits: 2,
        };
        assert_eq!(log.get::<Patient>(&id).await.unwrap().as_ref(), Some(&patient), "a record");
        let found = log.find::<Patient>("insurance", &insurance(id)).await.unwrap();
        assert_eq!(found, Some(patient), "the owner of an identity over a sensitive attribute");
    }
    assert_eq!(log.find::<Patient>("insurance", &insurance(4)).await.unwrap(), None);
}

pub(crate) async fn a_secret_round_trips(backend: Backend) {
    for sensitive_only in [false, true] {
        let Some(opened) = open(backend).await else { return };
        let config = || match sensitive_only {
            true => VaultConfig::new(keks(7)).sensitive_only(),
            false => VaultConfig::new(keks(7)),
        };
        let log = start(&opened.store, config()).await;
        lived_in(&nurse(&log), 1..=3).await;
        assert_readable(&log).await;
        let other = start(&opened.other_handle().await, config()).await;
        assert_readable(&other).await;
        other.replay().await.unwrap();
        assert_readable(&log).await;
    }
}

/// All that is in the store, as text and as bytes.
async fn kept(store: &dyn Store, log: &LogId) -> (String, Vec<Vec<u8>>) {
    let (mut text, mut bytes) = (String::new(), Vec::new());
    for mut event in events(store, log).await {
        text += &format!("{event:?}{}", serde_json::to_string(&event).unwrap());
        let sealed = sections(&mut event.event).into_iter().filter(|section| matches!(section, Payload::Sealed(_)));
        bytes.extend(sealed.map(|section| envelope(section).clone()));
    }
    let query = RecordQuery::new("suite.patient".parse().unwrap());
    let records: Vec<_> = store.stream_records(log, query).try_collect().await.unwrap();
    text += &format!("{records:?}{}", serde_json::to_string(&records).unwrap());
    for (_, row) in all_keys(store).await {
        text += &format!("{row:?}");
        bytes.push(row.body);
    }
    (text, bytes)
}

fn holds(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

pub(crate) async fn no_secret_is_in_what_a_store_keeps_nor_in_what_is_shown(backend: Backend) {
    let Some(opened) = open(backend).await else { return };
    let log_with_vault = start(&opened.store, keks(7)).await;
    lived_in(&nurse(&log_with_vault), 1..=3).await;
    log_with_vault.replay().await.unwrap();
    nurse(&log_with_vault).update(&1, treat("again")).await.unwrap();
    let (text, bytes) = kept(&*opened.store, &log()).await;
    assert!(text.contains("west"), "what is not sensitive is not in clear in records");
    assert!(!text.contains(SECRET), "a secret is in clear in the store: {text}");
    assert!(!bytes.iter().any(|bytes| holds(bytes, SECRET.as_bytes())), "a secret is in clear in sealed bytes");
    assert!(!bytes.iter().any(|bytes| holds(bytes, &[7; 32])), "the key-encryption key is in the store");
    let shown = format!("{log_with_vault:?} {:?} {:?}", log_with_vault.vault(), VaultConfig::new(keks(7)));
    assert!(!shown.contains("7, 7, 7"), "a key is shown: {shown}");

    let mut taken = admit(4);
    taken.insurance = insurance(1);
    let error = nurse(&log_with_vault).create(taken).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::IdentityTaken { .. }), "{error:?}");
    assert!(!format!("{error} {error:?}").contains(SECRET), "an error shows a secret: {error:?}");
}

pub(crate) async fn equal_plaintexts_give_different_ciphertexts(backend: Backend) {
    let Some(opened) = open(backend).await else { return };
    let log = start(&opened.store, keks(7)).await;
    let (mut envelopes, mut nonces, mut members) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    nurse(&log).create(admit(1)).await.unwrap();
    nurse(&log).create(admit(2)).await.unwrap();
    for _ in 0..4 {
        for id in [1, 2] {
            nurse(&log).update(&id, treat("the same")).await.unwrap();
            let record = attributes(&stored_record(&*opened.store, id).await);
            assert!(members.insert(record["diagnosis"].to_string()), "a value is sealed twice in the same bytes");
        }
    }
    let events = [stored_events(&*opened.store, 1).await, stored_events(&*opened.store, 2).await].concat();
    for mut event in events {
        for section in sections(&mut event) {
            let envelope = envelope(section);
            assert!(nonces.insert(envelope[34..58].to_vec()), "a nonce is used twice");
            assert!(envelopes.insert(envelope[58..].to_vec()), "a section is sealed twice in the same bytes");
        }
    }
    assert_eq!(envelopes.len(), 30);
}
