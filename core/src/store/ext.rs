//! What users call beside the store traits.

use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};

use super::{EventStore, ResourceStore};
use crate::error::{Error, Result};
use crate::types::{Commit, Committed, Event, EventQuery, Identity, LogId, Position, Record, RecordKey, RecordQuery};

/// Conveniences over [`EventStore`], implemented for every store and never by hand.
#[async_trait]
pub trait EventStoreExt: EventStore {
    /// Makes one commit.
    ///
    /// # Errors
    ///
    /// Those of [`EventStore::commit`].
    ///
    /// # Cancel safety
    ///
    /// As for [`EventStore::commit`].
    async fn commit_one(&self, commit: Commit) -> Result<Committed> {
        let mut answers = self.commit(Arc::new([commit])).await;
        match (answers.pop(), answers.is_empty()) {
            (Some(answer), true) => answer,
            _ => Err(Error::corrupt("the store did not give one answer for one commit")),
        }
    }

    /// The events that pass the query, page by page; the limit of the query is the size of a page. Nothing is held
    /// between pages. The stream ends at the first error.
    fn stream<'a>(&'a self, log: &'a LogId, query: EventQuery) -> BoxStream<'a, Result<Event>> {
        stream::try_unfold(Some(query), move |query| async move {
            let Some(mut query) = query else { return Ok::<_, Error>(None) };
            let page = self.read(log, &query).await?;
            let next = page.next.map(|cursor| {
                query.cursor = Some(cursor);
                query
            });
            Ok(Some((stream::iter(page.items.into_iter().map(Ok)), next)))
        })
        .try_flatten()
        .boxed()
    }

    /// The events that pass the query and those that will, in order, without an end: at the log's head it waits for more.
    fn tail<'a>(&'a self, log: &'a LogId, query: EventQuery) -> BoxStream<'a, Result<Event>> {
        let start = query.cursor.or(query.after).unwrap_or(Position::ZERO);
        stream::try_unfold((query, start), move |(mut query, mut seen)| async move {
            loop {
                // What is at or below the head that was read first is in the page or filtered out, so it is passed.
                let head = self.head(log).await?.position;
                query.cursor = Some(seen);
                let page = self.read(log, &query).await?;
                if let (Some(next), true) = (page.next, !page.items.is_empty()) {
                    return Ok::<_, Error>(Some((stream::iter(page.items.into_iter().map(Ok)), (query, next))));
                }
                let last = page.items.last().map_or(seen, |event| event.position);
                seen = head.max(last).max(seen);
                if !page.items.is_empty() {
                    return Ok(Some((stream::iter(page.items.into_iter().map(Ok)), (query, seen))));
                }
                self.changed(log, seen).await?;
            }
        })
        .try_flatten()
        .boxed()
    }

    /// The number of events that pass the query, whatever its limit.
    ///
    /// # Errors
    ///
    /// Those of [`EventStore::read`].
    ///
    /// # Cancel safety
    ///
    /// It changes nothing, so it can be dropped at any time.
    async fn count(&self, log: &LogId, query: EventQuery) -> Result<u64> {
        let query = query.with_limit(self.info().limits.page_rows);
        self.stream(log, query).try_fold(0, |count, _| async move { Ok(count + 1) }).await
    }
}

impl<S: EventStore + ?Sized> EventStoreExt for S {}

/// Conveniences over [`ResourceStore`], implemented for every store and never by hand.
#[async_trait]
pub trait ResourceStoreExt: ResourceStore {
    /// The record of this key.
    ///
    /// # Errors
    ///
    /// Those of [`ResourceStore::get`].
    ///
    /// # Cancel safety
    ///
    /// It changes nothing, so it can be dropped at any time.
    async fn get_one(&self, log: &LogId, key: &RecordKey) -> Result<Option<Record>> {
        Ok(self.get(log, std::slice::from_ref(key)).await?.pop().flatten())
    }

    /// The records that pass the query, page by page; the limit of the query is the size of a page. Nothing is held
    /// between pages. The stream ends at the first error.
    fn stream_records<'a>(&'a self, log: &'a LogId, query: RecordQuery) -> BoxStream<'a, Result<Record>> {
        stream::try_unfold(Some(query), move |query| async move {
            let Some(mut query) = query else { return Ok::<_, Error>(None) };
            let page = self.list(log, &query).await?;
            let next = page.next.map(|cursor| {
                query.cursor = Some(cursor);
                query
            });
            Ok(Some((stream::iter(page.items.into_iter().map(Ok)), next)))
        })
        .try_flatten()
        .boxed()
    }

    /// The id of the record that owns an identity.
    ///
    /// # Errors
    ///
    /// Those of [`ResourceStore::find`].
    ///
    /// # Cancel safety
    ///
    /// It changes nothing, so it can be dropped at any time.
    async fn owner(&self, log: &LogId, identity: &Identity) -> Result<Option<RecordKey>> {
        Ok(self.find(log, identity).await?.map(|record| record.key))
    }
}

impl<S: ResourceStore + ?Sized> ResourceStoreExt for S {}
