//! What is there after the process has ended. It is ended in good order here: a kill is for each backend's own tests.

use rekindle_core::ErrorKind;
use rekindle_core::store::{EventStoreExt, LoadedRecord, LogState, RebuildMode};
use rekindle_core::types::{EventQuery, Position, Revision};

use super::replay::lived_in;
use crate::fixture::Backend;
use crate::look::{Everything, events, positions, put, rebuild, records};
use crate::sample::{commit, create, destroy, email_of, key, lock_of, log, note, owning, set, state, tenant};

pub(crate) async fn what_was_answered_is_there_after_reopening(backend: Backend) {
    let mut opened = backend.open().await;
    for round in 0..3 {
        for n in 0..4 {
            let committed = put(&*opened.store, commit(&log(), vec![note("a", n), note("b", n)])).await;
            let first = 8 * round + 2 * n + 1;
            assert_eq!(positions(&committed), [first, first + 1], "positions go on where they were");
        }
        put(&*opened.store, commit(&tenant("1"), vec![note("a", round)])).await;
        let before = (events(&*opened.store, &log()).await, events(&*opened.store, &tenant("1")).await);
        let Some(again) = opened.reopen().await else { return };
        opened = again;
        assert_eq!((events(&*opened.store, &log()).await, events(&*opened.store, &tenant("1")).await), before);
        assert_eq!(opened.store.head(&log()).await.unwrap().position, Position::new(8 * (round + 1)));
    }
}

pub(crate) async fn ids_are_known_after_reopening(backend: Backend) {
    let opened = backend.open().await;
    let once = commit(&log(), vec![note("a", 1), note("b", 1)]);
    let first = put(&*opened.store, once.clone()).await;
    let mut other = once.clone();
    other.changes[1].event.as_mut().unwrap().version = 9;
    let Some(opened) = opened.reopen().await else { return };
    assert_eq!(put(&*opened.store, once).await, first);
    assert_eq!(opened.store.commit_one(other).await.unwrap_err().kind(), &ErrorKind::IdReused);
    assert_eq!(opened.store.count(&log(), EventQuery::new()).await.unwrap(), 2);
}

pub(crate) async fn records_are_there_after_reopening(backend: Backend) {
    let opened = backend.open().await;
    lived_in(&*opened.store).await;
    put(&*opened.store, commit(&log(), vec![create("gone", 1)])).await;
    put(&*opened.store, commit(&log(), vec![destroy("gone")])).await;
    let before = Everything::of(&*opened.store, &log()).await;
    let owner = opened.store.find(&log(), &email_of("e")).await.unwrap();
    let Some(opened) = opened.reopen().await else { return };
    assert_eq!(Everything::of(&*opened.store, &log()).await, before);
    assert_eq!(opened.store.find(&log(), &email_of("e")).await.unwrap(), owner);
    let taken = opened.store.commit_one(commit(&log(), vec![set("z", owning(1, &["e"]))])).await.unwrap_err();
    assert!(matches!(taken.kind(), ErrorKind::IdentityTaken { .. }), "{taken:?}");
    let again = put(&*opened.store, commit(&log(), vec![create("gone", 2)])).await;
    assert_eq!(again.events[0].revision, Some(Revision::new(3)), "the revision of a destroyed record goes on");
}

pub(crate) async fn the_state_of_a_log_is_there_after_reopening(backend: Backend) {
    let opened = backend.open().await;
    lived_in(&*opened.store).await;
    rebuild(&opened.store, &log(), RebuildMode::Shadow, Position::new(7)).await;
    let rewound = Everything::of(&*opened.store, &log()).await;
    assert_eq!(rewound.head.state, LogState::Rewound(Position::new(7)));
    put(&*opened.store, commit(&tenant("1"), vec![create("a", 1)])).await;
    opened.store.clear(&tenant("1"), lock_of(&tenant("1"))).await.unwrap();
    let cleared = Everything::of(&*opened.store, &tenant("1")).await;
    let Some(opened) = opened.reopen().await else { return };
    assert_eq!(Everything::of(&*opened.store, &log()).await, rewound);
    assert_eq!(Everything::of(&*opened.store, &tenant("1")).await, cleared);
}

pub(crate) async fn an_unfinished_shadow_rebuild_is_gone_after_reopening(backend: Backend) {
    let opened = backend.open().await;
    lived_in(&*opened.store).await;
    let before = Everything::of(&*opened.store, &log()).await;
    let running = opened.store.begin_rebuild(&log(), lock_of(&log()), RebuildMode::Shadow).await.unwrap();
    let record = LoadedRecord { key: key("0"), revision: Revision::new(99), state: Some(state(99)) };
    opened.store.load(&running, vec![record]).await.unwrap();
    drop(running);
    let Some(opened) = opened.reopen().await else { return };
    assert_eq!(Everything::of(&*opened.store, &log()).await, before);
    let next = opened.store.begin_rebuild(&log(), lock_of(&log()), RebuildMode::Shadow).await.unwrap();
    assert_eq!(opened.store.loaded(&next, &[key("0")]).await.unwrap(), [None]);
}

pub(crate) async fn an_unfinished_rebuild_in_place_is_known_after_reopening(backend: Backend) {
    let opened = backend.open().await;
    lived_in(&*opened.store).await;
    let before = records(&*opened.store, &log()).await;
    let running = opened.store.begin_rebuild(&log(), lock_of(&log()), RebuildMode::InPlace).await.unwrap();
    drop(running);
    let Some(opened) = opened.reopen().await else { return };
    let head = opened.store.head(&log()).await.unwrap();
    assert_eq!(head.state, LogState::Rebuilding);
    rebuild(&opened.store, &log(), RebuildMode::Shadow, head.position).await;
    assert_eq!(records(&*opened.store, &log()).await, before);
}
