//! Keys that are wrong, missing, rotated and rewrapped.

use futures::TryStreamExt;
use rekindle_core::engine::Log;
use rekindle_core::types::{EventQuery, Limits};
use rekindle_core::vault::{SubjectStatus, VaultConfig};
use rekindle_core::{ErrorKind, Result, VaultFault};

use super::patient::{Patient, lived_in, treat};
use super::service::Service;
use super::{
    assert_fault, both, kek, keks, nurse, open, open_with, opened_event, put_event, start, stored_events, subject,
    try_start,
};
use crate::cases::asynchronous::drop_after;
use crate::fixture::Backend;
use crate::sample::log;

/// That every event of a log opens, and every record of these.
async fn assert_all_opens(log: &Log, patients: std::ops::RangeInclusive<u64>, after: &str) {
    let events: Result<Vec<_>> = log.stream(EventQuery::new()).try_collect().await;
    for event in events.unwrap_or_else(|error| panic!("{after}: {error:?}")) {
        for section in [&event.data, &event.changed_attributes, &event.metadata] {
            assert!(section.json().is_ok(), "{after}, the event at {} is not readable: {event:?}", event.position);
        }
    }
    for id in patients {
        let patient = log.get::<Patient>(&id).await.unwrap_or_else(|error| panic!("{after}: {error:?}"));
        let diagnosis = patient.and_then(|patient| patient.diagnosis);
        assert!(diagnosis.is_some_and(|text| text.starts_with("s3cr3t ")), "{after}, the patient {id} is not readable");
    }
}

pub(crate) async fn a_wrong_key_and_a_missing_one_are_told_apart_from_tampering(backend: Backend) {
    let Some(opened) = open(backend).await else { return };
    let sealed = start(&opened.store, keks(7)).await;
    lived_in(&nurse(&sealed), 1..=1).await;
    let wrong = try_start(&opened.store, keks(9)).await.expect_err("another key of the same name is taken");
    assert_fault(&wrong, &VaultFault::WrongKey, &"another key of the same name");
    let missing = try_start(&opened.store, kek("second", 8)).await.expect_err("a log starts without its key");
    assert_fault(&missing, &VaultFault::NoKek, &"a key-encryption key that is missing");
    assert!(missing.message().contains("first"), "the message does not name the key: {missing:?}");
    assert_all_opens(&start(&opened.store, keks(7)).await, 1..=1, "after wrong keys were tried").await;
}

pub(crate) async fn rotated_keys_keep_secrets_readable(backend: Backend) {
    let Some(opened) = open(backend).await else { return };
    let sealed = start(&opened.store, keks(7)).await;
    let other = start(&opened.other_handle().await, keks(7)).await;
    lived_in(&nurse(&sealed), 1..=3).await;
    lived_in(&nurse(&other), 4..=4).await;
    for keys in 2..=3 {
        sealed.vault().unwrap().rotate(&log(), &subject(2)).await.unwrap();
        // Its key is another now, and this handle may have the one before.
        nurse(&other).update(&2, treat("rotated")).await.unwrap();
        assert_eq!(sealed.subject(&subject(2)).await.unwrap(), SubjectStatus::Known { keys });
        for (log, which) in [(&sealed, "the handle that rotates"), (&other, "another handle")] {
            assert_all_opens(log, 1..=4, which).await;
        }
    }
    assert_all_opens(&start(&opened.store, keks(7)).await, 1..=4, "a new vault").await;
    sealed.replay().await.unwrap();
    assert_all_opens(&other, 1..=4, "after a replay").await;
}

pub(crate) async fn a_rewrap_that_was_broken_off_goes_on(backend: Backend) {
    let Some(opened) = open_with(backend, Limits::default().with_page_rows(3)).await else { return };
    let sealed = start(&opened.store, keks(7)).await;
    lived_in(&nurse(&sealed), 1..=8).await;
    let mut left = sealed.vault().unwrap().keys_wrapped_by("first").await.unwrap();
    assert!(left >= 8, "{left} keys of 8 subjects");
    // The first wrapping is the proof of the key that is new.
    let failing = VaultConfig::new(Service::new(both(), 6));
    let failing = start(&opened.store, failing).await;
    let error = failing.vault().unwrap().rewrap().await.expect_err("a rewrap ended without its keys");
    assert_eq!(error.kind(), &ErrorKind::Unavailable, "{error:?}");
    let newer = start(&opened.store, both()).await;
    let vault = newer.vault().unwrap();
    for polls in 0..24 {
        let now = vault.keys_wrapped_by("first").await.unwrap();
        assert!(now <= left, "after a rewrap was broken off, {now} keys are wrapped by the old key; {left} were");
        left = now;
        assert_all_opens(&start(&opened.store, both()).await, 1..=8, "after a rewrap was broken off").await;
        if let Some(ended) = drop_after(polls, vault.rewrap()).await {
            ended.unwrap();
        }
    }
    vault.rewrap().await.unwrap();
    assert_eq!(vault.keys_wrapped_by("first").await.unwrap(), 0, "keys were passed over");
    assert_eq!(vault.rewrap().await.unwrap().keys, 0, "a rewrap that is done is done again");
    vault.retire("first").await.unwrap();
    assert_all_opens(&start(&opened.store, kek("second", 8)).await, 1..=8, "without the old key").await;
}

pub(crate) async fn a_missing_key_is_never_read_as_a_destroyed_one(backend: Backend) {
    let Some(opened) = open(backend).await else { return };
    let sealed = start(&opened.store, keks(7)).await;
    lived_in(&nurse(&sealed), 1..=2).await;
    let other = backend.open().await;
    let log_with_vault = start(&other.store, keks(7)).await;
    lived_in(&nurse(&log_with_vault), 1..=1).await;
    nurse(&log_with_vault).forget(&subject(1), "asked").await.unwrap();
    for (id, what) in [(1, "of a subject that was forgotten here"), (2, "of a subject that was never here")] {
        let event = stored_events(&*opened.store, id).await.remove(1);
        let id = event.id;
        put_event(&*other.store, &log(), event).await;
        let error = opened_event(&log_with_vault, id).await.expect_err("an event is opened without its key");
        assert_fault(&error, &VaultFault::UnknownKey, &format!("an event by a key that is missing, {what}"));
    }
}
