//! The Redis backend of Rekindle, on the [redis](https://docs.rs/redis) crate. Redis 7 and Valkey, standalone and cluster.
//!
//! ```no_run
//! # async fn open() -> rekindle_core::Result<()> {
//! use rekindle_core::store::Durability;
//! use rekindle_redis::{RedisBackend, RedisConfig};
//!
//! let store = RedisBackend::connect("redis://localhost").await?;
//! let config = RedisConfig::new().with_prefix("audit").with_durability(Durability::PowerLoss);
//! let cluster = RedisBackend::connect_with("redis+cluster://node-1:6379,node-2:6379", config).await?;
//! # Ok(()) }
//! ```
//!
//! **Invariant**: a batch of commits to one log is one call of one function on the server. It reads, decides commit by commit,
//! and writes at its end, all in one step; so nothing that it decided on can have changed, and nothing is written halfway.
//!
//! **Invariant**: all keys of a log are in one slot, and begin with the prefix. No command looks through the keyspace.
//!
//! **Invariant**: a call is made again only if it did nothing, or if making it twice is making it once. A commit whose answer
//! was lost is made again by its event ids; one without events is `Indeterminate`.
//!
//! What survives a commit is read from the server's settings when the store is opened, and is what
//! [`StoreInfo::durability`](rekindle_core::store::StoreInfo::durability) says.

mod answer;
mod batch;
mod commit;
mod config;
mod error;
mod event_store;
mod functions;
mod key_store;
mod keyed;
mod keys;
mod lease;
mod link;
mod lock;
mod names;
mod read;
mod rebuild;
mod resource_store;
mod rows;
mod server;
mod store;
mod waiting;
mod wake;

pub use config::{Code, RedisConfig, Replicas};

use std::sync::Arc;

use rekindle_core::Result;

use crate::store::Store;

/// A store on a server or a cluster. Clones share their connections.
#[derive(Clone, Debug)]
pub struct RedisBackend {
    store: Arc<Store>,
}

impl RedisBackend {
    /// Connects to the server at this URL.
    ///
    /// # Errors
    ///
    /// Those of [`connect_with`](Self::connect_with).
    pub async fn connect(url: &str) -> Result<Self> {
        Self::connect_with(url, RedisConfig::default()).await
    }

    /// Connects to the server at this URL, with these settings.
    ///
    /// The URL of a server is `redis://user:password@host:port/database`; `rediss://` takes the feature `tls`. That of a
    /// cluster is `redis+cluster://user:password@host:port,host:port`, with any of its nodes.
    ///
    /// It reads the server's settings, and loads Rekindle's functions where they are not there yet.
    ///
    /// # Errors
    ///
    /// - `Unavailable`: the server cannot be reached.
    /// - `Invalid`: the URL is wrong; the server refuses the user; it is a replica; it gives less than the durability that is
    ///   asked for; it can drop events when its memory is full; or it does not tell its settings, and the durability was not
    ///   said.
    /// - `Unsupported`: it knows neither functions nor scripts.
    ///
    /// # Cancel safety
    ///
    /// Dropped, the functions may be on the server.
    pub async fn connect_with(url: &str, config: RedisConfig) -> Result<Self> {
        Ok(Self { store: Arc::new(Store::connect(url, config).await?) })
    }
}
