//! What is expected of an event: its action, and its data.

use std::fmt;

use rekindle_core::engine::{Action, Resource};
use rekindle_core::types::{Event, Json, Payload};
use serde::Serialize;

/// An action as an event tells of it: its name, and its data.
#[derive(Clone)]
pub struct Recorded {
    action: String,
    data: Json,
}

impl Recorded {
    /// An action of this name, with data that is written as this value is.
    ///
    /// # Panics
    ///
    /// If the value is not written as a JSON object.
    #[track_caller]
    pub fn new(action: impl Into<String>, data: impl Serialize) -> Self {
        let action = action.into();
        match Json::from_value(&data) {
            Ok(data) => Self { action, data },
            Err(error) => panic!("expected: {action:?} with data that is a JSON object\nfound: {error}"),
        }
    }

    /// An action as its event holds it: with null in the place of what is sensitive.
    ///
    /// # Panics
    ///
    /// If the action is not written as a JSON object.
    #[track_caller]
    pub fn of<A: Action>(action: &A) -> Self {
        let mut recorded = Self::new(A::NAME, action);
        let hidden = A::Resource::ATTRIBUTES.iter().filter(|attribute| attribute.sensitive && !attribute.stored);
        let hidden: Vec<_> = hidden.map(|attribute| attribute.name).chain(A::SENSITIVE.iter().copied()).collect();
        let nulled = recorded.data.to_object().and_then(|mut data| {
            for name in hidden {
                if data.contains(name) {
                    data.set(name, &())?;
                }
            }
            data.to_json()
        });
        match nulled {
            Ok(data) => recorded.data = data,
            Err(error) => panic!("expected: an action of a readable form\nfound: {error}"),
        }
        recorded
    }

    /// Whether an event tells of it.
    pub(super) fn is(&self, event: &Event) -> bool {
        let same = |data: &Payload| data.json().is_ok_and(|data| data.same_value(&self.data));
        event.action.as_str() == self.action && same(&event.data)
    }
}

impl fmt::Display for Recorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.action, self.data)
    }
}

impl fmt::Debug for Recorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
