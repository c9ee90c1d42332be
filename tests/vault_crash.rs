//! A vault whose process dies: at each step of forgetting, rewrapping, rotating and allowing; and what races a forget.

#![cfg(all(feature = "derive", feature = "memory", feature = "sled"))]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests")]

mod clinic;
mod shop;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use clinic::between::{Between, Fate};
use clinic::{Letter, Patient, both, fault, first, letter, lived_in, open, patient, second, treat};
use futures::future::join;
use rekindle::store::Store;
use rekindle::{Log, SubjectStatus, VaultConfig, VaultFault};
use shop::held::Held;
use shop::{Bed, events, on_each_backend, session};

on_each_backend![
    e8_a_forget_that_is_broken_off_anywhere_is_all_or_nothing_and_ends_when_done_again,
    e8_a_rewrap_that_is_broken_off_anywhere_loses_no_key_and_ends_when_run_again,
    e8_a_rotation_that_is_broken_off_anywhere_loses_no_key,
    e8_a_new_key_whose_permission_is_broken_off_can_be_allowed_again,
    e8_a_rewrap_that_comes_after_a_forget_brings_no_key_back,
    e8_rewraps_that_race_forgets_bring_no_key_back,
    e8_an_append_that_was_sealed_before_a_forget_does_not_land_after_it,
    e8_appends_that_race_a_forget_land_before_it_or_are_refused,
];

const FATES: [Fate; 3] = [Fate::DiesBefore, Fate::DiesAfter, Fate::AnswerLost];

/// How the subject of the tests, patient 2, stands in a log; checks that it is all there or not at all, and that the other
/// is there.
async fn is_whole_or_gone(log: &Log) -> SubjectStatus {
    let status = log.subject(&patient(2)).await.unwrap();
    let gone = matches!(status, SubjectStatus::Forgotten(_));
    for event in events(log).await {
        let of_it = event.resource.as_str() == "clinic.patient" && event.record_id.as_str() == "2"
            || event.resource.as_str() == "clinic.letter" && event.record_id.as_str() != "4";
        let opened = event.data.json();
        match (of_it && gone, opened) {
            (true, Err(error)) => assert!(matches!(fault(&error), VaultFault::Redacted(_)), "{error}"),
            (true, Ok(json)) if event.action.as_str() == "rekindle.scrub" => assert_eq!(json.as_str(), "{}"),
            (true, Ok(json)) => panic!("{} opens, of a subject without keys: {json:?}", event.position),
            (false, opened) => assert!(opened.is_ok(), "{}: {opened:?}", event.position),
        }
    }
    let patients: Vec<Patient> = shop::all(log).await;
    let found = log.find::<Patient>("insurance", "secret number 2").await.unwrap();
    assert_eq!(found.is_some(), !gone, "a record is not found by what cannot be read: {found:?}");
    let letters: Vec<Letter> = shop::all(log).await;
    assert_eq!((patients.len(), letters.len()), (2, 4));
    for patient in patients {
        let there = !(gone && patient.id == 2);
        assert_eq!((patient.diagnosis.is_some(), patient.insurance.is_some()), (there, there), "{patient:?}");
    }
    for letter in letters {
        assert_eq!(letter.text.is_some(), !(gone && letter.patient == 2), "{letter:?}");
    }
    status
}

async fn told(log: &Log, action: &str) -> usize {
    shop::actions(log).await.iter().filter(|told| *told == action).count()
}

fn config(sensitive_only: bool) -> VaultConfig {
    let config = VaultConfig::new(both("first"));
    if sensitive_only { config.sensitive_only() } else { config }
}

/// A process of its own, which dies later.
async fn mortal(bed: &Bed, name: &str, config: VaultConfig) -> (Arc<Between>, Log) {
    let between = Between::around(&bed.store);
    let store: Arc<dyn Store> = Arc::<Between>::clone(&between);
    (between, open(&store, name, config).await)
}

async fn e8_a_forget_that_is_broken_off_anywhere_is_all_or_nothing_and_ends_when_done_again(bed: Bed) {
    for (fate, sensitive_only) in FATES.into_iter().zip([false, true, false]).chain([(Fate::DiesBefore, true)]) {
        for n in 0.. {
            let name = format!("forget-{fate:?}-{sensitive_only}-{n}");
            let (between, log) = mortal(&bed, &name, config(sensitive_only)).await;
            lived_in(&log, "secret").await;
            let broken_off = between.nth(n, fate);
            let answer = session(&log).forget(&patient(2), "article 17").await;
            if !broken_off.load(Ordering::SeqCst) {
                assert_eq!((answer.unwrap().records, n), (4, 7), "key, event, four records, key");
                break;
            }
            let fresh = open(&bed.store, &name, config(sensitive_only)).await;
            let status = is_whole_or_gone(&fresh).await;
            assert_eq!(
                matches!(status, SubjectStatus::Known { keys: 1 }),
                (n, fate) == (0, Fate::DiesBefore),
                "{name}"
            );
            if fate == Fate::AnswerLost {
                assert_eq!(is_whole_or_gone(&log).await, status, "the process that goes on sees the same");
            }
            let receipt = session(&fresh).forget(&patient(2), "again").await.unwrap();
            let reason = if matches!(status, SubjectStatus::Known { .. }) { "again" } else { "article 17" };
            assert_eq!((receipt.redacted.reason.as_str(), receipt.keys), (reason, 1), "{name}");
            is_whole_or_gone(&fresh).await;
            assert_eq!((told(&fresh, "forget").await, told(&fresh, "rekindle.scrub").await), (1, 4), "{name}");
            let before: (Vec<Patient>, Vec<Letter>) = (shop::all(&fresh).await, shop::all(&fresh).await);
            assert_eq!(fresh.replay().verify().await.unwrap().drifts, [], "{name}");
            fresh.replay().await.unwrap();
            assert_eq!((shop::all(&fresh).await, shop::all(&fresh).await), before, "{name}");
        }
    }
}

async fn e8_a_rewrap_that_is_broken_off_anywhere_loses_no_key_and_ends_when_run_again(bed: Bed) {
    for fate in FATES {
        for n in 0.. {
            let name = format!("rewrap-{fate:?}-{n}");
            lived_in(&open(&bed.store, &name, both("first")).await, "secret").await;
            let (between, log) = mortal(&bed, &name, both("second").into()).await;
            let broken_off = between.nth(n, fate);
            let answer = log.vault().unwrap().rewrap().await;
            if !broken_off.load(Ordering::SeqCst) {
                assert_eq!(answer.unwrap().keys, n as u64);
                assert!(n >= 3, "both patients and the nurse");
                break;
            }
            for primary in ["first", "second"] {
                let fresh = open(&bed.store, &name, both(primary)).await;
                assert_eq!(is_whole_or_gone(&fresh).await, SubjectStatus::Known { keys: 1 }, "{name}");
            }
            let forgotten = n % 2 == 1;
            let fresh = open(&bed.store, &name, both("second")).await;
            if forgotten {
                session(&fresh).forget(&patient(2), "in between").await.unwrap();
            }
            fresh.vault().unwrap().rewrap().await.unwrap();
            assert_eq!(fresh.vault().unwrap().keys_wrapped_by("first").await.unwrap(), 0, "{name}");
            let alone = open(&bed.store, &name, second()).await;
            let status = is_whole_or_gone(&alone).await;
            assert_eq!(matches!(status, SubjectStatus::Forgotten(_)), forgotten, "{name}");
        }
    }
}

async fn e8_a_rotation_that_is_broken_off_anywhere_loses_no_key(bed: Bed) {
    for fate in FATES {
        let name = format!("rotate-{fate:?}");
        let (between, log) = mortal(&bed, &name, first().into()).await;
        lived_in(&log, "secret").await;
        let broken_off = between.nth(0, fate);
        let answer = log.vault().unwrap().rotate(log.id(), &patient(2)).await;
        assert!(broken_off.load(Ordering::SeqCst));
        assert_eq!(answer.is_ok(), fate == Fate::AnswerLost, "what is there tells whether it was made");
        let keys = if fate == Fate::DiesBefore { 1 } else { 2 };
        let fresh = open(&bed.store, &name, first()).await;
        assert_eq!(is_whole_or_gone(&fresh).await, SubjectStatus::Known { keys });
        fresh.vault().unwrap().rotate(fresh.id(), &patient(2)).await.unwrap();
        session(&fresh).update(&2, treat("after it")).await.unwrap();
        assert_eq!(is_whole_or_gone(&fresh).await, SubjectStatus::Known { keys: keys + 1 });
        let receipt = session(&fresh).forget(&patient(2), "asked").await.unwrap();
        assert_eq!(receipt.keys, keys + 1, "all of its generations");
        is_whole_or_gone(&open(&bed.store, &name, first()).await).await;
    }
}

async fn e8_a_new_key_whose_permission_is_broken_off_can_be_allowed_again(bed: Bed) {
    for fate in FATES {
        let name = format!("allow-{fate:?}");
        let (between, log) = mortal(&bed, &name, first().into()).await;
        lived_in(&log, "secret").await;
        session(&log).forget(&patient(2), "asked").await.unwrap();
        let broken_off = between.nth(0, fate);
        let answer = log.vault().unwrap().allow_new_key(log.id(), &patient(2)).await;
        assert!(broken_off.load(Ordering::SeqCst));
        assert_eq!(answer.is_ok(), fate == Fate::AnswerLost);
        let fresh = open(&bed.store, &name, first()).await;
        let status = fresh.subject(&patient(2)).await.unwrap();
        assert_eq!(matches!(status, SubjectStatus::Forgotten(_)), fate == Fate::DiesBefore, "{status:?}");
        fresh.vault().unwrap().allow_new_key(fresh.id(), &patient(2)).await.unwrap();
        session(&fresh).update(&2, treat("back")).await.unwrap();
        assert_eq!(fresh.get::<Patient>(&2).await.unwrap().unwrap().diagnosis.as_deref(), Some("back"));
        let letters: Vec<Letter> = shop::all(&fresh).await;
        assert!(letters.iter().all(|letter| letter.text.is_some() == (letter.patient == 1)), "{letters:?}");
        let shut = events(&fresh).await.iter().filter(|event| event.data.json().is_err()).count();
        assert_eq!(shut, 5, "what was sealed before stays shut");
        assert_eq!(fresh.replay().verify().await.unwrap().drifts, []);
    }
}

async fn e8_a_rewrap_that_comes_after_a_forget_brings_no_key_back(bed: Bed) {
    let log = open(&bed.store, "held", both("first")).await;
    lived_in(&log, "secret").await;
    let held = Held::around(&bed.store);
    let store: Arc<dyn Store> = Arc::<Held>::clone(&held);
    let newer = open(&store, "held", both("second")).await;
    let come = held.commits.come_so_far();
    held.commits.shut();
    let rewrapping = tokio::spawn(async move {
        newer.vault().unwrap().rewrap().await.unwrap();
        newer
    });
    held.commits.come(come + 1).await;
    session(&log).forget(&patient(2), "asked").await.unwrap();
    held.commits.open();
    let newer = rewrapping.await.unwrap();
    let late = newer.vault().unwrap().rewrap().await.unwrap();
    assert!(late.keys > 0, "the key of an actor that the other process has made meanwhile");
    let alone = open(&bed.store, "held", second()).await;
    assert!(matches!(is_whole_or_gone(&alone).await, SubjectStatus::Forgotten(_)));
    assert_eq!(alone.vault().unwrap().keys_wrapped_by("first").await.unwrap(), 0);
}

async fn e8_rewraps_that_race_forgets_bring_no_key_back(bed: Bed) {
    for round in 0..30 {
        // Logs are rewrapped by their names: the newest comes first.
        let name = format!("r{}", 100 - round);
        let log = open(&bed.store, &name, both("first")).await;
        lived_in(&log, "secret").await;
        let newer = open(&bed.store, &name, both("second")).await;
        let rewrap = tokio::task::spawn_blocking(move || {
            tokio::runtime::Handle::current().block_on(async move { newer.vault().unwrap().rewrap().await })
        });
        let forget = session(&log);
        let (rewrapped, forgotten) = join(rewrap, forget.forget(&patient(2), "asked")).await;
        rewrapped.unwrap().unwrap();
        forgotten.unwrap();
        let alone = open(&bed.store, &name, both("second")).await;
        assert!(matches!(is_whole_or_gone(&alone).await, SubjectStatus::Forgotten(_)), "{name}");
        assert_eq!((told(&alone, "forget").await, told(&alone, "rekindle.scrub").await), (1, 4), "{name}");
    }
}

async fn e8_an_append_that_was_sealed_before_a_forget_does_not_land_after_it(bed: Bed) {
    let log = open(&bed.store, "held", first()).await;
    lived_in(&log, "secret").await;
    let held = Held::around(&bed.store);
    let store: Arc<dyn Store> = Arc::<Held>::clone(&held);
    let slow = open(&store, "held", first()).await;
    let come = held.commits.come_so_far();
    held.commits.shut();
    let appending = session(&slow);
    let appending = tokio::spawn(async move { appending.create(letter(9, 2, "late")).await });
    held.commits.come(come + 1).await;
    session(&log).forget(&patient(2), "asked").await.unwrap();
    held.commits.open();
    let error = appending.await.unwrap().unwrap_err();
    assert!(matches!(fault(&error), VaultFault::Redacted(_)), "{error}");
    assert!(error.to_string().starts_with("clinic.patient/2 was forgotten at "), "{error}");
    is_whole_or_gone(&log).await;
    assert_eq!(log.replay().verify().await.unwrap().drifts, []);
}

async fn e8_appends_that_race_a_forget_land_before_it_or_are_refused(bed: Bed) {
    for round in 0..10 {
        let name = format!("race-{round}");
        let (log, other) = (open(&bed.store, &name, first()).await, open(&bed.store, &name, first()).await);
        lived_in(&log, "secret").await;
        let appends = (10..26).map(|id| {
            let session = session(if id % 2 == 0 { &log } else { &other });
            tokio::spawn(async move { session.create(letter(id, 2, "racing")).await })
        });
        let appends: Vec<_> = appends.collect();
        // Each round the forget comes a little later.
        for _ in 0..round * 3 {
            tokio::task::yield_now().await;
        }
        let receipt = session(&log).forget(&patient(2), "asked").await.unwrap();
        let mut landed = 0;
        for append in appends {
            match append.await.unwrap() {
                Ok(_) => landed += 1,
                Err(error) => assert!(matches!(fault(&error), VaultFault::Redacted(_)), "{error}"),
            }
        }
        let fresh = open(&bed.store, &name, first()).await;
        let letters: Vec<Letter> = shop::all(&fresh).await;
        assert_eq!(letters.len(), 4 + landed);
        assert!(letters.iter().all(|letter| letter.text.is_some() == (letter.patient == 1)), "{letters:?}");
        let late = events(&fresh).await;
        let mut late = late.iter().filter(|event| event.position > receipt.position);
        assert!(late.all(|event| event.action.as_str() == "rekindle.scrub"), "{name}");
        assert_eq!(told(&fresh, "rekindle.scrub").await, 4 + landed, "{name}");
        assert_eq!(fresh.replay().verify().await.unwrap().drifts, [], "{name}");
    }
}
