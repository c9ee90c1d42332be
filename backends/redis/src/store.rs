//! The open store: its connection, and calls that are made again where that is safe.

use std::time::Duration;

use redis::{Cmd, Value};
use rekindle_core::store::{Durability, Watchers};
use rekindle_core::types::LogId;
use rekindle_core::{Error, Result};
use tokio::time::{Instant, sleep};

use crate::config::{Code, RedisConfig};
use crate::error::{Outcome, Refused, indeterminate, outcome, unchanged};
use crate::functions::{self, Function, Way};
use crate::keyed::Keyed;
use crate::keys::Tag;
use crate::link::{Failure, Link};
use crate::server;
use crate::wake::Hints;

/// What is shared by all handles of a store.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) config: RedisConfig,
    pub(crate) link: Link,
    pub(crate) way: Way,
    pub(crate) durability: Durability,
    pub(crate) watchers: Watchers,
    pub(crate) keyed: Keyed,
    pub(crate) hints: Hints,
}

/// Whether a call whose answer was lost may be made again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// It changes nothing.
    None,
    /// Made twice, it does what it does once.
    Idempotent,
    /// It must be made once.
    Once,
}

/// The pauses between attempts: short ones first.
pub(crate) struct Patience {
    until: Instant,
    pause: Duration,
}

impl Patience {
    pub(crate) fn new(patience: Duration) -> Self {
        Self { until: Instant::now() + patience, pause: Duration::from_millis(2) }
    }

    /// Waits a little; `false` if there is no time left.
    pub(crate) async fn wait(&mut self) -> bool {
        if Instant::now() + self.pause > self.until {
            return false;
        }
        self.pause().await;
        true
    }

    /// Waits a little, however long it has been.
    pub(crate) async fn pause(&mut self) {
        sleep(self.pause).await;
        self.pause = (self.pause * 2).min(Duration::from_millis(100));
    }
}

impl Store {
    pub(crate) async fn connect(url: &str, config: RedisConfig) -> Result<Self> {
        let link = Link::new(url, &config).map_err(|error| unchanged(error, false))?;
        let hints = Hints::new(&config, &link);
        let way = if config.code == Code::Scripts { Way::Scripts } else { Way::Functions };
        let mut store = Self {
            link,
            way,
            hints,
            durability: Durability::Process,
            watchers: Watchers::default(),
            keyed: Keyed::default(),
            config,
        };
        store.durability = server::check(&store).await?;
        match store.load_code().await {
            Err(failure) if store.config.code == Code::Auto && has_no_functions(&failure) => {
                store.way = Way::Scripts;
                store.load_code().await.map_err(|failure| unchanged(failure.error, failure.sent))?;
            }
            loaded => loaded.map_err(|failure| unchanged(failure.error, failure.sent))?,
        }
        Ok(store)
    }

    /// Loads Rekindle's code, where it is not there yet.
    async fn load_code(&self) -> Result<(), Failure> {
        let load = match self.way {
            Way::Functions => functions::load_library(),
            Way::Scripts => functions::load_script(),
        };
        match self.link.send_to_all(&load).await {
            Err(failure) if failure.error.detail().is_some_and(|text| text.contains("already exists")) => Ok(()),
            loaded => loaded.map(|_| ()),
        }
    }

    pub(crate) fn tag(&self, log: &LogId) -> Tag {
        Tag::of(&self.config.prefix, log)
    }

    /// Tells the functions whether they are in a cluster.
    pub(crate) fn mode(&self) -> &'static str {
        if self.link.is_cluster() { "c" } else { "s" }
    }

    /// Calls a function, with the arguments that `fill` adds.
    pub(crate) async fn function(
        &self,
        function: Function,
        keys: &[String],
        effect: Effect,
        fill: impl FnOnce(&mut Cmd),
    ) -> Result<Value> {
        let mut call = functions::call(self.way, function, keys);
        fill(&mut call);
        functions::end(self.way, function, &mut call);
        self.call(&call, effect).await
    }

    /// Makes a call, again where it did nothing or may be made twice, as long as there is patience.
    pub(crate) async fn call(&self, call: &Cmd, effect: Effect) -> Result<Value> {
        let mut patience = Patience::new(self.config.patience);
        let mut lost = false;
        loop {
            let failure = match self.link.send(call).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            let again = match self.after(&failure).await? {
                After::Again => true,
                After::Refused => false,
                After::Lost => {
                    lost |= effect != Effect::None;
                    effect != Effect::Once
                }
            };
            if !again || !patience.wait().await {
                return Err(if lost { indeterminate(failure.error) } else { unchanged(failure.error, failure.sent) });
            }
        }
    }

    /// What to do after a failure. Code that is missing is loaded here.
    pub(crate) async fn after(&self, failure: &Failure) -> Result<After> {
        match outcome(&failure.error, failure.sent).0 {
            Outcome::Again => Ok(After::Again),
            Outcome::Refused(_) => Ok(After::Refused),
            Outcome::Lost => Ok(After::Lost),
            Outcome::Load => {
                // If it cannot be loaded now, the next attempt tells why.
                if let Err(failure) = self.load_code().await
                    && let Outcome::Refused(_) = outcome(&failure.error, failure.sent).0
                {
                    return Err(unchanged(failure.error, failure.sent));
                }
                Ok(After::Again)
            }
        }
    }
}

/// What to do after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    Again,
    Refused,
    Lost,
}

fn has_no_functions(failure: &Failure) -> bool {
    let (outcome, _) = outcome(&failure.error, failure.sent);
    matches!(outcome, Outcome::Refused(Refused::Unsupported)) || failure.error.code() == Some("NOPERM")
}

/// The parts of an answer.
pub(crate) fn parts(answer: Value, to: &str) -> Result<Vec<Value>> {
    match answer {
        Value::Array(parts) => Ok(parts),
        _ => Err(crate::error::unexpected(to)),
    }
}

/// An answer that is bytes, or nothing.
pub(crate) fn bytes(value: Value, to: &str) -> Result<Option<Vec<u8>>> {
    match value {
        Value::BulkString(bytes) => Ok(Some(bytes)),
        Value::SimpleString(text) => Ok(Some(text.into_bytes())),
        Value::Int(number) => Ok(Some(number.to_string().into_bytes())),
        Value::Nil => Ok(None),
        _ => Err(crate::error::unexpected(to)),
    }
}

/// An answer that begins with a word: the word, and what follows it.
pub(crate) fn worded(answer: Value, to: &str) -> Result<(String, std::vec::IntoIter<Value>)> {
    let mut parts = parts(answer, to)?.into_iter();
    let word = parts.next().map(|first| text(first, to)).transpose()?;
    let word = word.ok_or_else(|| crate::error::unexpected(to))?;
    Ok((word, parts))
}

/// An answer that is text.
pub(crate) fn text(value: Value, to: &str) -> Result<String> {
    let bytes = bytes(value, to)?.ok_or_else(|| crate::error::unexpected(to))?;
    String::from_utf8(bytes)
        .map_err(|source| Error::corrupt(format!("the answer to {to} is no text")).with_source(source))
}
