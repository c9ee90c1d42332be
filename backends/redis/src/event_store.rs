//! The write path, and the log's read path.

use std::sync::Arc;

use async_trait::async_trait;
use rekindle_core::Result;
use rekindle_core::store::{Durability, EventStore, Head, KeyStore, StoreInfo};
use rekindle_core::types::{Commit, Committed, Event, EventQuery, LogId, Page, Position};

use crate::RedisBackend;

#[async_trait]
impl EventStore for RedisBackend {
    fn info(&self) -> StoreInfo {
        // The server makes one call after the other: while it is at one, the next is made ready. Where it flushes the disk
        // after each, that takes as long as dozens of commits do.
        let least = if self.store.durability == Durability::PowerLoss { 64 } else { 8 };
        StoreInfo::new("redis", self.store.durability)
            .with_limits(self.store.config.limits.clone())
            .with_batches_at_once(2, least)
    }

    fn key_store(&self) -> Option<&dyn KeyStore> {
        Some(self)
    }

    async fn commit(&self, batch: Arc<[Commit]>) -> Vec<Result<Committed>> {
        self.store.commit(&batch).await
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
        self.store.listen(log);
        while self.store.head(log).await?.position <= after {
            // Whether it was told or the time is up, it looks again.
            let _ = tokio::time::timeout(self.store.config.poll_interval, positions.changed()).await;
        }
        Ok(())
    }
}
