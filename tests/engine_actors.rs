//! Who acts, and what is told about each call.

#![cfg(all(feature = "derive", feature = "memory", feature = "sled"))]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests")]

mod shop;

use futures::TryStreamExt;
use rekindle::{
    Action, Actor, AsActor, Context, Create, Error, ErrorKind, EventQuery, Log, Rejection, Resource, Result, Session,
    Update,
};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::json;
use shop::*;
use uuid::Uuid;

on_each_backend![
    p19_actors_of_several_kinds_are_stored_with_their_ids,
    p19_a_type_of_the_users_names_the_actor,
    p19_an_actor_that_is_none_is_an_error_of_the_action,
    p19_events_are_found_by_their_actor,
    p19_actors_stay_as_they_are_through_a_replay,
    p20_anonymous_is_said_in_so_many_words,
    p21_parts_of_the_system_have_ids_of_any_text,
    p21_a_part_of_the_system_without_a_name_is_an_error_of_the_action,
    bodies_know_their_actor,
    metadata_stays_with_its_session,
    metadata_told_twice_is_the_last,
    metadata_that_is_no_json_is_an_error_of_the_action,
    all_events_of_a_unit_have_its_actor_and_metadata,
];

async fn actors(log: &Log) -> Vec<Option<Actor>> {
    events(log).await.iter().map(|event| event.actor.clone()).collect()
}

/// Runs an action in each of these names.
async fn print_by_each(log: &Log, actors: &[Actor]) {
    for (id, actor) in (1..).zip(actors) {
        log.as_actor(actor).create(print(id)).await.unwrap();
    }
}

fn several() -> Vec<Actor> {
    vec![
        Actor::new("user", 42).unwrap(),
        Actor::new("admin", 42).unwrap(),
        Actor::new("api_client", Uuid::from_u128(7)).unwrap(),
        Actor::new("employee", "Ünal, B. <b@example.org>").unwrap(),
        Actor::system("nightly-job").unwrap(),
    ]
}

async fn p19_actors_of_several_kinds_are_stored_with_their_ids(bed: Bed) {
    let log = bed.log().await;
    print_by_each(&log, &several()).await;
    let stored = actors(&log).await;
    let stored: Vec<_> = stored.iter().flatten().map(|actor| (actor.kind().as_str(), actor.id())).collect();
    let expected = [
        ("user", "42"),
        ("admin", "42"),
        ("api_client", "00000000-0000-0000-0000-000000000007"),
        ("employee", "Ünal, B. <b@example.org>"),
        ("system", "nightly-job"),
    ];
    assert_eq!(stored, expected);
}

async fn p19_a_type_of_the_users_names_the_actor(bed: Bed) {
    struct Employee {
        badge: u32,
    }
    impl AsActor for Employee {
        fn as_actor(&self) -> Result<Actor> {
            Actor::new("employee", self.badge)
        }
    }
    let log = bed.log().await;
    let employee = Employee { badge: 7 };
    log.as_actor(&employee).create(print(1)).await.unwrap();
    log.as_actor(employee).update(&1, Stick { slot: slot("a") }).await.unwrap();
    let expected = Some(Actor::new("employee", 7).unwrap());
    assert_eq!(actors(&log).await, [expected.clone(), expected]);
}

async fn p19_an_actor_that_is_none_is_an_error_of_the_action(bed: Bed) {
    struct LoggedOut;
    impl AsActor for LoggedOut {
        fn as_actor(&self) -> Result<Actor> {
            Err(Error::invalid("nobody is logged in"))
        }
    }
    let log = bed.log().await;
    let session = log.as_actor(LoggedOut).with("request", 1).at(seconds(1));
    let error = session.create(print(1)).await.unwrap_err();
    assert_eq!((error.kind(), error.message()), (&ErrorKind::Invalid, "nobody is logged in"));
    assert_eq!(session.begin().map(|_| ()).unwrap_err().message(), "nobody is logged in");
    let error = Actor::new("a kind", 1).unwrap_err();
    let message =
        "\"a kind\" is no actor kind: it takes ASCII letters, digits, '_', '-' and '.', and starts with a letter";
    assert_eq!((error.kind(), error.message()), (&ErrorKind::Invalid, message));
    assert!(events(&log).await.is_empty());
}

async fn p19_events_are_found_by_their_actor(bed: Bed) {
    let log = bed.log().await;
    print_by_each(&log, &several()).await;
    log.as_anonymous().create(print(6)).await.unwrap();
    let admin = Actor::new("admin", 42).unwrap();
    let found: Vec<_> = log.stream(EventQuery::new().with_actor(admin.clone())).try_collect().await.unwrap();
    assert_eq!(found.iter().map(|event| event.position.get()).collect::<Vec<_>>(), [2]);
    assert_eq!(found[0].actor, Some(admin));
}

async fn p19_actors_stay_as_they_are_through_a_replay(bed: Bed) {
    let log = bed.log().await;
    print_by_each(&log, &several()).await;
    log.as_anonymous().create(print(6)).await.unwrap();
    let before = events(&log).await;
    log.replay().await.unwrap();
    assert_eq!(events(&log).await, before);
}

async fn p20_anonymous_is_said_in_so_many_words(bed: Bed) {
    let log = bed.log().await;
    let nobody = log.as_anonymous();
    nobody.create(print(1)).await.unwrap();
    nobody.update(&1, Stick { slot: slot("a") }).await.unwrap();
    nobody.destroy(&1, Peel {}).await.unwrap();
    assert_eq!(actors(&log).await, [None, None, None]);
}

async fn p21_parts_of_the_system_have_ids_of_any_text(bed: Bed) {
    let log = bed.log().await;
    let names = ["nightly-job", "import of 2024/03", "Aufräumen 🧹", "42"];
    for (id, name) in (1..).zip(names) {
        log.as_system(name).create(print(id)).await.unwrap();
    }
    log.as_actor(Actor::system("nightly-job").unwrap()).create(print(9)).await.unwrap();
    let stored: Vec<_> = actors(&log).await.iter().flatten().map(ToString::to_string).collect();
    let expected =
        ["system/nightly-job", "system/import of 2024/03", "system/Aufräumen 🧹", "system/42", "system/nightly-job"];
    assert_eq!(stored, expected);
}

async fn p21_a_part_of_the_system_without_a_name_is_an_error_of_the_action(bed: Bed) {
    let log = bed.log().await;
    let error = log.as_system("").create(print(1)).await.unwrap_err();
    assert_eq!((error.kind(), error.message()), (&ErrorKind::Invalid, "the actor id is empty"));
    let error = log.as_system(&"x".repeat(1025)).create(print(1)).await.unwrap_err();
    let message = "the actor id has 1025 bytes; at most 1024 are allowed";
    assert_eq!((error.kind(), error.message()), (&ErrorKind::TooLarge, message));
    log.as_system(&"x".repeat(1024)).create(print(1)).await.unwrap();
    assert_eq!(events(&log).await.len(), 1);
}

/// A resource that keeps who wrote it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Resource)]
#[resource(name = "shop.note", actions(Write, Sign))]
struct Note {
    #[resource(id)]
    id: u64,
    by: String,
}

#[derive(Serialize, Deserialize, Action)]
#[action(create, resource = Note)]
struct Write {
    id: u64,
}

impl Create for Write {
    fn create(self, cx: &Context) -> Result<Note, Rejection> {
        let by = cx.actor().ok_or_else(|| Rejection::new("say who you are"))?.to_string();
        Ok(Note { id: self.id, by })
    }
}

#[derive(Serialize, Deserialize, Action)]
#[action(update, resource = Note)]
struct Sign {}

impl Update for Sign {
    fn update(self, note: &mut Note, cx: &Context) -> Result<(), Rejection> {
        note.by = cx.actor().map_or_else(|| "nobody".to_owned(), ToString::to_string);
        Ok(())
    }
}

async fn bodies_know_their_actor(bed: Bed) {
    let log = bed.builder().resource::<Note>().start().await.unwrap();
    let error = log.as_anonymous().create(Write { id: 1 }).await.unwrap_err();
    assert_eq!((error.kind(), error.message()), (&ErrorKind::Rejected, "say who you are"));
    assert_eq!(session(&log).create(Write { id: 1 }).await.unwrap().by, "system/test");
    let user = Actor::new("user", 42).unwrap();
    assert_eq!(log.as_actor(&user).update(&1, Sign {}).await.unwrap().by, "user/42");
    assert_eq!(log.as_anonymous().update(&1, Sign {}).await.unwrap().by, "nobody");
    log.replay().await.unwrap();
    assert_eq!(log.get::<Note>(&1).await.unwrap().unwrap().by, "nobody");
}

async fn metadata_stays_with_its_session(bed: Bed) {
    let log = bed.log().await;
    let base = session(&log).with("request", "r-1");
    let told = base.clone().with("job", 7);
    told.create(print(1)).await.unwrap();
    base.create(print(2)).await.unwrap();
    session(&log).create(print(3)).await.unwrap();
    let mut unit = told.begin().unwrap();
    let other = session(&log).with("other", true);
    let (one, two) = tokio::join!(unit.create(print(4)), other.create(print(5)));
    one.unwrap();
    two.unwrap();
    unit.commit().await.unwrap();
    let stored: Vec<_> = events(&log).await.iter().map(|event| json(&event.metadata)).collect();
    let told = json!({"request": "r-1", "job": 7});
    assert_eq!(stored, [told.clone(), json!({"request": "r-1"}), json!({}), json!({"other": true}), told]);
}

async fn metadata_told_twice_is_the_last(bed: Bed) {
    let log = bed.log().await;
    session(&log).with("try", 1).with("why", "x").with("try", 2).create(print(1)).await.unwrap();
    assert_eq!(json(&events(&log).await[0].metadata), json!({"try": 2, "why": "x"}));
}

async fn metadata_that_is_no_json_is_an_error_of_the_action(bed: Bed) {
    struct Secret;
    impl Serialize for Secret {
        fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("this is not to be written down"))
        }
    }
    let log = bed.log().await;
    let error = session(&log).with("secret", Secret).with("more", 1).create(print(1)).await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Invalid);
    assert!(error.to_string().contains("this is not to be written down"), "{error}");
    assert!(error.to_string().contains("secret"), "{error}");
    assert!(events(&log).await.is_empty());
}

async fn all_events_of_a_unit_have_its_actor_and_metadata(bed: Bed) {
    fn both(log: &Log) -> [Session; 2] {
        let user = Actor::new("user", 42).unwrap();
        [log.as_actor(&user).with("request", 1), log.as_anonymous()]
    }
    let log = bed.log().await;
    for (id, session) in (1..).zip(both(&log)) {
        let mut unit = session.begin().unwrap();
        unit.create(print(10 * id)).await.unwrap();
        unit.create(print(10 * id + 1)).await.unwrap();
        unit.commit().await.unwrap();
    }
    let user = Some(Actor::new("user", 42).unwrap());
    assert_eq!(actors(&log).await, [user.clone(), user, None, None]);
    let stored: Vec<_> = events(&log).await.iter().map(|event| json(&event.metadata)).collect();
    assert_eq!(stored, [json!({"request": 1}), json!({"request": 1}), json!({}), json!({})]);
}
