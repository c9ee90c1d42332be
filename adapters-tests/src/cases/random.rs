//! Random sequences of operations, held against the model after each step.
//!
//! The seed is fixed. `REKINDLE_CONFORMANCE_SEED` takes another; a failure prints the seed and the shortest sequence found.

use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::{Strategy, any};
use proptest::prop_oneof;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use rekindle_core::ErrorKind;
use rekindle_core::store::{EventStoreExt, LogState, RebuildMode, Store};
use rekindle_core::types::{
    Check, Commit, Committed, EventQuery, Expected, KeyId, KeyRow, KeyVersion, LogId, Order, Position, RecordId,
    Revision,
};

use crate::fixture::Backend;
use crate::look::{Everything, assert_same, keys_by_id, live, stream};
use crate::model::{Model, page};
use crate::sample::{
    check, checked, commit, email_of, guarded, keyed, keys, lock_of, log, note, owning, state, subject, tenant, with_id,
};

const SEED: u64 = 42;
const SEQUENCES: u32 = 24;

/// One step.
#[derive(Clone, Debug)]
enum Step {
    /// A batch of commits.
    Commit(Vec<Planned>),
    /// The same commit that was made so many commits ago.
    Again(usize),
    /// A read of a log with this query.
    Read(usize, Box<EventQuery>),
    /// A log is cleared, and replayed from its records as they were.
    ClearAndReplay(usize, bool),
    /// A rebuild is broken off.
    BreakOff(usize),
    /// A log is rewound to no records at all, sees a commit refused, and is brought back.
    Rewind(usize),
}

#[derive(Clone, Debug)]
struct Planned {
    log: usize,
    checks: Vec<(u8, Expectation)>,
    identity_check: Option<(u8, Option<u8>)>,
    changes: Vec<PlannedChange>,
    keys: Option<PlannedKeys>,
    /// The subject, and how far its epoch is from the one that is guarded by.
    guard: Option<(u8, u64)>,
}

/// A write of a subject's keys.
#[derive(Clone, Debug)]
struct PlannedKeys {
    subject: u8,
    /// How far the version that it expects is above the one that there is.
    off: u64,
    /// Whether there is a new key, or none any more: else it is a rewrap.
    new_epoch: bool,
}

#[derive(Clone, Debug)]
struct PlannedChange {
    record: u8,
    /// `None` for an event only.
    expected: Option<Expectation>,
    /// `None` destroys.
    email: Option<Option<u8>>,
    silent: bool,
}

#[derive(Clone, Copy, Debug)]
enum Expectation {
    Absent,
    Exists,
    Any,
    /// The revision that the record has now, plus this.
    Current(u64),
}

fn expectations() -> impl Strategy<Value = Expectation> {
    prop_oneof![
        1 => any::<bool>().prop_map(|_| Expectation::Absent),
        1 => any::<bool>().prop_map(|_| Expectation::Exists),
        6 => any::<bool>().prop_map(|_| Expectation::Any),
        2 => (0..5_u64).prop_map(|by| Expectation::Current(by / 4)),
    ]
}

/// Mostly none.
fn off() -> impl Strategy<Value = u64> {
    (0..8_u64).prop_map(|by| by / 7)
}

fn planned() -> impl Strategy<Value = Planned> {
    let expected = prop_oneof![1 => any::<bool>().prop_map(|_| None), 5 => expectations().prop_map(Some)];
    let change = (0..4_u8, expected, proptest::option::weighted(0.8, proptest::option::of(0..3_u8)), 0..8_u8)
        .prop_map(|(record, expected, email, silent)| PlannedChange { record, expected, email, silent: silent == 0 });
    let identity_check = proptest::option::weighted(0.15, (0..3_u8, proptest::option::of(0..4_u8)));
    let keys =
        (0..2_u8, off(), any::<bool>()).prop_map(|(subject, off, new_epoch)| PlannedKeys { subject, off, new_epoch });
    let (keys, guard) = (proptest::option::weighted(0.4, keys), proptest::option::weighted(0.3, (0..2_u8, off())));
    (0..3_usize, vec((0..4_u8, expectations()), 0..2), identity_check, vec(change, 0..4), keys, guard).prop_map(
        |(log, checks, identity_check, changes, keys, guard)| Planned {
            log,
            checks,
            identity_check,
            changes,
            keys,
            guard,
        },
    )
}

fn queries() -> impl Strategy<Value = EventQuery> {
    let bound = || proptest::option::weighted(0.3, 0..14_u64);
    (bound(), bound(), bound(), proptest::option::weighted(0.4, 0..4_u8), any::<bool>(), 0..12_usize).prop_map(
        |(after, up_to, cursor, record, backward, limit)| {
            let mut query =
                EventQuery::new().with_limit(limit).with_order(if backward { Order::Backward } else { Order::Forward });
            (query.after, query.up_to, query.cursor) =
                (after.map(Position::new), up_to.map(Position::new), cursor.map(Position::new));
            query.record_id = record.map(|id| RecordId::new(id.to_string()).unwrap());
            query
        },
    )
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        12 => vec(planned(), 1..5).prop_map(Step::Commit),
        2 => (0..12_usize).prop_map(Step::Again),
        5 => (0..3_usize, queries()).prop_map(|(log, query)| Step::Read(log, Box::new(query))),
        1 => (0..3_usize, any::<bool>()).prop_map(|(log, in_place)| Step::ClearAndReplay(log, in_place)),
        1 => (0..3_usize).prop_map(Step::BreakOff),
        1 => (0..3_usize).prop_map(Step::Rewind),
    ];
    vec(step, 1..30)
}

fn logs() -> [LogId; 3] {
    [log(), tenant("1"), tenant("x")]
}

pub(crate) async fn random_sequences_equal_the_model(backend: Backend) {
    hold(steps(), move |steps| run(backend, steps)).await;
}

/// Makes random sequences, and runs each. A run that panics is made as short as it can be.
pub(super) async fn hold<S, Fut>(sequences: S, run: impl Fn(S::Value) -> Fut + Send + 'static)
where
    S: Strategy + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let seed = std::env::var("REKINDLE_CONFORMANCE_SEED")
        .map_or(SEED, |text| text.parse().expect("REKINDLE_CONFORMANCE_SEED is a number"));
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = Config { cases: SEQUENCES, max_shrink_iters: 150, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    // The runner blocks, so it has a thread of its own, and the sequences stay on the runtime.
    let runtime = tokio::runtime::Handle::current();
    let ran = tokio::task::spawn_blocking(move || {
        let ran = runner.run(&sequences, |sequence| {
            runtime.block_on(runtime.spawn(run(sequence))).map_err(|panic| TestCaseError::fail(panic.to_string()))
        });
        ran.map_err(|error| match error {
            TestError::Fail(reason, steps) => format!("{reason}\nthe shortest sequence that fails: {steps:#?}"),
            TestError::Abort(reason) => reason.to_string(),
        })
    });
    if let Err(reason) = ran.await.unwrap() {
        panic!("with seed {seed}: {reason}");
    }
}

async fn run(backend: Backend, steps: Vec<Step>) {
    let opened = backend.open().await;
    let (store, mut model, mut made) = (opened.store, Model::default(), Vec::new());
    for step in steps {
        match step {
            Step::Commit(mut planned) => {
                if store.key_store().is_none() {
                    planned.iter_mut().for_each(|planned| (planned.keys, planned.guard) = (None, None));
                }
                let batch: Vec<Commit> = planned.iter().map(|planned| build(&model, planned)).collect();
                commit_both(&store, &mut model, batch.clone()).await;
                made.extend(batch);
            }
            Step::Again(ago) if !made.is_empty() => {
                let again = made[made.len() - 1 - ago % made.len()].clone();
                commit_both(&store, &mut model, vec![again]).await;
            }
            Step::Again(_) => {}
            Step::Read(log, query) => {
                let log = &logs()[log];
                let rows = store.info().limits.page_rows;
                assert_same(
                    &store.read(log, &query).await.unwrap().items,
                    &page(&model.log(log).events, &query, rows),
                    &query,
                );
            }
            Step::ClearAndReplay(log, in_place) => {
                let log = &logs()[log];
                let there = model.log(log).records.values().filter_map(live).count() as u64;
                assert_eq!(store.clear(log, lock_of(log)).await.unwrap(), there, "clear gives the number of records");
                reload(&store, &model, log, if in_place { RebuildMode::InPlace } else { RebuildMode::Shadow }).await;
            }
            Step::BreakOff(log) => {
                let log = &logs()[log];
                let running = store.begin_rebuild(log, lock_of(log), RebuildMode::Shadow).await.unwrap();
                store.load(&running, model.log(log).records.into_values().take(2).collect()).await.unwrap();
                store.abandon_rebuild(running).await.unwrap();
            }
            Step::Rewind(log) => rewind(&store, &mut model, &logs()[log]).await,
        }
        compare(&store, &model).await;
    }
}

fn build(model: &Model, planned: &Planned) -> Commit {
    let log = &logs()[planned.log];
    let now = model.log(log);
    let expected = |record: u8, expectation: Expectation| match expectation {
        Expectation::Absent => Expected::Absent,
        Expectation::Exists => Expected::Exists,
        Expectation::Any => Expected::Any,
        Expectation::Current(by) => {
            let revision =
                now.records.get(&crate::sample::key(&record.to_string())).map_or(0, |record| record.revision.get());
            Expected::Revision(Revision::new(revision + by))
        }
    };
    let changes = planned.changes.iter().enumerate().map(|(nth, change)| {
        let (id, n) = (change.record.to_string(), now.events.len() as u64 * 10 + nth as u64);
        let Some(expectation) = change.expected else { return note(&id, n) };
        let state = change.email.map(|email| email.map_or_else(|| state(n), |email| owning(n, &[&email.to_string()])));
        let mut change_of = crate::sample::change(&id, expected(change.record, expectation), state);
        if change.silent {
            change_of.event = None;
        }
        change_of
    });
    let mut commit = commit(log, changes.collect());
    for (record, expectation) in &planned.checks {
        commit = checked(commit, check(&record.to_string(), expected(*record, *expectation)));
    }
    if let Some((email, owner)) = planned.identity_check {
        let owner = owner.map(|id| RecordId::new(id.to_string()).unwrap());
        commit = checked(commit, Check::Identity { identity: email_of(&email.to_string()), owner });
    }
    let stored = |text: &str| now.keys.get(&subject(text)).map_or(KeyVersion::default(), KeyRow::at);
    if let Some(PlannedKeys { subject, off, new_epoch }) = &planned.keys {
        let text = subject.to_string();
        let KeyVersion { version, epoch } = stored(&text);
        let write = keys(&text, version + off, epoch + u64::from(*new_epoch));
        commit = keyed(commit, if *new_epoch { with_id(write, new_key(*subject, epoch)) } else { write });
    }
    if let Some((subject, off)) = planned.guard
        && planned.keys.as_ref().is_none_or(|keys| keys.subject != subject)
    {
        let text = subject.to_string();
        commit = guarded(commit, &text, stored(&text).epoch + off);
    }
    commit
}

/// The id of the key that a subject gets after an epoch.
fn new_key(subject: u8, epoch: u64) -> KeyId {
    let mut bytes = [subject; 32];
    bytes[..8].copy_from_slice(&epoch.to_le_bytes());
    KeyId::from_bytes(bytes)
}

async fn commit_both(store: &Arc<dyn Store>, model: &mut Model, batch: Vec<Commit>) {
    let expected: Vec<_> = batch.iter().map(|commit| model.commit(commit)).collect();
    assert_answers(store, batch, &expected).await;
}

/// Makes a batch that the model has made, and asserts that the store answers the same.
pub(super) async fn assert_answers(
    store: &Arc<dyn Store>,
    batch: Vec<Commit>,
    expected: &[Result<Committed, ErrorKind>],
) {
    let answers: Vec<_> = store
        .commit(batch.clone().into())
        .await
        .into_iter()
        .map(|answer| answer.map_err(|error| error.kind().clone()))
        .collect();
    assert_eq!(answers.len(), expected.len(), "one answer for each commit");
    for (nth, (answer, expected)) in answers.iter().zip(expected).enumerate() {
        // Of several identities that are taken, any may be named.
        let same = match (answer, expected) {
            (Err(ErrorKind::IdentityTaken { .. }), Err(ErrorKind::IdentityTaken { .. })) => true,
            (answer, expected) => answer == expected,
        };
        assert!(same, "the store answered {answer:?}, the model {expected:?}, to {:#?}", batch[nth]);
    }
}

async fn reload(store: &Arc<dyn Store>, model: &Model, log: &LogId, mode: RebuildMode) {
    let running = store.begin_rebuild(log, lock_of(log), mode).await.unwrap();
    let of_log = model.log(log);
    for record in of_log.records.into_values() {
        store.load(&running, vec![record]).await.unwrap();
    }
    let fence = store.fence(&running).await.unwrap();
    store.finish_rebuild(running, fence, Position::new(of_log.events.len() as u64)).await.unwrap();
}

async fn rewind(store: &Arc<dyn Store>, model: &mut Model, log: &LogId) {
    let before = model.log(log);
    if before.events.is_empty() {
        return;
    }
    store.clear(log, lock_of(log)).await.unwrap();
    let rewound = crate::model::ModelLog {
        records: std::collections::BTreeMap::new(),
        state: LogState::Rewound(Position::ZERO),
        ..before.clone()
    };
    model.logs.insert(log.clone(), rewound);
    compare(store, model).await;
    commit_both(store, model, vec![commit(log, vec![note("0", 1)])]).await;
    compare(store, model).await;
    model.logs.insert(log.clone(), before);
    reload(store, model, log, RebuildMode::Shadow).await;
}

async fn compare(store: &Arc<dyn Store>, model: &Model) {
    for log in &logs() {
        let (expected, actual) = (model.log(log), Everything::of(&**store, log).await);
        assert_same(&actual.events, &expected.events, log);
        let of_one = EventQuery::new().with_record_id(RecordId::new("1").unwrap()).with_limit(2);
        let first_page = store.read(log, &of_one).await.unwrap().items;
        assert_same(&first_page, &page(&expected.events, &of_one, usize::MAX), &of_one);
        for query in
            [EventQuery::new().with_limit(3), of_one, EventQuery::new().with_limit(4).with_order(Order::Backward)]
        {
            let whole = page(&expected.events, &query.clone().with_limit(usize::MAX), usize::MAX);
            assert_same(&stream(&**store, log, query.clone()).await, &whole, &query);
        }
        assert_eq!(actual.head.position.get(), expected.events.len() as u64, "the head of {log}");
        assert_eq!(actual.head.state, expected.state, "the state of {log}");
        let records: Vec<_> = expected.records.values().filter_map(live).collect();
        assert_eq!(actual.records, Some(records), "the records of {log}");
        for email in 0..3_u8 {
            let identity = email_of(&email.to_string());
            let owner = store.find(log, &identity).await.unwrap().map(|record| record.key.id);
            assert_eq!(owner, expected.owner(&identity), "the owner of {identity} in {log}");
        }
        let keys: Vec<_> = expected.keys.values().cloned().collect();
        assert_eq!(actual.keys.unwrap_or_default(), keys, "the keys of {log}");
        for id in expected.key_ids.keys() {
            let found = keys_by_id(&**store, log, *id).await;
            assert_eq!(found.as_ref(), expected.keys_by_id(*id), "by the key {id} of {log}");
        }
        assert_eq!(store.count(log, EventQuery::new()).await.unwrap(), expected.events.len() as u64);
    }
}
