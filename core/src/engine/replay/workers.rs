//! Folding on several threads, in windows of bounded memory.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::mem;
use std::panic::resume_unwind;
use std::sync::Arc;

use crate::engine::fold::{Fold, touches};
use crate::engine::registry::Registry;
use crate::error::{Error, ErrorKind, Result};
use crate::store::{LoadedRecord, Rebuild, ResourceStore};
use crate::types::{Event, RecordId, RecordKey};

/// One fold for each worker. Records are split by their id alone, since a route can lead from one resource to another but
/// never to another id: so each record is folded by one worker, in the order of its events.
pub(super) struct Workers {
    folds: Vec<Fold>,
    memory: usize,
    /// Whether anything was loaded, so that a record that no fold knows may be found in the store.
    loaded: bool,
    /// How many records are left out, since too little can be read of them.
    pub(super) redacted: u64,
}

/// Records are loaded in calls of this many.
const LOAD: usize = 5_000;

impl Workers {
    pub(super) fn new(workers: usize, memory: usize) -> Self {
        Self { folds: (0..workers).map(|_| Fold::default()).collect(), memory, loaded: false, redacted: 0 }
    }

    /// Applies events, in order. When the window has become too large, its records are loaded; it tells how many were.
    pub(super) async fn apply(
        &mut self,
        registry: &Arc<Registry>,
        records: &dyn ResourceStore,
        rebuild: &Rebuild,
        events: Vec<Event>,
    ) -> Result<u64> {
        if self.loaded {
            self.fetch(registry, records, rebuild, &events).await?;
        }
        let mut shares: Vec<Vec<Event>> = self.folds.iter().map(|_| Vec::new()).collect();
        for event in events {
            let worker = self.worker(&event.record_id);
            shares[worker].push(event);
        }
        let folds = mem::take(&mut self.folds);
        let tasks: Vec<_> =
            folds.into_iter().zip(shares).map(|(fold, share)| spawn(Arc::clone(registry), fold, share)).collect();
        let mut first: Option<Error> = None;
        for task in tasks {
            match task.await.unwrap_or_else(|panic| resume_unwind(panic.into_panic())) {
                Ok(fold) => self.folds.push(fold),
                Err(error) => first = Some(earlier(first, error)),
            }
        }
        if let Some(error) = first {
            return Err(error);
        }
        if self.folds.iter().map(Fold::weight).sum::<usize>() > self.memory {
            return self.flush(registry, records, rebuild).await;
        }
        Ok(0)
    }

    /// Loads what the window has changed, and begins the next one; it tells how many records it loaded.
    pub(super) async fn flush(
        &mut self,
        registry: &Arc<Registry>,
        records: &dyn ResourceStore,
        rebuild: &Rebuild,
    ) -> Result<u64> {
        let folds: Vec<Fold> = self.folds.iter_mut().map(mem::take).collect();
        let tasks: Vec<_> = folds
            .into_iter()
            .map(|fold| {
                let registry = Arc::clone(registry);
                tokio::task::spawn_blocking(move || fold.into_records(&registry))
            })
            .collect();
        let mut changed = Vec::new();
        self.redacted = 0;
        for (task, fold) in tasks.into_iter().zip(&mut self.folds) {
            let folded = task.await.unwrap_or_else(|panic| resume_unwind(panic.into_panic()))?;
            self.redacted += folded.left_out();
            *fold = folded.redacted;
            changed.extend(folded.records);
        }
        let count = changed.len() as u64;
        let mut changed = changed.into_iter().peekable();
        while changed.peek().is_some() {
            let chunk: Vec<LoadedRecord> = changed.by_ref().take(LOAD).collect();
            records.load(rebuild, chunk).await?;
            self.loaded = true;
        }
        Ok(count)
    }

    /// Takes over the records that earlier windows have loaded and these events are about.
    async fn fetch(
        &mut self,
        registry: &Registry,
        records: &dyn ResourceStore,
        rebuild: &Rebuild,
        events: &[Event],
    ) -> Result<()> {
        let mut keys: Vec<RecordKey> = Vec::new();
        for event in events {
            let fold = &self.folds[self.worker(&event.record_id)];
            // An event that no rule is for fails when it is its turn: one before it may fail as well.
            let touched = touches(registry, event).unwrap_or_default();
            keys.extend(touched.into_iter().filter(|key| fold.lacks(key)));
        }
        keys.sort_unstable();
        keys.dedup();
        for record in records.loaded(rebuild, &keys).await?.into_iter().flatten() {
            let worker = self.worker(&record.key.id);
            self.folds[worker].fetched(record)?;
        }
        Ok(())
    }

    fn worker(&self, id: &RecordId) -> usize {
        if self.folds.len() == 1 {
            return 0;
        }
        let mut hasher = DefaultHasher::new();
        id.hash(&mut hasher);
        usize::try_from(hasher.finish() % self.folds.len() as u64).unwrap_or(0)
    }
}

fn spawn(registry: Arc<Registry>, mut fold: Fold, events: Vec<Event>) -> tokio::task::JoinHandle<Result<Fold>> {
    tokio::task::spawn_blocking(move || {
        for event in &events {
            fold.apply(&registry, event)?;
        }
        Ok(fold)
    })
}

/// The error at the lower position, so that the same one is reported whatever the number of workers.
fn earlier(first: Option<Error>, second: Error) -> Error {
    let position = |error: &Error| match error.kind() {
        ErrorKind::Replay { position } => Some(*position),
        _ => None,
    };
    match first {
        Some(first) if position(&first) <= position(&second) => first,
        _ => second,
    }
}
