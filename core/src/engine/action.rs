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
    const TYPE: ActionType;

    /// The version of its input: raise it when the input changes its form, and route the old one.
    const VERSION: u32;

    /// Runs the body: what the record is after it, `None` if it is destroyed. The derive implements it by [`Create`],
    /// [`Update`] or [`Destroy`].
    ///
    /// # Errors
    ///
    /// A [`Rejection`] by the body; `before` is `None` for a create, and for nothing else.
    fn apply(self, before: Option<Self::Resource>, cx: &Context) -> Result<Option<Self::Resource>, Rejection>;
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
    pub(crate) action_type: ActionType,
    pub(crate) version: u32,
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
            let before = before.map(Json::to_value).transpose()?;
            let mut after = action.apply(before, cx)?;
            if let Some(record) = &mut after {
                record.stamp(A::TYPE == ActionType::Create, cx.now);
            }
            after.as_ref().map(Json::from_value).transpose()
        }
        Self { name: A::NAME, resource: A::Resource::NAME, action_type: A::TYPE, version: A::VERSION, run: run::<A> }
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
        write!(f, "{}.{} ({}, version {})", self.resource, self.name, self.action_type, self.version)
    }
}
