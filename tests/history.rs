//! The history of a record: what it was before and after each event, as values and in print.

#![cfg(all(feature = "derive", feature = "memory", feature = "sled"))]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests")]

mod shop;

use rekindle::{Actor, Log, Revised};
use shop::*;
use uuid::Uuid;

on_each_backend![
    e7_history_gives_the_record_before_and_after_each_event_as_values,
    e7_history_tells_what_each_event_has_changed,
    e7_history_is_printed_as_a_diff,
    e7_history_prints_attributes_that_come_and_go,
    e7_history_agrees_with_as_of_at_every_event,
    e7_history_of_a_record_that_was_made_again_begins_with_nothing,
];

/// Seven events of one account, and one of a label in between.
async fn ada(bed: &Bed) -> (Log, Uuid, Vec<Option<Account>>) {
    let log = bed.builder().clock(Ticking::default()).start().await.unwrap();
    let user = log.as_actor(Actor::new("user", 42).unwrap());
    let made = user.create(open("ada")).await.unwrap();
    let id = made.id;
    let mut states = vec![Some(made)];
    states.push(Some(user.update(&id, Deposit { amount: 5 }).await.unwrap()));
    user.create(print(1)).await.unwrap();
    states.push(Some(session(&log).update(&id, SetNote { note: Some("vip".to_owned()) }).await.unwrap()));
    states.push(Some(log.as_anonymous().update(&id, SetNote { note: None }).await.unwrap()));
    states.push(Some(user.update(&id, SetPin { pin: "1234".to_owned() }).await.unwrap()));
    states.push(Some(user.update(&id, Deposit { amount: -5 }).await.unwrap()));
    user.destroy(&id, Close {}).await.unwrap();
    states.push(None);
    // What no event holds is not in its history.
    for state in states.iter_mut().flatten() {
        state.pin = None;
    }
    (log, id, states)
}

async fn e7_history_gives_the_record_before_and_after_each_event_as_values(bed: Bed) {
    let (log, id, states) = ada(&bed).await;
    let history: Vec<Revised<Account>> = log.history(&id).await.unwrap();
    let (before, after): (Vec<_>, Vec<_>) =
        history.iter().map(|revised| (revised.before.clone(), revised.record.clone())).unzip();
    assert_eq!(after, states);
    assert_eq!(before[0], None);
    assert_eq!(before[1..], states[..states.len() - 1]);
    let positions: Vec<_> = history.iter().map(|revised| revised.event.position.get()).collect();
    assert_eq!(positions, [1, 2, 4, 5, 6, 7, 8]);
    for revised in &history {
        assert!(revised.in_effect);
        assert_eq!(revised.attributes_before.is_some(), revised.before.is_some());
        assert_eq!(revised.attributes.is_some(), revised.record.is_some());
    }
}

/// The changes of an event, each as it is printed.
fn changes(revised: &Revised<Account>) -> Vec<String> {
    revised.changes().unwrap().iter().map(ToString::to_string).collect()
}

async fn e7_history_tells_what_each_event_has_changed(bed: Bed) {
    let (log, id, _) = ada(&bed).await;
    let history = log.history::<Account>(&id).await.unwrap();
    assert_eq!(changes(&history[1]), ["balance: 0 -> 5", &stamped(1, 2)]);
    let change = history[2].changes().unwrap().remove(0);
    assert_eq!((change.name.as_str(), change.before, change.after.as_deref()), ("note", None, Some("\"vip\"")));
    let change = history[3].changes().unwrap().remove(0);
    assert_eq!((change.name.as_str(), change.before.as_deref(), change.after), ("note", Some("\"vip\""), None));
    let names: Vec<_> = history[6].changes().unwrap().into_iter().map(|change| change.name).collect();
    assert_eq!(names, ["balance", "email", "id", "inserted_at", "name", "pin", "updated_at"]);
}

fn stamped(before: i64, after: i64) -> String {
    format!("updated_at: \"{}\" -> \"{}\"", tick(before), tick(after))
}

async fn e7_history_is_printed_as_a_diff(bed: Bed) {
    let (log, id, _) = ada(&bed).await;
    let history = log.history::<Account>(&id).await.unwrap();
    let printed: Vec<String> = history.iter().map(ToString::to_string).collect();
    let made = format!(
        "1  1970-01-01T00:00:01.000001Z  open by user/42
    balance: - -> 0
    email: - -> \"ada@example.org\"
    id: - -> \"{id}\"
    inserted_at: - -> \"1970-01-01T00:00:01.000001Z\"
    name: - -> \"ada\"
    pin: - -> null
    updated_at: - -> \"1970-01-01T00:00:01.000001Z\""
    );
    assert_eq!(printed[0], made);
    let deposited = "2  1970-01-01T00:00:02.000002Z  deposit by user/42
    balance: 0 -> 5
    updated_at: \"1970-01-01T00:00:01.000001Z\" -> \"1970-01-01T00:00:02.000002Z\"";
    assert_eq!(printed[1], deposited);
    assert!(printed[6].starts_with("8  1970-01-01T00:00:08.000008Z  close by user/42\n    balance: 0 -> -\n"));
    assert!(!printed.concat().contains("1234"));
}

async fn e7_history_prints_attributes_that_come_and_go(bed: Bed) {
    let (log, id, _) = ada(&bed).await;
    let history = log.history::<Account>(&id).await.unwrap();
    let lines = |n: usize| history[n].to_string().lines().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(lines(2)[..2], ["4  1970-01-01T00:00:04.000004Z  set_note by system/test", "    note: - -> \"vip\""]);
    assert_eq!(lines(3)[..2], ["5  1970-01-01T00:00:05.000005Z  set_note by nobody", "    note: \"vip\" -> -"]);
}

async fn e7_history_agrees_with_as_of_at_every_event(bed: Bed) {
    let (log, id, _) = ada(&bed).await;
    for revised in log.history::<Account>(&id).await.unwrap() {
        assert_eq!(log.as_of(revised.event.position).get::<Account>(&id).await.unwrap(), revised.record);
        let before = rekindle::Position::new(revised.event.position.get() - 1);
        assert_eq!(log.as_of(before).get::<Account>(&id).await.unwrap(), revised.before);
    }
}

async fn e7_history_of_a_record_that_was_made_again_begins_with_nothing(bed: Bed) {
    let log = bed.log().await;
    for text in ["a", "b"] {
        session(&log).create(Print { id: 1, slot: slot(text) }).await.unwrap();
        session(&log).destroy(&1, Peel {}).await.unwrap();
    }
    let history = log.history::<Label>(&1).await.unwrap();
    let slots = |label: &Option<Label>| label.as_ref().map(|label| label.slot.clone().unwrap());
    let seen: Vec<_> = history.iter().map(|revised| (slots(&revised.before), slots(&revised.record))).collect();
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(seen, [(None, text("a")), (text("a"), None), (None, text("b")), (text("b"), None)]);
}
