//! All or none.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rekindle_core::ErrorKind;
use rekindle_core::store::{EventStoreExt, Store};
use rekindle_core::types::{Change, Commit, EventQuery, Expected, Limits, RecordQuery, Revision};

use crate::fixture::Backend;
use crate::look::{
    Everything, assert_error, events, fold, live, n, number_in, positions, put, record, records, refused,
};
use crate::sample::{
    change, check, checked, commit, create, destroy, json, key, log, note, owning, resource, set, state, update,
};

pub(crate) async fn every_change_has_its_event(backend: Backend) {
    let store = backend.open().await.store;
    let steps = [create("a", 1), update("a", 1, 2), create("b", 1), destroy("a"), create("a", 5)];
    for (nth, step) in steps.into_iter().enumerate() {
        let (event, write) = (step.event.clone().unwrap(), step.write.clone().unwrap());
        let answer = put(&*store, commit(&log(), vec![step])).await;
        let stored = events(&*store, &log()).await;
        assert_eq!(stored.len(), nth + 1, "a change without an event, or an event too many");
        let last = &stored[nth];
        assert_eq!(last.event, event);
        assert_eq!((last.position, last.revision), (answer.events[0].position, answer.events[0].revision));
        let found = record(&*store, &log(), write.key.id.as_str()).await;
        assert_eq!(
            found.as_ref().map(|record| &record.attributes),
            write.state.as_ref().map(|state| &state.attributes)
        );
        if let Some(found) = found {
            assert_eq!(Some(found.revision), last.revision, "the event and its record are at different revisions");
        }
    }
}

pub(crate) async fn a_failed_change_leaves_no_event(backend: Backend) {
    let store = backend.open().await.store;
    put(&*store, commit(&log(), vec![create("a", 1)])).await;
    let failing: [(Change, ErrorKind); 4] = [
        (create("a", 2), ErrorKind::AlreadyExists { actual: Revision::new(1) }),
        (update("a", 7, 2), ErrorKind::Conflict { actual: Some(Revision::new(1)) }),
        (update("b", 1, 2), ErrorKind::NotFound),
        (destroy("b"), ErrorKind::NotFound),
    ];
    for (change, kind) in failing {
        assert_eq!(refused(&*store, commit(&log(), vec![change])).await.kind(), &kind);
    }
    assert_eq!(events(&*store, &log()).await.len(), 1);
}

pub(crate) async fn a_failed_event_undoes_the_change(backend: Backend) {
    let store = backend.open_with(Limits::default().with_event_bytes(100)).await.store;
    let known = note("z", 1);
    put(&*store, commit(&log(), vec![known.clone()])).await;
    let mut other = note("z", 2);
    other.event.as_mut().unwrap().id = known.event.as_ref().unwrap().id;
    assert_eq!(refused(&*store, commit(&log(), vec![create("a", 1), other])).await.kind(), &ErrorKind::IdReused);
    let mut large = note("z", 3);
    large.event.as_mut().unwrap().data = json(&format!("{{\"n\":\"{}\"}}", "x".repeat(100))).into();
    assert_eq!(refused(&*store, commit(&log(), vec![create("a", 1), large])).await.kind(), &ErrorKind::TooLarge);
    assert_eq!(record(&*store, &log(), "a").await, None);
    put(&*store, commit(&log(), vec![create("a", 1)])).await;
}

pub(crate) async fn a_commit_over_several_records_is_all_or_none(backend: Backend) {
    let store = backend.open().await.store;
    put(&*store, commit(&log(), (0..5).map(|id| create(&id.to_string(), 1)).collect())).await;
    for broken in 0..5 {
        let changes = (0..5).map(|id| update(&id.to_string(), if id == broken { 9 } else { 1 }, 2)).collect();
        let error = refused(&*store, commit(&log(), changes)).await;
        assert_error(&error, &ErrorKind::Conflict { actual: Some(Revision::new(1)) }, &format!("suite.item/{broken}"));
    }
    put(&*store, commit(&log(), (0..5).map(|id| update(&id.to_string(), 1, 2)).collect())).await;
    assert!(records(&*store, &log()).await.iter().all(|record| number_in(record) == 2));
}

pub(crate) async fn no_reader_sees_half_a_commit(backend: Backend) {
    let opened = backend.open().await;
    let (store, reader) = (Arc::clone(&opened.store), opened.other_handle().await);
    put(&*store, commit(&log(), vec![set("a", owning(0, &["x"])), set("b", state(0))])).await;
    let done = Arc::new(AtomicBool::new(false));
    let over = Arc::clone(&done);
    let reading = tokio::spawn(async move {
        let mut rounds = 0;
        while !over.load(Ordering::SeqCst) || rounds < 20 {
            let both = reader.get(&log(), &[key("a"), key("b")]).await.unwrap();
            let both: Vec<u64> = both.iter().map(|record| number_in(record.as_ref().unwrap())).collect();
            assert_eq!(both[0], both[1], "get saw half a commit");
            let page = reader.list(&log(), &RecordQuery::new(resource())).await.unwrap().items;
            assert_eq!(number_in(&page[0]), number_in(&page[1]), "list saw half a commit");
            let owner = reader.find(&log(), &crate::sample::email_of("x")).await.unwrap();
            assert!(owner.is_some(), "find saw an identity between two owners");
            let seen = reader.read(&log(), &EventQuery::new()).await.unwrap().items.len();
            assert_eq!(seen % 2, 0, "read saw half a commit");
            let head = reader.head(&log()).await.unwrap().position.get();
            assert_eq!(head % 2, 0, "head saw half a commit");
            rounds += 1;
            tokio::task::yield_now().await;
        }
    });
    for n in 1..=60 {
        let owned = [owning(n, &["x"]), state(n)];
        let [a, b] = if n % 2 == 0 { owned } else { [state(n), owning(n, &["x"])] };
        put(&*store, commit(&log(), vec![set("a", a), set("b", b)])).await;
    }
    done.store(true, Ordering::SeqCst);
    reading.await.unwrap();
}

pub(crate) async fn the_log_folds_to_the_records(backend: Backend) {
    let opened = backend.open().await;
    let handles = [Arc::clone(&opened.store), opened.other_handle().await];
    let writers = (0..6_u64).map(|writer| {
        let store = Arc::clone(&handles[(writer % 2) as usize]);
        tokio::spawn(async move {
            for n in 0..15 {
                let (one, two) = ((writer * n % 4).to_string(), ((writer + n) % 4).to_string());
                let first = if n % 5 == 4 { destroy(&one) } else { set(&one, state(100 * writer + n)) };
                let second = if n % 3 == 0 { create(&two, n) } else { set(&two, state(n)) };
                let _some_fail = store.commit_one(commit(&log(), vec![first, second])).await;
            }
        })
    });
    for ended in futures::future::join_all(writers).await {
        ended.unwrap();
    }
    let folded: Vec<_> = fold(&events(&*handles[0], &log()).await).values().filter_map(live).collect();
    assert_eq!(records(&*handles[1], &log()).await, folded);
    assert!(!folded.is_empty());
}

pub(crate) async fn values_of_a_failed_commit_are_never_read(backend: Backend) {
    let opened = backend.open().await;
    let (store, reader) = (Arc::clone(&opened.store), opened.other_handle().await);
    put(&*store, commit(&log(), vec![create("a", 1)])).await;
    let done = Arc::new(AtomicBool::new(false));
    let over = Arc::clone(&done);
    let reading = tokio::spawn(async move {
        let mut rounds = 0;
        while !over.load(Ordering::SeqCst) || rounds < 20 {
            assert_eq!(n(&*reader, &log(), "a").await, Some(1), "a reader saw a value that was never committed");
            assert_eq!(record(&*reader, &log(), "b").await, None, "a reader saw a record that was never committed");
            assert_eq!(reader.head(&log()).await.unwrap().position.get(), 1);
            rounds += 1;
            tokio::task::yield_now().await;
        }
    });
    for n in 2..60 {
        let failing = commit(&log(), vec![set("a", state(n)), create("b", n), destroy("missing")]);
        assert_eq!(store.commit_one(failing).await.unwrap_err().kind(), &ErrorKind::NotFound);
    }
    done.store(true, Ordering::SeqCst);
    reading.await.unwrap();
}

/// Two doctors may go off call only while the other is on.
pub(crate) async fn write_skew_is_prevented(backend: Backend) {
    let opened = backend.open().await;
    let handles = [Arc::clone(&opened.store), opened.other_handle().await];
    for round in 0..10 {
        let log = crate::sample::tenant(&round.to_string());
        put(&*handles[0], commit(&log, vec![create("a", 1), create("b", 1)])).await;
        let off = |own: &str, other: &str| {
            checked(commit(&log, vec![update(own, 1, 0)]), check(other, Expected::Revision(Revision::new(1))))
        };
        let (first, second) = (off("a", "b"), off("b", "a"));
        let (one, two) = tokio::join!(handles[0].commit_one(first), handles[1].commit_one(second));
        assert!(
            one.is_ok() != two.is_ok(),
            "of two that each read what the other writes, one must win: {one:?}, {two:?}"
        );
        let lost = one.err().or(two.err()).unwrap();
        assert_error(&lost, &ErrorKind::Conflict { actual: Some(Revision::new(2)) }, "suite.item/");
    }
}

pub(crate) async fn a_failure_in_a_batch_stays_its_own(backend: Backend) {
    let store = backend.open().await.store;
    put(&*store, commit(&log(), vec![set("a", owning(1, &["x"]))])).await;
    let twice = note("a", 0);
    let failing: Vec<Commit> = vec![
        commit(&log(), vec![create("new", 1), create("a", 2)]),
        commit(&log(), vec![create("new", 1), update("a", 9, 2)]),
        commit(&log(), vec![create("new", 1), destroy("missing")]),
        commit(&log(), vec![create("new", 1), set("b", owning(1, &["x"]))]),
        commit(&log(), vec![create("new", 1), twice.clone(), twice]),
        checked(commit(&log(), vec![create("new", 1)]), check("a", Expected::Absent)),
    ];
    let mut batch = Vec::new();
    for (nth, fails) in failing.into_iter().enumerate() {
        batch.push(commit(&log(), vec![create(&format!("before-{nth}"), 1)]));
        batch.push(fails);
    }
    batch.push(commit(&log(), vec![create("last", 1)]));
    let answers = store.commit(batch.into()).await;
    assert_eq!(answers.len(), 13, "each commit has one answer");
    for (nth, answer) in answers.iter().enumerate() {
        match answer {
            Ok(committed) => {
                assert_eq!(nth % 2, 0, "commit {nth} of the batch must fail");
                assert_eq!(positions(committed), [2 + nth as u64 / 2]);
            }
            Err(error) => assert_eq!(nth % 2, 1, "commit {nth} of the batch failed with its neighbour: {error:?}"),
        }
    }
    assert_eq!(records(&*store, &log()).await.len(), 8);
    assert_eq!(record(&*store, &log(), "new").await, None);
}

pub(crate) async fn a_commit_without_changes_is_harmless(backend: Backend) {
    let store = backend.open().await.store;
    assert_eq!(positions(&put(&*store, commit(&log(), Vec::new())).await), Vec::<u64>::new());
    put(&*store, commit(&log(), vec![note("a", 1)])).await;
    let before = Everything::of(&*store, &log()).await;
    assert_eq!(positions(&put(&*store, commit(&log(), Vec::new())).await), Vec::<u64>::new());
    assert_eq!(Everything::of(&*store, &log()).await, before);
}

pub(crate) async fn checks_hold_for_a_commit_without_changes(backend: Backend) {
    let store = backend.open().await.store;
    put(&*store, commit(&log(), vec![create("a", 1)])).await;
    put(&*store, checked(commit(&log(), Vec::new()), check("a", Expected::Exists))).await;
    let error = refused(&*store, checked(commit(&log(), Vec::new()), check("a", Expected::Absent))).await;
    assert_error(&error, &ErrorKind::Conflict { actual: Some(Revision::new(1)) }, "suite.item/a");
}

pub(crate) async fn checks_are_of_what_was_before_the_commit(backend: Backend) {
    let store = backend.open().await.store;
    put(&*store, checked(commit(&log(), vec![create("a", 1)]), check("a", Expected::Absent))).await;
    let error = refused(&*store, checked(commit(&log(), vec![create("b", 1)]), check("b", Expected::Exists))).await;
    assert_error(&error, &ErrorKind::Conflict { actual: None }, "suite.item/b");
}

pub(crate) async fn a_write_can_come_without_an_event(backend: Backend) {
    let store = backend.open().await.store;
    let silent = Change { event: None, ..set("a", state(1)) };
    assert_eq!(positions(&put(&*store, commit(&log(), vec![silent.clone(), note("b", 1)])).await), [1]);
    assert_eq!(positions(&put(&*store, commit(&log(), vec![silent])).await), Vec::<u64>::new());
    assert_eq!(events(&*store, &log()).await.len(), 1);
    assert_eq!(record(&*store, &log(), "a").await.unwrap().revision, Revision::new(2));
}

pub(crate) async fn an_event_is_of_the_record_that_its_change_writes(backend: Backend) {
    let store = backend.open().await.store;
    for (resource, id) in [("suite.item", "b"), ("suite.other", "a")] {
        let mut wrong = change("a", Expected::Any, Some(state(1)));
        let event = wrong.event.as_mut().unwrap();
        (event.resource, event.record_id) = (resource.parse().unwrap(), id.parse().unwrap());
        let error = refused(&*store, commit(&log(), vec![wrong])).await;
        assert_error(&error, &ErrorKind::Invalid, "suite.item/a");
    }
}

/// The store is one through whatever it is held by.
pub(crate) async fn a_store_behind_pointers_is_the_same(backend: Backend) {
    let store = backend.open().await.store;
    let boxed: Box<dyn Store> = Box::new(Arc::clone(&store));
    let arc: Arc<Box<dyn Store>> = Arc::new(boxed);
    put(&arc, commit(&log(), vec![create("a", 1)])).await;
    assert_eq!(Everything::of(&arc, &log()).await, Everything::of(&*store, &log()).await);
    assert_eq!(arc.info(), store.info());
}
