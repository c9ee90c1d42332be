//! The conformance suite, at both modes of syncing.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use rekindle_conformance::{Fixture, Limits, Store, async_trait};
use rekindle_sled::{SledBackend, SledConfig, SyncMode};
use tempfile::TempDir;

/// A case may use a store after its fixture is gone, so no folder is removed before the next run.
static ROOT: LazyLock<PathBuf> = LazyLock::new(|| {
    let root = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("conformance");
    let _ = fs::remove_dir_all(&root);
    fs::create_dir_all(&root).unwrap();
    root
});

struct Sled<const FSYNC: bool> {
    store: SledBackend,
    limits: Limits,
    folder: PathBuf,
}

impl<const FSYNC: bool> Sled<FSYNC> {
    async fn open(folder: PathBuf, limits: Limits) -> Self {
        let sync = if FSYNC { SyncMode::Fsync } else { SyncMode::ProcessCrash };
        let config = SledConfig::new().with_limits(limits.clone()).with_sync(sync).with_cache_bytes(16 << 20);
        let store = SledBackend::open_with(&folder, config).await.unwrap();
        Self { store, limits, folder }
    }
}

#[async_trait]
impl<const FSYNC: bool> Fixture for Sled<FSYNC> {
    async fn create(limits: Limits) -> Self {
        Self::open(TempDir::new_in(&*ROOT).unwrap().keep(), limits).await
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
    type Fixture = super::Sled<true>;
    rekindle_conformance::suite!(Fixture);
}

mod process_crash {
    type Fixture = super::Sled<false>;
    rekindle_conformance::suite!(Fixture);
}
