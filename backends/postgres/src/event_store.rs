//! The write path, and the log's read path.

use std::sync::Arc;

use async_trait::async_trait;
use rekindle_core::Result;
use rekindle_core::store::{EventStore, Head, KeyStore, StoreInfo};
use rekindle_core::types::{Commit, Committed, Event, EventQuery, LogId, Page, Position};

use crate::PostgresBackend;
use crate::error::broken_off;

#[async_trait]
impl EventStore for PostgresBackend {
    fn info(&self) -> StoreInfo {
        // While the server is at one batch, the next is made ready. Smaller ones cost the server more than is gained.
        StoreInfo::new("postgres", self.store.durability)
            .with_limits(self.store.config.limits.clone())
            .with_batches_at_once(self.store.batches_at_once(), 48)
    }

    fn key_store(&self) -> Option<&dyn KeyStore> {
        Some(self)
    }

    async fn commit(&self, batch: Arc<[Commit]>) -> Vec<Result<Committed>> {
        let commits = batch.len();
        if commits == 0 {
            return Vec::new();
        }
        // Until it is had, nothing is begun, and the future can be dropped without a trace.
        let turn = self.store.turn(&batch).await;
        let store = Arc::clone(&self.store);
        // Of its size, it costs less where it is than to be handed on.
        let task = tokio::spawn(Box::pin(async move { store.commit(turn, &batch).await }));
        task.await.unwrap_or_else(|error| vec![Err(broken_off(error)); commits])
    }

    async fn read(&self, log: &LogId, query: &EventQuery) -> Result<Page<Event, Position>> {
        let limit = query.limit.min(self.store.config.limits.page_rows);
        let (Some((first, last)), true) = (query.range(), limit > 0) else { return Ok(Page::empty()) };
        let items = self.store.page(log, query, (first, last), limit).await?;
        let next = items.last().filter(|_| items.len() == limit).map(|event| event.position);
        Ok(Page { items, next })
    }

    async fn head(&self, log: &LogId) -> Result<Head> {
        self.store.head(log).await
    }

    async fn changed(&self, log: &LogId, after: Position) -> Result<()> {
        let mut positions = self.store.watchers.subscribe(log);
        self.store.listener.listen();
        while self.store.head(log).await?.position <= after {
            // Whether it was told or the time is up, it looks again.
            let _ = tokio::time::timeout(self.store.config.poll_interval, positions.changed()).await;
        }
        Ok(())
    }
}
