//! Sessions: actions in the name of an actor.

use std::future::Future;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use serde::Serialize;
use tokio::sync::OwnedMutexGuard;

use super::action::Action;
use super::context::Context;
use super::log::Log;
use super::past::AsOf;
use super::resource::{Resource, key_of};
use super::unit::Unit;
use crate::error::{Error, ErrorKind, Result};
use crate::types::{Actor, Json, JsonObject, Position, RecordKey, Timestamp};

tokio::task_local! {
    /// Whether a turn is held. A hook may run actions by a session of its own: waiting for another turn then, it
    /// could wait for itself.
    static IN_TURN: bool;
}

fn is_in_turn() -> bool {
    IN_TURN.try_with(|held| *held).unwrap_or(false)
}

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
        let (mut attempts, mut inputs) = (self.attempts(None), Inputs::of(vec![action]));
        loop {
            let mut unit = self.begin()?;
            let record = attempts.in_turn(unit.create::<A>(inputs.next()?)).await?;
            inputs.keep(&unit);
            if attempts.committed(unit).await? {
                return Ok(record);
            }
        }
    }

    /// Runs an action that changes the record that owns an identity, or creates one, and commits it.
    ///
    /// # Errors
    ///
    /// Those of [`Unit::upsert`] and [`Unit::commit`]; see [`create`](Self::create) for `Conflict`.
    ///
    /// # Cancel safety
    ///
    /// Dropped, the action is committed as a whole or not at all.
    pub async fn upsert<A: Action>(&self, action: A) -> Result<A::Resource> {
        let (mut attempts, mut inputs) = (self.attempts(None), Inputs::of(vec![action]));
        loop {
            let mut unit = self.begin()?;
            let record = attempts.in_turn(unit.upsert::<A>(inputs.next()?)).await?;
            inputs.keep(&unit);
            if attempts.committed(unit).await? {
                return Ok(record);
            }
        }
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
        let (mut attempts, mut inputs) = (self.attempts(Some(key_of::<A::Resource>(id)?)), Inputs::of(vec![action]));
        loop {
            let mut unit = self.begin()?;
            let record = attempts.in_turn(unit.update::<A>(id, inputs.next()?)).await?;
            inputs.keep(&unit);
            if attempts.committed(unit).await? {
                return Ok(record);
            }
        }
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
        let (mut attempts, mut inputs) = (self.attempts(Some(key_of::<A::Resource>(id)?)), Inputs::of(vec![action]));
        loop {
            let mut unit = self.begin()?;
            attempts.in_turn(unit.destroy::<A>(id, inputs.next()?)).await?;
            inputs.keep(&unit);
            if attempts.committed(unit).await? {
                return Ok(());
            }
        }
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
        Ok(Unit::new(&self.log, cx, metadata))
    }

    /// The log, its events read in the name of this session's actor, for a [`Policy`](super::Policy) that guards them.
    ///
    /// # Errors
    ///
    /// `Invalid` or `TooLarge` if the actor of the session is wrong.
    pub fn log(&self) -> Result<Log> {
        let bound = self.bound.as_ref().map_err(Error::clone)?;
        Ok(Log { reader: bound.actor.clone(), ..self.log.clone() })
    }

    /// Takes a log that was replayed to this point, and not to its head, as it is: it takes commits again, on top of the
    /// records that it has. An event tells of it, in the name of this session's actor; its position is given. The events
    /// that the replay left out stay in the log, and have no effect any more: on replays, `as_of` and `history` as well.
    ///
    /// # Errors
    ///
    /// - `Conflict`: the log is not rewound. `Rewound`, with the position: it is rewound to another point.
    /// - `Rebuilding`: it is being rebuilt in place. `Forbidden` by a policy. `Closed` after a shutdown.
    /// - `Unavailable`, `Indeterminate`, `Corrupt`.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it is done or it is not.
    pub async fn accept_rewound(&self, point: impl Into<AsOf>) -> Result<Position> {
        self.begin()?.accept_rewound(&self.log, point.into()).await
    }

    /// The attempts at one commit; `key` is the record that it changes, if it is one.
    pub(crate) fn attempts(&self, key: Option<RecordKey>) -> Attempts<'_> {
        Attempts { session: self, key, left: self.log.engine.attempts.max(1), turn: None }
    }

    fn turn(&self, key: &RecordKey) -> impl Future<Output = OwnedMutexGuard<()>> + use<> {
        let mut hasher = DefaultHasher::new();
        (&self.log.id, key).hash(&mut hasher);
        let turns = &self.log.engine.turns;
        let index = usize::try_from(hasher.finish() % turns.len() as u64).unwrap_or(0);
        Arc::clone(&turns[index]).lock_owned()
    }
}

/// The attempts at one commit: an action whose commit meets a conflict is run again, on what is stored then.
pub(crate) struct Attempts<'a> {
    session: &'a Session,
    key: Option<RecordKey>,
    left: usize,
    turn: Option<OwnedMutexGuard<()>>,
}

impl Attempts<'_> {
    /// Runs an attempt, so that what it runs by sessions of its own waits for no turn while this one is held.
    pub(crate) fn in_turn<T, F: Future<Output = T>>(&self, run: F) -> impl Future<Output = T> + use<T, F> {
        IN_TURN.scope(self.turn.is_some() || is_in_turn(), run)
    }

    /// Commits; `false` if it has met a conflict, and is to be made again.
    pub(crate) async fn committed(&mut self, unit: Unit) -> Result<bool> {
        self.left = self.left.saturating_sub(1);
        match self.in_turn(unit.commit()).await {
            Ok(_) => Ok(true),
            Err(error) if matches!(error.kind(), ErrorKind::Conflict { .. }) && self.left > 0 => {
                // Those that met a conflict over a record queue up for it, so that they do not trip each other again.
                if !is_in_turn()
                    && let Some(key) = self.key.take()
                {
                    self.turn = Some(self.session.turn(&key).await);
                }
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }
}

/// The inputs of actions that may be run several times: a retry reads them back from their JSON, as a replay does.
pub(crate) struct Inputs<A> {
    data: Vec<Json>,
    first: Option<Vec<A>>,
}

impl<A: Action> Inputs<A> {
    pub(crate) fn of(actions: Vec<A>) -> Self {
        Self { data: Vec::new(), first: Some(actions) }
    }

    /// Keeps what the actions that this unit has run were given, for when they are to be run again.
    pub(crate) fn keep(&mut self, unit: &Unit) {
        if self.data.is_empty() {
            self.data = unit.inputs().collect();
        }
    }

    /// The actions, for one more run.
    pub(crate) fn all(&mut self) -> Result<Vec<A>> {
        match self.first.take() {
            Some(actions) => Ok(actions),
            None => self.data.iter().map(Json::to_value).collect(),
        }
    }

    /// The one action, for one more run.
    fn next(&mut self) -> Result<A> {
        self.all()?.pop().ok_or_else(|| Error::invalid(format!("the input of {:?} is missing", A::NAME)))
    }
}
