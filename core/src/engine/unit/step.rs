//! The commit of a unit: made once, whatever becomes of its acknowledgement.

use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use futures::future::BoxFuture;

use crate::engine::committer::Unmade;
use crate::engine::hook::CommitStep;
use crate::engine::log::Engine;
use crate::error::{Error, ErrorKind, Result};
use crate::types::{Commit, Committed, Subject};

/// The commit of a unit. When the acknowledgement is lost, the same event ids are committed again to learn what became of
/// them.
pub(super) struct Step<'a, 'o> {
    pub(super) engine: &'a Engine,
    /// What is to be made; `None` once it is under way.
    pub(super) due: Mutex<Option<Due<'o>>>,
    pub(super) subjects: Vec<Subject>,
    pub(super) progress: Mutex<Progress>,
}

/// A commit to be made.
pub(super) struct Due<'a> {
    pub(super) commit: Box<Commit>,
    /// Another way to make it than the committer.
    pub(super) own: Option<OwnWay<'a>>,
}

/// A way of the caller's to make a commit.
pub(super) type OwnWay<'a> = Box<dyn FnOnce(Commit) -> BoxFuture<'a, Result<Committed>> + Send + 'a>;

pub(super) enum Progress {
    Waiting,
    UnderWay,
    Ended(Result<Committed>),
}

impl Step<'_, '_> {
    fn is_at(&self, progress: Progress) {
        *self.progress.lock().unwrap_or_else(PoisonError::into_inner) = progress;
    }

    /// What is told of the commit: hooks around it may put an error in other words, and no more. A commit that was made
    /// stands, one that was not made has failed, and one that may have been made is `Indeterminate`, whatever they say.
    pub(super) fn settle(self, told: Result<Committed>) -> Result<Committed> {
        let made = match self.progress.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Progress::Waiting => {
                let not_run = || Error::invalid("a hook around the transaction did not run it, and gave no error");
                return Err(told.err().unwrap_or_else(not_run));
            }
            Progress::UnderWay => Err(dropped()),
            Progress::Ended(made) => made,
        };
        match (&made, told) {
            (Err(own), Err(told)) if *own.kind() != ErrorKind::Indeterminate => return Err(told),
            (Ok(_), Err(error)) => {
                tracing::error!(%error, "a hook around the transaction failed after the commit, which stands");
            }
            _ => {}
        }
        made
    }

    /// Makes the commit by another way, once: if a key has changed since it was sealed, that is told.
    async fn by_own_way(&self, commit: Box<Commit>, own: OwnWay<'_>) -> Result<Committed> {
        let Some(sealer) = &self.engine.sealer else { return own(*commit).await };
        let (sealed, keys) = Box::pin(sealer.seal(&commit, &self.subjects, true)).await?;
        own(sealed).await.inspect_err(|_| sealer.vault.are_outdated(&keys))
    }

    async fn resolve(&self, mut commit: Box<Commit>) -> Result<Committed> {
        const ATTEMPTS: usize = 3;
        let mut before: Option<Error> = None;
        for _ in 0..ATTEMPTS {
            let Unmade { error, lost } = match self.engine.committer.commit(commit).await {
                Ok(committed) => return Ok(committed),
                Err(unmade) => unmade,
            };
            if let Some(again) = lost {
                commit = again;
                before = Some(error);
                continue;
            }
            // These come before the store has looked for the event ids: they say nothing of the attempt before.
            let unknown = matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Corrupt | ErrorKind::Closed);
            return Err(match before {
                Some(before) if unknown => before.with_source(error),
                _ => error,
            });
        }
        Err(before.unwrap_or_else(dropped))
    }
}

#[async_trait]
impl CommitStep for Step<'_, '_> {
    async fn commit(&self) -> Result<Committed> {
        let due = self.due.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Due { commit, own }) = due else { return Err(Error::invalid("a commit was run twice")) };
        if let Some(own) = own {
            self.is_at(Progress::UnderWay);
            let made = self.by_own_way(commit, own).await;
            self.is_at(Progress::Ended(made.clone()));
            return made;
        }
        if commit.changes.is_empty() && commit.checks.is_empty() {
            self.is_at(Progress::Ended(Ok(Committed::default())));
            return Ok(Committed::default());
        }
        self.is_at(Progress::UnderWay);
        let made = self.engine.make_sealed(commit, &self.subjects, |sealed| self.resolve(sealed)).await;
        self.is_at(Progress::Ended(made.clone()));
        made
    }
}

fn dropped() -> Error {
    Error::new(ErrorKind::Indeterminate, "a hook around the transaction did not wait for the commit")
}
