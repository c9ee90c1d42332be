//! The unit of work: what several actions have read and changed, committed as one.

use std::collections::{BTreeMap, HashMap};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use async_trait::async_trait;
use futures::FutureExt;

use super::action::Action;
use super::context::Context;
use super::hook::{Body, Call, CommitStep, Next, NextTransaction, Transaction};
use super::log::Engine;
use super::resource::{Resource, Stored, key_of, name_of, typed};
use crate::error::{Error, ErrorKind, Result};
use crate::store::ResourceStoreExt;
use crate::types::{
    ActionName, ActionType, Change, Check, Commit, Committed, Expected, Identity, Json, JsonObject, LockKey, LogId,
    NewEvent, Payload, Record, RecordId, RecordKey, RecordWrite, Revision, WriteState, diff,
};

/// Several actions that are committed as one: all of their events and changes, or none.
///
/// It sees its own changes. It holds nothing open: what it has read is checked when it is committed, and if that has
/// changed since, the commit is a `Conflict`. Once an action has failed, it cannot be committed any more.
pub struct Unit {
    engine: Arc<Engine>,
    log: LogId,
    lock: LockKey,
    cx: Context,
    metadata: Json,
    read: HashMap<RecordKey, Option<Record>>,
    found: BTreeMap<Identity, Option<RecordId>>,
    written: HashMap<RecordKey, Option<WriteState>>,
    changes: Vec<Change>,
    transaction: Transaction,
    /// The actions that have begun and not ended, the outermost first.
    running: Vec<&'static str>,
    failed: Option<Error>,
}

impl Unit {
    pub(crate) fn new(engine: Arc<Engine>, log: LogId, lock: LockKey, cx: Context, metadata: Json) -> Self {
        Self {
            engine,
            log,
            lock,
            cx,
            metadata,
            read: HashMap::new(),
            found: BTreeMap::new(),
            written: HashMap::new(),
            changes: Vec::new(),
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
        self.perform(ActionType::Create, None, action).await?.ok_or_else(no_record::<A>)
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
        self.perform(ActionType::Update, Some(id), action).await?.ok_or_else(no_record::<A>)
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
        self.perform(ActionType::Destroy, Some(id), action).await.map(drop)
    }

    /// Reads a record, with this unit's changes. The commit checks that it is still the same.
    ///
    /// # Errors
    ///
    /// `Unavailable`, `Corrupt`, `Rebuilding`; `Invalid` if the id is no record id.
    ///
    /// # Cancel safety
    ///
    /// It can be dropped at any time.
    pub async fn get<R: Resource>(&mut self, id: &R::Id) -> Result<Option<R>> {
        let key = key_of::<R>(id)?;
        self.state(&key).await?.map(|state| typed(&key, &state.attributes)).transpose()
    }

    /// Reads the record that owns an identity, with this unit's changes. The commit checks that it is still the same, and
    /// still owns it; or that still none does.
    ///
    /// # Errors
    ///
    /// As for [`get`](Self::get).
    ///
    /// # Cancel safety
    ///
    /// It can be dropped at any time.
    pub async fn find<R: Resource>(&mut self, name: &str, value: &str) -> Result<Option<R>> {
        let resource = name_of::<R>()?;
        let identity = Identity::new(resource.as_str(), name, value)?;
        let owns = |state: &WriteState| state.identities.iter().any(|own| own.name == name && own.value == value);
        let mine =
            self.written.iter().find(|(key, state)| key.resource == resource && state.as_ref().is_some_and(owns));
        if let Some((key, Some(state))) = mine {
            return typed(key, &state.attributes).map(Some);
        }
        let owner = match self.found.get(&identity) {
            Some(owner) => owner.clone(),
            None => {
                let record = self.engine.records()?.find(&self.log, &identity).await?;
                let owner = record.as_ref().map(|record| record.key.id.clone());
                self.found.insert(identity, owner.clone());
                if let Some(record) = record {
                    self.read.entry(record.key.clone()).or_insert(Some(record));
                }
                owner
            }
        };
        let Some(id) = owner else { return Ok(None) };
        let key = RecordKey { resource, id };
        // If this unit has taken the identity from the record, nobody owns it.
        if self.written.contains_key(&key) {
            return Ok(None);
        }
        self.state(&key).await?.map(|state| typed(&key, &state.attributes)).transpose()
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
    pub async fn commit(mut self) -> Result<Committed> {
        if let Some(error) = self.failed.take().or_else(|| self.running.first().map(|dropped| broken_off(dropped))) {
            return Err(error.at("an action of this unit of work had failed"));
        }
        let engine = Arc::clone(&self.engine);
        let transaction = std::mem::take(&mut self.transaction);
        let step = Step { engine: &engine, commit: self.into_commit() };
        let outcome = async {
            for hook in &engine.hooks {
                hook.before_transaction(&transaction).await?;
            }
            NextTransaction { hooks: &engine.hooks, transaction: &transaction, step: &step }.run().await
        };
        let outcome =
            AssertUnwindSafe(outcome).catch_unwind().await.unwrap_or_else(|panic| Err(panicked("a hook", &*panic)));
        for hook in &engine.hooks {
            let told = AssertUnwindSafe(hook.after_transaction(&transaction, outcome.as_ref())).catch_unwind().await;
            if let Err(panic) = told {
                tracing::error!(error = %panicked("a hook after the transaction", &*panic), "the commit stands as it is");
            }
        }
        outcome
    }

    fn into_commit(self) -> Commit {
        // A write checks the revision that was read. That there was no record it would check too, yet as `AlreadyExists`:
        // what was read and is not so any more is a `Conflict`.
        let written = &self.written;
        let checked = self.read.into_iter().filter(|(key, record)| record.is_none() || !written.contains_key(key));
        let records = checked.map(|(key, record)| Check::Record {
            key,
            expected: record.map_or(Expected::Absent, |record| Expected::Revision(record.revision)),
        });
        let identities = self.found.into_iter().map(|(identity, owner)| Check::Identity { identity, owner });
        Commit { log: self.log, lock: self.lock, checks: records.chain(identities).collect(), changes: self.changes }
    }

    /// Runs an action with its hooks. Whatever fails or is dropped on the way, the unit cannot be committed any more: a hook
    /// that takes no notice of it does not make it good.
    pub(super) async fn perform<A: Action>(
        &mut self,
        expected: ActionType,
        id: Option<&<A::Resource as Resource>::Id>,
        action: A,
    ) -> Result<Option<A::Resource>> {
        let depth = self.running.len();
        self.running.push(A::NAME);
        let result = self.run_with_hooks(expected, id, action).await;
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
        expected: ActionType,
        id: Option<&<A::Resource as Resource>::Id>,
        action: A,
    ) -> Result<Option<A::Resource>> {
        if A::TYPE != expected {
            let message = format!("the action {:?} is of type {}, and was run as {expected}", A::NAME, A::TYPE);
            return Err(Error::invalid(message));
        }
        self.engine.registry.expect_action::<A>()?;
        let key = id.map(key_of::<A::Resource>).transpose()?;
        let data = Json::from_value(&action).map_err(|error| error.at(format!("the input of {:?}", A::NAME)))?;
        let call = Call {
            resource: A::Resource::NAME,
            action: A::NAME,
            action_type: A::TYPE,
            key: key.clone(),
            actor: self.cx.actor.clone(),
            data: data.clone(),
            occurred_at: self.cx.now,
        };
        let engine = Arc::clone(&self.engine);
        let mut body = Typed { action: Some(action), key, data, outcome: None };
        let next = Next { hooks: &engine.hooks, all: &engine.hooks, call: &call, body: &mut body };
        let result = AssertUnwindSafe(next.run(self)).catch_unwind().await;
        result.unwrap_or_else(|panic| Err(panicked(&format!("the action {:?} or a hook of it", A::NAME), &*panic)))?;
        let outcome = body.outcome.ok_or_else(|| {
            Error::invalid(format!("a hook around the action {:?} did not run it, and gave no error", A::NAME))
        })?;
        self.transaction.calls.push(call);
        Ok(outcome)
    }

    /// What a record is for this unit.
    async fn state(&mut self, key: &RecordKey) -> Result<Option<WriteState>> {
        if let Some(state) = self.written.get(key) {
            return Ok(state.clone());
        }
        if !self.read.contains_key(key) {
            let record = self.engine.records()?.get_one(&self.log, key).await?;
            self.read.insert(key.clone(), record);
        }
        let record = self.read.get(key).and_then(Option::as_ref);
        Ok(record
            .map(|record| WriteState { attributes: record.attributes.clone(), identities: record.identities.clone() }))
    }

    /// That this unit knows of no such record. Whether the store has one is seen at the commit.
    fn expect_absent(&self, key: &RecordKey) -> Result<()> {
        match (self.written.get(key), self.read.get(key)) {
            (Some(Some(_)), _) => {
                let kind = ErrorKind::AlreadyExists { actual: Revision::ZERO };
                Err(Error::new(kind, format!("{key} was created before in this unit of work")))
            }
            (None, Some(Some(record))) => Expected::Absent.verify_write(key, Some(record.revision)),
            _ => Ok(()),
        }
    }

    fn expected(&self, key: &RecordKey, action_type: ActionType) -> Expected {
        match (self.written.get(key), self.read.get(key)) {
            (Some(Some(_)), _) => Expected::Exists,
            (None, Some(Some(record))) => Expected::Revision(record.revision),
            (Some(None), _) | (None, Some(None)) => Expected::Absent,
            (None, None) if action_type == ActionType::Create => Expected::Absent,
            (None, None) => Expected::Exists,
        }
    }
}

struct Typed<A: Action> {
    action: Option<A>,
    key: Option<RecordKey>,
    data: Json,
    outcome: Option<Option<A::Resource>>,
}

#[async_trait]
impl<A: Action> Body for Typed<A> {
    async fn run(&mut self, unit: &mut Unit) -> Result<Option<Json>> {
        let action = self.action.take().ok_or_else(|| Error::invalid("a hook ran an action twice"))?;
        let state = match &self.key {
            Some(key) => Some(
                unit.state(key)
                    .await?
                    .ok_or_else(|| Error::new(ErrorKind::NotFound, format!("{key} does not exist")))?,
            ),
            None => None,
        };
        let before = match (&self.key, &state) {
            (Some(key), Some(state)) => Some(typed::<A::Resource>(key, &state.attributes)?),
            _ => None,
        };
        let (mut key, before_attributes) = match (&self.key, &state) {
            (Some(key), Some(state)) => (Some(key.clone()), state.attributes.to_object()?),
            _ => (None, JsonObject::default()),
        };
        let mut after = action.apply(before, &unit.cx)?;
        if after.is_none() && A::TYPE != ActionType::Destroy {
            return Err(no_record::<A>());
        }
        let mut written = None;
        let mut after_attributes = JsonObject::default();
        if let Some(record) = &mut after {
            if A::TYPE == ActionType::Update && same(&before_attributes, &Stored::of(record)?.attributes) {
                let attributes = state.map(|state| state.attributes);
                self.outcome = Some(after);
                return Ok(attributes);
            }
            record.stamp(A::TYPE == ActionType::Create, unit.cx.now);
            let stored = Stored::of(record)?;
            if key.as_ref().is_some_and(|key| *key != stored.key) {
                let message =
                    format!("the action {:?} changed the id of a record to {:?}", A::NAME, stored.key.id.as_str());
                return Err(Error::invalid(message));
            }
            if A::TYPE == ActionType::Create {
                unit.expect_absent(&stored.key)?;
            }
            key = Some(stored.key);
            written = Some(WriteState { attributes: stored.attributes.to_json()?, identities: stored.identities });
            after_attributes = stored.attributes;
        }
        let key = key.ok_or_else(|| no_record::<A>())?;
        let event =
            event::<A>(unit, &key, &self.data, &before_attributes, written.as_ref().map(|_| &after_attributes))?;
        let expected = unit.expected(&key, A::TYPE);
        let record = written.as_ref().map(|state| state.attributes.clone());
        unit.written.insert(key.clone(), written.clone());
        unit.changes.push(Change { event: Some(event), write: Some(RecordWrite { key, expected, state: written }) });
        self.outcome = Some(after);
        Ok(record)
    }
}

fn event<A: Action>(
    unit: &Unit,
    key: &RecordKey,
    data: &Json,
    before: &JsonObject,
    after: Option<&JsonObject>,
) -> Result<NewEvent> {
    let resource = unit.engine.registry.expect_action::<A>()?;
    let mut input = data.to_object()?;
    let known = resource.known(input.clone());
    let changes = after.map(|after| diff(before, &known, after)).unwrap_or_default();
    let mut changed = changes.changed;
    resource.redact(&mut changed)?;
    let redacted = resource.redact(&mut input)?;
    Ok(NewEvent {
        id: unit.cx.new_event_id(),
        resource: key.resource.clone(),
        record_id: key.id.clone(),
        action: ActionName::new(A::NAME)?,
        action_type: A::TYPE,
        version: A::VERSION,
        actor: unit.cx.actor.clone(),
        data: Payload::Json(if redacted { input.to_json()? } else { data.clone() }),
        changed_attributes: Payload::Json(changed.to_json()?),
        removed_attributes: changes.removed,
        metadata: Payload::Json(unit.metadata.clone()),
        occurred_at: unit.cx.now,
    })
}

fn same(a: &JsonObject, b: &JsonObject) -> bool {
    let changes = diff(a, &JsonObject::default(), b);
    changes.changed.is_empty() && changes.removed.is_empty()
}

/// The commit of a unit. When the acknowledgement is lost, the same event ids are committed again to learn what became of
/// them.
struct Step<'a> {
    engine: &'a Engine,
    commit: Commit,
}

#[async_trait]
impl CommitStep for Step<'_> {
    async fn commit(&self) -> Result<Committed> {
        const ATTEMPTS: usize = 3;
        if self.commit.changes.is_empty() && self.commit.checks.is_empty() {
            return Ok(Committed::default());
        }
        let mut attempt = 1;
        loop {
            let result = self.engine.committer.commit(self.commit.clone()).await;
            match &result {
                Err(error) if *error.kind() == ErrorKind::Indeterminate && attempt < ATTEMPTS => attempt += 1,
                _ => return result,
            }
        }
    }
}

fn broken_off(action: &str) -> Error {
    Error::invalid(format!("the action {action:?} was broken off"))
}

pub(super) fn no_record<A: Action>() -> Error {
    Error::invalid(format!("the action {:?} of type {} left no record", A::NAME, A::TYPE))
}

pub(crate) fn panicked(what: &str, panic: &(dyn std::any::Any + Send)) -> Error {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    Error::new(ErrorKind::Panicked, format!("{what} panicked: {}", text.unwrap_or("(no message)")))
}
