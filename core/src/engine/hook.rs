//! Hooks: where side effects live. Replay runs none of them.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use super::action::Action;
use super::resource::Resource;
use super::unit::Unit;
use crate::error::{Error, Result};
use crate::types::{ActionType, Actor, Committed, Json, RecordKey, Timestamp};

/// One run of an action, as hooks and policies see it. Its `Debug` leaves the input out, which may be sensitive.
#[derive(Clone)]
#[non_exhaustive]
pub struct Call {
    /// The resource.
    pub resource: &'static str,
    /// The action.
    pub action: &'static str,
    /// What the action does to its record.
    pub action_type: ActionType,
    /// Whether a hook of another action runs it.
    pub by_hook: bool,
    /// The record; `None` before it is created.
    pub key: Option<RecordKey>,
    /// Who runs it.
    pub actor: Option<Actor>,
    /// The input.
    pub data: Json,
    /// When it is run.
    pub occurred_at: Timestamp,
}

impl Call {
    /// Whether it is this action that is run.
    #[must_use]
    pub fn is<A: Action>(&self) -> bool {
        (self.resource, self.action) == (A::Resource::NAME, A::NAME)
    }

    /// The input, if it is this action that is run: `if let Some(Pay { order, cents }) = call.input()? { .. }`.
    ///
    /// # Errors
    ///
    /// `Corrupt` if the input does not read back as what it was written from.
    pub fn input<A: Action>(&self) -> Result<Option<A>> {
        self.is::<A>().then(|| self.data.to_value()).transpose()
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("resource", &self.resource)
            .field("action", &self.action)
            .field("action_type", &self.action_type)
            .field("by_hook", &self.by_hook)
            .field("key", &self.key)
            .field("actor", &self.actor)
            .field("occurred_at", &self.occurred_at)
            .finish_non_exhaustive()
    }
}

/// What a unit of work is about to commit, or has.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Transaction {
    /// The actions that ran, in the order in which they ended, those run by hooks included.
    pub calls: Vec<Call>,
}

/// Side effects around actions and commits. Every method does nothing unless it is implemented.
///
/// The hooks of an action run inside its unit of work: what they run on the unit becomes further events of the same
/// commit. If the commit meets a conflict, action and hooks run again. A hook that fails or panics fails its own commit
/// only; so does an action that a hook runs on the unit and that fails, whatever the hook makes of it. No lock is held
/// while hooks run.
///
/// # Errors
///
/// Whatever a hook of an action or [`before_transaction`](Self::before_transaction) returns is the error of the action.
#[async_trait]
pub trait Hook: Send + Sync + 'static {
    /// Before the action's body, and before its record is read.
    async fn before_action(&self, unit: &mut Unit, call: &Call) -> Result<()> {
        let _ = (unit, call);
        Ok(())
    }

    /// After the action's body; `record` is what the record is then, `None` if it is destroyed.
    async fn after_action(&self, unit: &mut Unit, call: &Call, record: Option<&Json>) -> Result<()> {
        let _ = (unit, call, record);
        Ok(())
    }

    /// Around the other hooks of the action and its body. Without [`Next::run`] the action is not run, and an error must
    /// be returned.
    async fn around_action(&self, unit: &mut Unit, call: &Call, next: Next<'_>) -> Result<()> {
        let _ = call;
        next.run(unit).await
    }

    /// Before the commit; nothing is written yet.
    async fn before_transaction(&self, transaction: &Transaction) -> Result<()> {
        let _ = transaction;
        Ok(())
    }

    /// Once the commit is durable, or has failed: `outcome` says which. It cannot undo anything. It is not run if an
    /// action had failed, for then there is nothing to commit; nor if the caller has gone away before.
    async fn after_transaction(&self, transaction: &Transaction, outcome: Result<&Committed, &Error>) {
        let _ = (transaction, outcome);
    }

    /// Around the commit. Without [`NextTransaction::run`] nothing is committed, and an error must be returned. After it
    /// the commit stands as it is: an error in the place of a success is logged and no more, and a success in the place of
    /// an error changes nothing.
    async fn around_transaction(&self, transaction: &Transaction, next: NextTransaction<'_>) -> Result<Committed> {
        let _ = transaction;
        next.run().await
    }
}

/// The body of an action, with its types erased.
#[async_trait]
pub(crate) trait Body: Send {
    /// Runs it, and tells what the record is after it.
    async fn run(&mut self, unit: &mut Unit) -> Result<Option<Json>>;
}

/// The rest of what is run around an action.
pub struct Next<'a> {
    pub(crate) hooks: &'a [Arc<dyn Hook>],
    pub(crate) all: &'a [Arc<dyn Hook>],
    pub(crate) call: &'a Call,
    pub(crate) body: &'a mut dyn Body,
}

impl Next<'_> {
    /// Runs the other hooks and the action.
    ///
    /// # Errors
    ///
    /// Those of the hooks and of the action.
    ///
    /// # Cancel safety
    ///
    /// Dropped, the unit of work must not be committed.
    pub async fn run(self, unit: &mut Unit) -> Result<()> {
        if let [first, rest @ ..] = self.hooks {
            return first.around_action(unit, self.call, Next { hooks: rest, ..self }).await;
        }
        for hook in self.all {
            hook.before_action(unit, self.call).await?;
        }
        let record = self.body.run(unit).await?;
        for hook in self.all {
            hook.after_action(unit, self.call, record.as_ref()).await?;
        }
        Ok(())
    }
}

/// What commits a unit of work.
#[async_trait]
pub(crate) trait CommitStep: Send + Sync {
    async fn commit(&self) -> Result<Committed>;
}

/// The rest of what is run around a commit.
pub struct NextTransaction<'a> {
    pub(crate) hooks: &'a [Arc<dyn Hook>],
    pub(crate) transaction: &'a Transaction,
    pub(crate) step: &'a dyn CommitStep,
}

impl NextTransaction<'_> {
    /// Runs the other hooks around the commit, and commits.
    ///
    /// # Errors
    ///
    /// Those of the hooks and of the commit.
    ///
    /// # Cancel safety
    ///
    /// Dropped, the commit is made or it is not, as a whole.
    pub async fn run(self) -> Result<Committed> {
        match self.hooks {
            [first, rest @ ..] => {
                first.around_transaction(self.transaction, NextTransaction { hooks: rest, ..self }).await
            }
            [] => self.step.commit().await,
        }
    }
}
