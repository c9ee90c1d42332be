//! The past: records as of a point, and the history of a record. Nothing is changed by looking.

use futures::TryStreamExt;

use super::fold::Fold;
use super::log::Log;
use super::registry::Registry;
use super::resource::{Resource, key_of, typed};
use crate::error::{Error, ErrorKind, Result};
use crate::types::{Event, EventQuery, Json, Position, RecordKey, Timestamp};

/// A point in a log's past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AsOf {
    /// After the event at this position.
    Position(Position),
    /// After the events that occurred at this time or earlier.
    Time(Timestamp),
}

impl From<Position> for AsOf {
    fn from(position: Position) -> Self {
        Self::Position(position)
    }
}

impl From<Timestamp> for AsOf {
    fn from(time: Timestamp) -> Self {
        Self::Time(time)
    }
}

impl AsOf {
    pub(crate) fn bound(self, query: EventQuery) -> EventQuery {
        match self {
            Self::Position(position) => query.with_up_to(position),
            Self::Time(time) => query.with_occurred_until(time),
        }
    }
}

/// A log as it was.
#[derive(Clone)]
pub struct Past<'a> {
    log: &'a Log,
    point: AsOf,
}

impl<'a> Past<'a> {
    pub(crate) fn new(log: &'a Log, point: AsOf) -> Self {
        Self { log, point }
    }

    /// A record as it was then; `None` if it was not there.
    ///
    /// # Errors
    ///
    /// `Unavailable`, `Corrupt`; `Replay` with the position of an event that cannot be applied; `Invalid` if the id is no
    /// record id.
    ///
    /// # Cancel safety
    ///
    /// It changes nothing, so it can be dropped at any time.
    pub async fn get<R: Resource>(&self, id: &R::Id) -> Result<Option<R>> {
        let key = key_of::<R>(id)?;
        let mut fold = Fold::default();
        let registry = &self.log.engine.registry;
        let mut events = self.log.stream(self.point.bound(of_record(registry, &key)));
        while let Some(event) = events.try_next().await? {
            fold.apply_to(&key, registry, &event)?;
        }
        attributes(&fold, &key)?.map(|attributes| typed(&key, &attributes)).transpose()
    }
}

/// An event of a record, and the record after it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Revised<R> {
    /// The event.
    pub event: Event,
    /// The attributes after it, as JSON; `None` if the record was destroyed.
    pub attributes: Option<Json>,
    /// The record after it.
    pub record: Option<R>,
}

/// The events of a record, each with the record after it.
pub(crate) async fn history<R: Resource>(log: &Log, id: &R::Id) -> Result<Vec<Revised<R>>> {
    let key = key_of::<R>(id)?;
    let mut fold = Fold::default();
    let registry = &log.engine.registry;
    let mut history = Vec::new();
    let mut events = log.stream(of_record(registry, &key));
    while let Some(event) = events.try_next().await? {
        if !registry.concerns(&event, &key) {
            continue;
        }
        fold.apply_to(&key, registry, &event)?;
        let attributes = attributes(&fold, &key)?;
        let record =
            attributes.as_ref().map(|attributes| typed(&key, attributes)).transpose().map_err(|error: Error| {
                let kind = ErrorKind::Replay { position: event.position };
                Error::new(kind, format!("after the event at position {}: {error}", event.position))
            })?;
        history.push(Revised { event, attributes, record });
    }
    Ok(history)
}

/// The events that can have written a record: its own, and where routes lead from other resources, those of its id.
fn of_record(registry: &Registry, key: &RecordKey) -> EventQuery {
    let query = EventQuery::new().with_record_id(key.id.clone());
    if registry.routes_lead_to(key.resource.as_str()) { query } else { query.with_resource(key.resource.clone()) }
}

fn attributes(fold: &Fold, key: &RecordKey) -> Result<Option<Json>> {
    fold.state(key).and_then(|state| state.attributes.as_ref()).map(crate::types::JsonObject::to_json).transpose()
}
