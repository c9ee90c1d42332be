//! Reading the past: records as of a point, and the history of a record.

#![cfg(all(feature = "derive", feature = "memory", feature = "sled"))]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests")]

mod shop;

use std::collections::BTreeMap;

use rekindle::store::LogState;
use rekindle::{ActionType, Actor, AsOf, ErrorKind, Log, Position, Revised, Revision, Timestamp};
use serde_json::json;
use shop::raw::raw;
use shop::state::state;
use shop::*;
use uuid::Uuid;

on_each_backend![
    e7_as_of_a_position_is_what_the_record_was_after_that_event,
    e7_as_of_a_time_is_what_the_record_was_then,
    e7_as_of_a_time_takes_what_occurred_by_then_also_when_times_are_out_of_order,
    e7_as_of_beyond_the_head_is_the_present,
    e7_the_past_of_a_tenant_is_its_own,
    e7_history_has_every_event_and_the_record_after_it,
    e7_history_goes_over_pages_and_units,
    e7_an_event_that_cannot_be_applied_is_told_with_its_position,
    e7_reading_the_past_changes_nothing_and_needs_no_records,
];

/// What there was after each position, as the test itself has kept it from the answers of the actions.
#[derive(Default)]
struct Kept {
    accounts: BTreeMap<Uuid, Account>,
    labels: BTreeMap<u64, Label>,
}

struct Told {
    log: Log,
    /// One for each position, 0 among them.
    kept: Vec<Kept>,
    ada: Uuid,
    bob: Uuid,
}

impl Told {
    fn keep(&mut self, change: impl FnOnce(&mut Kept)) {
        let last = self.kept.last().unwrap();
        let mut next = Kept { accounts: last.accounts.clone(), labels: last.labels.clone() };
        change(&mut next);
        self.kept.push(next);
    }

    /// That at this point, everything is as it was after the n-th event.
    async fn is_as_of(&self, point: impl Into<AsOf>, kept: usize) {
        let past = self.log.as_of(point);
        for id in [self.ada, self.bob, Uuid::nil()] {
            let expected = self.kept[kept].accounts.get(&id).cloned();
            assert_eq!(past.get::<Account>(&id).await.unwrap(), expected, "after {kept}");
        }
        for id in 1..=3 {
            let expected = self.kept[kept].labels.get(&id).cloned();
            assert_eq!(past.get::<Label>(&id).await.unwrap(), expected, "label {id} after {kept}");
        }
    }
}

/// Nine events; the n-th is of the n-th tick.
async fn told(bed: &Bed) -> Told {
    let log = bed.builder().clock(Ticking::default()).start().await.unwrap();
    let mut told = Told { log: log.clone(), kept: vec![Kept::default()], ada: Uuid::nil(), bob: Uuid::nil() };
    let actor = session(&log);
    let keep_account = |account: Account| move |kept: &mut Kept| drop(kept.accounts.insert(account.id, account));
    let keep_label = |label: Label| move |kept: &mut Kept| drop(kept.labels.insert(label.id, label));

    let ada = actor.create(open("ada")).await.unwrap();
    told.ada = ada.id;
    told.keep(keep_account(ada));
    let label = actor.create(Print { id: 1, slot: slot("a") }).await.unwrap();
    told.keep(keep_label(label));
    let noted = actor.update(&told.ada, SetNote { note: Some("vip".to_owned()) }).await.unwrap();
    told.keep(keep_account(noted));
    let bob = actor.create(open("bob")).await.unwrap();
    told.bob = bob.id;
    told.keep(keep_account(bob));
    actor.destroy(&1, Peel {}).await.unwrap();
    told.keep(|kept| drop(kept.labels.remove(&1)));
    let plain = actor.update(&told.ada, SetNote { note: None }).await.unwrap();
    told.keep(keep_account(plain));
    let again = actor.create(Print { id: 1, slot: slot("b") }).await.unwrap();
    told.keep(keep_label(again));
    let rich = actor.update(&told.bob, Deposit { amount: 7 }).await.unwrap();
    told.keep(keep_account(rich));
    actor.destroy(&told.ada, Close {}).await.unwrap();
    let gone = told.ada;
    told.keep(|kept| drop(kept.accounts.remove(&gone)));
    told
}

async fn e7_as_of_a_position_is_what_the_record_was_after_that_event(bed: Bed) {
    let told = told(&bed).await;
    for position in 0..told.kept.len() {
        told.is_as_of(Position::new(position as u64), position).await;
    }
}

async fn e7_as_of_a_time_is_what_the_record_was_then(bed: Bed) {
    let told = told(&bed).await;
    let near = |n: i64, by: i64| Timestamp::from_microseconds(tick(n).as_microseconds() + by).unwrap();
    for n in 1..told.kept.len() {
        let at = i64::try_from(n).unwrap();
        told.is_as_of(near(at, -1), n - 1).await;
        told.is_as_of(tick(at), n).await;
        told.is_as_of(near(at, 1), n).await;
    }
    told.is_as_of(Timestamp::min(), 0).await;
    told.is_as_of(Timestamp::max(), 9).await;
}

async fn e7_as_of_a_time_takes_what_occurred_by_then_also_when_times_are_out_of_order(bed: Bed) {
    let log = bed.log().await;
    session(&log).at(seconds(10)).create(Print { id: 1, slot: slot("made at 10") }).await.unwrap();
    session(&log).at(seconds(40)).update(&1, Stick { slot: slot("at 40") }).await.unwrap();
    // It was told late, and in the log it comes last.
    session(&log).at(seconds(20)).update(&1, Stick { slot: slot("at 20") }).await.unwrap();
    for (at, expected) in [
        (9, None),
        (10, slot("made at 10")),
        (19, slot("made at 10")),
        (20, slot("at 20")),
        (39, slot("at 20")),
        (40, slot("at 20")),
    ] {
        let past = log.as_of(seconds(at)).get::<Label>(&1).await.unwrap();
        assert_eq!(past.and_then(|label| label.slot), expected, "at {at} s");
        log.replay().until(seconds(at)).await.unwrap();
        let replayed = log.get::<Label>(&1).await.unwrap();
        assert_eq!(replayed.and_then(|label| label.slot), expected, "replayed until {at} s");
    }
}

async fn e7_as_of_beyond_the_head_is_the_present(bed: Bed) {
    let told = told(&bed).await;
    for beyond in [10, 1_000, u64::MAX] {
        told.is_as_of(Position::new(beyond), 9).await;
    }
    let empty = told.log.tenant("empty").unwrap();
    assert_eq!(empty.as_of(Position::new(5)).get::<Label>(&1).await.unwrap(), None);
}

async fn e7_the_past_of_a_tenant_is_its_own(bed: Bed) {
    let log = bed.log().await;
    let (north, south) = (log.tenant("north").unwrap(), log.tenant("south").unwrap());
    session(&north).create(Print { id: 1, slot: slot("north") }).await.unwrap();
    session(&south).create(Print { id: 1, slot: slot("south") }).await.unwrap();
    let past = north.as_of(Position::new(1)).get::<Label>(&1).await.unwrap();
    assert_eq!(past, Some(Label { id: 1, slot: slot("north") }));
    assert_eq!(
        (north.history::<Label>(&1).await.unwrap().len(), log.history::<Label>(&1).await.unwrap().len()),
        (1, 0)
    );
}

async fn e7_history_has_every_event_and_the_record_after_it(bed: Bed) {
    let log = bed.log().await;
    let user = Actor::new("user", 7).unwrap();
    session(&log).create(Print { id: 1, slot: slot("a") }).await.unwrap();
    session(&log).create(print(2)).await.unwrap();
    log.as_actor(&user).with("why", "moved").update(&1, Stick { slot: None }).await.unwrap();
    session(&log).destroy(&1, Peel {}).await.unwrap();
    session(&log).create(Print { id: 1, slot: slot("b") }).await.unwrap();
    let history = log.history::<Label>(&1).await.unwrap();
    let seen: Vec<_> = history
        .iter()
        .map(|Revised { event, attributes, record, .. }| {
            assert_eq!(attributes.is_some(), record.is_some());
            let attributes = attributes.as_ref().map(|attributes| attributes.to_value::<serde_json::Value>().unwrap());
            (event.position.get(), event.revision.unwrap().get(), event.action_type, attributes)
        })
        .collect();
    let expected = [
        (1, 1, ActionType::Create, Some(json!({"id": 1, "slot": "a"}))),
        (3, 2, ActionType::Update, Some(json!({"id": 1, "slot": null}))),
        (4, 3, ActionType::Destroy, None),
        (5, 4, ActionType::Create, Some(json!({"id": 1, "slot": "b"}))),
    ];
    assert_eq!(seen, expected);
    assert_eq!(history[3].record, Some(Label { id: 1, slot: slot("b") }));
    assert_eq!((&history[1].event.actor, json(&history[1].event.metadata)), (&Some(user), json!({"why": "moved"})));
    assert!(log.history::<Label>(&3).await.unwrap().is_empty());
    assert!(log.history::<Account>(&Uuid::nil()).await.unwrap().is_empty());
}

async fn e7_history_goes_over_pages_and_units(bed: Bed) {
    let log = bed.log().await;
    session(&log).create(print(1)).await.unwrap();
    let mut unit = session(&log).begin().unwrap();
    for n in 0..1_100 {
        unit.update(&1, Stick { slot: Some(format!("slot-{n}")) }).await.unwrap();
    }
    unit.commit().await.unwrap();
    let history = log.history::<Label>(&1).await.unwrap();
    assert_eq!(history.len(), 1_101);
    for (n, revised) in history[1..].iter().enumerate() {
        assert_eq!(revised.record.as_ref().unwrap().slot, Some(format!("slot-{n}")));
        assert_eq!(revised.event.revision, Some(Revision::new(n as u64 + 2)));
    }
    // A point within a unit of work is a point as any other.
    let within = log.as_of(Position::new(1_050)).get::<Label>(&1).await.unwrap();
    assert_eq!(within.unwrap().slot, slot("slot-1048"));
}

async fn e7_an_event_that_cannot_be_applied_is_told_with_its_position(bed: Bed) {
    let log = bed.log().await;
    session(&log).create(print(1)).await.unwrap();
    raw("shop.label", "1", "burn").write(&*bed.store, &log).await;
    raw("shop.label", "2", "stick").write(&*bed.store, &log).await;
    session(&log).create(print(3)).await.unwrap();
    raw("shop.label", "3", "stick").changed(json!({"slot": 5})).write(&*bed.store, &log).await;
    let at = |position| ErrorKind::Replay { position: Position::new(position) };

    let unknown =
        "the event at position 2 is version 1 of shop.label.burn: there is no such action, and no route for it";
    for error in
        [log.history::<Label>(&1).await.unwrap_err(), log.as_of(Position::new(2)).get::<Label>(&1).await.unwrap_err()]
    {
        assert_eq!((error.kind(), error.message()), (&at(2), unknown));
    }
    // Before that event, and for other records, there is nothing amiss.
    assert!(log.as_of(Position::new(1)).get::<Label>(&1).await.unwrap().is_some());
    assert!(log.as_of(Position::new(4)).get::<Label>(&3).await.unwrap().is_some());

    let error = log.history::<Label>(&2).await.unwrap_err();
    assert!(error.message().ends_with("cannot be applied: the record shop.label/2 is not there"), "{error}");
    assert_eq!(error.kind(), &at(3));
    let error = log.history::<Label>(&3).await.unwrap_err();
    assert_eq!(error.kind(), &at(5));
    let told = "after the event at position 5: the attributes of shop.label/3 do not fit ";
    assert!(error.message().starts_with(told), "{error}");
}

async fn e7_reading_the_past_changes_nothing_and_needs_no_records(bed: Bed) {
    let told = told(&bed).await;
    let log = &told.log;
    let before = (log.head().await.unwrap(), events(log).await, state(&*bed.store, log).await);
    told.is_as_of(Position::new(3), 3).await;
    told.is_as_of(tick(3), 3).await;
    let history = log.history::<Account>(&told.ada).await.unwrap().len();
    assert_eq!((log.head().await.unwrap(), events(log).await, state(&*bed.store, log).await), before);
    // It is read from the log, whatever the records are at.
    log.replay().until_position(2).await.unwrap();
    log.clear_records().await.unwrap();
    assert_eq!(log.head().await.unwrap().state, LogState::Rewound(Position::ZERO));
    told.is_as_of(Position::new(8), 8).await;
    assert_eq!(log.history::<Account>(&told.ada).await.unwrap().len(), history);
}
