//! Settings.

use rekindle_core::types::Limits;

/// The settings of a [`SledBackend`](crate::SledBackend).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SledConfig {
    /// How large things may be.
    pub limits: Limits,
    /// How many bytes of the database sled keeps in memory. Default: 256 MiB.
    pub cache_bytes: u64,
    /// What a commit waits for before it is answered.
    pub sync: SyncMode,
}

/// What a commit waits for before it is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SyncMode {
    /// Written and synced to the disk: it survives the loss of power, as far as the disk keeps what it was told to.
    ///
    /// sled's own flush asks Linux for `sync_file_range`, which neither writes the file's size nor empties the disk's
    /// cache. So after it the database file is synced in earnest, and so is each new file of large values.
    #[default]
    Fsync,
    /// Handed to the operating system: it survives the end of the process, and may not survive that of the machine.
    ProcessCrash,
}

impl Default for SledConfig {
    fn default() -> Self {
        Self { limits: Limits::default(), cache_bytes: 256 << 20, sync: SyncMode::default() }
    }
}

impl SledConfig {
    /// The default settings.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the limits.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets [`cache_bytes`](Self::cache_bytes).
    #[must_use]
    pub fn with_cache_bytes(mut self, bytes: u64) -> Self {
        self.cache_bytes = bytes;
        self
    }

    /// Sets what a commit waits for.
    #[must_use]
    pub fn with_sync(mut self, sync: SyncMode) -> Self {
        self.sync = sync;
        self
    }
}
