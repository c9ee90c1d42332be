//! Holding the live records against the log, record by record, while both stay in use.

mod drift;
mod replayed;

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};

use futures::TryStreamExt;

pub use self::drift::{Difference, Drift, Verified};
use self::replayed::{Replayed, differences, parted, right_at_its_revision};
use super::{Replay, Until};
use crate::engine::fold::{Fold, FoldState};
use crate::engine::log::Log;
use crate::engine::past::of_record;
use crate::engine::rewound::Skips;
use crate::error::{Error, ErrorKind, Result};
use crate::store::decide::rebuilding;
use crate::store::{EventStoreExt, LogState, ResourceStore, ResourceStoreExt};
use crate::types::{EventQuery, Identity, Position, RecordKey, RecordQuery, ResourceName};

const PAGE: usize = 5_000;
/// Live records are read so many at a time.
const KEYS: usize = 500;
/// A record that is written all the time is looked at so often.
const LOOKS: usize = 64;

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
