//! What the body of an action may know of the world.

use std::fmt;
use std::sync::Arc;

use uuid::Uuid;

use crate::types::{Actor, Event, EventId, Timestamp};

/// Where the time comes from.
pub trait Clock: Send + Sync + 'static {
    /// The present.
    fn now(&self) -> Timestamp;
}

/// Where ids come from.
pub trait IdSource: Send + Sync + 'static {
    /// A new unique id: for events it should be a UUID of version 7.
    fn next(&self) -> Uuid;
}

/// The system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// UUIDs of version 7, by the system's clock and randomness.
#[derive(Clone, Copy, Debug, Default)]
pub struct RandomIds;

impl IdSource for RandomIds {
    fn next(&self) -> Uuid {
        Uuid::now_v7()
    }
}

/// What the body of an action may know of the world: who runs it, when, and new ids.
#[derive(Clone)]
pub struct Context {
    pub(crate) actor: Option<Actor>,
    pub(crate) now: Timestamp,
    pub(crate) ids: Arc<dyn IdSource>,
}

impl Context {
    /// Who runs the action; `None` is an anonymous actor.
    #[must_use]
    pub fn actor(&self) -> Option<&Actor> {
        self.actor.as_ref()
    }

    /// When it is run: the event's `occurred_at`.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// A new UUID. What a record keeps of it is in the changed attributes of its event, so a replay brings the same back.
    #[must_use]
    pub fn new_uuid(&self) -> Uuid {
        self.ids.next()
    }

    /// That of an event, for what is run again on replay.
    pub(crate) fn of_event(event: &Event) -> Self {
        Self { actor: event.actor.clone(), now: event.occurred_at, ids: Arc::new(RandomIds) }
    }

    pub(crate) fn new_event_id(&self) -> EventId {
        EventId::from_uuid(self.ids.next())
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("actor", &self.actor).field("now", &self.now).finish_non_exhaustive()
    }
}
