//! The memory backend passes the whole conformance suite: itself, and through the pointers that users hold it by.

use std::sync::Arc;

use rekindle_conformance::{Fixture, Limits, Store, async_trait};
use rekindle_memory::{MemoryBackend, MemoryConfig};

struct MemoryFixture(MemoryBackend);

#[async_trait]
impl Fixture for MemoryFixture {
    async fn create(limits: Limits) -> Self {
        Self(MemoryBackend::with_config(MemoryConfig::default().with_limits(limits)))
    }
    fn store(&self) -> Arc<dyn Store> {
        Arc::new(self.0.clone())
    }
    async fn second_handle(&self) -> Option<Arc<dyn Store>> {
        Some(self.store())
    }
    async fn reopen(self) -> Option<Self> {
        None
    }
}

rekindle_conformance::suite!(MemoryFixture);

mod behind_a_box {
    use super::*;

    struct BoxFixture(MemoryBackend);

    #[async_trait]
    impl Fixture for BoxFixture {
        async fn create(limits: Limits) -> Self {
            Self(MemoryFixture::create(limits).await.0)
        }
        fn store(&self) -> Arc<dyn Store> {
            let boxed: Box<dyn Store> = Box::new(Arc::new(self.0.clone()) as Arc<dyn Store>);
            Arc::new(boxed)
        }
        async fn second_handle(&self) -> Option<Arc<dyn Store>> {
            None
        }
        async fn reopen(self) -> Option<Self> {
            None
        }
    }

    rekindle_conformance::suite!(BoxFixture);
}
