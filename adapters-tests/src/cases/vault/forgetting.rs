//! A subject that was forgotten stays so.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use rekindle_core::engine::Log;
use rekindle_core::types::{EventQuery, KeyWrite, RecordKey};
use rekindle_core::vault::{KekProvider, SubjectStatus, VaultConfig};
use rekindle_core::{ErrorKind, VaultFault};

use super::patient::{Patient, SECRET, admit, insurance, lived_in, treat};
use super::service::Service;
use super::{
    all_keys, assert_fault, assert_redacted, both, keks, key_of, key_row, nurse, open, put_keys, start, subject,
};
use crate::fixture::Backend;
use crate::sample::log;

/// That a patient is unreadable, in the log and in the records, and that these are not.
async fn assert_forgotten(log: &Log, id: u64, others: &[u64]) {
    let left = log.get::<Patient>(&id).await.unwrap().expect("what is not sensitive of the record is gone, too");
    assert_eq!((left.insurance, left.diagnosis), (None, None), "sensitive attributes of {id} are left");
    assert_eq!(log.find::<Patient>("insurance", &insurance(id)).await.unwrap(), None, "an identity of {id} is left");
    let query = |key: RecordKey| EventQuery::new().with_record(key);
    let mut redacted = 0;
    for event in log.events(&query(key_of(id))).await.unwrap().items {
        let shown = format!("{:?} {:?}", event.data, event.changed_attributes);
        assert!(!shown.contains(SECRET), "the event at {} is readable: {shown}", event.position);
        if !event.action.as_str().starts_with("rekindle.") {
            for section in [&event.data, &event.changed_attributes] {
                assert_redacted(&section.json().expect_err("an event is readable"), &subject(id), &event.position);
            }
            redacted += 1;
        }
    }
    assert!(redacted >= 3, "only {redacted} events of {id} are there");
    match log.subject(&subject(id)).await.unwrap() {
        SubjectStatus::Forgotten(why) => assert_eq!(why.subject, subject(id)),
        other => panic!("{id} was forgotten, and is {other:?}"),
    }
    for other in others {
        let patient = log.get::<Patient>(other).await.unwrap().expect("the record of another is gone");
        assert_eq!(patient.diagnosis.as_deref(), Some("s3cr3t fever"), "the record of another");
        for event in log.events(&query(key_of(*other))).await.unwrap().items {
            assert!(event.data.json().is_ok(), "the event of another is not readable: {event:?}");
        }
    }
}

pub(crate) async fn a_forgotten_subject_is_unreadable_and_all_others_are_not(backend: Backend) {
    let Some(opened) = open(backend).await else { return };
    let uncached = || VaultConfig::new(keks(7)).with_cached_keys(0).with_cache_time(Duration::ZERO);
    let sealed = start(&opened.store, keks(7)).await;
    let other = start(&opened.other_handle().await, uncached()).await;
    lived_in(&nurse(&sealed), 1..=3).await;
    assert!(other.get::<Patient>(&2).await.unwrap().is_some());
    let wrapped = sealed.vault().unwrap().keys_wrapped_by("first").await.unwrap();
    let before = key_row(&*opened.store, 2).await;
    let receipt = nurse(&sealed).forget(&subject(2), "asked").await.unwrap();
    assert_eq!((receipt.keys, receipt.records), (1, 1), "{receipt:?}");
    for log in [&sealed, &other, &start(&opened.store, keks(7)).await, &start(&opened.store, uncached()).await] {
        assert_forgotten(log, 2, &[1, 3]).await;
    }
    // A row ends with its last wrapped key: 32 bytes of ciphertext and a tag.
    let after = key_row(&*opened.store, 2).await;
    let secret = &before.body[before.body.len() - 48..];
    for part in secret.windows(8) {
        assert!(!after.body.windows(8).any(|window| window == part), "a part of the wrapped key is in the row still");
    }
    // The subject's key is gone, and the log's own is there for what the log tells of it.
    let left = sealed.vault().unwrap().keys_wrapped_by("first").await.unwrap();
    assert_eq!(left, wrapped - 1, "keys that are wrapped");
}

pub(crate) async fn a_destroyed_key_is_not_brought_back(backend: Backend) {
    let Some(opened) = open(backend).await else { return };
    let sealed = start(&opened.store, keks(7)).await;
    lived_in(&nurse(&sealed), 1..=3).await;
    let (row, copies) = (key_row(&*opened.store, 2).await, sealed.vault().unwrap().export_keys().await.unwrap());
    let held = Arc::new(Service::new(both(), usize::MAX));
    let service: Arc<dyn KekProvider> = held.clone();
    let newer = start(&opened.other_handle().await, VaultConfig::new(service)).await;
    // A rewrap that has read the key goes on after it was destroyed.
    held.hold();
    let rewrapping = newer.clone();
    let rewrap = tokio::spawn(async move { rewrapping.vault().unwrap().rewrap().await });
    held.was_asked().await;
    nurse(&sealed).forget(&subject(2), "asked").await.unwrap();
    held.go_on();
    rewrap.await.unwrap().unwrap();
    assert_forgotten(&start(&opened.store, both()).await, 2, &[1, 3]).await;
    newer.vault().unwrap().rewrap().await.unwrap();
    assert_forgotten(&start(&opened.store, both()).await, 2, &[1, 3]).await;
    let stale = KeyWrite { expected: row.version - 1, row: row.clone(), new_ids: Vec::new() };
    let error = put_keys(&*opened.store, &log(), stale).await.expect_err("an older row of keys is taken");
    assert_fault(&error, &VaultFault::KeyChanged, &"an older row of keys");
    newer.vault().unwrap().import_keys(copies).await.unwrap();
    for log in [&sealed, &newer, &start(&opened.store, both()).await] {
        assert_forgotten(log, 2, &[1, 3]).await;
    }
}

pub(crate) async fn nothing_is_sealed_by_a_key_that_another_handle_destroyed(backend: Backend) {
    let Some(opened) = open(backend).await else { return };
    let sealed = start(&opened.store, keks(7)).await;
    let other = start(&opened.other_handle().await, keks(7)).await;
    lived_in(&nurse(&sealed), [1]).await;
    // It has the key at hand from now on.
    nurse(&other).update(&1, treat("fever")).await.unwrap();
    nurse(&sealed).forget(&subject(1), "asked").await.unwrap();
    let head = sealed.head().await.unwrap();
    let refused = nurse(&other).update(&1, treat("late")).await.expect_err("it is sealed by a key that was destroyed");
    assert_redacted(&refused, &subject(1), &"an update after the forget");
    assert_eq!(sealed.head().await.unwrap(), head, "an update that is refused left a trace");
    assert_forgotten(&start(&opened.store, keks(7)).await, 1, &[]).await;
}

pub(crate) async fn an_update_that_races_a_forget_lands_before_it_or_is_refused(backend: Backend) {
    let Some(opened) = open(backend).await else { return };
    let logs = [start(&opened.store, keks(7)).await, start(&opened.other_handle().await, keks(7)).await];
    for id in 1..=3 {
        nurse(&logs[0]).create(admit(id)).await.unwrap();
        nurse(&logs[1]).update(&id, treat("before")).await.unwrap();
        let updates = (0..32).map(|n: usize| {
            let session = nurse(&logs[n % 2]);
            tokio::spawn(async move { session.update(&id, treat(&n.to_string())).await })
        });
        let updates: Vec<_> = updates.collect();
        let session = nurse(&logs[0]);
        // It begins once some of them have landed: later with each patient.
        let begun = 5 * (id - 1);
        while of_patient(&logs[0], id).await.len() < usize::try_from(2 + begun).unwrap() {
            tokio::task::yield_now().await;
        }
        let receipt = session.forget(&subject(id), "asked").await.unwrap();
        let mut landed = 0;
        for update in join_all(updates).await {
            match update.unwrap() {
                Ok(_) => landed += 1,
                Err(error) => assert_redacted(&error, &subject(id), &"an update that races a forget"),
            }
        }
        let events = of_patient(&start(&opened.store, keks(7)).await, id).await;
        assert_eq!(events.len(), landed + 2, "what was answered is not what is there");
        for event in events {
            let at = event.position;
            assert!(at < receipt.position, "an event at {at} was sealed after the forget at {}", receipt.position);
            assert_redacted(&event.data.json().expect_err("an event is readable"), &subject(id), &at);
        }
        let left = logs[1].get::<Patient>(&id).await.unwrap().unwrap();
        assert_eq!((left.insurance, left.diagnosis), (None, None), "sensitive attributes are left");
    }
}

/// The events of a patient, but for those that tell what was left of it.
async fn of_patient(log: &Log, id: u64) -> Vec<rekindle_core::types::Event> {
    let mut events = log.events(&EventQuery::new().with_record(key_of(id))).await.unwrap().items;
    events.retain(|event| !event.action.as_str().starts_with("rekindle."));
    events
}

pub(crate) async fn clear_and_replay_leave_keys_alone(backend: Backend) {
    let Some(opened) = open(backend).await else { return };
    let sealed = start(&opened.store, keks(7)).await;
    lived_in(&nurse(&sealed), 1..=3).await;
    nurse(&sealed).forget(&subject(2), "asked").await.unwrap();
    let all = || async {
        let mut all = Vec::new();
        for id in 1..=3 {
            all.push(sealed.get::<Patient>(&id).await.unwrap());
        }
        all
    };
    let (keys, records) = (all_keys(&*opened.store).await, all().await);
    sealed.clear_records().await.unwrap();
    assert_eq!(all_keys(&*opened.store).await, keys, "clearing the records changed keys");
    assert_eq!(sealed.get::<Patient>(&1).await.unwrap(), None);
    sealed.replay().await.unwrap();
    assert_eq!(all().await, records, "a replay after a forget gives other records");
    assert_eq!(sealed.replay().verify().await.unwrap().drifts, []);
    assert_eq!(all_keys(&*opened.store).await, keys, "a replay changed keys");
    for log in [&sealed, &start(&opened.store, keks(7)).await] {
        assert_forgotten(log, 2, &[1, 3]).await;
    }
}

pub(crate) async fn a_forget_is_there_after_reopening(backend: Backend) {
    let Some(opened) = open(backend).await else { return };
    let sealed = start(&opened.store, keks(7)).await;
    lived_in(&nurse(&sealed), 1..=3).await;
    nurse(&sealed).forget(&subject(2), "asked").await.unwrap();
    let keys = all_keys(&*opened.store).await;
    sealed.shutdown().await.unwrap();
    drop(sealed);
    let Some(opened) = opened.reopen().await else { return };
    assert_eq!(all_keys(&*opened.store).await, keys, "the keys are others after reopening");
    let sealed = start(&opened.store, keks(7)).await;
    assert_forgotten(&sealed, 2, &[1, 3]).await;
    let error = nurse(&sealed).update(&2, treat("late")).await.expect_err("a forgotten subject is written for");
    assert!(matches!(error.kind(), ErrorKind::Vault(VaultFault::Redacted(_))), "{error:?}");
}
