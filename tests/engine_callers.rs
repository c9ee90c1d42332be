//! Callers of a log that wait for a place in its queue, and callers that go away.

#![cfg(all(feature = "derive", feature = "memory", feature = "sled"))]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests")]

mod shop;

use std::collections::HashSet;
use std::sync::Arc;

use rekindle::types::Committed;
use rekindle::{Limits, Log, Result};
use shop::callers::{pair, start, waiting};
use shop::held::Held;
use shop::*;
use tokio::task::JoinHandle;

on_each_backend![
    e5_a_caller_that_goes_away_before_it_has_a_place_leaves_nothing,
    e5_a_caller_that_goes_away_during_its_batch_leaves_all_of_it,
    e5_a_caller_that_goes_away_at_any_time_leaves_all_or_nothing,
    a_full_queue_makes_callers_wait_and_fails_none,
    a_full_queue_takes_no_more_than_it_has_places,
    a_shutdown_makes_what_waited_for_a_place,
];

/// A store whose batches are of one commit: with a queue of 1, one commit is under way, four are taken up, and one waits.
fn narrow(bed: &Bed) -> Arc<Held> {
    Held::with_limits(&bed.store, Limits::default().with_batch_commits(1))
}

const UNDER_WAY_TAKEN_UP_AND_WAITING: usize = 1 + 4 + 1;

/// Callers in tasks of their own, more than there are places; as many have one as can.
async fn crowd(log: &Log, store: &Held) -> Vec<JoinHandle<Result<Committed>>> {
    store.commits.shut();
    let callers = (0..40).map(|id| {
        let session = session(log);
        tokio::spawn(async move { pair(&session, 10 * id).await })
    });
    let callers = callers.collect();
    store.commits.come(1).await;
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    callers
}

async fn ids(log: &Log) -> HashSet<String> {
    events(log).await.iter().map(|event| event.record_id.to_string()).collect()
}

async fn e5_a_caller_that_goes_away_before_it_has_a_place_leaves_nothing(bed: Bed) {
    let store = narrow(&bed);
    let log = start(&store, 1).await;
    let crowd = crowd(&log, &store).await;
    let session = session(&log);
    let (goes, stays) = (waiting([pair(&session, 1_000)]), waiting([pair(&session, 2_000)]));
    drop(goes);
    store.commits.open();
    stays.await.remove(0).unwrap();
    for caller in crowd {
        caller.await.unwrap().unwrap();
    }
    let ids = ids(&log).await;
    assert_eq!(["1000", "1001", "2000", "2001"].map(|id| ids.contains(id)), [false, false, true, true]);
}

async fn e5_a_caller_that_goes_away_during_its_batch_leaves_all_of_it(bed: Bed) {
    let store = Held::around(&bed.store);
    let log = start(&store, 4_096).await;
    let session = session(&log);
    store.commits.shut();
    let under_way = waiting([pair(&session, 1)]);
    store.commits.come(1).await;
    let queued = waiting([pair(&session, 3)]);
    drop((under_way, queued));
    store.commits.open();
    session.create(print(5)).await.unwrap();
    let ids: Vec<_> = events(&log).await.iter().map(|event| event.record_id.to_string()).collect();
    assert_eq!(ids, ["1", "2", "3", "4", "5"]);
}

async fn e5_a_caller_that_goes_away_at_any_time_leaves_all_or_nothing(bed: Bed) {
    let log = start(&Held::around(&bed.store), 1).await;
    let session = session(&log);
    for polls in 0..20 {
        let mut caller = Box::pin(pair(&session, 10 * polls));
        for _ in 0..polls {
            if futures::poll!(&mut caller).is_ready() {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(caller);
        session.create(print(10 * polls + 5)).await.unwrap();
    }
    let ids = ids(&log).await;
    let whole = |id: u64| [id, id + 1].map(|id| ids.contains(&id.to_string()));
    assert_eq!(whole(0), [false, false], "it was never polled");
    assert_eq!(whole(190), [true, true]);
    for polls in 0..20 {
        let [one, other] = whole(10 * polls);
        assert_eq!(one, other, "dropped after {polls} polls");
    }
}

async fn a_full_queue_makes_callers_wait_and_fails_none(bed: Bed) {
    let store = narrow(&bed);
    let log = start(&store, 1).await;
    let crowd = crowd(&log, &store).await;
    assert!(crowd.iter().all(|caller| !caller.is_finished()));
    assert_eq!((store.commits.come_so_far(), events(&log).await.len()), (1, 0));
    store.commits.open();
    for caller in crowd {
        assert_eq!(caller.await.unwrap().unwrap().events.len(), 2);
    }
    assert_eq!(store.batches(), [1; 40]);
    assert_eq!(ids(&log).await.len(), 80);
}

async fn a_full_queue_takes_no_more_than_it_has_places(bed: Bed) {
    let store = narrow(&bed);
    let log = start(&store, 1).await;
    for caller in crowd(&log, &store).await {
        caller.abort();
        assert!(caller.await.unwrap_err().is_cancelled());
    }
    store.commits.open();
    session(&log).create(print(1_000)).await.unwrap();
    let left = events(&log).await.len() - 1;
    assert!(left <= 2 * UNDER_WAY_TAKEN_UP_AND_WAITING, "{left} events of callers that all went away");
    assert_eq!(left % 2, 0);
}

async fn a_shutdown_makes_what_waited_for_a_place(bed: Bed) {
    let store = narrow(&bed);
    let log = start(&store, 1).await;
    let crowd = crowd(&log, &store).await;
    let shutdown = waiting([log.shutdown()]);
    store.commits.open();
    shutdown.await.remove(0).unwrap();
    assert_eq!(ids(&log).await.len(), 80);
    for caller in crowd {
        caller.await.unwrap().unwrap();
    }
}
