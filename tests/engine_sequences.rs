//! Long and mixed sequences: a replay brings back what they left, whatever they were.

#![cfg(all(feature = "derive", feature = "memory", feature = "sled"))]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests")]

mod shop;

use std::collections::BTreeMap;

use async_trait::async_trait;
use rekindle::{Call, ErrorKind, Hook, Json, Limits, Log, Position, Rekindle, Result, Unit};
use shop::held::Held;
use shop::state::{State, state};
use shop::*;

on_each_backend![
    p30_related_records_are_rebuilt_from_their_own_events_and_never_twice,
    p32_destroying_and_creating_again_replays_exactly,
    p32_identities_that_were_swapped_and_handed_on_replay_exactly,
    p32_random_sequences_replay_exactly_whatever_the_workers_and_the_windows,
];

/// Each new account gets a label, and a label that is peeled with it.
struct Labelling;

#[async_trait]
impl Hook for Labelling {
    async fn after_action(&self, unit: &mut Unit, call: &Call, record: Option<&Json>) -> Result<()> {
        if call.action == "open" {
            let account: Account = record.unwrap().to_value()?;
            unit.create(Print { id: account.name.len() as u64, slot: Some(account.name) }).await?;
        }
        Ok(())
    }
}

async fn p30_related_records_are_rebuilt_from_their_own_events_and_never_twice(bed: Bed) {
    // As arguments, the body of the action that the hook hangs on is run by the replay.
    let log = bed.builder().hook(Labelling).replay_as_arguments::<Open>().start().await.unwrap();
    session(&log).create(open("ada")).await.unwrap();
    session(&log).create(open("grace")).await.unwrap();
    session(&log).destroy(&3, Peel {}).await.unwrap();
    let (before, live) = (events(&log).await, state(&*bed.store, &log).await);
    assert_eq!((before.len(), live.len()), (5, 3));
    let replayed = log.replay().await.unwrap();
    assert_eq!((replayed.events, replayed.records), (5, 4));
    assert_eq!((events(&log).await, state(&*bed.store, &log).await), (before, live));
    assert_eq!(all::<Label>(&log).await, [Label { id: 5, slot: slot("grace") }]);
}

async fn p32_destroying_and_creating_again_replays_exactly(bed: Bed) {
    let log = bed.log().await;
    for round in 1..=4 {
        session(&log).create(Print { id: 1, slot: Some(format!("round-{round}")) }).await.unwrap();
        session(&log).update(&1, Stick { slot: slot("x") }).await.unwrap();
        if round < 4 {
            session(&log).destroy(&1, Peel {}).await.unwrap();
        }
    }
    let live = state(&*bed.store, &log).await;
    assert_eq!(live["shop.label/1"].revision, 11);
    log.replay().await.unwrap();
    assert_eq!(state(&*bed.store, &log).await, live);
    // A record that a replay ended at destroyed goes on with its revisions too.
    log.replay().until_position(9).await.unwrap();
    session(&log).accept_rewound(Position::new(9)).await.unwrap();
    session(&log).create(print(1)).await.unwrap();
    assert_eq!(state(&*bed.store, &log).await["shop.label/1"].revision, 10);
}

async fn p32_identities_that_were_swapped_and_handed_on_replay_exactly(bed: Bed) {
    let held = Held::with_limits(&bed.store, Limits::default().with_page_rows(1));
    let log = Rekindle::on(held).resource::<Account>().resource::<Label>().start().await.unwrap();
    session(&log).create(Print { id: 1, slot: slot("a") }).await.unwrap();
    session(&log).create(Print { id: 2, slot: slot("b") }).await.unwrap();
    let mut unit = session(&log).begin().unwrap();
    unit.update(&1, Stick { slot: slot("b") }).await.unwrap();
    unit.update(&2, Stick { slot: slot("a") }).await.unwrap();
    unit.commit().await.unwrap();
    session(&log).destroy(&1, Peel {}).await.unwrap();
    session(&log).create(Print { id: 3, slot: slot("b") }).await.unwrap();
    let live = state(&*bed.store, &log).await;
    for workers in 1..=3 {
        for memory in [0, usize::MAX] {
            log.replay().workers(workers).memory(memory).await.unwrap();
            assert_eq!(state(&*bed.store, &log).await, live);
            assert_eq!(log.find::<Label>("slot", "a").await.unwrap().unwrap().id, 2);
            assert_eq!(log.find::<Label>("slot", "b").await.unwrap().unwrap().id, 3);
        }
    }
    let error = session(&log).create(Print { id: 4, slot: slot("a") }).await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::IdentityTaken { identity: "slot".to_owned(), owner: "2".to_owned() });
}

/// A generator of numbers that are the same each time (the constants of Knuth's MMIX).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// The labels as the test itself keeps them.
type Labels = BTreeMap<u64, Option<String>>;

/// One random action, of one or two parts; the model has it if the log took it.
async fn act(numbers: &mut Numbers, log: &Log, labels: &mut Labels) {
    let mut unit = session(log).begin().unwrap();
    let mut after = labels.clone();
    for _ in 0..=numbers.below(2) {
        let id = numbers.below(6);
        let slot = [None, slot("a"), slot("b"), slot("c")][usize::try_from(numbers.below(4)).unwrap()].clone();
        let there = after.contains_key(&id);
        let done = match numbers.below(4) {
            0..=2 if !there => unit.create(Print { id, slot: slot.clone() }).await.map(|_| Some(slot)),
            3 => unit.destroy(&id, Peel {}).await.map(|()| None),
            _ => unit.update(&id, Stick { slot: slot.clone() }).await.map(|_| Some(slot)),
        };
        match done {
            Ok(Some(slot)) => drop(after.insert(id, slot)),
            Ok(None) => drop(after.remove(&id)),
            Err(error) => {
                assert_eq!((error.kind(), there), (&ErrorKind::NotFound, false));
                return;
            }
        }
    }
    let owned: Vec<&String> = after.values().flatten().collect();
    let unique = owned.iter().all(|slot| owned.iter().filter(|other| other == &slot).count() == 1);
    match unit.commit().await {
        Ok(_) => {
            assert!(unique);
            *labels = after;
        }
        Err(error) => {
            assert!(!unique && matches!(error.kind(), ErrorKind::IdentityTaken { .. }), "{error}");
        }
    }
}

async fn p32_random_sequences_replay_exactly_whatever_the_workers_and_the_windows(bed: Bed) {
    let held = Held::with_limits(&bed.store, Limits::default().with_page_rows(5));
    let log = Rekindle::on(held).resource::<Account>().resource::<Label>().start().await.unwrap();
    for seed in 1..=5 {
        let log = log.tenant(format!("seed-{seed}")).unwrap();
        let (mut numbers, mut labels) = (Numbers(seed), Labels::new());
        let mut states: Vec<(u64, State)> = vec![(0, State::new())];
        for _ in 0..160 {
            act(&mut numbers, &log, &mut labels).await;
            states.push((log.head().await.unwrap().position.get(), state(&*bed.store, &log).await));
        }
        let (last, live) = states.last().unwrap();
        let known: Labels = all::<Label>(&log).await.into_iter().map(|label| (label.id, label.slot)).collect();
        assert_eq!((&known, *last > 60), (&labels, true), "seed {seed}");
        for workers in 1..=4 {
            for memory in [0, 3_000, usize::MAX] {
                log.replay().workers(workers).memory(memory).await.unwrap();
                assert_eq!(&state(&*bed.store, &log).await, live, "seed {seed}, {workers} workers, {memory} bytes");
            }
        }
        for _ in 0..5 {
            let (position, then) = &states[usize::try_from(numbers.below(161)).unwrap()];
            log.replay().memory(0).until_position(*position).await.unwrap();
            assert_eq!(&state(&*bed.store, &log).await, then, "seed {seed}, position {position}");
            for id in 0..6 {
                let past = log.as_of(Position::new(*position)).get::<Label>(&id).await.unwrap();
                assert_eq!(past, log.get::<Label>(&id).await.unwrap(), "seed {seed}, position {position}, label {id}");
            }
        }
    }
}
