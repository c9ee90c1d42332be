//! What is sensitive is in no event, whoever has set it.

#![cfg(all(feature = "derive", feature = "memory", feature = "sled"))]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests")]

mod shop;

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use rekindle::types::Committed;
use rekindle::{
    Action, Call, Context, Create, Error, ErrorKind, Hook, Log, Next, Position, PublicFields, Rejection, Resource,
    Transaction, Unit, Update, Upsert,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use shop::{Bed, events, on_each_backend, session};

on_each_backend![
    p16_a_sensitive_attribute_that_takes_no_null_is_refused_when_it_is_recorded,
    p16_sensitive_inputs_are_null_unless_the_resource_asks_to_store_them,
    p16_a_replay_brings_back_what_is_stored_and_null_for_the_rest,
    p16_what_is_sensitive_is_null_in_history_and_in_public_fields,
    p16_an_input_may_be_sensitive_though_no_attribute_is,
    e9_a_sensitive_attribute_is_never_in_clear_text_whoever_set_it,
    e9_upserts_and_bulk_actions_hide_it_too,
    e9_nested_values_are_hidden_as_a_whole,
    e9_debug_output_of_calls_shows_no_input,
    an_event_that_never_held_a_value_cannot_bring_back_one_that_must_be_there,
];

/// All secrets of these tests have this in them.
const SECRET: &str = "s3cr3t";

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Resource)]
#[resource(name = "shop.card", actions(Issue, Lock, Renew, Claim, Note))]
struct Card {
    #[resource(id)]
    id: u64,
    holder: String,
    #[resource(identity, sensitive)]
    number: Option<String>,
    #[resource(sensitive)]
    pin: Option<String>,
    #[resource(sensitive)]
    owner: Option<Owner>,
    #[resource(sensitive(stored))]
    iban: Option<String>,
    uses: u32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Owner {
    name: String,
    born: u16,
}

/// It takes a number as input, and gives a PIN by default.
#[derive(Serialize, Deserialize, Action)]
#[action(create, resource = Card)]
struct Issue {
    id: u64,
    number: Option<String>,
    iban: Option<String>,
    #[action(sensitive)]
    one_time_code: String,
    #[action(sensitive)]
    holder: Option<String>,
}

impl Create for Issue {
    fn create(self, _: &Context) -> Result<Card, Rejection> {
        if self.one_time_code.is_empty() {
            return Err(Rejection::new("a code is needed"));
        }
        let (holder, pin) = ("ada".to_owned(), Some(format!("{SECRET} by default")));
        Ok(Card { id: self.id, holder, number: self.number, pin, owner: None, iban: self.iban, uses: 0 })
    }
}

/// Its own code sets what is sensitive.
#[derive(Serialize, Deserialize, Action)]
#[action(update, resource = Card)]
struct Lock {}

impl Update for Lock {
    fn update(self, card: &mut Card, _: &Context) -> Result<(), Rejection> {
        card.number = Some(format!("{SECRET} by the action"));
        card.pin = Some(format!("{SECRET} by the action, too"));
        card.owner = Some(Owner { name: format!("{SECRET} nested"), born: 1815 });
        card.uses += 1;
        Ok(())
    }
}

/// It makes of an input what is sensitive.
#[derive(Serialize, Deserialize, Action)]
#[action(update, resource = Card)]
struct Renew {
    #[action(sensitive)]
    digits: String,
}

impl Update for Renew {
    fn update(self, card: &mut Card, _: &Context) -> Result<(), Rejection> {
        card.number = Some(format!("{}!", self.digits));
        Ok(())
    }
}

#[derive(Serialize, Deserialize, Action)]
#[action(upsert, resource = Card)]
struct Claim {
    id: u64,
    number: Option<String>,
}

impl Create for Claim {
    fn create(self, cx: &Context) -> Result<Card, Rejection> {
        let one_time_code = SECRET.to_owned();
        Issue { id: self.id, number: self.number, iban: None, one_time_code, holder: None }.create(cx)
    }
}

impl Update for Claim {
    fn update(self, card: &mut Card, _: &Context) -> Result<(), Rejection> {
        card.uses += 1;
        Ok(())
    }
}

impl Upsert for Claim {
    fn identity(&self) -> (&'static str, String) {
        ("number", self.number.clone().unwrap_or_default())
    }
}

#[derive(Serialize, Deserialize, Action)]
#[action(update, resource = Card)]
struct Note {
    #[action(sensitive)]
    uses: u32,
}

impl Update for Note {
    fn update(self, card: &mut Card, _: &Context) -> Result<(), Rejection> {
        card.uses = self.uses;
        Ok(())
    }
}

fn secret(text: &str) -> String {
    format!("{SECRET} {text}")
}

fn issue(id: u64) -> Issue {
    let (number, iban) = (Some(secret(&format!("number {id}"))), Some("DE02".to_owned()));
    Issue { id, number, iban, one_time_code: secret("code"), holder: Some(secret("holder")) }
}

async fn log(bed: &Bed) -> Log {
    bed.bare().resource::<Card>().start().await.unwrap()
}

/// That nothing of the log's events shows a secret, by whatever way they are written.
async fn no_secret_in(log: &Log) {
    for event in events(log).await {
        for text in [format!("{event:?}"), format!("{event:#?}"), serde_json::to_string(&event).unwrap()] {
            assert!(!text.contains(SECRET), "{text}");
        }
    }
}

async fn p16_sensitive_inputs_are_null_unless_the_resource_asks_to_store_them(bed: Bed) {
    let log = log(&bed).await;
    let card = session(&log).create(issue(1)).await.unwrap();
    assert_eq!(card.number, Some(secret("number 1")));
    assert_eq!(log.get::<Card>(&1).await.unwrap(), Some(card), "the record has what it was given");
    let event = events(&log).await.remove(0);
    let data = json!({"id": 1, "number": null, "iban": "DE02", "one_time_code": null, "holder": null});
    assert_eq!(shop::json(&event.data), data);
    let changed = json!({"holder": "ada", "owner": null, "pin": null, "uses": 0});
    assert_eq!(shop::json(&event.changed_attributes), changed);
}

async fn p16_a_replay_brings_back_what_is_stored_and_null_for_the_rest(bed: Bed) {
    let log = log(&bed).await;
    session(&log).create(issue(1)).await.unwrap();
    let locked = session(&log).update(&1, Lock {}).await.unwrap();
    assert!(log.replay().verify().await.unwrap().drifts.is_empty(), "what no event holds is no drift");
    log.replay().await.unwrap();
    let replayed = log.get::<Card>(&1).await.unwrap().unwrap();
    assert_eq!(replayed, Card { number: None, pin: None, owner: None, ..locked });
    assert_eq!(replayed.iban.as_deref(), Some("DE02"));
    assert_eq!(log.find::<Card>("number", &secret("by the action")).await.unwrap(), None);
}

async fn p16_what_is_sensitive_is_null_in_history_and_in_public_fields(bed: Bed) {
    let log = bed.bare().resource::<Card>().public_fields(PublicFields::All).start().await.unwrap();
    session(&log).create(issue(1)).await.unwrap();
    session(&log).update(&1, Lock {}).await.unwrap();
    let history = log.history::<Card>(&1).await.unwrap();
    let printed: Vec<String> = history.iter().map(|revised| format!("{revised}\n{revised:?}")).collect();
    let past = log.as_of(Position::new(2)).get::<Card>(&1).await.unwrap().unwrap();
    assert_eq!((past.number, past.pin, past.uses), (None, None, 1));
    for event in events(&log).await {
        let public = log.public(&event).unwrap().to_json().unwrap();
        assert!(!public.as_str().contains(SECRET), "{public}");
    }
    assert!(!printed.concat().contains(SECRET), "{printed:?}");
}

async fn p16_an_input_may_be_sensitive_though_no_attribute_is(bed: Bed) {
    let log = log(&bed).await;
    session(&log).create(issue(1)).await.unwrap();
    session(&log).update(&1, Renew { digits: secret("digits") }).await.unwrap();
    assert_eq!(log.get::<Card>(&1).await.unwrap().unwrap().number, Some(secret("digits!")));
    assert_eq!(shop::json(&events(&log).await[1].data), json!({"digits": null}));
    let error = bed.bare().resource::<Card>().replay_as_arguments::<Renew>().start().await.unwrap().replay().await;
    let error = error.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Replay { position: Position::new(2) });
    assert!(error.to_string().contains(r#"the input does not fit the action "renew""#), "{error}");
}

async fn e9_a_sensitive_attribute_is_never_in_clear_text_whoever_set_it(bed: Bed) {
    let log = log(&bed).await;
    // By an input, by an argument that no attribute is named after, by default.
    session(&log).create(issue(1)).await.unwrap();
    // By the action's own code.
    session(&log).update(&1, Lock {}).await.unwrap();
    // By what the action makes of an argument.
    session(&log).update(&1, Renew { digits: secret("digits") }).await.unwrap();
    assert_eq!(events(&log).await.len(), 3);
    let stored = log.get::<Card>(&1).await.unwrap().unwrap();
    assert!(stored.pin.unwrap().contains(SECRET) && stored.number.unwrap().contains(SECRET));
    no_secret_in(&log).await;
}

async fn e9_upserts_and_bulk_actions_hide_it_too(bed: Bed) {
    let log = log(&bed).await;
    let claim = || Claim { id: 1, number: Some(secret("claimed")) };
    session(&log).upsert(claim()).await.unwrap();
    assert_eq!(session(&log).upsert(claim()).await.unwrap().uses, 1);
    session(&log).bulk_create((2..=9).map(issue)).await.unwrap();
    session(&log).bulk_update((2..=3).map(|id| (id, Renew { digits: secret(&id.to_string()) }))).await.unwrap();
    assert_eq!(events(&log).await.len(), 12);
    no_secret_in(&log).await;
}

async fn e9_nested_values_are_hidden_as_a_whole(bed: Bed) {
    let log = log(&bed).await;
    session(&log).create(issue(1)).await.unwrap();
    session(&log).update(&1, Lock {}).await.unwrap();
    let event = events(&log).await.remove(1);
    let hidden = json!({"number": null, "owner": null, "pin": null, "uses": 1});
    assert_eq!(shop::json(&event.changed_attributes), hidden);
}

/// Keeps all that it can print of what it is told.
#[derive(Clone, Default)]
struct Printing(Arc<Mutex<String>>);

#[async_trait]
impl Hook for Printing {
    async fn around_action(&self, unit: &mut Unit, call: &Call, next: Next<'_>) -> rekindle::Result<()> {
        assert!(call.data.as_str().contains(SECRET), "a hook is given the input");
        self.0.lock().unwrap().push_str(&format!("{call:?} {call:#?}"));
        next.run(unit).await
    }

    async fn after_transaction(&self, transaction: &Transaction, outcome: rekindle::Result<&Committed, &Error>) {
        self.0.lock().unwrap().push_str(&format!("{transaction:?} {outcome:?}"));
    }
}

async fn e9_debug_output_of_calls_shows_no_input(bed: Bed) {
    let printing = Printing::default();
    let log = bed.bare().resource::<Card>().hook(printing.clone()).start().await.unwrap();
    session(&log).create(issue(1)).await.unwrap();
    let bad = Issue { one_time_code: String::new(), ..issue(2) };
    session(&log).create(bad).await.unwrap_err();
    let printed = printing.0.lock().unwrap();
    assert!(printed.contains("shop.card") && printed.contains("issue"), "{printed}");
    assert!(!printed.contains(SECRET), "{printed}");
}

async fn an_event_that_never_held_a_value_cannot_bring_back_one_that_must_be_there(bed: Bed) {
    let log = log(&bed).await;
    session(&log).create(issue(1)).await.unwrap();
    session(&log).update(&1, Note { uses: 7 }).await.unwrap();
    let error = log.replay().await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Replay { position: Position::new(2) });
    assert!(error.message().contains("shop.card/1") && error.to_string().contains("null"), "{error}");
}

async fn p16_a_sensitive_attribute_that_takes_no_null_is_refused_when_it_is_recorded(bed: Bed) {
    #[derive(Debug, serde::Serialize, serde::Deserialize, rekindle::Resource)]
    #[resource(name = "safe", actions(Lock))]
    struct Safe {
        #[resource(id)]
        id: u64,
        #[resource(sensitive)]
        code: String,
    }
    #[derive(serde::Serialize, serde::Deserialize, rekindle::Action)]
    #[action(create, resource = Safe)]
    struct Lock {
        id: u64,
        code: String,
    }
    impl rekindle::Create for Lock {
        fn create(self, _: &rekindle::Context) -> Result<Safe, rekindle::Rejection> {
            Ok(Safe { id: self.id, code: self.code })
        }
    }

    let log = bed.bare().resource::<Safe>().start().await.unwrap();
    let error = session(&log).create(Lock { id: 1, code: "open sesame".to_owned() }).await.unwrap_err();
    assert_eq!(error.kind(), &rekindle::ErrorKind::Invalid);
    let told = "no replay could read safe/1 back: what is sensitive (code) is null in events, and the type of an attribute takes \
                no null: make it an Option, or mark it `sensitive(stored)`";
    assert_eq!(error.message(), told);
    assert!(!error.to_string().contains("sesame") && !format!("{error:?}").contains("sesame"));
    assert_eq!(events(&log).await.len(), 0);
    let log = bed.bare().resource::<Safe>().ignore_actions::<Safe>(["lock"]).start().await.unwrap();
    session(&log).create(Lock { id: 1, code: "open sesame".to_owned() }).await.unwrap();
}
