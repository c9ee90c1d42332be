//! Replays in place, and replays that fail, are broken off, or meet another: what they say, and what they leave.

#![cfg(all(feature = "derive", feature = "memory", feature = "sled"))]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests")]

mod shop;

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use rekindle::store::{LogState, Store};
use rekindle::types::{RecordQuery, ResourceName};
use rekindle::{ActionType, ClearRecords, Error, ErrorKind, Limits, Log, LogId, Position, Rekindle, Result};
use serde_json::json;
use shop::held::Held;
use shop::raw::raw;
use shop::state::state;
use shop::*;

on_each_backend![
    e2_an_unknown_resource_stops_a_replay,
    e2_an_unknown_action_stops_a_replay,
    e2_an_unknown_version_stops_a_replay,
    e2_a_record_that_should_be_there_and_is_not_stops_a_replay,
    e2_a_record_that_should_not_be_there_and_is_stops_a_replay,
    e2_a_record_that_does_not_fit_its_type_stops_a_replay,
    e2_a_record_with_another_id_than_its_events_stops_a_replay,
    e2_a_body_that_refuses_or_panics_stops_a_replay,
    e2_the_first_event_that_fails_is_told_whatever_the_workers,
    e2_a_time_that_leaves_out_a_create_but_not_its_update_is_an_error,
    e1_a_replay_that_is_dropped_leaves_the_old_records_whole,
    p25_a_replay_in_place_clears_first_through_the_users_function,
    p25_a_replay_in_place_that_fails_leaves_the_log_rebuilding_until_one_succeeds,
    p25_a_replay_in_place_that_is_dropped_leaves_the_log_rebuilding_until_one_succeeds,
    e13_a_second_replay_at_the_same_time_is_refused,
    e13_replays_of_two_tenants_run_at_the_same_time,
];

/// A log with two labels.
async fn two_labels(bed: &Bed) -> Log {
    let log = bed.log().await;
    session(&log).create(Print { id: 1, slot: slot("a") }).await.unwrap();
    session(&log).create(print(2)).await.unwrap();
    log
}

/// That a replay fails at this position, and leaves the records and the log as they were. Gives the error.
async fn fails_at(position: Position, bed: &Bed, log: &Log) -> Error {
    let before = state(&*bed.store, log).await;
    let error = log.replay().await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Replay { position }, "{error}");
    assert!(!error.is_retryable());
    assert_eq!(state(&*bed.store, log).await, before);
    assert_eq!(log.head().await.unwrap().state, LogState::Live);
    session(log).create(print(100)).await.unwrap();
    session(log).destroy(&100, Peel {}).await.unwrap();
    error
}

/// The message of an event that cannot be applied.
async fn cannot_be_applied(log: &Log, position: Position, what: &str, why: &str) -> String {
    let event = &events(log).await[usize::try_from(position.get()).unwrap() - 1];
    let id = event.id;
    format!("the event at position {position} (version 1 of {what}, {id}) cannot be applied: {why}")
}

async fn e2_an_unknown_resource_stops_a_replay(bed: Bed) {
    let log = two_labels(&bed).await;
    let at = raw("shop.cart", "1", "fill").version(7).write(&*bed.store, &log).await;
    let error = fails_at(at, &bed, &log).await;
    let told = r#"the event at position 3 is version 7 of shop.cart.fill: no resource "shop.cart" is registered"#;
    assert_eq!(error.message(), told);
}

async fn e2_an_unknown_action_stops_a_replay(bed: Bed) {
    let log = two_labels(&bed).await;
    let at = raw("shop.label", "1", "burn").write(&*bed.store, &log).await;
    let error = fails_at(at, &bed, &log).await;
    let told = "the event at position 3 is version 1 of shop.label.burn: there is no such action, and no route for it";
    assert_eq!(error.message(), told);
}

async fn e2_an_unknown_version_stops_a_replay(bed: Bed) {
    let log = two_labels(&bed).await;
    let at = raw("shop.label", "1", "stick").version(2).write(&*bed.store, &log).await;
    let error = fails_at(at, &bed, &log).await;
    let told = "the event at position 3 is version 2 of shop.label.stick: the current version is 1, and there is no \
                route for this one";
    assert_eq!(error.message(), told);
}

async fn e2_a_record_that_should_be_there_and_is_not_stops_a_replay(bed: Bed) {
    let log = two_labels(&bed).await;
    let at = raw("shop.label", "9", "stick").data(json!({"slot": "x"})).write(&*bed.store, &log).await;
    let told = cannot_be_applied(&log, at, "shop.label.stick", "the record shop.label/9 is not there").await;
    assert_eq!(fails_at(at, &bed, &log).await.message(), told);

    // One that was destroyed is not there either, for an update as for a destroy.
    let log = log.tenant("other").unwrap();
    session(&log).create(print(1)).await.unwrap();
    session(&log).destroy(&1, Peel {}).await.unwrap();
    let at = raw("shop.label", "1", "peel").of_type(ActionType::Destroy).write(&*bed.store, &log).await;
    let told = cannot_be_applied(&log, at, "shop.label.peel", "the record shop.label/1 is not there").await;
    assert_eq!(fails_at(at, &bed, &log).await.message(), told);
}

async fn e2_a_record_that_should_not_be_there_and_is_stops_a_replay(bed: Bed) {
    let log = two_labels(&bed).await;
    let create = raw("shop.label", "2", "print").of_type(ActionType::Create).data(json!({"id": 2, "slot": null}));
    let at = create.write(&*bed.store, &log).await;
    let told = cannot_be_applied(&log, at, "shop.label.print", "the record shop.label/2 is there already").await;
    assert_eq!(fails_at(at, &bed, &log).await.message(), told);
}

async fn e2_a_record_that_does_not_fit_its_type_stops_a_replay(bed: Bed) {
    let log = two_labels(&bed).await;
    let at = raw("shop.label", "2", "stick").changed(json!({"slot": 5})).write(&*bed.store, &log).await;
    let error = fails_at(at, &bed, &log).await;
    assert!(error.message().starts_with("after the event at position 3: shop.label/2: "), "{error}");
    assert!(error.message().contains("expected a string"), "{error}");
}

async fn e2_a_record_with_another_id_than_its_events_stops_a_replay(bed: Bed) {
    let log = two_labels(&bed).await;
    let at = raw("shop.label", "2", "stick").changed(json!({"id": 3})).write(&*bed.store, &log).await;
    let told = "after the event at position 3: shop.label/2: its attributes are those of a record with the id \"3\"";
    assert_eq!(fails_at(at, &bed, &log).await.message(), told);
}

async fn e2_a_body_that_refuses_or_panics_stops_a_replay(bed: Bed) {
    let builder = bed.builder().replay_as_arguments::<Refuse>().replay_as_arguments::<Explode>();
    let log = builder.start().await.unwrap();
    for (tenant, action, why) in
        [("a", "refuse", "not today"), ("b", "explode", r#"the action "explode" panicked: boom at ada"#)]
    {
        let log = log.tenant(tenant).unwrap();
        let ada = session(&log).create(open("ada")).await.unwrap().id.to_string();
        let at = raw("shop.account", &ada, action).write(&*bed.store, &log).await;
        let told = cannot_be_applied(&log, at, &format!("shop.account.{action}"), why).await;
        assert_eq!(fails_at(at, &bed, &log).await.message(), told);
    }
}

async fn e2_the_first_event_that_fails_is_told_whatever_the_workers(bed: Bed) {
    let held = Held::with_limits(&bed.store, Limits::default().with_page_rows(7));
    let log = Rekindle::on(held).resource::<Account>().resource::<Label>().start().await.unwrap();
    for id in 1..=9 {
        session(&log).create(print(id)).await.unwrap();
    }
    // From position 10 on, all fail: those of records that are not there, and those of an unknown action.
    for id in 11..=15 {
        raw("shop.label", &id.to_string(), "stick").write(&*bed.store, &log).await;
        raw("shop.label", &id.to_string(), "burn").write(&*bed.store, &log).await;
    }
    for workers in 1..=4 {
        for memory in [0, usize::MAX] {
            let error = log.replay().workers(workers).memory(memory).await.unwrap_err();
            let first = ErrorKind::Replay { position: Position::new(10) };
            assert_eq!(error.kind(), &first, "{workers} workers, {memory} bytes");
        }
    }
}

async fn e2_a_time_that_leaves_out_a_create_but_not_its_update_is_an_error(bed: Bed) {
    let log = bed.log().await;
    session(&log).at(seconds(30)).create(print(1)).await.unwrap();
    session(&log).at(seconds(10)).update(&1, Stick { slot: slot("a") }).await.unwrap();
    let told =
        cannot_be_applied(&log, Position::new(2), "shop.label.stick", "the record shop.label/1 is not there").await;
    assert_eq!(log.replay().until(seconds(20)).await.unwrap_err().message(), told);
    assert_eq!(log.get::<Label>(&1).await.unwrap(), Some(Label { id: 1, slot: slot("a") }));
}

/// A log of two labels whose loads can be held up.
async fn held_labels(bed: &Bed) -> (Arc<Held>, Log) {
    let held = Held::around(&bed.store);
    let log = Rekindle::on(Arc::clone(&held)).resource::<Account>().resource::<Label>().start().await.unwrap();
    for id in 1..=2 {
        session(&log).create(print(id)).await.unwrap();
    }
    held.loads.shut();
    (held, log)
}

async fn e1_a_replay_that_is_dropped_leaves_the_old_records_whole(bed: Bed) {
    let (held, log) = held_labels(&bed).await;
    let before = state(&*bed.store, &log).await;
    tokio::select! {
        _ = log.replay() => panic!("it was to be held up"),
        () = held.loads.come(1) => {}
    }
    held.loads.open();
    assert_eq!(state(&*bed.store, &log).await, before);
    assert_eq!(log.head().await.unwrap().state, LogState::Live);
    session(&log).update(&1, Stick { slot: slot("a") }).await.unwrap();
    let after = state(&*bed.store, &log).await;
    log.replay().await.unwrap();
    assert_eq!(state(&*bed.store, &log).await, after);
}

/// That the log is being rebuilt in place: no reads of records and no commits, and both say why.
async fn is_rebuilding(log: &Log) {
    assert_eq!(log.head().await.unwrap().state, LogState::Rebuilding);
    let told = "the records of main are being rebuilt in place, and the rebuild has not finished";
    for error in [
        log.get::<Label>(&1).await.unwrap_err(),
        log.find::<Label>("slot", "a").await.unwrap_err(),
        session(log).create(print(50)).await.unwrap_err(),
        session(log).update(&1, Stick { slot: None }).await.unwrap_err(),
        session(log).accept_rewound(Position::ZERO).await.unwrap_err(),
    ] {
        assert_eq!((error.kind(), error.is_retryable()), (&ErrorKind::Rebuilding, true));
        assert!(error.message().starts_with(told), "{error}");
    }
}

/// What a user keeps elsewhere: it notes how many labels the store had when it was cleared.
#[derive(Clone)]
struct Elsewhere {
    store: Arc<dyn Store>,
    cleared: Arc<Mutex<Vec<(String, usize)>>>,
    broken: bool,
}

#[async_trait]
impl ClearRecords for Elsewhere {
    async fn clear(&self, log: &LogId) -> Result<()> {
        let labels = self.store.list(log, &RecordQuery::new(ResourceName::new("shop.label")?)).await?;
        self.cleared.lock().unwrap().push((log.to_string(), labels.items.len()));
        if self.broken { Err(Error::new(ErrorKind::Unavailable, "elsewhere is down")) } else { Ok(()) }
    }
}

async fn p25_a_replay_in_place_clears_first_through_the_users_function(bed: Bed) {
    let log = two_labels(&bed).await;
    let whole = state(&*bed.store, &log).await;
    let elsewhere = Elsewhere { store: Arc::clone(&bed.store), cleared: Arc::default(), broken: false };
    log.replay().in_place().clear_records(elsewhere.clone()).await.unwrap();
    // It was called once, when the store had its two labels still.
    assert_eq!(*elsewhere.cleared.lock().unwrap(), [("main".to_owned(), 2)]);
    assert_eq!((state(&*bed.store, &log).await, log.head().await.unwrap().state), (whole.clone(), LogState::Live));
    // Without a function of the user's, the store's own records are cleared all the same.
    log.replay().in_place().until_position(1).await.unwrap();
    assert_eq!(all::<Label>(&log).await, [Label { id: 1, slot: slot("a") }]);

    let error = log.replay().clear_records(elsewhere.clone()).await.unwrap_err();
    let told = "clear_records() is for a replay in place: beside the records in use, nothing is cleared";
    assert_eq!((error.kind(), error.message()), (&ErrorKind::Invalid, told));
    let broken = Elsewhere { broken: true, ..elsewhere };
    let error = log.replay().in_place().clear_records(broken).await.unwrap_err();
    assert_eq!((error.kind(), error.message()), (&ErrorKind::Unavailable, "elsewhere is down"));
    assert_eq!(all::<Label>(&log).await, [Label { id: 1, slot: slot("a") }]);
    assert_eq!(log.head().await.unwrap().state, LogState::Rewound(Position::new(1)));
}

async fn p25_a_replay_in_place_that_fails_leaves_the_log_rebuilding_until_one_succeeds(bed: Bed) {
    let log = two_labels(&bed).await;
    let whole = state(&*bed.store, &log).await;
    let at = raw("shop.label", "3", "burn").write(&*bed.store, &log).await;
    for _ in 0..2 {
        let error = log.replay().in_place().await.unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::Replay { position: at });
        is_rebuilding(&log).await;
    }
    // A replay beside it fails too, and changes nothing about that.
    log.replay().await.unwrap_err();
    is_rebuilding(&log).await;
    // The log itself can be read: what is broken can be looked for.
    assert_eq!((events(&log).await.len(), log.history::<Label>(&1).await.unwrap().len()), (3, 1));
    log.replay().until_position(2).await.unwrap();
    assert_eq!(log.head().await.unwrap().state, LogState::Rewound(Position::new(2)));
    assert_eq!(state(&*bed.store, &log).await, whole);
}

async fn p25_a_replay_in_place_that_is_dropped_leaves_the_log_rebuilding_until_one_succeeds(bed: Bed) {
    let (held, log) = held_labels(&bed).await;
    let before = state(&*bed.store, &log).await;
    tokio::select! {
        _ = log.replay().in_place() => panic!("it was to be held up"),
        () = async {
            held.loads.come(1).await;
            is_rebuilding(&log).await;
        } => {}
    }
    held.loads.open();
    is_rebuilding(&log).await;
    log.replay().in_place().await.unwrap();
    assert_eq!(state(&*bed.store, &log).await, before);
    session(&log).create(print(50)).await.unwrap();
}

async fn e13_a_second_replay_at_the_same_time_is_refused(bed: Bed) {
    let (held, log) = held_labels(&bed).await;
    let before = state(&*bed.store, &log).await;
    let second = async {
        held.loads.come(1).await;
        for error in [log.replay().await.unwrap_err(), log.replay().in_place().await.unwrap_err()] {
            let expected = (&ErrorKind::Rebuilding, "another rebuild of main is running", true);
            assert_eq!((error.kind(), error.message(), error.is_retryable()), expected);
        }
        let error = log.clear_records().await.unwrap_err();
        assert_eq!((error.kind(), error.message()), (&ErrorKind::Rebuilding, "a rebuild of main is running"));
        assert_eq!(
            (state(&*bed.store, &log).await, &log.head().await.unwrap().state),
            (before.clone(), &LogState::Live)
        );
        held.loads.open();
    };
    let (first, ()) = futures::join!(async { log.replay().await }, second);
    assert_eq!(first.unwrap().records, 2);
    assert_eq!(state(&*bed.store, &log).await, before);
    log.replay().await.unwrap();
}

async fn e13_replays_of_two_tenants_run_at_the_same_time(bed: Bed) {
    let (held, log) = held_labels(&bed).await;
    let tenant = log.tenant("north").unwrap();
    session(&tenant).create(print(7)).await.unwrap();
    let both = async { futures::try_join!(log.replay().into_future(), tenant.replay().into_future()) };
    let release = async {
        held.loads.come(2).await;
        held.loads.open();
    };
    let (both, ()) = futures::join!(both, release);
    assert_eq!(both.map(|(one, two)| (one.records, two.records)).unwrap(), (2, 1));
}
