//! Commits without end, and what must hold of the logs after whatever happened to them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use rekindle_core::ErrorKind;
use rekindle_core::store::{EventStore, ResourceStore, ResourceStoreExt};
use rekindle_core::types::{Commit, Event, EventId, EventQuery, LockKey, LogId, Position, RecordQuery};
use rekindle_redis::RedisBackend;

use super::{create, log};

/// The logs that are written to, each under a key of its own.
pub const LOGS: usize = 2;

pub fn log_of(number: usize) -> (LogId, LockKey) {
    (log().with_tenant(number.to_string()).unwrap(), LockKey::One(i64::try_from(number).unwrap()))
}

/// What was told of a commit, by its first event.
#[derive(Clone, Copy, Debug)]
pub enum Told {
    Made { log: usize, position: Position, id: EventId },
    Failed { log: usize, id: EventId },
    Open,
}

/// Commits to one log.
pub struct Writer {
    store: RedisBackend,
    log: usize,
}

impl Writer {
    pub fn new(store: RedisBackend, log: usize) -> Self {
        Self { store, log }
    }

    /// Commits until it is stopped; gives what it was told, and when.
    pub async fn run(self, stop: Arc<AtomicBool>) -> Vec<(Instant, Told)> {
        let mut told = Vec::new();
        let mut n = 0;
        while !stop.load(Ordering::SeqCst) {
            n += 1;
            let batch: Vec<Commit> = (0..1 + n % 3).map(|_| pair(self.log)).collect();
            let ids: Vec<EventId> = batch.iter().map(|commit| commit.events().next().unwrap().id).collect();
            for (answer, id) in self.store.commit(batch.into()).await.into_iter().zip(ids) {
                told.push((Instant::now(), self.told(answer, id)));
            }
        }
        told
    }

    fn told(&self, answer: rekindle_core::Result<rekindle_core::types::Committed>, id: EventId) -> Told {
        match answer {
            Ok(committed) => Told::Made { log: self.log, position: committed.events[0].position, id },
            Err(error) if error.kind() == &ErrorKind::Indeterminate => Told::Open,
            Err(error) => {
                assert_eq!(error.kind(), &ErrorKind::Unavailable, "{error:?}");
                Told::Failed { log: self.log, id }
            }
        }
    }
}

/// A commit of two events and two records.
fn pair(log: usize) -> Commit {
    let id = EventId::generate();
    let (log, lock) = log_of(log);
    let mut commit = Commit::new(log, lock);
    commit.changes = vec![
        create(&format!("{id}-1"), r#"{"n":1}"#, Some(&format!("{id}@example.org"))),
        create(&format!("{id}-2"), r#"{"n":1}"#, None),
    ];
    commit
}

pub async fn is_known(store: &RedisBackend, log: usize, id: EventId) -> bool {
    !store.read(&log_of(log).0, &EventQuery::new().with_id(id)).await.unwrap().items.is_empty()
}

/// Checks that a log is whole: its positions dense, its commits whole, its records and indexes those of its events. Gives its
/// events.
pub async fn check(store: &RedisBackend, number: usize, when: &str) -> Vec<Event> {
    let log = log_of(number).0;
    let mut events = Vec::new();
    let mut query = EventQuery::new().with_limit(10_000);
    loop {
        let page = store.read(&log, &query).await.unwrap();
        events.extend(page.items);
        let Some(next) = page.next else { break };
        query = query.with_cursor(next);
    }
    let head = store.head(&log).await.unwrap().position;
    assert_eq!(u64::try_from(events.len()).unwrap(), head.get(), "{when}: the head is not at the last event");
    assert_eq!(events.len() % 2, 0, "{when}: half a commit");
    for pair in events.chunks(2) {
        let [first, second] = [&pair[0], &pair[1]].map(|event| event.record_id.as_str());
        assert_eq!(first.strip_suffix("-1"), second.strip_suffix("-2"), "{when}: a commit is torn");
    }
    let mut records = Vec::new();
    let mut query = RecordQuery::new("shop.order".parse().unwrap()).with_limit(10_000);
    loop {
        let page = store.list(&log, &query).await.unwrap();
        records.extend(page.items.into_iter().map(|record| record.key.id.as_str().to_owned()));
        let Some(next) = page.next else { break };
        query = query.with_cursor(next);
    }
    let mut by_event: Vec<_> = events.iter().map(|event| event.record_id.as_str().to_owned()).collect();
    by_event.sort();
    assert_eq!(records, by_event, "{when}: the records are not those of the events");
    // The indexes, for the newest events: those were in flight.
    for event in events.iter().rev().take(50) {
        let by_id = store.read(&log, &EventQuery::new().with_id(event.id)).await.unwrap().items;
        let by_record = store.read(&log, &EventQuery::new().with_record(event.key())).await.unwrap().items;
        let only = std::slice::from_ref(event);
        assert_eq!((&by_id[..], &by_record[..]), (only, only), "{when}");
        let record = store.get_one(&log, &event.key()).await.unwrap().unwrap();
        for identity in &record.identities {
            let owner = store.find(&log, &identity.of(&record.key.resource)).await.unwrap();
            assert_eq!(owner.as_ref(), Some(&record), "{when}");
        }
    }
    events
}
