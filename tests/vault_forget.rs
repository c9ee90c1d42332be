//! Subjects that are forgotten: what cannot be read any more, and what is left.

#![cfg(all(feature = "derive", feature = "memory", feature = "sled"))]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests")]

mod shop;
mod ward;

use rekindle::{Actor, ErrorKind, OnRedacted, Position, Subject, SubjectStatus};
use serde_json::json;
use shop::{Bed, events, on_each_backend, session};
use ward::*;

on_each_backend![
    e8_a_forgotten_subject_is_unreadable_and_all_others_are_not,
    e8_a_replay_after_forgetting_gives_the_records_that_are_there,
    e8_forgetting_twice_gives_the_same_receipt,
    e8_nothing_is_recorded_for_a_forgotten_subject_until_it_is_allowed,
    e8_a_subject_that_an_attribute_names_takes_its_records_along,
    e8_an_actor_is_a_subject_of_its_own,
    e8_what_a_replay_does_with_redacted_events_is_said_by_resource,
];

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
