//! Settings.

use std::fmt;
use std::time::Duration;

use rekindle_core::types::Limits;
use rekindle_core::{Error, Result};

/// The settings of a [`PostgresBackend`](crate::PostgresBackend).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PostgresConfig {
    /// How large things may be.
    pub limits: Limits,
    /// The schema that everything is in. Default: `rekindle`.
    pub schema: Schema,
    /// How commits to one log wait for each other.
    pub lock_mode: LockMode,
    /// How many connections the pool has at the most; 1 is enough. Default: 10. A rebuild that runs, and waiting for a log to
    /// grow, each take one more.
    pub max_connections: u32,
    /// How long a call waits for a connection before it is `Unavailable`. Default: 30 seconds.
    pub acquire_timeout: Duration,
    /// How long a commit waits for a lock that somebody else holds before it is `Unavailable`; `None` leaves it to the
    /// server's `lock_timeout`. Default: 30 seconds.
    pub lock_timeout: Option<Duration>,
    /// How often whoever waits for a log to grow looks by himself. Other processes tell it by `NOTIFY`, but that is a hint,
    /// and hints can be lost. Default: 1 second.
    pub poll_interval: Duration,
    /// Whether other processes are told of commits by `NOTIFY`. Default: they are.
    pub notify: bool,
    /// How many batches under one lock key are sent at once, each over a connection of its own: 1 or 2. `None` leaves it to how
    /// long a round trip to the server takes when it is connected to: below 300 microseconds 1, else 2. With 1, too, the next
    /// batch is made ready while the server is at one; with row locks neither is so. Default: `None`.
    pub sends_at_once: Option<u32>,
}

/// How commits to one log wait for each other, across processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum LockMode {
    /// By `pg_advisory_xact_lock` of the log's lock key. Whatever else takes that lock is serialized with the commits.
    #[default]
    Advisory,
    /// By the lock on the row of the log's head alone: for engines that speak Postgres and have no advisory locks. The lock
    /// key then serializes the commits of this process only.
    Row,
}

/// The name of a schema: 1 to 63 bytes, without NUL and `@`. It may need quotes; it gets them.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Schema(String);

impl Schema {
    /// Checks the name.
    ///
    /// # Errors
    ///
    /// `Invalid` if the name is empty, longer than 63 bytes, or has a NUL or a `@`.
    pub fn new(name: impl Into<String>) -> Result<Self> {
        let name = name.into();
        if name.is_empty() || name.len() > 63 || name.contains(['\0', '@']) {
            return Err(Error::invalid(format!(
                "{name:?} is no name of a schema: it takes 1 to 63 bytes, without NUL and '@'"
            )));
        }
        Ok(Self(name))
    }

    /// The name, as it is.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as SQL writes it, in quotes.
    #[must_use]
    pub fn quoted(&self) -> String {
        format!("\"{}\"", self.0.replace('"', "\"\""))
    }
}

impl Default for Schema {
    fn default() -> Self {
        Self("rekindle".to_owned())
    }
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl fmt::Display for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.quoted())
    }
}

impl Default for PostgresConfig {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            schema: Schema::default(),
            lock_mode: LockMode::default(),
            max_connections: 10,
            acquire_timeout: Duration::from_secs(30),
            lock_timeout: Some(Duration::from_secs(30)),
            poll_interval: Duration::from_secs(1),
            notify: true,
            sends_at_once: None,
        }
    }
}

impl PostgresConfig {
    /// The default settings.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the limits.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets the schema.
    ///
    /// # Errors
    ///
    /// Those of [`Schema::new`].
    pub fn with_schema(mut self, name: impl Into<String>) -> Result<Self> {
        self.schema = Schema::new(name)?;
        Ok(self)
    }

    /// Sets how commits wait for each other.
    #[must_use]
    pub fn with_lock_mode(mut self, mode: LockMode) -> Self {
        self.lock_mode = mode;
        self
    }

    /// Sets [`max_connections`](Self::max_connections); at least 1.
    #[must_use]
    pub fn with_max_connections(mut self, connections: u32) -> Self {
        self.max_connections = connections.max(1);
        self
    }

    /// Sets [`acquire_timeout`](Self::acquire_timeout).
    #[must_use]
    pub fn with_acquire_timeout(mut self, timeout: Duration) -> Self {
        self.acquire_timeout = timeout;
        self
    }

    /// Sets [`lock_timeout`](Self::lock_timeout).
    #[must_use]
    pub fn with_lock_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.lock_timeout = timeout;
        self
    }

    /// Sets [`poll_interval`](Self::poll_interval).
    #[must_use]
    pub fn with_poll_interval(mut self, interval: Duration) -> Self {
        self.poll_interval = interval;
        self
    }

    /// Sets [`notify`](Self::notify).
    #[must_use]
    pub fn with_notify(mut self, notify: bool) -> Self {
        self.notify = notify;
        self
    }

    /// Sets [`sends_at_once`](Self::sends_at_once): to 1 or 2.
    #[must_use]
    pub fn with_sends_at_once(mut self, batches: u32) -> Self {
        self.sends_at_once = Some(batches.clamp(1, 2));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_is_quoted_whatever_it_is_called() {
        assert_eq!(Schema::new(r#"my "own""#).unwrap().quoted(), r#""my ""own""""#);
        for bad in ["", "a\0b", "a@b", &"x".repeat(64)] {
            assert!(Schema::new(bad).is_err(), "{bad:?}");
        }
    }
}
