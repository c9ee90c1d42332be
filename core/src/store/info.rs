//! What a store says of itself.

use crate::types::Limits;

/// What survives once a commit was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Durability {
    /// Nothing outlives the process.
    Process,
    /// The end of the process (by `kill -9`, too), not of the machine.
    ProcessCrash,
    /// The loss of power, as far as the disk keeps what it was told to.
    PowerLoss,
}

/// What a store says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreInfo {
    /// The name of the backend, such as `sled`.
    pub backend: &'static str,
    /// What survives once a commit was answered.
    pub durability: Durability,
    /// How large things may be.
    pub limits: Limits,
    /// Whether it keeps records. One that does not refuses commits with record writes or checks, by `Unsupported`.
    pub records: bool,
    /// How many batches of one lock key the engine may hand over before the first of them is answered. With 1, which is the
    /// default, each batch of a key follows the one before. With more, the store keeps them apart by itself, as it does with
    /// the commits of other processes; in which order it makes them is left to it.
    pub batches_at_once: usize,
    /// A batch is handed over beside another one of its lock key only if it has so many commits: smaller ones can cost more by
    /// themselves than is gained by not waiting.
    pub least_beside: usize,
}

impl StoreInfo {
    /// A store with the default limits that keeps records.
    #[must_use]
    pub fn new(backend: &'static str, durability: Durability) -> Self {
        Self { backend, durability, limits: Limits::default(), records: true, batches_at_once: 1, least_beside: 1 }
    }

    /// Sets the limits.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets how many batches of one lock key may be under way, and how many commits each of them has at the least, if there is
    /// another. 0 stands for 1.
    #[must_use]
    pub fn with_batches_at_once(mut self, batches: usize, least: usize) -> Self {
        (self.batches_at_once, self.least_beside) = (batches.max(1), least.max(1));
        self
    }

    /// Sets whether it keeps records.
    #[must_use]
    pub fn with_records(mut self, records: bool) -> Self {
        self.records = records;
        self
    }
}
