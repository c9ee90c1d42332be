//! Who may run what, who may read the log, and what of events is shown to others.

#![cfg(all(feature = "derive", feature = "memory", feature = "sled"))]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests")]

mod shop;

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt};
use rekindle::types::Tenant;
use rekindle::{
    Actor, Call, Error, ErrorKind, EventQuery, Hook, Json, Log, LogId, Policy, Position, PublicFields, Rejection, Unit,
};
use serde_json::json;
use shop::*;

on_each_backend![
    p35_no_field_of_an_event_is_public_unless_it_is_said,
    p35_some_fields_are_public,
    p35_all_fields_are_public,
    p36_a_policy_guards_the_log_from_reading,
    p36_a_session_reads_the_log_in_the_name_of_its_actor,
    p36_a_policy_knows_the_tenant_whose_log_is_read,
    p36_replays_ask_no_policy,
    a_policy_sees_call_and_record_and_may_forbid_the_action,
    all_policies_must_allow_an_action,
    policies_are_asked_for_what_hooks_run,
    policies_are_asked_for_each_action_of_a_bulk_and_for_upserts_as_what_they_are,
    tests_and_tools_go_around_policies_in_so_many_words,
    a_policy_that_panics_allows_nothing,
];

/// The public fields of one event.
async fn public(bed: &Bed, fields: PublicFields) -> (Log, serde_json::Value) {
    let log = bed.builder().clock(Ticking::default()).public_fields(fields).start().await.unwrap();
    let user = Actor::new("user", 42).unwrap();
    log.as_actor(&user).with("request", "r-1").create(Print { id: 1, slot: slot("a") }).await.unwrap();
    let event = log.unguarded().events(&EventQuery::new()).await.unwrap().items.remove(0);
    let public = log.public(&event).unwrap().to_json().unwrap().to_value().unwrap();
    (log, public)
}

async fn p35_no_field_of_an_event_is_public_unless_it_is_said(bed: Bed) {
    assert_eq!(PublicFields::default(), PublicFields::None);
    assert_eq!(public(&bed, PublicFields::None).await.1, json!({}));
    let log = bed.log().await;
    assert!(log.public(&events(&log).await[0]).unwrap().is_empty());
}

async fn p35_some_fields_are_public(bed: Bed) {
    let fields = ["action", "data", "occurred_at"].map(str::to_owned).to_vec();
    let expected =
        json!({"action": "print", "data": {"id": 1, "slot": "a"}, "occurred_at": "1970-01-01T00:00:01.000001Z"});
    assert_eq!(public(&bed, PublicFields::Some(fields)).await.1, expected);
}

async fn p35_all_fields_are_public(bed: Bed) {
    let (log, public) = public(&bed, PublicFields::All).await;
    let event = events(&log).await.remove(0);
    let expected = json!({
        "position": 1,
        "id": event.id.to_string(),
        "resource": "shop.label",
        "record_id": "1",
        "action": "print",
        "action_type": "create",
        "version": 1,
        "actor": {"kind": "user", "id": "42"},
        "data": {"id": 1, "slot": "a"},
        "changed_attributes": {},
        "removed_attributes": [],
        "metadata": {"request": "r-1"},
        "occurred_at": "1970-01-01T00:00:01.000001Z",
        "revision": 1,
    });
    assert_eq!(public, expected);
    let mut names = PublicFields::NAMES.to_vec();
    names.sort_unstable();
    assert_eq!(public.as_object().unwrap().keys().map(String::as_str).collect::<Vec<_>>(), names);
}

#[tokio::test]
async fn p35_a_public_field_that_is_none_is_a_mistake_of_the_set_up() {
    let fields = PublicFields::Some(vec!["data".to_owned(), "changes".to_owned(), "Action".to_owned()]);
    let error = Bed::memory().builder().public_fields(fields).start().await.unwrap_err();
    let no_field = |name: &str| format!("{name:?} is to be a public field, and is no field of an event");
    let told = format!("the set-up has mistakes: {}; {}", no_field("changes"), no_field("Action"));
    assert_eq!((error.kind(), error.message()), (&ErrorKind::Invalid, told.as_str()));
}

fn forbids(error: &Error, told: &str) {
    assert_eq!((error.kind(), error.message()), (&ErrorKind::Forbidden, told));
    assert!(!error.is_retryable());
}

/// Only auditors read the log.
struct Auditors;

const NOT_YOU: &str = "only auditors read the log";

impl Policy for Auditors {
    fn may_read(&self, _: &LogId, reader: Option<&Actor>) -> Result<(), Rejection> {
        match reader {
            Some(reader) if reader.kind().as_str() == "auditor" => Ok(()),
            _ => Err(Rejection::new(NOT_YOU)),
        }
    }
}

fn auditor() -> Actor {
    Actor::new("auditor", 1).unwrap()
}

async fn p36_a_policy_guards_the_log_from_reading(bed: Bed) {
    let log = bed.builder().policy(Auditors).start().await.unwrap();
    let label = session(&log).create(print(1)).await.unwrap();
    forbids(&log.events(&EventQuery::new()).await.unwrap_err(), NOT_YOU);
    for mut stream in [log.stream(EventQuery::new()), log.tail(EventQuery::new())] {
        forbids(&stream.next().await.unwrap().unwrap_err(), NOT_YOU);
        assert!(stream.next().await.is_none(), "it is the stream's only item");
    }
    forbids(&log.history::<Label>(&1).await.unwrap_err(), NOT_YOU);
    forbids(&log.as_of(Position::new(1)).get::<Label>(&1).await.unwrap_err(), NOT_YOU);
    // Records are no events, and nor is where the log stands.
    assert_eq!(log.get::<Label>(&1).await.unwrap(), Some(label));
    assert_eq!(log.head().await.unwrap().position, Position::new(1));
}

async fn p36_a_session_reads_the_log_in_the_name_of_its_actor(bed: Bed) {
    let log = bed.builder().policy(Auditors).start().await.unwrap();
    session(&log).create(print(1)).await.unwrap();
    let reader = log.as_actor(auditor()).log().unwrap();
    assert_eq!(reader.events(&EventQuery::new()).await.unwrap().items.len(), 1);
    assert_eq!(reader.stream(EventQuery::new()).try_collect::<Vec<_>>().await.unwrap().len(), 1);
    assert_eq!(reader.tail(EventQuery::new()).next().await.unwrap().unwrap().position, Position::new(1));
    assert_eq!(reader.history::<Label>(&1).await.unwrap().len(), 1);
    assert!(reader.as_of(Position::new(1)).get::<Label>(&1).await.unwrap().is_some());
    for other in [log.as_actor(Actor::new("user", 1).unwrap()), log.as_anonymous(), log.as_system("job")] {
        forbids(&other.log().unwrap().events(&EventQuery::new()).await.unwrap_err(), NOT_YOU);
    }
    // What an auditor runs is run in the auditor's name all the same, and in nobody's if it is said.
    let again = reader.as_anonymous();
    forbids(&again.log().unwrap().events(&EventQuery::new()).await.unwrap_err(), NOT_YOU);
    assert_eq!(log.as_system("").log().unwrap_err().message(), "the actor id is empty");
}

async fn p36_a_policy_knows_the_tenant_whose_log_is_read(bed: Bed) {
    struct OwnTenant;
    impl Policy for OwnTenant {
        fn may_read(&self, log: &LogId, reader: Option<&Actor>) -> Result<(), Rejection> {
            let own = log.tenant.as_ref().map(Tenant::as_str) == reader.map(Actor::id);
            if own { Ok(()) } else { Err(Rejection::new(format!("{log} is not yours"))) }
        }
    }
    let log = bed.builder().policy(OwnTenant).start().await.unwrap();
    let acme = log.as_actor(Actor::new("company", "acme").unwrap()).log().unwrap();
    assert!(acme.tenant("acme").unwrap().events(&EventQuery::new()).await.is_ok());
    let error = acme.tenant("other").unwrap().events(&EventQuery::new()).await.unwrap_err();
    forbids(&error, "main[other] is not yours");
}

async fn p36_replays_ask_no_policy(bed: Bed) {
    struct Nobody;
    impl Policy for Nobody {
        fn may_run(&self, _: &Call, _: Option<&Json>) -> Result<(), Rejection> {
            Err(Rejection::new("nobody runs anything"))
        }
        fn may_read(&self, _: &LogId, _: Option<&Actor>) -> Result<(), Rejection> {
            Err(Rejection::new("nobody reads anything"))
        }
    }
    let open = bed.log().await;
    let label = session(&open).create(print(1)).await.unwrap();
    let log = bed.builder().policy(Nobody).replay_as_arguments::<Print>().start().await.unwrap();
    forbids(&session(&log).create(print(2)).await.unwrap_err(), "nobody runs anything");
    log.replay().await.unwrap();
    assert_eq!(log.get::<Label>(&1).await.unwrap(), Some(label));
    assert_eq!(log.replay().plan().await.unwrap().events, 1);
    assert!(log.replay().verify().await.unwrap().drifts.is_empty());
}

/// An account is changed by the user whose name it has.
struct Own;

impl Policy for Own {
    fn may_run(&self, call: &Call, record: Option<&Json>) -> Result<(), Rejection> {
        let Some(record) = record else { return Ok(()) };
        let record = record.to_object().map_err(|error| Rejection::new(error.to_string()))?;
        let id = call.actor.as_ref().map(Actor::id).unwrap_or_default();
        if record.has("name", &format!("{id:?}")) {
            return Ok(());
        }
        Err(Rejection::new(format!("{} is not for {id:?}", call.action)))
    }
}

async fn a_policy_sees_call_and_record_and_may_forbid_the_action(bed: Bed) {
    let log = bed.builder().policy(Own).start().await.unwrap();
    let [ada, bob] = ["ada", "bob"].map(|name| log.as_actor(Actor::new("user", name).unwrap()));
    let account = ada.create(open("ada")).await.unwrap();
    let before = events(&log).await;
    forbids(&bob.update(&account.id, Deposit { amount: 1 }).await.unwrap_err(), "deposit is not for \"bob\"");
    forbids(&bob.destroy(&account.id, Close {}).await.unwrap_err(), "close is not for \"bob\"");
    forbids(&log.as_anonymous().update(&account.id, Explode {}).await.unwrap_err(), "explode is not for \"\"");
    assert_eq!((events(&log).await, all::<Account>(&log).await), (before, vec![account.clone()]));
    ada.update(&account.id, rename("grace")).await.unwrap();
    // It sees the record as it is now, also within a unit.
    forbids(&ada.update(&account.id, Deposit { amount: 1 }).await.unwrap_err(), "deposit is not for \"ada\"");
    let mut unit = bob.begin().unwrap();
    let mine = unit.create(open("bob")).await.unwrap();
    unit.update(&mine.id, rename("carol")).await.unwrap();
    forbids(&unit.update(&mine.id, Deposit { amount: 1 }).await.unwrap_err(), "deposit is not for \"bob\"");
    let error = unit.commit().await.unwrap_err();
    forbids(&error, "an action of this unit of work had failed: deposit is not for \"bob\"");
    // A record that is not there is none of its business.
    let error = bob.update(&uuid::Uuid::nil(), Deposit { amount: 1 }).await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::NotFound);
}

/// Forbids one action.
struct No(&'static str);

impl Policy for No {
    fn may_run(&self, call: &Call, _: Option<&Json>) -> Result<(), Rejection> {
        if call.action == self.0 && !call.by_hook { Err(Rejection::new(format!("no {}", self.0))) } else { Ok(()) }
    }
}

async fn all_policies_must_allow_an_action(bed: Bed) {
    let log = bed.builder().policy(No("stick")).policy(No("peel")).policy(No("stick")).start().await.unwrap();
    session(&log).create(print(1)).await.unwrap();
    forbids(&session(&log).update(&1, Stick { slot: None }).await.unwrap_err(), "no stick");
    forbids(&session(&log).destroy(&1, Peel {}).await.unwrap_err(), "no peel");
    assert_eq!(actions(&log).await, ["print"]);
}

/// Each new account gets a label.
struct Labelling;

#[async_trait]
impl Hook for Labelling {
    async fn after_action(&self, unit: &mut Unit, call: &Call, _: Option<&Json>) -> rekindle::Result<()> {
        if call.action == "open" {
            unit.create(print(7)).await?;
            unit.update(&7, Stick { slot: slot("hooked") }).await?;
        }
        Ok(())
    }
}

async fn policies_are_asked_for_what_hooks_run(bed: Bed) {
    let log = bed.builder().hook(Labelling).policy(No("print")).start().await.unwrap();
    forbids(&session(&log).create(print(1)).await.unwrap_err(), "no print");
    session(&log).create(open("ada")).await.unwrap();
    assert_eq!(actions(&log).await, ["open", "print", "stick"]);
    // What the hook runs after it is no action of the hook any more.
    forbids(&session(&log).create(print(2)).await.unwrap_err(), "no print");
    struct NotByHooks;
    impl Policy for NotByHooks {
        fn may_run(&self, call: &Call, _: Option<&Json>) -> Result<(), Rejection> {
            if call.by_hook { Err(Rejection::new("not by hooks")) } else { Ok(()) }
        }
    }
    let log = bed.builder().hook(Labelling).policy(NotByHooks).start().await.unwrap();
    forbids(&session(&log).create(open("grace")).await.unwrap_err(), "not by hooks");
    assert_eq!(all::<Account>(&log).await.len(), 1);
}

type Asked = Arc<Mutex<Vec<(&'static str, bool)>>>;

/// Takes down what it is asked.
struct Asking(Asked);

impl Policy for Asking {
    fn may_run(&self, call: &Call, record: Option<&Json>) -> Result<(), Rejection> {
        self.0.lock().unwrap().push((call.action, record.is_some()));
        if call.data.as_str().contains("forbidden") { Err(Rejection::new("that word")) } else { Ok(()) }
    }
}

async fn policies_are_asked_for_each_action_of_a_bulk_and_for_upserts_as_what_they_are(bed: Bed) {
    let asked = Asked::default();
    let log = bed.builder().policy(Asking(Arc::clone(&asked))).start().await.unwrap();
    session(&log).bulk_create([1, 2].map(print)).await.unwrap();
    let sticks = ["a", "forbidden"].map(|text| Stick { slot: slot(text) });
    let error = session(&log).bulk_update([1, 2].into_iter().zip(sticks)).await.unwrap_err();
    forbids(&error, "that word");
    session(&log).bulk_destroy([(2, Peel {})]).await.unwrap();
    let expected = [("print", false), ("print", false), ("stick", true), ("stick", true), ("peel", true)];
    assert_eq!(*asked.lock().unwrap(), expected);
    assert_eq!(all::<Label>(&log).await, [Label { id: 1, slot: None }]);
}

async fn tests_and_tools_go_around_policies_in_so_many_words(bed: Bed) {
    let log = bed.builder().policy(Auditors).policy(No("print")).start().await.unwrap();
    let tool = log.unguarded();
    session(&tool).create(print(1)).await.unwrap();
    session(&tool.tenant("t").unwrap()).create(print(1)).await.unwrap();
    assert_eq!(events(&tool).await.len(), 1);
    assert_eq!(tool.history::<Label>(&1).await.unwrap().len(), 1);
    forbids(&session(&log).create(print(2)).await.unwrap_err(), "no print");
    forbids(&log.events(&EventQuery::new()).await.unwrap_err(), NOT_YOU);
}

async fn a_policy_that_panics_allows_nothing(bed: Bed) {
    struct Broken;
    impl Policy for Broken {
        fn may_run(&self, _: &Call, _: Option<&Json>) -> Result<(), Rejection> {
            panic!("the policy broke")
        }
    }
    let log = bed.builder().policy(Broken).start().await.unwrap();
    let error = session(&log).create(print(1)).await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Panicked);
    assert!(error.message().ends_with("panicked: the policy broke"), "{error}");
    assert!(all::<Label>(&log).await.is_empty());
}
