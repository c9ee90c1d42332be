//! Futures that are dropped, and many at once.

use std::sync::Arc;

use rekindle_core::ErrorKind;
use rekindle_core::store::{EventStoreExt, LogState, Rebuild, RebuildMode, Store};
use rekindle_core::types::{EventQuery, LogId, Position};

use super::replay::lived_in;
use crate::fixture::Backend;
use crate::look::{Everything, events, fold, live, n, positions, put, rebuild, record, records};
use crate::sample::{commit, create, key, lock_of, log, note, set, state, tenant};

/// So many polls are enough to end each future of each backend that we know, or to come upon all its points of waiting.
pub(super) const POLLS: usize = 24;

/// Polls a future so many times, lets others run in between, and drops it. Gives what it gave, if it ended.
pub(super) async fn drop_after<T>(polls: usize, future: impl Future<Output = T>) -> Option<T> {
    let mut future = Box::pin(future);
    for _ in 0..polls {
        if let std::task::Poll::Ready(ended) = futures::poll!(&mut future) {
            return Some(ended);
        }
        tokio::task::yield_now().await;
    }
    None
}

/// All of a log, read while nothing happened to it: what was begun by a dropped future may still be under way.
pub(super) async fn settled(store: &dyn Store, log: &LogId) -> Everything {
    loop {
        let before = store.head(log).await.unwrap();
        let all = Everything::of(store, log).await;
        if store.head(log).await.unwrap() == before {
            return all;
        }
    }
}

/// A rebuild, once the one of a dropped future has ended.
async fn begin(store: &dyn Store) -> Rebuild {
    loop {
        match store.begin_rebuild(&log(), lock_of(&log()), RebuildMode::Shadow).await {
            Ok(rebuild) => return rebuild,
            Err(error) => assert_eq!(error.kind(), &ErrorKind::Rebuilding, "{error:?}"),
        }
        tokio::task::yield_now().await;
    }
}

pub(crate) async fn a_commit_dropped_at_any_poll_is_whole_or_absent(backend: Backend) {
    let store = backend.open().await.store;
    for polls in 0..POLLS {
        let log = tenant(&polls.to_string());
        let many = vec![create("a", 1), create("b", 1), note("x", 1), create("c", 1)];
        let batch = vec![commit(&log, many.clone()), commit(&log, vec![note("y", 1), note("y", 2)])];
        let answers = drop_after(polls, store.commit(batch.clone().into())).await;
        put(&*store, commit(&log, vec![note("z", 1)])).await;
        let all = settled(&*store, &log).await;
        let of = |id: &str| all.events.iter().filter(|event| event.record_id.as_str() == id).count();
        let (first, second) = (of("a") + of("b") + of("x") + of("c"), of("y"));
        assert!(first == 0 || first == 4, "after {polls} polls, {first} of 4 events are there");
        assert!(second == 0 || second == 2, "after {polls} polls, {second} of 2 events are there");
        assert_eq!(all.records.as_ref().unwrap().len(), if first == 0 { 0 } else { 3 }, "after {polls} polls");
        assert!(answers.is_none() || (first == 4 && second == 2), "an answered commit is not there");
        // Trying again with the same ids is safe, and tells.
        for answer in store.commit(batch.into()).await {
            answer.unwrap();
        }
        assert_eq!(events(&*store, &log).await.len(), 7);
        assert_eq!(records(&*store, &log).await.len(), 3);
    }
}

pub(crate) async fn an_event_commit_dropped_at_any_poll_is_whole_or_absent(backend: Backend) {
    let store = backend.open().await.store;
    for polls in 0..POLLS {
        let log = tenant(&polls.to_string());
        let many = commit(&log, vec![note("a", 1), note("a", 2), note("a", 3)]);
        drop_after(polls, store.commit_one(many.clone())).await;
        put(&*store, commit(&log, vec![note("z", 1)])).await;
        let there = events(&*store, &log).await.len() - 1;
        assert!(there == 0 || there == 3, "after {polls} polls, {there} of 3 events are there");
        put(&*store, many).await;
        assert_eq!(events(&*store, &log).await.len(), 4);
    }
}

pub(crate) async fn dropped_reads_leave_a_usable_store(backend: Backend) {
    let store = backend.open().await.store;
    put(&*store, commit(&log(), (0..50).map(|n| note("a", n)).collect())).await;
    let mut kept = Vec::new();
    for polls in 0..150 {
        drop_after(polls % 4, store.read(&log(), &EventQuery::new())).await;
        drop_after(polls % 4, store.head(&log())).await;
        drop_after(polls % 4, store.changed(&log(), Position::new(50))).await;
        if polls % 10 == 0 {
            let (store, id) = (Arc::clone(&store), log());
            let mut waiting = Box::pin(async move { store.changed(&id, Position::new(1_000)).await });
            // It may return early; most will wait.
            let _early = futures::poll!(&mut waiting);
            kept.push(waiting);
        }
    }
    assert_eq!(events(&*store, &log()).await.len(), 50);
    assert_eq!(positions(&put(&*store, commit(&log(), vec![note("a", 1)])).await), [51]);
}

pub(crate) async fn a_commit_dropped_while_it_waits_frees_the_lock(backend: Backend) {
    let store = backend.open().await.store;
    let running = store.begin_rebuild(&log(), lock_of(&log()), RebuildMode::Shadow).await.unwrap();
    for polls in 0..8 {
        let fence = store.fence(&running).await.unwrap();
        let waiting = drop_after(
            polls,
            store.commit([commit(&tenant("1"), vec![note("a", 1)]), commit(&log(), vec![note("a", 1)])].into()),
        )
        .await;
        assert!(waiting.is_none(), "a commit was made under a fence");
        drop(fence);
        put(&*store, commit(&tenant("1"), vec![note("b", 1)])).await;
        put(&*store, commit(&log(), vec![note("b", 1)])).await;
    }
    store.abandon_rebuild(running).await.unwrap();
}

pub(crate) async fn a_clear_dropped_at_any_poll_is_all_or_none(backend: Backend) {
    let store = backend.open().await.store;
    lived_in(&*store).await;
    let head = store.head(&log()).await.unwrap().position;
    let all = records(&*store, &log()).await;
    for polls in 0..POLLS {
        drop_after(polls, store.clear(&log(), lock_of(&log()))).await;
        drop(begin(&*store).await);
        let now = settled(&*store, &log()).await;
        let cleared = now.head.state == LogState::Rewound(Position::ZERO);
        assert_eq!(now.records.unwrap(), if cleared { Vec::new() } else { all.clone() }, "after {polls} polls");
        rebuild(&store, &log(), RebuildMode::Shadow, head).await;
    }
}

pub(crate) async fn a_rebuild_dropped_at_any_poll_leaves_one_generation_whole(backend: Backend) {
    let store = backend.open().await.store;
    lived_in(&*store).await;
    let all = events(&*store, &log()).await;
    let through = Position::new(all.len() as u64);
    for polls in 0..POLLS {
        put(&*store, commit(&tenant("1"), vec![note("a", 1)])).await;
        drop(drop_after(polls, store.begin_rebuild(&log(), lock_of(&log()), RebuildMode::Shadow)).await);
        let running = begin(&*store).await;
        let generation = running.generation();
        let loaded: Vec<_> = fold(&all).into_values().collect();
        drop_after(polls, store.load(&running, loaded.clone())).await;
        drop_after(polls, store.loaded(&running, &[key("0")])).await;
        store.load(&running, loaded.clone()).await.unwrap();
        let before = Everything::of(&*store, &log()).await;
        let fence = store.fence(&running).await.unwrap();
        drop_after(polls, store.finish_rebuild(running, fence, through)).await;
        let after = settled(&*store, &log()).await;
        assert!(after.head.generation == generation || after.head == before.head, "neither generation is in use");
        assert_eq!(
            after.records.unwrap(),
            fold(&all).values().filter_map(live).collect::<Vec<_>>(),
            "after {polls} polls"
        );
    }
    put(&*store, commit(&log(), vec![create("usable", 1)])).await;
}

pub(crate) async fn a_hundred_callers_are_all_served(backend: Backend) {
    let opened = backend.open().await;
    let handles = [Arc::clone(&opened.store), opened.other_handle().await];
    let callers = (0..100_u64).map(|caller| {
        let store = Arc::clone(&handles[(caller % 2) as usize]);
        tokio::spawn(async move {
            let one = put(&*store, commit(&log(), vec![note(&caller.to_string(), caller)])).await;
            let query = EventQuery::new().with_after(Position::new(one.events[0].position.get() - 1)).with_limit(1);
            let read = store.read(&log(), &query).await.unwrap().items;
            assert_eq!(read[0].record_id.as_str(), caller.to_string(), "a caller does not read what it wrote");
        })
    });
    for served in futures::future::join_all(callers).await {
        served.unwrap();
    }
    assert_eq!(events(&*handles[1], &log()).await.len(), 100);
}

pub(crate) async fn batches_over_several_keys_never_lock_up(backend: Backend) {
    let opened = backend.open().await;
    let handles = [Arc::clone(&opened.store), opened.other_handle().await];
    let callers = (0..16_usize).map(|caller| {
        let store = Arc::clone(&handles[caller % 2]);
        tokio::spawn(async move {
            for n in 0..6 {
                let mut logs = ["1", "2", "x", "00000001-ffff-ffff-8000-000000000000"].map(tenant);
                logs.rotate_left((caller + n) % 4);
                if caller % 2 == 0 {
                    logs.reverse();
                }
                let batch = logs.iter().map(|log| commit(log, vec![note("a", n as u64)])).collect();
                assert!(store.commit(batch).await.iter().all(Result::is_ok));
            }
        })
    });
    for ended in futures::future::join_all(callers).await {
        ended.unwrap();
    }
    for log in ["1", "2", "x", "00000001-ffff-ffff-8000-000000000000"].map(tenant) {
        assert_eq!(events(&*handles[0], &log).await.len(), 96);
    }
}

pub(crate) async fn two_handles_agree(backend: Backend) {
    let opened = backend.open().await;
    let handles = [Arc::clone(&opened.store), opened.other_handle().await];
    for n_th in 0..12_u64 {
        let (writer, reader) = (&handles[(n_th % 2) as usize], &handles[((n_th + 1) % 2) as usize]);
        let committed = put(&**writer, commit(&log(), vec![set("a", state(n_th))])).await;
        assert_eq!(positions(&committed), [n_th + 1]);
        assert_eq!(n(&**reader, &log(), "a").await, Some(n_th), "a handle does not see what the other has committed");
        assert_eq!(record(&**reader, &log(), "a").await, record(&**writer, &log(), "a").await);
        assert_eq!(Everything::of(&**reader, &log()).await, Everything::of(&**writer, &log()).await);
    }
    assert_eq!(handles[0].info(), handles[1].info());
}

pub(crate) async fn a_waiting_reader_is_woken_by_another_handle(backend: Backend) {
    let opened = backend.open().await;
    let (store, other) = (Arc::clone(&opened.store), opened.other_handle().await);
    for n in 0..10 {
        let waiting = tokio::spawn({
            let other = Arc::clone(&other);
            async move {
                while other.head(&log()).await.unwrap().position <= Position::new(n) {
                    other.changed(&log(), Position::new(n)).await.unwrap();
                }
            }
        });
        put(&*store, commit(&log(), vec![note("a", n)])).await;
        waiting.await.unwrap();
    }
}
