//! Units of work: several actions as one commit.

#![cfg(all(feature = "derive", feature = "memory", feature = "sled"))]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests")]

mod shop;

use std::sync::Arc;

use async_trait::async_trait;
use rekindle::types::CommittedEvent;
use rekindle::{
    Action, Call, Context, Create, ErrorKind, Hook, Log, Position, Rejection, Rekindle, Resource, Result, Revision,
    Unit,
};
use serde::{Deserialize, Serialize};
use shop::held::Held;
use shop::*;
use uuid::Uuid;

on_each_backend![
    several_actions_are_one_commit_with_its_positions_in_a_row,
    a_unit_sees_its_own_changes_and_nobody_else_does,
    a_unit_finds_records_by_the_identities_that_it_has_changed,
    a_unit_that_is_dropped_writes_nothing,
    p17_a_failed_action_fails_the_whole_unit,
    an_action_that_could_not_be_begun_fails_the_whole_unit,
    an_update_that_leaves_no_record_is_refused,
    an_action_that_is_dropped_half_way_fails_the_whole_unit,
    one_record_may_be_changed_twice,
    a_record_may_be_destroyed_and_made_again,
    a_record_may_be_made_and_destroyed,
    a_record_that_the_unit_knows_is_not_created_again,
    identities_may_be_swapped_in_a_unit,
    sessions_and_units_may_be_used_in_tasks,
    an_empty_unit_is_harmless,
    e12_an_open_unit_holds_nobody_up,
];

async fn two(log: &Log) -> [Uuid; 2] {
    [session(log).create(open("ada")).await.unwrap().id, session(log).create(open("bob")).await.unwrap().id]
}

async fn deposit(log: &Log, id: &Uuid, amount: i64) {
    session(log).update(id, Deposit { amount }).await.unwrap();
}

async fn balance(log: &Log, id: &Uuid) -> i64 {
    log.get::<Account>(id).await.unwrap().unwrap().balance
}

async fn several_actions_are_one_commit_with_its_positions_in_a_row(bed: Bed) {
    let log = bed.log().await;
    session(&log).create(print(1)).await.unwrap();
    let mut unit = session(&log).begin().unwrap();
    let mut other = session(&log).begin().unwrap();
    let ada = unit.create(open("ada")).await.unwrap();
    other.create(print(2)).await.unwrap();
    unit.update(&ada.id, Deposit { amount: 5 }).await.unwrap();
    other.create(print(3)).await.unwrap();
    unit.destroy(&1, Peel {}).await.unwrap();
    let (committed, others) = tokio::join!(unit.commit(), other.commit());
    let stands = |position, revision| CommittedEvent {
        position: Position::new(position),
        revision: Some(Revision::new(revision)),
    };
    assert_eq!(committed.unwrap().events, [stands(2, 1), stands(3, 2), stands(4, 2)]);
    assert_eq!(others.unwrap().events, [stands(5, 1), stands(6, 1)]);
    assert_eq!(actions(&log).await, ["print", "open", "deposit", "peel", "print", "print"]);
    let before = state::state(&*bed.store, &log).await;
    log.replay().await.unwrap();
    assert_eq!(state::state(&*bed.store, &log).await, before);
}

async fn a_unit_sees_its_own_changes_and_nobody_else_does(bed: Bed) {
    let log = bed.log().await;
    let [ada, _] = two(&log).await;
    let mut unit = session(&log).begin().unwrap();
    unit.update(&ada, Deposit { amount: 5 }).await.unwrap();
    assert_eq!(unit.update(&ada, Deposit { amount: 2 }).await.unwrap().balance, 7);
    assert_eq!(unit.get::<Account>(&ada).await.unwrap().unwrap().balance, 7);
    unit.create(print(1)).await.unwrap();
    assert_eq!(unit.get::<Label>(&1).await.unwrap().unwrap().id, 1);
    assert_eq!((balance(&log, &ada).await, log.get::<Label>(&1).await.unwrap()), (0, None));
    unit.destroy(&1, Peel {}).await.unwrap();
    assert_eq!(unit.get::<Label>(&1).await.unwrap(), None);
    let error = unit.update(&1, Stick { slot: None }).await.unwrap_err();
    is(&error, &ErrorKind::NotFound, "shop.label/1 does not exist");
}

async fn a_unit_finds_records_by_the_identities_that_it_has_changed(bed: Bed) {
    let log = bed.log().await;
    session(&log).create(Print { id: 1, slot: slot("a") }).await.unwrap();
    let mut unit = session(&log).begin().unwrap();
    assert_eq!(unit.find::<Label>("slot", "a").await.unwrap().unwrap().id, 1);
    unit.update(&1, Stick { slot: slot("b") }).await.unwrap();
    assert_eq!(unit.find::<Label>("slot", "a").await.unwrap(), None);
    assert_eq!(unit.find::<Label>("slot", "b").await.unwrap().unwrap().id, 1);
    unit.create(Print { id: 2, slot: slot("a") }).await.unwrap();
    assert_eq!(unit.find::<Label>("slot", "a").await.unwrap().unwrap().id, 2);
    unit.destroy(&1, Peel {}).await.unwrap();
    assert_eq!(unit.find::<Label>("slot", "b").await.unwrap(), None);
    assert_eq!(log.find::<Label>("slot", "a").await.unwrap().unwrap().id, 1, "it is not committed yet");
    unit.commit().await.unwrap();
    assert_eq!(log.find::<Label>("slot", "a").await.unwrap().unwrap().id, 2);
    assert_eq!(log.find::<Label>("slot", "b").await.unwrap(), None);
}

async fn a_unit_that_is_dropped_writes_nothing(bed: Bed) {
    let log = bed.log().await;
    let [ada, _] = two(&log).await;
    let mut unit = session(&log).begin().unwrap();
    unit.update(&ada, rename("Ada")).await.unwrap();
    unit.create(print(1)).await.unwrap();
    drop(unit);
    deposit(&log, &ada, 1).await;
    assert_eq!(actions(&log).await, ["open", "open", "deposit"]);
    assert_eq!(log.get::<Account>(&ada).await.unwrap().unwrap().name, "ada");
    assert_eq!(log.get::<Label>(&1).await.unwrap(), None);
}

async fn p17_a_failed_action_fails_the_whole_unit(bed: Bed) {
    let log = bed.log().await;
    let [ada, _] = two(&log).await;
    let mut unit = session(&log).begin().unwrap();
    unit.create(print(1)).await.unwrap();
    is(&unit.update(&ada, Refuse {}).await.unwrap_err(), &ErrorKind::Rejected, "not today");
    assert_eq!(unit.get::<Account>(&ada).await.unwrap().unwrap().name, "ada");
    unit.create(print(2)).await.unwrap();
    unit.update(&1, print(1)).await.unwrap_err();
    let message = "an action of this unit of work had failed: not today";
    is(&unit.commit().await.unwrap_err(), &ErrorKind::Rejected, message);
    assert_eq!(actions(&log).await, ["open", "open"]);
    assert_eq!(all::<Label>(&log).await, []);
}

async fn an_action_that_could_not_be_begun_fails_the_whole_unit(bed: Bed) {
    let log = bed.log().await;
    let mut unit = session(&log).begin().unwrap();
    unit.create(print(1)).await.unwrap();
    let wrong = "the action \"print\" is of type create, and was run as update";
    is(&unit.update(&1, print(1)).await.unwrap_err(), &ErrorKind::Invalid, wrong);
    let message = format!("an action of this unit of work had failed: {wrong}");
    is(&unit.commit().await.unwrap_err(), &ErrorKind::Invalid, &message);
    assert!(events(&log).await.is_empty());
}

#[derive(Serialize, Deserialize)]
struct Lose {}

impl Action for Lose {
    type Resource = Marker;
    const NAME: &'static str = "lose";
    const KIND: rekindle::ActionKind = rekindle::ActionKind::Update;
    const VERSION: u32 = 1;

    fn apply(self, _: Option<Marker>, _: &Context) -> Result<Option<Marker>, Rejection> {
        Ok(None)
    }
}

#[derive(Serialize, Deserialize, Action)]
#[action(create, resource = Marker)]
struct Set {}

impl Create for Set {
    fn create(self, _: &Context) -> Result<Marker, Rejection> {
        Ok(Marker { id: 1 })
    }
}

#[derive(Debug, Serialize, Deserialize, Resource)]
#[resource(name = "shop.marker", actions(Set, Lose))]
struct Marker {
    #[resource(id)]
    id: u64,
}

async fn an_update_that_leaves_no_record_is_refused(bed: Bed) {
    let log = bed.bare().resource::<Marker>().start().await.unwrap();
    session(&log).create(Set {}).await.unwrap();
    let message = "the action \"lose\" of type update left no record";
    is(&session(&log).update(&1, Lose {}).await.unwrap_err(), &ErrorKind::Invalid, message);
    assert!(log.get::<Marker>(&1).await.unwrap().is_some());
    assert_eq!(actions(&log).await, ["set"]);
}

async fn an_action_that_is_dropped_half_way_fails_the_whole_unit(bed: Bed) {
    let log = bed.builder().hook(Stuck).start().await.unwrap();
    let mut unit = session(&log).begin().unwrap();
    unit.create(print(1)).await.unwrap();
    let mut stuck = Box::pin(unit.create(open("stuck")));
    assert!(futures::poll!(&mut stuck).is_pending());
    drop(stuck);
    unit.create(print(2)).await.unwrap();
    let message = "an action of this unit of work had failed: the action \"open\" was broken off";
    is(&unit.commit().await.unwrap_err(), &ErrorKind::Invalid, message);
    assert!(events(&log).await.is_empty());
}

/// Never lets an account be opened.
struct Stuck;

#[async_trait]
impl Hook for Stuck {
    async fn before_action(&self, _: &mut Unit, call: &Call) -> Result<()> {
        if call.action == "open" {
            std::future::pending::<()>().await;
        }
        Ok(())
    }
}

async fn one_record_may_be_changed_twice(bed: Bed) {
    let log = bed.log().await;
    let [ada, _] = two(&log).await;
    let mut unit = session(&log).begin().unwrap();
    unit.update(&ada, Deposit { amount: 5 }).await.unwrap();
    unit.update(&ada, Deposit { amount: 6 }).await.unwrap();
    unit.update(&ada, rename("Ada")).await.unwrap();
    let committed = unit.commit().await.unwrap();
    let revisions: Vec<_> = committed.events.iter().map(|event| event.revision.unwrap().get()).collect();
    assert_eq!(revisions, [2, 3, 4]);
    let history = log.history::<Account>(&ada).await.unwrap();
    let balances: Vec<_> = history.iter().map(|revised| revised.record.as_ref().unwrap().balance).collect();
    assert_eq!(balances, [0, 5, 11, 11]);
    let before = state::state(&*bed.store, &log).await;
    log.replay().await.unwrap();
    assert_eq!(state::state(&*bed.store, &log).await, before);
}

async fn a_record_may_be_destroyed_and_made_again(bed: Bed) {
    let log = bed.log().await;
    session(&log).create(Print { id: 1, slot: slot("a") }).await.unwrap();
    let mut unit = session(&log).begin().unwrap();
    unit.destroy(&1, Peel {}).await.unwrap();
    unit.create(Print { id: 1, slot: slot("a") }).await.unwrap();
    unit.update(&1, Stick { slot: slot("b") }).await.unwrap();
    unit.commit().await.unwrap();
    assert_eq!(actions(&log).await, ["print", "peel", "print", "stick"]);
    assert_eq!(log.find::<Label>("slot", "b").await.unwrap(), Some(Label { id: 1, slot: slot("b") }));
    assert_eq!(log.find::<Label>("slot", "a").await.unwrap(), None);
    let before = state::state(&*bed.store, &log).await;
    assert_eq!(before["shop.label/1"].revision, 4);
    log.replay().await.unwrap();
    assert_eq!(state::state(&*bed.store, &log).await, before);
}

async fn a_record_may_be_made_and_destroyed(bed: Bed) {
    let log = bed.log().await;
    let mut unit = session(&log).begin().unwrap();
    unit.create(Print { id: 1, slot: slot("a") }).await.unwrap();
    unit.destroy(&1, Peel {}).await.unwrap();
    unit.create(Print { id: 2, slot: slot("a") }).await.unwrap();
    unit.commit().await.unwrap();
    assert_eq!(all::<Label>(&log).await, [Label { id: 2, slot: slot("a") }]);
    log.replay().await.unwrap();
    assert_eq!(all::<Label>(&log).await, [Label { id: 2, slot: slot("a") }]);
    assert_eq!(actions(&log).await, ["print", "peel", "print"]);
}

async fn a_record_that_the_unit_knows_is_not_created_again(bed: Bed) {
    let log = bed.log().await;
    let mut unit = session(&log).begin().unwrap();
    unit.create(print(1)).await.unwrap();
    let error = unit.create(print(1)).await.unwrap_err();
    let message = "shop.label/1 was created before in this unit of work";
    is(&error, &ErrorKind::AlreadyExists { actual: Revision::ZERO }, message);
    session(&log).create(Print { id: 1, slot: slot("a") }).await.unwrap();
    let mut unit = session(&log).begin().unwrap();
    unit.get::<Label>(&1).await.unwrap();
    let error = unit.create(print(1)).await.unwrap_err();
    is(&error, &ErrorKind::AlreadyExists { actual: Revision::new(1) }, "shop.label/1 exists, at revision 1");
    assert_eq!(events(&log).await.len(), 1);
}

async fn identities_may_be_swapped_in_a_unit(bed: Bed) {
    let log = bed.log().await;
    for (id, name) in [(1, "a"), (2, "b")] {
        session(&log).create(Print { id, slot: slot(name) }).await.unwrap();
    }
    let mut unit = session(&log).begin().unwrap();
    unit.update(&1, Stick { slot: slot("b") }).await.unwrap();
    unit.update(&2, Stick { slot: slot("a") }).await.unwrap();
    unit.commit().await.unwrap();
    for (id, name) in [(1, "b"), (2, "a")] {
        assert_eq!(log.find::<Label>("slot", name).await.unwrap().unwrap().id, id);
    }
    let mut unit = session(&log).begin().unwrap();
    unit.create(print(3)).await.unwrap();
    unit.update(&2, Stick { slot: slot("b") }).await.unwrap();
    let kind = ErrorKind::IdentityTaken { identity: "slot".to_owned(), owner: "1".to_owned() };
    let message = "the identity shop.label.slot=\"b\" belongs to \"1\"";
    is(&unit.commit().await.unwrap_err(), &kind, message);
    assert_eq!(log.get::<Label>(&3).await.unwrap(), None);
}

async fn sessions_and_units_may_be_used_in_tasks(bed: Bed) {
    let log = bed.log().await;
    let task = tokio::spawn({
        let session = session(&log);
        async move {
            let ada = session.create(open("ada")).await?;
            session.update(&ada.id, rename("Ada")).await?;
            session.destroy(&ada.id, Close {}).await?;
            let mut unit = session.begin()?;
            unit.create(print(1)).await?;
            unit.update(&1, Stick { slot: slot("a") }).await?;
            unit.commit().await
        }
    });
    assert_eq!(task.await.unwrap().unwrap().events.len(), 2);
    assert_eq!(actions(&log).await, ["open", "rename", "close", "print", "stick"]);
}

async fn an_empty_unit_is_harmless(bed: Bed) {
    let store = Held::around(&bed.store);
    let log = Rekindle::on(Arc::clone(&store)).resource::<Label>().start().await.unwrap();
    let unit = session(&log).begin().unwrap();
    assert!(unit.commit().await.unwrap().events.is_empty());
    assert!(store.batches().is_empty(), "there was nothing to ask the store for");
    assert_eq!(log.head().await.unwrap().position, Position::ZERO);
    session(&log).create(print(1)).await.unwrap();
    let mut unit = session(&log).begin().unwrap();
    unit.update(&1, Stick { slot: None }).await.unwrap();
    assert!(unit.commit().await.unwrap().events.is_empty(), "an update that changes nothing");
    assert_eq!(events(&log).await.len(), 1);
}

async fn e12_an_open_unit_holds_nobody_up(bed: Bed) {
    let log = bed.log().await;
    let [ada, bob] = two(&log).await;
    let mut unit = session(&log).begin().unwrap();
    unit.update(&ada, Deposit { amount: 1 }).await.unwrap();
    unit.create(print(1)).await.unwrap();
    deposit(&log, &bob, 1).await;
    session(&log).create(print(2)).await.unwrap();
    log.replay().await.unwrap();
    unit.commit().await.unwrap();
    assert_eq!(actions(&log).await, ["open", "open", "deposit", "print", "deposit", "print"]);
}
