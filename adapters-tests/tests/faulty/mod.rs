//! A store that is broken in one way: the memory backend behind a wrapper that plants one fault.

mod event_store;
mod key_store;
mod resource_store;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, MutexGuard};

use rekindle_conformance::{Fixture, Limits, Store, async_trait};
use rekindle_core::types::{
    Commit, Identity, KeyId, KeyRow, LockKey, LogId, Position, Record, RecordId, RecordKey, Subject,
};
use rekindle_memory::{MemoryBackend, MemoryConfig};

/// What is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// Writes at a revision are made at any.
    RevisionCheckSkipped,
    /// The event of an update is stored, and its write is not.
    EventWithoutChange,
    /// The write of an update is made, and its event is not stored.
    ChangeWithoutEvent,
    /// Positions above 3 are one too high.
    PositionGap,
    /// The commits of a batch are made from the last to the first.
    BatchOrderLost,
    /// The history of a record has the last of its events of each batch.
    HistoryCutByBatch,
    /// A record that is destroyed and made again in one batch is not listed.
    RemadeInBatchNotListed,
    /// What follows a failed commit in its batch fails, too.
    FailureSpreads,
    /// A failed commit leaves its first event.
    FailureLeavesTrace,
    /// The limit counts events before the filters.
    LimitBeforeFilter,
    /// A page begins one event too far.
    CursorOffByOne,
    /// A page of records begins with the last one of the page before.
    RecordCursorInclusive,
    /// The last batch is answered, and lost when the process ends.
    AcknowledgedBeforeDurable,
    /// The store says that its data lasts, and cannot open it again.
    DurabilityClaimedOnly,
    /// An identity stays with its first owner.
    IdentityNotReleased,
    /// Clearing one log clears all.
    ClearTooWide,
    /// What a rebuild has loaded is read before it is swapped in.
    SwappedTooEarly,
    /// A rebuild is laid over the old records, and does not take their place.
    OldGenerationKept,
    /// A rebuild forgets the destroyed records.
    TombstonesNotLoaded,
    /// Records are given in the order of their keys, not of the question.
    KeysSorted,
    /// A conflict names the revision before the actual one.
    StaleRevisionInConflict,
    /// Event ids are made anew.
    IdempotencyLost,
    /// A commit of known event ids is answered whatever its content.
    KnownIdsTrusted,
    /// The lower bound of time is exclusive.
    TimeBoundExclusive,
    /// All tenants share one log.
    TenantLeak,
    /// A fence takes another lock than commits do.
    FenceNotExclusive,
    /// A destroyed record begins at revision 1 again.
    TombstoneRevisionRestarts,
    /// The changes of a commit are made one by one.
    CommitTorn,
    /// Limits are declared, and not kept.
    LimitsIgnored,
    /// What a commit has read is not checked.
    ChecksIgnored,
    /// Times are stored in milliseconds.
    TimeCutToMilliseconds,
    /// JSON is parsed, and written anew.
    JsonRewritten,
    /// The filter by actor finds every actor.
    ActorFilterIgnored,
    /// A rewound log takes commits.
    RewoundTakesCommits,
    /// Nothing: it keeps no records, and refuses them.
    EventsOnly,
    /// It keeps no records, and drops their writes without a word.
    EventsOnlyDropsWrites,
    /// Guards are not looked at.
    GuardsIgnored,
    /// Keys are written over whatever version there is.
    KeyVersionsIgnored,
    /// Guards and versions are looked at before the lock is taken.
    KeysCheckedTooEarly,
    /// The keys of a failed commit are written.
    KeysOfFailedCommitWritten,
    /// Keys that are given twice, or whose version does not follow, are put right.
    KeysMended,
    /// A rewrap changes the epoch, too.
    EveryWriteIsANewEpoch,
    /// A commit of keys only makes a rewound log live.
    KeysMakeLive,
    /// Clearing a log clears its keys.
    KeysLostWithClear,
    /// A row is found by the ids that were new in it last.
    KeysFoundByNewestIdOnly,
    /// The index of ids holds rows, and not where they are.
    KeyRowsCopiedById,
    /// Rows are given in the order of their subjects, not of the question.
    KeyRowsSorted,
    /// The epoch of a row is not read.
    EpochLost,
    /// Versions are exact up to 2^53.
    KeyNumbersAsDoubles,
    /// A body is text.
    KeyBodiesAsText,
    /// A body has 64 KiB at most.
    KeyBodiesCut,
    /// Subjects are stored in lower case.
    SubjectsInLowercase,
    /// A list of keys ends with its first page.
    KeyListCutShort,
    /// A log has keys once it was committed to.
    EveryLogHasKeys,
    /// Nothing: it keeps no keys, and refuses them.
    NoKeys,
    /// It keeps no keys, and drops them without a word.
    NoKeysDropsThem,
}

/// Which fault a fixture plants.
pub(crate) trait Plant: Send + Sync + 'static {
    const FAULT: Fault;
}

#[derive(Clone)]
pub(crate) struct Faulty {
    fault: Fault,
    limits: Limits,
    inner: MemoryBackend,
    memory: Arc<Mutex<Memory>>,
}

/// What a fault has to remember.
#[derive(Default)]
struct Memory {
    /// What is on the disk, for a store that answers too early, and what is not yet.
    durable: MemoryBackend,
    pending: Vec<Commit>,
    first_owners: HashMap<(LogId, Identity), RecordId>,
    logs: BTreeMap<LogId, LockKey>,
    early: HashMap<(LogId, RecordKey), Record>,
    /// The revision at which a record was destroyed last.
    destroyed: HashMap<(LogId, RecordKey), u64>,
    cleared: HashSet<LogId>,
    /// The events that are in no history, and the records that are in no list.
    no_history: HashSet<(LogId, Position)>,
    unlisted: HashSet<(LogId, RecordKey)>,
    /// The ids that were new in a row last, and each row as it was when an id was new in it.
    newest_ids: HashMap<(LogId, Subject), Vec<KeyId>>,
    rows_by_id: HashMap<(LogId, KeyId), KeyRow>,
}

impl Faulty {
    fn has(&self, fault: Fault) -> bool {
        self.fault == fault
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap()
    }
}

pub(crate) struct FaultyFixture<P> {
    store: Faulty,
    plant: PhantomData<P>,
}

#[async_trait]
impl<P: Plant> Fixture for FaultyFixture<P> {
    async fn create(limits: Limits) -> Self {
        let kept = if P::FAULT == Fault::LimitsIgnored { Limits::default() } else { limits.clone() };
        let inner = MemoryBackend::with_config(MemoryConfig::default().with_limits(kept));
        Self { store: Faulty { fault: P::FAULT, limits, inner, memory: Arc::default() }, plant: PhantomData }
    }

    fn store(&self) -> Arc<dyn Store> {
        Arc::new(self.store.clone())
    }

    async fn second_handle(&self) -> Option<Arc<dyn Store>> {
        Some(self.store())
    }

    async fn reopen(mut self) -> Option<Self> {
        match P::FAULT {
            Fault::DurabilityClaimedOnly => return None,
            Fault::AcknowledgedBeforeDurable => {
                let durable = self.store.memory().durable.clone();
                self.store.inner = durable;
            }
            _ => {}
        }
        Some(self)
    }
}
