//! Bulk actions: one commit, one event each.

#![cfg(all(feature = "derive", feature = "memory", feature = "sled"))]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests")]

mod shop;

use std::sync::Arc;

use rekindle::{ErrorKind, Log, Rekindle};
use serde_json::json;
use shop::held::Held;
use shop::state::state;
use shop::*;
use uuid::Uuid;

on_each_backend![
    p14_bulk_actions_write_one_event_each_in_one_commit,
    p14_a_bulk_action_gives_its_records_in_order,
    p14_a_bulk_action_is_atomic_as_a_whole,
    p14_bulk_actions_that_are_ignored_write_no_event,
    p14_bulk_actions_replay_exactly,
    p14_a_bulk_action_of_nothing_commits_nothing,
    p14_a_bulk_action_over_the_limit_says_so_and_writes_nothing,
    p14_a_record_may_be_in_a_bulk_action_twice,
    e3_bulk_actions_that_meet_conflicts_lose_nothing,
    e11_a_bulk_action_records_those_that_changed,
];

/// A log on a store that counts commits.
async fn held(bed: &Bed) -> (Arc<Held>, Log) {
    let held = Held::around(&bed.store);
    let builder = Rekindle::on(Arc::clone(&held)).resource::<Account>().resource::<Label>();
    (held, builder.clock(Ticking::default()).start().await.unwrap())
}

fn prints(ids: impl IntoIterator<Item = u64>) -> impl Iterator<Item = Print> {
    ids.into_iter().map(|id| Print { id, slot: Some(format!("slot-{id}")) })
}

fn sticks(ids: impl IntoIterator<Item = u64>, text: &str) -> Vec<(u64, Stick)> {
    ids.into_iter().map(|id| (id, Stick { slot: Some(format!("{text}-{id}")) })).collect()
}

fn peels(ids: impl IntoIterator<Item = u64>) -> Vec<(u64, Peel)> {
    ids.into_iter().map(|id| (id, Peel {})).collect()
}

async fn p14_bulk_actions_write_one_event_each_in_one_commit(bed: Bed) {
    let (held, log) = held(&bed).await;
    let told = session(&log).with("import", 7);
    told.bulk_create(prints(1..=300)).await.unwrap();
    told.bulk_update(sticks(1..=300, "new")).await.unwrap();
    told.bulk_destroy(peels(1..=200)).await.unwrap();
    assert_eq!((held.batches(), held.commits.come_so_far()), (vec![1, 1, 1], 3));
    let events = events(&log).await;
    assert_eq!(events.len(), 800);
    for (event, n) in events.iter().zip(0..) {
        let (action, id, tick_no) = match n {
            0..300 => ("print", n + 1, 1),
            300..600 => ("stick", n - 299, 2),
            _ => ("peel", n - 599, 3),
        };
        assert_eq!((event.position.get(), event.action.as_str()), (n + 1, action));
        assert_eq!((event.record_id.as_str(), event.occurred_at), (id.to_string().as_str(), tick(tick_no)));
        assert_eq!(json(&event.metadata), json!({"import": 7}));
        assert_eq!(event.actor, events[0].actor);
    }
    assert_eq!(all::<Label>(&log).await.len(), 100);
    assert_eq!(log.find::<Label>("slot", "new-250").await.unwrap().unwrap().id, 250);
}

async fn p14_a_bulk_action_gives_its_records_in_order(bed: Bed) {
    let log = bed.log().await;
    let made = session(&log).bulk_create(prints([3, 1, 2])).await.unwrap();
    assert_eq!(made.iter().map(|label| label.id).collect::<Vec<_>>(), [3, 1, 2]);
    let changed = session(&log).bulk_update(sticks([2, 3, 1], "s")).await.unwrap();
    let slots: Vec<_> = changed.iter().map(|label| label.slot.as_deref().unwrap()).collect();
    assert_eq!(slots, ["s-2", "s-3", "s-1"]);
}

async fn p14_a_bulk_action_is_atomic_as_a_whole(bed: Bed) {
    let log = bed.log().await;
    session(&log).bulk_create(prints(1..=9)).await.unwrap();
    let before = (events(&log).await, state(&*bed.store, &log).await);
    let actor = session(&log);
    // The store refuses one of them.
    let error = actor.bulk_create(prints([10, 11, 5, 12])).await.unwrap_err();
    assert_eq!(error.message(), "shop.label/5 exists, at revision 1");
    let mut taken = sticks(1..=8, "new");
    taken.push((9, Stick { slot: slot("new-1") }));
    let error = actor.bulk_update(taken).await.unwrap_err();
    let told = r#"the identity shop.label.slot="new-1" belongs to "1""#;
    assert_eq!(error.message(), told);
    // One is not there.
    let error = actor.bulk_update(sticks([1, 2, 99, 3], "new")).await.unwrap_err();
    assert_eq!((error.kind(), error.message()), (&ErrorKind::NotFound, "shop.label/99 does not exist"));
    let error = actor.bulk_destroy(peels([1, 2, 99])).await.unwrap_err();
    assert_eq!((error.kind(), error.message()), (&ErrorKind::NotFound, "shop.label/99 does not exist"));
    // A body refuses one.
    let bad = Open { name: "x".to_owned(), email: "x".to_owned(), newsletter: false };
    let error = actor.bulk_create([open("ada"), bad, open("grace")]).await.unwrap_err();
    assert_eq!((error.kind(), error.message()), (&ErrorKind::Rejected, "an e-mail address has an @"));
    let error = actor.bulk_create([open("ada"), open("ADA")]).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::IdentityTaken { .. }), "{error}");
    assert_eq!((events(&log).await, state(&*bed.store, &log).await), before);
}

async fn p14_bulk_actions_that_are_ignored_write_no_event(bed: Bed) {
    let held = Held::around(&bed.store);
    let builder = Rekindle::on(Arc::clone(&held)).resource::<Label>();
    let log = builder.ignore_actions::<Label>(["print", "stick", "peel"]).start().await.unwrap();
    session(&log).bulk_create(prints(1..=500)).await.unwrap();
    session(&log).bulk_update(sticks(1..=500, "new")).await.unwrap();
    session(&log).bulk_destroy(peels(1..=400)).await.unwrap();
    assert_eq!((all::<Label>(&log).await.len(), held.batches()), (100, vec![1, 1, 1]));
    assert_eq!(log.find::<Label>("slot", "new-500").await.unwrap().unwrap().id, 500);
    assert!(events(&log).await.is_empty());
    // They are as atomic as all others.
    session(&log).bulk_create(prints([1000, 500])).await.unwrap_err();
    assert_eq!(log.get::<Label>(&1000).await.unwrap(), None);
}

async fn p14_bulk_actions_replay_exactly(bed: Bed) {
    let log = bed.log().await;
    session(&log).bulk_create(prints(1..=50)).await.unwrap();
    let names = (1..=20).map(|n| open(&format!("user-{n}")));
    let accounts = session(&log).bulk_create(names).await.unwrap();
    let deposits = accounts.iter().map(|account| (account.id, Deposit { amount: 3 }));
    session(&log).bulk_update(deposits).await.unwrap();
    session(&log).bulk_destroy(peels(1..=25)).await.unwrap();
    let live = state(&*bed.store, &log).await;
    assert_eq!(live.len(), 45);
    log.replay().workers(2).memory(1).await.unwrap();
    assert_eq!(state(&*bed.store, &log).await, live);
}

async fn p14_a_bulk_action_of_nothing_commits_nothing(bed: Bed) {
    let (held, log) = held(&bed).await;
    assert!(session(&log).bulk_create(Vec::<Print>::new()).await.unwrap().is_empty());
    assert!(session(&log).bulk_update(Vec::<(u64, Stick)>::new()).await.unwrap().is_empty());
    session(&log).bulk_destroy(Vec::<(Uuid, Close)>::new()).await.unwrap();
    assert!(held.batches().is_empty());
}

async fn p14_a_bulk_action_over_the_limit_says_so_and_writes_nothing(bed: Bed) {
    let log = bed.log().await;
    let error = session(&log).bulk_create((0..10_001).map(print)).await.unwrap_err();
    let told = "10001 changes in a commit; at most 10000 are allowed";
    assert_eq!((error.kind(), error.message()), (&ErrorKind::TooLarge, told));
    assert_eq!((events(&log).await.len(), all::<Label>(&log).await.len()), (0, 0));
    session(&log).bulk_create((0..10_000).map(print)).await.unwrap();
    assert_eq!(log.head().await.unwrap().position.get(), 10_000);
}

async fn p14_a_record_may_be_in_a_bulk_action_twice(bed: Bed) {
    let log = bed.log().await;
    let ada = session(&log).create(open("ada")).await.unwrap();
    let deposits = [1, 2, 3].map(|amount| (ada.id, Deposit { amount }));
    let balances = session(&log).bulk_update(deposits).await.unwrap();
    assert_eq!(balances.iter().map(|account| account.balance).collect::<Vec<_>>(), [1, 3, 6]);
    assert_eq!(events(&log).await.len(), 4);
    session(&log).create(print(1)).await.unwrap();
    let error = session(&log).bulk_destroy(peels([1, 1])).await.unwrap_err();
    assert_eq!((error.kind(), error.message()), (&ErrorKind::NotFound, "shop.label/1 does not exist"));
    let error = session(&log).bulk_create(prints([2, 2])).await.unwrap_err();
    assert_eq!(error.message(), "shop.label/2 was created before in this unit of work");
}

async fn e3_bulk_actions_that_meet_conflicts_lose_nothing(bed: Bed) {
    let log = bed.log().await;
    let names = (0..10).map(|n| open(&format!("user-{n}")));
    let ids: Vec<Uuid> = session(&log).bulk_create(names).await.unwrap().iter().map(|account| account.id).collect();
    let bulks = (0..8).map(|_| async {
        let deposits: Vec<_> = ids.iter().map(|id| (*id, Deposit { amount: 1 })).collect();
        session(&log).bulk_update(deposits).await
    });
    for outcome in futures::future::join_all(bulks).await {
        outcome.unwrap();
    }
    for account in all::<Account>(&log).await {
        assert_eq!(account.balance, 8);
    }
    assert_eq!(events(&log).await.len(), 10 + 8 * 10);
}

async fn e11_a_bulk_action_records_those_that_changed(bed: Bed) {
    let log = bed.log().await;
    session(&log).bulk_create(prints(1..=4)).await.unwrap();
    let updates = [1, 2, 3, 4].map(|id| (id, Stick { slot: Some(format!("slot-{}", if id == 3 { 33 } else { id })) }));
    assert_eq!(session(&log).bulk_update(updates).await.unwrap().len(), 4);
    let events = events(&log).await;
    assert_eq!((events.len(), events[4].record_id.as_str()), (5, "3"));
}
