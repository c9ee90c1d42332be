//! The conformance suite: on one server that syncs before it answers, as functions and as a script, and on a cluster.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::sync::Arc;

use rekindle_conformance::{Fixture, Limits, Store, async_trait};
use rekindle_redis::{Code, RedisBackend, RedisConfig};
use rekindle_test_servers::fresh_prefix;

const SERVER: u8 = 0;
const SCRIPTS: u8 = 1;
const CLUSTER: u8 = 2;

struct Redis<const WHERE: u8> {
    store: RedisBackend,
    config: RedisConfig,
}

impl<const WHERE: u8> Redis<WHERE> {
    async fn connect(config: RedisConfig) -> RedisBackend {
        let url = if WHERE == CLUSTER { common::cluster().url() } else { common::server().url() };
        RedisBackend::connect_with(url, config).await.unwrap()
    }
}

#[async_trait]
impl<const WHERE: u8> Fixture for Redis<WHERE> {
    async fn create(limits: Limits) -> Self {
        let code = if WHERE == SCRIPTS { Code::Scripts } else { Code::Functions };
        let config = RedisConfig::new().with_prefix(fresh_prefix()).with_limits(limits).with_code(code);
        Self { store: Self::connect(config.clone()).await, config }
    }

    fn store(&self) -> Arc<dyn Store> {
        Arc::new(self.store.clone())
    }

    async fn second_handle(&self) -> Option<Arc<dyn Store>> {
        Some(Arc::new(Self::connect(self.config.clone()).await))
    }

    async fn reopen(self) -> Option<Self> {
        let Self { store, config } = self;
        drop(store);
        Some(Self { store: Self::connect(config.clone()).await, config })
    }
}

mod server {
    type Fixture = super::Redis<{ super::SERVER }>;
    rekindle_conformance::suite!(Fixture);
}

mod scripts {
    type Fixture = super::Redis<{ super::SCRIPTS }>;
    rekindle_conformance::suite!(Fixture);
}

mod cluster {
    type Fixture = super::Redis<{ super::CLUSTER }>;
    rekindle_conformance::suite!(Fixture);
}
