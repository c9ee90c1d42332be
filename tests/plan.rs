//! The dry run of a replay: what is in the log, held against what is registered.

#![cfg(all(feature = "derive", feature = "memory", feature = "sled"))]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests")]

mod shop;

use std::time::Duration;

use rekindle::store::{EventStoreExt, LogState};
use rekindle::types::{Change, Commit, DefaultLockKeys, LockKeys};
use rekindle::{
    Action, ActionSpec, ActionType, Context, Create, ErrorKind, EventId, EventQuery, Handling, Log, Plan, Planned,
    Position, Rejection, Update,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use shop::raw::raw;
use shop::state::state;
use shop::*;

on_each_backend![
    e7_a_plan_is_the_histogram_of_the_log_against_what_is_registered,
    e7_a_plan_is_printed_as_a_table,
    e7_a_plan_tells_the_first_event_that_the_replay_stops_at,
    e7_a_plan_may_end_where_the_replay_would,
    e7_a_plan_counts_the_records_that_would_be_touched,
    e7_a_plan_changes_nothing_and_needs_no_turn,
    e7_a_plan_of_an_empty_log_is_empty,
    e7_events_that_change_no_record_are_told_apart,
];

/// What the first version of `print` did: it took several slots at once.
#[derive(Serialize, Deserialize, Action)]
#[action(create, resource = Label)]
struct PrintV0 {
    id: u64,
}

impl Create for PrintV0 {
    fn create(self, _: &Context) -> Result<Label, Rejection> {
        Ok(Label { id: self.id, slot: None })
    }
}

#[derive(Serialize, Deserialize, Action)]
#[action(update, resource = Label)]
struct Mark {}

impl Update for Mark {
    fn update(self, label: &mut Label, _: &Context) -> Result<(), Rejection> {
        label.slot = Some(format!("marked-{}", label.id));
        Ok(())
    }
}

/// 3 prints, 2 sticks, an account, and 3 events of an old action on labels 7 and 8: 9 events.
async fn told(bed: &Bed) -> Log {
    let plain = bed.log().await;
    session(&plain).bulk_create((1..=3).map(print)).await.unwrap();
    session(&plain).bulk_update([1, 2].map(|id| (id, Stick { slot: Some(format!("s-{id}")) }))).await.unwrap();
    session(&plain).create(open("ada")).await.unwrap();
    for id in ["7", "8"] {
        let number: u64 = id.parse().unwrap();
        let event = raw("shop.label", id, "stamp").of_type(ActionType::Create).data(json!({"id": number}));
        event.write(&*bed.store, &plain).await;
    }
    raw("shop.label", "7", "burn").version(4).write(&*bed.store, &plain).await;
    let builder = bed.builder().replay_as_arguments::<Stick>();
    let both = [ActionSpec::of::<PrintV0>(), ActionSpec::of::<Mark>()];
    builder.on_version::<Label>("stamp", [1]).route_to_all(both).start().await.unwrap()
}

fn planned(plan: &Plan) -> Vec<(String, u32, u64, u64, &Handling)> {
    let line = |line: &Planned| (format!("{}.{}", line.resource, line.action), line.version);
    let all = plan.actions.iter();
    all.map(|planned| {
        let (name, version) = line(planned);
        (name, version, planned.events, planned.first.get(), &planned.handling)
    })
    .collect()
}

const UNKNOWN: &str =
    "the event at position 9 is version 4 of shop.label.burn: there is no such action, and no route for it";

async fn e7_a_plan_is_the_histogram_of_the_log_against_what_is_registered(bed: Bed) {
    let log = told(&bed).await;
    let plan = log.replay().plan().await.unwrap();
    let (unknown, routed) = (
        Handling::Unknown(UNKNOWN.to_owned()),
        Handling::Routed(vec!["shop.label.print_v0".to_owned(), "shop.label.mark".to_owned()]),
    );
    let expected = [
        ("shop.account.open".to_owned(), 1, 1, 6, &Handling::ForceChange),
        ("shop.label.burn".to_owned(), 4, 1, 9, &unknown),
        ("shop.label.print".to_owned(), 1, 3, 1, &Handling::ForceChange),
        ("shop.label.stamp".to_owned(), 1, 2, 7, &routed),
        ("shop.label.stick".to_owned(), 1, 2, 4, &Handling::AsArguments),
    ];
    assert_eq!(planned(&plan), expected);
    // An independent count.
    assert_eq!(plan.events, events(&log).await.len() as u64);
    assert_eq!(plan.actions.iter().map(|planned| planned.events).sum::<u64>(), plan.events);
    assert!(plan.duration > Duration::ZERO && plan.duration < Duration::from_secs(60), "{:?}", plan.duration);
}

async fn e7_a_plan_is_printed_as_a_table(bed: Bed) {
    let log = told(&bed).await;
    let plan = log.replay().plan().await.unwrap();
    let printed = plan.to_string();
    let (first, rest) = printed.split_once('\n').unwrap();
    assert!(first.starts_with("9 events over 6 records, in about "), "{first}");
    let expected = format!(
        "         1  shop.account.open, version 1: merged
         1  shop.label.burn, version 4: UNKNOWN, first at position 9: {UNKNOWN}
         3  shop.label.print, version 1: merged
         2  shop.label.stamp, version 1: routed to shop.label.print_v0, shop.label.mark
         2  shop.label.stick, version 1: as arguments"
    );
    assert_eq!(rest, expected);
}

async fn e7_a_plan_tells_the_first_event_that_the_replay_stops_at(bed: Bed) {
    let log = told(&bed).await;
    let plan = log.replay().plan().await.unwrap();
    let unknown: Vec<_> = plan.unknown().collect();
    assert_eq!((unknown.len(), unknown[0].first), (1, Position::new(9)));
    let error = log.replay().await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Replay { position: unknown[0].first });
    assert_eq!(unknown[0].handling, Handling::Unknown(error.message().to_owned()));
    // With nothing registered, everything is unknown.
    let bare = bed.bare().start().await.unwrap();
    let plan = bare.replay().plan().await.unwrap();
    assert_eq!((plan.unknown().count(), plan.records), (5, 0));
    assert_eq!(plan.unknown().map(|planned| planned.first.get()).min(), Some(1));
}

async fn e7_a_plan_may_end_where_the_replay_would(bed: Bed) {
    let log = told(&bed).await;
    let events = events(&log).await;
    let at = |n: usize| events[n - 1].id;
    let plan = log.replay().until_position(8).plan().await.unwrap();
    assert_eq!((plan.events, plan.records, plan.unknown().count()), (8, 6, 0));
    assert_eq!(log.replay().until_event(at(4)).plan().await.unwrap().events, 4);
    let until = log.replay().until(events[4].occurred_at).plan().await.unwrap();
    let by_then = events.iter().filter(|event| event.occurred_at <= events[4].occurred_at).count();
    assert_eq!(until.events, by_then as u64);
    let unknown = EventId::generate();
    let error = log.replay().until_event(unknown).plan().await.unwrap_err();
    let told = format!("there is no event {unknown} in main");
    assert_eq!((error.kind(), error.message()), (&ErrorKind::NotFound, told.as_str()));
}

async fn e7_a_plan_counts_the_records_that_would_be_touched(bed: Bed) {
    let log = bed.log().await;
    session(&log).bulk_create((1..=20).map(print)).await.unwrap();
    session(&log).bulk_destroy((1..=5).map(|id| (id, Peel {}))).await.unwrap();
    for n in 0..3 {
        session(&log).update(&20, Stick { slot: Some(n.to_string()) }).await.unwrap();
    }
    let plan = log.replay().plan().await.unwrap();
    let replayed = log.replay().memory(usize::MAX).await.unwrap();
    assert_eq!((plan.events, plan.records), (28, 20));
    assert_eq!((replayed.events, replayed.records), (plan.events, plan.records), "it is what the replay did");
}

async fn e7_a_plan_changes_nothing_and_needs_no_turn(bed: Bed) {
    let log = told(&bed).await;
    let (before, live) = (events(&log).await, state(&*bed.store, &log).await);
    // Also where no replay could run.
    log.clear_records().await.unwrap();
    assert_eq!(log.replay().in_place().plan().await.unwrap().events, 9);
    assert_eq!(log.head().await.unwrap().state, LogState::Rewound(Position::ZERO));
    assert!(state(&*bed.store, &log).await.is_empty() && !live.is_empty());
    assert_eq!(events(&log).await, before);
}

async fn e7_a_plan_of_an_empty_log_is_empty(bed: Bed) {
    let plan = bed.log().await.replay().plan().await.unwrap();
    assert_eq!((plan.events, plan.records, plan.duration), (0, 0, Duration::ZERO));
    assert_eq!(plan.to_string(), "0 events over 0 records, in about 0.0ns");
    assert!(plan.actions.is_empty());
}

/// Writes the first event of the log once more, without a record.
async fn write_without_record(bed: &Bed, log: &Log, action: &str) {
    let event = log.events(&EventQuery::new()).await.unwrap().items.remove(0).event;
    let action = rekindle::types::ActionName::new(action).unwrap();
    let again = rekindle::types::NewEvent { id: EventId::generate(), action, ..event };
    let mut commit = Commit::new(log.id().clone(), DefaultLockKeys::default().key(log.id()).unwrap());
    commit.changes.push(Change { event: Some(again), write: None });
    bed.store.commit_one(commit).await.unwrap();
}

async fn e7_events_that_change_no_record_are_told_apart(bed: Bed) {
    let log = bed.log().await;
    session(&log).create(print(1)).await.unwrap();
    write_without_record(&bed, &log, "print").await;
    write_without_record(&bed, &log, "viewed").await;
    let plan = log.replay().plan().await.unwrap();
    let expected = [
        ("shop.label.print".to_owned(), 1, 1, 1, &Handling::ForceChange),
        ("shop.label.print".to_owned(), 1, 1, 2, &Handling::NoChange),
        ("shop.label.viewed".to_owned(), 1, 1, 3, &Handling::NoChange),
    ];
    assert_eq!(planned(&plan), expected);
    assert!(plan.to_string().ends_with("1  shop.label.viewed, version 1: they change no record"), "{plan}");
    log.replay().await.unwrap();
    // One that does change a record is unknown, though others of its name are not.
    raw("shop.label", "1", "viewed").write(&*bed.store, &log).await;
    let plan = log.replay().plan().await.unwrap();
    assert_eq!(plan.unknown().map(|planned| planned.first.get()).collect::<Vec<_>>(), [4]);
    assert_eq!(log.replay().await.unwrap_err().kind(), &ErrorKind::Replay { position: Position::new(4) });
}
