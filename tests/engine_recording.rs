//! What is recorded of an action, and that a replay brings it back.

#![cfg(all(feature = "derive", feature = "memory", feature = "sled"))]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests")]

mod shop;

use rekindle::{ActionType, Actor, ErrorKind, Position, Revision};
use serde_json::json;
use shop::*;

on_each_backend![
    p1_each_action_writes_one_event_in_order,
    p2_p17_a_failed_action_writes_nothing_and_keeps_its_message,
    p3_an_event_has_all_its_fields,
    p5_generated_ids_come_back_on_replay,
    p6_data_holds_the_input_and_arguments_are_not_merged,
    p7_changed_attributes_hold_what_the_input_does_not_explain,
    p9_metadata_may_be_nested_and_null,
    p11_the_version_of_an_action_is_1_unless_it_says_otherwise,
    p16_sensitive_values_are_null_in_events,
    p22_occurred_at_is_the_records_timestamp_to_the_digit,
    p22_an_event_can_be_given_another_time,
    e3_an_identity_belongs_to_one_record,
    e3_concurrent_increments_lose_none,
    e3_a_record_that_is_there_is_not_created_again,
    e10_destroying_a_destroyed_record_is_not_found_and_writes_nothing,
    e11_an_update_that_changes_nothing_is_not_recorded,
    removed_attributes_are_recorded_and_replayed,
    a_record_made_again_goes_on_with_its_revisions,
    an_action_of_the_wrong_type_is_refused,
];

async fn p1_each_action_writes_one_event_in_order(bed: Bed) {
    let log = bed.log().await;
    let ada = session(&log).create(open("ada")).await.unwrap();
    session(&log).update(&ada.id, rename("Ada L.")).await.unwrap();
    session(&log).destroy(&ada.id, Close {}).await.unwrap();
    let events = events(&log).await;
    let seen: Vec<_> = events.iter().map(|event| (event.position.get(), event.action_type)).collect();
    assert_eq!(seen, [(1, ActionType::Create), (2, ActionType::Update), (3, ActionType::Destroy)]);
    assert_eq!(actions(&log).await, ["open", "rename", "close"]);
    assert_eq!(log.get::<Account>(&ada.id).await.unwrap(), None);
}

async fn p2_p17_a_failed_action_writes_nothing_and_keeps_its_message(bed: Bed) {
    let log = bed.log().await;
    let bad = Open { name: "x".to_owned(), email: "x".to_owned(), newsletter: false };
    let error = session(&log).create(bad).await.unwrap_err();
    assert_eq!((error.kind(), error.to_string().as_str()), (&ErrorKind::Rejected, "an e-mail address has an @"));
    let ada = session(&log).create(open("ada")).await.unwrap();
    let error = session(&log).update(&ada.id, Refuse {}).await.unwrap_err();
    assert_eq!((error.kind(), error.message()), (&ErrorKind::Rejected, "not today"));
    session(&log).update(&ada.id, Deposit { amount: 1 }).await.unwrap();
    let error = session(&log).destroy(&ada.id, Close {}).await.unwrap_err();
    assert_eq!((error.kind(), error.message()), (&ErrorKind::Rejected, "there is money on it"));
    assert_eq!(actions(&log).await, ["open", "deposit"]);
    assert_eq!(log.get::<Account>(&ada.id).await.unwrap().unwrap().name, "ada");
}

async fn p3_an_event_has_all_its_fields(bed: Bed) {
    let log = bed.builder().clock(Ticking::default()).start().await.unwrap();
    let user = Actor::new("user", 42).unwrap();
    let session = log.as_actor(&user).with("request", "r-1");
    let ada = session.create(open("ada")).await.unwrap();
    session.update(&ada.id, rename("Ada")).await.unwrap();
    let events = events(&log).await;
    let event = &events[1];
    assert_eq!((event.position, event.revision), (Position::new(2), Some(Revision::new(2))));
    assert_eq!(event.id.as_uuid().get_version_num(), 7);
    assert_ne!(events[0].id, event.id);
    assert_eq!((event.resource.as_str(), event.record_id.as_str()), ("shop.account", ada.id.to_string().as_str()));
    assert_eq!((event.action.as_str(), event.action_type, event.version), ("rename", ActionType::Update, 1));
    assert_eq!(event.actor, Some(user));
    assert_eq!(json(&event.data), json!({"name": "Ada"}));
    assert_eq!(json(&event.changed_attributes), json!({"updated_at": tick(2)}));
    assert!(event.removed_attributes.is_empty());
    assert_eq!(json(&event.metadata), json!({"request": "r-1"}));
    assert_eq!(event.occurred_at, tick(2));
}

async fn p5_generated_ids_come_back_on_replay(bed: Bed) {
    let log = bed.log().await;
    let ada = session(&log).create(open("ada")).await.unwrap();
    let label = session(&log).create(print(7)).await.unwrap();
    assert_eq!(log.clear_records().await.unwrap(), 2);
    assert_eq!(log.get::<Account>(&ada.id).await.unwrap(), None);
    log.replay().await.unwrap();
    assert_eq!(log.get::<Account>(&ada.id).await.unwrap(), Some(ada));
    assert_eq!(log.get::<Label>(&7).await.unwrap(), Some(label));
}

async fn p6_data_holds_the_input_and_arguments_are_not_merged(bed: Bed) {
    let log = bed.log().await;
    let ada = session(&log).create(open("Ada")).await.unwrap();
    let event = events(&log).await.remove(0);
    assert_eq!(json(&event.data), json!({"name": "Ada", "email": "Ada@Example.org", "newsletter": true}));
    log.replay().await.unwrap();
    let history = log.history::<Account>(&ada.id).await.unwrap();
    let attributes = history[0].attributes.as_ref().unwrap().to_object().unwrap();
    assert!(!attributes.contains("newsletter"));
    assert_eq!(log.get::<Account>(&ada.id).await.unwrap(), Some(ada));
}

async fn p7_changed_attributes_hold_what_the_input_does_not_explain(bed: Bed) {
    let log = bed.builder().clock(Ticking::default()).start().await.unwrap();
    let ada = session(&log).create(open("Ada")).await.unwrap();
    session(&log).update(&ada.id, Deposit { amount: 5 }).await.unwrap();
    let events = events(&log).await;
    let expected = json!({
        "id": ada.id, "email": "ada@example.org", "balance": 0, "pin": null, "inserted_at": tick(1), "updated_at": tick(1),
    });
    assert_eq!(json(&events[0].changed_attributes), expected, "the name came through as it was given");
    assert_eq!(json(&events[1].changed_attributes), json!({"balance": 5, "updated_at": tick(2)}));
}

async fn p9_metadata_may_be_nested_and_null(bed: Bed) {
    #[derive(serde::Serialize)]
    struct Client {
        app: &'static str,
        version: (u8, u8),
    }
    let log = bed.log().await;
    let told = session(&log)
        .with("client", Client { app: "till", version: (1, 2) })
        .with("nothing", ())
        .with("tags", json!({"a": [null, {"b": 1.5}]}));
    told.create(print(1)).await.unwrap();
    session(&log).create(print(2)).await.unwrap();
    let events = events(&log).await;
    let expected = json!({
        "client": {"app": "till", "version": [1, 2]}, "nothing": null, "tags": {"a": [null, {"b": 1.5}]},
    });
    assert_eq!(json(&events[0].metadata), expected);
    assert_eq!(json(&events[1].metadata), json!({}));
}

async fn p11_the_version_of_an_action_is_1_unless_it_says_otherwise(bed: Bed) {
    use rekindle::{Action, Context, Create, Rejection, Resource};
    use serde::{Deserialize, Serialize};

    #[derive(Serialize, Deserialize, Resource)]
    #[resource(name = "note", actions(Write))]
    struct Note {
        #[resource(id)]
        id: String,
    }
    #[derive(Serialize, Deserialize, Action)]
    #[action(create, resource = Note, version = 3)]
    struct Write {
        id: String,
    }
    impl Create for Write {
        fn create(self, _: &Context) -> Result<Note, Rejection> {
            Ok(Note { id: self.id })
        }
    }

    let log = bed.builder().resource::<Note>().start().await.unwrap();
    session(&log).create(print(1)).await.unwrap();
    session(&log).create(Write { id: "n".to_owned() }).await.unwrap();
    let versions: Vec<u32> = events(&log).await.iter().map(|event| event.version).collect();
    assert_eq!(versions, [1, 3]);
}

async fn p16_sensitive_values_are_null_in_events(bed: Bed) {
    let log = bed.log().await;
    let ada = session(&log).create(open("ada")).await.unwrap();
    let set = session(&log).update(&ada.id, SetPin { pin: "open sesame".to_owned() }).await.unwrap();
    assert_eq!(set.pin.as_deref(), Some("open sesame"));
    assert_eq!(log.get::<Account>(&ada.id).await.unwrap(), Some(set));
    let event = events(&log).await.remove(1);
    assert_eq!(json(&event.data), json!({"pin": null}));
    assert!(!format!("{event:?}").contains("open sesame"));
    log.replay().await.unwrap();
    assert_eq!(log.get::<Account>(&ada.id).await.unwrap().unwrap().pin, None);
}

async fn p22_occurred_at_is_the_records_timestamp_to_the_digit(bed: Bed) {
    let log = bed.builder().clock(Ticking::default()).start().await.unwrap();
    let ada = session(&log).create(open("ada")).await.unwrap();
    let renamed = session(&log).update(&ada.id, rename("Ada")).await.unwrap();
    let times: Vec<_> = events(&log).await.iter().map(|event| event.occurred_at).collect();
    assert_eq!(times, [tick(1), tick(2)]);
    assert_eq!((ada.inserted_at, ada.updated_at), (times[0], times[0]));
    assert_eq!((renamed.inserted_at, renamed.updated_at), (times[0], times[1]));
    log.replay().await.unwrap();
    assert_eq!(log.get::<Account>(&ada.id).await.unwrap(), Some(renamed));
}

async fn p22_an_event_can_be_given_another_time(bed: Bed) {
    let log = bed.log().await;
    let ada = session(&log).at(seconds(7)).create(open("ada")).await.unwrap();
    assert_eq!((ada.inserted_at, events(&log).await[0].occurred_at), (seconds(7), seconds(7)));
}

async fn e3_an_identity_belongs_to_one_record(bed: Bed) {
    let log = bed.log().await;
    let ada = session(&log).create(open("ada")).await.unwrap();
    let error = session(&log).create(open("ADA")).await.unwrap_err();
    let kind = ErrorKind::IdentityTaken { identity: "email".to_owned(), owner: ada.id.to_string() };
    assert_eq!(error.kind(), &kind);
    assert!(error.message().contains("ada@example.org"), "{error}");
    assert_eq!(log.find::<Account>("email", "ada@example.org").await.unwrap(), Some(ada.clone()));
    assert_eq!(actions(&log).await, ["open"]);
    session(&log).destroy(&ada.id, Close {}).await.unwrap();
    assert_eq!(log.find::<Account>("email", "ada@example.org").await.unwrap(), None);
    session(&log).create(open("ada")).await.unwrap();
}

async fn e3_concurrent_increments_lose_none(bed: Bed) {
    let log = bed.log().await;
    let ada = session(&log).create(open("ada")).await.unwrap();
    let session = session(&log);
    let callers = (0..64).map(|_| session.update(&ada.id, Deposit { amount: 1 }));
    for outcome in futures::future::join_all(callers).await {
        outcome.unwrap();
    }
    let after = log.get::<Account>(&ada.id).await.unwrap().unwrap();
    assert_eq!((after.balance, events(&log).await.len()), (64, 65));
    log.replay().await.unwrap();
    assert_eq!(log.get::<Account>(&ada.id).await.unwrap(), Some(after));
}

async fn e3_a_record_that_is_there_is_not_created_again(bed: Bed) {
    let log = bed.log().await;
    session(&log).create(print(1)).await.unwrap();
    let error = session(&log).create(print(1)).await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::AlreadyExists { actual: Revision::new(1) });
    assert_eq!(error.message(), "shop.label/1 exists, at revision 1");
    assert_eq!(events(&log).await.len(), 1);
}

async fn e10_destroying_a_destroyed_record_is_not_found_and_writes_nothing(bed: Bed) {
    let log = bed.log().await;
    session(&log).create(print(1)).await.unwrap();
    session(&log).destroy(&1, Peel {}).await.unwrap();
    let error = session(&log).destroy(&1, Peel {}).await.unwrap_err();
    assert_eq!((error.kind(), error.message()), (&ErrorKind::NotFound, "shop.label/1 does not exist"));
    let error = session(&log).update(&1, Stick { slot: None }).await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::NotFound);
    assert_eq!(actions(&log).await, ["print", "peel"]);
}

async fn e11_an_update_that_changes_nothing_is_not_recorded(bed: Bed) {
    let log = bed.builder().clock(Ticking::default()).start().await.unwrap();
    let ada = session(&log).create(open("ada")).await.unwrap();
    assert_eq!(session(&log).update(&ada.id, rename("ada")).await.unwrap(), ada);
    assert_eq!(actions(&log).await, ["open"]);
    assert_eq!(log.get::<Account>(&ada.id).await.unwrap(), Some(ada), "its timestamp stays as well");
}

async fn removed_attributes_are_recorded_and_replayed(bed: Bed) {
    let log = bed.log().await;
    let ada = session(&log).create(open("ada")).await.unwrap();
    session(&log).update(&ada.id, SetNote { note: Some("vip".to_owned()) }).await.unwrap();
    let after = session(&log).update(&ada.id, SetNote { note: None }).await.unwrap();
    assert_eq!(events(&log).await[2].removed_attributes, ["note"]);
    let key = rekindle::types::RecordKey::new("shop.account", ada.id.to_string()).unwrap();
    let before = bed.store.get(log.id(), std::slice::from_ref(&key)).await.unwrap();
    log.replay().await.unwrap();
    let replayed = bed.store.get(log.id(), &[key]).await.unwrap();
    let attributes = |found: &[Option<rekindle::Record>]| found[0].as_ref().unwrap().attributes.to_object().unwrap();
    assert!(!attributes(&replayed).contains("note"));
    let (before, replayed) = (before[0].as_ref().unwrap(), replayed[0].as_ref().unwrap());
    assert!(before.attributes.same_value(&replayed.attributes));
    assert_eq!((before.revision, &before.identities), (replayed.revision, &replayed.identities));
    assert_eq!(log.get::<Account>(&ada.id).await.unwrap(), Some(after));
}

async fn a_record_made_again_goes_on_with_its_revisions(bed: Bed) {
    let log = bed.log().await;
    session(&log).create(print(1)).await.unwrap();
    session(&log).destroy(&1, Peel {}).await.unwrap();
    log.replay().await.unwrap();
    session(&log).create(print(1)).await.unwrap();
    let revisions: Vec<_> = events(&log).await.iter().map(|event| event.revision.unwrap().get()).collect();
    assert_eq!(revisions, [1, 2, 3]);
}

async fn an_action_of_the_wrong_type_is_refused(bed: Bed) {
    let log = bed.log().await;
    let error = session(&log).update(&1, print(1)).await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Invalid);
    assert_eq!(error.message(), "the action \"print\" is of type create, and was run as update");
}
