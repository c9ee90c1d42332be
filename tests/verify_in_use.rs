//! Holding the live records against the log while both are in use, in little memory, and where it cannot be done.

#![cfg(all(feature = "derive", feature = "memory", feature = "sled"))]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests")]

mod shop;

use futures::FutureExt;
use futures::future::BoxFuture;
use rekindle::{Action, Context, Create, ErrorKind, Log, Position, Rejection, Rekindle, Resource};
use serde::{Deserialize, Serialize};
use shop::bent::{Bent, Of, Read};
use shop::plant;
use shop::*;
use uuid::Uuid;

on_each_backend![
    e7_verify_finds_the_same_in_little_memory,
    e7_verify_is_not_misled_by_a_record_that_comes_and_goes,
    e7_verify_is_not_misled_by_a_record_that_is_written_whenever_it_looks,
    e7_verify_finds_the_drift_of_a_record_that_is_written_whenever_it_looks,
    e7_verify_says_where_it_cannot_be_done,
    e7_verify_tells_the_event_that_cannot_be_applied,
    e7_verify_passes_over_identities_of_sensitive_attributes,
];

async fn e7_verify_finds_the_same_in_little_memory(bed: Bed) {
    let log = bed.log().await;
    session(&log).bulk_create((1..=6).map(print)).await.unwrap();
    // More than a page of events, so that the log is read in parts.
    for half in 0..2 {
        let updates = (0..2_700).map(|n| (n % 6 + 1, Stick { slot: Some(format!("{half}-{n}")) }));
        session(&log).bulk_update(updates).await.unwrap();
    }
    session(&log).bulk_destroy([(5, Peel {}), (6, Peel {})]).await.unwrap();
    assert_eq!(log.replay().memory(1).verify().await.unwrap().to_string(), "6 records, 0 drifts");
    plant::write(&*bed.store, &log, ("shop.label", "1"), None).await;
    let extra = |id: u64| plant::content(&serde_json::json!({"id": id, "slot": null}), &[]);
    for id in [2, 5, 7, 8] {
        plant::write(&*bed.store, &log, ("shop.label", &id.to_string()), Some(extra(id))).await;
    }
    let whole = log.replay().memory(usize::MAX).verify().await.unwrap();
    let drifting: Vec<_> = whole.drifts.iter().map(|drift| drift.key.id.as_str()).collect();
    assert_eq!(drifting, ["1", "2", "2", "2", "2", "5", "7", "8"], "{whole}");
    for memory in [1, 1_000, 1_000_000] {
        assert_eq!(log.replay().memory(memory).verify().await.unwrap(), whole);
    }
}

/// A log that is verified through a store that meddles, and one past it.
async fn meddled(bed: &Bed, meddling: impl Fn(&Log, Read) -> BoxFuture<'static, ()> + Send + Sync + 'static) -> Log {
    let bent = Bent::around(&bed.store);
    let past = bed.log().await;
    let log = Rekindle::on(bent.clone()).resource::<Account>().resource::<Label>().start().await.unwrap();
    session(&past).create(Print { id: 1, slot: slot("a") }).await.unwrap();
    bent.around_reads(move |read| meddling(&past, read));
    log
}

async fn e7_verify_is_not_misled_by_a_record_that_comes_and_goes(bed: Bed) {
    let log = meddled(&bed, |log, read| {
        let log = log.clone();
        async move {
            match (read.of, read.nth, read.before) {
                // The first record whose events are read is not it, but what the log tells of itself.
                // It is made after the log was read, so that it is looked at alone; and it is gone by then. It comes
                // back before its events are read, and goes when they were.
                (Of::Log, 1, false) | (Of::Record, 2, true) => drop(session(&log).create(print(5)).await.unwrap()),
                (Of::List, 2, false) | (Of::Record, 2, false) => session(&log).destroy(&5, Peel {}).await.unwrap(),
                _ => {}
            }
        }
        .boxed()
    });
    let log = log.await;
    assert_eq!(log.replay().verify().await.unwrap().to_string(), "1 records, 0 drifts");
    assert_eq!(log.get::<Label>(&5).await.unwrap(), None);
}

/// Each time that events were read, there is a deposit on the account.
async fn restless(bed: &Bed) -> (Log, Account) {
    let ada = session(&bed.log().await).create(open("ada")).await.unwrap();
    let id = ada.id;
    let log = meddled(bed, move |log, read| {
        let log = log.clone();
        async move {
            if read.of != Of::List && !read.before {
                session(&log).update(&id, Deposit { amount: 1 }).await.unwrap();
            }
        }
        .boxed()
    });
    (log.await, ada)
}

async fn e7_verify_is_not_misled_by_a_record_that_is_written_whenever_it_looks(bed: Bed) {
    let (log, _) = restless(&bed).await;
    assert_eq!(log.replay().verify().await.unwrap().to_string(), "2 records, 0 drifts");
}

async fn e7_verify_finds_the_drift_of_a_record_that_is_written_whenever_it_looks(bed: Bed) {
    let (log, ada) = restless(&bed).await;
    let wrong = serde_json::to_value(Account { name: "eve".to_owned(), ..ada.clone() }).unwrap();
    let state = plant::content(&wrong, &[("email", &ada.email)]);
    let id = ada.id.to_string();
    plant::rebuild(&*bed.store, &log, &["shop.label"], ("shop.account", &id), 1, state).await;
    let verified = log.replay().verify().await.unwrap();
    let text = format!("shop.account/{id}: name is \"eve\", and by the log \"ada\", since the event at position 1");
    assert!(verified.drifts.iter().any(|drift| drift.to_string() == text), "{verified}");
}

async fn e7_verify_says_where_it_cannot_be_done(bed: Bed) {
    let log = bed.log().await;
    session(&log).bulk_create((1..=3).map(print)).await.unwrap();
    for stopping in [log.replay().until_position(3), log.replay().until(seconds(1))] {
        let error = stopping.verify().await.unwrap_err();
        let told = "the live records are held against the whole log: verify() stops nowhere";
        assert_eq!((error.kind(), error.message()), (&ErrorKind::Invalid, told));
    }
    log.replay().until_position(2).await.unwrap();
    let error = log.replay().verify().await.unwrap_err();
    let told = "the records of main are at position 2: replay it to its head first";
    assert_eq!((error.kind(), error.message()), (&ErrorKind::Rewound { at: Position::new(2) }, told));
    session(&log).accept_rewound(Position::new(2)).await.unwrap();
    assert_eq!(log.replay().verify().await.unwrap().to_string(), "2 records, 0 drifts");
}

async fn e7_verify_tells_the_event_that_cannot_be_applied(bed: Bed) {
    let log = bed.log().await;
    session(&log).create(print(1)).await.unwrap();
    raw::raw("shop.label", "1", "burn").write(&*bed.store, &log).await;
    let error = log.replay().verify().await.unwrap_err();
    let told = "the event at position 2 is version 1 of shop.label.burn: there is no such action, and no route for it";
    assert_eq!((error.kind(), error.message()), (&ErrorKind::Replay { position: Position::new(2) }, told));
}

/// Its identities are made of a sensitive attribute, alone and with another one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Resource)]
#[resource(name = "shop.badge", actions(Hand), identities(by_place(door, code)))]
struct Badge {
    #[resource(id)]
    id: u64,
    door: String,
    #[resource(identity, sensitive)]
    code: Option<String>,
}

#[derive(Serialize, Deserialize, Action)]
#[action(create, resource = Badge)]
struct Hand {
    id: u64,
    code: Option<String>,
}

impl Create for Hand {
    fn create(self, _: &Context) -> Result<Badge, Rejection> {
        Ok(Badge { id: self.id, door: "front".to_owned(), code: self.code })
    }
}

async fn e7_verify_passes_over_identities_of_sensitive_attributes(bed: Bed) {
    let log = bed.bare().resource::<Badge>().start().await.unwrap();
    session(&log).create(Hand { id: 1, code: Some("s3cr3t".to_owned()) }).await.unwrap();
    assert_eq!(log.replay().verify().await.unwrap().to_string(), "1 records, 0 drifts");
}

/// One of eight: it writes a label of its own, which comes and goes, and the account that all of them write.
async fn write(log: Log, shared: Uuid, own: u64, rounds: u64) {
    let actor = session(&log);
    for round in 0..rounds {
        actor.create(Print { id: own, slot: Some(format!("{own}-{round}")) }).await.unwrap();
        actor.update(&shared, Deposit { amount: 1 }).await.unwrap();
        actor.update(&own, Stick { slot: Some(format!("{own}+{round}")) }).await.unwrap();
        actor.destroy(&own, Peel {}).await.unwrap();
    }
}

async fn verify_goes_on_while_8_writers_do(bed: Bed, rounds: u64) {
    let log = bed.log().await;
    let shared = session(&log).create(open("shared")).await.unwrap().id;
    let writers: Vec<_> = (1..=8).map(|own| tokio::spawn(write(log.clone(), shared, own, rounds))).collect();
    let mut verified = 0;
    while !writers.iter().all(tokio::task::JoinHandle::is_finished) || verified == 0 {
        let found = log.replay().verify().await.unwrap();
        assert!(found.drifts.is_empty(), "{found}");
        verified += 1;
    }
    for writer in writers {
        writer.await.unwrap();
    }
    let found = log.replay().verify().await.unwrap();
    assert_eq!(
        (found.to_string().as_str(), events(&log).await.len()),
        ("9 records, 0 drifts", 1 + 32 * rounds as usize)
    );
    assert_eq!(log.get::<Account>(&shared).await.unwrap().unwrap().balance, 8 * rounds as i64);
}

mod e7_verify_while_8_writers_go_on_finds_nothing {
    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn memory() {
        super::verify_goes_on_while_8_writers_do(crate::shop::Bed::memory(), 100).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn sled() {
        super::verify_goes_on_while_8_writers_do(crate::shop::Bed::sled().await, 25).await;
    }
}
