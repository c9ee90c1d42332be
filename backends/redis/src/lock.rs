//! Lock keys: a log is entered under its key once, and waits while the key is fenced.

use std::sync::Arc;

use redis::Value;
use rekindle_core::Result;

use crate::error::unexpected;
use crate::functions;
use crate::keys::{self, Tag};
use crate::lease::{Lease, take_dropped};
use crate::store::{Effect, Patience, Store, text, worded};

/// What stands in the way of a change, as the functions tell it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum InTheWay {
    /// The lock key is fenced, by this token.
    Fenced { lock: String, token: String },
    /// The log has not been entered under the lock key yet.
    Unknown { lock: String },
}

impl InTheWay {
    /// Reads an answer, if it is one of these.
    pub(crate) fn of(answer: &Value) -> Option<Self> {
        let Value::Array(parts) = answer else { return None };
        let text = |at: usize| match parts.get(at) {
            Some(Value::BulkString(bytes)) => std::str::from_utf8(bytes).ok().map(str::to_owned),
            _ => None,
        };
        match text(0)?.as_str() {
            "FENCED" => Some(Self::Fenced { lock: text(1)?, token: text(2)? }),
            "UNKNOWN" => Some(Self::Unknown { lock: text(1)? }),
            _ => None,
        }
    }
}

impl Store {
    /// Waits until something that stood in the way of a log may be gone.
    pub(crate) async fn clear_the_way(&self, tag: &Tag, in_the_way: InTheWay, patience: &mut Patience) -> Result<()> {
        match in_the_way {
            InTheWay::Fenced { lock, token } => {
                if !take_dropped(self, &tag.fence(&lock), &token).await? {
                    // As long as the fence lasts, and no longer than its lease.
                    patience.pause().await;
                }
                Ok(())
            }
            InTheWay::Unknown { lock } => self.enter(tag, &lock).await,
        }
    }

    /// Enters a log under a lock key, so that a fence of that key finds it.
    async fn enter(&self, tag: &Tag, lock: &str) -> Result<()> {
        let of_lock = keys::of_lock(&self.config.prefix, lock);
        let mut patience = Patience::new(self.config.patience);
        loop {
            let answer = self
                .function(functions::ENTER_LOG, &of_lock, Effect::Idempotent, |call| {
                    call.arg(self.mode()).arg(tag.as_str());
                })
                .await?;
            match worded(answer, "enter_log")? {
                (word, _) if word == "DONE" => break,
                (word, mut rest) if word == "FENCED" => {
                    let token = rest.next().ok_or_else(|| unexpected("enter_log"))?;
                    if !take_dropped(self, &of_lock[1], &text(token, "enter_log")?).await? {
                        patience.pause().await;
                    }
                }
                _ => return Err(unexpected("enter_log")),
            }
        }
        self.function(functions::ENTERED, &[tag.head()], Effect::Idempotent, |call| {
            call.arg(lock);
        })
        .await
        .map(|_| ())
    }

    /// Fences a lock key: first by itself, then in the slot of each of its logs.
    pub(crate) async fn fence(self: &Arc<Self>, tag: &Tag, lock: &str) -> Result<Lease> {
        let of_lock = keys::of_lock(&self.config.prefix, lock);
        let lease = Lease::new(self);
        let time = self.config.lease.as_millis().to_string();
        lease.covers(of_lock[1].clone());
        let mut patience = Patience::new(self.config.patience);
        let logs = loop {
            let answer = self
                .function(functions::FENCE_LOCK, &of_lock, Effect::Idempotent, |call| {
                    call.arg(self.mode()).arg(lease.token()).arg(&time);
                })
                .await?;
            match worded(answer, "fence_lock")? {
                (word, logs) if word == "DONE" => break logs,
                (word, mut rest) if word == "FENCED" => {
                    let token = rest.next().ok_or_else(|| unexpected("fence_lock"))?;
                    if !take_dropped(self, &of_lock[1], &text(token, "fence_lock")?).await? {
                        patience.pause().await;
                    }
                }
                _ => return Err(unexpected("fence_lock")),
            }
        };
        let mut tags = vec![tag.clone()];
        for log in logs {
            let other = Tag::stored(text(log, "fence_lock")?);
            if other != *tag {
                tags.push(other);
            }
        }
        for tag in tags {
            let key = tag.fence(lock);
            lease.covers(key.clone());
            self.function(functions::FENCE_LOG, &[key], Effect::Idempotent, |call| {
                call.arg(lease.token()).arg(&time);
            })
            .await?;
        }
        Ok(lease)
    }
}
