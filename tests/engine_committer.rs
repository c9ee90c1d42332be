//! The committer: group commit, the end of it, and lock keys.

#![cfg(all(feature = "derive", feature = "memory", feature = "sled"))]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests")]

mod shop;

use futures::{StreamExt, TryStreamExt};
use rekindle::types::LockKey;
use rekindle::{ErrorKind, EventQuery, Limits, Revision, Unit};
use shop::callers::{pair, start, waiting};
use shop::held::Held;
use shop::*;

on_each_backend![
    e5_callers_that_come_during_a_batch_are_the_next_one,
    e5_a_batch_is_no_larger_than_the_store_allows,
    e5_a_store_that_takes_two_batches_gets_half_of_the_commits_in_each,
    e5_a_hundred_and_twenty_eight_callers_all_succeed,
    e5_a_failing_commit_never_fails_its_neighbours,
    a_shutdown_makes_what_was_queued_and_takes_no_more,
    a_log_that_is_dropped_makes_what_was_queued,
    e12_two_tenants_do_not_wait_for_each_other,
    e12_commits_of_one_lock_key_never_overlap,
];

async fn e5_callers_that_come_during_a_batch_are_the_next_one(bed: Bed) {
    let store = Held::around(&bed.store);
    let log = start(&store, 4_096).await;
    let session = session(&log);
    store.commits.shut();
    let first = waiting([session.create(print(0))]);
    store.commits.come(1).await;
    let others = waiting((1..=100).map(|id| session.create(print(id))));
    assert_eq!((store.commits.come_so_far(), events(&log).await.len()), (1, 0));
    store.commits.open();
    for printed in first.await.into_iter().chain(others.await) {
        printed.unwrap();
    }
    assert_eq!(store.batches(), [1, 100]);
    let positions: Vec<_> = events(&log).await.iter().map(|event| event.position.get()).collect();
    assert_eq!(positions, (1..=101).collect::<Vec<_>>());
}

async fn e5_a_batch_is_no_larger_than_the_store_allows(bed: Bed) {
    let store = Held::with_limits(&bed.store, Limits::default().with_batch_commits(8));
    let log = start(&store, 4_096).await;
    let session = session(&log);
    store.commits.shut();
    let first = waiting([session.create(print(0))]);
    store.commits.come(1).await;
    let others = waiting((1..=20).map(|id| session.create(print(id))));
    store.commits.open();
    for printed in first.await.into_iter().chain(others.await) {
        printed.unwrap();
    }
    assert_eq!(store.batches(), [1, 8, 8, 4]);
}

async fn e5_a_store_that_takes_two_batches_gets_half_of_the_commits_in_each(bed: Bed) {
    let store = Held::with_batches_at_once(&bed.store, 2, 4);
    let log = start(&store, 4_096).await;
    let session = session(&log);
    store.commits.shut();
    let first = waiting([session.create(print(0))]);
    store.commits.come(1).await;
    let few = waiting((1..=3).map(|id| session.create(print(id))));
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(store.commits.come_so_far(), 1, "three commits are too few for a batch beside another");
    let others = waiting((4..=20).map(|id| session.create(print(id))));
    store.commits.come(2).await;
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(store.commits.come_so_far(), 2, "a third batch");
    store.commits.open();
    for printed in first.await.into_iter().chain(few.await).chain(others.await) {
        printed.unwrap();
    }
    let batches = store.batches();
    let mut held_up = [batches[0], batches[1]];
    held_up.sort_unstable();
    assert_eq!(held_up, [1, 11], "half of 21 beside the first");
    assert_eq!(batches.iter().sum::<usize>(), 21);
    let positions: Vec<_> = events(&log).await.iter().map(|event| event.position.get()).collect();
    assert_eq!(positions, (1..=21).collect::<Vec<_>>());
}

async fn e5_a_hundred_and_twenty_eight_callers_all_succeed(bed: Bed) {
    let store = Held::around(&bed.store);
    let log = start(&store, 4_096).await;
    let callers: Vec<_> = (0..128)
        .map(|id| {
            let session = session(&log);
            tokio::spawn(async move {
                for step in 0..4 {
                    pair(&session, 1_000 * id + 2 * step).await?;
                }
                Ok::<_, rekindle::Error>(())
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap().unwrap();
    }
    let events = events(&log).await;
    let positions: Vec<_> = events.iter().map(|event| event.position.get()).collect();
    assert_eq!(positions, (1..=1_024).collect::<Vec<_>>());
    for pair in events.chunks(2) {
        let id = |index: usize| pair[index].record_id.as_str().parse::<u64>().unwrap();
        assert_eq!(id(0) + 1, id(1), "the events of a commit stand side by side");
    }
    let batches = store.batches();
    assert_eq!(batches.iter().sum::<usize>(), 512);
    assert!(batches.len() < 512, "{batches:?}");
}

async fn e5_a_failing_commit_never_fails_its_neighbours(bed: Bed) {
    let store = Held::around(&bed.store);
    let log = start(&store, 4_096).await;
    let session = session(&log);
    session.create(Print { id: 1, slot: slot("a") }).await.unwrap();
    session.create(print(2)).await.unwrap();
    let begin = || session.begin().unwrap();
    let mut units: Vec<Unit> = (0..10).map(|_| begin()).collect();
    units[0].create(print(10)).await.unwrap();
    units[1].update(&1, Stick { slot: slot("stale") }).await.unwrap();
    units[2].create(print(11)).await.unwrap();
    units[3].create(print(1)).await.unwrap();
    units[4].create(Print { id: 12, slot: slot("b") }).await.unwrap();
    units[5].update(&2, Stick { slot: slot("gone") }).await.unwrap();
    units[6].create(print(13)).await.unwrap();
    units[7].create(print(14)).await.unwrap();
    units[7].create(print(13)).await.unwrap();
    units[8] = session.clone().with("long", "x".repeat(1 << 17)).begin().unwrap();
    units[8].create(print(15)).await.unwrap();
    units[9].create(print(16)).await.unwrap();
    session.update(&1, Stick { slot: slot("b") }).await.unwrap();
    session.destroy(&2, Peel {}).await.unwrap();
    let before = events(&log).await.len();
    let outcomes = waiting(units.into_iter().map(Unit::commit)).await;
    assert_eq!(store.batches().last(), Some(&10), "they were in one batch");
    let there = |revision| Revision::new(revision);
    let errors: Vec<_> =
        outcomes.iter().enumerate().filter_map(|(at, outcome)| Some((at, outcome.as_ref().err()?.kind()))).collect();
    let expected = [
        (1, &ErrorKind::Conflict { actual: Some(there(2)) }),
        (3, &ErrorKind::AlreadyExists { actual: there(2) }),
        (4, &ErrorKind::IdentityTaken { identity: "slot".to_owned(), owner: "1".to_owned() }),
        (5, &ErrorKind::NotFound),
        (7, &ErrorKind::AlreadyExists { actual: there(1) }),
        (8, &ErrorKind::TooLarge),
    ];
    assert_eq!(errors, expected);
    let made: Vec<_> = events(&log).await[before..].iter().map(|event| event.record_id.to_string()).collect();
    assert_eq!(made, ["10", "11", "13", "16"]);
    assert_eq!(log.get::<Label>(&14).await.unwrap(), None, "half of what failed");
}

async fn a_shutdown_makes_what_was_queued_and_takes_no_more(bed: Bed) {
    let store = Held::around(&bed.store);
    let log = start(&store, 4_096).await;
    let session = session(&log);
    store.commits.shut();
    let first = waiting([session.create(print(0))]);
    store.commits.come(1).await;
    let others = waiting((1..10).map(|id| session.create(print(id))));
    let shutdown = waiting([log.shutdown()]);
    let closed = "the log was shut down";
    is(&session.create(print(99)).await.unwrap_err(), &ErrorKind::Closed, closed);
    store.commits.open();
    shutdown.await.remove(0).unwrap();
    assert_eq!(events(&log).await.len(), 10, "it has waited for them");
    for printed in first.await.into_iter().chain(others.await) {
        printed.unwrap();
    }
    is(&session.update(&1, Stick { slot: slot("a") }).await.unwrap_err(), &ErrorKind::Closed, closed);
    is(&pair(&session, 20).await.unwrap_err(), &ErrorKind::Closed, closed);
    is(&log.tenant("7").unwrap().as_system("x").create(print(1)).await.unwrap_err(), &ErrorKind::Closed, closed);
    log.shutdown().await.unwrap();
    assert_eq!(log.get::<Label>(&9).await.unwrap(), Some(Label { id: 9, slot: None }), "reads go on");
    let again = start(&store, 1).await;
    again.as_system("x").create(print(99)).await.unwrap();
}

async fn a_log_that_is_dropped_makes_what_was_queued(bed: Bed) {
    let store = Held::around(&bed.store);
    store.commits.shut();
    let callers = {
        let log = start(&store, 4_096).await;
        let session = session(&log);
        let mut units = [session.begin().unwrap(), session.begin().unwrap()];
        units[0].create(print(1)).await.unwrap();
        units[1].create(print(2)).await.unwrap();
        waiting(units.map(Unit::commit))
    };
    drop(callers);
    store.commits.open();
    let log = start(&store, 1).await;
    let events: Vec<_> = log.tail(EventQuery::new()).take(2).try_collect().await.unwrap();
    assert_eq!(events.iter().map(|event| event.record_id.as_str()).collect::<Vec<_>>(), ["1", "2"]);
}

async fn e12_two_tenants_do_not_wait_for_each_other(bed: Bed) {
    let store = Held::around(&bed.store);
    let log = start(&store, 4_096).await;
    let [one, other] = ["1", "2"].map(|tenant| log.tenant(tenant).unwrap());
    *store.only.lock().unwrap() = Some(LockKey::One(1));
    store.commits.shut();
    let slow = session(&one);
    let held = waiting([slow.create(print(1))]);
    store.commits.come(1).await;
    let held_too = waiting([slow.create(print(2))]);
    for log in [&other, &log] {
        session(log).create(print(1)).await.unwrap();
        session(log).update(&1, Stick { slot: slot("a") }).await.unwrap();
        assert_eq!(actions(log).await, ["print", "stick"]);
    }
    assert_eq!((events(&one).await.len(), store.commits.come_so_far()), (0, 1));
    store.commits.open();
    for printed in held.await.into_iter().chain(held_too.await) {
        printed.unwrap();
    }
    assert_eq!(actions(&one).await, ["print", "print"]);
}

/// Two tenants whose texts are one integer have one lock key.
async fn e12_commits_of_one_lock_key_never_overlap(bed: Bed) {
    let store = Held::around(&bed.store);
    let log = start(&store, 4_096).await;
    let [one, other] = ["7", "07"].map(|tenant| session(&log.tenant(tenant).unwrap()));
    store.commits.shut();
    let first = waiting([one.create(print(1))]);
    store.commits.come(1).await;
    let second = waiting([other.create(print(1))]);
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(store.commits.come_so_far(), 1);
    store.commits.open();
    first.await.remove(0).unwrap();
    second.await.remove(0).unwrap();
    assert_eq!(store.batches(), [1, 1]);
}
