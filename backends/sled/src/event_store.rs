//! The write path, and the log's read path.

use std::sync::Arc;

use async_trait::async_trait;
use rekindle_core::store::{Durability, EventStore, Head, KeyStore, StoreInfo};
use rekindle_core::types::{Commit, Committed, Event, EventQuery, LogId, Page, Position};
use rekindle_core::{Error, Result};

use crate::SledBackend;
use crate::config::SyncMode;
use crate::error::indeterminate;
use crate::store::Store;

#[async_trait]
impl EventStore for SledBackend {
    fn info(&self) -> StoreInfo {
        let durability = match self.store.config.sync {
            SyncMode::Fsync => Durability::PowerLoss,
            SyncMode::ProcessCrash => Durability::ProcessCrash,
        };
        // While one is flushed, the next is decided and applied.
        StoreInfo::new("sled", durability).with_limits(self.store.config.limits.clone()).with_batches_at_once(2, 16)
    }

    fn key_store(&self) -> Option<&dyn KeyStore> {
        Some(self)
    }

    async fn commit(&self, batch: Arc<[Commit]>) -> Vec<Result<Committed>> {
        let commits = batch.len();
        let held = self.store.locks.of_batch_beside(&batch).await;
        let answers = self.blocking(move |store| {
            let answers = store.commit(&batch);
            // Not before: the locks are held until the batch is done, whatever became of the future.
            drop(held);
            Ok(answers)
        });
        answers.await.unwrap_or_else(|error| {
            self.store.disk.set_broken(&error);
            vec![Err(indeterminate(&error)); commits]
        })
    }

    async fn read(&self, log: &LogId, query: &EventQuery) -> Result<Page<Event, Position>> {
        let limit = query.limit.min(self.store.config.limits.page_rows);
        if limit == 0 || query.range().is_none() {
            return Ok(Page::empty());
        }
        let (log, query) = (log.clone(), query.clone());
        self.blocking(move |store| {
            let items = store.read(&log, &query, limit).map_err(|e: Error| e.at(format!("the log {log}")))?;
            let next = items.last().filter(|_| items.len() == limit).map(|event| event.position);
            Ok(Page { items, next })
        })
        .await
    }

    async fn head(&self, log: &LogId) -> Result<Head> {
        let log = log.clone();
        self.blocking(move |store| Ok(store.log(&log)?.map(|(_, head)| head).unwrap_or_default())).await
    }

    async fn changed(&self, log: &LogId, after: Position) -> Result<()> {
        let mut positions = self.store.watchers.subscribe(log);
        while self.head(log).await?.position <= after {
            // The sender lives as long as there is a receiver, so an error cannot be; looking again is right all the same.
            let _ = positions.changed().await;
        }
        Ok(())
    }
}

impl SledBackend {
    /// Runs what blocks off the async threads: the only place that does. What has begun runs to its end, even if the
    /// future is dropped.
    pub(crate) async fn blocking<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Arc<Store>) -> Result<T> + Send + 'static,
    {
        let store = Arc::clone(&self.store);
        match tokio::task::spawn_blocking(move || work(&store)).await {
            Ok(result) => result,
            Err(source) => Err(Error::corrupt("sled panicked, or the runtime was shut down").with_source(source)),
        }
    }
}
