//! Settings.

use rekindle_core::types::Limits;

/// The settings of a [`MemoryBackend`](crate::MemoryBackend).
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct MemoryConfig {
    /// How large things may be.
    pub limits: Limits,
}

impl MemoryConfig {
    /// Sets the limits.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }
}
