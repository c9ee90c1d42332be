//! Connections for calls that wait for replicas.
//!
//! **Invariant**: each is for one call at a time. A server does nothing for a connection while it waits, so a call that was
//! sent behind another one would wait for its replicas, too, and beyond its own time. That is why a call that ends without an
//! answer takes its connection with it: the server may still wait on it.

use std::sync::{Mutex, PoisonError};

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::link::Way;

/// How many calls wait at the same time at most. Others are not sent before.
pub(crate) const MOST: usize = 16;

#[derive(Debug)]
pub(crate) struct Waiting {
    ways: Vec<Way>,
    /// The places in `ways` of those that are free; the last is taken first, so that few are connected.
    free: Mutex<Vec<usize>>,
    permits: Semaphore,
}

/// A connection that is taken, until this is dropped.
pub(crate) struct Taken<'a> {
    pub(crate) way: &'a Way,
    /// Whether the call on it has its answer.
    pub(crate) answered: bool,
    place: usize,
    of: &'a Waiting,
    _permit: SemaphorePermit<'a>,
}

impl Waiting {
    pub(crate) fn new(ways: Vec<Way>) -> Self {
        let free = (0..ways.len()).rev().collect();
        Self { permits: Semaphore::new(ways.len()), free: Mutex::new(free), ways }
    }

    /// Takes a connection, and waits for one if none is free. `None` if there are none at all.
    pub(crate) async fn take(&self) -> Option<Taken<'_>> {
        if self.ways.is_empty() {
            return None;
        }
        let permit = self.permits.acquire().await.ok()?;
        let place = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop()?;
        Some(Taken { way: self.ways.get(place)?, answered: false, place, of: self, _permit: permit })
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if !self.answered {
            self.way.disconnect();
        }
        self.of.free.lock().unwrap_or_else(PoisonError::into_inner).push(self.place);
    }
}
