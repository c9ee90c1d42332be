//! Tokens that hold as long as somebody renews them: what a rebuild and a fence stand on.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use rekindle_core::Result;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use uuid::Uuid;

use crate::functions;
use crate::store::{Effect, Store};

/// The tokens of this process that were dropped and may still be on a server. Whoever comes upon one takes it away.
static DROPPED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// A token, held under any number of keys. Dropping it takes it away, wherever it has got to by then: in the background, and
/// if that fails, by the end of its lease.
#[derive(Debug)]
pub(crate) struct Lease {
    held: Arc<Held>,
    runtime: Handle,
    beat: AbortHandle,
}

#[derive(Debug)]
struct Held {
    store: Arc<Store>,
    token: String,
    keys: Mutex<Vec<String>>,
}

impl Held {
    fn keys(&self) -> Vec<String> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn renew(&self) {
        let lease = self.store.config.lease.as_millis();
        for key in self.keys() {
            if let Err(error) = renew(&self.store, &key, &self.token, lease).await {
                tracing::warn!(key, %error, "a lease could not be renewed");
            }
        }
    }

    async fn release(&self) {
        for key in self.keys() {
            if let Err(error) = renew(&self.store, &key, &self.token, 0).await {
                tracing::warn!(key, %error, "a lease could not be ended, and runs out");
                return;
            }
        }
        self.keys.lock().unwrap_or_else(PoisonError::into_inner).clear();
        DROPPED.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.token);
    }
}

impl Lease {
    /// A new token, under no key yet.
    pub(crate) fn new(store: &Arc<Store>) -> Self {
        let held =
            Arc::new(Held { store: Arc::clone(store), token: Uuid::new_v4().to_string(), keys: Mutex::default() });
        let beating = Arc::clone(&held);
        let beat = tokio::spawn(async move {
            loop {
                tokio::time::sleep(beating.store.config.lease / 3).await;
                beating.renew().await;
            }
        });
        Self { held, runtime: Handle::current(), beat: beat.abort_handle() }
    }

    pub(crate) fn token(&self) -> &str {
        &self.held.token
    }

    /// Takes the token away, and returns when it is gone: a process that ends then leaves nothing that others wait for. If it
    /// cannot be taken away, it is as if it was dropped.
    pub(crate) async fn end(&self) {
        self.beat.abort();
        self.held.release().await;
    }

    /// From now on the token is renewed and taken away under this key, too. To be called before it is set there.
    pub(crate) fn covers(&self, key: String) {
        self.held.keys.lock().unwrap_or_else(PoisonError::into_inner).push(key);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.beat.abort();
        if self.held.keys().is_empty() {
            return;
        }
        DROPPED.lock().unwrap_or_else(PoisonError::into_inner).insert(self.held.token.clone());
        let held = Arc::clone(&self.held);
        self.runtime.spawn(async move { held.release().await });
    }
}

/// Takes a token away that this process has dropped. Gives whether it was one.
pub(crate) async fn take_dropped(store: &Store, key: &str, token: &str) -> Result<bool> {
    if !DROPPED.lock().unwrap_or_else(PoisonError::into_inner).contains(token) {
        return Ok(false);
    }
    renew(store, key, token, 0).await?;
    Ok(true)
}

async fn renew(store: &Store, key: &str, token: &str, lease: u128) -> Result<()> {
    store
        .function(functions::RENEW, &[key.to_owned()], Effect::Idempotent, |call| {
            call.arg(token).arg(lease.to_string());
        })
        .await
        .map(|_| ())
}
