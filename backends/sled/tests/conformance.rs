//! The conformance suite, at both modes of syncing.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use rekindle_conformance::{Fixture, Limits, Store, async_trait};
use rekindle_sled::{SledBackend, SledConfig, SyncMode};
use tempfile::TempDir;

struct Sled<const FSYNC: bool> {
    store: SledBackend,
    limits: Limits,
    folder: TempDir,
}

impl<const FSYNC: bool> Sled<FSYNC> {
    async fn open(folder: TempDir, limits: Limits) -> Self {
        let sync = if FSYNC { SyncMode::Fsync } else { SyncMode::ProcessCrash };
        let config = SledConfig::new().with_limits(limits.clone()).with_sync(sync).with_cache_bytes(16 << 20);
        let store = SledBackend::open_with(folder.path(), config).await.unwrap();
        Self { store, limits, folder }
    }
}

#[async_trait]
impl<const FSYNC: bool> Fixture for Sled<FSYNC> {
    async fn create(limits: Limits) -> Self {
        Self::open(TempDir::new().unwrap(), limits).await
    }

    fn store(&self) -> Arc<dyn Store> {
        Arc::new(self.store.clone())
    }

    async fn second_handle(&self) -> Option<Arc<dyn Store>> {
        Some(Arc::new(self.store.clone()))
    }

    async fn reopen(self) -> Option<Self> {
        let Self { store, limits, folder } = self;
        store.close().await;
        Some(Self::open(folder, limits).await)
    }
}

mod fsync {
    rekindle_conformance::suite!(super::Sled<true>);
}

mod process_crash {
    rekindle_conformance::suite!(super::Sled<false>);
}
