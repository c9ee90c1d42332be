//! The state's read path, and the rebuild path.

use std::collections::BTreeMap;
use std::mem;
use std::ops::Bound;
use std::sync::Arc;

use async_trait::async_trait;
use rekindle_core::store::decide::rebuilding;
use rekindle_core::store::{Fence, LoadedRecord, LocksHeld, LogState, Rebuild, RebuildMode, ResourceStore};
use rekindle_core::types::{
    Generation, Identity, LockKey, LogId, Order, Page, Position, Record, RecordCursor, RecordKey, RecordQuery,
};
use rekindle_core::{Error, ErrorKind, Result};

use crate::state::{Loading, Log, Records, State, live};
use crate::{MemoryBackend, Shared};

/// Ends a rebuild when it is dropped.
struct Running {
    shared: Arc<Shared>,
    log: LogId,
    generation: Generation,
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut state = self.shared.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let log = state.log_mut(&self.log);
        log.rebuild.take_if(|loading| loading.generation == self.generation);
    }
}

/// A log's lock, held by a fence.
struct Fenced {
    log: LogId,
    _held: LocksHeld,
}

/// The records that readers see.
fn readable<'a>(state: &'a State, log: &LogId) -> Result<Option<&'a Records>> {
    match state.log(log) {
        Some(Log { head, .. }) if head.state == LogState::Rebuilding => Err(rebuilding(log)),
        log => Ok(log.map(|log| &log.records)),
    }
}

/// The generation that this rebuild loads.
fn loading<'a>(state: &'a mut State, rebuild: &Rebuild) -> Result<&'a mut Records> {
    let log = state.log_mut(rebuild.log());
    match &mut log.rebuild {
        Some(loading) if loading.generation == rebuild.generation() => Ok(&mut loading.records),
        _ => Err(rebuild.is_over()),
    }
}

#[async_trait]
impl ResourceStore for MemoryBackend {
    async fn get(&self, log: &LogId, keys: &[RecordKey]) -> Result<Vec<Option<Record>>> {
        let state = self.state();
        let records = readable(&state, log)?;
        Ok(keys.iter().map(|key| records.and_then(|records| records.get(key))).collect())
    }

    async fn list(&self, log: &LogId, query: &RecordQuery) -> Result<Page<Record, RecordCursor>> {
        let limit = query.limit.min(self.config.limits.page_rows);
        let cursor = query.cursor_id()?.cloned();
        let state = self.state();
        let (Some(records), true) = (readable(&state, log)?, limit > 0) else { return Ok(Page::empty()) };
        let Some(of_resource) = records.by_resource.get(&query.resource) else { return Ok(Page::empty()) };
        let bound = cursor.map_or(Bound::Unbounded, Bound::Excluded);
        let items: Vec<Record> = match query.order {
            Order::Forward => of_resource
                .range((bound, Bound::Unbounded))
                .filter_map(|(_, record)| live(record))
                .take(limit)
                .collect(),
            Order::Backward => of_resource
                .range((Bound::Unbounded, bound))
                .rev()
                .filter_map(|(_, record)| live(record))
                .take(limit)
                .collect(),
        };
        let next = items.last().filter(|_| items.len() == limit).map(|record| RecordCursor::new(record.key.clone()));
        Ok(Page { items, next })
    }

    async fn find(&self, log: &LogId, identity: &Identity) -> Result<Option<Record>> {
        Ok(readable(&self.state(), log)?.and_then(|records| records.find(identity)))
    }

    async fn begin_rebuild(&self, log: &LogId, lock: LockKey, mode: RebuildMode) -> Result<Rebuild> {
        let _held = self.shared.locks.of_key(lock).await;
        let mut state = self.state();
        let entry = state.log_mut(log);
        if entry.rebuild.is_some() {
            return Err(Error::new(ErrorKind::Rebuilding, format!("another rebuild of {log} is running")));
        }
        let generation = entry.head.generation.next();
        entry.rebuild = Some(Loading { generation, records: Records::default() });
        if mode == RebuildMode::InPlace {
            entry.records = Records::default();
            entry.head.state = LogState::Rebuilding;
        }
        let running = Running { shared: Arc::clone(&self.shared), log: log.clone(), generation };
        Ok(Rebuild::new(log.clone(), lock, generation, mode, running))
    }

    async fn loaded(&self, rebuild: &Rebuild, keys: &[RecordKey]) -> Result<Vec<Option<LoadedRecord>>> {
        let mut state = self.state();
        let records = loading(&mut state, rebuild)?;
        Ok(keys.iter().map(|key| records.loaded(key).cloned()).collect())
    }

    async fn load(&self, rebuild: &Rebuild, records: Vec<LoadedRecord>) -> Result<()> {
        loading(&mut self.state(), rebuild)?.load(records);
        Ok(())
    }

    async fn fence(&self, rebuild: &Rebuild) -> Result<Fence> {
        loading(&mut self.state(), rebuild)?;
        let held = self.shared.locks.of_key(rebuild.lock()).await;
        Ok(Fence::new(Fenced { log: rebuild.log().clone(), _held: held }))
    }

    async fn finish_rebuild(&self, rebuild: Rebuild, fence: Fence, through: Position) -> Result<()> {
        if fence.guard::<Fenced>().is_none_or(|fenced| fenced.log != *rebuild.log()) {
            return Err(rebuild.is_over());
        }
        let mut state = self.state();
        loading(&mut state, &rebuild)?;
        let log = state.log_mut(rebuild.log());
        if through > log.head.position {
            let message =
                format!("the log {} is at position {}, not yet at {through}", rebuild.log(), log.head.position);
            return Err(Error::invalid(message));
        }
        if let Some(loading) = log.rebuild.take() {
            log.records = loading.records;
        }
        log.head.generation = rebuild.generation();
        log.head.state = if through == log.head.position { LogState::Live } else { LogState::Rewound(through) };
        drop(state);
        drop(rebuild);
        Ok(())
    }

    async fn abandon_rebuild(&self, rebuild: Rebuild) -> Result<()> {
        drop(rebuild);
        Ok(())
    }

    async fn clear(&self, log: &LogId, lock: LockKey) -> Result<u64> {
        let _held = self.shared.locks.of_key(lock).await;
        let mut state = self.state();
        let entry = state.log_mut(log);
        if entry.rebuild.is_some() {
            return Err(Error::new(ErrorKind::Rebuilding, format!("a rebuild of {log} is running")));
        }
        let cleared = mem::take(&mut entry.records);
        if entry.head.position > Position::ZERO && entry.head.state != LogState::Rebuilding {
            entry.head.state = LogState::Rewound(Position::ZERO);
        }
        Ok(cleared.by_resource.values().flat_map(BTreeMap::values).filter(|record| record.state.is_some()).count()
            as u64)
    }
}
