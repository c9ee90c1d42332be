//! Settings.

use std::time::Duration;

use rekindle_core::store::Durability;
use rekindle_core::types::Limits;

/// The settings of a [`RedisBackend`](crate::RedisBackend).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RedisConfig {
    /// How large things may be.
    pub limits: Limits,
    /// What every key and channel begins with, in braces: `{rekindle:...`. Any text. Default: `rekindle`.
    pub prefix: String,
    /// What a commit must survive. A server whose settings give less is refused, by a message that names the setting. Where
    /// the server does not tell its settings (`CONFIG` is forbidden), this must be said, and is believed. Default: not said.
    pub durability: Option<Durability>,
    /// The replicas that must have a commit before it is answered, by `WAIT`. Default: none.
    pub replicas: Option<Replicas>,
    /// How long an answer is waited for; where a commit waits for replicas, after that. Then a commit is asked again by its
    /// event ids. Default: 10 seconds; the client's own, half a second, would make every slow sync of the disk an open
    /// question.
    pub response_timeout: Duration,
    /// How long making a connection may take. Default: 5 seconds.
    pub connection_timeout: Duration,
    /// How long a call goes on trying while the server is starting, busy, or moving things. Default: 10 seconds.
    pub patience: Duration,
    /// For how long a rebuild and a fence hold without a sign of life of their process. Default: 15 seconds.
    pub lease: Duration,
    /// How often whoever waits for a log to grow looks by himself. Other processes tell it by a message, but that is a hint,
    /// and hints can be lost. Default: 1 second.
    pub poll_interval: Duration,
    /// Whether other processes are told of commits by a message on a channel. Default: they are.
    pub publish: bool,
    /// How the server runs Rekindle's code.
    pub code: Code,
}

/// The replicas that must have a commit before it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replicas {
    /// How many.
    pub count: u32,
    /// How long they are waited for. A commit that too few have by then is `Indeterminate`: it is made, and it could be lost.
    pub timeout: Duration,
}

/// How the server runs Rekindle's code.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Code {
    /// As functions where there are functions, else as scripts.
    #[default]
    Auto,
    /// As a library of functions (`FUNCTION LOAD`, Redis 7).
    Functions,
    /// As a script (`EVALSHA`).
    Scripts,
}

impl Default for RedisConfig {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            prefix: "rekindle".to_owned(),
            durability: None,
            replicas: None,
            response_timeout: Duration::from_secs(10),
            connection_timeout: Duration::from_secs(5),
            patience: Duration::from_secs(10),
            lease: Duration::from_secs(15),
            poll_interval: Duration::from_secs(1),
            publish: true,
            code: Code::default(),
        }
    }
}

/// Declares the setters.
macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident: $field:ident: $type:ty;)*) => {
        $($(#[$doc])*
        #[must_use]
        pub fn $name(mut self, $field: $type) -> Self {
            self.$field = $field;
            self
        })*
    };
}

impl RedisConfig {
    /// The default settings.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets [`prefix`](Self::prefix).
    #[must_use]
    pub fn with_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Sets [`durability`](Self::durability).
    #[must_use]
    pub fn with_durability(mut self, durability: Durability) -> Self {
        self.durability = Some(durability);
        self
    }

    /// Sets [`replicas`](Self::replicas).
    #[must_use]
    pub fn with_replicas(mut self, count: u32, timeout: Duration) -> Self {
        self.replicas = Some(Replicas { count, timeout });
        self
    }

    /// Sets [`lease`](Self::lease); at least a tenth of a second.
    #[must_use]
    pub fn with_lease(mut self, lease: Duration) -> Self {
        self.lease = lease.max(Duration::from_millis(100));
        self
    }

    setters! {
        /// Sets the limits.
        with_limits: limits: Limits;
        /// Sets [`response_timeout`](Self::response_timeout).
        with_response_timeout: response_timeout: Duration;
        /// Sets [`connection_timeout`](Self::connection_timeout).
        with_connection_timeout: connection_timeout: Duration;
        /// Sets [`patience`](Self::patience).
        with_patience: patience: Duration;
        /// Sets [`poll_interval`](Self::poll_interval).
        with_poll_interval: poll_interval: Duration;
        /// Sets [`publish`](Self::publish).
        with_publish: publish: bool;
        /// Sets [`code`](Self::code).
        with_code: code: Code;
    }
}
