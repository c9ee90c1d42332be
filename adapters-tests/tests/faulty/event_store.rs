//! The faults of the write path and of the log.

use std::collections::{HashMap, HashSet};
use std::mem;
use std::sync::Arc;

use async_trait::async_trait;
use rekindle_core::store::{Durability, EventStore, EventStoreExt, Head, KeyStore, LogState, StoreInfo};
use rekindle_core::types::{
    Change, Check, Commit, Committed, CommittedEvent, Event, EventId, EventQuery, Expected, Json, LogId, Order, Page,
    Payload, Position, Revision, Timestamp,
};
use rekindle_core::{Error, ErrorKind, Result};

use super::{Fault, Faulty};

#[async_trait]
impl EventStore for Faulty {
    fn info(&self) -> StoreInfo {
        let records = !matches!(self.fault, Fault::EventsOnly | Fault::EventsOnlyDropsWrites);
        StoreInfo::new("faulty", Durability::ProcessCrash).with_limits(self.limits.clone()).with_records(records)
    }

    fn key_store(&self) -> Option<&dyn KeyStore> {
        let keys = !matches!(self.fault, Fault::NoKeys | Fault::NoKeysDropsThem);
        keys.then_some(self)
    }

    async fn commit(&self, batch: Arc<[Commit]>) -> Vec<Result<Committed>> {
        let (asked, mut batch) = (Arc::clone(&batch), batch.to_vec());
        for commit in &mut batch {
            self.change(commit);
            self.memory().logs.insert(commit.log.clone(), commit.lock);
        }
        let answers = match self.fault {
            Fault::BatchOrderLost => {
                batch.reverse();
                let mut answers = self.inner.commit(batch.into()).await;
                answers.reverse();
                answers
            }
            Fault::AcknowledgedBeforeDurable => {
                let (durable, earlier) = {
                    let mut memory = self.memory();
                    (memory.durable.clone(), mem::replace(&mut memory.pending, batch.clone()))
                };
                durable.commit(earlier.into()).await;
                self.inner.commit(batch.into()).await
            }
            Fault::None => self.inner.commit(batch.into()).await,
            _ => {
                let mut answers: Vec<Result<Committed>> = Vec::new();
                for commit in batch {
                    let earlier = answers
                        .iter()
                        .find_map(|answer| answer.as_ref().err())
                        .filter(|_| self.has(Fault::FailureSpreads));
                    let answer = match earlier {
                        Some(error) => Err(error.clone()),
                        None => self.commit_alone(commit).await,
                    };
                    answers.push(answer);
                }
                answers
            }
        };
        self.after_batch(&asked, &answers);
        answers
            .into_iter()
            .map(|answer| answer.map(|committed| self.shifted(committed)).map_err(|error| self.told(error)))
            .collect()
    }

    async fn read(&self, log: &LogId, query: &EventQuery) -> Result<Page<Event, Position>> {
        let mut query = query.clone();
        let asked = query.clone();
        match self.fault {
            Fault::LimitBeforeFilter => {
                query = EventQuery::new().with_limit(asked.limit).with_order(asked.order);
                (query.after, query.up_to, query.cursor) = (asked.after, asked.up_to, asked.cursor);
            }
            Fault::CursorOffByOne if query.order == Order::Forward => query.cursor = query.cursor.map(Position::next),
            Fault::TimeBoundExclusive => {
                let later = |time: Timestamp| Timestamp::from_microseconds(time.as_microseconds() + 1).unwrap();
                query.occurred_from = query.occurred_from.map(later);
            }
            Fault::ActorFilterIgnored => query.actor = None,
            _ => {}
        }
        let mut page = self.inner.read(&self.log(log), &query).await?;
        if self.has(Fault::LimitBeforeFilter) {
            page.items.retain(|event| asked.matches(event));
        }
        if query.resource.is_some() && query.record_id.is_some() {
            page.items.retain(|event| !self.memory().no_history.contains(&(log.clone(), event.position)));
        }
        for event in &mut page.items {
            event.position = self.shift(event.position);
        }
        Ok(page)
    }

    async fn head(&self, log: &LogId) -> Result<Head> {
        let head = self.inner.head(&self.log(log)).await?;
        Ok(Head { position: self.shift(head.position), ..head })
    }

    async fn changed(&self, log: &LogId, after: Position) -> Result<()> {
        self.inner.changed(&self.log(log), after).await
    }
}

impl Faulty {
    pub(super) fn log(&self, log: &LogId) -> LogId {
        if self.has(Fault::TenantLeak) { LogId { tenant: None, ..log.clone() } } else { log.clone() }
    }

    fn shift(&self, position: Position) -> Position {
        if self.has(Fault::PositionGap) && position.get() > 3 { position.next() } else { position }
    }

    fn shifted(&self, mut committed: Committed) -> Committed {
        for event in &mut committed.events {
            event.position = self.shift(event.position);
        }
        committed
    }

    fn told(&self, error: Error) -> Error {
        match error.kind() {
            ErrorKind::Conflict { actual: Some(actual) } if self.has(Fault::StaleRevisionInConflict) => {
                let stale = Revision::new(actual.get() - 1);
                Error::new(ErrorKind::Conflict { actual: Some(stale) }, error.message())
            }
            _ => error,
        }
    }

    /// Breaks a commit before it is made.
    fn change(&self, commit: &mut Commit) {
        commit.log = self.log(&commit.log);
        if self.has(Fault::ChecksIgnored) {
            commit.checks.clear();
        }
        if self.has(Fault::EventsOnlyDropsWrites) {
            commit.checks.retain(|check| matches!(check, Check::Identity { .. }));
        }
        self.change_keys(commit);
        for change in &mut commit.changes {
            self.change_one(&commit.log, change);
        }
    }

    fn change_one(&self, log: &LogId, change: &mut Change) {
        if let Some(event) = &mut change.event {
            match self.fault {
                Fault::IdempotencyLost => event.id = EventId::generate(),
                Fault::TimeCutToMilliseconds => {
                    event.occurred_at =
                        Timestamp::from_microseconds(event.occurred_at.as_microseconds() / 1_000 * 1_000).unwrap();
                }
                Fault::JsonRewritten => {
                    if let Payload::Json(json) = &event.data {
                        event.data = Json::from_value(&json.to_value::<serde_json::Value>().unwrap()).unwrap().into();
                    }
                }
                _ => {}
            }
        }
        let update = change.write.as_ref().is_some_and(|write| write.expected != Expected::Absent);
        match self.fault {
            Fault::RevisionCheckSkipped if update => {
                change.write.as_mut().unwrap().expected = Expected::Exists;
            }
            Fault::EventWithoutChange if update => change.write = None,
            Fault::ChangeWithoutEvent if update => change.event = None,
            Fault::EventsOnlyDropsWrites => change.write = None,
            Fault::TombstoneRevisionRestarts => {
                let Some(write) = change.write.as_mut() else { return };
                if let Expected::Revision(expected) = write.expected {
                    let base = self.memory().destroyed.get(&(log.clone(), write.key.clone())).copied().unwrap_or(0);
                    write.expected = Expected::Revision(Revision::new(expected.get() + base));
                }
            }
            _ => {}
        }
    }

    /// Breaks what is read of a batch that was made.
    fn after_batch(&self, batch: &[Commit], answers: &[Result<Committed>]) {
        let (mut last, mut destroyed) = (HashMap::new(), HashSet::new());
        for (commit, committed) in
            batch.iter().zip(answers).filter_map(|(commit, made)| Some((commit, made.as_ref().ok()?)))
        {
            for (event, stored) in commit.events().zip(&committed.events) {
                let before = last.insert((commit.log.clone(), event.key()), stored.position);
                if let Some(before) = before.filter(|_| self.has(Fault::HistoryCutByBatch)) {
                    self.memory().no_history.insert((commit.log.clone(), before));
                }
            }
            for write in commit.writes() {
                let record = (commit.log.clone(), write.key.clone());
                if write.state.is_none() {
                    destroyed.insert(record);
                } else if destroyed.contains(&record) && self.has(Fault::RemadeInBatchNotListed) {
                    self.memory().unlisted.insert(record);
                }
            }
        }
    }

    /// Makes one commit that does not care for its neighbours.
    async fn commit_alone(&self, mut commit: Commit) -> Result<Committed> {
        match self.fault {
            Fault::EventsOnly if !commit.checks.is_empty() || commit.writes().next().is_some() => {
                return Err(Error::unsupported("this store keeps no records"));
            }
            Fault::NoKeys if !commit.keys.is_empty() || !commit.guards.is_empty() => {
                return Err(Error::unsupported("this store keeps no keys"));
            }
            Fault::RewoundTakesCommits => {
                if let LogState::Rewound(at) = self.inner.head(&commit.log).await?.state {
                    commit.accepts = Some(at);
                }
            }
            Fault::KnownIdsTrusted => {
                if let Some(known) = self.known(&commit).await? {
                    return Ok(known);
                }
            }
            Fault::CommitTorn => return self.commit_torn(commit).await,
            Fault::IdentityNotReleased => self.keep_identities(&commit)?,
            _ => {}
        }
        self.prepare_keys(&mut commit).await?;
        let answer = self.inner.commit_one(commit.clone()).await;
        self.after_keys(commit.clone(), answer.is_ok()).await;
        match (&answer, self.fault) {
            (Err(_), Fault::FailureLeavesTrace) => {
                let event = commit.changes.iter().find_map(|change| change.event.clone());
                let trace = Commit { checks: Vec::new(), changes: vec![Change { event, write: None }], ..commit };
                let _answer = self.inner.commit_one(trace).await;
            }
            (Ok(committed), Fault::TombstoneRevisionRestarts) => {
                let events = commit.changes.iter().filter(|change| change.event.is_some());
                for (change, stored) in events.zip(&committed.events) {
                    if let (Some(write), Some(revision)) =
                        (change.write.as_ref().filter(|write| write.state.is_none()), stored.revision)
                    {
                        self.memory().destroyed.insert((commit.log.clone(), write.key.clone()), revision.get());
                    }
                }
            }
            _ => {}
        }
        answer
    }

    /// The answer to a commit of which an event id is known.
    async fn known(&self, commit: &Commit) -> Result<Option<Committed>> {
        let mut committed = Committed::default();
        for event in commit.events() {
            let known = self.inner.read(&commit.log, &EventQuery::new().with_id(event.id)).await?.items;
            let stands =
                known.into_iter().map(|event| CommittedEvent { position: event.position, revision: event.revision });
            committed.events.extend(stands);
        }
        Ok(Some(committed).filter(|committed| !committed.events.is_empty()))
    }

    async fn commit_torn(&self, commit: Commit) -> Result<Committed> {
        let mut committed = Committed::default();
        let keys = commit.keys.iter().map(|write| (vec![write.clone()], Vec::new()));
        let changes = commit.changes.iter().map(|change| (Vec::new(), vec![change.clone()]));
        for (keys, changes) in keys.chain(changes) {
            let part = Commit { keys, changes, ..commit.clone() };
            committed.events.extend(self.inner.commit_one(part).await?.events);
            tokio::task::yield_now().await;
        }
        Ok(committed)
    }

    fn keep_identities(&self, commit: &Commit) -> Result<()> {
        for write in commit.writes() {
            for value in write.state.iter().flat_map(|state| &state.identities) {
                let identity = (commit.log.clone(), value.of(&write.key.resource));
                let owner = self.memory().first_owners.entry(identity).or_insert_with(|| write.key.id.clone()).clone();
                if owner != write.key.id {
                    let kind =
                        ErrorKind::IdentityTaken { identity: value.name.clone(), owner: owner.as_str().to_owned() };
                    return Err(Error::new(kind, format!("the identity {:?} belongs to {owner:?}", value.name)));
                }
            }
        }
        Ok(())
    }
}
