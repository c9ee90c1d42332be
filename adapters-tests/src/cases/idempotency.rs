//! Event ids as idempotency keys.

use std::sync::Arc;

use rekindle_core::ErrorKind;
use rekindle_core::store::{EventStoreExt, RebuildMode, ResourceStoreExt};
use rekindle_core::types::{ActionType, EventId, Expected, NewEvent, Payload, Position};

use crate::fixture::Backend;
use crate::look::{Everything, assert_error, events, positions, put, record, refused};
use crate::sample::{
    at, check, checked, commit, create, destroy, event, json, key, lock_of, log, note, number, only, set, state, update,
};

pub(crate) async fn the_same_commit_again_gives_the_same_answer(backend: Backend) {
    let opened = backend.open().await;
    let (store, other) = (Arc::clone(&opened.store), opened.other_handle().await);
    let once = commit(&log(), vec![note("a", 1), note("b", 2)]);
    let first = put(&*store, once.clone()).await;
    let before = Everything::of(&*store, &log()).await;
    for handle in [&store, &other, &store] {
        assert_eq!(put(&**handle, once.clone()).await, first);
    }
    assert_eq!(Everything::of(&*store, &log()).await, before, "a repeated commit had an effect");
    put(&*store, commit(&log(), vec![note("a", 3)])).await;
    assert_eq!(put(&*store, once).await, first);
    assert_eq!(events(&*store, &log()).await.len(), 3);
}

pub(crate) async fn a_repeated_commit_writes_no_record_again(backend: Backend) {
    let store = backend.open().await.store;
    let once = commit(&log(), vec![create("a", 1), set("b", state(1))]);
    let first = put(&*store, once.clone()).await;
    put(&*store, commit(&log(), vec![update("a", 1, 2), destroy("b")])).await;
    let before = Everything::of(&*store, &log()).await;
    assert_eq!(put(&*store, once.clone()).await, first, "the answer is of then, not of now");
    // Whatever else it holds.
    assert_eq!(put(&*store, checked(once.clone(), check("a", Expected::Absent))).await, first);
    let mut other_writes = once;
    other_writes.changes[0].write = None;
    assert_eq!(put(&*store, other_writes).await, first);
    assert_eq!(Everything::of(&*store, &log()).await, before);
}

pub(crate) async fn a_repeated_commit_is_answered_in_any_state_of_the_log(backend: Backend) {
    let store = backend.open().await.store;
    let once = commit(&log(), vec![create("a", 1)]);
    let first = put(&*store, once.clone()).await;
    store.clear(&log(), lock_of(&log())).await.unwrap();
    assert_eq!(put(&*store, once.clone()).await, first);
    let rebuild = store.begin_rebuild(&log(), lock_of(&log()), RebuildMode::InPlace).await.unwrap();
    assert_eq!(put(&*store, once.clone()).await, first);
    let new = store.commit_one(commit(&log(), vec![create("b", 1)])).await.unwrap_err();
    assert_eq!(new.kind(), &ErrorKind::Rebuilding);
    store.abandon_rebuild(rebuild).await.unwrap();
}

pub(crate) async fn a_known_id_with_other_content_is_refused(backend: Backend) {
    let store = backend.open().await.store;
    let known = event("a", number(1));
    put(&*store, commit(&log(), vec![only(known.clone())])).await;
    let differences: [fn(&mut NewEvent); 11] = [
        |event| event.resource = "suite.other".parse().unwrap(),
        |event| event.record_id = "b".parse().unwrap(),
        |event| event.action = "Set".parse().unwrap(),
        |event| event.action_type = ActionType::Destroy,
        |event| event.version = 2,
        |event| event.actor = None,
        |event| event.data = json(r#"{"n": 1}"#).into(),
        |event| event.changed_attributes = Payload::Sealed(b"{}".to_vec()),
        |event| event.removed_attributes = vec!["x".to_owned()],
        |event| event.metadata = json(r#"{"x":1}"#).into(),
        |event| event.occurred_at = at(event.occurred_at.as_microseconds() + 1),
    ];
    for (nth, differ) in differences.into_iter().enumerate() {
        let mut other = known.clone();
        differ(&mut other);
        let error = refused(&*store, commit(&log(), vec![only(other)])).await;
        assert_error(&error, &ErrorKind::IdReused, &known.id.to_string());
        assert!(!error.is_retryable(), "difference {nth}");
    }
}

pub(crate) async fn a_commit_that_is_known_in_part_is_refused(backend: Backend) {
    let store = backend.open().await.store;
    let known = note("a", 1);
    put(&*store, commit(&log(), vec![known.clone()])).await;
    let (before, behind) = (vec![note("b", 1), known.clone()], vec![known, note("b", 1)]);
    for part in [before, behind] {
        let error = refused(&*store, commit(&log(), part)).await;
        assert_error(&error, &ErrorKind::IdReused, "id");
    }
}

pub(crate) async fn a_commit_twice_in_one_batch_has_one_effect(backend: Backend) {
    let store = backend.open().await.store;
    let once = commit(&log(), vec![note("a", 1), note("b", 1)]);
    let mut other = once.clone();
    other.changes[0].event.as_mut().unwrap().version = 7;
    let batch = vec![once.clone(), commit(&log(), vec![note("c", 1)]), once, other];
    let answers = store.commit(batch.into()).await;
    assert_eq!(positions(answers[0].as_ref().unwrap()), [1, 2]);
    assert_eq!(positions(answers[1].as_ref().unwrap()), [3]);
    assert_eq!(answers[2].as_ref().unwrap(), answers[0].as_ref().unwrap());
    assert_eq!(answers[3].as_ref().unwrap_err().kind(), &ErrorKind::IdReused);
    assert_eq!(store.head(&log()).await.unwrap().position, Position::new(3));
}

pub(crate) async fn racing_repetitions_have_one_effect(backend: Backend) {
    let opened = backend.open().await;
    let handles = [Arc::clone(&opened.store), opened.other_handle().await];
    for round in 0..5 {
        let once = commit(&log(), vec![note("a", round), note("b", round)]);
        let racing = (0..8).map(|racer| {
            let (store, once) = (Arc::clone(&handles[racer % 2]), once.clone());
            tokio::spawn(async move { put(&*store, once).await })
        });
        let answers: Vec<_> = futures::future::join_all(racing).await.into_iter().map(Result::unwrap).collect();
        assert!(
            answers.iter().all(|answer| *answer == answers[0]),
            "one commit was given several answers: {answers:?}"
        );
        assert_eq!(positions(&answers[0]), [2 * round + 1, 2 * round + 2]);
    }
}

pub(crate) async fn a_failed_commit_is_not_known(backend: Backend) {
    let store = backend.open().await.store;
    let failing = commit(&log(), vec![note("b", 1), update("a", 1, 2)]);
    assert_eq!(refused(&*store, failing.clone()).await.kind(), &ErrorKind::NotFound);
    put(&*store, commit(&log(), vec![create("a", 1)])).await;
    assert_eq!(positions(&put(&*store, failing).await), [2, 3], "what failed can be retried with the same ids");
    assert_eq!(record(&*store, &log(), "a").await, store.get_one(&log(), &key("a")).await.unwrap());
}

pub(crate) async fn ids_of_any_kind_are_kept(backend: Backend) {
    let store = backend.open().await.store;
    let mut ids = Vec::new();
    for text in [
        "\"00000000-0000-0000-0000-000000000000\"",
        "\"ffffffff-ffff-ffff-ffff-ffffffffffff\"",
        "\"01000000-0000-4000-8000-000000000000\"",
    ] {
        let id: EventId = serde_json::from_str(text).unwrap();
        put(&*store, commit(&log(), vec![only(NewEvent { id, ..event("a", number(1)) })])).await;
        ids.push(id);
    }
    assert_eq!(events(&*store, &log()).await.iter().map(|event| event.id).collect::<Vec<_>>(), ids);
}
