//! The words of the design as types: what a backend stores and what it is asked.

mod actor;
mod change;
mod commit;
mod event;
mod json;
mod key;
mod limits;
mod lock;
mod members;
mod name;
mod object;
mod position;
mod query;
mod record;
mod subject;
mod text;
mod time;

pub use actor::Actor;
pub use change::{Changes, diff};
pub use commit::{Change, Check, Commit, Committed, CommittedEvent, Expected, RecordWrite, WriteState};
pub use event::{ActionType, Event, EventId, NewEvent, Payload, Redacted};
pub use json::Json;
pub use key::{KeyGuard, KeyId, KeyRow, KeyVersion, KeyWrite};
pub use limits::Limits;
pub use lock::{DefaultLockKeys, LockKey, LockKeys};
pub use name::{ActionName, ActorKind, LogId, LogName, ResourceName, Tenant};
pub use object::JsonObject;
pub use position::{Generation, Position, Revision};
pub use query::{EventQuery, Order, Page, RecordCursor, RecordQuery};
pub use record::{Identity, IdentityValue, Record, RecordId, RecordKey};
pub use subject::Subject;
pub use time::Timestamp;
