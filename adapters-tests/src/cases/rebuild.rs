//! A rebuild while it runs, how it ends, and its fence.

use std::sync::Arc;

use rekindle_core::ErrorKind;
use rekindle_core::store::{EventStoreExt, LoadedRecord, LogState, Rebuild, RebuildMode, Store};
use rekindle_core::types::{EventQuery, LockKey, Position, RecordQuery, Revision, WriteState};

use super::replay::lived_in;
use crate::fixture::Backend;
use crate::look::{
    Everything, assert_error, assert_waits, fold, live, n, number_in, put, rebuild, record, records, refused, stream,
};
use crate::sample::{
    accepting, commit, create, email_of, key, lock_of, log, note, owning, resource, set, state, tenant,
};

async fn begin(store: &Arc<dyn Store>, mode: RebuildMode) -> Rebuild {
    store.begin_rebuild(&log(), lock_of(&log()), mode).await.unwrap()
}

fn loaded(id: &str, revision: u64, state: Option<WriteState>) -> LoadedRecord {
    LoadedRecord { key: key(id), revision: Revision::new(revision), state }
}

async fn finish(store: &Arc<dyn Store>, rebuild: Rebuild) {
    let fence = store.fence(&rebuild).await.unwrap();
    let head = store.head(rebuild.log()).await.unwrap().position;
    store.finish_rebuild(rebuild, fence, head).await.unwrap();
}

pub(crate) async fn what_is_loaded_is_not_seen_before_the_end(backend: Backend) {
    let store = backend.open().await.store;
    lived_in(&*store).await;
    let before = Everything::of(&*store, &log()).await;
    let running = begin(&store, RebuildMode::Shadow).await;
    assert_eq!(Everything::of(&*store, &log()).await, before, "a shadow rebuild was seen when it began");
    store
        .load(&running, vec![loaded("0", 99, Some(owning(99, &["new"]))), loaded("new", 1, Some(state(1)))])
        .await
        .unwrap();
    assert_eq!(Everything::of(&*store, &log()).await, before, "what a rebuild loaded was seen before its end");
    assert_eq!(record(&*store, &log(), "new").await, None);
    assert_eq!(store.find(&log(), &email_of("new")).await.unwrap(), None);
    let generation = running.generation();
    finish(&store, running).await;
    assert_eq!(
        records(&*store, &log()).await.iter().map(number_in).collect::<Vec<_>>(),
        [99, 1],
        "the old records are gone"
    );
    assert_eq!(store.head(&log()).await.unwrap().generation, generation);
    assert!(store.find(&log(), &email_of("new")).await.unwrap().is_some());
    assert_eq!(store.find(&log(), &email_of("e")).await.unwrap(), None, "an identity outlived its generation");
}

pub(crate) async fn loaded_gives_what_was_loaded(backend: Backend) {
    let store = backend.open().await.store;
    lived_in(&*store).await;
    let running = begin(&store, RebuildMode::Shadow).await;
    let keys = ["a", "0", "gone"].map(key);
    assert_eq!(store.loaded(&running, &keys).await.unwrap(), [None, None, None], "a rebuild begins empty");
    let (one, gone) = (loaded("a", 3, Some(owning(1, &["x"]))), loaded("gone", 4, None));
    store.load(&running, vec![one.clone(), gone.clone()]).await.unwrap();
    assert_eq!(store.loaded(&running, &keys).await.unwrap(), [Some(one), None, Some(gone.clone())]);
    let again = loaded("a", 5, Some(state(2)));
    store.load(&running, vec![again.clone()]).await.unwrap();
    assert_eq!(store.loaded(&running, &keys).await.unwrap(), [Some(again), None, Some(gone)]);
    store.load(&running, Vec::new()).await.unwrap();
    finish(&store, running).await;
    assert_eq!(record(&*store, &log(), "gone").await, None);
    let made_again = put(&*store, commit(&log(), vec![create("gone", 1)])).await;
    assert_eq!(
        made_again.events[0].revision,
        Some(Revision::new(5)),
        "revisions go on from a destruction that was loaded"
    );
}

pub(crate) async fn an_identity_may_change_hands_between_loads(backend: Backend) {
    let store = backend.open().await.store;
    let running = begin(&store, RebuildMode::Shadow).await;
    let (a, b) = (
        |emails: &[&str]| loaded("a", 1, Some(owning(1, emails))),
        |emails: &[&str]| loaded("b", 1, Some(owning(2, emails))),
    );
    store.load(&running, vec![a(&["x"])]).await.unwrap();
    store.load(&running, vec![b(&["x"])]).await.unwrap();
    store.load(&running, vec![a(&["y"])]).await.unwrap();
    finish(&store, running).await;
    for (value, owner) in [("x", "b"), ("y", "a")] {
        let found = store.find(&log(), &email_of(value)).await.unwrap().unwrap();
        assert_eq!(found.key.id.as_str(), owner, "giving {value} up took it from whoever took it since");
    }
}

pub(crate) async fn commits_during_a_shadow_rebuild_are_in_the_result(backend: Backend) {
    let store = backend.open().await.store;
    lived_in(&*store).await;
    let running = begin(&store, RebuildMode::Shadow).await;
    let read = stream(&*store, &log(), EventQuery::new()).await;
    store.load(&running, fold(&read).into_values().collect()).await.unwrap();
    put(&*store, commit(&log(), vec![set("0", state(77)), create("during", 5)])).await;
    assert_eq!(
        (n(&*store, &log(), "0").await, n(&*store, &log(), "during").await),
        (Some(77), Some(5)),
        "a commit is seen at once"
    );
    let fence = store.fence(&running).await.unwrap();
    let new = stream(&*store, &log(), EventQuery::new().with_after(read.last().unwrap().position)).await;
    store.load(&running, fold(&new).into_values().collect()).await.unwrap();
    let through = new.last().unwrap().position;
    let mut before = Everything::of(&*store, &log()).await;
    store.finish_rebuild(running, fence, through).await.unwrap();
    let after = Everything::of(&*store, &log()).await;
    before.head.generation = after.head.generation;
    assert_eq!(after, before);
}

pub(crate) async fn a_reader_sees_one_generation(backend: Backend) {
    let opened = backend.open().await;
    let (store, reader) = (Arc::clone(&opened.store), opened.other_handle().await);
    put(&*store, commit(&log(), vec![create("a", 0), create("b", 0)])).await;
    let swapping = tokio::spawn(async move {
        for n in 1..=15 {
            let running = begin(&store, RebuildMode::Shadow).await;
            store.load(&running, vec![loaded("a", 1, Some(state(n)))]).await.unwrap();
            store.load(&running, vec![loaded("b", 1, Some(state(n)))]).await.unwrap();
            finish(&store, running).await;
        }
    });
    while !swapping.is_finished() {
        let both = reader.get(&log(), &[key("a"), key("b")]).await.unwrap();
        let both: Vec<_> = both.iter().map(|record| record.as_ref().map(number_in)).collect();
        assert!(both[0].is_some() && both[0] == both[1], "get saw two generations: {both:?}");
        let page = reader.list(&log(), &RecordQuery::new(resource())).await.unwrap().items;
        let page: Vec<u64> = page.iter().map(number_in).collect();
        assert!(page.len() == 2 && page[0] == page[1], "list saw two generations: {page:?}");
        tokio::task::yield_now().await;
    }
    swapping.await.unwrap();
    assert_eq!(n(&*reader, &log(), "a").await, Some(15));
}

pub(crate) async fn a_rebuild_in_place_refuses_reads_and_commits(backend: Backend) {
    let store = backend.open().await.store;
    lived_in(&*store).await;
    let running = begin(&store, RebuildMode::InPlace).await;
    assert_eq!(store.head(&log()).await.unwrap().state, LogState::Rebuilding);
    assert_refuses(&*store).await;
    assert_eq!(refused(&*store, accepting(commit(&log(), vec![note("x", 1)]), 0)).await.kind(), &ErrorKind::Rebuilding);
    store.load(&running, vec![loaded("a", 1, Some(state(1)))]).await.unwrap();
    assert_refuses(&*store).await;
    finish(&store, running).await;
    assert_eq!(records(&*store, &log()).await.iter().map(number_in).collect::<Vec<_>>(), [1]);
    put(&*store, commit(&log(), vec![create("b", 1)])).await;
}

async fn assert_refuses(store: &dyn Store) {
    let error = refused(store, commit(&log(), vec![note("x", 1)])).await;
    assert_error(&error, &ErrorKind::Rebuilding, "suite");
    assert!(error.is_retryable());
    assert_eq!(store.get(&log(), &[key("0")]).await.unwrap_err().kind(), &ErrorKind::Rebuilding);
    assert_eq!(store.list(&log(), &RecordQuery::new(resource())).await.unwrap_err().kind(), &ErrorKind::Rebuilding);
    assert_eq!(store.find(&log(), &email_of("e")).await.unwrap_err().kind(), &ErrorKind::Rebuilding);
}

pub(crate) async fn a_broken_off_shadow_rebuild_leaves_the_old_state(backend: Backend) {
    let store = backend.open().await.store;
    lived_in(&*store).await;
    let before = Everything::of(&*store, &log()).await;
    for abandon in [true, false] {
        let running = begin(&store, RebuildMode::Shadow).await;
        store.load(&running, vec![loaded("0", 99, Some(owning(99, &["new"])))]).await.unwrap();
        if abandon {
            store.abandon_rebuild(running).await.unwrap();
        } else {
            drop(running);
        }
        assert_eq!(Everything::of(&*store, &log()).await, before);
        let next = begin(&store, RebuildMode::Shadow).await;
        assert_eq!(
            store.loaded(&next, &[key("0")]).await.unwrap(),
            [None],
            "what an earlier rebuild loaded is in the next one"
        );
        store.abandon_rebuild(next).await.unwrap();
    }
    rebuild(&store, &log(), RebuildMode::Shadow, before.head.position).await;
    assert_eq!(Some(records(&*store, &log()).await), before.records);
}

pub(crate) async fn a_broken_off_rebuild_in_place_waits_for_another(backend: Backend) {
    let store = backend.open().await.store;
    lived_in(&*store).await;
    let before = Everything::of(&*store, &log()).await;
    for abandon in [true, false] {
        let running = begin(&store, RebuildMode::InPlace).await;
        store.load(&running, vec![loaded("0", 99, Some(state(99)))]).await.unwrap();
        if abandon {
            store.abandon_rebuild(running).await.unwrap();
        } else {
            drop(running);
        }
        assert_eq!(store.head(&log()).await.unwrap().state, LogState::Rebuilding);
        assert_refuses(&*store).await;
        let mode = if abandon { RebuildMode::Shadow } else { RebuildMode::InPlace };
        rebuild(&store, &log(), mode, before.head.position).await;
        assert_eq!(Some(records(&*store, &log()).await), before.records);
        assert_eq!(store.head(&log()).await.unwrap().state, LogState::Live);
    }
}

pub(crate) async fn a_second_rebuild_of_a_log_is_refused(backend: Backend) {
    let opened = backend.open().await;
    let (store, other) = (Arc::clone(&opened.store), opened.other_handle().await);
    lived_in(&*store).await;
    let running = begin(&store, RebuildMode::Shadow).await;
    store.load(&running, vec![loaded("a", 1, Some(state(1)))]).await.unwrap();
    for mode in [RebuildMode::Shadow, RebuildMode::InPlace] {
        let error = other.begin_rebuild(&log(), lock_of(&log()), mode).await.unwrap_err();
        assert_error(&error, &ErrorKind::Rebuilding, "suite");
    }
    let error = other.clear(&log(), lock_of(&log())).await.unwrap_err();
    assert_error(&error, &ErrorKind::Rebuilding, "suite");
    assert_eq!(store.head(&log()).await.unwrap().state, LogState::Live, "a refused rebuild in place cleared the log");
    assert!(record(&*store, &log(), "0").await.is_some(), "a refused rebuild in place cleared the log");
    let of_another = other.begin_rebuild(&tenant("1"), lock_of(&tenant("1")), RebuildMode::Shadow).await.unwrap();
    other.abandon_rebuild(of_another).await.unwrap();
    finish(&store, running).await;
    assert_eq!(n(&*store, &log(), "a").await, Some(1));
}

pub(crate) async fn a_rebuild_ends_at_the_head_or_below(backend: Backend) {
    let store = backend.open().await.store;
    lived_in(&*store).await;
    let before = Everything::of(&*store, &log()).await;
    let running = begin(&store, RebuildMode::Shadow).await;
    let fence = store.fence(&running).await.unwrap();
    let error = store.finish_rebuild(running, fence, before.head.position.next()).await.unwrap_err();
    assert_error(&error, &ErrorKind::Invalid, &before.head.position.next().to_string());
    assert_eq!(Everything::of(&*store, &log()).await, before, "the old generation is in use");
    rebuild(&store, &log(), RebuildMode::Shadow, before.head.position).await;
}

pub(crate) async fn a_rebuild_takes_the_fence_of_its_log_only(backend: Backend) {
    let store = backend.open().await.store;
    lived_in(&*store).await;
    let before = Everything::of(&*store, &log()).await;
    let running = begin(&store, RebuildMode::Shadow).await;
    let other = store.begin_rebuild(&tenant("1"), lock_of(&tenant("1")), RebuildMode::Shadow).await.unwrap();
    let fence = store.fence(&other).await.unwrap();
    let error = store.finish_rebuild(running, fence, before.head.position).await.unwrap_err();
    assert_error(&error, &ErrorKind::Conflict { actual: None }, "suite");
    assert_eq!(Everything::of(&*store, &log()).await, before, "a rebuild was swapped in without its log's lock");
}

pub(crate) async fn a_rebuild_that_is_over_is_refused(backend: Backend) {
    let store = backend.open().await.store;
    lived_in(&*store).await;
    let before = Everything::of(&*store, &log()).await;
    let ended = begin(&store, RebuildMode::Shadow).await;
    // Another that bears its name: all that is known of it from the outside, without the guard that it runs by.
    let over = Rebuild::new(log(), lock_of(&log()), ended.generation(), RebuildMode::Shadow, ());
    store.abandon_rebuild(ended).await.unwrap();
    let load = store.load(&over, vec![loaded("a", 1, Some(state(1)))]).await.unwrap_err();
    assert_error(&load, &ErrorKind::Conflict { actual: None }, "suite");
    assert_eq!(store.loaded(&over, &[key("a")]).await.unwrap_err().kind(), &ErrorKind::Conflict { actual: None });
    assert_eq!(store.fence(&over).await.unwrap_err().kind(), &ErrorKind::Conflict { actual: None });
    assert_eq!(Everything::of(&*store, &log()).await, before);
}

pub(crate) async fn a_fence_holds_commits_under_its_key(backend: Backend) {
    let opened = backend.open().await;
    let (store, other) = (Arc::clone(&opened.store), opened.other_handle().await);
    put(&*store, commit(&log(), vec![create("a", 1)])).await;
    let running = begin(&store, RebuildMode::Shadow).await;
    let fence = store.fence(&running).await.unwrap();
    // A key is a key in whatever log.
    let mut same_key = commit(&tenant("1"), vec![note("x", 1)]);
    same_key.lock = lock_of(&log());
    let mut waiting: Vec<_> = [
        (&store, commit(&log(), vec![note("x", 1)])),
        (&other, commit(&log(), vec![note("x", 2)])),
        (&other, same_key),
    ]
    .into_iter()
    .map(|(store, commit)| Box::pin(store.commit_one(commit)))
    .collect();
    for n in 0..20 {
        for waiting in &mut waiting {
            assert_waits(waiting).await;
        }
        // Another key is not held, and gives the waiting ones time to go wrong. It is no tenant's: a batch of another case,
        // in the same database, may hold that of a tenant while it waits for this fence.
        for (lock, log) in [(LockKey::One(i64::MIN + n), tenant("2")), (LockKey::Two(i32::MIN, 2), tenant("3"))] {
            let mut free = commit(&log, vec![note("x", 1)]);
            free.lock = lock;
            put(&*other, free).await;
        }
        assert_eq!(store.head(&log()).await.unwrap().position, Position::new(1), "a commit was made under a fence");
        assert_eq!(store.head(&tenant("1")).await.unwrap().position, Position::ZERO, "a commit was made under a fence");
    }
    drop(fence);
    for answer in futures::future::join_all(waiting).await {
        answer.unwrap();
    }
    assert_eq!(store.head(&log()).await.unwrap().position, Position::new(3));
    store.abandon_rebuild(running).await.unwrap();
}

pub(crate) async fn a_fence_frees_when_it_is_dropped_waiting_or_held(backend: Backend) {
    let store = backend.open().await.store;
    let running = begin(&store, RebuildMode::Shadow).await;
    for polls in 0..6 {
        let held = store.fence(&running).await.unwrap();
        let mut waiting = store.fence(&running);
        for _ in 0..polls {
            assert!(futures::poll!(&mut waiting).is_pending(), "two hold one lock");
        }
        drop(waiting);
        drop(held);
        put(&*store, commit(&log(), vec![note("x", 1)])).await;
    }
    let records = fold(&stream(&*store, &log(), EventQuery::new()).await);
    assert_eq!(records.values().filter_map(live).count(), 0);
    store.abandon_rebuild(running).await.unwrap();
}
