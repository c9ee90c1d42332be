//! Holding the live records against the log, record by record, while both stay in use.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::hash::{BuildHasher, RandomState};

use futures::TryStreamExt;

use super::{Replay, Until};
use crate::engine::fold::{Fold, FoldState};
use crate::engine::log::Log;
use crate::engine::past::of_record;
use crate::engine::rewound::Skips;
use crate::error::{Error, ErrorKind, Result};
use crate::store::decide::rebuilding;
use crate::store::{EventStoreExt, LogState, ResourceStore, ResourceStoreExt};
use crate::types::{
    EventQuery, Identity, IdentityValue, JsonObject, Position, Record, RecordKey, RecordQuery, ResourceName, Revision,
};

const PAGE: usize = 5_000;
/// Live records are read so many at a time.
const KEYS: usize = 500;
/// A record that is written all the time is looked at so often.
const LOOKS: usize = 64;

/// What [`Replay::verify`] has found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verified {
    /// The records that were held against the log, destroyed ones among them.
    pub records: u64,
    /// Where they part, by record. Empty if nowhere.
    pub drifts: Vec<Drift>,
}

/// A place where a live record and the log part.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Drift {
    /// The record.
    pub key: RecordKey,
    /// How they part.
    pub difference: Difference,
    /// The event after which they part: the first one whose effect the live record lacks, or else the last one that set what
    /// the log has. `None` if no event tells of it.
    pub event: Option<Position>,
}

/// How a live record and the log part.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Difference {
    /// By the log there is such a record, and it is not there.
    Missing,
    /// By the log there is no such record, and it is there.
    Extra,
    /// An attribute has another value; each as JSON text, `None` if it is not there.
    Attribute {
        /// Its name.
        name: String,
        /// As it is.
        live: Option<String>,
        /// As the log has it.
        replayed: Option<String>,
    },
    /// The revision is another.
    Revision {
        /// As it is.
        live: Revision,
        /// As the log has it.
        replayed: Revision,
    },
    /// The record is stored with other identities than its attributes make.
    Identities {
        /// As they are.
        live: Vec<IdentityValue>,
        /// As the log has them.
        replayed: Vec<IdentityValue>,
    },
    /// An identity of the record leads somewhere else.
    Index {
        /// The identity.
        identity: IdentityValue,
        /// The id of the record that it leads to; `None` if it leads to none.
        leads_to: Option<String>,
    },
}

impl fmt::Display for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} records, {} drifts", self.records, self.drifts.len())?;
        self.drifts.iter().try_for_each(|drift| write!(f, "\n{drift}"))
    }
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn text(value: &Option<String>) -> &str {
            value.as_deref().unwrap_or("not there")
        }
        fn list(identities: &[IdentityValue]) -> String {
            let identities: Vec<_> = identities.iter().map(ToString::to_string).collect();
            if identities.is_empty() { "none".to_owned() } else { identities.join(", ") }
        }
        write!(f, "{}: ", self.key)?;
        match &self.difference {
            Difference::Missing => f.write_str("it is missing")?,
            Difference::Extra => f.write_str("it is there, and by the log it is not")?,
            Difference::Attribute { name, live, replayed } => {
                write!(f, "{name} is {}, and by the log {}", text(live), text(replayed))?;
            }
            Difference::Revision { live, replayed } => {
                write!(f, "it is at revision {live}, and by the log at {replayed}")?;
            }
            Difference::Identities { live, replayed } => {
                write!(f, "it is stored with the identities {}, and by the log with {}", list(live), list(replayed))?;
            }
            Difference::Index { identity, leads_to: None } => write!(f, "its identity {identity} leads nowhere")?,
            Difference::Index { identity, leads_to: Some(id) } => {
                write!(f, "its identity {identity} leads to the record {id:?}")?;
            }
        }
        match self.event {
            Some(position) => write!(f, ", since the event at position {position}"),
            None => f.write_str(", and no event tells of it"),
        }
    }
}

impl Replay<'_> {
    /// Holds every live record against what the log makes of it, and reports each drift. Nothing is changed, and the log
    /// stays in use: a record that is written meanwhile is looked at again.
    ///
    /// The log is read as often as it takes for the records to fit the [`memory`](Self::memory). Sensitive attributes that
    /// events do not hold are passed over; records of resources that are not registered are not seen.
    ///
    /// # Errors
    ///
    /// - `Replay`: an event that cannot be applied, by its position.
    /// - `Invalid`: the replay is to stop before the head.
    /// - `Rewound`, `Rebuilding`: the records are not those of the head.
    /// - `Corrupt`, `Unavailable`, `Unsupported`.
    ///
    /// # Cancel safety
    ///
    /// It changes nothing, so it can be dropped at any time.
    pub async fn verify(self) -> Result<Verified> {
        if !matches!(self.until, Until::Head) {
            return Err(Error::invalid("the live records are held against the whole log: verify() stops nowhere"));
        }
        let log = self.log;
        match log.head().await?.state {
            LogState::Live => {}
            LogState::Rebuilding => return Err(rebuilding(&log.id)),
            LogState::Rewound(at) => {
                let message = format!("the records of {} are at position {at}: replay it to its head first", log.id);
                return Err(Error::new(ErrorKind::Rewound { at }, message));
            }
        }
        let mut verifying = Verifying {
            log,
            skips: Skips::of(log, None).await?,
            records: log.engine.records()?.as_ref(),
            stored: log.engine.stored.as_ref().unwrap_or(log.engine.records()?).as_ref(),
            seen: 0,
            drifts: BTreeMap::new(),
        };
        let mut parts = vec![Part { of: 1, nth: 0, hasher: RandomState::new() }];
        while let Some(part) = parts.pop() {
            verifying.part(part, self.memory, &mut parts).await?;
        }
        Ok(Verified { records: verifying.seen, drifts: verifying.drifts.into_values().flatten().collect() })
    }
}

/// The records whose ids have a hash of this remainder: all that a route may write are in one part.
#[derive(Clone)]
struct Part {
    of: u64,
    nth: u64,
    hasher: RandomState,
}

impl Part {
    fn has(&self, id: &str) -> bool {
        self.hasher.hash_one(id) % self.of == self.nth
    }

    /// Makes it half as large, and gives the other half.
    fn halve(&mut self) -> Self {
        let other = Self { of: self.of * 2, nth: self.nth + self.of, ..self.clone() };
        self.of *= 2;
        other
    }
}

struct Verifying<'a> {
    log: &'a Log,
    skips: Skips,
    records: &'a dyn ResourceStore,
    /// The same, as they are stored: identities are looked up there as they are.
    stored: &'a dyn ResourceStore,
    seen: u64,
    drifts: BTreeMap<RecordKey, Vec<Drift>>,
}

impl Verifying<'_> {
    async fn part(&mut self, mut part: Part, memory: usize, others: &mut Vec<Part>) -> Result<()> {
        let registry = &*self.log.engine.registry;
        let mut fold = Fold::default();
        let mut events = self.log.engine.events.stream(&self.log.id, EventQuery::new().with_limit(PAGE));
        let mut read: usize = 0;
        while let Some(event) = events.try_next().await? {
            read += 1;
            if part.has(event.record_id.as_str()) && !self.skips.has(&event) {
                fold.apply(registry, &event)?;
            }
            if read.is_multiple_of(PAGE) && fold.weight() > memory && fold.states().count() > 1 {
                others.push(part.halve());
                fold.retain(|key| part.has(key.id.as_str()));
            }
        }
        let folded: Vec<(&RecordKey, &FoldState)> = fold.states().collect();
        self.seen += folded.len() as u64;
        for some in folded.chunks(KEYS) {
            let keys: Vec<RecordKey> = some.iter().map(|(key, _)| (*key).clone()).collect();
            for (live, (key, state)) in self.records.get(&self.log.id, &keys).await?.into_iter().zip(some) {
                let replayed = Replayed::of(self.log, key, state).await?;
                if !differences(&replayed, live.as_ref()).is_empty() || !self.index(key, &replayed).await?.is_empty() {
                    self.settle(key).await?;
                }
            }
        }
        for resource in registry.resources() {
            let mut live = self.records.stream_records(&self.log.id, RecordQuery::new(ResourceName::new(resource)?));
            while let Some(record) = live.try_next().await? {
                if part.has(record.key.id.as_str()) && fold.lacks(&record.key) {
                    self.settle(&record.key).await?;
                }
            }
        }
        Ok(())
    }

    /// Looks at one record until nobody writes it meanwhile, and takes down where it parts from the log.
    async fn settle(&mut self, key: &RecordKey) -> Result<()> {
        for look in 1..=LOOKS {
            let before = self.records.get_one(&self.log.id, key).await?;
            let steps = self.steps(key).await?;
            let last = steps.last().map_or(Replayed::nothing(), |(_, replayed)| replayed.clone());
            let live = self.records.get_one(&self.log.id, key).await?;
            // That nothing leads to a record that is missing goes without saying.
            let index = if live.is_some() { self.index(key, &last).await? } else { Vec::new() };
            let found: Vec<_> = differences(&last, live.as_ref()).into_iter().chain(index).collect();
            if found.is_empty() {
                return Ok(());
            }
            // Only what was written while it was looked at may excuse it.
            let written =
                self.written_after(key, steps.last().map_or(Position::ZERO, |(position, _)| *position)).await?;
            if written && right_at_its_revision(&steps, before.as_ref()) {
                return Ok(());
            }
            if !written || look == LOOKS {
                let drift = |difference| Drift { key: key.clone(), event: parted(&difference, &steps), difference };
                self.drifts.insert(key.clone(), found.into_iter().map(drift).collect());
                return Ok(());
            }
        }
        Ok(())
    }

    /// Whether the log has an event of the record above a position.
    async fn written_after(&self, key: &RecordKey, position: Position) -> Result<bool> {
        let registry = &*self.log.engine.registry;
        let query = of_record(registry, key).with_after(position);
        let mut events = self.log.engine.events.stream(&self.log.id, query);
        while let Some(event) = events.try_next().await? {
            if event.revision.is_some() && registry.concerns(&event, key) && !self.skips.has(&event) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What the log makes of a record, after each of its events.
    async fn steps(&self, key: &RecordKey) -> Result<Vec<(Position, Replayed)>> {
        let registry = &*self.log.engine.registry;
        let mut fold = Fold::default();
        let mut steps = Vec::new();
        let mut events = self.log.engine.events.stream(&self.log.id, of_record(registry, key));
        while let Some(event) = events.try_next().await? {
            if event.revision.is_none() || !registry.concerns(&event, key) || self.skips.has(&event) {
                continue;
            }
            fold.apply_to(key, registry, &event)?;
            if let Some(state) = fold.state(key) {
                steps.push((event.position, Replayed::of(self.log, key, state).await?));
            }
        }
        Ok(steps)
    }

    /// The identities of a record that lead somewhere else.
    async fn index(&self, key: &RecordKey, replayed: &Replayed) -> Result<Vec<Difference>> {
        let mut found = Vec::new();
        for identity in &replayed.identities {
            let of = Identity::new(key.resource.as_str(), &identity.name, &identity.value)?;
            let owner = self.stored.owner(&self.log.id, &of).await?;
            if owner.as_ref() != Some(key) {
                let leads_to = owner.map(|owner| owner.id.as_str().to_owned());
                found.push(Difference::Index { identity: identity.clone(), leads_to });
            }
        }
        Ok(found)
    }
}

/// What the log makes of a record.
#[derive(Clone)]
struct Replayed {
    revision: Revision,
    /// Without what is sensitive; `None` if there is no such record.
    attributes: Option<JsonObject>,
    identities: Vec<IdentityValue>,
    hidden: Vec<&'static str>,
    hidden_identities: Vec<&'static str>,
}

impl Replayed {
    fn nothing() -> Self {
        Self {
            revision: Revision::ZERO,
            attributes: None,
            identities: Vec::new(),
            hidden: Vec::new(),
            hidden_identities: Vec::new(),
        }
    }

    async fn of(log: &Log, key: &RecordKey, state: &FoldState) -> Result<Self> {
        let resource = log.engine.registry.resource(key.resource.as_str())?;
        let hidden: Vec<_> = resource.hidden().collect();
        let hidden_identities: Vec<_> = resource.hidden_identities().collect();
        let mut identities = match &state.attributes {
            // Of a record of which too little can be read, nothing is known.
            Some(attributes)
                if state.redacted.is_some() && (resource.identities)(&key.id, &attributes.to_json()?).is_err() =>
            {
                return Ok(Self { revision: state.revision, ..Self::nothing() });
            }
            Some(attributes) => (resource.identities)(&key.id, &attributes.to_json()?).map_err(|error| {
                let position = state.position;
                let message = format!("after the event at position {position}: {key}: {error}");
                Error::new(ErrorKind::Replay { position }, message)
            })?,
            None => Vec::new(),
        };
        if let Some(sealer) = &log.engine.sealer {
            sealer.hash_identities(&log.id, &key.resource, &mut identities).await?;
        }
        identities.retain(|identity| !hidden_identities.contains(&identity.name.as_str()));
        let mut attributes = state.attributes.clone();
        if let Some(attributes) = &mut attributes {
            attributes.retain(|name| !hidden.contains(&name));
        }
        Ok(Self { revision: state.revision, attributes, identities, hidden, hidden_identities })
    }
}

fn differences(replayed: &Replayed, live: Option<&Record>) -> Vec<Difference> {
    let (attributes, live) = match (&replayed.attributes, live) {
        (None, None) => return Vec::new(),
        (Some(_), None) => return vec![Difference::Missing],
        (None, Some(_)) => return vec![Difference::Extra],
        (Some(attributes), Some(live)) => (attributes, live),
    };
    let mut found = Vec::new();
    let mut stored = live.attributes.to_object().unwrap_or_default();
    stored.retain(|name| !replayed.hidden.contains(&name));
    let names: BTreeSet<&str> = stored.names().chain(attributes.names()).collect();
    for name in names {
        let same = match (stored.get(name), attributes.get(name)) {
            (Some(value), Some(_)) => attributes.has(name, value),
            _ => false,
        };
        if !same {
            let text = |object: &JsonObject| object.get(name).map(str::to_owned);
            let (live, replayed) = (text(&stored), text(attributes));
            found.push(Difference::Attribute { name: name.to_owned(), live, replayed });
        }
    }
    if live.revision != replayed.revision {
        found.push(Difference::Revision { live: live.revision, replayed: replayed.revision });
    }
    let mut identities = live.identities.clone();
    identities.retain(|identity| !replayed.hidden_identities.contains(&identity.name.as_str()));
    let sorted = |identities: &[IdentityValue]| identities.iter().cloned().collect::<BTreeSet<_>>();
    if sorted(&identities) != sorted(&replayed.identities) {
        found.push(Difference::Identities { live: identities, replayed: replayed.identities.clone() });
    }
    found
}

/// Whether a record is what the log makes of it at the revision that it is at.
fn right_at_its_revision(steps: &[(Position, Replayed)], live: Option<&Record>) -> bool {
    live.is_some_and(|live| {
        let at = steps.iter().find(|(_, replayed)| replayed.revision == live.revision);
        at.is_some_and(|(_, replayed)| differences(replayed, Some(live)).is_empty())
    })
}

/// The event after which they part: the first one after the last at which they agreed, or the last that changed it.
fn parted(difference: &Difference, steps: &[(Position, Replayed)]) -> Option<Position> {
    let value = |replayed: &Replayed| match difference {
        Difference::Missing | Difference::Extra => Some(replayed.attributes.is_some().to_string()),
        Difference::Attribute { name, .. } => {
            replayed.attributes.as_ref().and_then(|attributes| attributes.get(name)).map(str::to_owned)
        }
        Difference::Revision { .. } => Some(replayed.revision.to_string()),
        Difference::Identities { .. } => Some(format!("{:?}", replayed.identities)),
        Difference::Index { identity, .. } => Some(replayed.identities.contains(identity).to_string()),
    };
    let live = match difference {
        Difference::Missing => Some("false".to_owned()),
        Difference::Extra => Some("true".to_owned()),
        Difference::Attribute { live, .. } => live.clone(),
        Difference::Revision { live, .. } => Some(live.to_string()),
        Difference::Identities { live, .. } => Some(format!("{live:?}")),
        Difference::Index { .. } => Some("false".to_owned()),
    };
    if let Some(agreed) = steps.iter().rposition(|(_, replayed)| value(replayed) == live) {
        return steps.get(agreed + 1).map(|(position, _)| *position);
    }
    let mut before = Some(Replayed::nothing()).as_ref().and_then(value);
    let mut changed = None;
    for (position, replayed) in steps {
        let now = value(replayed);
        if now != before || changed.is_none() {
            changed = Some(*position);
        }
        before = now;
    }
    changed
}
