//! The past: records as of a point, and the history of a record. Nothing is changed by looking.

use std::collections::BTreeSet;
use std::fmt;

use futures::TryStreamExt;

use super::fold::Fold;
use super::log::Log;
use super::registry::Registry;
use super::resource::{Resource, key_of, typed};
use super::rewound::Skips;
use crate::error::{Error, ErrorKind, Result};
use crate::store::EventStoreExt;
use crate::types::{Event, EventQuery, Json, JsonObject, Position, RecordKey, Redacted, Timestamp};

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
        self.log.may_read()?;
        let key = key_of::<R>(id)?;
        let mut fold = Fold::default();
        let registry = &self.log.engine.registry;
        let skips = Skips::of(self.log, Some(self.point)).await?;
        let query = self.point.bound(of_record(registry, &key));
        let mut events = self.log.engine.events.stream(&self.log.id, query);
        while let Some(event) = events.try_next().await? {
            if !skips.has(&event) {
                fold.apply_to(&key, registry, &event)?;
            }
        }
        match typed_of(&fold, &key)? {
            Readable::Whole(record) => Ok(record),
            Readable::Redacted(why) => Err(Error::redacted(why)),
        }
    }
}

/// A record, as far as it can be read.
enum Readable<R> {
    Whole(Option<R>),
    Redacted(Redacted),
}

fn typed_of<R: Resource>(fold: &Fold, key: &RecordKey) -> Result<Readable<R>> {
    let record = attributes(fold, key)?.map(|attributes| typed(key, &attributes)).transpose();
    match (record, fold.state(key).and_then(|state| state.redacted.as_deref())) {
        (Ok(Some(record)), _) => Ok(Readable::Whole(Some(record))),
        (Ok(None), None) => Ok(Readable::Whole(None)),
        // A record that was passed over may have been there.
        (Ok(None), Some(_)) if fold.state(key).is_some_and(|state| !state.is_skipped()) => Ok(Readable::Whole(None)),
        (_, Some(why)) => Ok(Readable::Redacted(why.clone())),
        (Err(error), None) => Err(error),
    }
}

/// An event of a record, and the record before and after it. Its `Display` is the event in one line, and what it changed
/// in further ones.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Revised<R> {
    /// The event.
    pub event: Event,
    /// Whether it has an effect: not if a log that was rewound to before it was taken as it is.
    pub in_effect: bool,
    /// The attributes before it, as JSON; `None` if the record was not there.
    pub attributes_before: Option<Json>,
    /// The attributes after it, as JSON; `None` if the record was destroyed.
    pub attributes: Option<Json>,
    /// The record before it.
    pub before: Option<R>,
    /// The record after it.
    pub record: Option<R>,
    /// Why the record is `None` though it is there: too little can be read of it, since its subject was forgotten.
    pub redacted: Option<Redacted>,
}

/// An attribute that an event has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AttributeChange {
    /// Its name.
    pub name: String,
    /// Its value before, as JSON text; `None` if it was not there.
    pub before: Option<String>,
    /// Its value after, as JSON text; `None` if it is not there.
    pub after: Option<String>,
}

impl fmt::Display for AttributeChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
        write!(f, "{}: {} -> {}", self.name, value(&self.before), value(&self.after))
    }
}

impl<R> Revised<R> {
    /// The attributes that are not as they were before the event, by name.
    ///
    /// # Errors
    ///
    /// `Corrupt` if stored attributes are no JSON object.
    pub fn changes(&self) -> Result<Vec<AttributeChange>> {
        let object =
            |json: &Option<Json>| json.as_ref().map(Json::to_object).transpose().map(Option::unwrap_or_default);
        let (before, after) = (object(&self.attributes_before)?, object(&self.attributes)?);
        let names: BTreeSet<&str> = before.names().chain(after.names()).collect();
        let changed = names.into_iter().filter(|name| match (before.get(name), after.get(name)) {
            (Some(value), Some(_)) => !after.has(name, value),
            _ => true,
        });
        let text = |object: &JsonObject, name: &str| object.get(name).map(str::to_owned);
        Ok(changed
            .map(|name| AttributeChange {
                name: name.to_owned(),
                before: text(&before, name),
                after: text(&after, name),
            })
            .collect())
    }
}

impl<R> fmt::Display for Revised<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let event = &self.event;
        let actor = event.actor.as_ref().map_or_else(|| "nobody".to_owned(), ToString::to_string);
        write!(f, "{}  {}  {} by {actor}", event.position, event.occurred_at, event.action)?;
        if !self.in_effect {
            f.write_str(", of no effect")?;
        }
        if let Some(why) = &self.redacted {
            write!(f, ", redacted: {why}")?;
        }
        for change in self.changes().map_err(|_| fmt::Error)? {
            write!(f, "\n    {change}")?;
        }
        Ok(())
    }
}

/// The events of a record, each with the record before and after it.
pub(crate) async fn history<R: Resource>(log: &Log, id: &R::Id) -> Result<Vec<Revised<R>>> {
    log.may_read()?;
    let key = key_of::<R>(id)?;
    let mut fold = Fold::default();
    let registry = &log.engine.registry;
    let mut history: Vec<Revised<R>> = Vec::new();
    let mut attributes_before = None;
    let skips = Skips::of(log, None).await?;
    let mut events = log.engine.events.stream(&log.id, of_record(registry, &key));
    while let Some(event) = events.try_next().await? {
        if !registry.concerns(&event, &key) {
            continue;
        }
        let in_effect = !skips.has(&event);
        if in_effect {
            fold.apply_to(&key, registry, &event)?;
        }
        let attributes = attributes(&fold, &key)?;
        let (record, redacted) = match typed_of(&fold, &key) {
            Ok(Readable::Whole(record)) => (record, None),
            Ok(Readable::Redacted(why)) => (None, Some(why)),
            Err(error) => {
                let kind = ErrorKind::Replay { position: event.position };
                let message = format!("after the event at position {}: {error}", event.position);
                return Err(Error::new(kind, message));
            }
        };
        let before: Option<R> = attributes_before
            .as_ref()
            .filter(|_| history.last().is_none_or(|last| last.redacted.is_none()))
            .map(|attributes| typed(&key, attributes))
            .transpose()?;
        let attributes_before = std::mem::replace(&mut attributes_before, attributes.clone());
        history.push(Revised { event, in_effect, attributes_before, attributes, before, record, redacted });
    }
    Ok(history)
}

/// The events that can have written a record: its own, and where routes lead from other resources, those of its id.
pub(crate) fn of_record(registry: &Registry, key: &RecordKey) -> EventQuery {
    let query = EventQuery::new().with_record_id(key.id.clone());
    if registry.routes_lead_to(key.resource.as_str()) { query } else { query.with_resource(key.resource.clone()) }
}

fn attributes(fold: &Fold, key: &RecordKey) -> Result<Option<Json>> {
    fold.state(key).and_then(|state| state.attributes.as_ref()).map(JsonObject::to_json).transpose()
}
