//! What the cases read, and what they hold against it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::Poll;

use futures::TryStreamExt;
use rekindle_core::store::{EventStoreExt, Head, KeyStore, LoadedRecord, RebuildMode, ResourceStoreExt, Store};
use rekindle_core::types::{
    ActionType, Commit, Committed, Event, EventQuery, IdentityValue, KeyId, KeyRow, LogId, Position, Record, RecordKey,
    RecordQuery, WriteState,
};
use rekindle_core::{Error, ErrorKind, Result};

use crate::sample::{key, lock_of, resource, subject};

/// Makes a commit that must succeed.
pub(crate) async fn put(store: &dyn Store, commit: Commit) -> Committed {
    store.commit_one(commit).await.expect("a commit that must succeed failed")
}

/// Asserts that a commit waits for a fence. Its answer tells a fence that does not hold from a store that gave up waiting.
pub(crate) async fn assert_waits(waiting: &mut (impl Future<Output = Result<Committed>> + Unpin)) {
    if let Poll::Ready(answer) = futures::poll!(waiting) {
        panic!("a commit did not wait for the fence: {answer:?}");
    }
}

/// Makes a commit that must fail, and leave no trace in its log.
pub(crate) async fn refused(store: &dyn Store, commit: Commit) -> Error {
    let log = commit.log.clone();
    let before = Everything::of(store, &log).await;
    let error = store.commit_one(commit).await.expect_err("a commit that must fail succeeded");
    assert_eq!(Everything::of(store, &log).await, before, "a failed commit left a trace; it failed with {error:?}");
    error
}

/// Asserts the kind of an error, and that its message names this.
#[track_caller]
pub(crate) fn assert_error(error: &Error, kind: &ErrorKind, names: &str) {
    assert_eq!(error.kind(), kind, "the error is of another kind: {error:?}");
    assert!(error.message().contains(names), "the message {:?} does not name {names:?}", error.message());
}

/// Asserts that these events are those, and tells where they differ rather than all of both.
#[track_caller]
pub(crate) fn assert_same(actual: &[Event], expected: &[Event], of: &dyn std::fmt::Debug) {
    let positions = |events: &[Event]| events.iter().map(|event| event.position.get()).collect::<Vec<_>>();
    assert_eq!(positions(actual), positions(expected), "the positions of {of:?}");
    for (actual, expected) in actual.iter().zip(expected) {
        assert_eq!(actual, expected, "an event of {of:?}");
    }
}

/// All that can be read of a log.
#[derive(Debug, PartialEq)]
pub(crate) struct Everything {
    pub(crate) head: Head,
    pub(crate) events: Vec<Event>,
    /// `None` while they cannot be read.
    pub(crate) records: Option<Vec<Record>>,
    /// `None` if the store keeps none.
    pub(crate) keys: Option<Vec<KeyRow>>,
}

impl Everything {
    pub(crate) async fn of(store: &dyn Store, log: &LogId) -> Self {
        let records = match store.info().records {
            true => match store.stream_records(log, RecordQuery::new(resource())).try_collect().await {
                Ok(records) => Some(records),
                Err(error) => {
                    assert_eq!(error.kind(), &ErrorKind::Rebuilding, "{error:?}");
                    None
                }
            },
            false => None,
        };
        let keys = match store.key_store() {
            Some(_) => Some(all_keys(store, log).await),
            None => None,
        };
        Self { head: store.head(log).await.unwrap(), events: events(store, log).await, records, keys }
    }
}

/// All events of a log.
pub(crate) async fn events(store: &dyn Store, log: &LogId) -> Vec<Event> {
    stream(store, log, EventQuery::new()).await
}

/// All events that pass a query, page by page.
pub(crate) async fn stream(store: &dyn Store, log: &LogId, query: EventQuery) -> Vec<Event> {
    store.stream(log, query).try_collect().await.unwrap()
}

/// All records of the samples' resource.
pub(crate) async fn records(store: &dyn Store, log: &LogId) -> Vec<Record> {
    store.stream_records(log, RecordQuery::new(resource())).try_collect().await.unwrap()
}

pub(crate) async fn record(store: &dyn Store, log: &LogId, id: &str) -> Option<Record> {
    store.get_one(log, &key(id)).await.unwrap()
}

/// The member `n` of a record; `None` if the record is not there.
pub(crate) async fn n(store: &dyn Store, log: &LogId, id: &str) -> Option<u64> {
    record(store, log, id).await.map(|record| number_in(&record))
}

pub(crate) fn number_in(record: &Record) -> u64 {
    record.attributes.to_value::<serde_json::Value>().unwrap()["n"].as_u64().unwrap()
}

/// Where a store keeps keys that does keep them.
pub(crate) fn key_store(store: &dyn Store) -> &dyn KeyStore {
    store.key_store().expect("the store keeps keys in one case and none in another")
}

/// The keys of one subject.
pub(crate) async fn keys_of(store: &dyn Store, log: &LogId, text: &str) -> Option<KeyRow> {
    let mut rows = key_store(store).keys(log, &[subject(text)]).await.unwrap();
    assert_eq!(rows.len(), 1, "there is one answer for each subject");
    rows.remove(0)
}

/// The row that is found by a key's id.
pub(crate) async fn keys_by_id(store: &dyn Store, log: &LogId, id: KeyId) -> Option<KeyRow> {
    let mut rows = key_store(store).keys_by_id(log, &[id]).await.unwrap();
    assert_eq!(rows.len(), 1, "there is one answer for each id");
    rows.remove(0)
}

/// The keys of all subjects of a log.
pub(crate) async fn all_keys(store: &dyn Store, log: &LogId) -> Vec<KeyRow> {
    paged_keys(store, log, usize::MAX).await
}

/// The same, by pages of so many.
pub(crate) async fn paged_keys(store: &dyn Store, log: &LogId, limit: usize) -> Vec<KeyRow> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let page = key_store(store).list_keys(log, after.as_ref(), limit).await.unwrap();
        assert!(page.items.len() <= limit, "a page of {limit} has {} rows", page.items.len());
        all.extend(page.items);
        match page.next {
            Some(next) => after = Some(next),
            None => return all,
        }
    }
}

/// The kinds of the errors of a batch; `None` for a success.
pub(crate) fn kinds(answers: &[Result<Committed>]) -> Vec<Option<ErrorKind>> {
    answers.iter().map(|answer| answer.as_ref().err().map(|error| error.kind().clone())).collect()
}

/// The positions of an answer.
pub(crate) fn positions(committed: &Committed) -> Vec<u64> {
    committed.events.iter().map(|event| event.position.get()).collect()
}

/// The records that the events of the samples add up to, destroyed ones among them.
pub(crate) fn fold(events: &[Event]) -> BTreeMap<RecordKey, LoadedRecord> {
    let mut folded = BTreeMap::new();
    for event in events {
        let Some(revision) = event.revision else { continue };
        let state = (event.action_type != ActionType::Destroy).then(|| {
            let metadata: serde_json::Value = event.metadata.json().unwrap().to_value().unwrap();
            let identities: Vec<IdentityValue> = serde_json::from_value(metadata["identities"].clone()).unwrap();
            WriteState { attributes: event.data.json().unwrap().clone(), identities }
        });
        folded.insert(event.key(), LoadedRecord { key: event.key(), revision, state });
    }
    folded
}

/// The record as a reader sees it.
pub(crate) fn live(record: &LoadedRecord) -> Option<Record> {
    record.state.as_ref().map(|state| Record {
        key: record.key.clone(),
        revision: record.revision,
        attributes: state.attributes.clone(),
        identities: state.identities.clone(),
    })
}

/// Replays the events up to a position: as the engine does, without user code.
pub(crate) async fn rebuild(store: &Arc<dyn Store>, log: &LogId, mode: RebuildMode, through: Position) {
    let rebuild = store.begin_rebuild(log, lock_of(log), mode).await.unwrap();
    let events = stream(&**store, log, EventQuery::new().with_up_to(through)).await;
    let records: Vec<LoadedRecord> = fold(&events).into_values().collect();
    for chunk in records.chunks(3) {
        store.load(&rebuild, chunk.to_vec()).await.unwrap();
    }
    let fence = store.fence(&rebuild).await.unwrap();
    store.finish_rebuild(rebuild, fence, through).await.unwrap();
}
