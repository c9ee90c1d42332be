//! Events of older programs: what a replay makes of them with the actions of today.

#![cfg(all(feature = "derive", feature = "memory", feature = "sled"))]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests")]

mod shop;

use rekindle::store::LogState;
use rekindle::{
    Action, ActionSpec, Builder, Context, Create, Destroy, ErrorKind, Log, Position, Rejection, Resource, Timestamp,
    Update,
};
use serde::{Deserialize, Serialize};
use shop::state::{State, state_of};
use shop::{Bed, Ticking, events, on_each_backend, seconds, session, tick};
use uuid::Uuid;

on_each_backend![
    p29_old_versions_are_routed_to_legacy_actions,
    p29_routed_legacy_actions_are_not_recorded_and_new_events_go_on_behind_them,
    p29_a_version_is_routed_to_several_targets,
    p29_a_version_is_routed_to_another_resource,
    p29_a_route_without_targets_leaves_events_out,
    p29_a_routed_action_that_fails_tells_the_position_and_the_version,
    the_past_is_read_through_routes,
    a_record_is_read_without_what_routes_do_to_others,
];

/// The program as it was.
mod old {
    use super::*;

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Resource)]
    #[resource(name = "crm.person", actions(Register, Rename, Leave))]
    pub(super) struct Person {
        #[resource(id)]
        pub(super) id: Uuid,
        pub(super) full_name: String,
        pub(super) active: bool,
        #[resource(created_at)]
        pub(super) inserted_at: Timestamp,
        #[resource(updated_at)]
        pub(super) updated_at: Timestamp,
    }

    #[derive(Serialize, Deserialize, Action)]
    #[action(create, resource = Person)]
    pub(super) struct Register {
        pub(super) full_name: String,
    }

    impl Create for Register {
        fn create(self, cx: &Context) -> Result<Person, Rejection> {
            let (inserted_at, updated_at) = (Timestamp::EPOCH, Timestamp::EPOCH);
            Ok(Person { id: cx.new_uuid(), full_name: self.full_name, active: true, inserted_at, updated_at })
        }
    }

    #[derive(Serialize, Deserialize, Action)]
    #[action(update, resource = Person)]
    pub(super) struct Rename {
        pub(super) full_name: String,
    }

    impl Update for Rename {
        fn update(self, person: &mut Person, _: &Context) -> Result<(), Rejection> {
            person.full_name = self.full_name;
            Ok(())
        }
    }

    #[derive(Serialize, Deserialize, Action)]
    #[action(destroy, resource = Person)]
    pub(super) struct Leave {}

    impl Destroy for Leave {}
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Resource)]
#[resource(name = "crm.person", actions(Register, Leave))]
struct Person {
    #[resource(id)]
    id: Uuid,
    first: String,
    last: String,
    #[resource(created_at)]
    inserted_at: Timestamp,
    #[resource(updated_at)]
    updated_at: Timestamp,
}

#[derive(Serialize, Deserialize, Action)]
#[action(create, resource = Person, version = 2)]
struct Register {
    first: String,
    last: String,
}

impl Create for Register {
    fn create(self, cx: &Context) -> Result<Person, Rejection> {
        let (inserted_at, updated_at) = (Timestamp::EPOCH, Timestamp::EPOCH);
        Ok(Person { id: cx.new_uuid(), first: self.first, last: self.last, inserted_at, updated_at })
    }
}

#[derive(Serialize, Deserialize, Action)]
#[action(destroy, resource = Person)]
struct Leave {}

impl Destroy for Leave {}

fn split(full_name: &str) -> Result<(String, String), Rejection> {
    let (first, last) = full_name.split_once(' ').ok_or_else(|| Rejection::new("a full name has two parts"))?;
    Ok((first.to_owned(), last.to_owned()))
}

#[derive(Serialize, Deserialize, Action)]
#[action(create, resource = Person)]
struct RegisterV1 {
    full_name: String,
}

impl Create for RegisterV1 {
    fn create(self, cx: &Context) -> Result<Person, Rejection> {
        let (first, last) = split(&self.full_name)?;
        Register { first, last }.create(cx)
    }
}

#[derive(Serialize, Deserialize, Action)]
#[action(update, resource = Person)]
struct RenameV1 {
    full_name: String,
}

impl Update for RenameV1 {
    fn update(self, person: &mut Person, _: &Context) -> Result<(), Rejection> {
        (person.first, person.last) = split(&self.full_name)?;
        Ok(())
    }
}

/// A resource that there was not before; its id has another name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Resource)]
#[resource(name = "crm.mailbox", actions(Forward))]
struct Mailbox {
    #[resource(id)]
    owner: Uuid,
    #[resource(identity)]
    address: String,
    forward: Option<String>,
    #[resource(created_at)]
    opened_at: Timestamp,
}

#[derive(Serialize, Deserialize, Action)]
#[action(update, resource = Mailbox)]
struct Forward {
    forward: Option<String>,
}

impl Update for Forward {
    fn update(self, mailbox: &mut Mailbox, _: &Context) -> Result<(), Rejection> {
        mailbox.forward = self.forward;
        Ok(())
    }
}

fn address(full_name: &str) -> String {
    format!("{}@crm", full_name.to_lowercase().replace(' ', "."))
}

#[derive(Serialize, Deserialize, Action)]
#[action(create, resource = Mailbox)]
struct OpenMailbox {
    full_name: String,
}

impl Create for OpenMailbox {
    fn create(self, cx: &Context) -> Result<Mailbox, Rejection> {
        let address = address(&self.full_name);
        Ok(Mailbox { owner: cx.new_uuid(), address, forward: None, opened_at: Timestamp::EPOCH })
    }
}

#[derive(Serialize, Deserialize, Action)]
#[action(update, resource = Mailbox)]
struct Readdress {
    full_name: String,
}

impl Update for Readdress {
    fn update(self, mailbox: &mut Mailbox, _: &Context) -> Result<(), Rejection> {
        mailbox.address = address(&self.full_name);
        Ok(())
    }
}

/// What the old program has recorded: a person who was renamed, and one who has left. Gives the id of the first.
async fn recorded_by_the_old_program(bed: &Bed) -> Uuid {
    let log = bed.bare().resource::<old::Person>().clock(Ticking::default()).start().await.unwrap();
    let register = |name: &str| old::Register { full_name: name.to_owned() };
    let ada = session(&log).create(register("Ada Byron")).await.unwrap().id;
    let bob = session(&log).create(register("Bob Gone")).await.unwrap().id;
    session(&log).update(&ada, old::Rename { full_name: "Ada Lovelace".to_owned() }).await.unwrap();
    session(&log).destroy(&bob, old::Leave {}).await.unwrap();
    ada
}

/// The program of today on the same store, with routes for what the old one wrote.
fn today(bed: &Bed) -> Builder {
    let builder = bed.bare().resource::<Person>().resource::<Mailbox>();
    builder.on_version::<Person>("rename", [1]).route_to::<RenameV1>()
}

fn ada(id: Uuid) -> Person {
    Person { id, first: "Ada".to_owned(), last: "Lovelace".to_owned(), inserted_at: tick(1), updated_at: tick(3) }
}

async fn state(bed: &Bed, log: &Log) -> State {
    state_of(&*bed.store, log, &["crm.person", "crm.mailbox", "crm.guest"]).await
}

async fn p29_old_versions_are_routed_to_legacy_actions(bed: Bed) {
    let id = recorded_by_the_old_program(&bed).await;
    let log = today(&bed).on_version::<Person>("register", [1]).route_to::<RegisterV1>().start().await.unwrap();
    log.replay().await.unwrap();
    assert_eq!(shop::all::<Person>(&log).await, [ada(id)]);
    let state = state(&bed, &log).await;
    let attributes = state[&format!("crm.person/{id}")].attributes.as_object().unwrap();
    // What the resource of today does not know is dropped.
    assert_eq!(attributes.keys().collect::<Vec<_>>(), ["first", "id", "inserted_at", "last", "updated_at"]);
    assert_eq!((state.len(), state[&format!("crm.person/{id}")].revision), (1, 2));
}

async fn p29_routed_legacy_actions_are_not_recorded_and_new_events_go_on_behind_them(bed: Bed) {
    let id = recorded_by_the_old_program(&bed).await;
    let log = today(&bed).on_version::<Person>("register", [1]).route_to::<RegisterV1>().start().await.unwrap();
    let before = events(&log).await;
    log.replay().await.unwrap();
    assert_eq!(events(&log).await, before);
    let error = session(&log).update(&id, RenameV1 { full_name: "A B".to_owned() }).await.unwrap_err();
    let told = r#"the resource "crm.person" does not list the action "rename_v1""#;
    assert_eq!((error.kind(), error.message()), (&ErrorKind::Invalid, told));
    session(&log).create(Register { first: "Eve".to_owned(), last: "New".to_owned() }).await.unwrap();
    session(&log).destroy(&id, Leave {}).await.unwrap();
    let live = state(&bed, &log).await;
    log.replay().await.unwrap();
    assert_eq!(state(&bed, &log).await, live);
    assert_eq!(events(&log).await.last().unwrap().revision.unwrap().get(), 3);
}

/// Each person of the old program is given a mailbox.
fn with_mailboxes(bed: &Bed) -> Builder {
    let builder = bed.bare().resource::<Person>().resource::<Mailbox>();
    let builder = builder
        .on_version::<Person>("register", [1])
        .route_to_all([ActionSpec::of::<RegisterV1>(), ActionSpec::of::<OpenMailbox>()]);
    // Targets may be added one by one.
    let builder = builder.on_version::<Person>("rename", [1]).route_to::<RenameV1>();
    builder.on_version::<Person>("rename", [1]).route_to::<Readdress>()
}

async fn p29_a_version_is_routed_to_several_targets(bed: Bed) {
    let id = recorded_by_the_old_program(&bed).await;
    let log = with_mailboxes(&bed).start().await.unwrap();
    log.replay().await.unwrap();
    let mailbox = Mailbox { owner: id, address: "ada.lovelace@crm".to_owned(), forward: None, opened_at: tick(1) };
    assert_eq!(shop::all::<Person>(&log).await, [ada(id)]);
    // Bob has left, and nothing was said of his mailbox.
    assert_eq!(shop::all::<Mailbox>(&log).await.len(), 2);
    assert_eq!(log.find::<Mailbox>("address", "ada.lovelace@crm").await.unwrap(), Some(mailbox.clone()));

    // From now on the mailbox has events of its own, behind those that were routed to it.
    let forwarded = session(&log).update(&id, Forward { forward: Some("b".to_owned()) }).await.unwrap();
    assert_eq!(forwarded, Mailbox { forward: Some("b".to_owned()), ..mailbox });
    let live = state(&bed, &log).await;
    for workers in 1..=3 {
        log.clear_records().await.unwrap();
        log.replay().workers(workers).memory(0).await.unwrap();
        assert_eq!(state(&bed, &log).await, live);
    }
}

#[derive(Serialize, Deserialize, Resource)]
#[resource(name = "crm.guest")]
struct Guest {
    #[resource(id)]
    id: String,
}

#[derive(Serialize, Deserialize, Action)]
#[action(create, resource = Guest)]
struct Invite {}

impl Create for Invite {
    fn create(self, _: &Context) -> Result<Guest, Rejection> {
        Ok(Guest { id: String::new() })
    }
}

async fn p29_a_version_is_routed_to_another_resource(bed: Bed) {
    let id = recorded_by_the_old_program(&bed).await;
    let log = bed.bare().resource::<Person>().resource::<Guest>();
    let log = log.on_version::<Person>("register", [1]).route_to::<Invite>();
    let log = log.on_version::<Person>("rename", [1]).route_to_all([]).start().await.unwrap();
    log.replay().until_position(3).await.unwrap();
    let state = state(&bed, &log).await;
    assert_eq!(state.len(), 2);
    let guest = &state[&format!("crm.guest/{id}")];
    assert_eq!((guest.revision, &guest.attributes), (1, &serde_json::json!({"id": id.to_string()})));
}

async fn p29_a_route_without_targets_leaves_events_out(bed: Bed) {
    let id = recorded_by_the_old_program(&bed).await;
    let builder = bed.bare().resource::<Person>().resource::<Mailbox>();
    let builder = builder.on_version::<Person>("register", [1]).route_to::<RegisterV1>();
    let log = builder.on_version::<Person>("rename", [1, 2, 3]).route_to_all([]).start().await.unwrap();
    log.replay().await.unwrap();
    assert_eq!(log.head().await.unwrap().state, LogState::Live);
    let not_renamed = Person { last: "Byron".to_owned(), updated_at: tick(1), ..ada(id) };
    assert_eq!(shop::all::<Person>(&log).await, [not_renamed]);
}

async fn p29_a_routed_action_that_fails_tells_the_position_and_the_version(bed: Bed) {
    let log = bed.bare().resource::<old::Person>().start().await.unwrap();
    session(&log).create(old::Register { full_name: "Plato".to_owned() }).await.unwrap();
    let before = state(&bed, &log).await;
    let log = today(&bed).on_version::<Person>("register", [1]).route_to::<RegisterV1>().start().await.unwrap();
    let error = log.replay().await.unwrap_err();
    let event = events(&log).await[0].id;
    let told = format!(
        "the event at position 1 (version 1 of crm.person.register, {event}) cannot be applied: a full name has two parts"
    );
    assert_eq!((error.kind(), error.message()), (&ErrorKind::Replay { position: Position::new(1) }, &*told));
    assert_eq!(state(&bed, &log).await, before);
}

async fn the_past_is_read_through_routes(bed: Bed) {
    let id = recorded_by_the_old_program(&bed).await;
    let log = with_mailboxes(&bed).start().await.unwrap();
    log.replay().await.unwrap();
    session(&log).at(seconds(9)).update(&id, Forward { forward: Some("b".to_owned()) }).await.unwrap();
    for at in 1..=events(&log).await.len() as u64 {
        let mailbox = log.as_of(Position::new(at)).get::<Mailbox>(&id).await.unwrap();
        log.replay().until_position(at).await.unwrap();
        assert_eq!(mailbox, log.get::<Mailbox>(&id).await.unwrap(), "at {at}");
    }
    let seen: Vec<_> = log
        .history::<Mailbox>(&id)
        .await
        .unwrap()
        .into_iter()
        .map(|revised| {
            let mailbox = revised.record.unwrap();
            (revised.event.position.get(), mailbox.address, mailbox.forward)
        })
        .collect();
    let (old, new) = ("ada.byron@crm".to_owned(), "ada.lovelace@crm".to_owned());
    assert_eq!(seen, [(1, old, None), (3, new.clone(), None), (5, new, Some("b".to_owned()))]);
}

async fn a_record_is_read_without_what_routes_do_to_others(bed: Bed) {
    let id = recorded_by_the_old_program(&bed).await;
    let builder = today(&bed).on_version::<Person>("register", [1]).route_to::<RegisterV1>();
    let log = builder.on_version::<Person>("rename", [1]).route_to::<Readdress>().start().await.unwrap();
    // A mailbox with events of its own would be needed to readdress it, and is none of the person's.
    assert_eq!(log.as_of(Position::new(3)).get::<Person>(&id).await.unwrap(), Some(ada(id)));
    let log = with_mailboxes(&bed).start().await.unwrap();
    // An event of the same id that has nothing to do with it, and that today's program does not know.
    shop::raw::raw("crm.pet", &id.to_string(), "feed").write(&*bed.store, &log).await;
    let positions: Vec<u64> =
        log.history::<Mailbox>(&id).await.unwrap().iter().map(|revised| revised.event.position.get()).collect();
    assert_eq!(positions, [1, 3]);
    assert!(log.as_of(Position::new(5)).get::<Mailbox>(&id).await.unwrap().is_some());
}
