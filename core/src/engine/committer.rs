//! One task that gathers the commits of concurrent callers and hands them to the store together.

use std::collections::{BTreeMap, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};

use futures::stream::{FuturesUnordered, StreamExt};
use futures::{FutureExt, future};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::error::{Error, ErrorKind, Result};
use crate::store::EventStore;
use crate::types::{Commit, Committed, LockKey};

/// The way into the committer task. When the last one is gone, the task makes the commits that wait, and ends.
pub(crate) struct Committer {
    sender: Mutex<Option<mpsc::Sender<Waiting>>>,
    task: Mutex<Option<JoinHandle<()>>>,
}

struct Waiting {
    commit: Box<Commit>,
    answer: oneshot::Sender<Result<Committed, Unmade>>,
}

/// Why a commit was not made, or may not have been.
pub(crate) struct Unmade {
    pub(crate) error: Error,
    /// The commit, if its acknowledgement was lost: so that it can be made again.
    pub(crate) lost: Option<Box<Commit>>,
}

impl From<Error> for Unmade {
    fn from(error: Error) -> Self {
        Self { error, lost: None }
    }
}

impl Committer {
    /// Starts the task. At most `queue` commits wait; a caller beyond that waits for a place.
    pub(crate) fn start(store: Arc<dyn EventStore>, queue: usize) -> Self {
        let (sender, receiver) = mpsc::channel(queue.max(1));
        let info = store.info();
        let batches = Batches {
            most: info.limits.batch_commits.max(1),
            at_once: info.batches_at_once.max(1),
            least_beside: info.least_beside.max(1),
        };
        let task = tokio::spawn(Gathering { store, receiver, batches }.run());
        Self { sender: Mutex::new(Some(sender)), task: Mutex::new(Some(task)) }
    }

    /// Hands a commit over, and waits for its answer. Dropped before the commit is handed over, it is not made; after
    /// that it is made all the same.
    pub(crate) async fn commit(&self, commit: Box<Commit>) -> Result<Committed, Unmade> {
        let sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(sender) = sender else { return Err(closed().into()) };
        let (answer, answered) = oneshot::channel();
        let place = sender.reserve().await.map_err(|_| closed())?;
        place.send(Waiting { commit, answer });
        drop(sender);
        answered.await.unwrap_or_else(|_| {
            let message = "the committer ended before it answered: its runtime was shut down";
            Err(Error::new(ErrorKind::Indeterminate, message).into())
        })
    }

    /// Takes no more commits, and waits until those that were handed over are made.
    pub(crate) async fn shutdown(&self) -> Result<()> {
        drop(self.sender.lock().unwrap_or_else(PoisonError::into_inner).take());
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        match task {
            Some(task) => task.await.map_err(|source| {
                Error::new(ErrorKind::Indeterminate, "the committer did not end in order").with_source(source)
            }),
            None => Ok(()),
        }
    }
}

fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the log was shut down")
}

struct Gathering {
    store: Arc<dyn EventStore>,
    receiver: mpsc::Receiver<Waiting>,
    batches: Batches,
}

/// How large batches are, and how many of one lock key are under way: see `StoreInfo`.
#[derive(Clone, Copy)]
struct Batches {
    most: usize,
    at_once: usize,
    least_beside: usize,
}

/// The commits under one lock key.
#[derive(Default)]
struct OfKey {
    waiting: VecDeque<Waiting>,
    /// The batches that are under way, and the commits in them.
    batches: usize,
    commits: usize,
}

impl OfKey {
    /// The next batch, if one is to be handed over now. Where several may be under way, each gets its share, so that the
    /// callers of one make their next commits while the store is at another.
    fn next_batch(&mut self, Batches { most, at_once, least_beside }: Batches) -> Option<Vec<Waiting>> {
        let all = self.waiting.len() + self.commits;
        let at_once = at_once.min(all / least_beside).max(1);
        let is_due = self.batches == 0 || (self.batches < at_once && self.waiting.len() >= least_beside);
        if self.waiting.is_empty() || !is_due {
            return None;
        }
        let size = all.div_ceil(at_once).min(most).min(self.waiting.len());
        self.batches += 1;
        self.commits += size;
        Some(self.waiting.drain(..size).collect())
    }
}

impl Gathering {
    /// Batches of one lock key follow each other, unless the store takes several; those of different keys are under way at
    /// the same time.
    async fn run(mut self) {
        let mut keys: BTreeMap<LockKey, OfKey> = BTreeMap::new();
        let mut under_way = FuturesUnordered::new();
        let mut open = true;
        let mut queued = 0;
        while open || !keys.is_empty() {
            // What waits here is bounded like the channel: behind a slow store, callers wait for a place in it.
            let room = queued < self.batches.most * 4;
            tokio::select! {
                received = self.receiver.recv(), if open && room => match received {
                    Some(first) => {
                        queued += 1;
                        keys.entry(first.commit.lock).or_default().waiting.push_back(first);
                    }
                    None => open = false,
                },
                Some((key, commits)) = under_way.next(), if !under_way.is_empty() => {
                    if let Some(of_key) = keys.get_mut(&key) {
                        of_key.batches -= 1;
                        of_key.commits -= commits;
                    }
                }
                else => {}
            }
            queued += self.gather(&mut keys, queued).await;
            for (key, of_key) in &mut keys {
                while let Some(batch) = of_key.next_batch(self.batches) {
                    let (key, commits) = (*key, batch.len());
                    queued -= commits;
                    under_way.push(make(Arc::clone(&self.store), batch).map(move |()| (key, commits)));
                }
            }
            keys.retain(|_, of_key| of_key.batches > 0 || !of_key.waiting.is_empty());
        }
    }

    /// Takes what is there, and lets callers that are ready to run add theirs, as long as more come.
    async fn gather(&mut self, keys: &mut BTreeMap<LockKey, OfKey>, queued: usize) -> usize {
        let mut taken = 0;
        loop {
            let before = taken;
            while queued + taken < self.batches.most * 4
                && let Ok(next) = self.receiver.try_recv()
            {
                keys.entry(next.commit.lock).or_default().waiting.push_back(next);
                taken += 1;
            }
            if taken == before && before > 0 || queued + taken >= self.batches.most {
                return taken;
            }
            tokio::task::yield_now().await;
            if taken == before && self.receiver.is_empty() {
                return taken;
            }
        }
    }
}

async fn make(store: Arc<dyn EventStore>, batch: Vec<Waiting>) {
    let (commits, answers): (Vec<_>, Vec<_>) =
        batch.into_iter().map(|waiting| (*waiting.commit, waiting.answer)).unzip();
    let commits: Arc<[Commit]> = commits.into();
    let shared = Arc::clone(&commits);
    let results = AssertUnwindSafe(future::lazy(|_| ()).then(|()| store.commit(shared))).catch_unwind().await;
    let mut results = results.unwrap_or_default().into_iter();
    for (answer, commit) in answers.into_iter().zip(&*commits) {
        let result = results.next().unwrap_or_else(|| {
            Err(Error::new(
                ErrorKind::Indeterminate,
                "the store did not answer for this commit: it panicked or broke its contract",
            ))
        });
        let result = result.map_err(|error| {
            let lost = *error.kind() == ErrorKind::Indeterminate;
            Unmade { error, lost: lost.then(|| Box::new(commit.clone())) }
        });
        // A caller that is gone does not want to know.
        let _ = answer.send(result);
    }
}
