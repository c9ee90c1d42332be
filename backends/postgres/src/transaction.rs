//! Commits inside a transaction of the user's.

use rekindle_core::types::{Commit, Committed};
use rekindle_core::{Error, Result};
use sqlx::postgres::PgTransaction;

use crate::PostgresBackend;
use crate::batch::{Asked, BatchLocks, Checked};

impl PostgresBackend {
    /// Makes a commit inside a transaction of yours, on a connection to the same database: your own tables, the records and
    /// the events are then committed as one, or rolled back as one.
    ///
    /// The log's lock is held until your transaction ends: commits to the log wait for it. So make it the last thing that the
    /// transaction does, and end the transaction soon. A commit that fails with a kind that is no fault of the server
    /// (`Conflict`, `NotFound`, `IdentityTaken` ..) leaves the transaction as it was, and you can go on with it.
    ///
    /// What is committed is durable when your transaction is, at the `synchronous_commit` of your session. Readers that wait
    /// for the log to grow see it at their next poll; [`announce`](Self::announce) wakes them at once.
    ///
    /// # Errors
    ///
    /// Those of [`EventStore::commit`](rekindle_core::store::EventStore::commit), but for `Indeterminate`: whether it
    /// happened is known by the commit of your transaction. After `Unavailable`, `Invalid` with a cause in the database, and
    /// `Corrupt`, the transaction may only be rolled back. At the isolation levels `repeatable read` and `serializable`, a
    /// log that was changed since your transaction began gives `Unavailable`: roll back and begin again.
    ///
    /// # Cancel safety
    ///
    /// Dropped, the transaction can only be rolled back.
    pub async fn commit_in(&self, transaction: &mut PgTransaction<'_>, commit: Commit) -> Result<Committed> {
        let mut answers = self.commit_all_in(transaction, vec![commit]).await;
        match (answers.pop(), answers.is_empty()) {
            (Some(answer), true) => answer,
            _ => Err(Error::corrupt("there is not one answer for one commit")),
        }
    }

    /// Makes several commits inside a transaction of yours: each one whole or not at all, in their order; a later one sees
    /// those before it.
    ///
    /// # Errors
    ///
    /// Each of them for one commit: those of [`commit_in`](Self::commit_in).
    ///
    /// # Cancel safety
    ///
    /// As for [`commit_in`](Self::commit_in).
    pub async fn commit_all_in(
        &self,
        transaction: &mut PgTransaction<'_>,
        commits: Vec<Commit>,
    ) -> Vec<Result<Committed>> {
        let store = &self.store;
        let checked = Checked::new(&commits, &store.config.limits);
        let count = checked.commits.len();
        if count == 0 {
            return checked.answered(Vec::new());
        }
        let locks = BatchLocks::of(checked.commits.iter().map(|commit| commit.lock), store.config.lock_mode);
        let asked = Asked::of(&checked.commits);
        let left = match store.locked(transaction, &locks, &asked, &checked.commits).await {
            Ok((_, decided)) => decided.answers,
            Err((error, Some(decided))) => decided.failed(&error.classify()),
            Err((error, None)) => vec![Err(error.classify()); count],
        };
        checked.answered(left)
    }
}
