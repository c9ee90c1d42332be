//! Opening a log: what is registered, and on which store.

use std::sync::Arc;

use futures::future::BoxFuture;
use tokio::sync::Mutex;

use super::action::{Action, ActionSpec};
use super::committer::Committer;
use super::context::{Clock, Context, IdSource, RandomIds, SystemClock};
use super::hook::Hook;
use super::log::{Engine, Log};
use super::opened::{OpenedEvents, OpenedRecords};
use super::policy::Policy;
use super::public::PublicFields;
use super::registry::{OnRedacted, Registry};
use super::resource::Resource;
use super::rewound::RESERVED;
use super::sealer::{Sealer, log_subject};
use crate::error::{Error, Result, VaultFault};
use crate::store::{EventStore, ResourceStore};
use crate::types::{DefaultLockKeys, Event, LockKeys, LogId};
use crate::vault::{Vault, VaultConfig};

/// A store to open a log on: both halves of a backend, or events only.
#[derive(Clone)]
pub struct Backend {
    events: Arc<dyn EventStore>,
    records: Option<Arc<dyn ResourceStore>>,
}

impl Backend {
    /// A backend that keeps events and records.
    pub fn new(store: impl EventStore + ResourceStore) -> Self {
        let store = Arc::new(store);
        let events: Arc<dyn EventStore> = store.clone();
        Self { events, records: Some(store) }
    }

    /// A backend that keeps events only: an audit log of what is kept elsewhere.
    pub fn events_only(store: impl EventStore) -> Self {
        Self { events: Arc::new(store), records: None }
    }
}

impl<S: EventStore + ResourceStore> From<S> for Backend {
    fn from(store: S) -> Self {
        Self::new(store)
    }
}

type Opening = BoxFuture<'static, Result<Backend>>;

/// What a log is opened with. [`start`](Self::start) opens it.
#[must_use = "the log is opened by start()"]
pub struct Builder {
    opening: Opening,
    name: String,
    registry: Registry,
    hooks: Vec<Arc<dyn Hook>>,
    policies: Vec<Arc<dyn Policy>>,
    public: PublicFields,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn IdSource>,
    lock_keys: Arc<dyn LockKeys>,
    queue: usize,
    attempts: usize,
    vault: Option<VaultConfig>,
}

impl Builder {
    /// On a backend that is open.
    pub fn on(backend: impl Into<Backend>) -> Self {
        let backend = backend.into();
        Self::opening(async move { Ok(backend) })
    }

    /// On a backend that is opened when the log is started.
    pub fn opening(opening: impl Future<Output = Result<Backend>> + Send + 'static) -> Self {
        Self {
            opening: Box::pin(opening),
            name: "main".to_owned(),
            registry: Registry::default(),
            hooks: Vec::new(),
            policies: Vec::new(),
            public: PublicFields::None,
            clock: Arc::new(SystemClock),
            ids: Arc::new(RandomIds),
            lock_keys: Arc::new(DefaultLockKeys::default()),
            queue: 4_096,
            attempts: 32,
            vault: None,
        }
    }

    /// The name of the log in the store: `main` unless it is set. Names that begin with `rekindle.` are Rekindle's own.
    pub fn log(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Registers a resource, with the actions that it lists.
    pub fn resource<R: Resource>(mut self) -> Self {
        self.registry.add::<R>();
        self
    }

    /// Begins a route: what replays do with old versions of an action, which may not be there any more.
    pub fn on_version<R: Resource>(self, action: impl Into<String>, versions: impl IntoIterator<Item = u32>) -> Route {
        Route { builder: self, resource: R::NAME, action: action.into(), versions: versions.into_iter().collect() }
    }

    /// Replays an action by running its body on data and changed attributes, in the place of merging them.
    pub fn replay_as_arguments<A: Action>(mut self) -> Self {
        self.registry.as_arguments::<A>();
        self
    }

    /// Records only these actions of a resource. What the others change is in no event, and no replay brings it back.
    pub fn only_actions<R: Resource>(mut self, actions: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.registry.only::<R>(actions.into_iter().map(Into::into).collect());
        self
    }

    /// Does not record these actions of a resource. What they change is in no event, and no replay brings it back.
    pub fn ignore_actions<R: Resource>(mut self, actions: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.registry.ignore::<R>(actions.into_iter().map(Into::into).collect());
        self
    }

    /// Makes this change to a record after each of its events on replay, in `as_of` and in `history`: the only code besides
    /// bodies that is asked for there. It is pure, as a body is.
    pub fn change_on_replay<R: Resource>(
        mut self,
        change: impl Fn(&mut R, &Event, &Context) + Send + Sync + 'static,
    ) -> Self {
        self.registry.change_on_replay(change);
        self
    }

    /// Seals what is recorded, by keys in the store that are wrapped by these key-encryption keys. See [`vault`](crate::vault).
    pub fn vault(mut self, config: impl Into<VaultConfig>) -> Self {
        self.vault = Some(config.into());
        self
    }

    /// What a replay, `as_of` and `history` do with events of a resource whose subjects were forgotten: they apply what is
    /// left of them unless it is set.
    pub fn on_redacted<R: Resource>(mut self, on_redacted: OnRedacted) -> Self {
        self.registry.set_on_redacted::<R>(on_redacted);
        self
    }

    /// Adds a policy. All of them must allow what is done.
    pub fn policy(mut self, policy: impl Policy) -> Self {
        self.policies.push(Arc::new(policy));
        self
    }

    /// Which fields of events [`Log::public`] shows: none unless it is set.
    pub fn public_fields(mut self, fields: PublicFields) -> Self {
        self.public = fields;
        self
    }

    /// Adds a hook around all actions and commits. The first one added is the outermost.
    pub fn hook(mut self, hook: impl Hook) -> Self {
        self.hooks.push(Arc::new(hook));
        self
    }

    /// Where the time comes from: the system's clock unless it is set.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Where ids come from: UUIDs of version 7 unless it is set.
    pub fn ids(mut self, ids: impl IdSource) -> Self {
        self.ids = Arc::new(ids);
        self
    }

    /// What commits are serialized by: [`DefaultLockKeys`] unless it is set.
    pub fn lock_keys(mut self, keys: impl LockKeys) -> Self {
        self.lock_keys = Arc::new(keys);
        self
    }

    /// How many commits may wait for the store before callers wait for a place: 4,096 unless it is set. Four batches
    /// that are taken up already do not count. Tenants share the places: if the store keeps one waiting so long that its
    /// callers fill them all, the others wait as well.
    pub fn queue(mut self, commits: usize) -> Self {
        self.queue = commits;
        self
    }

    /// How often an action is run when its commit meets conflicts: 32 times at most unless it is set.
    pub fn attempts(mut self, attempts: usize) -> Self {
        self.attempts = attempts;
        self
    }

    /// Opens the log.
    ///
    /// # Errors
    ///
    /// - `Invalid`: the set-up has mistakes; the message lists every one.
    /// - `Unavailable`, `Corrupt`, `Unsupported`: the backend cannot be opened; or it keeps no keys, and there is a vault.
    /// - `Vault`: a key-encryption key is another than the one of its name before; or the log is sealed, and no vault is set.
    ///
    /// # Cancel safety
    ///
    /// Dropped, nothing is open.
    pub async fn start(mut self) -> Result<Log> {
        let id = LogId::new(&self.name)?;
        // Among them is the log of the vault's own keys, which no rewrap looks at.
        if self.name.starts_with(RESERVED) {
            self.registry.mistake(format!("the log {:?} has a name that is Rekindle's own", self.name));
        }
        self.public.mistakes().into_iter().for_each(|mistake| self.registry.mistake(mistake));
        self.registry.check()?;
        let lock = self.lock_keys.key(&id)?;
        let backend = self.opening.await?;
        if self.vault.is_some() {
            self.registry.seal();
        }
        let registry = Arc::new(self.registry);
        let sealer = match self.vault {
            Some(config) => {
                let mode = config.sealed;
                let vault = Vault::open(Arc::clone(&backend.events), config, Arc::clone(&self.lock_keys)).await?;
                vault.ensure_keys(&id, &[log_subject()?]).await?;
                Some(Arc::new(Sealer::new(vault, mode, Arc::clone(&registry))))
            }
            None => {
                expect_unsealed(&*backend.events, &id).await?;
                None
            }
        };
        let committer = Committer::start(Arc::clone(&backend.events), self.queue);
        let stored = backend.records.clone();
        let (events, replayed, records) = match &sealer {
            Some(sealer) => {
                let events = |metadata| -> Arc<dyn EventStore> {
                    let inner = Arc::clone(&backend.events);
                    Arc::new(OpenedEvents { inner, sealer: Arc::clone(sealer), metadata })
                };
                let records = backend.records.map(|inner| -> Arc<dyn ResourceStore> {
                    Arc::new(OpenedRecords { inner, sealer: Arc::clone(sealer) })
                });
                (events(true), events(registry.shows_events_on_replay()), records)
            }
            None => (Arc::clone(&backend.events), backend.events, backend.records),
        };
        let turns = (0..256).map(|_| Arc::new(Mutex::new(()))).collect();
        let engine = Engine {
            events,
            replayed,
            records,
            stored,
            sealer,
            registry,
            committer,
            hooks: self.hooks,
            policies: self.policies,
            public: self.public,
            clock: self.clock,
            ids: self.ids,
            lock_keys: self.lock_keys,
            attempts: self.attempts,
            turns,
        };
        Ok(Log { engine: Arc::new(engine), id, lock, guarded: true, reader: None })
    }
}

/// That a log was never sealed.
async fn expect_unsealed(events: &dyn EventStore, log: &LogId) -> Result<()> {
    let Some(keys) = events.key_store() else { return Ok(()) };
    let sealed = keys.keys(log, &[log_subject()?]).await?.into_iter().flatten().next().is_some();
    if !sealed {
        return Ok(());
    }
    let message = format!("the log {log} is sealed: open it with its vault, by `.vault(..)`");
    Err(Error::vault(VaultFault::Sealed, message))
}

/// A route of old versions of an action, without its target yet.
#[must_use = "a route has no effect without a target"]
pub struct Route {
    builder: Builder,
    resource: &'static str,
    action: String,
    versions: Vec<u32>,
}

impl Route {
    /// To this action: its body is run on the event's data, then the changed attributes that its resource has are forced.
    pub fn route_to<A: Action>(self) -> Builder {
        self.route_to_all([ActionSpec::of::<A>()])
    }

    /// To all of these actions, in this order. The actions need not be listed by their resources.
    pub fn route_to_all(mut self, targets: impl IntoIterator<Item = ActionSpec>) -> Builder {
        let targets: Vec<ActionSpec> = targets.into_iter().collect();
        self.builder.registry.route(self.resource, &self.action, &self.versions, &targets);
        self.builder
    }
}
