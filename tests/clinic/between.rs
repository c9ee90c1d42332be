//! A store around another one: what comes of each commit is decided by a test, which can change it on the way, and kill
//! the process that makes it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use rekindle::store::{
    EventStore, Fence, Head, KeyStore, LoadedRecord, Rebuild, RebuildMode, ResourceStore, Store, StoreInfo,
};
use rekindle::types::{
    Commit, Committed, Identity, KeyId, KeyRow, LockKey, Page, RecordCursor, RecordKey, RecordQuery,
};
use rekindle::{Error, ErrorKind, Event, EventQuery, LogId, Position, Record, Result, Subject};

/// What comes of a commit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fate {
    Made,
    /// The process dies before it is made.
    DiesBefore,
    /// The process dies after it was made.
    DiesAfter,
    /// It is made, and its answer is lost; the process goes on.
    AnswerLost,
}

type Hook = Box<dyn FnMut(&mut Commit) -> Fate + Send>;

pub struct Between {
    inner: Arc<dyn Store>,
    hook: Mutex<Option<Hook>>,
    dead: AtomicBool,
}

impl Between {
    pub fn around(inner: &Arc<dyn Store>) -> Arc<Self> {
        Arc::new(Self { inner: Arc::clone(inner), hook: Mutex::default(), dead: AtomicBool::new(false) })
    }

    /// Decides on each commit from now on.
    pub fn each(&self, hook: impl FnMut(&mut Commit) -> Fate + Send + 'static) {
        *self.hook.lock().unwrap() = Some(Box::new(hook));
    }

    /// Changes the next commit that has an event.
    pub fn next(&self, change: impl FnOnce(&mut Commit) + Send + 'static) {
        let mut change = Some(change);
        self.each(move |commit| {
            if commit.changes.first().is_some_and(|first| first.event.is_some())
                && let Some(change) = change.take()
            {
                change(commit);
            }
            Fate::Made
        });
    }

    /// The n-th commit from now on, from 0, meets this fate; tells whether it has come to it.
    pub fn nth(&self, n: usize, fate: Fate) -> Arc<AtomicBool> {
        let come = Arc::new(AtomicBool::new(false));
        let (told, mut made) = (Arc::clone(&come), 0);
        self.each(move |_| {
            made += 1;
            if made - 1 != n {
                return Fate::Made;
            }
            told.store(true, Ordering::SeqCst);
            fate
        });
        come
    }

    fn alive(&self) -> Result<()> {
        match self.dead.load(Ordering::SeqCst) {
            true => Err(Error::new(ErrorKind::Unavailable, "the process is dead")),
            false => Ok(()),
        }
    }

    fn key_store(&self) -> &dyn KeyStore {
        self.inner.key_store().unwrap()
    }
}

#[async_trait]
impl EventStore for Between {
    fn info(&self) -> StoreInfo {
        self.inner.info()
    }

    fn key_store(&self) -> Option<&dyn KeyStore> {
        Some(self)
    }

    async fn commit(&self, batch: Arc<[Commit]>) -> Vec<Result<Committed>> {
        let mut answers = Vec::new();
        for mut commit in batch.iter().cloned() {
            if let Err(error) = self.alive() {
                answers.push(Err(error));
                continue;
            }
            let fate = self.hook.lock().unwrap().as_mut().map_or(Fate::Made, |hook| hook(&mut commit));
            let lost = Error::new(ErrorKind::Indeterminate, "the line went dead");
            if matches!(fate, Fate::DiesBefore | Fate::DiesAfter) {
                self.dead.store(true, Ordering::SeqCst);
            }
            if fate == Fate::DiesBefore {
                answers.push(Err(Error::new(ErrorKind::Unavailable, "the process is dead")));
                continue;
            }
            let answer = self.inner.commit([commit].into()).await.remove(0);
            answers.push(if fate == Fate::Made { answer } else { Err(lost) });
        }
        answers
    }

    async fn read(&self, log: &LogId, query: &EventQuery) -> Result<Page<Event, Position>> {
        self.alive()?;
        self.inner.read(log, query).await
    }

    async fn head(&self, log: &LogId) -> Result<Head> {
        self.alive()?;
        self.inner.head(log).await
    }

    async fn changed(&self, log: &LogId, after: Position) -> Result<()> {
        self.inner.changed(log, after).await
    }
}

#[async_trait]
impl KeyStore for Between {
    async fn keys(&self, log: &LogId, subjects: &[Subject]) -> Result<Vec<Option<KeyRow>>> {
        self.alive()?;
        Between::key_store(self).keys(log, subjects).await
    }

    async fn keys_by_id(&self, log: &LogId, ids: &[KeyId]) -> Result<Vec<Option<KeyRow>>> {
        self.alive()?;
        Between::key_store(self).keys_by_id(log, ids).await
    }

    async fn list_keys(&self, log: &LogId, after: Option<&Subject>, limit: usize) -> Result<Page<KeyRow, Subject>> {
        self.alive()?;
        Between::key_store(self).list_keys(log, after, limit).await
    }

    async fn logs_with_keys(&self) -> Result<Vec<LogId>> {
        self.alive()?;
        Between::key_store(self).logs_with_keys().await
    }
}

#[async_trait]
impl ResourceStore for Between {
    async fn get(&self, log: &LogId, keys: &[RecordKey]) -> Result<Vec<Option<Record>>> {
        self.alive()?;
        self.inner.get(log, keys).await
    }

    async fn list(&self, log: &LogId, query: &RecordQuery) -> Result<Page<Record, RecordCursor>> {
        self.alive()?;
        self.inner.list(log, query).await
    }

    async fn find(&self, log: &LogId, identity: &Identity) -> Result<Option<Record>> {
        self.alive()?;
        self.inner.find(log, identity).await
    }

    async fn begin_rebuild(&self, log: &LogId, lock: LockKey, mode: RebuildMode) -> Result<Rebuild> {
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
        self.inner.clear(log, lock).await
    }
}
