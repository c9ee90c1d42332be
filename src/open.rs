//! Opening a log by its URL.

use rekindle_core::engine::{Backend, Builder};
use rekindle_core::{Error, Result};

/// Where it begins: a log, by the URL of its store or on a store that is open.
#[derive(Clone, Copy, Debug)]
pub struct Rekindle;

impl Rekindle {
    /// A log in the store at this URL, opened by [`Builder::start`]:
    ///
    /// | URL | store | feature |
    /// |---|---|---|
    /// | `memory:` | in memory, gone with the process | `memory` |
    /// | `sled:./data` | a folder on this machine's disk | `sled` |
    /// | `postgres://user@host/database` | the schema `rekindle` of a database, which was migrated | `postgres` |
    /// | `redis://user:password@host:port/0` | the keys that begin with `{rekindle:` of a server | `redis` |
    /// | `redis+cluster://host:port,host:port` | those of a cluster, by any of its nodes | `redis` |
    ///
    /// A URL that no backend is compiled in for is an `Unsupported` error of `start`, which names the feature to turn on.
    pub fn open(url: impl Into<String>) -> Builder {
        let url = url.into();
        Builder::opening(async move { backend(&url).await })
    }

    /// A log on a backend that is open: one with settings of its own, or a backend of yours.
    pub fn on(backend: impl Into<Backend>) -> Builder {
        Builder::on(backend)
    }
}

async fn backend(url: &str) -> Result<Backend> {
    let (scheme, rest) = url.split_once(':').unwrap_or((url, ""));
    match scheme {
        #[cfg(feature = "memory")]
        "memory" if rest.is_empty() => Ok(rekindle_memory::MemoryBackend::new().into()),
        #[cfg(feature = "sled")]
        "sled" if !rest.is_empty() => Ok(rekindle_sled::SledBackend::open(rest).await?.into()),
        #[cfg(feature = "postgres")]
        "postgres" | "postgresql" => Ok(rekindle_postgres::PostgresBackend::connect(url).await?.into()),
        #[cfg(feature = "redis")]
        "redis" | "rediss" | "redis+cluster" | "rediss+cluster" => {
            Ok(rekindle_redis::RedisBackend::connect(url).await?.into())
        }
        #[cfg(not(feature = "memory"))]
        "memory" => Err(not_compiled_in("memory")),
        #[cfg(not(feature = "sled"))]
        "sled" => Err(not_compiled_in("sled")),
        #[cfg(not(feature = "postgres"))]
        "postgres" | "postgresql" => Err(not_compiled_in("postgres")),
        #[cfg(not(feature = "redis"))]
        "redis" | "rediss" | "redis+cluster" | "rediss+cluster" => Err(not_compiled_in("redis")),
        // The rest of a URL may hold a password.
        _ => {
            let _ = rest;
            Err(Error::invalid(format!(
                "{scheme:?} is no URL of a store: those are \"memory:\", \"sled:FOLDER\", \"postgres://..\" and \"redis://..\""
            )))
        }
    }
}

#[cfg(not(all(feature = "memory", feature = "sled", feature = "postgres", feature = "redis")))]
fn not_compiled_in(feature: &str) -> Error {
    Error::unsupported(format!(
        "the {feature} backend is not compiled in: turn on the feature {feature:?} of the crate rekindle"
    ))
}
