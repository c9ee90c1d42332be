//! Keys in commits: what a commit asks of them, and what it writes.

use std::sync::Arc;

use rekindle_core::types::{Commit, Committed, Expected, KeyRow, KeyWrite, Limits, LogId, Position, Revision};
use rekindle_core::{ErrorKind, VaultFault};

use crate::fixture::Backend;
use crate::look::{
    Everything, all_keys, assert_error, events, key_store, keys_by_id, keys_of, kinds, positions, put, record, refused,
};
use crate::sample::{
    check, checked, commit, create, guarded, key_id, keyed, keys, log, note, of_keys, owning, set, tenant, update,
    with_id,
};

pub(super) fn key_changed() -> ErrorKind {
    ErrorKind::Vault(VaultFault::KeyChanged)
}

/// An event that is sealed for a subject at this epoch.
pub(super) fn sealed(log: &LogId, text: &str, epoch: u64) -> Commit {
    guarded(commit(log, vec![note("sealed", epoch)]), text, epoch)
}

pub(crate) async fn a_version_that_is_not_the_stored_one_is_refused(backend: Backend) {
    let store = backend.open().await.store;
    for expected in 0..3 {
        put(&*store, of_keys(&log(), vec![keys("s", expected, 1)])).await;
    }
    for (of, expected) in [("s", 0), ("s", 1), ("s", 2), ("s", 4), ("s", 1 << 62), ("absent", 1), ("absent", 3)] {
        let write = with_id(keys(of, expected, 2), key_id(1));
        for refusal in [of_keys(&log(), vec![write.clone()]), keyed(commit(&log(), vec![note("a", 1)]), write.clone())]
        {
            let error = refused(&*store, refusal).await;
            assert_error(&error, &key_changed(), of);
            assert!(error.is_retryable());
            assert_eq!(keys_by_id(&*store, &log(), key_id(1)).await, None, "a refused key is found by its id");
        }
    }
    put(&*store, of_keys(&log(), vec![keys("s", 3, 2), keys("absent", 0, 1)])).await;
}

/// As keys are imported over older ones.
pub(crate) async fn versions_may_jump(backend: Backend) {
    let store = backend.open().await.store;
    let jump = |expected: u64, version: u64, epoch: u64| {
        let write = keys("s", expected, epoch);
        of_keys(&log(), vec![KeyWrite { row: KeyRow { version, ..write.row }, ..write }])
    };
    put(&*store, jump(0, 3, 2)).await;
    assert_eq!(refused(&*store, jump(1, 9, 5)).await.kind(), &key_changed());
    put(&*store, jump(3, 9, 5)).await;
    assert_eq!(refused(&*store, jump(4, 5, 5)).await.kind(), &key_changed());
    assert_eq!(keys_of(&*store, &log(), "s").await.unwrap().version, 9);
    put(&*store, sealed(&log(), "s", 5)).await;
    put(&*store, jump(9, 10, 5)).await;
}

pub(crate) async fn a_guard_holds_at_its_epoch_only(backend: Backend) {
    let store = backend.open().await.store;
    put(&*store, of_keys(&log(), vec![keys("s", 0, 2), keys("u", 0, 1)])).await;
    put(&*store, of_keys(&log(), vec![keys("s", 1, 2)])).await;
    let mut written = 0;
    for (of, epoch) in [("s", 0), ("s", 1), ("s", 3), ("s", 1 << 62), ("absent", 1), ("u", 2)] {
        let alone = sealed(&log(), of, epoch);
        let among_others =
            guarded(guarded(guarded(commit(&log(), vec![note("a", 1)]), "none", 0), of, epoch), "other", 0);
        let with_keys =
            guarded(keyed(commit(&log(), vec![note("a", 1)]), with_id(keys("new", 0, 1), key_id(1))), of, epoch);
        let keys_only = guarded(of_keys(&log(), vec![keys("new", 0, 1)]), of, epoch);
        let nothing = guarded(commit(&log(), Vec::new()), of, epoch);
        for refusal in [alone, among_others, with_keys, keys_only, nothing] {
            let error = refused(&*store, refusal).await;
            assert_error(&error, &key_changed(), of);
            assert!(error.is_retryable());
        }
        assert_eq!(keys_by_id(&*store, &log(), key_id(1)).await, None, "a refused key is found by its id");
        // Without keys a subject is at epoch 0.
        let holds = guarded(guarded(commit(&log(), vec![note("a", 1)]), "s", 2), "absent", 0);
        written += 1;
        assert_eq!(positions(&put(&*store, holds).await), [written], "a refused commit left a gap");
    }
}

pub(crate) async fn keys_and_events_are_all_or_none(backend: Backend) {
    let store = backend.open_with(Limits::default().with_event_bytes(100)).await.store;
    let known = note("a", 1);
    put(&*store, keyed(commit(&log(), vec![known.clone()]), with_id(keys("s", 0, 1), key_id(1)))).await;
    assert_eq!(keys_by_id(&*store, &log(), key_id(1)).await, Some(keys("s", 0, 1).row));
    let (mut reused, mut large) = (known, note("b", 1));
    reused.event.as_mut().unwrap().version = 9;
    large.event.as_mut().unwrap().data = rekindle_core::types::Payload::Sealed(vec![0; 101]);
    for (change, kind) in [(reused, ErrorKind::IdReused), (large, ErrorKind::TooLarge)] {
        let with_keys = keyed(commit(&log(), vec![note("c", 1), change]), with_id(keys("s", 1, 2), key_id(2)));
        assert_eq!(refused(&*store, keyed(with_keys, keys("t", 0, 1))).await.kind(), &kind);
        assert_eq!(keys_by_id(&*store, &log(), key_id(2)).await, None, "the key of a failed commit is found by its id");
    }
    let one_is_stale = keyed(keyed(commit(&log(), vec![note("c", 1)]), keys("t", 0, 1)), keys("s", 0, 1));
    assert_error(&refused(&*store, one_is_stale).await, &key_changed(), "s");
}

pub(crate) async fn keys_and_records_are_all_or_none(backend: Backend) {
    let store = backend.open().await.store;
    put(&*store, commit(&log(), vec![set("a", owning(1, &["x"]))])).await;
    let conflict = ErrorKind::Conflict { actual: Some(Revision::new(1)) };
    let taken = ErrorKind::IdentityTaken { identity: "email".to_owned(), owner: "a".to_owned() };
    let stale_check = checked(commit(&log(), vec![create("b", 1)]), check("a", Expected::Absent));
    for (fails, kind) in [
        (commit(&log(), vec![create("b", 1), update("a", 9, 2)]), conflict.clone()),
        (commit(&log(), vec![create("b", 1), set("c", owning(1, &["x"]))]), taken),
        (stale_check, conflict),
    ] {
        let with_keys = guarded(keyed(fails, with_id(keys("s", 0, 1), key_id(1))), "t", 0);
        assert_eq!(refused(&*store, with_keys).await.kind(), &kind);
        assert_eq!(keys_by_id(&*store, &log(), key_id(1)).await, None, "the key of a failed commit is found by its id");
    }
    let writes = || commit(&log(), vec![create("b", 1), update("a", 1, 2)]);
    for fails in
        [keyed(writes(), keys("s", 1, 1)), guarded(writes(), "s", 1), guarded(keyed(writes(), keys("t", 0, 1)), "s", 1)]
    {
        assert_error(&refused(&*store, fails).await, &key_changed(), "s");
    }
    put(&*store, guarded(keyed(writes(), keys("s", 0, 1)), "t", 0)).await;
    assert!(record(&*store, &log(), "b").await.is_some());
    assert_eq!(all_keys(&*store, &log()).await, [keys("s", 0, 1).row]);
}

pub(crate) async fn a_commit_sees_the_keys_of_those_before_in_its_batch(backend: Backend) {
    let store = backend.open().await.store;
    let changed = Some(key_changed());
    let batch = [
        (of_keys(&log(), vec![with_id(keys("s", 0, 1), key_id(1))]), None),
        (sealed(&log(), "s", 1), None),
        (of_keys(&log(), vec![with_id(keys("s", 0, 1), key_id(2))]), changed.clone()),
        (sealed(&log(), "s", 0), changed.clone()),
        (sealed(&tenant("1"), "s", 0), None),
        (keyed(sealed(&log(), "s", 2), keys("t", 0, 1)), changed.clone()),
        (of_keys(&log(), vec![keys("s", 1, 2)]), None),
        (sealed(&log(), "s", 1), changed.clone()),
        (keyed(sealed(&log(), "s", 2), keys("t", 0, 1)), None),
        (sealed(&log(), "t", 0), changed),
        (sealed(&log(), "t", 1), None),
    ];
    let (commits, expected): (Vec<Commit>, Vec<Option<ErrorKind>>) = batch.into_iter().unzip();
    let answers = store.commit(commits.into()).await;
    let kinds = kinds(&answers);
    assert_eq!(kinds, expected);
    assert_eq!(events(&*store, &log()).await.len(), 3);
    assert_eq!(all_keys(&*store, &log()).await, [keys("s", 1, 2).row, keys("t", 0, 1).row]);
    assert_eq!(keys_by_id(&*store, &log(), key_id(1)).await, Some(keys("s", 1, 2).row));
    assert_eq!(keys_by_id(&*store, &log(), key_id(2)).await, None, "the key of a failed commit is found by its id");
}

pub(crate) async fn a_commit_of_keys_only_answers_without_events(backend: Backend) {
    let store = backend.open().await.store;
    let once = of_keys(&log(), vec![keys("s", 0, 1), keys("t", 0, 1)]);
    assert_eq!(put(&*store, once.clone()).await, Committed::default());
    assert_eq!(store.head(&log()).await.unwrap().position, Position::ZERO, "a commit of keys took a position");
    assert_eq!(positions(&put(&*store, commit(&log(), vec![note("a", 1)])).await), [1]);
    // It has no event to be known by.
    assert_eq!(refused(&*store, once).await.kind(), &key_changed());
    assert_eq!(positions(&put(&*store, keyed(commit(&log(), vec![note("a", 1)]), keys("s", 1, 1))).await), [2]);
}

pub(crate) async fn a_commit_of_guards_only_leaves_nothing(backend: Backend) {
    let store = backend.open().await.store;
    let guards = |text: &str, epoch: u64| guarded(guarded(commit(&log(), Vec::new()), text, epoch), "none", 0);
    assert_eq!(put(&*store, guards("s", 0)).await, Committed::default());
    assert_eq!(key_store(&*store).logs_with_keys().await.unwrap(), [], "a guard made a log that has keys");
    put(&*store, keyed(commit(&log(), vec![note("a", 1)]), keys("s", 0, 1))).await;
    let before = Everything::of(&*store, &log()).await;
    assert_eq!(put(&*store, guards("s", 1)).await, Committed::default());
    assert_eq!(refused(&*store, guards("s", 0)).await.kind(), &key_changed());
    assert_eq!(Everything::of(&*store, &log()).await, before);
    assert_eq!(keys_of(&*store, &log(), "none").await, None, "a guard made keys");
}

pub(crate) async fn keys_twice_in_one_commit_are_invalid(backend: Backend) {
    let store = backend.open().await.store;
    put(&*store, of_keys(&log(), vec![keys("s", 0, 1)])).await;
    let notes = || commit(&log(), vec![note("a", 1)]);
    for twice in [
        keyed(keyed(notes(), keys("s", 1, 1)), keys("s", 2, 1)),
        of_keys(&log(), vec![keys("s", 1, 1), keys("t", 0, 1), keys("s", 1, 1)]),
        guarded(keyed(notes(), keys("s", 1, 1)), "s", 1),
        guarded(guarded(notes(), "s", 1), "s", 1),
    ] {
        assert_error(&refused(&*store, twice).await, &ErrorKind::Invalid, "s");
    }
}

pub(crate) async fn a_version_that_does_not_follow_is_invalid(backend: Backend) {
    let store = backend.open().await.store;
    put(&*store, of_keys(&log(), vec![keys("s", 0, 1)])).await;
    put(&*store, of_keys(&log(), vec![keys("s", 1, 1)])).await;
    for (of, expected, version) in [("s", 2, 2), ("s", 2, 1), ("s", 2, 0), ("absent", 0, 0)] {
        let mut write = keys(of, expected, 2);
        write.row.version = version;
        for commit in [of_keys(&log(), vec![write.clone()]), keyed(commit(&log(), vec![note("a", 1)]), write.clone())] {
            assert_error(&refused(&*store, commit).await, &ErrorKind::Invalid, of);
        }
    }
}

pub(crate) async fn keys_of_one_byte_more_are_too_large(backend: Backend) {
    let store = backend.open_with(Limits::default().with_record_bytes(100)).await.store;
    let with = |bytes: usize| {
        let mut write = keys("s", 0, 1);
        write.row.body = vec![7; bytes];
        keyed(commit(&log(), vec![note("a", 1)]), write)
    };
    assert_error(&refused(&*store, with(101)).await, &ErrorKind::TooLarge, "100");
    let answers = store.commit([with(101), with(100), sealed(&log(), "s", 1)].into()).await;
    assert_eq!(answers[0].as_ref().unwrap_err().kind(), &ErrorKind::TooLarge);
    assert!(
        answers[1].is_ok() && answers[2].is_ok(),
        "keys that were too large took the neighbours with them: {answers:?}"
    );
    assert_eq!(keys_of(&*store, &log(), "s").await.unwrap().body, [7; 100]);
}

/// Writes and guards count together, twice as many as changes.
pub(crate) async fn one_key_more_than_a_commit_takes_is_too_large(backend: Backend) {
    let store = backend.open_with(Limits::default().with_commit_changes(4)).await.store;
    let with = |writes: u64| {
        let keys = (0..writes).map(|n| keys(&n.to_string(), 0, 1)).collect();
        let commit = Commit { keys, ..commit(&log(), vec![note("a", 1)]) };
        guarded(guarded(guarded(commit, "x", 0), "y", 0), "z", 0)
    };
    assert_error(&refused(&*store, with(6)).await, &ErrorKind::TooLarge, "8");
    put(&*store, with(5)).await;
    assert_eq!(all_keys(&*store, &log()).await.len(), 5);
}

pub(crate) async fn a_repeated_commit_is_answered_whatever_its_keys(backend: Backend) {
    let opened = backend.open().await;
    let (store, other) = (Arc::clone(&opened.store), opened.other_handle().await);
    let once = guarded(keyed(commit(&log(), vec![note("a", 1), note("b", 1)]), keys("s", 0, 1)), "t", 0);
    let first = put(&*store, once.clone()).await;
    put(&*store, of_keys(&log(), vec![keys("s", 1, 2), keys("t", 0, 1)])).await;
    let before = Everything::of(&*store, &log()).await;
    let mut other_keys = once.clone();
    other_keys.keys = vec![with_id(keys("s", 2, 3), key_id(1)), keys("u", 0, 1)];
    for (handle, again) in [(&store, &once), (&other, &once), (&store, &other_keys), (&other, &other_keys)] {
        assert_eq!(put(&**handle, again.clone()).await, first, "the answer is of then, not of now");
        assert_eq!(Everything::of(&**handle, &log()).await, before, "a repeated commit had an effect");
    }
    let in_one_batch = store.commit([once.clone(), of_keys(&log(), vec![keys("s", 2, 3)]), once].into()).await;
    assert_eq!(in_one_batch[0].as_ref().unwrap(), &first);
    assert_eq!(in_one_batch[2].as_ref().unwrap(), &first);
    assert_eq!(keys_of(&*store, &log(), "s").await, Some(keys("s", 2, 3).row));
    assert_eq!(keys_by_id(&*store, &log(), key_id(1)).await, None);
}
