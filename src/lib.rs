#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(all(doctest, feature = "memory", feature = "derive"))]
mod guides;
mod open;
#[cfg(feature = "memory")]
pub mod testing;

#[cfg(feature = "memory")]
pub mod memory {
    //! The in-memory backend: feature `memory`.
    pub use rekindle_memory::*;
}

#[cfg(feature = "postgres")]
pub mod postgres {
    //! The backend on PostgreSQL: feature `postgres`; with `postgres-tls` its connections can be encrypted.
    pub use rekindle_postgres::*;
}

#[cfg(feature = "redis")]
pub mod redis {
    //! The backend on Redis and Valkey, standalone and cluster: feature `redis`; with `redis-tls` its connections can be
    //! encrypted.
    pub use rekindle_redis::*;
}

#[cfg(feature = "sled")]
pub mod sled {
    //! The embedded, on-disk backend: feature `sled`.
    pub use rekindle_sled::*;
}

pub use open::Rekindle;
pub use rekindle_core::engine::*;
pub use rekindle_core::types::{
    ActionType, Actor, Committed, DefaultLockKeys, Event, EventId, EventQuery, Json, JsonObject, Limits, LockKey,
    LockKeys, LogId, Order, Position, Record, Redacted, Revision, Subject, Timestamp,
};
pub use rekindle_core::vault::{KekProvider, Keks, SecretKey, SubjectStatus, Vault, VaultConfig};
pub use rekindle_core::{Error, ErrorKind, Result, VaultFault, engine, store, types, vault};
#[cfg(feature = "derive")]
pub use rekindle_derive::{Action, Resource};

/// What the derives' code is made of. No part of the public API.
#[doc(hidden)]
pub mod __private {
    pub use rekindle_core::{engine, error, types};
}
