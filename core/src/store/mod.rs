//! The traits that a backend implements, and those that its users call.

pub mod decide;
mod event_store;
mod ext;
mod forward;
mod info;
mod key_store;
mod locks;
mod rebuild;
mod resource_store;
mod watch;

pub use event_store::{EventStore, Head, LogState};
pub use ext::{EventStoreExt, ResourceStoreExt};
pub use info::{Durability, StoreInfo};
pub use key_store::KeyStore;
pub use locks::{Locks, LocksHeld};
pub use rebuild::{Fence, LoadedRecord, Rebuild, RebuildMode};
pub use resource_store::ResourceStore;
pub use watch::Watchers;

/// What a whole backend is: both traits. Implemented for everything that implements them.
pub trait Store: EventStore + ResourceStore {}

impl<T: EventStore + ResourceStore + ?Sized> Store for T {}

const _: Option<&dyn EventStore> = None;
const _: Option<&dyn ResourceStore> = None;
const _: Option<&dyn KeyStore> = None;
const _: Option<&dyn Store> = None;
