//! How large, and which text.

use rekindle_core::ErrorKind;
use rekindle_core::store::{EventStoreExt, Store};
use rekindle_core::types::{
    Actor, Change, Expected, Identity, IdentityValue, Json, Limits, Payload, RecordId, RecordKey, Tenant, WriteState,
};

use crate::fixture::Backend;
use crate::look::{Everything, assert_error, events, positions, put, record, records, refused};
use crate::sample::{check, checked, commit, event, json, log, note, number, only, owning, set, state, tenant};

/// A JSON object of so many bytes.
fn sized(bytes: usize) -> Json {
    json(&format!("{{\"n\":\"{}\"}}", "x".repeat(bytes - 8)))
}

async fn assert_limit(store: &dyn Store, limit: usize, fits: Vec<Change>, over: Vec<Change>) {
    put(store, commit(&log(), fits)).await;
    let error = refused(store, commit(&log(), over.clone())).await;
    assert_error(&error, &ErrorKind::TooLarge, &limit.to_string());
    assert!(error.message().contains(&(limit + 1).to_string()), "the message does not say how large it was: {error}");
    let answers = store
        .commit([commit(&log(), vec![note("z", 1)]), commit(&log(), over), commit(&log(), vec![note("z", 2)])].into())
        .await;
    assert!(
        answers[0].is_ok() && answers[2].is_ok(),
        "a commit that was too large took its neighbours with it: {answers:?}"
    );
    assert_eq!(answers[1].as_ref().unwrap_err().kind(), &ErrorKind::TooLarge);
}

pub(crate) async fn an_event_of_one_byte_more_is_too_large(backend: Backend) {
    let store = backend.open_with(Limits::default().with_event_bytes(400)).await.store;
    let with = |data: Payload| {
        let mut event = event("a", number(1));
        event.data = data;
        event.changed_attributes = sized(100).into();
        event.removed_attributes = vec!["r".repeat(50), "é".repeat(25)];
        event.metadata = sized(60).into();
        vec![only(event)]
    };
    assert_limit(&*store, 400, with(sized(140).into()), with(sized(141).into())).await;
    assert_limit(&*store, 400, with(Payload::Sealed(vec![0; 140])), with(Payload::Sealed(vec![0; 141]))).await;
}

pub(crate) async fn metadata_of_one_byte_more_is_too_large(backend: Backend) {
    let store = backend.open_with(Limits::default().with_metadata_bytes(100)).await.store;
    let with = |bytes: usize| {
        let mut event = event("a", number(1));
        event.metadata = sized(bytes).into();
        vec![only(event)]
    };
    assert_limit(&*store, 100, with(100), with(101)).await;
}

pub(crate) async fn a_record_of_one_byte_more_is_too_large(backend: Backend) {
    let store = backend.open_with(Limits::default().with_record_bytes(100)).await.store;
    let with = |bytes: usize| {
        let write = set("a", WriteState { attributes: sized(bytes), identities: Vec::new() });
        vec![note("y", 1), Change { event: None, ..write }]
    };
    assert_limit(&*store, 100, with(100), with(101)).await;
    assert_eq!(record(&*store, &log(), "a").await.unwrap().attributes, sized(100));
}

pub(crate) async fn a_name_of_one_byte_more_is_too_large(backend: Backend) {
    let store = backend.open_with(Limits::default().with_name_bytes(12)).await.store;
    let named = |which: &str, bytes: usize| {
        let text = "x".repeat(bytes);
        let mut change = set("a", owning(1, &["a@b.c"]));
        let (event, write) = (change.event.as_mut().unwrap(), change.write.as_mut().unwrap());
        match which {
            "resource" => {
                event.resource = text.parse().unwrap();
                write.key.resource = text.parse().unwrap();
            }
            "record" => {
                event.record_id = text.parse().unwrap();
                write.key.id = text.parse().unwrap();
            }
            "action" => event.action = text.parse().unwrap(),
            "kind" => event.actor = Some(Actor::new(text, 1).unwrap()),
            "actor" => event.actor = Some(Actor::new("user", text).unwrap()),
            "identity" => write.state.as_mut().unwrap().identities[0].name = text,
            "value" => write.state.as_mut().unwrap().identities[0].value = text,
            other => panic!("{other}"),
        }
        vec![change]
    };
    for which in ["resource", "record", "action", "kind", "actor", "identity", "value"] {
        let error = refused(&*store, commit(&log(), named(which, 13))).await;
        assert_error(&error, &ErrorKind::TooLarge, "12");
        put(&*store, commit(&log(), named(which, 12))).await;
        put(&*store, commit(&log(), vec![set("a", state(1))])).await;
        let over = set(&"x".repeat(12), state(1));
        put(&*store, commit(&log(), vec![over])).await;
    }
    let error = refused(&*store, commit(&tenant(&"t".repeat(13)), vec![note("a", 1)])).await;
    assert_error(&error, &ErrorKind::TooLarge, "12");
}

pub(crate) async fn a_commit_of_one_change_more_is_too_large(backend: Backend) {
    let store = backend.open_with(Limits::default().with_commit_changes(8)).await.store;
    let notes = |many: u64| (0..many).map(|n| note("a", n)).collect::<Vec<_>>();
    assert_limit(&*store, 8, notes(8), notes(9)).await;
}

pub(crate) async fn checks_count_as_changes(backend: Backend) {
    let store = backend.open_with(Limits::default().with_commit_changes(3)).await.store;
    let fits = checked(
        checked(commit(&log(), vec![set("a", state(1))]), check("a", Expected::Any)),
        check("b", Expected::Any),
    );
    put(&*store, fits.clone()).await;
    let error = refused(&*store, checked(fits, check("c", Expected::Any))).await;
    assert_error(&error, &ErrorKind::TooLarge, "3");
}

/// At the limits that the store itself declares by default: nothing below cuts in first.
pub(crate) async fn the_largest_event_passes(backend: Backend) {
    let store = backend.open().await.store;
    let limits = store.info().limits;
    let mut largest = event(&"i".repeat(1024), sized(limits.event_bytes - limits.metadata_bytes - 2));
    largest.metadata = sized(limits.metadata_bytes).into();
    put(&*store, commit(&log(), vec![only(largest.clone())])).await;
    assert!(events(&*store, &log()).await[0].event == largest, "the largest event is not read back as it was");
}

pub(crate) async fn the_largest_record_passes(backend: Backend) {
    let store = backend.open().await.store;
    let state = WriteState { attributes: sized(store.info().limits.record_bytes), identities: Vec::new() };
    put(&*store, commit(&log(), vec![Change { event: None, ..set("a", state.clone()) }])).await;
    assert!(
        record(&*store, &log(), "a").await.unwrap().attributes == state.attributes,
        "the largest record is not read back as it was"
    );
}

pub(crate) async fn a_commit_of_many_changes_passes(backend: Backend) {
    let store = backend.open().await.store;
    let committed = put(&*store, commit(&log(), (0..1_500).map(|n| note("a", n)).collect())).await;
    assert_eq!(positions(&committed), (1..=1_500).collect::<Vec<_>>());
    let stored = events(&*store, &log()).await;
    assert!(stored.iter().zip(0..).all(|(event, n)| event.data == number(n).into()) && stored.len() == 1_500);
}

pub(crate) async fn the_longest_names_pass(backend: Backend) {
    let store = backend.open().await.store;
    // The longest prefixes differ in their last byte only.
    let long = |last: char| format!("{}{last}", "é".repeat(511)) + "x";
    for last in ['a', 'b'] {
        let text = long(last);
        assert_eq!(text.len(), 1024);
        let log = tenant(&text);
        put(&*store, commit(&log, vec![only(event(&text, number(1)))])).await;
        assert_eq!(events(&*store, &log).await.len(), 1, "two long tenants are one");
        assert_eq!(events(&*store, &log).await[0].record_id.as_str(), text);
    }
}

pub(crate) async fn the_longest_keys_of_records_pass(backend: Backend) {
    let store = backend.open().await.store;
    let long = |last: &str| "x".repeat(1023) + last;
    let resource = "r".repeat(200);
    for last in ["a", "b"] {
        let value = IdentityValue::new(long(last), long(last)).unwrap();
        let mut write = set("a", WriteState { attributes: number(1), identities: vec![value] });
        write.event = None;
        write.write.as_mut().unwrap().key = RecordKey::new(&resource, long(last)).unwrap();
        put(&*store, commit(&log(), vec![write])).await;
    }
    for last in ["a", "b"] {
        let identity = Identity::new(&resource, long(last), long(last)).unwrap();
        let found = store.find(&log(), &identity).await.unwrap().unwrap();
        assert_eq!(found.key, RecordKey::new(&resource, long(last)).unwrap());
    }
}

pub(crate) async fn text_in_json_is_exact(backend: Backend) {
    let store = backend.open().await.store;
    let texts = [
        r#"{"nul":"a\u0000b"}"#,
        "{\"emoji\":\"\u{1f469}\u{200d}\u{1f680}\"}",
        "{\"nfd\":\"e\u{301}\",\"nfc\":\"\u{e9}\"}",
        r#"{"lone":"\ud800"}"#,
        "{\"\u{feff}\":\"\u{10ffff}\u{fffe}\"}",
        "{ \"space\" :\n1 }",
        r#"{"a":1,"a":2}"#,
    ];
    for (nth, text) in texts.into_iter().enumerate() {
        let mut event = event("a", json(text));
        event.metadata = json(text).into();
        put(&*store, commit(&log(), vec![only(event.clone())])).await;
        assert_eq!(events(&*store, &log()).await[nth].event, event);
    }
}

pub(crate) async fn nul_in_a_name_is_refused_by_name(backend: Backend) {
    let store = backend.open().await.store;
    assert_error(&RecordId::new("a\0b").unwrap_err(), &ErrorKind::Invalid, "record id");
    assert_error(&Tenant::new("a\0b").unwrap_err(), &ErrorKind::Invalid, "tenant");
    // An identity can be built around its constructor, so the store has to look.
    for (name, value, names) in
        [("a\0b", "x", "identity name"), ("email", "a\0b", "identity value"), ("email", "", "identity value")]
    {
        let identities = vec![IdentityValue { name: name.to_owned(), value: value.to_owned() }];
        let error =
            refused(&*store, commit(&log(), vec![set("a", WriteState { attributes: number(1), identities })])).await;
        assert_error(&error, &ErrorKind::Invalid, names);
    }
    let identities = vec![IdentityValue { name: "email".to_owned(), value: "x".repeat(1025) }];
    let error =
        refused(&*store, commit(&log(), vec![set("a", WriteState { attributes: number(1), identities })])).await;
    assert_error(&error, &ErrorKind::TooLarge, "1024");
    assert_eq!(records(&*store, &log()).await, []);
}

pub(crate) async fn a_batch_as_large_as_the_engine_makes_passes(backend: Backend) {
    let store = backend.open().await.store;
    let many = store.info().limits.batch_commits as u64;
    let answers = store.commit((0..many).map(|n| commit(&log(), vec![note("a", n)])).collect()).await;
    assert_eq!(answers.len() as u64, many);
    assert!(answers.iter().zip(1..).all(|(answer, n)| positions(answer.as_ref().unwrap()) == [n]));
    assert_eq!(Everything::of(&*store, &log()).await.events.len() as u64, many);
    put(&*store, commit(&log(), vec![note("a", 1)])).await;
    assert_eq!(store.count(&log(), rekindle_core::types::EventQuery::new()).await.unwrap(), many + 1);
}
