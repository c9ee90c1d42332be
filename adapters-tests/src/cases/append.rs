//! Appending, and the order of events.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::StreamExt;
use rekindle_core::ErrorKind;
use rekindle_core::store::{EventStoreExt, Head};
use rekindle_core::types::{ActionName, ActionType, Actor, EventId, EventQuery, Payload, Position, Timestamp};

use crate::fixture::Backend;
use crate::look::{Everything, assert_error, events, positions, put, refused};
use crate::sample::{commit, event, json, log, note, number, only, tenant};

pub(crate) async fn a_new_store_is_empty(backend: Backend) {
    let store = backend.open().await.store;
    assert_eq!(store.head(&log()).await.unwrap(), Head::default());
    assert_eq!(store.read(&log(), &EventQuery::new()).await.unwrap().items, []);
    assert_eq!(store.read(&log(), &EventQuery::new()).await.unwrap().next, None);
}

pub(crate) async fn the_first_event_is_at_position_1(backend: Backend) {
    let store = backend.open().await.store;
    assert_eq!(positions(&put(&*store, commit(&log(), vec![note("a", 1)])).await), [1]);
    assert_eq!(store.head(&log()).await.unwrap().position, Position::new(1));
    assert_eq!(events(&*store, &log()).await[0].position, Position::new(1));
}

pub(crate) async fn an_event_reads_back_field_by_field(backend: Backend) {
    let store = backend.open().await.store;
    let mut full =
        event("Ünïcode/'%\u{1f980}", json(r#"{ "b": 1.10, "a":123456789012345678901234567890, "A":"\u00e9" }"#));
    full.action = ActionName::new("re-name.v2_x").unwrap();
    full.action_type = ActionType::Destroy;
    full.version = u32::MAX;
    full.actor = Some(Actor::new("api_client", "mobile/1 '%").unwrap());
    full.changed_attributes = Payload::Sealed((0..=255).collect());
    full.removed_attributes =
        vec!["z".to_owned(), String::new(), "a".to_owned(), "z".to_owned(), "é \u{1f980}".to_owned()];
    full.metadata = json(r#"{"request":"1"}"#).into();
    full.occurred_at = Timestamp::min();
    let mut bare = event("b", json("{}"));
    (bare.actor, bare.version, bare.action_type) = (None, 0, ActionType::Create);
    (bare.data, bare.metadata) = (Payload::Sealed(Vec::new()), Payload::Sealed(vec![0]));
    put(&*store, commit(&log(), vec![only(full.clone()), only(bare.clone())])).await;
    let stored = events(&*store, &log()).await;
    assert_eq!(stored.len(), 2);
    for (stored, given) in stored.iter().zip([&full, &bare]) {
        assert_eq!(&stored.event, given);
        assert_eq!(stored.revision, None, "an event without a record write has no revision");
    }
}

pub(crate) async fn a_batch_keeps_its_input_order(backend: Backend) {
    let store = backend.open().await.store;
    let logs = [tenant("1"), tenant("2")];
    let batch = (0..60).map(|n| commit(&logs[n % 2], vec![note("a", n as u64), note("b", n as u64)])).collect();
    let answers = store.commit(batch).await;
    for (n, answer) in answers.iter().enumerate() {
        let first = 2 * (n as u64 / 2) + 1;
        assert_eq!(positions(answer.as_ref().unwrap()), [first, first + 1], "commit {n} of the batch");
    }
    for (nth, log) in logs.iter().enumerate() {
        let stored = events(&*store, log).await;
        let expected: Vec<Payload> =
            (0..60).filter(|n| n % 2 == nth).flat_map(|n| [n, n]).map(|n| number(n as u64).into()).collect();
        assert_eq!(stored.iter().map(|event| event.data.clone()).collect::<Vec<_>>(), expected);
        assert!(stored.chunks(2).all(|pair| pair[0].record_id.as_str() == "a" && pair[1].record_id.as_str() == "b"));
    }
}

pub(crate) async fn a_commit_is_contiguous_among_racers(backend: Backend) {
    let store = backend.open().await.store;
    let racers = (0..8).map(|racer| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            for n in 0..10 {
                let committed =
                    put(&*store, commit(&log(), (0..3).map(|_| note(&racer.to_string(), n)).collect())).await;
                let first = committed.events[0].position.get();
                assert_eq!(positions(&committed), [first, first + 1, first + 2], "a commit was torn apart");
            }
        })
    });
    for ended in futures::future::join_all(racers).await {
        ended.unwrap();
    }
    let stored = events(&*store, &log()).await;
    assert_eq!(stored.len(), 240);
    assert!(
        stored.chunks(3).all(|three| three
            .iter()
            .all(|event| event.record_id == three[0].record_id && event.data == three[0].data))
    );
}

pub(crate) async fn an_empty_batch_is_a_no_op(backend: Backend) {
    let store = backend.open().await.store;
    assert_eq!(store.commit([].into()).await.len(), 0);
    put(&*store, commit(&log(), vec![note("a", 1)])).await;
    let before = Everything::of(&*store, &log()).await;
    assert_eq!(store.commit([].into()).await.len(), 0);
    assert_eq!(Everything::of(&*store, &log()).await, before);
}

pub(crate) async fn positions_are_dense_from_1(backend: Backend) {
    let store = backend.open().await.store;
    let mut next = 1;
    for size in [1, 3, 2, 7, 1, 1, 5] {
        let committed = put(&*store, commit(&log(), (0..size).map(|n| note("a", n)).collect())).await;
        assert_eq!(positions(&committed), (next..next + size).collect::<Vec<_>>());
        next += size;
        assert_eq!(store.head(&log()).await.unwrap().position.get(), next - 1);
    }
    let stored: Vec<u64> = events(&*store, &log()).await.iter().map(|event| event.position.get()).collect();
    assert_eq!(stored, (1..next).collect::<Vec<_>>());
}

pub(crate) async fn a_failed_commit_leaves_no_gap(backend: Backend) {
    let store = backend.open().await.store;
    let twice = note("a", 0);
    for n in 1..=5 {
        let error = refused(&*store, commit(&log(), vec![note("a", 0), twice.clone(), twice.clone()])).await;
        assert_eq!(error.kind(), &ErrorKind::Invalid);
        assert_eq!(positions(&put(&*store, commit(&log(), vec![note("a", n)])).await), [n]);
    }
}

pub(crate) async fn what_completed_before_has_the_lower_position(backend: Backend) {
    let store = backend.open().await;
    let handles = [Arc::clone(&store.store), store.other_handle().await];
    let clock = Arc::new(AtomicU64::new(0));
    let racers = (0..6).map(|racer| {
        let (store, clock) = (Arc::clone(&handles[racer % 2]), Arc::clone(&clock));
        tokio::spawn(async move {
            let mut done = Vec::new();
            for n in 0..12 {
                let began = clock.fetch_add(1, Ordering::SeqCst);
                let position = put(&*store, commit(&log(), vec![note("a", n)])).await.events[0].position;
                done.push((began, clock.fetch_add(1, Ordering::SeqCst), position));
            }
            done
        })
    });
    let done: Vec<_> = futures::future::join_all(racers).await.into_iter().flat_map(Result::unwrap).collect();
    for (_, ended, earlier) in &done {
        for (began, _, later) in &done {
            assert!(ended > began || earlier < later, "{earlier} was answered before the commit of {later} began");
        }
    }
}

pub(crate) async fn a_tailing_reader_sees_every_event_in_order(backend: Backend) {
    let opened = backend.open().await;
    let (store, reader) = (Arc::clone(&opened.store), opened.other_handle().await);
    let seen = tokio::spawn(async move {
        let log = log();
        let tail = reader.tail(&log, EventQuery::new().with_limit(7));
        tail.take(160).map(|event| event.unwrap().position.get()).collect::<Vec<_>>().await
    });
    let writers = (0..4).map(|writer| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            for n in 0..20 {
                put(&*store, commit(&log(), vec![note(&writer.to_string(), n), note("b", n)])).await;
            }
        })
    });
    for ended in futures::future::join_all(writers).await {
        ended.unwrap();
    }
    assert_eq!(seen.await.unwrap(), (1..=160).collect::<Vec<_>>());
}

pub(crate) async fn changed_returns_when_the_log_has_grown(backend: Backend) {
    let store = backend.open().await.store;
    put(&*store, commit(&log(), vec![note("a", 1)])).await;
    store.changed(&log(), Position::ZERO).await.unwrap();
    let mut waiting = Box::pin(async {
        // It may return early, so it is asked until there is more.
        while store.head(&log()).await.unwrap().position < Position::new(2) {
            store.changed(&log(), Position::new(1)).await.unwrap();
        }
    });
    assert!(futures::poll!(&mut waiting).is_pending());
    put(&*store, commit(&tenant("other"), vec![note("a", 1)])).await;
    assert!(futures::poll!(&mut waiting).is_pending(), "another log has grown, not this one");
    put(&*store, commit(&log(), vec![note("a", 2)])).await;
    waiting.await;
}

pub(crate) async fn an_event_id_is_in_a_log_once(backend: Backend) {
    let store = backend.open().await.store;
    let first = event("a", number(1));
    put(&*store, commit(&log(), vec![only(first.clone())])).await;
    let mut again = event("b", number(2));
    again.id = first.id;
    let error = refused(&*store, commit(&log(), vec![only(again.clone())])).await;
    assert_error(&error, &ErrorKind::IdReused, &first.id.to_string());
    put(&*store, commit(&tenant("other"), vec![only(again)])).await;
    let ids: HashSet<EventId> = events(&*store, &log()).await.iter().map(|event| event.id).collect();
    assert_eq!(ids, HashSet::from([first.id]));
}

pub(crate) async fn an_event_twice_in_one_commit_is_invalid(backend: Backend) {
    let store = backend.open().await.store;
    let twice = note("a", 1);
    let id = twice.event.as_ref().unwrap().id;
    let error = refused(&*store, commit(&log(), vec![twice.clone(), note("b", 1), twice])).await;
    assert_error(&error, &ErrorKind::Invalid, &id.to_string());
}

pub(crate) async fn logs_are_isolated(backend: Backend) {
    let store = backend.open().await.store;
    // Names of which a careless key makes one of another.
    let names = ["a", "A", "a.b", "a-b", "a_b", "ab", "a.b.c", "aXb", "a1", "a10"];
    let logs: Vec<_> = names.iter().map(|name| rekindle_core::types::LogId::new(name).unwrap()).collect();
    assert_each_has_its_own(&store, &logs).await;
}

pub(crate) async fn tenants_are_isolated(backend: Backend) {
    let store = backend.open().await.store;
    let mut logs = vec![log()];
    logs.extend(crate::sample::TRICKY.iter().map(|text| tenant(text)));
    assert_each_has_its_own(&store, &logs).await;
}

async fn assert_each_has_its_own(store: &Arc<dyn rekindle_core::store::Store>, logs: &[rekindle_core::types::LogId]) {
    for (nth, log) in logs.iter().enumerate() {
        assert_eq!(events(&**store, log).await, [], "{log:?} has events of another log");
        let committed = put(&**store, commit(log, vec![note("a", nth as u64), note("a", nth as u64)])).await;
        assert_eq!(positions(&committed), [1, 2], "the positions of {log:?} are not its own");
    }
    for (nth, log) in logs.iter().enumerate() {
        let stored = events(&**store, log).await;
        assert_eq!(stored.len(), 2, "{log:?}");
        assert!(
            stored.iter().all(|event| event.data == number(nth as u64).into()),
            "{log:?} has events of another log"
        );
    }
}
