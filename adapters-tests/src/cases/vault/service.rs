//! A service of key-encryption keys that fails, or keeps a caller waiting.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use rekindle_core::vault::{KekProvider, Keks, SecretKey};
use rekindle_core::{Error, ErrorKind, Result};

pub(super) struct Service {
    keks: Keks,
    /// How many keys it wraps before it is out of reach.
    left: AtomicUsize,
    /// Whether it keeps who asks for a wrapping waiting.
    holds: AtomicBool,
    /// Whether somebody has asked meanwhile.
    asked: AtomicBool,
}

impl Service {
    pub(super) fn new(keks: Keks, left: usize) -> Self {
        Self { keks, left: AtomicUsize::new(left), holds: AtomicBool::new(false), asked: AtomicBool::new(false) }
    }

    pub(super) fn hold(&self) {
        self.asked.store(false, Ordering::SeqCst);
        self.holds.store(true, Ordering::SeqCst);
    }

    pub(super) fn go_on(&self) {
        self.holds.store(false, Ordering::SeqCst);
    }

    pub(super) async fn was_asked(&self) {
        while !self.asked.load(Ordering::SeqCst) {
            tokio::task::yield_now().await;
        }
    }
}

#[async_trait]
impl KekProvider for Service {
    fn primary(&self) -> &str {
        self.keks.primary()
    }
    fn names(&self) -> Vec<String> {
        self.keks.names()
    }
    async fn wrap(&self, kek: &str, key: &SecretKey, context: &[u8]) -> Result<Vec<u8>> {
        self.asked.store(true, Ordering::SeqCst);
        while self.holds.load(Ordering::SeqCst) {
            tokio::task::yield_now().await;
        }
        let left = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        left.map_err(|_| Error::new(ErrorKind::Unavailable, "the service of keys is out of reach"))?;
        self.keks.wrap(kek, key, context).await
    }
    async fn unwrap(&self, kek: &str, wrapped: &[u8], context: &[u8]) -> Result<SecretKey> {
        self.keks.unwrap(kek, wrapped, context).await
    }
}
