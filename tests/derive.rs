//! What the derives make, and what they refuse.

#![cfg(feature = "derive")]
#![allow(clippy::unwrap_used, reason = "tests")]

use rekindle::{Action, ActionKind, Attribute, Context, Create, Destroy, Rejection, Resource, Timestamp, Update};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Resource)]
#[resource(name = "accounts.user", actions(Register, RenameUser, actions::Close))]
#[serde(rename_all = "camelCase")]
struct User {
    #[resource(id)]
    user_id: u64,
    #[resource(identity)]
    email: String,
    #[resource(identity, sensitive)]
    #[serde(rename = "TAX")]
    tax_id: Option<u32>,
    #[resource(created_at)]
    inserted_at: Timestamp,
    #[resource(updated_at)]
    r#ref: Option<Timestamp>,
    #[serde(skip)]
    cached: bool,
}

fn user() -> User {
    User {
        user_id: 7,
        email: "ada@example.org".to_owned(),
        tax_id: None,
        inserted_at: Timestamp::EPOCH,
        r#ref: None,
        cached: true,
    }
}

#[derive(Serialize, Deserialize, Action)]
#[action(create, resource = User, version = 2)]
struct Register {
    email: String,
}

impl Create for Register {
    fn create(self, _: &Context) -> Result<User, Rejection> {
        Ok(User { email: self.email, ..user() })
    }
}

#[derive(Serialize, Deserialize, Action)]
#[action(update, resource = User)]
struct RenameUser {
    email: String,
}

impl Update for RenameUser {
    fn update(self, user: &mut User, _: &Context) -> Result<(), Rejection> {
        user.email = self.email;
        Ok(())
    }
}

mod actions {
    use super::{Action, Destroy};

    #[derive(serde::Serialize, serde::Deserialize, Action)]
    #[action(destroy)]
    #[action(resource = super::User, name = "close-it", crate = ::rekindle)]
    pub(super) struct Close {}

    impl Destroy for Close {}
}

/// A resource may do with as little as this.
#[derive(Serialize, Deserialize, Resource)]
#[resource(name = "note", crate = rekindle)]
struct Note {
    #[resource(id)]
    id: String,
}

#[test]
fn a_resource_knows_its_attributes_by_their_json_names() {
    let plain = |name| Attribute { name, id: false, sensitive: false, stored: false };
    let id = |name| Attribute { name, id: true, sensitive: false, stored: false };
    let tax = Attribute { name: "TAX", id: false, sensitive: true, stored: false };
    assert_eq!(User::NAME, "accounts.user");
    assert_eq!(User::ATTRIBUTES, [id("userId"), plain("email"), tax, plain("insertedAt"), plain("ref")]);
    let json = serde_json::to_value(user()).unwrap();
    let members: Vec<&str> = json.as_object().unwrap().keys().map(String::as_str).collect();
    let mut attributes: Vec<&str> = User::ATTRIBUTES.iter().map(|attribute| attribute.name).collect();
    attributes.sort_unstable();
    assert_eq!(attributes, members);
    assert_eq!(Note::ATTRIBUTES, [id("id")]);
}

#[test]
fn a_resource_knows_its_id_and_its_identities() {
    let mut user = user();
    assert_eq!(user.id(), "7");
    assert_eq!(user.identities(), [("email", "ada@example.org".to_owned())]);
    user.tax_id = Some(12);
    assert_eq!(user.identities(), [("email", "ada@example.org".to_owned()), ("TAX", "12".to_owned())]);
    let note = Note { id: "n".to_owned() };
    assert_eq!((note.id(), note.identities()), ("n".to_owned(), vec![]));
}

#[test]
fn a_resource_is_stamped_by_what_happened() {
    let at = Timestamp::from_seconds(1).unwrap();
    let later = Timestamp::from_seconds(2).unwrap();
    let mut user = user();
    user.stamp(true, at);
    assert_eq!((user.inserted_at, user.r#ref), (at, Some(at)));
    user.stamp(false, later);
    assert_eq!((user.inserted_at, user.r#ref), (at, Some(later)));
    Note { id: String::new() }.stamp(true, at);
}

#[test]
fn a_resource_lists_its_actions() {
    let names: Vec<_> = User::actions().iter().map(|action| (action.name(), action.version())).collect();
    assert_eq!(names, [("register", 2), ("rename_user", 1), ("close-it", 1)]);
    assert!(Note::actions().is_empty());
}

#[test]
fn an_action_says_what_it_does() {
    assert_eq!((Register::NAME, Register::KIND, Register::VERSION), ("register", ActionKind::Create, 2));
    assert_eq!((RenameUser::NAME, RenameUser::KIND, RenameUser::VERSION), ("rename_user", ActionKind::Update, 1));
    assert_eq!((actions::Close::NAME, actions::Close::KIND), ("close-it", ActionKind::Destroy));
}

#[cfg(feature = "memory")]
#[tokio::test]
async fn an_action_is_rejected_without_the_record_that_it_needs_or_with_one_that_it_does_not() {
    let log = rekindle::Rekindle::open("memory:").resource::<User>().start().await.unwrap();
    let unit = log.as_system("test").begin().unwrap();
    let cx = unit.context();
    let register = || Register { email: String::new() };
    let rename = || RenameUser { email: "new".to_owned() };
    assert_eq!(register().apply(None, cx).unwrap().unwrap().email, "");
    assert_eq!(rename().apply(Some(user()), cx).unwrap().unwrap().email, "new");
    assert_eq!(actions::Close {}.apply(Some(user()), cx).unwrap(), None);

    let refusals = [
        register().apply(Some(user()), cx).unwrap_err(),
        rename().apply(None, cx).unwrap_err(),
        actions::Close {}.apply(None, cx).unwrap_err(),
    ];
    assert_eq!(
        refusals.map(|refusal| refusal.to_string()),
        [
            "the action \"register\" creates a record, and was run on one that is there",
            "the action \"rename_user\" changes a record, and was run without one",
            "the action \"close-it\" destroys a record, and was run without one",
        ]
    );
}

#[test]
fn refusals_of_bad_code_say_why() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/ui/*.rs");
}
