//! The engine: actions on resources, sessions bound to an actor, and replay.

mod action;
mod context;
mod resource;

pub use action::{Action, ActionSpec, Create, Destroy, Rejection, Update};
pub use context::{Clock, Context, IdSource, RandomIds, SystemClock};
pub use resource::{Attribute, Resource};
