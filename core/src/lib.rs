//! The backend-agnostic core of Rekindle: the [storage traits](store), [their types](types), and the [engine] of actions,
//! sessions and replay.
//!
//! Whoever *uses* Rekindle takes the `rekindle` facade. Whoever writes a backend implements
//! [`EventStore`](store::EventStore) and [`ResourceStore`](store::ResourceStore), and proves it with
//! `rekindle-conformance`.

pub mod codec;
pub mod engine;
pub mod error;
pub mod store;
pub mod types;
pub mod vault;

pub use error::{Error, ErrorKind, Result, VaultFault};
