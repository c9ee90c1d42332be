//! The unit of work: what several actions have read and changed, committed as one.

mod body;
mod known;
mod own_events;
mod step;

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};

use futures::FutureExt;

use self::body::Typed;
use self::step::{Due, OwnWay, Progress, Step};
use super::action::{Action, ActionKind};
use super::context::Context;
use super::hook::{Call, Next, NextTransaction, Transaction};
use super::log::{Engine, Log};
use super::policy::forbidden;
use super::resource::{Resource, key_of, name_of};
use crate::error::{Error, ErrorKind, Result};
use crate::types::{
    Change, Check, Commit, Committed, Expected, Identity, Json, JsonObject, LockKey, LogId, Position, Record, RecordId,
    RecordKey, Subject, WriteState,
};

/// Several actions that are committed as one: all of their events and changes, or none.
///
/// It sees its own changes. It holds nothing open: what it has read is checked when it is committed, and if that has
/// changed since, the commit is a `Conflict`. Once an action has failed, it cannot be committed any more.
pub struct Unit {
    engine: Arc<Engine>,
    log: LogId,
    lock: LockKey,
    guarded: bool,
    cx: Context,
    metadata: Json,
    read: BTreeMap<RecordKey, Option<Record>>,
    found: BTreeMap<Identity, Option<RecordId>>,
    written: BTreeMap<RecordKey, Option<WriteState>>,
    changes: Vec<Change>,
    /// Whose data each change is, where there is a vault.
    subjects: Vec<Subject>,
    /// The position that the log was rewound to, if the unit takes it as it is.
    accepts: Option<Position>,
    transaction: Transaction,
    /// The actions that have begun and not ended, the outermost first.
    running: Vec<&'static str>,
    failed: Option<Error>,
}

impl Unit {
    pub(crate) fn new(log: &Log, cx: Context, metadata: Json) -> Self {
        Self {
            engine: Arc::clone(&log.engine),
            log: log.id.clone(),
            lock: log.lock,
            guarded: log.guarded,
            cx,
            metadata,
            read: BTreeMap::new(),
            found: BTreeMap::new(),
            written: BTreeMap::new(),
            changes: Vec::new(),
            subjects: Vec::new(),
            accepts: None,
            transaction: Transaction::default(),
            running: Vec::new(),
            failed: None,
        }
    }

    /// Who runs the actions, and when.
    #[must_use]
    pub fn context(&self) -> &Context {
        &self.cx
    }

    /// Runs an action that creates a record.
    ///
    /// # Errors
    ///
    /// `Rejected` by the action, whatever a hook returns, `Panicked`, `Invalid` for an action that is not registered,
    /// `AlreadyExists` if this unit knows the record; and what reading needs: `Unavailable`, `Corrupt`, `Rebuilding`.
    /// Whether the record exists in the store is seen at the commit.
    ///
    /// # Cancel safety
    ///
    /// Dropped, the unit cannot be committed.
    pub async fn create<A: Action>(&mut self, action: A) -> Result<A::Resource> {
        self.perform(&[ActionKind::Create], Target::New, action).await?.ok_or_else(no_record::<A>)
    }

    /// Runs an action that changes a record. If the record is the same after it, nothing is recorded.
    ///
    /// # Errors
    ///
    /// As for [`create`](Self::create); and `NotFound` if there is no such record.
    ///
    /// # Cancel safety
    ///
    /// Dropped, the unit cannot be committed.
    pub async fn update<A: Action>(&mut self, id: &<A::Resource as Resource>::Id, action: A) -> Result<A::Resource> {
        self.perform(&[ActionKind::Update], Target::Id(id), action).await?.ok_or_else(no_record::<A>)
    }

    /// Runs an action that changes the record that owns an identity, or creates one if none does.
    ///
    /// # Errors
    ///
    /// As for [`create`](Self::create).
    ///
    /// # Cancel safety
    ///
    /// Dropped, the unit cannot be committed.
    pub async fn upsert<A: Action>(&mut self, action: A) -> Result<A::Resource> {
        self.perform(&[ActionKind::Upsert], Target::Owner, action).await?.ok_or_else(no_record::<A>)
    }

    /// Runs an action that destroys a record.
    ///
    /// # Errors
    ///
    /// As for [`update`](Self::update).
    ///
    /// # Cancel safety
    ///
    /// Dropped, the unit cannot be committed.
    pub async fn destroy<A: Action>(&mut self, id: &<A::Resource as Resource>::Id, action: A) -> Result<()> {
        self.perform(&[ActionKind::Destroy, ActionKind::SoftDestroy], Target::Id(id), action).await.map(drop)
    }

    /// The inputs of the actions that were run on it, without those that hooks ran.
    pub(crate) fn inputs(&self) -> impl Iterator<Item = Json> {
        self.transaction.calls.iter().filter(|call| !call.by_hook).map(|call| call.data.clone())
    }

    /// Commits everything.
    ///
    /// # Errors
    ///
    /// Those of [`EventStore::commit`](crate::store::EventStore::commit); whatever a hook returns; the error of an action
    /// that had failed; `Closed` after a shutdown.
    ///
    /// # Cancel safety
    ///
    /// Dropped, the commit is made or it is not, as a whole.
    pub async fn commit(self) -> Result<Committed> {
        self.commit_by(None).await
    }

    /// Hands the commit to `commit`, in the place of the log's committer: so that it can be made inside a transaction of
    /// yours, with a backend that can do so (such as Postgres by `commit_in`). Hooks around the transaction run around it, and
    /// those after it when it has returned: so it ends your transaction, too.
    ///
    /// A conflict is not tried again, and a lost acknowledgement is not resolved: both are left to the caller.
    ///
    /// # Errors
    ///
    /// Whatever `commit` and the hooks return; the error of an action that had failed.
    ///
    /// # Cancel safety
    ///
    /// That of `commit`.
    pub async fn commit_with<F, Fut>(self, commit: F) -> Result<Committed>
    where
        F: FnOnce(Commit) -> Fut + Send,
        Fut: Future<Output = Result<Committed>> + Send,
    {
        self.commit_by(Some(Box::new(move |made| async move { commit(made).await }.boxed()))).await
    }

    async fn commit_by(mut self, own: Option<OwnWay<'_>>) -> Result<Committed> {
        if let Some(error) = self.failed.take().or_else(|| self.running.first().map(|dropped| broken_off(dropped))) {
            return Err(error.at("an action of this unit of work had failed"));
        }
        let engine = Arc::clone(&self.engine);
        let transaction = std::mem::take(&mut self.transaction);
        let subjects = std::mem::take(&mut self.subjects);
        let step = Step {
            engine: &engine,
            subjects,
            due: Mutex::new(Some(Due { commit: Box::new(self.into_commit()), own })),
            progress: Mutex::new(Progress::Waiting),
        };
        let told = async {
            for hook in &engine.hooks {
                hook.before_transaction(&transaction).await?;
            }
            NextTransaction { hooks: &engine.hooks, transaction: &transaction, step: &step }.run().await
        };
        let told = AssertUnwindSafe(told).catch_unwind().await;
        let outcome = step.settle(told.unwrap_or_else(|panic| Err(panicked("a hook", &*panic))));
        for hook in &engine.hooks {
            let told = AssertUnwindSafe(hook.after_transaction(&transaction, outcome.as_ref())).catch_unwind().await;
            if let Err(panic) = told {
                tracing::error!(error = %panicked("a hook after the transaction", &*panic), "the commit stands as it is");
            }
        }
        outcome
    }

    fn into_commit(self) -> Commit {
        // A write checks the revision that was read. That there was no record it would check too, yet as
        // `AlreadyExists`: what was read and is not so any more is a `Conflict`.
        let written = &self.written;
        let checked = self.read.into_iter().filter(|(key, record)| record.is_none() || !written.contains_key(key));
        let records = checked.map(|(key, record)| Check::Record {
            key,
            expected: record.map_or(Expected::Absent, |record| Expected::Revision(record.revision)),
        });
        let identities = self.found.into_iter().map(|(identity, owner)| Check::Identity { identity, owner });
        Commit {
            log: self.log,
            lock: self.lock,
            guards: Vec::new(),
            keys: Vec::new(),
            checks: records.chain(identities).collect(),
            changes: self.changes,
            accepts: self.accepts,
        }
    }

    /// Runs an action with its hooks. Whatever fails or is dropped on the way, the unit cannot be committed any more: a hook
    /// that takes no notice of it does not make it good.
    async fn perform<A: Action>(
        &mut self,
        expected: &[ActionKind],
        target: Target<'_, A::Resource>,
        action: A,
    ) -> Result<Option<A::Resource>> {
        let depth = self.running.len();
        self.running.push(A::NAME);
        let result = self.run_with_hooks(expected, target, action).await;
        if let Some(dropped) = self.running.get(depth + 1) {
            self.failed.get_or_insert(broken_off(dropped));
        }
        self.running.truncate(depth);
        if let Err(error) = &result {
            self.failed.get_or_insert_with(|| error.clone());
        }
        result
    }

    async fn run_with_hooks<A: Action>(
        &mut self,
        expected: &[ActionKind],
        target: Target<'_, A::Resource>,
        action: A,
    ) -> Result<Option<A::Resource>> {
        expect_kind::<A>(expected)?;
        self.engine.registry.expect_action::<A>()?;
        let key = match target {
            Target::New => None,
            Target::Id(id) => Some(key_of::<A::Resource>(id)?),
            Target::Owner => self.owner(&action).await?,
        };
        let (data, input) =
            JsonObject::of_value(&action).map_err(|error| error.at(format!("the input of {:?}", A::NAME)))?;
        let call = Call {
            resource: A::Resource::NAME,
            action: A::NAME,
            action_type: A::KIND.action_type(key.is_some()),
            by_hook: self.running.len() > 1,
            key: key.clone(),
            actor: self.cx.actor.clone(),
            data: data.clone(),
            occurred_at: self.cx.now,
        };
        let engine = Arc::clone(&self.engine);
        let mut body = Typed { action: Some(action), key, data, input, outcome: None };
        let allowed_run = async {
            self.allow(&call).await?;
            Next { hooks: &engine.hooks, all: &engine.hooks, call: &call, body: &mut body }.run(self).await
        };
        let result = AssertUnwindSafe(allowed_run).catch_unwind().await;
        result.unwrap_or_else(|panic| Err(panicked(&format!("the action {:?} or a hook of it", A::NAME), &*panic)))?;
        let outcome = body.outcome.ok_or_else(|| {
            Error::invalid(format!("a hook around the action {:?} did not run it, and gave no error", A::NAME))
        })?;
        self.transaction.calls.push(call);
        Ok(outcome)
    }

    /// The record that an upsert changes; `None` if it creates one.
    async fn owner<A: Action>(&mut self, action: &A) -> Result<Option<RecordKey>> {
        let (name, value) = action.looks_for().ok_or_else(no_record::<A>)?;
        if !A::Resource::IDENTITIES.iter().any(|identity| identity.name == name) {
            let (action, resource) = (A::NAME, A::Resource::NAME);
            let message =
                format!("the action {action:?} looks for the identity {name:?}, which {resource:?} does not have");
            return Err(Error::invalid(message));
        }
        let Some(record) = self.find::<A::Resource>(name, &value).await? else { return Ok(None) };
        Ok(Some(RecordKey { resource: name_of::<A::Resource>()?, id: RecordId::new(record.id())? }))
    }

    /// Adds a change, and whose data it is: that must be told where there is a vault.
    pub(crate) fn push(&mut self, change: Change, subject: Option<Subject>) {
        if self.changes.is_empty() {
            // Mostly, it is the only one, and it is large.
            self.changes.reserve_exact(1);
        }
        self.changes.push(change);
        self.subjects.extend(subject);
    }

    /// Asks the policies.
    pub(crate) async fn allow(&mut self, call: &Call) -> Result<()> {
        if !self.guarded || self.engine.policies.is_empty() {
            return Ok(());
        }
        let state = match &call.key {
            Some(key) => self.state(key).await?,
            None => None,
        };
        let record = state.as_ref().map(|state| &state.attributes);
        self.engine.policies.iter().try_for_each(|policy| policy.may_run(call, record)).map_err(forbidden)
    }
}

/// The record that an action is run on.
enum Target<'a, R: Resource> {
    /// None yet.
    New,
    /// The one with this id.
    Id(&'a R::Id),
    /// The one that owns the identity that the action looks for, or none yet.
    Owner,
}

fn expect_kind<A: Action>(expected: &[ActionKind]) -> Result<()> {
    match expected {
        [first, ..] if !expected.contains(&A::KIND) => {
            Err(Error::invalid(format!("the action {:?} is of type {}, and was run as {first}", A::NAME, A::KIND)))
        }
        _ => Ok(()),
    }
}

fn broken_off(action: &str) -> Error {
    Error::invalid(format!("the action {action:?} was broken off"))
}

fn no_record<A: Action>() -> Error {
    Error::invalid(format!("the action {:?} of type {} left no record", A::NAME, A::KIND))
}

pub(crate) fn panicked(what: &str, panic: &(dyn std::any::Any + Send)) -> Error {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    Error::new(ErrorKind::Panicked, format!("{what} panicked: {}", text.unwrap_or("(no message)")))
}
