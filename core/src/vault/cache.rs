//! Keys that were unwrapped, for a while.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, Hash};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use lru::LruCache;

use super::by_id::LastBytes;
use super::crypto::SealingKey;
use crate::types::{KeyId, KeyVersion, LogId, Redacted, Subject};

/// What is known of keys. A key is believed for a set time; then the store is asked again, since another process may have
/// destroyed it. That one was destroyed is believed forever.
pub(super) struct Cache {
    state: Mutex<State>,
    capacity: usize,
    time: Duration,
}

struct State {
    /// Logs by number, so that keys of the maps are small.
    logs: HashMap<LogId, u32>,
    by_subject: LruCache<(u32, Subject), (Current, Instant)>,
    by_id: LruCache<(u32, KeyId), (Known, Instant), BuildHasherDefault<LastBytes>>,
}

/// The key that is sealed by for a subject.
#[derive(Clone, Debug)]
pub(super) struct Current {
    pub(super) key: Arc<SealingKey>,
    pub(super) at: KeyVersion,
}

/// A key, by its id.
#[derive(Clone, Debug)]
pub(super) enum Known {
    Key(Subject, Arc<SealingKey>),
    Destroyed(Redacted),
}

impl State {
    fn log(&mut self, log: &LogId) -> u32 {
        if let Some(number) = self.logs.get(log) {
            return *number;
        }
        let number = u32::try_from(self.logs.len()).unwrap_or(u32::MAX);
        self.logs.insert(log.clone(), number);
        number
    }

    /// Notes what is known of a key. **Invariant**: a destroyed one stays so. Whoever tells otherwise has read its row before
    /// it was destroyed.
    fn learn(&mut self, capacity: usize, key: (u32, KeyId), known: Known, until: Instant) {
        if !matches!(self.by_id.peek(&key), Some((Known::Destroyed(_), _))) {
            put(&mut self.by_id, capacity, key, (known, until));
        }
    }
}

/// Puts something in, and drops what was used the longest ago if there is too much.
fn put<K: Hash + Eq, V, S: BuildHasher>(cache: &mut LruCache<K, V, S>, capacity: usize, key: K, value: V) {
    cache.put(key, value);
    while cache.len() > capacity {
        cache.pop_lru();
    }
}

impl Cache {
    pub(super) fn new(capacity: usize, time: Duration) -> Self {
        let state = State {
            logs: HashMap::new(),
            by_subject: LruCache::unbounded(),
            by_id: LruCache::unbounded_with_hasher(BuildHasherDefault::default()),
        };
        Self { state: Mutex::new(state), capacity, time }
    }

    fn with<T>(&self, log: &LogId, work: impl FnOnce(&mut State, u32) -> T) -> T {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let number = state.log(log);
        work(&mut state, number)
    }

    /// The key that is sealed by for each of these subjects, as far as it is known.
    pub(super) fn current(&self, log: &LogId, subjects: &[Subject]) -> Vec<Option<Current>> {
        let now = Instant::now();
        self.with(log, |state, log| {
            let fresh = |(current, until): &(Current, Instant)| (*until > now).then(|| current.clone());
            subjects.iter().map(|subject| state.by_subject.get(&(log, subject.clone())).and_then(fresh)).collect()
        })
    }

    /// The keys of these ids, as far as they are known.
    pub(super) fn known(&self, log: &LogId, ids: &[KeyId]) -> Vec<Option<Known>> {
        let now = Instant::now();
        self.with(log, |state, log| {
            let fresh = |(known, until): &(Known, Instant)| {
                (*until > now || matches!(known, Known::Destroyed(_))).then(|| known.clone())
            };
            ids.iter().map(|id| state.by_id.get(&(log, *id)).and_then(fresh)).collect()
        })
    }

    pub(super) fn add_current(&self, log: &LogId, current: impl IntoIterator<Item = (Subject, Current)>) {
        let until = Instant::now() + self.time;
        self.with(log, |state, log| {
            for (subject, current) in current {
                let known = Known::Key(subject.clone(), Arc::clone(&current.key));
                state.learn(self.capacity, (log, current.key.id()), known, until);
                put(&mut state.by_subject, self.capacity, (log, subject), (current, until));
            }
        });
    }

    pub(super) fn add_known(&self, log: &LogId, known: impl IntoIterator<Item = (KeyId, Known)>) {
        let until = Instant::now() + self.time;
        self.with(log, |state, log| {
            for (id, known) in known {
                state.learn(self.capacity, (log, id), known, until);
            }
        });
    }

    /// Forgets what is sealed by for these subjects.
    pub(super) fn evict<'a>(&self, log: &LogId, subjects: impl IntoIterator<Item = &'a Subject>) {
        self.with(log, |state, log| {
            for subject in subjects {
                state.by_subject.pop(&(log, subject.clone()));
            }
        });
    }
}
