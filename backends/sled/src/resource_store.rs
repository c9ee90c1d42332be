//! The state's read path, and the rebuild path.

use std::ops::Bound;
use std::sync::Arc;

use async_trait::async_trait;
use rekindle_core::store::{Fence, LoadedRecord, LocksHeld, Rebuild, RebuildMode, ResourceStore};
use rekindle_core::types::{
    Identity, LockKey, LogId, Order, Page, Position, Record, RecordCursor, RecordId, RecordKey, RecordQuery,
};
use rekindle_core::{Error, Result};

use crate::SledBackend;
use crate::keys;
use crate::rebuild::{Loading, Running, Token};
use crate::rows::{self, decode_record, live};
use crate::store::Store;

/// A log's lock, taken for one rebuild.
struct Fenced {
    _held: LocksHeld,
    token: Arc<Token>,
}

impl SledBackend {
    /// What a rebuild of this store loads.
    fn loading(&self, rebuild: &Rebuild) -> Result<Loading> {
        let running = rebuild.guard::<Running>().filter(|running| {
            let rebuilds = self.store.rebuilds.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            rebuilds.get(rebuild.log()).is_some_and(|token| Arc::ptr_eq(token, &running.token) && !token.is_over())
        });
        let running = running.ok_or_else(|| rebuild.is_over())?;
        Ok(Loading { token: Arc::clone(&running.token), log: running.log, generation: rebuild.generation() })
    }
}

#[async_trait]
impl ResourceStore for SledBackend {
    async fn get(&self, log: &LogId, keys: &[RecordKey]) -> Result<Vec<Option<Record>>> {
        let (log, keys) = (log.clone(), keys.to_vec());
        self.blocking(move |store| {
            let state = store.one_state()?;
            let Some((number, generation)) = store.readable(&log)? else { return Ok(vec![None; keys.len()]) };
            let found = keys.iter().map(|key| store.record(number, generation, key)).collect::<Result<Vec<_>>>()?;
            drop(state);
            let decoded = found.into_iter().zip(keys).map(|(row, key)| match row {
                Some(row) => decode_record(&row, key).map(live),
                None => Ok(None),
            });
            decoded.collect()
        })
        .await
    }

    async fn list(&self, log: &LogId, query: &RecordQuery) -> Result<Page<Record, RecordCursor>> {
        let limit = query.limit.min(self.store.config.limits.page_rows);
        query.cursor_id()?;
        let (log, query) = (log.clone(), query.clone());
        self.blocking(move |store| {
            let items = store.list(&log, &query, limit)?;
            let next =
                items.last().filter(|_| items.len() == limit).map(|record| RecordCursor::new(record.key.clone()));
            Ok(Page { items, next })
        })
        .await
    }

    async fn find(&self, log: &LogId, identity: &Identity) -> Result<Option<Record>> {
        let (log, identity) = (log.clone(), identity.clone());
        self.blocking(move |store| {
            let _state = store.one_state()?;
            let Some((number, generation)) = store.readable(&log)? else { return Ok(None) };
            let Some(id) = store.owner(number, generation, &identity)? else { return Ok(None) };
            let key = RecordKey { resource: identity.resource.clone(), id };
            match store.record(number, generation, &key)? {
                Some(row) => Ok(live(decode_record(&row, key)?)),
                None => Err(Error::corrupt(format!("the identity {identity} belongs to {key}, which is missing"))),
            }
        })
        .await
    }

    async fn begin_rebuild(&self, log: &LogId, lock: LockKey, mode: RebuildMode) -> Result<Rebuild> {
        let held = self.store.locks.of_key(lock).await;
        let name = log.clone();
        // If the future is dropped, the rebuild ends first, and then the lock is freed.
        let ((running, generation), held) = self.blocking(move |store| Ok((store.begin(&name, mode)?, held))).await?;
        drop(held);
        Ok(Rebuild::new(log.clone(), lock, generation, mode, running))
    }

    async fn loaded(&self, rebuild: &Rebuild, keys: &[RecordKey]) -> Result<Vec<Option<LoadedRecord>>> {
        let (loading, keys) = (self.loading(rebuild)?, keys.to_vec());
        self.blocking(move |store| {
            let state = store.one_state()?;
            let found = keys
                .iter()
                .map(|key| store.record(loading.log, loading.generation, key))
                .collect::<Result<Vec<_>>>()?;
            drop(state);
            found.into_iter().zip(keys).map(|(row, key)| row.map(|row| decode_record(&row, key)).transpose()).collect()
        })
        .await
    }

    async fn load(&self, rebuild: &Rebuild, records: Vec<LoadedRecord>) -> Result<()> {
        let loading = self.loading(rebuild)?;
        let loaded = self.blocking(move |store| store.load(&loading, &records)).await?;
        loaded.ok_or_else(|| rebuild.is_over())
    }

    async fn fence(&self, rebuild: &Rebuild) -> Result<Fence> {
        let token = self.loading(rebuild)?.token;
        Ok(Fence::new(Fenced { _held: self.store.locks.of_key(rebuild.lock()).await, token }))
    }

    async fn finish_rebuild(&self, rebuild: Rebuild, fence: Fence, through: Position) -> Result<()> {
        let loading = self.loading(&rebuild)?;
        if !fence.guard::<Fenced>().is_some_and(|fenced| Arc::ptr_eq(&fenced.token, &loading.token)) {
            return Err(rebuild.is_over());
        }
        self.blocking(move |store| {
            let finished = store.finish(rebuild.log(), &loading, through);
            drop(fence);
            let old = finished?.ok_or_else(|| rebuild.is_over())?;
            tidy(store, store.remove(loading.log, old));
            Ok(())
        })
        .await
    }

    async fn abandon_rebuild(&self, rebuild: Rebuild) -> Result<()> {
        let loading = self.loading(&rebuild)?;
        self.blocking(move |store| {
            let abandoned = store.abandon(&loading);
            drop(rebuild);
            abandoned
        })
        .await
    }

    async fn clear(&self, log: &LogId, lock: LockKey) -> Result<u64> {
        let held = self.store.locks.of_key(lock).await;
        let log = log.clone();
        self.blocking(move |store| {
            let cleared = store.clear(&log);
            drop(held);
            let (records, old) = cleared?;
            if let Some((number, generation)) = old {
                tidy(store, store.remove(number, generation));
            }
            Ok(records)
        })
        .await
    }
}

/// The change is made; what could not be removed after it bears a mark, and is removed later.
fn tidy(store: &Store, removed: Result<()>) {
    if let Err(error) = removed {
        store.disk.set_broken(&error);
        tracing::warn!(%error, "an old generation could not be removed; it is removed when the store is opened again");
    }
}

impl Store {
    /// The first records that a query gives, `limit` at the most.
    fn list(&self, log: &LogId, query: &RecordQuery, limit: usize) -> Result<Vec<Record>> {
        let state = self.one_state()?;
        let (Some((number, generation)), true) = (self.readable(log)?, limit > 0) else { return Ok(Vec::new()) };
        let all = keys::records(number, generation, &query.resource);
        let id_at = all.start.len();
        let of = |id: &RecordId| {
            keys::record(number, generation, &RecordKey { resource: query.resource.clone(), id: id.clone() })
        };
        let (mut first, mut end) = (Bound::Included(all.start), Bound::Excluded(all.end));
        match (query.cursor_id()?, query.order) {
            (Some(id), Order::Forward) => first = Bound::Excluded(of(id)),
            (Some(id), Order::Backward) => end = Bound::Excluded(of(id)),
            (None, _) => {}
        }
        let found = self.rows((first, end)).filter(|row| !matches!(row, Ok((_, row)) if rows::is_destroyed(row)));
        let found: Vec<_> = match query.order {
            Order::Forward => found.take(limit).collect::<Result<_>>()?,
            Order::Backward => found.rev().take(limit).collect::<Result<_>>()?,
        };
        drop(state);
        let mut items = Vec::with_capacity(found.len());
        for (key, row) in found {
            let id = rows::record_id(key.get(id_at..).unwrap_or_default())?;
            items.extend(live(decode_record(&row, RecordKey { resource: query.resource.clone(), id })?));
        }
        Ok(items)
    }
}
