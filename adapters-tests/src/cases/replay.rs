//! Clearing, and replaying into a rebuild.

use std::sync::Arc;

use rekindle_core::ErrorKind;
use rekindle_core::store::{LogState, RebuildMode, Store};
use rekindle_core::types::{Position, RecordKey, Revision};

use crate::fixture::Backend;
use crate::look::{Everything, assert_error, events, fold, live, n, positions, put, rebuild, record, records, refused};
use crate::sample::{
    accepting, commit, create, destroy, email_of, lock_of, log, note, owning, set, state, tenant, update,
};

/// A log of 30 events: records that are written again, destroyed, made again, and that pass identities on.
pub(crate) async fn lived_in(store: &dyn Store) {
    for n in 0..10 {
        let id = (n % 4).to_string();
        put(store, commit(&log(), vec![set(&id, state(n)), note("x", n)])).await;
        let (holder, other) = if n % 2 == 0 { ("h", "i") } else { ("i", "h") };
        let last = if n == 6 { destroy(&id) } else { set(holder, owning(n, &["e"])) };
        put(store, commit(&log(), if n == 6 { vec![last] } else { vec![last, silent(other)] })).await;
    }
}

/// Gives the e-mail address up, with an event.
fn silent(id: &str) -> rekindle_core::types::Change {
    set(id, state(0))
}

pub(crate) async fn clear_removes_its_log_only(backend: Backend) {
    let store = backend.open().await.store;
    let other = rekindle_core::types::LogId::new("other").unwrap();
    for log in [&log(), &tenant("1"), &tenant("2"), &other] {
        put(&*store, commit(log, vec![set("a", owning(1, &["x"])), create("b", 2), create("c", 3)])).await;
    }
    put(&*store, commit(&tenant("1"), vec![destroy("b")])).await;
    let mut others = Vec::new();
    for log in [&log(), &tenant("2"), &other] {
        others.push(Everything::of(&*store, log).await);
    }
    assert_eq!(
        store.clear(&tenant("1"), lock_of(&tenant("1"))).await.unwrap(),
        2,
        "the number of records that were there"
    );
    assert_eq!(records(&*store, &tenant("1")).await, []);
    assert_eq!(store.find(&tenant("1"), &email_of("x")).await.unwrap(), None);
    for (log, before) in [&log(), &tenant("2"), &other].into_iter().zip(others) {
        assert_eq!(Everything::of(&*store, log).await, before, "clearing another log changed {log:?}");
        assert!(
            store.find(log, &email_of("x")).await.unwrap().is_some(),
            "clearing another log freed an identity of {log:?}"
        );
    }
}

pub(crate) async fn clear_leaves_the_events(backend: Backend) {
    let store = backend.open().await.store;
    lived_in(&*store).await;
    let before = events(&*store, &log()).await;
    assert!(store.clear(&log(), lock_of(&log())).await.unwrap() > 0);
    assert_eq!(events(&*store, &log()).await, before);
    assert_eq!(store.clear(&log(), lock_of(&log())).await.unwrap(), 0);
}

pub(crate) async fn a_cleared_log_is_rewound_to_0(backend: Backend) {
    let store = backend.open().await.store;
    lived_in(&*store).await;
    store.clear(&log(), lock_of(&log())).await.unwrap();
    assert_eq!(store.head(&log()).await.unwrap().state, LogState::Rewound(Position::ZERO));
    let error = refused(&*store, commit(&log(), vec![create("new", 1)])).await;
    assert_error(&error, &ErrorKind::Rewound { at: Position::ZERO }, "suite");
    assert!(!error.is_retryable());
}

pub(crate) async fn clear_of_a_log_without_events_leaves_it_live(backend: Backend) {
    let store = backend.open().await.store;
    assert_eq!(store.clear(&log(), lock_of(&log())).await.unwrap(), 0);
    let silent = rekindle_core::types::Change { event: None, ..create("a", 1) };
    put(&*store, commit(&log(), vec![silent])).await;
    assert_eq!(store.clear(&log(), lock_of(&log())).await.unwrap(), 1);
    assert_eq!(store.head(&log()).await.unwrap().state, LogState::Live);
    assert_eq!(positions(&put(&*store, commit(&log(), vec![create("a", 1)])).await), [1]);
}

pub(crate) async fn positions_are_never_reused(backend: Backend) {
    let store = backend.open().await.store;
    for round in 0..3 {
        assert_eq!(positions(&put(&*store, commit(&log(), vec![set("a", state(round))])).await), [2 * round + 1]);
        store.clear(&log(), lock_of(&log())).await.unwrap();
        let taken = put(&*store, accepting(commit(&log(), vec![set("b", state(round))]), 0)).await;
        assert_eq!(positions(&taken), [2 * round + 2]);
        rebuild(&store, &log(), RebuildMode::Shadow, Position::new(2 * round + 2)).await;
    }
}

async fn rebuilds_the_same(backend: Backend, mode: RebuildMode) {
    let opened = backend.open().await;
    let (store, reader) = (Arc::clone(&opened.store), opened.other_handle().await);
    lived_in(&*store).await;
    let mut before = Everything::of(&*store, &log()).await;
    let owner = store.find(&log(), &email_of("e")).await.unwrap();
    assert!(owner.is_some());
    for _ in 0..3 {
        rebuild(&store, &log(), mode, before.head.position).await;
        let after = Everything::of(&*reader, &log()).await;
        assert!(after.head.generation > before.head.generation, "a rebuild swaps a new generation in");
        before.head.generation = after.head.generation;
        assert_eq!(after, before, "records, revisions, events and state are as before");
        assert_eq!(reader.find(&log(), &email_of("e")).await.unwrap(), owner);
    }
    // The revisions of destroyed records are kept, too.
    put(&*store, commit(&log(), vec![destroy("1")])).await;
    let destroyed = events(&*store, &log()).await.last().unwrap().revision.unwrap();
    rebuild(&store, &log(), mode, store.head(&log()).await.unwrap().position).await;
    let made_again = put(&*store, commit(&log(), vec![create("1", 7)])).await;
    assert_eq!(made_again.events[0].revision, Some(destroyed.next()));
    let error = refused(&*store, commit(&log(), vec![set("new", owning(1, &["e"]))])).await;
    assert!(matches!(error.kind(), ErrorKind::IdentityTaken { .. }), "{error:?}");
}

pub(crate) async fn a_shadow_replay_rebuilds_the_same(backend: Backend) {
    rebuilds_the_same(backend, RebuildMode::Shadow).await;
}

pub(crate) async fn a_replay_in_place_rebuilds_the_same(backend: Backend) {
    rebuilds_the_same(backend, RebuildMode::InPlace).await;
}

pub(crate) async fn a_cleared_log_is_replayed(backend: Backend) {
    let store = backend.open().await.store;
    lived_in(&*store).await;
    let mut before = Everything::of(&*store, &log()).await;
    store.clear(&log(), lock_of(&log())).await.unwrap();
    rebuild(&store, &log(), RebuildMode::Shadow, before.head.position).await;
    let after = Everything::of(&*store, &log()).await;
    before.head.generation = after.head.generation;
    assert_eq!(after, before);
}

pub(crate) async fn a_replay_to_n_is_the_state_at_n(backend: Backend) {
    let store = backend.open().await.store;
    lived_in(&*store).await;
    let all = events(&*store, &log()).await;
    let head = all.len() as u64;
    for through in [0, 1, 7, 20, head - 1] {
        rebuild(&store, &log(), RebuildMode::Shadow, Position::new(through)).await;
        let at_n: Vec<_> = fold(&all[..through as usize]).values().filter_map(live).collect();
        assert_eq!(records(&*store, &log()).await, at_n, "at position {through}");
        let at = Position::new(through);
        assert_eq!(store.head(&log()).await.unwrap().state, LogState::Rewound(at));
        assert_eq!(store.head(&log()).await.unwrap().position, Position::new(head));
        assert_eq!(refused(&*store, commit(&log(), vec![note("x", 1)])).await.kind(), &ErrorKind::Rewound { at });
    }
    rebuild(&store, &log(), RebuildMode::Shadow, Position::new(head)).await;
    assert_eq!(store.head(&log()).await.unwrap().state, LogState::Live);
    assert_eq!(positions(&put(&*store, commit(&log(), vec![note("x", 1)])).await), [head + 1]);
}

pub(crate) async fn a_rewound_log_can_be_taken_as_it_is(backend: Backend) {
    let store = backend.open().await.store;
    put(&*store, commit(&log(), vec![create("a", 1)])).await;
    put(&*store, commit(&log(), vec![update("a", 1, 2), create("b", 1)])).await;
    rebuild(&store, &log(), RebuildMode::Shadow, Position::new(1)).await;
    let taking = accepting(commit(&log(), vec![note("taken", 1)]), 1);
    assert_eq!(positions(&put(&*store, taking.clone()).await), [4]);
    assert_eq!(store.head(&log()).await.unwrap().state, LogState::Live);
    assert_eq!((n(&*store, &log(), "a").await, n(&*store, &log(), "b").await), (Some(1), None));
    assert_eq!(positions(&put(&*store, commit(&log(), vec![update("a", 1, 9)])).await), [5]);
    assert_eq!(record(&*store, &log(), "a").await.unwrap().revision, Revision::new(2));
    assert_eq!(events(&*store, &log()).await.len(), 5, "the events after that position stay");
    assert_eq!(positions(&put(&*store, taking).await), [4], "asked again, it answers as it did");
}

pub(crate) async fn a_log_is_taken_at_the_position_that_it_is_rewound_to_only(backend: Backend) {
    let store = backend.open().await.store;
    put(&*store, commit(&log(), vec![create("a", 1), update("a", 1, 2), create("b", 1)])).await;
    let live = refused(&*store, accepting(commit(&log(), vec![note("x", 1)]), 3)).await;
    assert_eq!(live.kind(), &ErrorKind::Conflict { actual: None });
    rebuild(&store, &log(), RebuildMode::Shadow, Position::new(1)).await;
    let rewound = ErrorKind::Rewound { at: Position::new(1) };
    for at in [0, 2, 3] {
        assert_eq!(refused(&*store, accepting(commit(&log(), vec![note("x", 1)]), at)).await.kind(), &rewound);
    }
    assert_eq!(store.head(&log()).await.unwrap().state, LogState::Rewound(Position::new(1)));
}

pub(crate) async fn a_commit_that_fails_takes_no_log_as_it_is(backend: Backend) {
    let store = backend.open().await.store;
    put(&*store, commit(&log(), vec![create("a", 1), update("a", 1, 2)])).await;
    rebuild(&store, &log(), RebuildMode::Shadow, Position::new(1)).await;
    let stale = accepting(commit(&log(), vec![update("a", 2, 3)]), 1);
    let taking = accepting(commit(&log(), vec![note("taken", 1)]), 1);
    let after = commit(&log(), vec![update("a", 1, 4)]);
    let answers = store.commit([stale, after.clone(), taking, after].into()).await;
    assert!(matches!(answers[0].as_ref().unwrap_err().kind(), ErrorKind::Conflict { .. }), "{answers:?}");
    assert!(matches!(answers[1].as_ref().unwrap_err().kind(), ErrorKind::Rewound { .. }), "{answers:?}");
    assert_eq!(positions(answers[2].as_ref().unwrap()), [3]);
    assert_eq!(positions(answers[3].as_ref().unwrap()), [4], "a commit of the same batch sees the log live");
    assert_eq!(store.head(&log()).await.unwrap().state, LogState::Live);
}

pub(crate) async fn a_rebuild_changes_no_event(backend: Backend) {
    let store = backend.open().await.store;
    lived_in(&*store).await;
    let before = events(&*store, &log()).await;
    for mode in [RebuildMode::Shadow, RebuildMode::InPlace] {
        rebuild(&store, &log(), mode, Position::new(before.len() as u64)).await;
        assert_eq!(events(&*store, &log()).await, before);
    }
    put(&*store, commit(&log(), vec![set("0", state(1))])).await;
    store.clear(&log(), lock_of(&log())).await.unwrap();
    assert_eq!(events(&*store, &log()).await[..before.len()], before, "a stored event has changed");
}

pub(crate) async fn a_rebuild_of_one_log_leaves_the_others(backend: Backend) {
    let store = backend.open().await.store;
    lived_in(&*store).await;
    put(&*store, commit(&tenant("1"), vec![set("h", owning(1, &["e"]))])).await;
    let before = Everything::of(&*store, &tenant("1")).await;
    rebuild(&store, &log(), RebuildMode::InPlace, Position::ZERO).await;
    assert_eq!(Everything::of(&*store, &tenant("1")).await, before);
    assert_eq!(records(&*store, &log()).await, []);
    put(&*store, commit(&tenant("1"), vec![create("new", 1)])).await;
}

pub(crate) async fn what_other_resources_hold_is_replayed(backend: Backend) {
    let store = backend.open().await.store;
    let other = RecordKey::new("suite.other", "a").unwrap();
    let mut write = set("a", state(2));
    write.write.as_mut().unwrap().key = other.clone();
    write.event.as_mut().unwrap().resource = other.resource.clone();
    put(&*store, commit(&log(), vec![create("a", 1), write])).await;
    let before = store.get(&log(), std::slice::from_ref(&other)).await.unwrap();
    rebuild(&store, &log(), RebuildMode::InPlace, Position::new(2)).await;
    assert_eq!(store.get(&log(), &[other]).await.unwrap(), before);
    assert!(before[0].is_some());
}
