//! Taking a rewound log as it is, and what its history is from then on.
//!
//! An event of the log itself tells of it. The events between the position that the log was rewound to and that event stay
//! in the log, and have no effect any more: replays, `as_of` and `history` pass them over.

use futures::TryStreamExt;
use serde::{Deserialize, Serialize};

use super::log::Log;
use super::past::AsOf;
use crate::error::Result;
use crate::store::EventStoreExt;
use crate::types::{Event, EventQuery, NewEvent, Payload, Position, RecordKey, Timestamp};

/// The resource of the events that are about the log itself. Names of resources, actions and logs that begin like it are not
/// for others.
pub(crate) const RESERVED: &str = "rekindle.";
pub(crate) const RESOURCE: &str = "rekindle.log";
const RECORD: &str = "rewound";
pub(crate) const ACTION: &str = "accept_rewound";

/// The data of the event.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Accepted {
    /// The position that the log was rewound to.
    pub(crate) at: Position,
    /// The point in time that it was replayed until, if it was one: events above the position that had occurred by then are
    /// in effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) until: Option<Timestamp>,
}

/// The key under which the events of it are found.
pub(crate) fn key() -> Result<RecordKey> {
    RecordKey::new(RESOURCE, RECORD)
}

fn is_acceptance(event: &NewEvent) -> bool {
    event.resource.as_str() == RESOURCE && event.record_id.as_str() == RECORD && event.action.as_str() == ACTION
}

/// The events that have no effect: all of a log that was never taken as it is have one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Skips {
    /// The acceptances that are in effect, the last one first.
    active: Vec<Acceptance>,
    /// The last acceptance, in effect or not.
    last: Position,
}

#[derive(Clone, Copy, Debug)]
struct Acceptance {
    position: Position,
    accepted: Accepted,
}

impl Acceptance {
    fn skips(&self, position: Position, occurred_at: Timestamp) -> bool {
        self.accepted.at < position
            && position < self.position
            && self.accepted.until.is_none_or(|until| occurred_at > until)
    }
}

impl Skips {
    /// Those of a log, as of this point.
    pub(crate) async fn of(log: &Log, point: Option<AsOf>) -> Result<Self> {
        let query = EventQuery::new().with_record(key()?);
        let query = point.map_or(query.clone(), |point| point.bound(query));
        let found: Vec<Event> = log.engine.events.stream(&log.id, query).try_collect().await?;
        let mut skips = Self::default();
        // From the last one: one that a later one passes over has no effect itself.
        for event in found.iter().rev().filter(|event| is_acceptance(event)) {
            skips.last = skips.last.max(event.position);
            if !skips.has(event) {
                skips.active.push(Acceptance { position: event.position, accepted: accepted(&event.data)? });
            }
        }
        Ok(skips)
    }

    /// Whether an event has no effect.
    pub(crate) fn has(&self, event: &Event) -> bool {
        self.active.iter().any(|acceptance| acceptance.skips(event.position, event.occurred_at))
    }

    /// Whether an event is an acceptance that came after these were read.
    pub(crate) fn outdated_by(&self, event: &Event) -> bool {
        event.position > self.last && is_acceptance(event)
    }
}

fn accepted(data: &Payload) -> Result<Accepted> {
    data.json()?.to_value()
}

/// The position that a replay to this point leaves the log at.
pub(crate) async fn rewound_to(log: &Log, point: AsOf) -> Result<Position> {
    let until = match point {
        AsOf::Position(position) => return Ok(position),
        AsOf::Time(until) => until,
    };
    let skips = Skips::of(log, Some(point)).await?;
    let mut events = log.engine.events.stream(&log.id, EventQuery::new());
    while let Some(event) = events.try_next().await? {
        if event.occurred_at > until && !skips.has(&event) {
            return Ok(Position::new(event.position.get() - 1));
        }
    }
    Ok(log.head().await?.position)
}
