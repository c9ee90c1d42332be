//! Unique identities.

use std::sync::Arc;

use rekindle_core::ErrorKind;
use rekindle_core::store::EventStoreExt;
use rekindle_core::types::{Check, Identity, IdentityValue, RecordId, WriteState};

use crate::fixture::Backend;
use crate::look::{assert_error, kinds, put, record, refused};
use crate::sample::{TRICKY, checked, commit, destroy, email, email_of, log, note, number, owning, set, state, tenant};

fn taken(owner: &str) -> ErrorKind {
    ErrorKind::IdentityTaken { identity: "email".to_owned(), owner: owner.to_owned() }
}

async fn owner(store: &dyn rekindle_core::store::Store, value: &str) -> Option<String> {
    store.find(&log(), &email_of(value)).await.unwrap().map(|record| record.key.id.as_str().to_owned())
}

pub(crate) async fn a_unique_identity_has_one_owner(backend: Backend) {
    let store = backend.open().await.store;
    put(&*store, commit(&log(), vec![set("a", owning(1, &["x"]))])).await;
    let error = refused(&*store, commit(&log(), vec![set("b", owning(2, &["x"]))])).await;
    assert_error(&error, &taken("a"), "email");
    put(&*store, commit(&log(), vec![set("a", owning(3, &["x"]))])).await;
    put(&*store, commit(&log(), vec![set("b", owning(4, &["X"]))])).await;
    assert_eq!(owner(&*store, "x").await.as_deref(), Some("a"));
    assert_eq!(store.find(&log(), &email_of("x")).await.unwrap(), record(&*store, &log(), "a").await);
    assert_eq!(owner(&*store, "y").await, None);
}

pub(crate) async fn of_racing_takers_one_wins(backend: Backend) {
    let opened = backend.open().await;
    let handles = [Arc::clone(&opened.store), opened.other_handle().await];
    let takers = (0..12).map(|taker| {
        let store = Arc::clone(&handles[taker % 2]);
        tokio::spawn(
            async move { store.commit_one(commit(&log(), vec![set(&taker.to_string(), owning(1, &["x"]))])).await },
        )
    });
    let answers: Vec<_> = futures::future::join_all(takers).await.into_iter().map(Result::unwrap).collect();
    let winners: Vec<usize> = (0..12).filter(|taker| answers[*taker].is_ok()).collect();
    assert_eq!(winners.len(), 1, "one identity was taken by {} records", winners.len());
    let winner = winners[0].to_string();
    assert_eq!(owner(&*handles[1], "x").await.as_deref(), Some(&*winner));
    for lost in answers.iter().filter_map(|answer| answer.as_ref().err()) {
        assert_error(lost, &taken(&winner), "email");
    }
}

pub(crate) async fn an_identity_is_free_once_released(backend: Backend) {
    let store = backend.open().await.store;
    put(&*store, commit(&log(), vec![set("a", owning(1, &["x"]))])).await;
    put(&*store, commit(&log(), vec![set("a", owning(2, &["y"]))])).await;
    assert_eq!(owner(&*store, "x").await, None);
    put(&*store, commit(&log(), vec![set("b", owning(3, &["x"]))])).await;
    assert_eq!(owner(&*store, "x").await.as_deref(), Some("b"));
    assert_eq!(owner(&*store, "y").await.as_deref(), Some("a"));
}

pub(crate) async fn an_identity_is_free_once_its_record_is_destroyed(backend: Backend) {
    let store = backend.open().await.store;
    put(&*store, commit(&log(), vec![set("a", owning(1, &["x"]))])).await;
    put(&*store, commit(&log(), vec![destroy("a")])).await;
    assert_eq!(owner(&*store, "x").await, None);
    put(&*store, commit(&log(), vec![set("b", owning(2, &["x"]))])).await;
    put(&*store, commit(&log(), vec![set("a", owning(3, &["y"]))])).await;
    assert_eq!(owner(&*store, "x").await.as_deref(), Some("b"));
}

pub(crate) async fn two_records_swap_identities_in_one_commit(backend: Backend) {
    let store = backend.open().await.store;
    put(&*store, commit(&log(), vec![set("a", owning(1, &["x"])), set("b", owning(1, &["y"]))])).await;
    put(&*store, commit(&log(), vec![set("a", owning(2, &["y"])), set("b", owning(2, &["x"]))])).await;
    assert_eq!(owner(&*store, "x").await.as_deref(), Some("b"));
    assert_eq!(owner(&*store, "y").await.as_deref(), Some("a"));
    let error = refused(&*store, commit(&log(), vec![set("a", owning(3, &["x"]))])).await;
    assert_error(&error, &taken("b"), "email");
}

pub(crate) async fn an_identity_moves_in_one_commit(backend: Backend) {
    let store = backend.open().await.store;
    put(&*store, commit(&log(), vec![set("a", owning(1, &["x"]))])).await;
    // Taken before it is given up, and given up by a destruction.
    put(&*store, commit(&log(), vec![set("b", owning(1, &["x"])), destroy("a")])).await;
    assert_eq!(owner(&*store, "x").await.as_deref(), Some("b"));
    // There and back again.
    put(&*store, commit(&log(), vec![set("b", state(2)), set("b", owning(3, &["x"]))])).await;
    assert_eq!(owner(&*store, "x").await.as_deref(), Some("b"));
}

pub(crate) async fn an_identity_moves_within_a_batch(backend: Backend) {
    let store = backend.open().await.store;
    let batch = vec![
        commit(&log(), vec![set("a", owning(1, &["x"]))]),
        commit(&log(), vec![set("b", owning(1, &["x"]))]),
        commit(&log(), vec![destroy("a")]),
        commit(&log(), vec![set("b", owning(2, &["x"]))]),
    ];
    let kinds = kinds(&store.commit(batch.into()).await);
    assert_eq!(kinds, [None, Some(taken("a")), None, None]);
    assert_eq!(owner(&*store, "x").await.as_deref(), Some("b"));
}

pub(crate) async fn two_records_of_one_commit_cannot_take_the_same(backend: Backend) {
    let store = backend.open().await.store;
    let error = refused(&*store, commit(&log(), vec![set("a", owning(1, &["x"])), set("b", owning(1, &["x"]))])).await;
    assert!(matches!(error.kind(), ErrorKind::IdentityTaken { identity, .. } if identity == "email"), "{error:?}");
    assert_eq!(owner(&*store, "x").await, None);
}

pub(crate) async fn a_failed_commit_neither_takes_nor_releases(backend: Backend) {
    let store = backend.open().await.store;
    put(&*store, commit(&log(), vec![set("a", owning(1, &["x"]))])).await;
    let failing = vec![set("a", owning(2, &["y"])), set("b", owning(2, &["z"])), destroy("missing")];
    assert_eq!(refused(&*store, commit(&log(), failing)).await.kind(), &ErrorKind::NotFound);
    assert_eq!(owner(&*store, "x").await.as_deref(), Some("a"));
    assert_eq!((owner(&*store, "y").await, owner(&*store, "z").await), (None, None));
    put(&*store, commit(&log(), vec![set("c", owning(1, &["y"])), set("d", owning(1, &["z"]))])).await;
}

pub(crate) async fn an_identity_is_of_its_log_resource_and_name(backend: Backend) {
    let store = backend.open().await.store;
    put(&*store, commit(&log(), vec![set("a", owning(1, &["x"]))])).await;
    put(&*store, commit(&tenant("1"), vec![set("b", owning(1, &["x"]))])).await;
    let mut of_another = set("c", owning(1, &["x"]));
    of_another.write.as_mut().unwrap().key.resource = "suite.other".parse().unwrap();
    of_another.event.as_mut().unwrap().resource = "suite.other".parse().unwrap();
    put(&*store, commit(&log(), vec![of_another])).await;
    let name = IdentityValue::new("name", "x").unwrap();
    let state = WriteState { attributes: number(1), identities: vec![name.clone(), email("z")] };
    put(&*store, commit(&log(), vec![set("d", state.clone())])).await;
    assert_eq!(record(&*store, &log(), "d").await.unwrap().identities, state.identities, "their order is kept");
    assert_eq!(owner(&*store, "x").await.as_deref(), Some("a"));
    let other = Identity::new("suite.other", "email", "x").unwrap();
    assert_eq!(store.find(&log(), &other).await.unwrap().unwrap().key.id.as_str(), "c");
    assert_eq!(store.find(&tenant("1"), &email_of("x")).await.unwrap().unwrap().key.id.as_str(), "b");
    assert_eq!(store.find(&log(), &name.of(&crate::sample::resource())).await.unwrap().unwrap().key.id.as_str(), "d");
}

pub(crate) async fn an_identity_that_was_read_is_checked(backend: Backend) {
    let store = backend.open().await.store;
    put(&*store, commit(&log(), vec![set("a", owning(1, &["x"]))])).await;
    let reading = |value: &str, owner: Option<&str>| {
        let owner = owner.map(|id| RecordId::new(id).unwrap());
        checked(commit(&log(), vec![note("c", 1)]), Check::Identity { identity: email_of(value), owner })
    };
    put(&*store, reading("x", Some("a"))).await;
    put(&*store, reading("y", None)).await;
    for stale in [reading("x", None), reading("x", Some("b")), reading("y", Some("a"))] {
        let error = refused(&*store, stale).await;
        assert_error(&error, &ErrorKind::Conflict { actual: None }, "suite.item.email=");
    }
}

pub(crate) async fn an_identity_twice_in_one_record_is_invalid(backend: Backend) {
    let store = backend.open().await.store;
    let state = WriteState { attributes: number(1), identities: vec![email("x"), email("y")] };
    let error = refused(&*store, commit(&log(), vec![set("a", state)])).await;
    assert_error(&error, &ErrorKind::Invalid, "email");
}

pub(crate) async fn any_text_is_an_identity(backend: Backend) {
    let store = backend.open().await.store;
    let changes = TRICKY.iter().enumerate().map(|(nth, text)| set(&nth.to_string(), owning(1, &[text]))).collect();
    put(&*store, commit(&log(), changes)).await;
    for (nth, text) in TRICKY.iter().enumerate() {
        assert_eq!(owner(&*store, text).await, Some(nth.to_string()), "the owner of {text:?}");
    }
}
