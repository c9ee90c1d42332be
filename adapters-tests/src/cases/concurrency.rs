//! Optimistic concurrency: revisions.

use std::sync::Arc;

use rekindle_core::ErrorKind;
use rekindle_core::store::{EventStoreExt, Store};
use rekindle_core::types::{Expected, Revision};
use tokio::sync::Barrier;

use crate::fixture::Backend;
use crate::look::{assert_error, events, kinds, n, put, record, refused};
use crate::sample::{change, check, checked, commit, create, destroy, log, note, set, state, update};

fn conflict(actual: Option<u64>) -> ErrorKind {
    ErrorKind::Conflict { actual: actual.map(Revision::new) }
}

/// A store whose record `a` is at revision 3, with `n` 3.
async fn at_revision_3(backend: Backend) -> Arc<dyn Store> {
    let store = backend.open().await.store;
    put(&*store, commit(&log(), vec![create("a", 1)])).await;
    put(&*store, commit(&log(), vec![update("a", 1, 2)])).await;
    put(&*store, commit(&log(), vec![update("a", 2, 3)])).await;
    store
}

/// Runs the same thing many times at once, on two handles, and gives what each gave.
pub(super) async fn race<T, F, Fut>(
    backend: Backend,
    store: Option<(Arc<dyn Store>, Arc<dyn Store>)>,
    racers: usize,
    run: F,
) -> Vec<T>
where
    T: Send + 'static,
    F: Fn(Arc<dyn Store>, usize) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = T> + Send + 'static,
{
    let handles = match store {
        Some(handles) => handles,
        None => {
            let opened = backend.open().await;
            (Arc::clone(&opened.store), opened.other_handle().await)
        }
    };
    let start = Arc::new(Barrier::new(racers));
    let racing = (0..racers).map(|racer| {
        let store = Arc::clone(if racer % 2 == 0 { &handles.0 } else { &handles.1 });
        let (run, start) = (run.clone(), Arc::clone(&start));
        tokio::spawn(async move {
            start.wait().await;
            run(store, racer).await
        })
    });
    futures::future::join_all(racing).await.into_iter().map(Result::unwrap).collect()
}

pub(super) async fn two_handles(backend: Backend) -> (Arc<dyn Store>, Arc<dyn Store>) {
    let opened = backend.open().await;
    (Arc::clone(&opened.store), opened.other_handle().await)
}

pub(crate) async fn a_stale_revision_conflicts(backend: Backend) {
    let store = at_revision_3(backend).await;
    for stale in [0, 1, 2, 4, u64::MAX] {
        let error = refused(&*store, commit(&log(), vec![update("a", stale, 9)])).await;
        assert!(matches!(error.kind(), ErrorKind::Conflict { .. }), "revision {stale} was taken: {error:?}");
        assert!(error.message().contains("suite.item/a"), "{}", error.message());
        let destroyed = change("a", Expected::Revision(Revision::new(stale)), None);
        let error = refused(&*store, commit(&log(), vec![destroyed])).await;
        assert!(matches!(error.kind(), ErrorKind::Conflict { .. }), "{error:?}");
    }
    assert_eq!(n(&*store, &log(), "a").await, Some(3));
    put(&*store, commit(&log(), vec![update("a", 3, 4)])).await;
}

pub(crate) async fn a_conflict_reports_the_actual_revision(backend: Backend) {
    let store = at_revision_3(backend).await;
    assert_error(&refused(&*store, commit(&log(), vec![update("a", 2, 9)])).await, &conflict(Some(3)), "suite.item/a");
    let checks = [("a", Expected::Revision(Revision::new(2)), Some(3)), ("a", Expected::Absent, Some(3))];
    let missing = [("b", Expected::Exists, None), ("b", Expected::Revision(Revision::new(1)), None)];
    for (id, expected, actual) in checks.into_iter().chain(missing) {
        let error = refused(&*store, checked(commit(&log(), vec![note("c", 1)]), check(id, expected))).await;
        assert_error(&error, &conflict(actual), &format!("suite.item/{id}"));
    }
}

pub(crate) async fn a_check_that_holds_lets_the_commit_pass(backend: Backend) {
    let store = at_revision_3(backend).await;
    let checks = [
        ("a", Expected::Revision(Revision::new(3))),
        ("a", Expected::Exists),
        ("a", Expected::Any),
        ("b", Expected::Any),
        ("b", Expected::Absent),
    ];
    for (id, expected) in checks {
        put(&*store, checked(commit(&log(), vec![note("c", 1)]), check(id, expected))).await;
    }
    assert_eq!(record(&*store, &log(), "a").await.unwrap().revision, Revision::new(3), "a check wrote");
    assert_eq!(record(&*store, &log(), "b").await, None, "a check wrote");
}

pub(crate) async fn a_destroyed_record_is_not_there_for_a_check(backend: Backend) {
    let store = at_revision_3(backend).await;
    put(&*store, commit(&log(), vec![destroy("a")])).await;
    put(&*store, checked(commit(&log(), vec![note("c", 1)]), check("a", Expected::Absent))).await;
    for expected in [Expected::Exists, Expected::Revision(Revision::new(4)), Expected::Revision(Revision::new(3))] {
        let error = refused(&*store, checked(commit(&log(), vec![note("c", 1)]), check("a", expected))).await;
        assert_error(&error, &conflict(None), "suite.item/a");
    }
}

pub(crate) async fn a_conflict_leaves_no_trace(backend: Backend) {
    let store = at_revision_3(backend).await;
    let many = vec![create("b", 1), set("c", state(1)), note("d", 1), update("a", 2, 9), create("e", 1)];
    assert_error(&refused(&*store, commit(&log(), many)).await, &conflict(Some(3)), "suite.item/a");
    for id in ["b", "c", "d", "e"] {
        assert_eq!(record(&*store, &log(), id).await, None);
    }
    put(&*store, commit(&log(), vec![create("b", 1), create("c", 1), create("e", 1)])).await;
}

pub(crate) async fn of_n_racers_one_wins(backend: Backend) {
    let handles = two_handles(backend).await;
    put(&*handles.0, commit(&log(), vec![create("a", 0)])).await;
    for round in 1..=4 {
        let answers = race(backend, Some(handles.clone()), 12, move |store, racer| async move {
            store.commit_one(commit(&log(), vec![update("a", round, 100 * round + racer as u64)])).await
        })
        .await;
        let winners: Vec<usize> =
            answers.iter().enumerate().filter(|(_, answer)| answer.is_ok()).map(|(racer, _)| racer).collect();
        assert_eq!(winners.len(), 1, "of 12 writers of one revision {} won", winners.len());
        assert_eq!(n(&*handles.1, &log(), "a").await, Some(100 * round + winners[0] as u64));
        for lost in answers.iter().filter_map(|answer| answer.as_ref().err()) {
            assert_error(lost, &conflict(Some(round + 1)), "suite.item/a");
        }
    }
    assert_eq!(events(&*handles.0, &log()).await.len(), 5);
}

pub(crate) async fn disjoint_records_never_conflict(backend: Backend) {
    let answers = race(backend, None, 12, |store, racer| async move {
        let id = racer.to_string();
        put(&*store, commit(&log(), vec![create(&id, 0)])).await;
        for revision in 1..6 {
            put(&*store, commit(&log(), vec![update(&id, revision, revision)])).await;
        }
        n(&*store, &log(), &id).await
    })
    .await;
    assert_eq!(answers, [Some(5); 12]);
}

pub(crate) async fn create_if_absent_has_one_winner(backend: Backend) {
    let answers = race(backend, None, 12, |store, racer| async move {
        (store.commit_one(commit(&log(), vec![create("a", racer as u64)])).await, n(&*store, &log(), "a").await)
    })
    .await;
    let winners: Vec<usize> =
        answers.iter().enumerate().filter(|(_, (answer, _))| answer.is_ok()).map(|(racer, _)| racer).collect();
    assert_eq!(winners.len(), 1, "one record was created {} times", winners.len());
    for (answer, seen) in answers {
        assert_eq!(seen, Some(winners[0] as u64));
        if let Err(lost) = answer {
            assert_error(&lost, &ErrorKind::AlreadyExists { actual: Revision::new(1) }, "suite.item/a");
        }
    }
}

pub(crate) async fn delete_and_recreate_defeats_aba(backend: Backend) {
    let store = backend.open().await.store;
    put(&*store, commit(&log(), vec![create("a", 1)])).await;
    let read = record(&*store, &log(), "a").await.unwrap();
    put(&*store, commit(&log(), vec![destroy("a")])).await;
    put(&*store, commit(&log(), vec![create("a", 1)])).await;
    let again = record(&*store, &log(), "a").await.unwrap();
    assert_eq!(
        (read.revision, again.revision),
        (Revision::new(1), Revision::new(3)),
        "revisions go on over a destruction"
    );
    assert_eq!(again.attributes, read.attributes);
    let error = refused(&*store, commit(&log(), vec![update("a", 1, 2)])).await;
    assert_error(&error, &conflict(Some(3)), "suite.item/a");
}

pub(crate) async fn read_then_update_loses_no_increment(backend: Backend) {
    let handles = two_handles(backend).await;
    put(&*handles.0, commit(&log(), vec![create("a", 0)])).await;
    let all_have_read = Arc::new(Barrier::new(6));
    race(backend, Some(handles.clone()), 6, move |store, _| {
        let all_have_read = Arc::clone(&all_have_read);
        async move {
            for nth in 0..6 {
                let mut first = nth == 0;
                loop {
                    let read = record(&*store, &log(), "a").await.unwrap();
                    let next = crate::look::number_in(&read) + 1;
                    if std::mem::take(&mut first) {
                        all_have_read.wait().await;
                    }
                    match store.commit_one(commit(&log(), vec![update("a", read.revision.get(), next)])).await {
                        Ok(_) => break,
                        Err(error) => assert!(matches!(error.kind(), ErrorKind::Conflict { .. }), "{error:?}"),
                    }
                }
            }
        }
    })
    .await;
    assert_eq!(n(&*handles.0, &log(), "a").await, Some(36));
    assert_eq!(events(&*handles.1, &log()).await.len(), 37);
}

pub(crate) async fn the_changes_of_a_commit_see_those_before(backend: Backend) {
    let store = backend.open().await.store;
    let changes = vec![create("a", 1), update("a", 1, 2), destroy("a"), create("a", 3), update("a", 4, 4)];
    let committed = put(&*store, commit(&log(), changes)).await;
    let revisions: Vec<_> = committed.events.iter().map(|event| event.revision.unwrap().get()).collect();
    assert_eq!(revisions, [1, 2, 3, 4, 5]);
    assert_eq!(record(&*store, &log(), "a").await.unwrap().revision, Revision::new(5));
    assert_eq!(n(&*store, &log(), "a").await, Some(4));
    let error = refused(&*store, commit(&log(), vec![update("a", 5, 5), update("a", 5, 6)])).await;
    assert_error(&error, &conflict(Some(6)), "suite.item/a");
}

pub(crate) async fn a_commit_sees_those_before_in_its_batch(backend: Backend) {
    let store = backend.open().await.store;
    let batch = vec![
        commit(&log(), vec![create("a", 1)]),
        commit(&log(), vec![create("a", 2)]),
        commit(&log(), vec![update("a", 1, 3)]),
        commit(&log(), vec![update("a", 1, 4)]),
        checked(commit(&log(), vec![destroy("a")]), check("a", Expected::Revision(Revision::new(2)))),
        commit(&log(), vec![update("a", 3, 5)]),
        commit(&log(), vec![create("a", 6)]),
    ];
    let kinds = kinds(&store.commit(batch.into()).await);
    let exists = ErrorKind::AlreadyExists { actual: Revision::new(1) };
    assert_eq!(kinds, [None, Some(exists), None, Some(conflict(Some(2))), None, Some(ErrorKind::NotFound), None]);
    assert_eq!(n(&*store, &log(), "a").await, Some(6));
    assert_eq!(record(&*store, &log(), "a").await.unwrap().revision, Revision::new(4));
    assert_eq!(events(&*store, &log()).await.len(), 4);
}
