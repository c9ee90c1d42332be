//! Opening a log: every mistake of the set-up in one error, stores by URL, and a log without records.

#![cfg(all(feature = "derive", feature = "memory", feature = "sled"))]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests")]

mod shop;

use std::sync::Arc;

use async_trait::async_trait;
use rekindle::engine::Backend;
use rekindle::store::{EventStore, EventStoreExt, Head, KeyStore, Store, StoreInfo};
use rekindle::types::{Change, Commit, Committed, DefaultLockKeys, LockKey, LockKeys, Page, Revision};
use rekindle::{
    Action, ActionKind, ActionSpec, Attribute, Builder, Context, Error, ErrorKind, Event, EventQuery, LogId, Position,
    Rejection, Rekindle, Resource, Result, Timestamp,
};
use serde::{Deserialize, Serialize};
use shop::raw::raw;
use shop::*;

on_each_backend![
    an_action_that_is_not_registered_is_refused_when_it_is_run,
    a_log_has_a_name_of_its_own,
    a_log_of_events_only_reads_events_and_says_that_it_keeps_no_records,
];

/// The error of a start that must fail.
async fn refused(builder: Builder) -> Error {
    builder.start().await.unwrap_err()
}

/// That the set-up has these mistakes, in this order.
async fn has_mistakes(builder: Builder, mistakes: &[&str]) {
    let error = refused(builder).await;
    assert_eq!(error.kind(), &ErrorKind::Invalid);
    assert_eq!(error.message(), format!("the set-up has mistakes: {}", mistakes.join("; ")));
}

/// On a store that cannot be opened: mistakes are told before it is tried.
fn no_store() -> Builder {
    Rekindle::open("nowhere:")
}

/// A resource as the derive would refuse to make it.
#[derive(Serialize, Deserialize)]
struct Wrong;

impl Resource for Wrong {
    type Id = u64;
    const NAME: &'static str = "wrong name";
    const ATTRIBUTES: &'static [Attribute] = &[];

    fn actions() -> Vec<ActionSpec> {
        let (burn, print) = (ActionSpec::of::<Burn>(), ActionSpec::of::<Print>());
        vec![burn, burn, print]
    }

    fn id(&self) -> String {
        String::new()
    }

    fn identities(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    fn stamp(&mut self, _: bool, _: Timestamp) {}
}

#[derive(Serialize, Deserialize)]
struct Burn;

impl Action for Burn {
    type Resource = Wrong;
    const NAME: &'static str = "burn!";
    const KIND: ActionKind = ActionKind::Update;
    const VERSION: u32 = 0;

    fn apply(self, before: Option<Wrong>, _: &Context) -> Result<Option<Wrong>, Rejection> {
        Ok(before)
    }
}

#[tokio::test]
async fn every_mistake_of_the_set_up_is_told_in_one_error() {
    let builder = no_store().replay_as_arguments::<Open>();
    let builder = builder.resource::<Label>().resource::<Label>().resource::<Wrong>();
    let builder = builder.on_version::<Account>("open", [3]).route_to::<Print>();
    let builder = builder.on_version::<Label>("print", [1, 2]).route_to::<Open>();
    let no_action = r#"it takes ASCII letters, digits, '_', '-' and '.', and starts with a letter"#;
    let mistakes = [
        r#"the resource "shop.label" is registered twice"#.to_owned(),
        format!(r#""wrong name" is no resource name: {no_action}"#),
        format!(r#""burn!" is no action name: {no_action}"#),
        r#"the action "burn!" of "wrong name" has version 0; versions count from 1"#.to_owned(),
        format!(r#""burn!" is no action name: {no_action}"#),
        r#"the action "burn!" of "wrong name" has version 0; versions count from 1"#.to_owned(),
        r#"the resource "wrong name" has two actions named "burn!""#.to_owned(),
        r#"the resource "wrong name" lists the action "print" of the resource "shop.label""#.to_owned(),
        r#"the action "open" is to be replayed as arguments, and "shop.account" does not list it"#.to_owned(),
        r#"version 3 of shop.account.open is routed, and no resource "shop.account" is registered"#.to_owned(),
        "version 1 of shop.label.print is routed, and it is the current version".to_owned(),
        r#"version 1 of shop.label.print is routed to "open" of "shop.account", which is not registered"#.to_owned(),
        r#"version 2 of shop.label.print is routed to "open" of "shop.account", which is not registered"#.to_owned(),
    ];
    has_mistakes(builder, &mistakes.iter().map(String::as_str).collect::<Vec<_>>()).await;
}

#[tokio::test]
async fn p29_routes_that_cannot_be_meant_are_mistakes() {
    let builder = no_store().resource::<Label>();
    has_mistakes(
        builder.on_version::<Label>("print", []).route_to::<Print>(),
        &["shop.label.print is routed, and no version of it is named"],
    )
    .await;
    let builder = no_store().resource::<Label>();
    has_mistakes(
        builder.on_version::<Label>("print", [0]).route_to::<Print>(),
        &["version 0 of shop.label.print is routed; versions count from 1"],
    )
    .await;
    // Twice would be applied twice.
    let builder = no_store().resource::<Label>().on_version::<Label>("stuck", [1]).route_to::<Stick>();
    has_mistakes(
        builder.on_version::<Label>("stuck", [1]).route_to::<Stick>(),
        &[r#"version 1 of shop.label.stuck is routed to "stick" of "shop.label" twice"#],
    )
    .await;
    let error = refused(no_store().resource::<Label>().on_version::<Label>("a b", [1]).route_to::<Stick>()).await;
    assert!(error.message().contains(r#"shop.label.a b is routed: "a b" is no action name: "#), "{error}");
}

#[tokio::test]
async fn urls_that_name_no_store_are_told_which_ones_do() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "no folder").unwrap();
    for (url, scheme) in [
        ("", ""),
        ("mongo://localhost", "mongo"),
        ("./data", "./data"),
        ("sled", "sled"),
        ("sled:", "sled"),
        ("memory:somewhere", "memory"),
        ("SLED:./data", "SLED"),
    ] {
        let error = refused(Rekindle::open(url)).await;
        let known = r#""memory:", "sled:FOLDER", "postgres://.." and "redis://..""#;
        let told = format!("{scheme:?} is no URL of a store: those are {known}");
        assert_eq!((error.kind(), error.message()), (&ErrorKind::Invalid, &*told), "{url}");
    }
    for (url, kind) in [
        ("postgres://ada:secret@127.0.0.1:port/shop", ErrorKind::Invalid),
        ("redis://:secret@127.0.0.1:1", ErrorKind::Unavailable),
    ] {
        let error = refused(Rekindle::open(url)).await;
        assert_eq!(error.kind(), &kind, "{error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
    let error = refused(Rekindle::open(format!("sled:{}", file.display()))).await;
    assert!(matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Invalid), "{error:?}");
    assert!(error.to_string().contains(file.to_str().unwrap()), "{error}");
}

#[tokio::test]
async fn a_store_is_opened_by_its_url() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sled:{}", folder.path().join("a/b").display());
    for n in 1..=2 {
        let log = Rekindle::open(&url).resource::<Label>().start().await.unwrap();
        session(&log).create(print(n)).await.unwrap();
        assert_eq!(log.head().await.unwrap().position, Position::new(n));
        log.shutdown().await.unwrap();
    }
    let memory = Rekindle::open("memory:").resource::<Label>().start().await.unwrap();
    session(&memory).create(print(1)).await.unwrap();
    assert_eq!(format!("{memory:?}"), "Log(main)");
}

async fn an_action_that_is_not_registered_is_refused_when_it_is_run(bed: Bed) {
    let log = bed.bare().resource::<Label>().start().await.unwrap();
    let error = session(&log).create(open("ada")).await.unwrap_err();
    assert_eq!((error.kind(), error.message()), (&ErrorKind::Invalid, r#"no resource "shop.account" is registered"#));
    assert_eq!(log.head().await.unwrap(), Head::default());
}

async fn a_log_has_a_name_of_its_own(bed: Bed) {
    let (orders, stock) = (bed.builder().log("orders"), bed.builder().log("stock"));
    let (orders, stock) = (orders.start().await.unwrap(), stock.start().await.unwrap());
    session(&orders).create(print(1)).await.unwrap();
    assert_eq!((all::<Label>(&orders).await.len(), all::<Label>(&stock).await.len()), (1, 0));
    assert_eq!(orders.id().to_string(), "orders");
    for name in ["", "two words", "1st"] {
        let error = refused(bed.builder().log(name)).await;
        assert!(error.message().starts_with(&format!("{name:?} is no log name: ")), "{error}");
    }
    let error = refused(bed.builder().log("x".repeat(201))).await;
    let told = "the log name has 201 bytes; at most 200 are allowed";
    assert_eq!((error.kind(), error.message()), (&ErrorKind::TooLarge, told));
}

/// The half of a store that keeps events.
struct EventsOnly(Arc<dyn Store>);

#[async_trait]
impl EventStore for EventsOnly {
    fn info(&self) -> StoreInfo {
        self.0.info().with_records(false)
    }

    fn key_store(&self) -> Option<&dyn KeyStore> {
        self.0.key_store()
    }

    async fn commit(&self, batch: Arc<[Commit]>) -> Vec<Result<Committed>> {
        let mut answers = Vec::new();
        for commit in batch.iter().cloned() {
            answers.push(if commit.writes().next().is_some() || !commit.checks.is_empty() {
                Err(Error::unsupported("records are kept elsewhere"))
            } else {
                self.0.commit_one(commit).await
            });
        }
        answers
    }

    async fn read(&self, log: &LogId, query: &EventQuery) -> Result<Page<Event, Position>> {
        self.0.read(log, query).await
    }

    async fn head(&self, log: &LogId) -> Result<Head> {
        self.0.head(log).await
    }

    async fn changed(&self, log: &LogId, after: Position) -> Result<()> {
        self.0.changed(log, after).await
    }
}

async fn a_log_of_events_only_reads_events_and_says_that_it_keeps_no_records(bed: Bed) {
    let store = EventsOnly(Arc::clone(&bed.store));
    let whole = bed.log().await;
    raw("shop.label", "1", "stick").write(&*bed.store, &whole).await;
    let event = events(&whole).await.remove(0).event;
    let lock: LockKey = DefaultLockKeys::default().key(whole.id()).unwrap();
    let mut commit = Commit::new(whole.id().clone(), lock);
    let again = rekindle::types::NewEvent { id: rekindle::EventId::generate(), ..event };
    commit.changes.push(Change { event: Some(again), write: None });
    let committed = store.commit_one(commit).await.unwrap();
    assert_eq!((committed.events[0].position, committed.events[0].revision), (Position::new(2), None));

    let builder = Rekindle::on(Backend::events_only(store)).resource::<Label>().resource::<Account>();
    let log = builder.start().await.unwrap();
    let seen: Vec<_> = events(&log).await.iter().map(|event| event.revision).collect();
    assert_eq!(seen, [Some(Revision::new(1)), None]);
    for error in [
        log.get::<Label>(&1).await.unwrap_err(),
        log.find::<Label>("slot", "a").await.unwrap_err(),
        log.list::<Label>().err().unwrap(),
        log.replay().await.unwrap_err(),
        log.clear_records().await.unwrap_err(),
        session(&log).accept_rewound(Position::ZERO).await.unwrap_err(),
        session(&log).update(&1, Stick { slot: None }).await.unwrap_err(),
    ] {
        let told = "this store keeps events only, and no records";
        assert_eq!((error.kind(), error.message()), (&ErrorKind::Unsupported, told));
    }
    let error = session(&log).create(print(2)).await.unwrap_err();
    assert_eq!((error.kind(), error.message()), (&ErrorKind::Unsupported, "records are kept elsewhere"));
}
