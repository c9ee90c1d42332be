//! The engine: actions on resources, sessions bound to an actor, and replay.
//!
//! A [`Session`] runs an [`Action`] in a [`Unit`] of work, which becomes one [`Commit`](crate::types::Commit). The
//! committer task gathers the commits of all callers and hands them to the store together. A [`Replay`] folds events into
//! records and loads those.

mod action;
mod builder;
mod bulk;
mod committer;
mod context;
mod fold;
mod forget;
mod hook;
mod log;
mod opened;
mod past;
mod policy;
mod public;
mod registry;
mod replay;
mod resource;
mod rewound;
mod sealed_commit;
mod sealer;
mod session;
mod unit;

pub use action::{Action, ActionKind, ActionSpec, Create, Destroy, Rejection, SoftDestroy, Update, Upsert};
pub use builder::{Backend, Builder, Route};
pub use context::{Clock, Context, IdSource, RandomIds, SystemClock};
pub use forget::Receipt;
pub use hook::{Call, Hook, Next, NextTransaction, Transaction};
pub use log::Log;
pub use past::{AsOf, AttributeChange, Past, Revised};
pub use policy::Policy;
pub use public::PublicFields;
pub use registry::OnRedacted;
pub use replay::{
    ClearRecords, Difference, Drift, Handling, Plan, Planned, Progress, Progressed, Replay, Replayed, Verified,
};
pub use resource::{Attribute, IdentitySpec, Resource, SubjectSpec, compound};
pub use session::{AsActor, Session};
pub use unit::Unit;
