//! The embedded, on-disk backend of Rekindle, on [sled](https://docs.rs/sled/0.34.7) 0.34.
//!
//! ```no_run
//! # async fn open() -> rekindle_core::Result<()> {
//! use rekindle_sled::{SledBackend, SledConfig, SyncMode};
//!
//! let store = SledBackend::open("./data").await?;
//! let other = SledBackend::open_with("./other", SledConfig::new().with_sync(SyncMode::ProcessCrash)).await?;
//! # Ok(()) }
//! ```
//!
//! **Invariant**: a batch of commits is one batch of sled, with the heads of its logs in it, then one flush, then the
//! answers. So a log is seen before the batch or after it, in the process and after a crash.
//!
//! **Invariant**: all that blocks runs on tokio's blocking threads; so the store needs a tokio runtime. What a call has
//! begun there runs to its end, with its locks, even if the future is dropped.
//!
//! A commit can be read a moment before it is durable; it is answered, and `changed` wakes for it, after. If a write or a
//! sync fails, the store refuses everything from then on, until it is opened again: what the kernel kept is not known then.

mod commit;
mod config;
mod disk;
mod error;
mod event_store;
mod greatest;
mod key_store;
mod keys;
mod open;
mod read;
mod rebuild;
mod resource_store;
mod rows;
mod store;

pub use config::{SledConfig, SyncMode};

use std::path::PathBuf;
use std::sync::Arc;

use rekindle_core::{Error, Result};

use crate::store::Store;

/// A store in one folder. Clones share it: a clone is a second handle. The folder is closed when the last one is dropped
/// and what it began is done.
#[derive(Clone, Debug)]
pub struct SledBackend {
    store: Arc<Store>,
}

impl SledBackend {
    /// Opens the store in this folder, or makes it.
    ///
    /// # Errors
    ///
    /// Those of [`open_with`](Self::open_with).
    pub async fn open(folder: impl Into<PathBuf>) -> Result<Self> {
        Self::open_with(folder, SledConfig::default()).await
    }

    /// Opens the store in this folder, or makes it, with these settings.
    ///
    /// What a rebuild left unfinished when its process ended is removed.
    ///
    /// # Errors
    ///
    /// - `Unavailable`: the folder cannot be read or written, or is open elsewhere.
    /// - `Invalid`: it holds a database of another version of the format.
    /// - `Corrupt`: it holds something else, or the database is damaged.
    pub async fn open_with(folder: impl Into<PathBuf>, config: SledConfig) -> Result<Self> {
        let folder = folder.into();
        let opened = tokio::task::spawn_blocking(move || Store::open(&folder, config)).await;
        let opened = opened.unwrap_or_else(|source| Err(Error::corrupt("sled panicked").with_source(source)));
        Ok(Self { store: Arc::new(opened?) })
    }

    /// Drops this handle. If it is the last one, the folder can be opened again when this returns.
    pub async fn close(self) {
        // A panic of sled while it closes leaves nothing to be told: all that was answered is durable.
        let _ = tokio::task::spawn_blocking(move || drop(self)).await;
    }
}
