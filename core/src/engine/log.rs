//! The handle of a log: the door to sessions, reads and replays.

use std::fmt;
use std::sync::Arc;

use futures::future;
use futures::stream::{self, BoxStream, StreamExt};
use tokio::sync::Mutex;

use super::committer::Committer;
use super::context::{Clock, IdSource};
use super::hook::Hook;
use super::past::{AsOf, Revised};
use super::policy::{Policy, forbidden};
use super::public::PublicFields;
use super::registry::Registry;
use super::replay::Replay;
use super::resource::{Resource, Stored, key_of, name_of, typed};
use super::sealer::Sealer;
use super::session::{AsActor, Session};
use crate::error::{Error, Result};
use crate::store::{EventStore, EventStoreExt, Head, ResourceStore, ResourceStoreExt};
use crate::types::{
    Actor, Change, Commit, Event, EventQuery, Expected, Identity, JsonObject, LockKey, LockKeys, LogId, Page, Position,
    RecordQuery, RecordWrite, WriteState,
};
use crate::vault::Vault;

/// A log, opened. Clones share it.
#[derive(Clone)]
pub struct Log {
    pub(crate) engine: Arc<Engine>,
    pub(crate) id: LogId,
    pub(crate) lock: LockKey,
    /// Whether policies are asked.
    pub(crate) guarded: bool,
    /// In whose name events are read.
    pub(crate) reader: Option<Actor>,
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Log({})", self.id)
    }
}

/// What all handles share.
pub(crate) struct Engine {
    pub(crate) events: Arc<dyn EventStore>,
    /// The events as a replay reads them: it opens no more of them than it needs.
    pub(crate) replayed: Arc<dyn EventStore>,
    pub(crate) records: Option<Arc<dyn ResourceStore>>,
    /// The records as they are stored: sealed, if there is a vault.
    pub(crate) stored: Option<Arc<dyn ResourceStore>>,
    pub(crate) sealer: Option<Arc<Sealer>>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) committer: Committer,
    pub(crate) hooks: Vec<Arc<dyn Hook>>,
    pub(crate) policies: Vec<Arc<dyn Policy>>,
    pub(crate) public: PublicFields,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ids: Arc<dyn IdSource>,
    pub(crate) lock_keys: Arc<dyn LockKeys>,
    pub(crate) attempts: usize,
    pub(crate) turns: Vec<Arc<Mutex<()>>>,
}

impl Engine {
    pub(crate) fn records(&self) -> Result<&Arc<dyn ResourceStore>> {
        self.records.as_ref().ok_or_else(|| Error::unsupported("this store keeps events only, and no records"))
    }
}

impl Log {
    /// Which log this is.
    #[must_use]
    pub fn id(&self) -> &LogId {
        &self.id
    }

    /// The log of a tenant: another log, with its own events, positions and records.
    ///
    /// # Errors
    ///
    /// `Invalid` or `TooLarge` if the text is no tenant; whatever the generator of lock keys refuses.
    pub fn tenant(&self, tenant: impl AsRef<str>) -> Result<Self> {
        let id = self.id.with_tenant(tenant)?;
        let lock = self.engine.lock_keys.key(&id)?;
        Ok(Self { id, lock, ..self.clone() })
    }

    /// The same log, without its policies: for tools and tests.
    pub fn unguarded(&self) -> Self {
        Self { guarded: false, ..self.clone() }
    }

    /// Actions in the name of an actor.
    pub fn as_actor(&self, actor: impl AsActor) -> Session {
        Session::new(self.clone(), actor.as_actor().map(Some))
    }

    /// Actions in the name of a part of the system, such as a job: the actor is `system/` and the name.
    pub fn as_system(&self, name: &str) -> Session {
        Session::new(self.clone(), Actor::system(name).map(Some))
    }

    /// Actions in nobody's name.
    pub fn as_anonymous(&self) -> Session {
        Session::new(self.clone(), Ok(None))
    }

    /// A record.
    ///
    /// # Errors
    ///
    /// `Unavailable`, `Corrupt`, `Rebuilding`; `Invalid` if the id is no record id; `Unsupported` if the store keeps no
    /// records.
    ///
    /// # Cancel safety
    ///
    /// It changes nothing, so it can be dropped at any time.
    pub async fn get<R: Resource>(&self, id: &R::Id) -> Result<Option<R>> {
        let key = key_of::<R>(id)?;
        let record = self.engine.records()?.get_one(&self.id, &key).await?;
        record.map(|record| typed(&key, &record.attributes)).transpose()
    }

    /// The record that owns an identity, such as `find::<User>("email", "a@example.com")`.
    ///
    /// # Errors
    ///
    /// As for [`get`](Self::get).
    ///
    /// # Cancel safety
    ///
    /// It changes nothing, so it can be dropped at any time.
    pub async fn find<R: Resource>(&self, name: &str, value: &str) -> Result<Option<R>> {
        let record = self.engine.records()?.find(&self.id, &Identity::new(R::NAME, name, value)?).await?;
        record.map(|record| typed(&record.key, &record.attributes)).transpose()
    }

    /// All records of a resource, in the order of the bytes of their ids. Nothing is held between pages.
    ///
    /// # Errors
    ///
    /// `Unsupported` if the store keeps no records; the stream gives those of [`get`](Self::get).
    pub fn list<R: Resource>(&self) -> Result<BoxStream<'_, Result<R>>> {
        let records = self.engine.records()?;
        let stream = records.stream_records(&self.id, RecordQuery::new(name_of::<R>()?));
        Ok(stream.map(|record| record.and_then(|record| typed(&record.key, &record.attributes))).boxed())
    }

    /// Writes records straight into the store, over those of the same ids, in one commit. No event tells of them, and the
    /// next replay drops them: it is for fixtures and for filling a store that is not replayed.
    ///
    /// # Errors
    ///
    /// Those of [`EventStore::commit`]; `Unsupported` if the store keeps no records; `Closed` after a shutdown.
    ///
    /// # Cancel safety
    ///
    /// Dropped, all records are written or none is.
    pub async fn seed<R: Resource>(&self, records: impl IntoIterator<Item = R>) -> Result<()> {
        self.engine.records()?;
        let mut commit = Commit::new(self.id.clone(), self.lock);
        let mut subjects = Vec::new();
        for record in records {
            let stored = Stored::of(&record)?;
            subjects.push(self.engine.registry.resource(R::NAME)?.subject(&stored.key, &stored.attributes)?);
            let state = WriteState { attributes: stored.attributes.to_json()?, identities: stored.identities };
            let write = RecordWrite { key: stored.key, expected: Expected::Any, state: Some(state) };
            commit.changes.push(Change { event: None, write: Some(write) });
        }
        let committer = &self.engine.committer;
        self.engine
            .make_sealed(Box::new(commit), &subjects, |sealed| async {
                committer.commit(sealed).await.map_err(|unmade| unmade.error)
            })
            .await
            .map(|_| ())
    }

    /// One page of events.
    ///
    /// # Errors
    ///
    /// `Unavailable`, `Corrupt`; `Forbidden` by a policy.
    ///
    /// # Cancel safety
    ///
    /// It changes nothing, so it can be dropped at any time.
    pub async fn events(&self, query: &EventQuery) -> Result<Page<Event, Position>> {
        self.may_read()?;
        self.engine.events.read(&self.id, query).await
    }

    /// The events that pass a query, page by page. A policy that forbids it is the stream's only item.
    pub fn stream(&self, query: EventQuery) -> BoxStream<'_, Result<Event>> {
        self.allowed(self.engine.events.stream(&self.id, query))
    }

    /// The events that pass a query and those that will: it waits for more at the log's head. A policy that forbids it is
    /// the stream's only item.
    pub fn tail(&self, query: EventQuery) -> BoxStream<'_, Result<Event>> {
        self.allowed(self.engine.events.tail(&self.id, query))
    }

    fn allowed<'a>(&self, events: BoxStream<'a, Result<Event>>) -> BoxStream<'a, Result<Event>> {
        match self.may_read() {
            Ok(()) => events,
            Err(error) => stream::once(future::ready(Err(error))).boxed(),
        }
    }

    /// Asks the policies.
    pub(crate) fn may_read(&self) -> Result<()> {
        if !self.guarded {
            return Ok(());
        }
        let allowed = |policy: &Arc<dyn Policy>| policy.may_read(&self.id, self.reader.as_ref());
        self.engine.policies.iter().try_for_each(allowed).map_err(forbidden)
    }

    /// The public fields of an event, as they were set by [`Builder::public_fields`](super::Builder::public_fields).
    ///
    /// # Errors
    ///
    /// `Vault` for a section that is public and sealed.
    pub fn public(&self, event: &Event) -> Result<JsonObject> {
        self.engine.public.of(event)
    }

    /// Where the log stands, and whether it takes commits.
    ///
    /// # Errors
    ///
    /// `Unavailable`, `Corrupt`.
    ///
    /// # Cancel safety
    ///
    /// It changes nothing, so it can be dropped at any time.
    pub async fn head(&self) -> Result<Head> {
        self.engine.events.head(&self.id).await
    }

    /// The past, as it was after the event at a position or at a point in time. It reads the log, and changes nothing.
    pub fn as_of(&self, point: impl Into<AsOf>) -> super::past::Past<'_> {
        super::past::Past::new(self, point.into())
    }

    /// The events of a record, each with the record as it was after it.
    ///
    /// # Errors
    ///
    /// `Unavailable`, `Corrupt`; `Replay` with the position of an event that cannot be applied.
    ///
    /// # Cancel safety
    ///
    /// It changes nothing, so it can be dropped at any time.
    pub async fn history<R: Resource>(&self, id: &R::Id) -> Result<Vec<Revised<R>>> {
        super::past::history(self, id).await
    }

    /// A replay of the log: it rebuilds the records from the events. Await it.
    pub fn replay(&self) -> Replay<'_> {
        Replay::new(self)
    }

    /// The vault, if the log was opened with one: to rotate keys, and to rewrap and retire key-encryption keys.
    #[must_use]
    pub fn vault(&self) -> Option<&Vault> {
        self.engine.sealer.as_ref().map(|sealer| &sealer.vault)
    }

    /// Removes all records of the log, and gives their number. The events stay: a replay brings the records back, and
    /// until then the log takes no commits.
    ///
    /// # Errors
    ///
    /// Those of [`ResourceStore::clear`].
    ///
    /// # Cancel safety
    ///
    /// Dropped, all records are there or none is.
    pub async fn clear_records(&self) -> Result<u64> {
        self.engine.records()?.clear(&self.id, self.lock).await
    }

    /// Takes no more commits, on any handle of the engine, and waits until those under way are made.
    ///
    /// # Errors
    ///
    /// `Indeterminate` if the committer did not end in order.
    ///
    /// # Cancel safety
    ///
    /// Dropped, commits that were handed over are made all the same.
    pub async fn shutdown(&self) -> Result<()> {
        self.engine.committer.shutdown().await
    }
}
