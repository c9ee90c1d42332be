//! What a backend's author gives the suite: how to make stores.

use std::sync::Arc;

use async_trait::async_trait;
use futures::future::BoxFuture;
use rekindle_core::store::{Durability, Store};
use rekindle_core::types::Limits;

/// Makes stores of one backend for the suite. Each case makes its own, so each must be empty and see nothing of another.
///
/// What a backend cannot do is answered with `None`, and the suite checks that the backend declares it.
#[async_trait]
pub trait Fixture: Send + Sync + Sized + 'static {
    /// An empty store with these limits, isolated from every other. Only its locks may be those of the others, too, as in two
    /// schemas of one database: no case holds one that it could wait for another case with.
    async fn create(limits: Limits) -> Self;

    /// The store. A case may go on using it after the fixture was dropped.
    fn store(&self) -> Arc<dyn Store>;

    /// Another handle on the same data, as another process has it; `None` if the backend allows one handle only.
    async fn second_handle(&self) -> Option<Arc<dyn Store>>;

    /// Ends the store, as the end of its process does, and opens its data again, with the same limits. `None` if nothing
    /// outlives the process: then the store must declare [`Durability::Process`].
    async fn reopen(self) -> Option<Self>;
}

/// A [`Fixture`] whose type is forgotten, so that each case is compiled once.
#[async_trait]
trait AnyFixture: Send + Sync {
    fn store(&self) -> Arc<dyn Store>;
    async fn second_handle(&self) -> Option<Arc<dyn Store>>;
    async fn reopen(self: Box<Self>) -> Option<Box<dyn AnyFixture>>;
}

#[async_trait]
impl<F: Fixture> AnyFixture for F {
    fn store(&self) -> Arc<dyn Store> {
        Fixture::store(self)
    }
    async fn second_handle(&self) -> Option<Arc<dyn Store>> {
        Fixture::second_handle(self).await
    }
    async fn reopen(self: Box<Self>) -> Option<Box<dyn AnyFixture>> {
        Some(Box::new(Fixture::reopen(*self).await?))
    }
}

/// The backend under test: what a case makes its stores with.
#[derive(Clone, Copy)]
pub(crate) struct Backend {
    make: fn(Limits) -> BoxFuture<'static, Box<dyn AnyFixture>>,
}

impl Backend {
    pub(crate) fn of<F: Fixture>() -> Self {
        Self { make: |limits| Box::pin(async move { Box::new(F::create(limits).await) as Box<dyn AnyFixture> }) }
    }

    /// An empty store with the default limits.
    pub(crate) async fn open(self) -> Opened {
        self.open_with(Limits::default()).await
    }

    /// An empty store with these limits.
    pub(crate) async fn open_with(self, limits: Limits) -> Opened {
        let fixture = (self.make)(limits.clone()).await;
        assert_eq!(
            fixture.store().info().limits,
            limits,
            "the store does not declare the limits that it was made with"
        );
        Opened { store: fixture.store(), fixture }
    }
}

/// An open store of the backend under test.
pub(crate) struct Opened {
    fixture: Box<dyn AnyFixture>,
    pub(crate) store: Arc<dyn Store>,
}

impl Opened {
    /// A second handle, or the first once more where the backend allows one only.
    pub(crate) async fn other_handle(&self) -> Arc<dyn Store> {
        self.fixture.second_handle().await.unwrap_or_else(|| Arc::clone(&self.store))
    }

    /// The store opened again; `None` if nothing outlives the process and the store says so.
    pub(crate) async fn reopen(self) -> Option<Self> {
        let durability = self.store.info().durability;
        drop(self.store);
        match self.fixture.reopen().await {
            Some(fixture) => {
                assert_ne!(
                    durability,
                    Durability::Process,
                    "the fixture opens its data again, and the store declares that nothing lasts"
                );
                Some(Self { store: fixture.store(), fixture })
            }
            None => {
                assert_eq!(
                    durability,
                    Durability::Process,
                    "the fixture cannot open its data again, and the store declares that it lasts"
                );
                None
            }
        }
    }
}
