//! One task that gathers the commits of concurrent callers and hands them to the store together.

use std::collections::{BTreeMap, HashSet, VecDeque};
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
    commit: Commit,
    answer: oneshot::Sender<Result<Committed>>,
}

impl Committer {
    /// Starts the task. At most `queue` commits wait; a caller beyond that waits for a place.
    pub(crate) fn start(store: Arc<dyn EventStore>, queue: usize) -> Self {
        let (sender, receiver) = mpsc::channel(queue.max(1));
        let max_batch = store.info().limits.batch_commits.max(1);
        let task = tokio::spawn(Gathering { store, receiver, max_batch }.run());
        Self { sender: Mutex::new(Some(sender)), task: Mutex::new(Some(task)) }
    }

    /// Hands a commit over, and waits for its answer. Dropped before the commit is handed over, it is not made; after
    /// that it is made all the same.
    pub(crate) async fn commit(&self, commit: Commit) -> Result<Committed> {
        let sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(sender) = sender else { return Err(closed()) };
        let (answer, answered) = oneshot::channel();
        sender.send(Waiting { commit, answer }).await.map_err(|_| closed())?;
        drop(sender);
        answered.await.unwrap_or_else(|_| {
            Err(Error::new(
                ErrorKind::Indeterminate,
                "the committer ended before it answered: its runtime was shut down",
            ))
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
    max_batch: usize,
}

impl Gathering {
    /// Batches of one lock key follow each other; those of different keys are under way at the same time.
    async fn run(mut self) {
        let mut waiting: BTreeMap<LockKey, VecDeque<Waiting>> = BTreeMap::new();
        let mut busy: HashSet<LockKey> = HashSet::new();
        let mut under_way = FuturesUnordered::new();
        let mut open = true;
        let mut queued = 0;
        while open || !under_way.is_empty() || !waiting.is_empty() {
            // What waits here is bounded like the channel: behind a slow store, callers wait for a place in it.
            let room = queued < self.max_batch * 4;
            tokio::select! {
                received = self.receiver.recv(), if open && room => match received {
                    Some(first) => {
                        queued += 1;
                        waiting.entry(first.commit.lock).or_default().push_back(first);
                    }
                    None => open = false,
                },
                Some(key) = under_way.next(), if !under_way.is_empty() => {
                    busy.remove(&key);
                }
                else => {}
            }
            queued += self.gather(&mut waiting, queued).await;
            let free: Vec<LockKey> = waiting.keys().filter(|key| !busy.contains(key)).copied().collect();
            for key in free {
                let Some(queue) = waiting.get_mut(&key) else { continue };
                let batch: Vec<Waiting> = queue.drain(..queue.len().min(self.max_batch)).collect();
                if queue.is_empty() {
                    waiting.remove(&key);
                }
                queued -= batch.len();
                busy.insert(key);
                under_way.push(make(Arc::clone(&self.store), batch).map(move |()| key));
            }
        }
    }

    /// Takes what is there, and lets callers that are ready to run add theirs, as long as more come.
    async fn gather(&mut self, waiting: &mut BTreeMap<LockKey, VecDeque<Waiting>>, queued: usize) -> usize {
        let mut taken = 0;
        loop {
            let before = taken;
            while queued + taken < self.max_batch * 4
                && let Ok(next) = self.receiver.try_recv()
            {
                waiting.entry(next.commit.lock).or_default().push_back(next);
                taken += 1;
            }
            if taken == before && before > 0 || queued + taken >= self.max_batch {
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
        batch.into_iter().map(|waiting| (waiting.commit, waiting.answer)).unzip();
    let results = AssertUnwindSafe(future::lazy(|_| ()).then(|()| store.commit(commits))).catch_unwind().await;
    let mut results = results.unwrap_or_default().into_iter();
    for answer in answers {
        let result = results.next().unwrap_or_else(|| {
            Err(Error::new(
                ErrorKind::Indeterminate,
                "the store did not answer for this commit: it panicked or broke its contract",
            ))
        });
        // A caller that is gone does not want to know.
        let _ = answer.send(result);
    }
}
