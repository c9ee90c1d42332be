//! Drifts, planted: records written past the events that should tell of them.

use futures::TryStreamExt;
use rekindle::store::{EventStoreExt, LoadedRecord, RebuildMode, ResourceStoreExt, Store};
use rekindle::types::{
    Change, Commit, DefaultLockKeys, Expected, IdentityValue, LockKeys, RecordKey, RecordQuery, RecordWrite,
    ResourceName, WriteState,
};
use rekindle::{Json, Log, Revision};
use serde_json::Value;

pub fn content(attributes: &Value, identities: &[(&str, &str)]) -> WriteState {
    let identities = identities.iter().map(|(name, value)| IdentityValue::new(*name, *value).unwrap());
    WriteState { attributes: Json::from_value(attributes).unwrap(), identities: identities.collect() }
}

/// Writes a record, or destroys it, in a commit without an event.
pub async fn write(store: &dyn Store, log: &Log, key: (&str, &str), state: Option<WriteState>) {
    let key = RecordKey::new(key.0, key.1).unwrap();
    let mut commit = Commit::new(log.id().clone(), DefaultLockKeys::default().key(log.id()).unwrap());
    let write = RecordWrite { key, expected: Expected::Any, state };
    commit.changes.push(Change { event: None, write: Some(write) });
    store.commit_one(commit).await.unwrap();
}

/// Rebuilds the records of these resources as they are, but for this one.
pub async fn rebuild(
    store: &dyn Store,
    log: &Log,
    resources: &[&str],
    key: (&str, &str),
    revision: u64,
    state: WriteState,
) {
    let wrong = RecordKey::new(key.0, key.1).unwrap();
    let mut records = Vec::new();
    for resource in resources {
        let mut stored = store.stream_records(log.id(), RecordQuery::new(ResourceName::new(resource).unwrap()));
        while let Some(record) = stored.try_next().await.unwrap() {
            let state = Some(WriteState { attributes: record.attributes, identities: record.identities });
            records.push(LoadedRecord { key: record.key, revision: record.revision, state });
        }
    }
    records.retain(|record| record.key != wrong);
    records.push(LoadedRecord { key: wrong, revision: Revision::new(revision), state: Some(state) });
    let lock = DefaultLockKeys::default().key(log.id()).unwrap();
    let rebuild = store.begin_rebuild(log.id(), lock, RebuildMode::Shadow).await.unwrap();
    store.load(&rebuild, records).await.unwrap();
    let fence = store.fence(&rebuild).await.unwrap();
    let head = store.head(log.id()).await.unwrap().position;
    store.finish_rebuild(rebuild, fence, head).await.unwrap();
}
