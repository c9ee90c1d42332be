//! The state's read path, and the rebuild path.

use std::sync::Arc;

use async_trait::async_trait;
use rekindle_core::Result;
use rekindle_core::store::decide::rebuilding;
use rekindle_core::store::{Fence, LoadedRecord, Rebuild, RebuildMode, ResourceStore};
use rekindle_core::types::{
    Identity, LockKey, LogId, Order, Page, Position, Record, RecordCursor, RecordId, RecordKey, RecordQuery,
};
use sqlx::postgres::PgRow;

use crate::PostgresBackend;
use crate::batch::has_nul;
use crate::error::{broken_off, damaged};
use crate::rebuild::{Fenced, Running};
use crate::rows::{self, Columns};
use crate::store::{Store, tenant};

/// Above every record id, which has 1,024 bytes at the most.
const ABOVE_ALL: char = char::MAX;

impl Store {
    /// Sees to it that the log's records may be read: its state is the first column of each row.
    fn check_readable(log: &LogId, row: &PgRow) -> Result<()> {
        if Columns(row).int2(0)? == 1 { Err(rebuilding(log)) } else { Ok(()) }
    }
}

/// What runs to its end even if the future is dropped.
pub(crate) async fn carried<T: Send + 'static>(task: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
    tokio::spawn(task).await.map_err(broken_off)?
}

#[async_trait]
impl ResourceStore for PostgresBackend {
    async fn get(&self, log: &LogId, keys: &[RecordKey]) -> Result<Vec<Option<Record>>> {
        let resources: Vec<&str> = keys.iter().map(|key| key.resource.as_str()).collect();
        let ids: Vec<&str> = keys.iter().map(|key| key.id.as_str()).collect();
        let store = &self.store;
        let query = sqlx::query(store.sql.get()).bind(log.name.as_str()).bind(tenant(log)).bind(resources).bind(ids);
        let rows = store.read(query).await?;
        let mut records = vec![None; keys.len()];
        for row in &rows {
            Store::check_readable(log, row)?;
            let columns = Columns(row);
            if columns.is_null(1)? {
                continue;
            }
            let place = columns.place(1)?;
            let (Some(key), Some(record)) = (keys.get(place), records.get_mut(place)) else {
                return Err(damaged("a row is of nothing that was asked for"));
            };
            *record = rows::record(columns, 2, key.clone())?;
        }
        Ok(records)
    }

    async fn list(&self, log: &LogId, query: &RecordQuery) -> Result<Page<Record, RecordCursor>> {
        let store = &self.store;
        let limit = query.limit.min(store.config.limits.page_rows);
        let cursor = query.cursor_id()?.map(|id| id.as_str().to_owned());
        let (statement, beyond) = match query.order {
            Order::Forward => (store.sql.list_forward(), cursor.unwrap_or_default()),
            Order::Backward => (store.sql.list_backward(), cursor.unwrap_or_else(|| ABOVE_ALL.to_string().repeat(257))),
        };
        let statement = sqlx::query(statement)
            .bind(log.name.as_str())
            .bind(tenant(log))
            .bind(query.resource.as_str())
            .bind(beyond)
            .bind(i64::try_from(limit).unwrap_or(i64::MAX));
        let rows = store.read(statement).await?;
        let mut items = Vec::with_capacity(rows.len());
        for row in &rows {
            Store::check_readable(log, row)?;
            let columns = Columns(row);
            if let Some(id) = columns.text_or_null(1)? {
                let key = RecordKey { resource: query.resource.clone(), id: RecordId::new(id)? };
                items.extend(rows::record(columns, 2, key)?);
            }
        }
        let next = items.last().filter(|_| items.len() == limit).map(|record| RecordCursor::new(record.key.clone()));
        Ok(Page { items, next })
    }

    async fn find(&self, log: &LogId, identity: &Identity) -> Result<Option<Record>> {
        let store = &self.store;
        // The server would not take a text with a NUL; nobody owns it.
        let value = if has_nul(identity) { ("", "") } else { (identity.name.as_str(), identity.value.as_str()) };
        let query = sqlx::query(store.sql.find())
            .bind(log.name.as_str())
            .bind(tenant(log))
            .bind(identity.resource.as_str())
            .bind(value.0)
            .bind(value.1);
        let rows = store.read(query).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        Store::check_readable(log, row)?;
        let columns = Columns(row);
        let Some(owner) = columns.text_or_null(1)? else { return Ok(None) };
        let key = RecordKey { resource: identity.resource.clone(), id: RecordId::new(owner)? };
        if columns.is_null(2)? {
            return Err(damaged(format!("the identity {identity} belongs to {key}, which is missing")));
        }
        rows::record(columns, 2, key)
    }

    async fn begin_rebuild(&self, log: &LogId, lock: LockKey, mode: RebuildMode) -> Result<Rebuild> {
        let (store, name) = (Arc::clone(&self.store), log.clone());
        let (running, generation) = carried(async move { store.begin(&name, lock, mode).await }).await?;
        Ok(Rebuild::new(log.clone(), lock, generation, mode, running))
    }

    async fn loaded(&self, rebuild: &Rebuild, keys: &[RecordKey]) -> Result<Vec<Option<LoadedRecord>>> {
        let (store, link, keys) = (Arc::clone(&self.store), self.link(rebuild)?, keys.to_vec());
        let loaded = carried(async move { store.loaded(&link, &keys).await }).await?;
        loaded.ok_or_else(|| rebuild.is_over())
    }

    async fn load(&self, rebuild: &Rebuild, records: Vec<LoadedRecord>) -> Result<()> {
        let (store, link) = (Arc::clone(&self.store), self.link(rebuild)?);
        let loaded = carried(async move { store.load(&link, records).await }).await?;
        loaded.ok_or_else(|| rebuild.is_over())
    }

    async fn fence(&self, rebuild: &Rebuild) -> Result<Fence> {
        let link = self.link(rebuild)?;
        let held = self.store.locks.of_key(rebuild.lock()).await;
        let (store, lock) = (Arc::clone(&self.store), rebuild.lock());
        let fenced = carried(async move { store.fence(link, lock, held).await }).await?;
        fenced.map(Fence::new).ok_or_else(|| rebuild.is_over())
    }

    async fn finish_rebuild(&self, rebuild: Rebuild, fence: Fence, through: Position) -> Result<()> {
        let link = self.link(&rebuild)?;
        if !fence.guard::<Fenced>().is_some_and(|fenced| Arc::ptr_eq(&fenced.link, &link)) {
            return Err(rebuild.is_over());
        }
        let store = Arc::clone(&self.store);
        carried(async move {
            let finished = store.finish(&link, rebuild.log(), through).await;
            if let Some(fenced) = fence.guard::<Fenced>() {
                fenced.ended();
            }
            let finished = finished.and_then(|finished| finished.ok_or_else(|| rebuild.is_over()));
            drop(fence);
            let old = finished?;
            store.tidy(&link, old).await;
            drop(rebuild);
            Ok(())
        })
        .await
    }

    async fn abandon_rebuild(&self, rebuild: Rebuild) -> Result<()> {
        let (store, link) = (Arc::clone(&self.store), self.link(&rebuild)?);
        carried(async move {
            let abandoned = store.abandon(&link).await;
            drop(rebuild);
            abandoned
        })
        .await
    }

    async fn clear(&self, log: &LogId, lock: LockKey) -> Result<u64> {
        let held = self.store.locks.of_key(lock).await;
        let (store, log) = (Arc::clone(&self.store), log.clone());
        carried(async move { store.clear(&log, lock, held).await }).await
    }
}

impl PostgresBackend {
    /// What a rebuild of this backend writes through.
    fn link(&self, rebuild: &Rebuild) -> Result<Arc<crate::rebuild::Link>> {
        let running = rebuild.guard::<Running>().filter(|running| running.is_of(&self.store));
        running.map(|running| Arc::clone(&running.link)).ok_or_else(|| rebuild.is_over())
    }
}
