//! Upserts: one event, whether a record is made or changed.

#![cfg(all(feature = "derive", feature = "memory", feature = "sled"))]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests")]

mod shop;

use rekindle::{
    Action, ActionType, Context, Create, Destroy, ErrorKind, Log, Rejection, Resource, Timestamp, Update, Upsert,
    compound,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use shop::raw::raw;
use shop::state::state_of;
use shop::{Bed, Ticking, actions, all, events, on_each_backend, seconds, session, tick};
use uuid::Uuid;

on_each_backend![
    p12_upsert_writes_one_event_for_either_path,
    p12_occurred_at_is_the_create_or_the_update_timestamp,
    p12_concurrent_upserts_of_one_identity_make_one_record,
    p12_a_rejected_upsert_writes_nothing_on_either_path,
    p33_an_upsert_event_replays_as_an_update_where_the_record_exists_and_else_as_a_create,
    p33_upserts_replay_exactly_also_as_arguments,
    e3_an_upsert_may_look_for_an_identity_of_several_attributes,
    e11_an_upsert_that_changes_nothing_is_not_recorded,
    an_upsert_sees_the_changes_of_its_unit,
    an_upsert_that_looks_for_no_identity_of_the_resource_is_refused,
    an_upsert_is_run_as_such_and_nothing_else_is,
];

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Resource)]
#[resource(name = "shop.customer", actions(SignIn, SignOut, Phone, Enter))]
struct Customer {
    #[resource(id)]
    id: Uuid,
    #[resource(identity)]
    email: String,
    name: String,
    visits: u32,
    #[resource(created_at)]
    since: Timestamp,
    #[resource(updated_at)]
    seen: Timestamp,
}

/// Makes a customer of a first visit, and counts the others.
#[derive(Clone, Serialize, Deserialize, Action)]
#[action(upsert, resource = Customer)]
struct SignIn {
    email: String,
    name: String,
}

impl Create for SignIn {
    fn create(self, cx: &Context) -> Result<Customer, Rejection> {
        if self.name.is_empty() {
            return Err(Rejection::new("a customer has a name"));
        }
        let (since, seen) = (Timestamp::EPOCH, Timestamp::EPOCH);
        Ok(Customer { id: cx.new_uuid(), email: self.email.to_lowercase(), name: self.name, visits: 1, since, seen })
    }
}

impl Update for SignIn {
    fn update(self, customer: &mut Customer, _: &Context) -> Result<(), Rejection> {
        if self.name.is_empty() {
            return Err(Rejection::new("a customer keeps a name"));
        }
        customer.name = self.name;
        customer.visits += 1;
        Ok(())
    }
}

impl Upsert for SignIn {
    fn identity(&self) -> (&'static str, String) {
        ("email", self.email.to_lowercase())
    }
}

#[derive(Serialize, Deserialize, Action)]
#[action(destroy, resource = Customer)]
struct SignOut {}

impl Destroy for SignOut {}

/// Looks for what customers do not have.
#[derive(Serialize, Deserialize, Action)]
#[action(upsert, resource = Customer)]
struct Phone {
    phone: String,
}

impl Create for Phone {
    fn create(self, _: &Context) -> Result<Customer, Rejection> {
        Err(Rejection::new("it is not run"))
    }
}

impl Update for Phone {
    fn update(self, _: &mut Customer, _: &Context) -> Result<(), Rejection> {
        Err(Rejection::new("it is not run"))
    }
}

impl Upsert for Phone {
    fn identity(&self) -> (&'static str, String) {
        ("phone", self.phone.clone())
    }
}

#[derive(Serialize, Deserialize, Action)]
#[action(create, resource = Customer)]
struct Enter {}

impl Create for Enter {
    fn create(self, _: &Context) -> Result<Customer, Rejection> {
        Err(Rejection::new("it is not run"))
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Resource)]
#[resource(name = "shop.stock", actions(Count), identities(by_place(shop, shelf)))]
struct Stock {
    #[resource(id)]
    id: u64,
    shop: u64,
    shelf: Option<String>,
    pieces: u32,
}

#[derive(Serialize, Deserialize, Action)]
#[action(upsert, resource = Stock)]
struct Count {
    id: u64,
    shop: u64,
    shelf: Option<String>,
    pieces: u32,
}

impl Create for Count {
    fn create(self, _: &Context) -> Result<Stock, Rejection> {
        Ok(Stock { id: self.id, shop: self.shop, shelf: self.shelf, pieces: self.pieces })
    }
}

impl Update for Count {
    fn update(self, stock: &mut Stock, _: &Context) -> Result<(), Rejection> {
        stock.pieces = self.pieces;
        Ok(())
    }
}

impl Upsert for Count {
    fn identity(&self) -> (&'static str, String) {
        ("by_place", compound([self.shop.to_string(), self.shelf.clone().unwrap_or_default()]))
    }
}

fn sign_in(email: &str, name: &str) -> SignIn {
    SignIn { email: email.to_owned(), name: name.to_owned() }
}

fn count(id: u64, shop: u64, shelf: Option<&str>, pieces: u32) -> Count {
    Count { id, shop, shelf: shelf.map(str::to_owned), pieces }
}

async fn log(bed: &Bed) -> Log {
    bed.bare().resource::<Customer>().resource::<Stock>().clock(Ticking::default()).start().await.unwrap()
}

async fn p12_upsert_writes_one_event_for_either_path(bed: Bed) {
    let log = log(&bed).await;
    let made = session(&log).upsert(sign_in("Ada@Example.org", "ada")).await.unwrap();
    assert_eq!((made.email.as_str(), made.visits), ("ada@example.org", 1));
    let changed = session(&log).upsert(sign_in("ADA@example.org", "Ada L.")).await.unwrap();
    assert_eq!(changed, Customer { name: "Ada L.".to_owned(), visits: 2, seen: tick(2), ..made.clone() });
    assert_eq!(log.get::<Customer>(&made.id).await.unwrap(), Some(changed));
    session(&log).upsert(sign_in("grace@example.org", "grace")).await.unwrap();
    let events = events(&log).await;
    let seen: Vec<_> = events.iter().map(|event| (event.position.get(), event.action.as_str())).collect();
    assert_eq!(seen, [(1, "sign_in"), (2, "sign_in"), (3, "sign_in")]);
    let types: Vec<_> = events.iter().map(|event| event.action_type).collect();
    assert_eq!(types, [ActionType::Create, ActionType::Update, ActionType::Create]);
    let revisions: Vec<_> = events.iter().map(|event| event.revision.unwrap().get()).collect();
    assert_eq!(revisions, [1, 2, 1]);
    assert_eq!(shop::json(&events[1].data), json!({"email": "ADA@example.org", "name": "Ada L."}));
    let changed = json!({"email": "ada@example.org", "visits": 2, "seen": tick(2)});
    assert_eq!(shop::json(&events[1].changed_attributes), changed);
}

async fn p12_occurred_at_is_the_create_or_the_update_timestamp(bed: Bed) {
    let log = log(&bed).await;
    let made = session(&log).upsert(sign_in("ada@example.org", "ada")).await.unwrap();
    let changed = session(&log).at(seconds(77)).upsert(sign_in("ada@example.org", "Ada")).await.unwrap();
    let times: Vec<_> = events(&log).await.iter().map(|event| event.occurred_at).collect();
    assert_eq!(times, [tick(1), seconds(77)]);
    assert_eq!((made.since, made.seen), (times[0], times[0]));
    assert_eq!((changed.since, changed.seen), (times[0], times[1]));
}

async fn p12_concurrent_upserts_of_one_identity_make_one_record(bed: Bed) {
    let log = log(&bed).await;
    let session = session(&log);
    let callers = (0..32).map(|n| session.upsert(sign_in("ada@example.org", &format!("ada {n}"))));
    let mut visits = Vec::new();
    for outcome in futures::future::join_all(callers).await {
        visits.push(outcome.unwrap().visits);
    }
    visits.sort_unstable();
    assert_eq!(visits, (1..=32).collect::<Vec<_>>());
    let customers = all::<Customer>(&log).await;
    assert_eq!((customers.len(), customers[0].visits), (1, 32));
    let types: Vec<_> = events(&log).await.iter().map(|event| event.action_type).collect();
    assert_eq!((types[0], types.len()), (ActionType::Create, 32));
    assert!(types[1..].iter().all(|kind| *kind == ActionType::Update));
}

async fn p12_a_rejected_upsert_writes_nothing_on_either_path(bed: Bed) {
    let log = log(&bed).await;
    let error = session(&log).upsert(sign_in("ada@example.org", "")).await.unwrap_err();
    assert_eq!((error.kind(), error.message()), (&ErrorKind::Rejected, "a customer has a name"));
    session(&log).upsert(sign_in("ada@example.org", "ada")).await.unwrap();
    let error = session(&log).upsert(sign_in("ada@example.org", "")).await.unwrap_err();
    assert_eq!((error.kind(), error.message()), (&ErrorKind::Rejected, "a customer keeps a name"));
    assert_eq!(actions(&log).await, ["sign_in"]);
}

async fn p33_an_upsert_event_replays_as_an_update_where_the_record_exists_and_else_as_a_create(bed: Bed) {
    let log = log(&bed).await;
    let [ada, grace] = [Uuid::from_u128(1), Uuid::from_u128(2)];
    let whole = |email: &str, name: &str| json!({"email": email, "name": name});
    let rest = |id: Uuid, visits: u32| json!({"id": id, "visits": visits, "since": seconds(1), "seen": seconds(2)});
    // What the log says of each event is not what there is: two creates of one record, an update of none.
    let (a, g) = (ada.to_string(), grace.to_string());
    let put = |id, action_type| raw("shop.customer", id, "sign_in").of_type(action_type);
    for event in [
        put(&a, ActionType::Create).data(whole("ada@example.org", "ada")).changed(rest(ada, 1)),
        put(&a, ActionType::Create).data(json!({"name": "Ada"})).changed(json!({"visits": 7})),
        put(&g, ActionType::Update).data(whole("grace@example.org", "grace")).changed(rest(grace, 3)),
    ] {
        event.write(&*bed.store, &log).await;
    }
    log.replay().await.unwrap();
    let customer = |id, email: &str, name: &str, visits| {
        let (email, name) = (email.to_owned(), name.to_owned());
        Customer { id, email, name, visits, since: seconds(1), seen: seconds(2) }
    };
    let expected = [customer(ada, "ada@example.org", "Ada", 7), customer(grace, "grace@example.org", "grace", 3)];
    assert_eq!(all::<Customer>(&log).await, expected);
    assert_eq!(log.find::<Customer>("email", "grace@example.org").await.unwrap().unwrap().id, grace);
}

async fn p33_upserts_replay_exactly_also_as_arguments(bed: Bed) {
    let log = log(&bed).await;
    for name in ["ada", "Ada", "Ada L."] {
        session(&log).upsert(sign_in("ada@example.org", name)).await.unwrap();
        session(&log).upsert(sign_in(&format!("{}@example.org", name.len()), name)).await.unwrap();
    }
    let again = log.find::<Customer>("email", "3@example.org").await.unwrap().unwrap();
    session(&log).destroy(&again.id, SignOut {}).await.unwrap();
    session(&log).upsert(sign_in("3@example.org", "back")).await.unwrap();
    let live = state_of(&*bed.store, &log, &["shop.customer"]).await;
    assert_eq!(live.len(), 3);
    log.replay().await.unwrap();
    assert_eq!(state_of(&*bed.store, &log, &["shop.customer"]).await, live);
    let arguments = bed.bare().resource::<Customer>().replay_as_arguments::<SignIn>().start().await.unwrap();
    arguments.replay().in_place().workers(2).memory(1).await.unwrap();
    assert_eq!(state_of(&*bed.store, &log, &["shop.customer"]).await, live);
}

async fn e3_an_upsert_may_look_for_an_identity_of_several_attributes(bed: Bed) {
    let log = log(&bed).await;
    session(&log).upsert(count(1, 1, Some("a"), 5)).await.unwrap();
    session(&log).upsert(count(2, 1, Some("b"), 6)).await.unwrap();
    // These three would be one place if parts were just put together.
    session(&log).upsert(count(3, 11, Some("a"), 7)).await.unwrap();
    session(&log).upsert(count(4, 1, Some("1a"), 8)).await.unwrap();
    assert_eq!(session(&log).upsert(count(9, 1, Some("a"), 50)).await.unwrap().id, 1);
    let pieces: Vec<_> = all::<Stock>(&log).await.iter().map(|stock| (stock.id, stock.pieces)).collect();
    assert_eq!(pieces, [(1, 50), (2, 6), (3, 7), (4, 8)]);
    let found = log.find::<Stock>("by_place", &compound(["11", "a"])).await.unwrap();
    assert_eq!(found.unwrap().id, 3);
    // Without a shelf there is no place to own.
    session(&log).upsert(count(5, 1, None, 1)).await.unwrap();
    session(&log).upsert(count(6, 1, None, 1)).await.unwrap();
    assert_eq!(all::<Stock>(&log).await.len(), 6);
}

async fn e11_an_upsert_that_changes_nothing_is_not_recorded(bed: Bed) {
    let log = log(&bed).await;
    let made = session(&log).upsert(count(1, 1, Some("a"), 5)).await.unwrap();
    assert_eq!(session(&log).upsert(count(2, 1, Some("a"), 5)).await.unwrap(), made);
    assert_eq!(actions(&log).await, ["count"]);
}

async fn an_upsert_sees_the_changes_of_its_unit(bed: Bed) {
    let log = log(&bed).await;
    let mut unit = session(&log).begin().unwrap();
    let first = unit.upsert(sign_in("ada@example.org", "ada")).await.unwrap();
    let second = unit.upsert(sign_in("ada@example.org", "Ada")).await.unwrap();
    assert_eq!((second.id, second.visits), (first.id, 2));
    unit.destroy(&first.id, SignOut {}).await.unwrap();
    let third = unit.upsert(sign_in("ada@example.org", "ada")).await.unwrap();
    assert_ne!(third.id, first.id);
    unit.commit().await.unwrap();
    assert_eq!(actions(&log).await, ["sign_in", "sign_in", "sign_out", "sign_in"]);
    assert_eq!(all::<Customer>(&log).await, std::slice::from_ref(&third));
    // The one that is there gives its identity up, and the next one makes another.
    let mut unit = session(&log).begin().unwrap();
    unit.destroy(&third.id, SignOut {}).await.unwrap();
    let fourth = unit.upsert(sign_in("ada@example.org", "ada")).await.unwrap();
    unit.commit().await.unwrap();
    assert_eq!(all::<Customer>(&log).await, [fourth]);
}

async fn an_upsert_that_looks_for_no_identity_of_the_resource_is_refused(bed: Bed) {
    let log = log(&bed).await;
    let error = session(&log).upsert(Phone { phone: "1".to_owned() }).await.unwrap_err();
    let told = r#"the action "phone" looks for the identity "phone", which "shop.customer" does not have"#;
    assert_eq!((error.kind(), error.message()), (&ErrorKind::Invalid, told));
}

async fn an_upsert_is_run_as_such_and_nothing_else_is(bed: Bed) {
    let log = log(&bed).await;
    let error = session(&log).create(sign_in("ada@example.org", "ada")).await.unwrap_err();
    assert_eq!(error.message(), r#"the action "sign_in" is of type upsert, and was run as create"#);
    let error = session(&log).update(&Uuid::nil(), sign_in("ada@example.org", "ada")).await.unwrap_err();
    assert_eq!(error.message(), r#"the action "sign_in" is of type upsert, and was run as update"#);
    let error = session(&log).upsert(Enter {}).await.unwrap_err();
    assert_eq!(error.message(), r#"the action "enter" is of type create, and was run as upsert"#);
    assert!(events(&log).await.is_empty());
}
