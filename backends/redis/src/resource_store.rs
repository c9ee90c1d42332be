//! The state's read path, and the rebuild path.

use std::collections::HashMap;

use async_trait::async_trait;
use redis::Cmd;
use rekindle_core::store::decide::rebuilding;
use rekindle_core::store::{Fence, LoadedRecord, LogState, Rebuild, RebuildMode, ResourceStore};
use rekindle_core::types::{
    Identity, LockKey, LogId, Order, Page, Position, Record, RecordCursor, RecordId, RecordKey, RecordQuery,
    ResourceName,
};
use rekindle_core::{Error, Result};

use crate::RedisBackend;
use crate::error::unexpected;
use crate::functions;
use crate::rows::{self, identity_field};
use crate::store::{Effect, bytes, text, worded};

/// Keys, by their resources: the functions take and give them so.
pub(crate) struct ByResource<'a> {
    resources: Vec<(&'a ResourceName, Vec<usize>)>,
    keys: &'a [RecordKey],
}

impl<'a> ByResource<'a> {
    pub(crate) fn new(keys: &'a [RecordKey]) -> Self {
        let mut places: HashMap<&ResourceName, usize> = HashMap::new();
        let mut resources: Vec<(&ResourceName, Vec<usize>)> = Vec::new();
        for (at, key) in keys.iter().enumerate() {
            let place = *places.entry(&key.resource).or_insert_with(|| {
                resources.push((&key.resource, Vec::new()));
                resources.len() - 1
            });
            if let Some((_, of)) = resources.get_mut(place) {
                of.push(at);
            }
        }
        Self { resources, keys }
    }

    pub(crate) fn write(&self, call: &mut Cmd) {
        call.arg(self.resources.len());
        for (resource, places) in &self.resources {
            call.arg(resource.as_str()).arg(places.len());
            for key in places.iter().filter_map(|at| self.keys.get(*at)) {
                call.arg(key.id.as_str());
            }
        }
    }

    /// Each key's row, in the order in which the keys were given.
    pub(crate) fn rows<T>(
        &self,
        answer: impl Iterator<Item = redis::Value>,
        decode: impl Fn(&[u8], &RecordKey) -> Result<Option<T>>,
    ) -> Result<Vec<Option<T>>> {
        let mut rows: Vec<Option<T>> = Vec::new();
        rows.resize_with(self.keys.len(), || None);
        let places = self.resources.iter().flat_map(|(_, places)| places);
        for (at, row) in places.zip(answer) {
            if let (Some(row), Some(key), Some(found)) = (bytes(row, "get")?, self.keys.get(*at), rows.get_mut(*at)) {
                *found = decode(&row, key)?;
            }
        }
        Ok(rows)
    }
}

/// The rest of an answer, if the log's records can be read.
fn readable(answer: redis::Value, log: &LogId) -> Result<std::vec::IntoIter<redis::Value>> {
    let (state, rest) = worded(answer, "a read")?;
    match rows::decode_log_state(state.as_bytes())? {
        LogState::Rebuilding => Err(rebuilding(log)),
        LogState::Live | LogState::Rewound(_) => Ok(rest),
    }
}

/// A record that an index leads to, so it is there.
fn indexed(row: redis::Value, key: &RecordKey) -> Result<Record> {
    let row = bytes(row, "a read")?;
    let record = row.map(|row| rows::decode_live(&row, key)).transpose()?;
    record.flatten().ok_or_else(|| Error::corrupt(format!("the record {key} is in an index, and is not there")))
}

#[async_trait]
impl ResourceStore for RedisBackend {
    async fn get(&self, log: &LogId, keys: &[RecordKey]) -> Result<Vec<Option<Record>>> {
        let by_resource = ByResource::new(keys);
        let tag = self.store.tag(log);
        let answer = self
            .store
            .function(functions::GET, &[tag.head()], Effect::None, |call| {
                call.arg(tag.as_str());
                by_resource.write(call);
            })
            .await?;
        by_resource.rows(readable(answer, log)?, rows::decode_live)
    }

    async fn list(&self, log: &LogId, query: &RecordQuery) -> Result<Page<Record, RecordCursor>> {
        let limit = query.limit.min(self.store.config.limits.page_rows);
        let cursor = query.cursor_id()?;
        let tag = self.store.tag(log);
        let answer = self
            .store
            .function(functions::LIST, &[tag.head()], Effect::None, |call| {
                call.arg(tag.as_str()).arg(query.resource.as_str());
                call.arg(if query.order == Order::Forward { "f" } else { "b" });
                call.arg(cursor.map_or("", RecordId::as_str)).arg(limit);
            })
            .await?;
        let mut rest = readable(answer, log)?;
        let mut items = Vec::with_capacity(rest.len() / 2);
        while let Some(id) = rest.next() {
            let key = RecordKey { resource: query.resource.clone(), id: RecordId::new(text(id, "list")?)? };
            items.push(indexed(rest.next().unwrap_or_default(), &key)?);
        }
        let next = items.last().filter(|_| items.len() == limit).map(|record| RecordCursor::new(record.key.clone()));
        Ok(Page { items, next })
    }

    async fn find(&self, log: &LogId, identity: &Identity) -> Result<Option<Record>> {
        let tag = self.store.tag(log);
        let answer = self
            .store
            .function(functions::FIND, &[tag.head()], Effect::None, |call| {
                call.arg(tag.as_str()).arg(identity.resource.as_str());
                call.arg(&identity_field(&identity.name, &identity.value)[..]);
            })
            .await?;
        let mut rest = readable(answer, log)?;
        let Some(owner) = rest.next() else { return Ok(None) };
        let key = RecordKey { resource: identity.resource.clone(), id: RecordId::new(text(owner, "find")?)? };
        indexed(rest.next().ok_or_else(|| unexpected("find"))?, &key).map(Some)
    }

    async fn begin_rebuild(&self, log: &LogId, lock: LockKey, mode: RebuildMode) -> Result<Rebuild> {
        self.store.begin_rebuild(log, lock, mode).await
    }

    async fn loaded(&self, rebuild: &Rebuild, keys: &[RecordKey]) -> Result<Vec<Option<LoadedRecord>>> {
        self.store.loaded(rebuild, keys).await
    }

    async fn load(&self, rebuild: &Rebuild, records: Vec<LoadedRecord>) -> Result<()> {
        self.store.load(rebuild, records).await
    }

    async fn fence(&self, rebuild: &Rebuild) -> Result<Fence> {
        self.store.fence_rebuild(rebuild).await
    }

    async fn finish_rebuild(&self, rebuild: Rebuild, fence: Fence, through: Position) -> Result<()> {
        self.store.finish_rebuild(rebuild, fence, through).await
    }

    async fn abandon_rebuild(&self, rebuild: Rebuild) -> Result<()> {
        self.store.abandon_rebuild(rebuild).await
    }

    async fn clear(&self, log: &LogId, lock: LockKey) -> Result<u64> {
        self.store.clear(log, lock).await
    }
}
