//! What is recorded, and what is not.

#![cfg(all(feature = "derive", feature = "memory", feature = "sled"))]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests")]

mod shop;

use std::collections::BTreeSet;
use std::slice;

use rekindle::{
    Action, Context, Create, ErrorKind, EventQuery, Position, Rejection, Resource, Revision, Timestamp, Update,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use shop::*;

on_each_backend![
    p4_an_event_is_found_by_its_position_and_by_its_uuid_of_version_7,
    p10_only_the_actions_that_are_named_are_recorded,
    p10_actions_that_are_ignored_are_not_recorded,
    p10_only_and_ignore_hold_together,
    p10_what_an_ignored_action_changed_is_not_brought_back,
    p10_a_recorded_update_of_a_record_whose_create_was_ignored_stops_a_replay,
    p15_seeding_writes_records_and_no_event,
    p15_a_seeded_record_is_changed_like_any_other_and_the_next_replay_drops_it,
    p15_seeding_is_atomic_and_keeps_identities_unique,
    p18_an_increment_is_computed_under_the_revision_check_and_recorded,
    e11_a_resource_may_have_actions_recorded_that_change_nothing,
];

async fn p4_an_event_is_found_by_its_position_and_by_its_uuid_of_version_7(bed: Bed) {
    let log = bed.log().await;
    session(&log).bulk_create((1..=20).map(print)).await.unwrap();
    let events = events(&log).await;
    let ids: BTreeSet<_> = events.iter().map(|event| event.id).collect();
    assert_eq!(ids.len(), 20);
    for (event, position) in events.iter().zip(1..) {
        assert_eq!((event.position, event.id.as_uuid().get_version_num()), (Position::new(position), 7));
        let found = log.events(&EventQuery::new().with_id(event.id)).await.unwrap();
        assert_eq!(found.items, slice::from_ref(event));
        let around = EventQuery::new().with_after(Position::new(position - 1)).with_up_to(event.position);
        assert_eq!(log.events(&around).await.unwrap().items, slice::from_ref(event));
    }
}

async fn p10_only_the_actions_that_are_named_are_recorded(bed: Bed) {
    let builder = bed.builder().only_actions::<Account>(["open", "deposit"]);
    let log = builder.start().await.unwrap();
    let ada = session(&log).create(open("ada")).await.unwrap();
    session(&log).update(&ada.id, Deposit { amount: 5 }).await.unwrap();
    session(&log).update(&ada.id, rename("Ada")).await.unwrap();
    session(&log).create(print(1)).await.unwrap();
    assert_eq!(actions(&log).await, ["open", "deposit", "print"], "what is said of accounts is not said of labels");
    let stored = log.get::<Account>(&ada.id).await.unwrap().unwrap();
    assert_eq!((stored.name.as_str(), stored.balance), ("Ada", 5), "all of them are run");
}

async fn p10_actions_that_are_ignored_are_not_recorded(bed: Bed) {
    let builder = bed.builder().ignore_actions::<Account>(["rename"]).ignore_actions::<Account>(["close"]);
    let log = builder.start().await.unwrap();
    let ada = session(&log).create(open("ada")).await.unwrap();
    session(&log).update(&ada.id, rename("Ada")).await.unwrap();
    session(&log).update(&ada.id, Deposit { amount: 5 }).await.unwrap();
    session(&log).update(&ada.id, Deposit { amount: -5 }).await.unwrap();
    session(&log).destroy(&ada.id, Close {}).await.unwrap();
    assert_eq!(actions(&log).await, ["open", "deposit", "deposit"]);
    let revisions: Vec<_> = events(&log).await.iter().map(|event| event.revision.unwrap().get()).collect();
    assert_eq!(revisions, [1, 3, 4], "an ignored write is a write");
    assert_eq!(log.get::<Account>(&ada.id).await.unwrap(), None);
    // One that fails still fails.
    let error = session(&log).update(&ada.id, rename("Ada")).await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::NotFound);
}

async fn p10_only_and_ignore_hold_together(bed: Bed) {
    let builder = bed.builder().only_actions::<Label>(["print", "stick"]).ignore_actions::<Label>(["stick"]);
    let log = builder.start().await.unwrap();
    session(&log).create(print(1)).await.unwrap();
    session(&log).update(&1, Stick { slot: slot("a") }).await.unwrap();
    session(&log).destroy(&1, Peel {}).await.unwrap();
    assert_eq!(actions(&log).await, ["print"]);
}

async fn p10_what_an_ignored_action_changed_is_not_brought_back(bed: Bed) {
    let log = bed.builder().ignore_actions::<Label>(["stick"]).start().await.unwrap();
    let printed = session(&log).create(print(1)).await.unwrap();
    session(&log).update(&1, Stick { slot: slot("a") }).await.unwrap();
    assert_eq!(log.history::<Label>(&1).await.unwrap().len(), 1);
    log.replay().await.unwrap();
    assert_eq!(log.get::<Label>(&1).await.unwrap(), Some(printed));
    assert_eq!(log.find::<Label>("slot", "a").await.unwrap(), None);
}

async fn p10_a_recorded_update_of_a_record_whose_create_was_ignored_stops_a_replay(bed: Bed) {
    let log = bed.builder().ignore_actions::<Label>(["print"]).start().await.unwrap();
    session(&log).create(print(1)).await.unwrap();
    let stuck = session(&log).update(&1, Stick { slot: slot("a") }).await.unwrap();
    let error = log.replay().await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Replay { position: Position::new(1) });
    assert!(error.message().ends_with("cannot be applied: the record shop.label/1 is not there"), "{error}");
    assert_eq!(log.get::<Label>(&1).await.unwrap(), Some(stuck));
}

fn label(id: u64, text: &str) -> Label {
    Label { id, slot: slot(text) }
}

async fn p15_seeding_writes_records_and_no_event(bed: Bed) {
    let log = bed.log().await;
    log.seed([label(1, "a"), label(2, "b")]).await.unwrap();
    assert!(events(&log).await.is_empty());
    assert_eq!(log.head().await.unwrap().position, Position::ZERO);
    assert_eq!(all::<Label>(&log).await, [label(1, "a"), label(2, "b")]);
    assert_eq!(log.find::<Label>("slot", "b").await.unwrap(), Some(label(2, "b")));
    // Over one that is there.
    log.seed([label(1, "c")]).await.unwrap();
    assert_eq!(log.get::<Label>(&1).await.unwrap(), Some(label(1, "c")));
    assert_eq!(log.find::<Label>("slot", "a").await.unwrap(), None);
    log.seed(Vec::<Label>::new()).await.unwrap();
    // A tenant has seeds of its own.
    let tenant = log.tenant("t").unwrap();
    tenant.seed([label(1, "c")]).await.unwrap();
    assert_eq!((all::<Label>(&tenant).await.len(), events(&tenant).await.len()), (1, 0));
}

async fn p15_a_seeded_record_is_changed_like_any_other_and_the_next_replay_drops_it(bed: Bed) {
    let log = bed.log().await;
    log.seed([label(1, "a"), label(2, "b")]).await.unwrap();
    let error = session(&log).create(print(1)).await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::AlreadyExists { actual: Revision::new(1) });
    session(&log).create(print(3)).await.unwrap();
    log.replay().await.unwrap();
    assert_eq!(all::<Label>(&log).await, [Label { id: 3, slot: None }]);
    log.seed([label(1, "a")]).await.unwrap();
    session(&log).update(&1, Stick { slot: slot("x") }).await.unwrap();
    assert_eq!(events(&log).await[1].revision, Some(Revision::new(2)));
    let error = log.replay().await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Replay { position: Position::new(2) });
}

async fn p15_seeding_is_atomic_and_keeps_identities_unique(bed: Bed) {
    let log = bed.log().await;
    session(&log).create(Print { id: 1, slot: slot("a") }).await.unwrap();
    let error = log.seed([label(2, "b"), label(3, "a")]).await.unwrap_err();
    let taken = ErrorKind::IdentityTaken { identity: "slot".to_owned(), owner: "1".to_owned() };
    assert_eq!(error.kind(), &taken);
    assert_eq!(all::<Label>(&log).await, [label(1, "a")]);
    log.shutdown().await.unwrap();
    assert_eq!(log.seed([label(2, "b")]).await.unwrap_err().kind(), &ErrorKind::Closed);
}

async fn p18_an_increment_is_computed_under_the_revision_check_and_recorded(bed: Bed) {
    let log = bed.log().await;
    let ada = session(&log).create(open("ada")).await.unwrap();
    let session = session(&log);
    let callers = (1..=20).map(|amount| session.update(&ada.id, Deposit { amount }));
    for outcome in futures::future::join_all(callers).await {
        outcome.unwrap();
    }
    // Each event has the sum of all amounts up to it.
    let mut sum = 0;
    for event in &events(&log).await[1..] {
        sum += json(&event.data)["amount"].as_i64().unwrap();
        assert_eq!(json(&event.changed_attributes)["balance"], sum);
    }
    assert_eq!(sum, 210);
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Resource)]
#[resource(name = "shop.machine", actions(Build, Check, Ping), record_unchanged)]
struct Machine {
    #[resource(id)]
    id: u64,
    state: String,
    #[resource(updated_at)]
    checked_at: Timestamp,
}

#[derive(Serialize, Deserialize, Action)]
#[action(create, resource = Machine)]
struct Build {
    id: u64,
}

impl Create for Build {
    fn create(self, _: &Context) -> Result<Machine, Rejection> {
        Ok(Machine { id: self.id, state: "well".to_owned(), checked_at: Timestamp::EPOCH })
    }
}

#[derive(Serialize, Deserialize, Action)]
#[action(update, resource = Machine)]
struct Check {
    state: String,
}

impl Update for Check {
    fn update(self, machine: &mut Machine, _: &Context) -> Result<(), Rejection> {
        machine.state = self.state;
        Ok(())
    }
}

#[derive(Serialize, Deserialize, Action)]
#[action(update, resource = Machine, version = 2)]
struct Ping {}

impl Update for Ping {
    fn update(self, _: &mut Machine, _: &Context) -> Result<(), Rejection> {
        Ok(())
    }
}

async fn e11_a_resource_may_have_actions_recorded_that_change_nothing(bed: Bed) {
    let log = bed.bare().resource::<Machine>().clock(Ticking::default()).start().await.unwrap();
    session(&log).create(Build { id: 1 }).await.unwrap();
    let checked = session(&log).update(&1, Check { state: "well".to_owned() }).await.unwrap();
    assert_eq!(checked.checked_at, tick(2));
    session(&log).update(&1, Ping {}).await.unwrap();
    let events = events(&log).await;
    let seen: Vec<_> = events.iter().map(|event| (event.action.as_str(), event.revision.unwrap().get())).collect();
    assert_eq!(seen, [("build", 1), ("check", 2), ("ping", 3)]);
    assert_eq!(json(&events[1].data), json!({"state": "well"}));
    assert_eq!(json(&events[1].changed_attributes), json!({"checked_at": tick(2)}));
    log.replay().await.unwrap();
    assert_eq!(log.get::<Machine>(&1).await.unwrap().unwrap().checked_at, tick(3));
}

#[tokio::test]
async fn p10_a_version_of_an_action_that_is_ignored_is_a_mistake_of_the_set_up() {
    for builder in [
        Bed::memory().bare().resource::<Machine>().ignore_actions::<Machine>(["ping"]),
        Bed::memory().bare().resource::<Machine>().only_actions::<Machine>(["build"]),
    ] {
        let error = builder.start().await.unwrap_err();
        let told = r#"the set-up has mistakes: the action "ping" of "shop.machine" has version 2 and is ignored"#;
        assert_eq!((error.kind(), error.message()), (&ErrorKind::Invalid, told));
    }
}

#[tokio::test]
async fn p10_an_action_that_is_not_there_is_a_mistake_of_the_set_up() {
    let builder = Bed::memory().builder().only_actions::<Label>(["print", "prin", "stick"]);
    let error = builder.start().await.unwrap_err();
    let told = r#"the action "prin" is to be the only one recorded, and "shop.label" does not list it"#;
    assert_eq!(error.message(), format!("the set-up has mistakes: {told}"));
    assert_eq!(error.kind(), &ErrorKind::Invalid);
    let error = Bed::memory().builder().ignore_actions::<Label>(["burn"]).start().await.unwrap_err();
    let told = r#"the set-up has mistakes: the action "burn" is to be ignored, and "shop.label" does not list it"#;
    assert_eq!((error.kind(), error.message()), (&ErrorKind::Invalid, told));
}
