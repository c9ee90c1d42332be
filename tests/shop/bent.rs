//! A backend of one's own: a store around another one, that a test can look into and bend.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures::future::{BoxFuture, OptionFuture};
use rekindle::store::{
    EventStore, Fence, Head, KeyStore, LoadedRecord, Rebuild, RebuildMode, ResourceStore, ResourceStoreExt, Store,
    StoreInfo,
};
use rekindle::types::{Commit, Committed, Identity, LockKey, Page, RecordCursor, RecordKey, RecordQuery};
use rekindle::{Event, EventQuery, LogId, Position, Record, Result};

type Index = Box<dyn Fn(&Identity) -> Option<RecordKey> + Send + Sync>;
type Meddling = Box<dyn Fn(Read) -> BoxFuture<'static, ()> + Send + Sync>;

/// A moment at which something is read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Read {
    pub of: Of,
    /// The n-th time, from 1.
    pub nth: usize,
    /// Whether it is before it is read, and not after it.
    pub before: bool,
}

/// What is read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Of {
    /// The events of the whole log.
    Log,
    /// The events of a record.
    Record,
    /// A list of records.
    List,
}

pub struct Bent {
    inner: Arc<dyn Store>,
    /// What each commit, rebuild and clearing was serialized by.
    pub locks: Mutex<Vec<(String, LockKey)>>,
    /// Where identities lead, in the place of where they do.
    index: Mutex<Option<Index>>,
    /// What happens before and after something is read.
    around_reads: Mutex<Option<Meddling>>,
    /// How often each was read.
    reads: [AtomicUsize; 3],
}

impl Bent {
    pub fn around(inner: &Arc<dyn Store>) -> Arc<Self> {
        let inner = Arc::clone(inner);
        Arc::new(Self {
            inner,
            locks: Mutex::default(),
            index: Mutex::default(),
            around_reads: Mutex::default(),
            reads: Default::default(),
        })
    }

    pub fn index(&self, index: impl Fn(&Identity) -> Option<RecordKey> + Send + Sync + 'static) {
        *self.index.lock().unwrap() = Some(Box::new(index));
    }

    pub fn around_reads(&self, meddling: impl Fn(Read) -> BoxFuture<'static, ()> + Send + Sync + 'static) {
        *self.around_reads.lock().unwrap() = Some(Box::new(meddling));
        self.reads.iter().for_each(|reads| reads.store(0, Ordering::SeqCst));
    }

    /// What was serialized since this was asked last.
    pub fn locks(&self) -> Vec<(String, LockKey)> {
        std::mem::take(&mut self.locks.lock().unwrap())
    }

    async fn meddled<T>(&self, of: Of, read: impl Future<Output = T>) -> T {
        let nth = self.reads[of as usize].fetch_add(1, Ordering::SeqCst) + 1;
        let meddle = |before| {
            let around = self.around_reads.lock().unwrap();
            OptionFuture::from(around.as_ref().map(|meddling| meddling(Read { of, nth, before })))
        };
        meddle(true).await;
        let answer = read.await;
        meddle(false).await;
        answer
    }

    fn locked(&self, log: &LogId, lock: LockKey) {
        self.locks.lock().unwrap().push((log.to_string(), lock));
    }
}

#[async_trait]
impl EventStore for Bent {
    fn info(&self) -> StoreInfo {
        self.inner.info()
    }

    fn key_store(&self) -> Option<&dyn KeyStore> {
        self.inner.key_store()
    }

    async fn commit(&self, batch: Arc<[Commit]>) -> Vec<Result<Committed>> {
        batch.iter().for_each(|commit| self.locked(&commit.log, commit.lock));
        self.inner.commit(batch).await
    }

    async fn read(&self, log: &LogId, query: &EventQuery) -> Result<Page<Event, Position>> {
        let of = if query.record_id.is_some() { Of::Record } else { Of::Log };
        self.meddled(of, self.inner.read(log, query)).await
    }

    async fn head(&self, log: &LogId) -> Result<Head> {
        self.inner.head(log).await
    }

    async fn changed(&self, log: &LogId, after: Position) -> Result<()> {
        self.inner.changed(log, after).await
    }
}

#[async_trait]
impl ResourceStore for Bent {
    async fn get(&self, log: &LogId, keys: &[RecordKey]) -> Result<Vec<Option<Record>>> {
        self.inner.get(log, keys).await
    }

    async fn list(&self, log: &LogId, query: &RecordQuery) -> Result<Page<Record, RecordCursor>> {
        self.meddled(Of::List, self.inner.list(log, query)).await
    }

    async fn find(&self, log: &LogId, identity: &Identity) -> Result<Option<Record>> {
        let bent = self.index.lock().unwrap().as_ref().map(|index| index(identity));
        match bent {
            None => self.inner.find(log, identity).await,
            Some(None) => Ok(None),
            Some(Some(key)) => self.inner.get_one(log, &key).await,
        }
    }

    async fn begin_rebuild(&self, log: &LogId, lock: LockKey, mode: RebuildMode) -> Result<Rebuild> {
        self.locked(log, lock);
        self.inner.begin_rebuild(log, lock, mode).await
    }

    async fn loaded(&self, rebuild: &Rebuild, keys: &[RecordKey]) -> Result<Vec<Option<LoadedRecord>>> {
        self.inner.loaded(rebuild, keys).await
    }

    async fn load(&self, rebuild: &Rebuild, records: Vec<LoadedRecord>) -> Result<()> {
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
        self.locked(log, lock);
        self.inner.clear(log, lock).await
    }
}
