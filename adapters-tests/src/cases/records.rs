//! Records.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::TryStreamExt;
use rekindle_core::ErrorKind;
use rekindle_core::store::{ResourceStoreExt, Store};
use rekindle_core::types::{
    Commit, Expected, Json, Limits, Order, Record, RecordCursor, RecordKey, RecordQuery, ResourceName, Revision,
    WriteState,
};

use crate::fixture::Backend;
use crate::look::{assert_error, events, n, number_in, positions, put, record, records, refused};
use crate::sample::{
    TRICKY, change, commit, create, destroy, email, json, key, log, number, resource, set, state, tenant, update,
};

pub(crate) async fn create_then_get_is_identity(backend: Backend) {
    let store = backend.open().await.store;
    let state =
        WriteState { attributes: json(r#"{ "b": [1, {"x":null}], "a":"\u00e9é" }"#), identities: vec![email("x@y")] };
    put(&*store, commit(&log(), vec![change("a", Expected::Absent, Some(state.clone()))])).await;
    let WriteState { attributes, identities } = state;
    let expected = Record { key: key("a"), revision: Revision::new(1), attributes, identities };
    assert_eq!(record(&*store, &log(), "a").await, Some(expected.clone()));
    assert_eq!(records(&*store, &log()).await, [expected]);
}

pub(crate) async fn a_duplicate_create_is_refused(backend: Backend) {
    let store = backend.open().await.store;
    put(&*store, commit(&log(), vec![create("a", 1)])).await;
    put(&*store, commit(&log(), vec![update("a", 1, 2)])).await;
    let error = refused(&*store, commit(&log(), vec![create("a", 3)])).await;
    assert_error(&error, &ErrorKind::AlreadyExists { actual: Revision::new(2) }, "suite.item/a");
}

pub(crate) async fn an_update_of_a_missing_record_is_not_found(backend: Backend) {
    let store = backend.open().await.store;
    put(&*store, commit(&log(), vec![create("gone", 1)])).await;
    put(&*store, commit(&log(), vec![destroy("gone")])).await;
    for id in ["missing", "gone"] {
        for expected in [Expected::Exists, Expected::Revision(Revision::new(1)), Expected::Revision(Revision::new(2))] {
            for state in [Some(state(1)), None] {
                let error = refused(&*store, commit(&log(), vec![change(id, expected, state)])).await;
                assert_error(&error, &ErrorKind::NotFound, &format!("suite.item/{id}"));
            }
        }
    }
}

pub(crate) async fn a_destroyed_record_is_gone(backend: Backend) {
    let store = backend.open().await.store;
    put(&*store, commit(&log(), vec![create("a", 1), create("b", 2)])).await;
    put(&*store, commit(&log(), vec![change("a", Expected::Revision(Revision::new(1)), None)])).await;
    assert_eq!(record(&*store, &log(), "a").await, None);
    assert_eq!(records(&*store, &log()).await.iter().map(number_in).collect::<Vec<_>>(), [2]);
    // Whoever does not care whether it is there may destroy it again.
    put(&*store, commit(&log(), vec![change("a", Expected::Any, None)])).await;
    assert_eq!(record(&*store, &log(), "a").await, None);
}

pub(crate) async fn the_revision_goes_up_once_a_write(backend: Backend) {
    let store = backend.open().await.store;
    let writes =
        [create("a", 1), set("a", state(2)), update("a", 2, 3), destroy("a"), set("a", state(5)), set("a", state(5))];
    for (nth, write) in writes.into_iter().enumerate() {
        let revision = Revision::new(nth as u64 + 1);
        let committed = put(&*store, commit(&log(), vec![write])).await;
        assert_eq!(committed.events[0].revision, Some(revision));
        assert_eq!(events(&*store, &log()).await[nth].revision, Some(revision));
        if let Some(found) = record(&*store, &log(), "a").await {
            assert_eq!(found.revision, revision, "a write of the same content is a write, too");
        }
    }
}

pub(crate) async fn each_expectation_is_as_documented(backend: Backend) {
    let store = backend.open().await.store;
    put(&*store, commit(&log(), vec![set("there", state(1))])).await;
    for (id, expected) in
        [("there", Expected::Any), ("there", Expected::Exists), ("new", Expected::Absent), ("newer", Expected::Any)]
    {
        put(&*store, commit(&log(), vec![change(id, expected, Some(state(2)))])).await;
        assert_eq!(n(&*store, &log(), id).await, Some(2));
    }
    assert_eq!(record(&*store, &log(), "there").await.unwrap().revision, Revision::new(3));
}

/// Each of these texts is stored and read back as it is.
async fn texts_are_exact(backend: Backend, texts: &[&str]) {
    let store = backend.open().await.store;
    for (nth, text) in texts.iter().enumerate() {
        let id = nth.to_string();
        put(&*store, commit(&log(), vec![set(&id, WriteState { attributes: json(text), identities: Vec::new() })]))
            .await;
        assert_eq!(record(&*store, &log(), &id).await.unwrap().attributes.as_str(), *text);
        assert_eq!(events(&*store, &log()).await[nth].data.json().unwrap().as_str(), *text);
    }
}

pub(crate) async fn null_missing_and_empty_differ(backend: Backend) {
    texts_are_exact(
        backend,
        &[r#"{"a":null}"#, "{}", r#"{"a":""}"#, r#"{"a":[]}"#, r#"{"a":{}}"#, r#"{"a":0}"#, r#"{"":false}"#],
    )
    .await;
}

pub(crate) async fn numbers_are_exact(backend: Backend) {
    let numbers = [
        r#"{"a":9223372036854775807,"b":-9223372036854775808,"c":18446744073709551615}"#,
        r#"{"a":9007199254740993,"b":123456789012345678901234567890}"#,
        r#"{"a":1.7976931348623157e308,"b":5e-324,"c":-0.0,"d":0.1,"e":1e400}"#,
        r#"{"a":1.0,"b":1,"c":1.10,"d":1E5,"e":100000}"#,
    ];
    texts_are_exact(backend, &numbers).await;
}

pub(crate) async fn the_order_of_keys_is_kept_and_means_nothing(backend: Backend) {
    let store = backend.open().await.store;
    let (one, other) = (json(r#"{"b":1, "a":2}"#), json(r#"{"a":2,"b":1}"#));
    for (id, attributes) in [("a", &one), ("b", &other)] {
        put(
            &*store,
            commit(&log(), vec![set(id, WriteState { attributes: attributes.clone(), identities: Vec::new() })]),
        )
        .await;
    }
    let stored = records(&*store, &log()).await;
    assert_eq!((&stored[0].attributes, &stored[1].attributes), (&one, &other));
    assert!(stored[0].attributes.same_value(&stored[1].attributes));
}

pub(crate) async fn get_answers_in_the_order_of_the_keys(backend: Backend) {
    let store = backend.open().await.store;
    put(&*store, commit(&log(), vec![create("a", 1), create("b", 2), create("c", 3)])).await;
    put(&*store, commit(&tenant("1"), vec![create("d", 4)])).await;
    let keys = ["c", "d", "a", "a", "missing", "b"].map(key);
    let found = store.get(&log(), &keys).await.unwrap();
    let found: Vec<_> = found.iter().map(|record| record.as_ref().map(number_in)).collect();
    assert_eq!(found, [Some(3), None, Some(1), Some(1), None, Some(2)]);
    assert_eq!(store.get(&log(), &[]).await.unwrap(), []);
    assert_eq!(store.get(&tenant("unknown"), &keys[..2]).await.unwrap(), [None, None]);
    let other = RecordKey::new("suite.other", "a").unwrap();
    assert_eq!(store.get_one(&log(), &other).await.unwrap(), None);
}

/// Records of two resources and two logs, under ids that sort in many ways.
async fn many(backend: Backend, limits: Limits) -> (Arc<dyn Store>, BTreeMap<Vec<u8>, u64>) {
    let store = backend.open_with(limits).await.store;
    let ids = (0..40).map(|n| format!("{}", n * 7 % 40)).chain(TRICKY.iter().map(|text| format!("{text}~")));
    let mut expected = BTreeMap::new();
    let mut changes = Vec::new();
    for (nth, id) in ids.enumerate() {
        let mut other = set(&id, state(1_000));
        other.write.as_mut().unwrap().key.resource = "suite.items".parse().unwrap();
        other.event = None;
        changes.extend([set(&id, state(nth as u64)), other]);
        expected.insert(id.into_bytes(), nth as u64);
    }
    put(&*store, commit(&log(), changes)).await;
    put(&*store, commit(&tenant("1"), vec![set("zz", state(2_000))])).await;
    put(&*store, commit(&log(), vec![destroy("5"), destroy("30")])).await;
    expected.retain(|id, _| id != b"5" && id != b"30");
    (store, expected)
}

pub(crate) async fn list_sorts_by_the_bytes_of_the_id(backend: Backend) {
    let (store, expected) = many(backend, Limits::default()).await;
    let listed: Vec<_> = records(&*store, &log())
        .await
        .iter()
        .map(|record| (record.key.id.as_str().as_bytes().to_vec(), number_in(record)))
        .collect();
    assert_eq!(listed, expected.clone().into_iter().collect::<Vec<_>>());
    let backward = store.list(&log(), &RecordQuery::new(resource()).with_order(Order::Backward)).await.unwrap().items;
    assert_eq!(backward.iter().map(number_in).collect::<Vec<_>>(), expected.into_values().rev().collect::<Vec<_>>());
}

pub(crate) async fn pages_of_records_concatenate_to_the_whole(backend: Backend) {
    let (store, expected) = many(backend, Limits::default().with_page_rows(50)).await;
    for order in [Order::Forward, Order::Backward] {
        let mut whole: Vec<u64> = expected.values().copied().collect();
        if order == Order::Backward {
            whole.reverse();
        }
        for size in [1, 2, 7, 50, 79, 1_000] {
            let query = RecordQuery::new(resource()).with_order(order).with_limit(size);
            assert!(store.list(&log(), &query).await.unwrap().items.len() <= size.min(50), "a page is over its limit");
            let paged: Vec<Record> = store.stream_records(&log(), query).try_collect().await.unwrap();
            assert_eq!(paged.iter().map(number_in).collect::<Vec<_>>(), whole, "in pages of {size}");
        }
    }
    let none = store.list(&log(), &RecordQuery::new(resource()).with_limit(0)).await.unwrap();
    assert_eq!((none.items.len(), none.next), (0, None));
    let unknown = store.list(&tenant("unknown"), &RecordQuery::new(resource())).await.unwrap();
    assert_eq!((unknown.items.len(), unknown.next), (0, None));
}

pub(crate) async fn a_random_list_equals_the_reference(backend: Backend) {
    let (store, expected) = many(backend, Limits::default()).await;
    let ids: Vec<&Vec<u8>> = expected.keys().collect();
    for nth in 0..60_usize {
        let (behind, limit) = (std::str::from_utf8(ids[nth * 31 % ids.len()]).unwrap(), nth % 11);
        let cursor = RecordCursor::new(key(behind)).to_string().parse::<RecordCursor>().unwrap();
        let query = RecordQuery::new(resource()).with_cursor(cursor).with_limit(limit);
        let forward: Vec<u64> =
            expected.iter().filter(|(id, _)| &id[..] > behind.as_bytes()).map(|(_, n)| *n).take(limit).collect();
        let backward: Vec<u64> =
            expected.iter().rev().filter(|(id, _)| &id[..] < behind.as_bytes()).map(|(_, n)| *n).take(limit).collect();
        for (order, reference) in [(Order::Forward, forward), (Order::Backward, backward)] {
            let listed = store.list(&log(), &query.clone().with_order(order)).await.unwrap();
            assert_eq!(
                listed.items.iter().map(number_in).collect::<Vec<_>>(),
                reference,
                "{limit} behind {behind:?}, {order:?}"
            );
        }
    }
}

pub(crate) async fn a_cursor_survives_the_end_of_its_row(backend: Backend) {
    let store = backend.open().await.store;
    put(&*store, commit(&log(), (0..6).map(|n| create(&n.to_string(), n)).collect())).await;
    let query = RecordQuery::new(resource()).with_limit(3);
    let first = store.list(&log(), &query).await.unwrap();
    put(&*store, commit(&log(), vec![destroy("2"), destroy("3"), create("1a", 9), create("4a", 10)])).await;
    let rest = store.list(&log(), &query.with_cursor(first.next.unwrap())).await.unwrap().items;
    assert_eq!(rest.iter().map(number_in).collect::<Vec<_>>(), [4, 10, 5]);
}

pub(crate) async fn a_forged_cursor_is_invalid(backend: Backend) {
    let store = backend.open().await.store;
    put(&*store, commit(&log(), vec![create("a", 1), create("b", 2)])).await;
    let cursor = RecordCursor::new(RecordKey::new("suite.other", "a").unwrap());
    let error = store.list(&log(), &RecordQuery::new(resource()).with_cursor(cursor)).await.unwrap_err();
    assert_error(&error, &ErrorKind::Invalid, "suite.other");
    let next = store.list(&log(), &RecordQuery::new(resource()).with_limit(1)).await.unwrap().next.unwrap();
    let forged = next.to_string().replace("/a", "/b");
    assert_error(&forged.parse::<RecordCursor>().unwrap_err(), &ErrorKind::Invalid, &forged);
}

pub(crate) async fn any_text_is_a_record_id(backend: Backend) {
    let store = backend.open().await.store;
    put(&*store, commit(&log(), TRICKY.iter().enumerate().map(|(nth, id)| create(id, nth as u64)).collect())).await;
    for (nth, id) in TRICKY.iter().enumerate() {
        assert_eq!(n(&*store, &log(), id).await, Some(nth as u64), "{id:?}");
    }
    assert_eq!(records(&*store, &log()).await.len(), TRICKY.len());
}

pub(crate) async fn resources_are_apart(backend: Backend) {
    let store = backend.open().await.store;
    let names = ["suite", "suite.item", "suite.items", "suite.Item", "suite-item", "s"];
    for (nth, name) in names.iter().enumerate() {
        let mut write = set("a", state(nth as u64));
        write.write.as_mut().unwrap().key.resource = name.parse().unwrap();
        write.event = None;
        let one: Commit = commit(&log(), vec![write]);
        assert_eq!(positions(&put(&*store, one).await), Vec::<u64>::new());
    }
    for (nth, name) in names.iter().enumerate() {
        let listed = store.list(&log(), &RecordQuery::new(ResourceName::new(name).unwrap())).await.unwrap().items;
        let expected: Json = number(nth as u64);
        assert_eq!(listed.iter().map(|record| &record.attributes).collect::<Vec<_>>(), [&expected], "{name}");
    }
}
