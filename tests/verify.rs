//! Holding the live records against the log: every planted drift is found, with the event after which they part.

#![cfg(all(feature = "derive", feature = "memory", feature = "sled"))]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests")]

mod shop;

use rekindle::types::{IdentityValue, RecordKey};
use rekindle::{Action, Builder, Context, Difference, Drift, Log, Position, Rejection, Rekindle, Revision, Update};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use shop::bent::Bent;
use shop::plant;
use shop::raw::raw;
use shop::state::state;
use shop::*;

on_each_backend![
    e7_verify_finds_nothing_where_nothing_is_wrong,
    e7_verify_finds_a_record_that_is_missing,
    e7_verify_finds_a_record_that_is_extra,
    e7_verify_finds_an_attribute_that_was_changed,
    e7_verify_finds_an_attribute_of_another_type,
    e7_verify_finds_a_stale_revision,
    e7_verify_finds_the_lost_effect_of_an_event,
    e7_verify_finds_a_record_of_the_wrong_tenant,
    e7_verify_finds_an_identity_index_that_is_out_of_step,
    e7_verify_finds_a_record_that_is_stored_with_other_identities,
    e7_verify_finds_a_deleted_record_that_is_back,
    e7_verify_finds_a_route_that_maps_wrongly,
    e7_verify_finds_what_seeds_and_ignored_actions_have_written,
];

const ALL: &[&str] = &["shop.account", "shop.label"];
const LABEL: &str = "shop.label";

/// 1 opens ada; 2 prints label 1 on slot a, 3 sticks it on b; 4 prints label 2; 5 deposits 5; 6 peels label 2; 7 prints
/// label 3 on slot c.
async fn seven(bed: &Bed) -> (Log, Account) {
    let log = bed.builder().clock(Ticking::default()).start().await.unwrap();
    let actor = session(&log);
    let ada = actor.create(open("ada")).await.unwrap();
    actor.create(Print { id: 1, slot: slot("a") }).await.unwrap();
    actor.update(&1, Stick { slot: slot("b") }).await.unwrap();
    actor.create(print(2)).await.unwrap();
    let ada = actor.update(&ada.id, Deposit { amount: 5 }).await.unwrap();
    actor.destroy(&2, Peel {}).await.unwrap();
    actor.create(Print { id: 3, slot: slot("c") }).await.unwrap();
    (log, ada)
}

fn label(id: u64, slot: Option<&str>) -> Value {
    json!({"id": id, "slot": slot})
}

/// The drifts, which do not depend on the memory; nothing is changed by looking for them.
async fn drifts(bed: &Bed, log: &Log) -> Vec<Drift> {
    let before = (events(log).await, state(&*bed.store, log).await, log.head().await.unwrap());
    let verified = log.replay().verify().await.unwrap();
    assert_eq!(log.replay().memory(1).verify().await.unwrap(), verified);
    assert_eq!((events(log).await, state(&*bed.store, log).await, log.head().await.unwrap()), before);
    let printed: Vec<String> = verified.drifts.iter().map(ToString::to_string).collect();
    let whole = format!("{} records, {} drifts", verified.records, printed.len());
    assert_eq!(verified.to_string().split('\n').collect::<Vec<_>>(), [&[whole][..], &printed].concat());
    verified.drifts
}

/// That there is one drift: its record, difference, event and text.
fn one(drifts: &[Drift], key: &str, difference: &Difference, event: Option<u64>, text: &str) {
    assert_eq!(drifts.len(), 1, "{drifts:#?}");
    is(&drifts[0], key, difference, event, text);
}

fn is(drift: &Drift, key: &str, difference: &Difference, event: Option<u64>, text: &str) {
    assert_eq!((drift.key.to_string().as_str(), &drift.difference), (key, difference));
    assert_eq!(drift.event, event.map(Position::new), "{drift}");
    assert_eq!(drift.to_string(), text);
}

fn attribute(name: &str, live: Option<&str>, replayed: Option<&str>) -> Difference {
    let text = |text: Option<&str>| text.map(str::to_owned);
    Difference::Attribute { name: name.to_owned(), live: text(live), replayed: text(replayed) }
}

fn owned(value: &str) -> IdentityValue {
    IdentityValue::new("slot", value).unwrap()
}

async fn e7_verify_finds_nothing_where_nothing_is_wrong(bed: Bed) {
    let (log, ada) = seven(&bed).await;
    assert_eq!(drifts(&bed, &log).await, []);
    // One of them is destroyed.
    assert_eq!(log.replay().verify().await.unwrap().to_string(), "4 records, 0 drifts");
    session(&log).update(&ada.id, SetPin { pin: "1234".to_owned() }).await.unwrap();
    assert_eq!(drifts(&bed, &log).await, [], "what is sensitive is in no event, and is no drift");
    session(&log).update(&ada.id, SetNote { note: Some("vip".to_owned()) }).await.unwrap();
    session(&log).update(&ada.id, SetNote { note: None }).await.unwrap();
    session(&log).create(print(2)).await.unwrap();
    assert_eq!(drifts(&bed, &log).await, []);
    log.replay().await.unwrap();
    assert_eq!(drifts(&bed, &log).await, []);
}

async fn e7_verify_finds_a_record_that_is_missing(bed: Bed) {
    let (log, _) = seven(&bed).await;
    plant::write(&*bed.store, &log, (LABEL, "1"), None).await;
    let text = "shop.label/1: it is missing, since the event at position 2";
    one(&drifts(&bed, &log).await, "shop.label/1", &Difference::Missing, Some(2), text);
    log.replay().await.unwrap();
    assert_eq!(drifts(&bed, &log).await, [], "a replay heals it");
}

async fn e7_verify_finds_a_record_that_is_extra(bed: Bed) {
    let (log, _) = seven(&bed).await;
    let state = plant::content(&label(9, None), &[]);
    plant::write(&*bed.store, &log, (LABEL, "9"), Some(state)).await;
    let text = "shop.label/9: it is there, and by the log it is not, and no event tells of it";
    one(&drifts(&bed, &log).await, "shop.label/9", &Difference::Extra, None, text);
}

async fn e7_verify_finds_an_attribute_that_was_changed(bed: Bed) {
    let (log, ada) = seven(&bed).await;
    let id = ada.id.to_string();
    let mut wrong = serde_json::to_value(&ada).unwrap();
    wrong["name"] = json!("eve");
    let state = plant::content(&wrong, &[("email", &ada.email)]);
    plant::rebuild(&*bed.store, &log, ALL, ("shop.account", &id), 2, state).await;
    let difference = attribute("name", Some("\"eve\""), Some("\"ada\""));
    let text = format!("shop.account/{id}: name is \"eve\", and by the log \"ada\", since the event at position 1");
    one(&drifts(&bed, &log).await, &format!("shop.account/{id}"), &difference, Some(1), &text);
    // One that is not there, and one that should not be.
    wrong["name"] = json!("ada");
    wrong.as_object_mut().unwrap().remove("balance");
    wrong["note"] = json!("mine");
    let state = plant::content(&wrong, &[("email", &ada.email)]);
    plant::rebuild(&*bed.store, &log, ALL, ("shop.account", &id), 2, state).await;
    let found = drifts(&bed, &log).await;
    let texts: Vec<_> = found.iter().map(|drift| drift.to_string().replace(&id, "ID")).collect();
    let expected = [
        "shop.account/ID: balance is not there, and by the log 5, since the event at position 5",
        "shop.account/ID: note is \"mine\", and by the log not there, since the event at position 1",
    ];
    assert_eq!(texts, expected);
}

async fn e7_verify_finds_an_attribute_of_another_type(bed: Bed) {
    let (log, ada) = seven(&bed).await;
    let id = ada.id.to_string();
    let mut wrong = serde_json::to_value(&ada).unwrap();
    wrong["balance"] = json!("5");
    let state = plant::content(&wrong, &[("email", &ada.email)]);
    plant::rebuild(&*bed.store, &log, ALL, ("shop.account", &id), 2, state).await;
    let difference = attribute("balance", Some("\"5\""), Some("5"));
    let text = format!("shop.account/{id}: balance is \"5\", and by the log 5, since the event at position 5");
    one(&drifts(&bed, &log).await, &format!("shop.account/{id}"), &difference, Some(5), &text);
}

async fn e7_verify_finds_a_stale_revision(bed: Bed) {
    let (log, _) = seven(&bed).await;
    let state = plant::content(&label(1, Some("b")), &[("slot", "b")]);
    plant::rebuild(&*bed.store, &log, ALL, (LABEL, "1"), 1, state).await;
    let difference = Difference::Revision { live: Revision::new(1), replayed: Revision::new(2) };
    let text = "shop.label/1: it is at revision 1, and by the log at 2, since the event at position 3";
    one(&drifts(&bed, &log).await, "shop.label/1", &difference, Some(3), text);
}

async fn e7_verify_finds_the_lost_effect_of_an_event(bed: Bed) {
    let (log, ada) = seven(&bed).await;
    let id = ada.id.to_string();
    // As the record was before the deposit.
    let before = Account { balance: 0, updated_at: tick(1), ..ada };
    let state = plant::content(&serde_json::to_value(&before).unwrap(), &[("email", &before.email)]);
    plant::rebuild(&*bed.store, &log, ALL, ("shop.account", &id), 1, state).await;
    let texts: Vec<_> = drifts(&bed, &log).await.iter().map(|drift| drift.to_string().replace(&id, "ID")).collect();
    let expected = [
        "shop.account/ID: balance is 0, and by the log 5, since the event at position 5".to_owned(),
        format!(
            "shop.account/ID: updated_at is \"{}\", and by the log \"{}\", since the event at position 5",
            tick(1),
            tick(5)
        ),
        "shop.account/ID: it is at revision 1, and by the log at 2, since the event at position 5".to_owned(),
    ];
    assert_eq!(texts, expected);
}

async fn e7_verify_finds_a_record_of_the_wrong_tenant(bed: Bed) {
    let log = bed.log().await;
    let [right, wrong] = ["right", "wrong"].map(|tenant| log.tenant(tenant).unwrap());
    session(&right).create(Print { id: 1, slot: slot("a") }).await.unwrap();
    session(&wrong).create(print(2)).await.unwrap();
    plant::write(&*bed.store, &right, (LABEL, "1"), None).await;
    let state = plant::content(&label(1, Some("a")), &[("slot", "a")]);
    plant::write(&*bed.store, &wrong, (LABEL, "1"), Some(state)).await;
    let text = "shop.label/1: it is missing, since the event at position 1";
    one(&drifts(&bed, &right).await, "shop.label/1", &Difference::Missing, Some(1), text);
    let text = "shop.label/1: it is there, and by the log it is not, and no event tells of it";
    one(&drifts(&bed, &wrong).await, "shop.label/1", &Difference::Extra, None, text);
}

async fn e7_verify_finds_an_identity_index_that_is_out_of_step(bed: Bed) {
    let (_, ada) = seven(&bed).await;
    let bent = Bent::around(&bed.store);
    let log = Rekindle::on(bent.clone()).resource::<Account>().resource::<Label>().start().await.unwrap();
    for (leads_to, told) in [(None, "nowhere"), (Some("3"), "to the record \"3\"")] {
        let ada = RecordKey::new("shop.account", ada.id.to_string()).unwrap();
        bent.index(move |identity| match identity.value.as_str() {
            "b" => leads_to.map(|id| RecordKey::new(LABEL, id).unwrap()),
            "c" => Some(RecordKey::new(LABEL, "3").unwrap()),
            _ => Some(ada.clone()),
        });
        let difference = Difference::Index { identity: owned("b"), leads_to: leads_to.map(str::to_owned) };
        let text = format!("shop.label/1: its identity slot=\"b\" leads {told}, since the event at position 3");
        one(&drifts(&bed, &log).await, "shop.label/1", &difference, Some(3), &text);
    }
}

async fn e7_verify_finds_a_record_that_is_stored_with_other_identities(bed: Bed) {
    let (log, _) = seven(&bed).await;
    let state = plant::content(&label(1, Some("b")), &[("slot", "z")]);
    plant::rebuild(&*bed.store, &log, ALL, (LABEL, "1"), 2, state).await;
    let found = drifts(&bed, &log).await;
    assert_eq!(found.len(), 2, "{found:#?}");
    let difference = Difference::Identities { live: vec![owned("z")], replayed: vec![owned("b")] };
    let text = "shop.label/1: it is stored with the identities slot=\"z\", and by the log with slot=\"b\", \
                since the event at position 3";
    is(&found[0], "shop.label/1", &difference, Some(3), text);
    let difference = Difference::Index { identity: owned("b"), leads_to: None };
    let text = "shop.label/1: its identity slot=\"b\" leads nowhere, since the event at position 3";
    is(&found[1], "shop.label/1", &difference, Some(3), text);
}

async fn e7_verify_finds_a_deleted_record_that_is_back(bed: Bed) {
    let (log, _) = seven(&bed).await;
    let state = plant::content(&label(2, None), &[]);
    plant::write(&*bed.store, &log, (LABEL, "2"), Some(state)).await;
    let text = "shop.label/2: it is there, and by the log it is not, since the event at position 6";
    one(&drifts(&bed, &log).await, "shop.label/2", &Difference::Extra, Some(6), text);
}

/// What a deposit was in cents.
#[derive(Serialize, Deserialize, Action)]
#[action(update, resource = Account)]
struct Right {
    cents: i64,
}

impl Update for Right {
    fn update(self, account: &mut Account, _: &Context) -> Result<(), Rejection> {
        account.balance += self.cents / 100;
        Ok(())
    }
}

/// The same, read wrongly.
#[derive(Serialize, Deserialize, Action)]
#[action(update, resource = Account)]
struct Wrong {
    cents: i64,
}

impl Update for Wrong {
    fn update(self, account: &mut Account, _: &Context) -> Result<(), Rejection> {
        account.balance += self.cents;
        Ok(())
    }
}

async fn e7_verify_finds_a_route_that_maps_wrongly(bed: Bed) {
    let (log, ada) = seven(&bed).await;
    let id = ada.id.to_string();
    let event = raw("shop.account", &id, "credit").data(json!({"cents": 500}));
    assert_eq!(event.write(&*bed.store, &log).await, Position::new(8));
    let routed = |builder: Builder| builder.on_version::<Account>("credit", [1]);
    let right = routed(bed.builder()).route_to::<Right>().start().await.unwrap();
    right.replay().await.unwrap();
    assert_eq!(right.get::<Account>(&ada.id).await.unwrap().unwrap().balance, 10);
    assert_eq!(drifts(&bed, &right).await, []);
    let wrong = routed(bed.builder()).route_to::<Wrong>().start().await.unwrap();
    let difference = attribute("balance", Some("10"), Some("505"));
    let text = format!("shop.account/{id}: balance is 10, and by the log 505, since the event at position 8");
    one(&drifts(&bed, &wrong).await, &format!("shop.account/{id}"), &difference, Some(8), &text);
}

async fn e7_verify_finds_what_seeds_and_ignored_actions_have_written(bed: Bed) {
    let log = bed.builder().ignore_actions::<Label>(["stick"]).start().await.unwrap();
    session(&log).create(print(1)).await.unwrap();
    session(&log).update(&1, Stick { slot: slot("a") }).await.unwrap();
    log.seed([Label { id: 2, slot: None }]).await.unwrap();
    let texts: Vec<_> = drifts(&bed, &log).await.iter().map(ToString::to_string).collect();
    let expected = [
        "shop.label/1: slot is \"a\", and by the log null, since the event at position 1",
        "shop.label/1: it is at revision 2, and by the log at 1, since the event at position 1",
        "shop.label/1: it is stored with the identities slot=\"a\", and by the log with none, \
         since the event at position 1",
        "shop.label/2: it is there, and by the log it is not, and no event tells of it",
    ];
    assert_eq!(texts, expected);
}
