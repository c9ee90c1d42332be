//! The Postgres backend of Rekindle, on [sqlx](https://docs.rs/sqlx). PostgreSQL 13 and later.
//!
//! ```no_run
//! # async fn open() -> rekindle_core::Result<()> {
//! use rekindle_postgres::{LockMode, PostgresBackend, PostgresConfig};
//!
//! let config = PostgresConfig::new().with_schema("audit")?.with_max_connections(20);
//! PostgresBackend::migrate("postgres://localhost/shop", &config).await?; // once, by whoever deploys
//! let store = PostgresBackend::connect_with("postgres://localhost/shop", config).await?;
//! # Ok(()) }
//! ```
//!
//! **Invariant**: a batch of commits is written by one call of one function, in one transaction: it takes the log's lock,
//! compares and counts up the version of each log that changes, and writes. So nothing that the batch was decided on can have
//! changed.
//!
//! **Invariant**: what changes something runs in a task of its own, and is carried through even if the future is dropped. No
//! connection goes back to the pool with a transaction open.
//!
//! **Invariant**: the backend has a pool of its own. A transaction that other code left open in a shared one would swallow
//! commits.

mod append;
mod batch;
mod commit;
mod composite;
mod config;
mod copy;
mod error;
mod event_store;
mod expected;
mod foresight;
mod generations;
mod heads;
mod kept;
mod key_store;
mod lists;
mod load;
mod migrate;
mod open;
mod read;
mod rebuild;
mod resource_store;
mod rows;
mod sql;
mod store;
mod transaction;
mod turn;
mod view;
mod wake;
mod write;

pub use config::{LockMode, PostgresConfig, Schema};
pub use migrate::Migration;
pub use open::PostgresBackend;
