//! The conformance suite: with a pool of 1 and of 10, by advisory locks and by row locks, with one batch sent at a time and
//! with two. A second handle is a second pool.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::sync::Arc;

use rekindle_conformance::{Fixture, Limits, Store, async_trait};
use rekindle_postgres::{LockMode, PostgresBackend, PostgresConfig};

struct Postgres<const POOL: u32, const ROW: bool, const SENDS: u32> {
    store: PostgresBackend,
    config: PostgresConfig,
}

async fn connect(config: &PostgresConfig) -> PostgresBackend {
    PostgresBackend::connect_with(common::server().url(), config.clone()).await.unwrap()
}

#[async_trait]
impl<const POOL: u32, const ROW: bool, const SENDS: u32> Fixture for Postgres<POOL, ROW, SENDS> {
    async fn create(limits: Limits) -> Self {
        let mode = if ROW { LockMode::Row } else { LockMode::Advisory };
        let config = common::config(common::server())
            .with_limits(limits)
            .with_max_connections(POOL)
            .with_lock_mode(mode)
            .with_sends_at_once(SENDS);
        Self { store: common::open(common::server(), &config).await, config }
    }

    fn store(&self) -> Arc<dyn Store> {
        Arc::new(self.store.clone())
    }

    async fn second_handle(&self) -> Option<Arc<dyn Store>> {
        Some(Arc::new(connect(&self.config).await))
    }

    async fn reopen(self) -> Option<Self> {
        let Self { store, config } = self;
        store.close().await;
        Some(Self { store: connect(&config).await, config })
    }
}

mod pool_of_1 {
    type Fixture = super::Postgres<1, false, 1>;
    rekindle_conformance::suite!(Fixture);
}

mod pool_of_10 {
    type Fixture = super::Postgres<10, false, 1>;
    rekindle_conformance::suite!(Fixture);
}

mod row_locks {
    type Fixture = super::Postgres<10, true, 2>;
    rekindle_conformance::suite!(Fixture);
}
