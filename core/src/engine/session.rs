//! Sessions: actions in the name of an actor.

use std::future::Future;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use serde::Serialize;

use super::action::Action;
use super::context::Context;
use super::log::Log;
use super::resource::{Resource, key_of};
use super::unit::{Unit, no_record};
use crate::error::{Error, ErrorKind, Result};
use crate::types::{ActionType, Actor, Json, JsonObject, RecordKey, Timestamp};

/// Something that acts: an [`Actor`], or a type of yours that names one.
pub trait AsActor {
    /// The actor that is recorded.
    ///
    /// # Errors
    ///
    /// `Invalid` or `TooLarge` if it has no valid kind and id; the actions of the session give that error.
    fn as_actor(&self) -> Result<Actor>;
}

impl AsActor for Actor {
    fn as_actor(&self) -> Result<Actor> {
        Ok(self.clone())
    }
}

impl<A: AsActor + ?Sized> AsActor for &A {
    fn as_actor(&self) -> Result<Actor> {
        (**self).as_actor()
    }
}

/// The only way to actions: a log in the name of an actor, with what is told about each call.
#[derive(Clone)]
#[must_use = "a session does nothing until an action is run on it"]
pub struct Session {
    log: Log,
    bound: Result<Bound>,
}

#[derive(Clone)]
struct Bound {
    actor: Option<Actor>,
    metadata: JsonObject,
    at: Option<Timestamp>,
}

impl Session {
    pub(crate) fn new(log: Log, actor: Result<Option<Actor>>) -> Self {
        let bound = actor.map(|actor| Bound { actor, metadata: JsonObject::default(), at: None });
        Self { log, bound }
    }

    /// Adds a member to the metadata of every event of this session. What cannot be written as JSON is an error of the
    /// actions.
    pub fn with(mut self, name: impl Into<String>, value: impl Serialize) -> Self {
        self.bound = self.bound.and_then(|mut bound| {
            bound.metadata.set(name, &value)?;
            Ok(bound)
        });
        self
    }

    /// Gives the events of this session this time in the place of the present: for an import of what happened before.
    pub fn at(mut self, occurred_at: Timestamp) -> Self {
        if let Ok(bound) = &mut self.bound {
            bound.at = Some(occurred_at);
        }
        self
    }

    /// Runs an action that creates a record, and commits it.
    ///
    /// # Errors
    ///
    /// Those of [`Unit::create`] and [`Unit::commit`]. A `Conflict` is met by running the action again, and is returned
    /// only if that goes on and on.
    ///
    /// # Cancel safety
    ///
    /// Dropped, the action is committed as a whole or not at all.
    pub async fn create<A: Action>(&self, action: A) -> Result<A::Resource> {
        self.run(ActionType::Create, None, action).await?.ok_or_else(no_record::<A>)
    }

    /// Runs an action that changes a record, and commits it.
    ///
    /// # Errors
    ///
    /// Those of [`Unit::update`] and [`Unit::commit`]; see [`create`](Self::create) for `Conflict`.
    ///
    /// # Cancel safety
    ///
    /// Dropped, the action is committed as a whole or not at all.
    pub async fn update<A: Action>(&self, id: &<A::Resource as Resource>::Id, action: A) -> Result<A::Resource> {
        self.run(ActionType::Update, Some(id), action).await?.ok_or_else(no_record::<A>)
    }

    /// Runs an action that destroys a record, and commits it.
    ///
    /// # Errors
    ///
    /// Those of [`Unit::destroy`] and [`Unit::commit`]; see [`create`](Self::create) for `Conflict`.
    ///
    /// # Cancel safety
    ///
    /// Dropped, the action is committed as a whole or not at all.
    pub async fn destroy<A: Action>(&self, id: &<A::Resource as Resource>::Id, action: A) -> Result<()> {
        self.run(ActionType::Destroy, Some(id), action).await.map(drop)
    }

    /// Begins a unit of work: several actions, committed as one. A `Conflict` at its commit is the caller's to meet.
    ///
    /// # Errors
    ///
    /// `Invalid` or `TooLarge` if the actor or the metadata of the session are wrong.
    pub fn begin(&self) -> Result<Unit> {
        let bound = self.bound.as_ref().map_err(Error::clone)?;
        let engine = &self.log.engine;
        let now = bound.at.unwrap_or_else(|| engine.clock.now());
        let cx = Context { actor: bound.actor.clone(), now, ids: Arc::clone(&engine.ids) };
        let metadata = if bound.metadata.is_empty() { Json::empty() } else { bound.metadata.to_json()? };
        Ok(Unit::new(Arc::clone(engine), self.log.id.clone(), self.log.lock, cx, metadata))
    }

    async fn run<A: Action>(
        &self,
        expected: ActionType,
        id: Option<&<A::Resource as Resource>::Id>,
        action: A,
    ) -> Result<Option<A::Resource>> {
        let attempts = self.log.engine.attempts.max(1);
        // A retry reads the action back from its input, as a replay does.
        let data = Json::from_value(&action).map_err(|error| error.at(format!("the input of {:?}", A::NAME)))?;
        let mut action = Some(action);
        let mut turn = None;
        let mut attempt = 0;
        loop {
            attempt += 1;
            let mut unit = self.begin()?;
            let current = match action.take() {
                Some(action) => action,
                None => data.to_value()?,
            };
            let result = unit.perform(expected, id, current).await?;
            match unit.commit().await {
                Ok(_) => return Ok(result),
                Err(error) if matches!(error.kind(), ErrorKind::Conflict { .. }) && attempt < attempts => {
                    // Those that met a conflict over a record queue up for it, so that they do not trip each other again.
                    if turn.is_none()
                        && let Some(id) = id
                    {
                        turn = Some(self.turn(&key_of::<A::Resource>(id)?).await);
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn turn(&self, key: &RecordKey) -> impl Future<Output = tokio::sync::OwnedMutexGuard<()>> + use<> {
        let mut hasher = DefaultHasher::new();
        (&self.log.id, key).hash(&mut hasher);
        let turns = &self.log.engine.turns;
        let index = usize::try_from(hasher.finish() % turns.len() as u64).unwrap_or(0);
        Arc::clone(&turns[index]).lock_owned()
    }
}
