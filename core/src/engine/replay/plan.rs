//! The dry run of a replay: what is in the log, and what is known of it.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use futures::TryStreamExt;

use super::Replay;
use crate::engine::fold::{Fold, touches};
use crate::engine::registry::{Registry, Rule};
use crate::engine::rewound::Skips;
use crate::error::Result;
use crate::store::EventStoreExt;
use crate::types::{Event, EventQuery, Position};

/// So many events are folded to measure the rate.
const SAMPLE: u64 = 20_000;
const PAGE: usize = 5_000;

/// What a replay would do: see [`Replay::plan`]. Its `Display` is a table.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Plan {
    /// The events that it would read.
    pub events: u64,
    /// The records that it would write, destroyed ones among them.
    pub records: u64,
    /// The log's events that have an effect, by resource, action and version, in this order; those that came without a
    /// record write apart.
    pub actions: Vec<Planned>,
    /// How long it would take one worker to read and fold them, at the rate at which the first 20,000 took. Loading the
    /// records comes on top.
    pub duration: Duration,
}

/// The events of one version of one action that are handled alike.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Planned {
    /// The resource.
    pub resource: String,
    /// The action.
    pub action: String,
    /// The version of the action's input.
    pub version: u32,
    /// How many events there are.
    pub events: u64,
    /// Where the first one is.
    pub first: Position,
    /// What a replay does with them.
    pub handling: Handling,
}

/// What a replay does with events.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Handling {
    /// It merges data and changed attributes into the record.
    ForceChange,
    /// It runs the action's body on data and changed attributes.
    AsArguments,
    /// Nothing: they came without a record write.
    NoChange,
    /// It runs these actions, each written `resource.action`.
    Routed(Vec<String>),
    /// It would stop at the first of them, for this reason.
    Unknown(String),
}

impl Plan {
    /// What a replay knows no rule for: it would stop at the first of these.
    pub fn unknown(&self) -> impl Iterator<Item = &Planned> {
        self.actions.iter().filter(|planned| matches!(planned.handling, Handling::Unknown(_)))
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { events, records, duration, .. } = self;
        write!(f, "{events} events over {records} records, in about {duration:.1?}")?;
        for Planned { resource, action, version, events, first, handling } in &self.actions {
            write!(f, "\n{events:>10}  {resource}.{action}, version {version}: ")?;
            match handling {
                Handling::ForceChange => f.write_str("merged")?,
                Handling::AsArguments => f.write_str("as arguments")?,
                Handling::NoChange => f.write_str("they change no record")?,
                Handling::Routed(targets) => write!(f, "routed to {}", targets.join(", "))?,
                Handling::Unknown(why) => write!(f, "UNKNOWN, first at position {first}: {why}")?,
            }
        }
        Ok(())
    }
}

impl Replay<'_> {
    /// The dry run: it reads the log, holds it against what is registered, and changes nothing.
    ///
    /// # Errors
    ///
    /// `NotFound`: the event to stop at is not there. `Corrupt`, `Unavailable`.
    ///
    /// # Cancel safety
    ///
    /// It changes nothing, so it can be dropped at any time.
    pub async fn plan(self) -> Result<Plan> {
        let (engine, hasher) = (&self.log.engine, RandomState::new());
        let registry = &*engine.registry;
        let (point, query) = (self.point().await?, EventQuery::new().with_limit(PAGE));
        let skips = Skips::of(self.log, point).await?;
        let query = point.map_or(query.clone(), |point| point.bound(query));
        let mut stream = engine.events.stream(&self.log.id, query);
        let mut actions: BTreeMap<(String, String, u32, bool), Planned> = BTreeMap::new();
        // Their hashes only, so that a log of a hundred million records can be planned.
        let mut records: HashSet<u64> = HashSet::new();
        let mut sample = Sample { fold: Some(Fold::default()), events: 0, started: Instant::now(), rate: 0.0 };
        let mut events = 0;
        while let Some(event) = stream.try_next().await? {
            events += 1;
            if skips.has(&event) {
                continue;
            }
            let no_change = event.revision.is_none();
            let key = (event.resource.to_string(), event.action.to_string(), event.version, no_change);
            let planned = actions.entry(key).or_insert_with(|| planned(registry, &event));
            planned.events += 1;
            if !matches!(planned.handling, Handling::Unknown(_)) {
                records.extend(touches(registry, &event)?.iter().map(|key| hasher.hash_one(key)));
            }
            sample.take(registry, &event);
        }
        sample.finish();
        let duration = Duration::try_from_secs_f64(events as f64 / sample.rate.max(1e-9)).unwrap_or(Duration::MAX);
        let duration = if events == 0 { Duration::ZERO } else { duration };
        Ok(Plan { events, records: records.len() as u64, actions: actions.into_values().collect(), duration })
    }
}

/// The first events, folded for real.
struct Sample {
    fold: Option<Fold>,
    events: u64,
    started: Instant,
    rate: f64,
}

impl Sample {
    fn take(&mut self, registry: &Registry, event: &Event) {
        let Some(fold) = &mut self.fold else { return };
        // What cannot be folded is for the replay to tell.
        let folded = fold.apply(registry, event).is_ok();
        self.events += 1;
        if !folded || self.events == SAMPLE {
            self.finish();
        }
    }

    fn finish(&mut self) {
        if self.fold.take().is_some() {
            self.rate = self.events as f64 / self.started.elapsed().as_secs_f64().max(1e-9);
        }
    }
}

fn planned(registry: &Registry, event: &Event) -> Planned {
    let handling = match registry.rule(event) {
        _ if event.revision.is_none() => Handling::NoChange,
        Ok(Rule::Force(..) | Rule::Scrubbed) => Handling::ForceChange,
        Ok(Rule::Arguments(_)) => Handling::AsArguments,
        Ok(Rule::Route(targets)) => {
            Handling::Routed(targets.iter().map(|target| format!("{}.{}", target.resource, target.name)).collect())
        }
        Err(error) => Handling::Unknown(error.message().to_owned()),
    };
    Planned {
        resource: event.resource.to_string(),
        action: event.action.to_string(),
        version: event.version,
        events: 0,
        first: event.position,
        handling,
    }
}
