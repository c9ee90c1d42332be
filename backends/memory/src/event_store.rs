//! The write path, and the log's read path.

use std::sync::Arc;

use async_trait::async_trait;
use rekindle_core::Result;
use rekindle_core::store::decide::decide;
use rekindle_core::store::{Durability, EventStore, Head, KeyStore, StoreInfo};
use rekindle_core::types::{Commit, Committed, Event, EventQuery, LogId, Order, Page, Position};

use crate::MemoryBackend;
use crate::state::index;

#[async_trait]
impl EventStore for MemoryBackend {
    fn info(&self) -> StoreInfo {
        StoreInfo::new("memory", Durability::Process).with_limits(self.config.limits.clone())
    }

    fn key_store(&self) -> Option<&dyn KeyStore> {
        Some(self)
    }

    async fn commit(&self, batch: Arc<[Commit]>) -> Vec<Result<Committed>> {
        let _held = self.shared.locks.of_batch(&batch).await;
        let mut state = self.state();
        let decided = decide(&*state, &self.config.limits, &*batch);
        for (log, changes) in decided.logs {
            let position = changes.head.position;
            state.log_mut(log).apply(changes);
            self.shared.watchers.notify(log, position);
        }
        decided.answers
    }

    async fn read(&self, log: &LogId, query: &EventQuery) -> Result<Page<Event, Position>> {
        let limit = query.limit.min(self.config.limits.page_rows);
        let state = self.state();
        let (Some(log), Some((first, last)), true) = (state.log(log), query.range(), limit > 0) else {
            return Ok(Page::empty());
        };
        let last = last.min(log.head.position);
        let events = if first <= last { &log.events[index(first)..=index(last)] } else { &[] };
        let passing = events.iter().filter(|event| query.matches(event));
        let items: Vec<Event> = match query.order {
            Order::Forward => passing.take(limit).cloned().collect(),
            Order::Backward => passing.rev().take(limit).cloned().collect(),
        };
        let next = items.last().filter(|_| items.len() == limit).map(|event| event.position);
        Ok(Page { items, next })
    }

    async fn head(&self, log: &LogId) -> Result<Head> {
        Ok(self.state().log(log).map(|log| log.head).unwrap_or_default())
    }

    async fn changed(&self, log: &LogId, after: Position) -> Result<()> {
        let mut positions = self.shared.watchers.subscribe(log);
        while self.head(log).await?.position <= after {
            // The sender lives as long as there is a receiver, so an error cannot be; looking again is right all the same.
            let _ = positions.changed().await;
        }
        Ok(())
    }
}
