//! A store around another one, that a test can hold up, count and break.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use rekindle::store::{
    EventStore, Fence, Head, KeyStore, LoadedRecord, Rebuild, RebuildMode, ResourceStore, Store, StoreInfo,
};
use rekindle::types::{Commit, Committed, Identity, LockKey, Page, RecordCursor, RecordKey, RecordQuery};
use rekindle::{Error, ErrorKind, Event, EventQuery, Limits, LogId, Position, Record, Result};
use tokio::sync::watch;

/// Holds calls up while it is shut, and tells how many have come.
pub struct Gate {
    shut: watch::Sender<bool>,
    come: watch::Sender<usize>,
}

impl Default for Gate {
    fn default() -> Self {
        Self { shut: watch::Sender::new(false), come: watch::Sender::new(0) }
    }
}

impl Gate {
    pub fn shut(&self) {
        self.shut.send_replace(true);
    }

    pub fn open(&self) {
        self.shut.send_replace(false);
    }

    /// Waits until so many calls have come.
    pub async fn come(&self, calls: usize) {
        self.come.subscribe().wait_for(|come| *come >= calls).await.unwrap();
    }

    pub fn come_so_far(&self) -> usize {
        *self.come.borrow()
    }

    pub async fn pass(&self) {
        self.come.send_modify(|come| *come += 1);
        self.shut.subscribe().wait_for(|shut| !shut).await.unwrap();
    }
}

/// What goes wrong with a batch.
pub enum Fault {
    /// It is made, and the answers are lost.
    AnswerLost,
    /// It is not made, and the answers are lost.
    RequestLost,
    /// It is not made, and the store says so.
    Unavailable,
    /// The store panics.
    Panic,
}

pub struct Held {
    inner: Arc<dyn Store>,
    pub limits: Limits,
    /// How many batches it takes at once, and the least that each of them has.
    at_once: (usize, usize),
    pub commits: Gate,
    /// Only commits of this key are held up.
    pub only: Mutex<Option<LockKey>>,
    pub loads: Gate,
    pub faults: Mutex<VecDeque<Fault>>,
    /// How many commits each batch had.
    pub batches: Mutex<Vec<usize>>,
}

impl Held {
    pub fn around(inner: &Arc<dyn Store>) -> Arc<Self> {
        Self::with_limits(inner, Limits::default())
    }

    pub fn with_limits(inner: &Arc<dyn Store>, limits: Limits) -> Arc<Self> {
        Self::with(inner, limits, (1, 1))
    }

    pub fn with_batches_at_once(inner: &Arc<dyn Store>, batches: usize, least: usize) -> Arc<Self> {
        Self::with(inner, Limits::default(), (batches, least))
    }

    fn with(inner: &Arc<dyn Store>, limits: Limits, at_once: (usize, usize)) -> Arc<Self> {
        Arc::new(Self {
            inner: Arc::clone(inner),
            limits,
            at_once,
            commits: Gate::default(),
            only: Mutex::default(),
            loads: Gate::default(),
            faults: Mutex::default(),
            batches: Mutex::default(),
        })
    }

    pub fn faults(&self, faults: impl IntoIterator<Item = Fault>) {
        self.faults.lock().unwrap().extend(faults);
    }

    pub fn batches(&self) -> Vec<usize> {
        self.batches.lock().unwrap().clone()
    }
}

#[async_trait]
impl EventStore for Held {
    fn info(&self) -> StoreInfo {
        self.inner.info().with_limits(self.limits.clone()).with_batches_at_once(self.at_once.0, self.at_once.1)
    }

    fn key_store(&self) -> Option<&dyn KeyStore> {
        self.inner.key_store()
    }

    async fn commit(&self, batch: Arc<[Commit]>) -> Vec<Result<Committed>> {
        let only = *self.only.lock().unwrap();
        if only.is_none_or(|only| batch[0].lock == only) {
            self.commits.pass().await;
        }
        self.batches.lock().unwrap().push(batch.len());
        let lost = || Error::new(ErrorKind::Indeterminate, "the line went dead");
        let fault = self.faults.lock().unwrap().pop_front();
        match fault {
            None => self.inner.commit(batch).await,
            Some(Fault::AnswerLost) => {
                let answers = self.inner.commit(batch).await;
                answers.into_iter().map(|_| Err(lost())).collect()
            }
            Some(Fault::RequestLost) => batch.iter().map(|_| Err(lost())).collect(),
            Some(Fault::Unavailable) => {
                batch.iter().map(|_| Err(Error::new(ErrorKind::Unavailable, "the disk is full"))).collect()
            }
            Some(Fault::Panic) => panic!("the store broke"),
        }
    }

    async fn read(&self, log: &LogId, query: &EventQuery) -> Result<Page<Event, Position>> {
        self.inner.read(log, query).await
    }

    async fn head(&self, log: &LogId) -> Result<Head> {
        self.inner.head(log).await
    }

    async fn changed(&self, log: &LogId, after: Position) -> Result<()> {
        self.inner.changed(log, after).await
    }
}

#[async_trait]
impl ResourceStore for Held {
    async fn get(&self, log: &LogId, keys: &[RecordKey]) -> Result<Vec<Option<Record>>> {
        self.inner.get(log, keys).await
    }

    async fn list(&self, log: &LogId, query: &RecordQuery) -> Result<Page<Record, RecordCursor>> {
        self.inner.list(log, query).await
    }

    async fn find(&self, log: &LogId, identity: &Identity) -> Result<Option<Record>> {
        self.inner.find(log, identity).await
    }

    async fn begin_rebuild(&self, log: &LogId, lock: LockKey, mode: RebuildMode) -> Result<Rebuild> {
        self.inner.begin_rebuild(log, lock, mode).await
    }

    async fn loaded(&self, rebuild: &Rebuild, keys: &[RecordKey]) -> Result<Vec<Option<LoadedRecord>>> {
        self.inner.loaded(rebuild, keys).await
    }

    async fn load(&self, rebuild: &Rebuild, records: Vec<LoadedRecord>) -> Result<()> {
        self.loads.pass().await;
        self.inner.load(rebuild, records).await
    }

    async fn fence(&self, rebuild: &Rebuild) -> Result<Fence> {
        self.inner.fence(rebuild).await
    }

    async fn finish_rebuild(&self, rebuild: Rebuild, fence: Fence, through: Position) -> Result<()> {
        self.inner.finish_rebuild(rebuild, fence, through).await
    }

    async fn abandon_rebuild(&self, rebuild: Rebuild) -> Result<()> {
        self.inner.abandon_rebuild(rebuild).await
    }

    async fn clear(&self, log: &LogId, lock: LockKey) -> Result<u64> {
        self.inner.clear(log, lock).await
    }
}
