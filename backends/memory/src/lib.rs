//! The in-memory backend of Rekindle: the reference for backend authors, and the store for tests.
//!
//! It keeps everything in ordered maps behind one lock, and passes the whole conformance suite. Nothing outlives the
//! process: its durability is [`Durability::Process`](rekindle_core::store::Durability::Process).

mod config;
mod event_store;
mod key_store;
mod resource_store;
mod state;

pub use config::MemoryConfig;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rekindle_core::store::{Locks, Watchers};

use crate::state::State;

/// A store in memory. Clones share their content: a clone is a second handle.
#[derive(Clone, Debug, Default)]
pub struct MemoryBackend {
    config: MemoryConfig,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    locks: Locks,
    watchers: Watchers,
}

impl MemoryBackend {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty store with these settings.
    #[must_use]
    pub fn with_config(config: MemoryConfig) -> Self {
        Self { config, shared: Arc::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
