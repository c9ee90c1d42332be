//! How large things may be.

use crate::error::{Error, ErrorKind, Result};

/// How large things may be. What is over a limit is refused with `TooLarge` and leaves no trace.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The data, changed attributes, removed attributes and metadata of one event together, in bytes. Default: 1 MiB.
    pub event_bytes: usize,
    /// The metadata of one event, in bytes. Default: 64 KiB.
    pub metadata_bytes: usize,
    /// The attributes of one record, in bytes. Default: 1 MiB.
    pub record_bytes: usize,
    /// A name or an id: of a log, a tenant, a resource, an action, a record, an identity or an actor, in bytes. Default:
    /// 1,024, which is the most that any of their types allows.
    pub name_bytes: usize,
    /// The changes and checks of one commit. Default: 10,000.
    pub commit_changes: usize,
    /// The commits that the engine hands to a store at once. Default: 512.
    pub batch_commits: usize,
    /// The rows of one page. A larger limit in a query is cut to it. Default: 10,000.
    pub page_rows: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            event_bytes: 1 << 20,
            metadata_bytes: 64 << 10,
            record_bytes: 1 << 20,
            name_bytes: 1024,
            commit_changes: 10_000,
            batch_commits: 512,
            page_rows: 10_000,
        }
    }
}

impl Limits {
    /// Sets [`event_bytes`](Self::event_bytes).
    #[must_use]
    pub fn with_event_bytes(mut self, bytes: usize) -> Self {
        self.event_bytes = bytes;
        self
    }

    /// Sets [`metadata_bytes`](Self::metadata_bytes).
    #[must_use]
    pub fn with_metadata_bytes(mut self, bytes: usize) -> Self {
        self.metadata_bytes = bytes;
        self
    }

    /// Sets [`record_bytes`](Self::record_bytes).
    #[must_use]
    pub fn with_record_bytes(mut self, bytes: usize) -> Self {
        self.record_bytes = bytes;
        self
    }

    /// Sets [`name_bytes`](Self::name_bytes).
    #[must_use]
    pub fn with_name_bytes(mut self, bytes: usize) -> Self {
        self.name_bytes = bytes;
        self
    }

    /// Sets [`commit_changes`](Self::commit_changes).
    #[must_use]
    pub fn with_commit_changes(mut self, changes: usize) -> Self {
        self.commit_changes = changes;
        self
    }

    /// Sets [`batch_commits`](Self::batch_commits); at least 1.
    #[must_use]
    pub fn with_batch_commits(mut self, commits: usize) -> Self {
        self.batch_commits = commits.max(1);
        self
    }

    /// Sets [`page_rows`](Self::page_rows); at least 1.
    #[must_use]
    pub fn with_page_rows(mut self, rows: usize) -> Self {
        self.page_rows = rows.max(1);
        self
    }

    pub(crate) fn check(&self, what: &str, size: usize, limit: usize) -> Result<()> {
        if size <= limit {
            Ok(())
        } else {
            Err(Error::new(ErrorKind::TooLarge, format!("{size} {what}; at most {limit} are allowed")))
        }
    }
}
