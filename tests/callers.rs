//! Many callers at once, none of whom holds the others up; and backends of one's own.

#![cfg(all(feature = "derive", feature = "memory", feature = "sled"))]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests")]

mod shop;

use std::sync::Arc;

use async_trait::async_trait;
use rekindle::types::Committed;
use rekindle::{Call, ErrorKind, Hook, Limits, NextTransaction, Position, Rekindle, Transaction, Unit};
use shop::bent::Bent;
use shop::held::Held;
use shop::state::state;
use shop::*;
use tokio::sync::Notify;

on_each_backend![
    e5_many_callers_share_one_batch_of_the_store,
    e5_a_caller_that_fails_does_not_fail_those_of_its_batch,
    e6_the_engine_runs_on_a_backend_of_ones_own,
    e12_a_slow_hook_of_an_action_holds_nobody_up,
    e12_a_slow_hook_around_a_commit_holds_nobody_up,
];

async fn e5_many_callers_share_one_batch_of_the_store(bed: Bed) {
    let held = Held::with_limits(&bed.store, Limits::default().with_batch_commits(100));
    let log = Rekindle::on(Arc::clone(&held)).resource::<Label>().start().await.unwrap();
    held.commits.shut();
    let callers = futures::future::join_all((0..201).map(|id| {
        let session = session(&log);
        async move { session.create(print(id)).await }
    }));
    let opened = async {
        held.commits.come(1).await;
        // Behind the one batch that is held up, all others have handed theirs over by the time that it goes on.
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
        }
        held.commits.open();
    };
    let (outcomes, ()) = futures::join!(callers, opened);
    assert!(outcomes.iter().all(Result::is_ok));
    let batches = held.batches();
    assert_eq!(batches.iter().sum::<usize>(), 201);
    assert!(batches.len() <= 4 && batches.contains(&100), "{batches:?}");
    assert_eq!(events(&log).await.len(), 201);
}

async fn e5_a_caller_that_fails_does_not_fail_those_of_its_batch(bed: Bed) {
    let held = Held::around(&bed.store);
    let log = Rekindle::on(Arc::clone(&held)).resource::<Label>().start().await.unwrap();
    session(&log).create(print(5)).await.unwrap();
    let session = session(&log);
    let outcomes = futures::future::join_all((0..10).map(|id| session.create(print(id)))).await;
    let failed: Vec<_> = outcomes.iter().enumerate().filter(|(_, outcome)| outcome.is_err()).collect();
    assert_eq!((failed.len(), failed[0].0), (1, 5));
    assert!(matches!(failed[0].1.as_ref().unwrap_err().kind(), ErrorKind::AlreadyExists { .. }));
    assert_eq!(held.batches(), [1, 10]);
    assert_eq!((events(&log).await.len(), log.head().await.unwrap().position), (10, Position::new(10)));
}

async fn e6_the_engine_runs_on_a_backend_of_ones_own(bed: Bed) {
    let own = Bent::around(&bed.store);
    let log = Rekindle::on(own).resource::<Account>().resource::<Label>().start().await.unwrap();
    let ada = session(&log).create(open("ada")).await.unwrap();
    session(&log).update(&ada.id, Deposit { amount: 5 }).await.unwrap();
    session(&log).bulk_create((1..=3).map(print)).await.unwrap();
    session(&log).destroy(&2, Peel {}).await.unwrap();
    let live = state(&*bed.store, &log).await;
    log.replay().await.unwrap();
    assert_eq!((state(&*bed.store, &log).await, live.len()), (live, 3));
    assert_eq!(log.find::<Account>("email", "ada@example.org").await.unwrap().unwrap().balance, 5);
    assert!(log.replay().verify().await.unwrap().drifts.is_empty());
}

/// Waits where it is told to, for those with an id of 100 and more.
#[derive(Clone)]
struct Slow {
    /// Around the commit, not before the action.
    around_commit: bool,
    waits: Arc<Notify>,
    goes_on: Arc<Notify>,
}

impl Slow {
    fn new(around_commit: bool) -> Self {
        Self { around_commit, waits: Arc::default(), goes_on: Arc::default() }
    }

    async fn pass(&self, call: &Call) -> rekindle::Result<()> {
        if call.input::<Print>()?.is_some_and(|input| input.id >= 100) {
            self.waits.notify_one();
            self.goes_on.notified().await;
        }
        Ok(())
    }
}

#[async_trait]
impl Hook for Slow {
    async fn before_action(&self, _: &mut Unit, call: &Call) -> rekindle::Result<()> {
        if self.around_commit { Ok(()) } else { self.pass(call).await }
    }

    async fn around_transaction(
        &self,
        transaction: &Transaction,
        next: NextTransaction<'_>,
    ) -> rekindle::Result<Committed> {
        if self.around_commit {
            self.pass(&transaction.calls[0]).await?;
        }
        next.run().await
    }
}

async fn a_slow_hook_holds_nobody_up(bed: Bed, slow: Slow) {
    let log = bed.builder().hook(slow.clone()).start().await.unwrap();
    let held_up = async { session(&log).create(print(100)).await.unwrap() };
    let others = async {
        slow.waits.notified().await;
        for id in 1..=20 {
            session(&log).create(print(id)).await.unwrap();
        }
        log.replay().await.unwrap();
        assert_eq!(events(&log).await.len(), 20, "all others are done, and it still waits");
        slow.goes_on.notify_one();
    };
    let (label, ()) = futures::join!(held_up, others);
    assert_eq!((label.id, events(&log).await.len()), (100, 21));
}

async fn e12_a_slow_hook_of_an_action_holds_nobody_up(bed: Bed) {
    a_slow_hook_holds_nobody_up(bed, Slow::new(false)).await;
}

async fn e12_a_slow_hook_around_a_commit_holds_nobody_up(bed: Bed) {
    a_slow_hook_holds_nobody_up(bed, Slow::new(true)).await;
}
