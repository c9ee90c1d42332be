//! Every mistake of the set-up that is found when a log opens: each with its message, and all of them in one error.

#![cfg(all(feature = "derive", feature = "memory", feature = "sled"))]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests")]

mod shop;

use rekindle::{
    Action, ActionSpec, Attribute, Builder, Context, Create, Destroy, ErrorKind, IdentitySpec, OnRedacted,
    PublicFields, Rejection, Rekindle, Resource, SubjectSpec, Timestamp,
};
use serde::{Deserialize, Serialize};
use shop::{Account, Label, Print, Stick};

/// On a store that cannot be opened: mistakes are told before it is tried.
fn nowhere() -> Builder {
    Rekindle::open("nowhere:")
}

/// That the set-up has these mistakes, in this order.
async fn has(builder: Builder, mistakes: &[&str]) {
    let error = builder.start().await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Invalid);
    assert_eq!(error.message(), format!("the set-up has mistakes: {}", mistakes.join("; ")));
}

/// A resource whose derive would not compile: an identity over what is no attribute.
#[derive(Serialize, Deserialize)]
struct Seat {
    row: u64,
}

impl Resource for Seat {
    type Id = u64;
    const NAME: &'static str = "shop.seat";
    const ATTRIBUTES: &'static [Attribute] = &[Attribute { name: "row", id: true, sensitive: false, stored: false }];
    const IDENTITIES: &'static [IdentitySpec] = &[IdentitySpec { name: "by_place", attributes: &["row", "number"] }];

    fn actions() -> Vec<ActionSpec> {
        Vec::new()
    }

    fn id(&self) -> String {
        self.row.to_string()
    }

    fn identities(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    fn stamp(&mut self, _: bool, _: Timestamp) {}
}

/// Two of its actions have one name, and one has a second version.
#[derive(Serialize, Deserialize, Resource)]
#[resource(name = "shop.ticket", actions(Sell, Resell, Void))]
struct Ticket {
    #[resource(id)]
    id: u64,
}

macro_rules! creates {
    ($action:ident) => {
        impl Create for $action {
            fn create(self, _: &Context) -> Result<Ticket, Rejection> {
                Ok(Ticket { id: self.id })
            }
        }
    };
}

#[derive(Serialize, Deserialize, Action)]
#[action(create, resource = Ticket)]
struct Sell {
    id: u64,
}
creates!(Sell);

#[derive(Serialize, Deserialize, Action)]
#[action(create, resource = Ticket, name = "sell")]
struct Resell {
    id: u64,
}
creates!(Resell);

#[derive(Serialize, Deserialize, Action)]
#[action(destroy, resource = Ticket, version = 2)]
struct Void {}

impl Destroy for Void {}

const MISSING_ATTRIBUTE: &str =
    r#"the identity "by_place" of "shop.seat" is made of the attribute "number", which the resource does not have"#;
const TWO_OF_ONE_NAME: &str = r#"the resource "shop.ticket" has two actions named "sell""#;
const UNKNOWN_ONLY: &str = r#"the action "prnt" is to be the only one recorded, and "shop.label" does not list it"#;
const UNKNOWN_IGNORED: &str = r#"the action "peeel" is to be ignored, and "shop.label" does not list it"#;
const NOT_REGISTERED: &str = r#"it is said which actions of "shop.account" are recorded, and it is not registered"#;
const VERSION_OF_IGNORED: &str = r#"the action "void" of "shop.ticket" has version 2 and is ignored"#;
const NO_FIELD: &str = r#""payload" is to be a public field, and is no field of an event"#;
const TO_NOWHERE: &str =
    r#"version 1 of shop.label.glue is routed to "open" of "shop.account", which is not registered"#;
const FROM_NOWHERE: &str = r#"version 7 of shop.account.open is routed, and no resource "shop.account" is registered"#;
const CURRENT: &str = "version 1 of shop.label.stick is routed, and it is the current version";
const NO_CHANGE: &str = r#"there is a change on replay of "shop.account", and it is not registered"#;
const AS_ARGUMENTS: &str = r#"the action "open" is to be replayed as arguments, and "shop.account" does not list it"#;

#[tokio::test]
async fn an_identity_on_an_attribute_that_is_missing_is_a_mistake() {
    has(nowhere().resource::<Seat>(), &[MISSING_ATTRIBUTE]).await;
}

#[tokio::test]
async fn two_actions_of_one_name_are_a_mistake() {
    has(nowhere().resource::<Ticket>(), &[TWO_OF_ONE_NAME]).await;
}

#[tokio::test]
async fn p10_an_unknown_action_in_only_is_a_mistake() {
    has(nowhere().resource::<Label>().only_actions::<Label>(["print", "prnt"]), &[UNKNOWN_ONLY]).await;
    has(nowhere().resource::<Label>().ignore_actions::<Label>(["peeel"]), &[UNKNOWN_IGNORED]).await;
    // The order in which it is said does not matter; the resource must be there.
    has(nowhere().only_actions::<Label>(["print", "prnt"]).resource::<Label>(), &[UNKNOWN_ONLY]).await;
    has(nowhere().only_actions::<Account>(["open"]), &[NOT_REGISTERED]).await;
}

#[tokio::test]
async fn p10_p11_the_version_of_an_ignored_action_is_a_mistake() {
    let builder = nowhere().resource::<Ticket>().ignore_actions::<Ticket>(["void"]);
    has(builder, &[TWO_OF_ONE_NAME, VERSION_OF_IGNORED]).await;
}

#[tokio::test]
async fn p29_a_route_to_nowhere_or_from_nowhere_is_a_mistake() {
    let label = || nowhere().resource::<Label>();
    has(label().on_version::<Label>("glue", [1]).route_to::<shop::Open>(), &[TO_NOWHERE]).await;
    has(label().on_version::<Account>("open", [7]).route_to::<Print>(), &[FROM_NOWHERE]).await;
    has(label().on_version::<Label>("stick", [1]).route_to::<Stick>(), &[CURRENT]).await;
}

#[tokio::test]
async fn p35_a_public_field_that_is_no_field_is_a_mistake() {
    let fields = PublicFields::Some(vec!["data".to_owned(), "payload".to_owned()]);
    has(nowhere().public_fields(fields), &[NO_FIELD]).await;
}

#[tokio::test]
async fn all_mistakes_are_told_in_one_error() {
    let builder = nowhere().replay_as_arguments::<shop::Open>().change_on_replay(|_: &mut Account, _, _| {});
    let builder = builder.public_fields(PublicFields::Some(vec!["payload".to_owned()]));
    let builder = builder.resource::<Seat>().resource::<Ticket>().resource::<Label>();
    let builder = builder.only_actions::<Account>(["open"]).only_actions::<Label>(["prnt"]);
    let builder = builder.ignore_actions::<Label>(["peeel"]).ignore_actions::<Ticket>(["void"]);
    let builder = builder.on_version::<Label>("glue", [1]).route_to::<shop::Open>();
    let builder = builder.on_version::<Account>("open", [7]).route_to::<Print>();
    let builder = builder.on_version::<Label>("stick", [1]).route_to::<Stick>();
    let all = [
        MISSING_ATTRIBUTE,
        TWO_OF_ONE_NAME,
        NO_FIELD,
        NOT_REGISTERED,
        UNKNOWN_ONLY,
        UNKNOWN_IGNORED,
        VERSION_OF_IGNORED,
        AS_ARGUMENTS,
        NO_CHANGE,
        FROM_NOWHERE,
        TO_NOWHERE,
        CURRENT,
    ];
    has(builder, &all).await;
}

/// A resource with names that are Rekindle's own, and a subject in what is no attribute.
#[derive(Serialize, Deserialize)]
struct Box {
    id: u64,
    #[serde(rename = "$sealed")]
    sealed: bool,
}

#[derive(Serialize, Deserialize, Action)]
#[action(create, resource = Box, name = "rekindle.scrub")]
struct Pack {}

impl Create for Pack {
    fn create(self, _: &Context) -> Result<Box, Rejection> {
        Ok(Box { id: 1, sealed: true })
    }
}

impl Resource for Box {
    type Id = u64;
    const NAME: &'static str = "shop.box";
    const ATTRIBUTES: &'static [Attribute] = &[
        Attribute { name: "id", id: true, sensitive: false, stored: false },
        Attribute { name: "$sealed", id: false, sensitive: false, stored: false },
    ];
    const SUBJECT: Option<SubjectSpec> = Some(SubjectSpec { attribute: "owner", of: None });

    fn actions() -> Vec<ActionSpec> {
        vec![ActionSpec::of::<Pack>()]
    }

    fn id(&self) -> String {
        self.id.to_string()
    }

    fn identities(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    fn stamp(&mut self, _: bool, _: Timestamp) {}
}

#[tokio::test]
async fn what_is_rekindles_own_is_a_mistake_and_so_is_a_subject_in_no_attribute() {
    has(
        nowhere().resource::<Box>(),
        &[
            r#"the resource "shop.box" has an attribute "$sealed", which is Rekindle's own"#,
            r#"the subject of "shop.box" is in the attribute "owner", which the resource does not have"#,
            r#"the action "rekindle.scrub" of "shop.box" has a name that is Rekindle's own"#,
        ],
    )
    .await;
}

#[tokio::test]
async fn e8_a_log_of_the_name_that_the_vaults_keys_are_under_is_a_mistake() {
    let mistake = r#"the log "rekindle.vault" has a name that is Rekindle's own"#;
    has(nowhere().log("rekindle.vault").resource::<Label>(), &[mistake]).await;
}

#[tokio::test]
async fn what_is_done_with_redacted_events_of_an_unknown_resource_is_a_mistake() {
    let mistake = r#"it is said what a replay does with redacted events of "shop.label", and it is not registered"#;
    has(nowhere().resource::<Account>().on_redacted::<Label>(OnRedacted::Skip), &[mistake]).await;
}
