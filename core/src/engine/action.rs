//! Actions: the only way in which records change.

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::context::Context;
use super::resource::Resource;
use crate::error::{Error, ErrorKind, Result};
use crate::types::{ActionType, Json};

/// An input, and what is done with it. Derive it: `#[derive(Action)]`, and implement [`Create`], [`Update`] or [`Destroy`].
///
/// It must serialize to a JSON object, which is stored as the event's data, and read back from it.
pub trait Action: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The resource that it is run on.
    type Resource: Resource;

    /// The name under which its events are stored.
    const NAME: &'static str;

    /// What it does to its record.
    const KIND: ActionKind;

    /// The names of the inputs that events hold null in the place of, beside the sensitive attributes of the resource.
    const SENSITIVE: &'static [&'static str] = &[];

    /// The version of its input: raise it when the input changes its form, and route the old one.
    const VERSION: u32;

    /// For an upsert: the name and the value of the identity whose owner is changed, if there is one. `None` for all others.
    fn looks_for(&self) -> Option<(&'static str, String)> {
        None
    }

    /// Runs the body: what the record is after it, `None` if it is gone. The derive implements it by [`Create`], [`Update`],
    /// [`Upsert`], [`Destroy`] or [`SoftDestroy`].
    ///
    /// # Errors
    ///
    /// A [`Rejection`] by the body; `before` is `None` where a record is made, and nowhere else.
    fn apply(self, before: Option<Self::Resource>, cx: &Context) -> Result<Option<Self::Resource>, Rejection>;
}

/// What an action does to its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActionKind {
    /// Creates it.
    Create,
    /// Changes the record that owns an identity, or creates one if none does.
    Upsert,
    /// Changes it.
    Update,
    /// Destroys it: it is gone.
    Destroy,
    /// Destroys it in name: it stays, changed.
    SoftDestroy,
}

impl ActionKind {
    /// The type that its events have, if a record was there before it or not.
    #[must_use]
    pub const fn action_type(self, existed: bool) -> ActionType {
        match self {
            Self::Create => ActionType::Create,
            Self::Upsert if existed => ActionType::Update,
            Self::Upsert => ActionType::Create,
            Self::Update => ActionType::Update,
            Self::Destroy | Self::SoftDestroy => ActionType::Destroy,
        }
    }
}

impl fmt::Display for ActionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Create => "create",
            Self::Upsert => "upsert",
            Self::Update => "update",
            Self::Destroy => "destroy",
            Self::SoftDestroy => "soft destroy",
        })
    }
}

/// The body of an action that creates a record.
pub trait Create: Action {
    /// Makes the record. It is pure: no I/O, no clock, no randomness but those of the context.
    ///
    /// # Errors
    ///
    /// A [`Rejection`] if the input will not do; nothing is written then.
    fn create(self, cx: &Context) -> Result<Self::Resource, Rejection>;
}

/// The body of an action that changes a record.
pub trait Update: Action {
    /// Changes the record. It is pure: no I/O, no clock, no randomness but those of the context.
    ///
    /// # Errors
    ///
    /// A [`Rejection`] if the input or the record will not do; nothing is written then.
    fn update(self, record: &mut Self::Resource, cx: &Context) -> Result<(), Rejection>;
}

/// The body of an action that destroys a record.
pub trait Destroy: Action {
    /// Checks that the record may be destroyed. It is pure.
    ///
    /// # Errors
    ///
    /// A [`Rejection`] if it may not; nothing is written then.
    fn destroy(self, record: &Self::Resource, cx: &Context) -> Result<(), Rejection> {
        let _ = (record, cx);
        Ok(())
    }
}

/// An action that creates a record, or changes the one that owns an identity: its bodies are [`Create`] and [`Update`].
pub trait Upsert: Create + Update {
    /// The name of the identity, and the value that the record owns: as it is stored, such as an address in lower case.
    fn identity(&self) -> (&'static str, String);
}

/// The body of an action that destroys a record in name: the record stays, with a mark of it.
pub trait SoftDestroy: Action {
    /// Marks the record. It is pure: no I/O, no clock, no randomness but those of the context.
    ///
    /// # Errors
    ///
    /// A [`Rejection`] if it may not be destroyed, or is so already; nothing is written then.
    fn destroy(self, record: &mut Self::Resource, cx: &Context) -> Result<(), Rejection>;
}

/// An action's own refusal, in words for whoever ran it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection(String);

impl Rejection {
    /// A refusal with this message.
    pub fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Rejection {}

impl From<Rejection> for Error {
    fn from(rejection: Rejection) -> Self {
        Self::new(ErrorKind::Rejected, rejection.0)
    }
}

/// An action with its types erased: what a resource lists, and what a replay runs.
#[derive(Clone, Copy)]
pub struct ActionSpec {
    pub(crate) name: &'static str,
    pub(crate) resource: &'static str,
    pub(crate) kind: ActionKind,
    pub(crate) version: u32,
    pub(crate) sensitive: &'static [&'static str],
    pub(crate) run: fn(&Json, Option<&Json>, &Context) -> Result<Option<Json>>,
}

impl ActionSpec {
    /// The action `A`.
    #[must_use]
    pub fn of<A: Action>() -> Self {
        fn run<A: Action>(input: &Json, before: Option<&Json>, cx: &Context) -> Result<Option<Json>> {
            let action: A = input.to_value().map_err(|error| {
                Error::invalid(format!("the input does not fit the action {:?}", A::NAME)).with_source(error)
            })?;
            let created = before.is_none();
            let before = before.map(Json::to_value).transpose()?;
            let mut after = action.apply(before, cx)?;
            if let Some(record) = &mut after {
                record.stamp(created, cx.now);
            }
            after.as_ref().map(Json::from_value).transpose()
        }
        Self {
            name: A::NAME,
            resource: A::Resource::NAME,
            kind: A::KIND,
            version: A::VERSION,
            sensitive: A::SENSITIVE,
            run: run::<A>,
        }
    }

    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The version of its input.
    #[must_use]
    pub const fn version(&self) -> u32 {
        self.version
    }
}

impl fmt::Debug for ActionSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{} ({}, version {})", self.resource, self.name, self.kind, self.version)
    }
}
