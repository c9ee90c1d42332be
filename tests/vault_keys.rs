//! The vault's keys: they are made once, rotated, wrapped anew, and believed for a while.

#![cfg(all(feature = "derive", feature = "memory", feature = "sled"))]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests")]

mod shop;
mod ward;

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use rekindle::store::ResourceStoreExt;
use rekindle::types::RecordKey;
use rekindle::{ErrorKind, Keks, SecretKey, SubjectStatus, VaultConfig, VaultFault};
use serde_json::json;
use shop::{Bed, events, on_each_backend, session};
use ward::*;

on_each_backend![
    e8_a_rotated_key_seals_what_comes_and_opens_what_was,
    e8_of_64_creators_of_a_subjects_key_one_wins_and_all_is_readable,
    e8_a_key_encryption_key_is_replaced_and_retired,
    another_key_of_the_same_name_is_told_at_once,
];

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
