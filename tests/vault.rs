//! A log with a vault: what is recorded is sealed, and reads and replays open it.

#![cfg(all(feature = "derive", feature = "memory", feature = "sled"))]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests")]

mod shop;
mod ward;

use rekindle::store::EventStoreExt;
use rekindle::types::Payload;
use rekindle::{ErrorKind, EventQuery, Position, VaultConfig, VaultFault};
use serde_json::json;
use shop::{Bed, events, on_each_backend, session};
use ward::*;

on_each_backend![
    p34_every_section_is_sealed_in_the_store_and_opened_by_the_log,
    p34_a_replay_a_history_and_the_past_are_as_without_a_vault,
    p16_sensitive_inputs_and_attributes_are_sealed_and_come_back,
    e9_nothing_sensitive_is_in_clear_text_in_the_store,
    e9_an_identity_over_a_sensitive_attribute_is_a_keyed_hash_and_is_found,
    a_log_in_clear_text_goes_on_sealed,
    a_sealed_log_is_not_opened_without_its_vault,
    a_sealed_log_refuses_an_event_in_clear_text,
];

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
