//! Replays that succeed: how far they go, what they bring back, and what they leave alone.

#![cfg(all(feature = "derive", feature = "memory", feature = "sled"))]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests")]

mod shop;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use rekindle::store::LogState;
use rekindle::types::Committed;
use rekindle::{
    Call, Error, ErrorKind, EventId, Hook, Json, Limits, Log, Position, Progressed, Rekindle, Result, Transaction, Unit,
};
use shop::held::Held;
use shop::state::{State, state};
use shop::*;

on_each_backend![
    p24_a_replay_brings_back_everything,
    p24_until_a_position_or_an_event_is_inclusive,
    p24_until_a_time_is_inclusive_also_when_times_are_out_of_order,
    p24_a_point_that_is_not_there_is_refused_and_changes_nothing,
    p24_a_rewound_log_reads_and_refuses_commits_until_a_replay_heals_it,
    p26_p27_a_replay_runs_no_hook_and_writes_no_event,
    e1_commits_go_on_during_a_replay_and_are_in_its_result,
    e1_readers_see_the_old_records_or_the_new_and_nothing_between,
    e4_workers_and_memory_do_not_change_the_result,
    progress_only_grows_and_ends_at_the_total,
    a_replay_twice_is_a_replay_once,
    a_replay_of_an_empty_log_does_nothing,
    a_replay_touches_one_tenant_only,
];

/// Eight events; the state after each, as the commits left it.
async fn history(bed: &Bed) -> (Log, Vec<State>) {
    let log = bed.builder().clock(Ticking::default()).start().await.unwrap();
    let actor = session(&log);
    let mut states = vec![state(&*bed.store, &log).await];
    let ada = actor.create(open("ada")).await.unwrap().id;
    states.push(state(&*bed.store, &log).await);
    actor.create(Print { id: 1, slot: slot("a") }).await.unwrap();
    states.push(state(&*bed.store, &log).await);
    actor.update(&ada, Deposit { amount: 5 }).await.unwrap();
    states.push(state(&*bed.store, &log).await);
    actor.create(print(2)).await.unwrap();
    states.push(state(&*bed.store, &log).await);
    actor.destroy(&1, Peel {}).await.unwrap();
    states.push(state(&*bed.store, &log).await);
    actor.update(&2, Stick { slot: slot("a") }).await.unwrap();
    states.push(state(&*bed.store, &log).await);
    actor.create(print(1)).await.unwrap();
    states.push(state(&*bed.store, &log).await);
    actor.update(&ada, rename("Ada L.")).await.unwrap();
    states.push(state(&*bed.store, &log).await);
    assert_eq!(log.head().await.unwrap().position, Position::new(8));
    (log, states)
}

/// Labels with these ids.
async fn labels(log: &Log, ids: impl IntoIterator<Item = u64>) {
    for id in ids {
        session(log).create(Print { id, slot: Some(format!("old-{id}")) }).await.unwrap();
    }
}

async fn state_of_log(log: &Log) -> LogState {
    log.head().await.unwrap().state
}

async fn p24_a_replay_brings_back_everything(bed: Bed) {
    let (log, states) = history(&bed).await;
    assert_eq!(log.clear_records().await.unwrap(), 3);
    assert_eq!(state(&*bed.store, &log).await, states[0]);
    assert_eq!(state_of_log(&log).await, LogState::Rewound(Position::ZERO));
    let replayed = log.replay().await.unwrap();
    assert_eq!((replayed.events, replayed.records, replayed.through), (8, 3, Position::new(8)));
    assert_eq!(state(&*bed.store, &log).await, states[8]);
    assert_eq!(state_of_log(&log).await, LogState::Live);
    assert_eq!(log.find::<Label>("slot", "a").await.unwrap(), Some(Label { id: 2, slot: slot("a") }));
}

async fn p24_until_a_position_or_an_event_is_inclusive(bed: Bed) {
    let (log, states) = history(&bed).await;
    let ids: Vec<EventId> = events(&log).await.iter().map(|event| event.id).collect();
    for position in [3, 8, 0, 5, 7, 1, 6, 2, 4] {
        let at = Position::new(position);
        let expected = if position == 8 { LogState::Live } else { LogState::Rewound(at) };
        let before = &states[usize::try_from(position).unwrap()];
        assert_eq!(log.replay().until_position(at).await.unwrap().through, at);
        assert_eq!(&state(&*bed.store, &log).await, before, "position {position}");
        assert_eq!(state_of_log(&log).await, expected);
        let Some(last) = position.checked_sub(1) else { continue };
        log.clear_records().await.unwrap();
        log.replay().until_event(ids[usize::try_from(last).unwrap()]).await.unwrap();
        assert_eq!(&state(&*bed.store, &log).await, before, "the event at position {position}");
        assert_eq!(state_of_log(&log).await, expected);
    }
}

async fn p24_until_a_time_is_inclusive_also_when_times_are_out_of_order(bed: Bed) {
    let log = bed.log().await;
    for (id, at) in [(1, 10), (2, 30), (3, 20), (4, 40)] {
        session(&log).at(seconds(at)).create(print(id)).await.unwrap();
    }
    let rewound = |position| LogState::Rewound(Position::new(position));
    for (at, ids, expected) in [
        (9, vec![], rewound(0)),
        (10, vec![1], rewound(1)),
        (20, vec![1, 3], rewound(1)),
        (29, vec![1, 3], rewound(1)),
        (30, vec![1, 2, 3], rewound(3)),
        (40, vec![1, 2, 3, 4], LogState::Live),
    ] {
        let replayed = log.replay().until(seconds(at)).await.unwrap();
        let there: Vec<u64> = all::<Label>(&log).await.iter().map(|label| label.id).collect();
        assert_eq!((there, state_of_log(&log).await), (ids, expected), "until {at} s");
        let through = if let LogState::Rewound(through) = expected { through } else { Position::new(4) };
        assert_eq!(replayed.through, through);
    }
    assert_eq!(log.replay().until(rekindle::Timestamp::min()).await.unwrap().through, Position::ZERO);
}

async fn p24_a_point_that_is_not_there_is_refused_and_changes_nothing(bed: Bed) {
    let (log, states) = history(&bed).await;
    let error = log.replay().until_position(9).in_place().await.unwrap_err();
    let expected = (&ErrorKind::Invalid, "main is at position 8, not yet at 9");
    assert_eq!((error.kind(), error.message()), expected);
    let unknown = EventId::generate();
    let error = log.replay().until_event(unknown).in_place().await.unwrap_err();
    assert_eq!(
        (error.kind(), error.message()),
        (&ErrorKind::NotFound, &*format!("there is no event {unknown} in main"))
    );
    assert_eq!((state(&*bed.store, &log).await, state_of_log(&log).await), (states[8].clone(), LogState::Live));
}

async fn p24_a_rewound_log_reads_and_refuses_commits_until_a_replay_heals_it(bed: Bed) {
    let (log, states) = history(&bed).await;
    log.replay().until_position(4).await.unwrap();
    assert_eq!(log.get::<Label>(&1).await.unwrap(), Some(Label { id: 1, slot: slot("a") }));
    assert_eq!((all::<Label>(&log).await.len(), events(&log).await.len()), (2, 8));
    let error = session(&log).create(print(9)).await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Rewound { at: Position::new(4) });
    let told = "the records of main are at position 4 of 8: replay it to its head, or accept it as it is, before it takes \
                commits";
    assert_eq!((error.message(), error.is_retryable()), (told, false));
    assert_eq!((state(&*bed.store, &log).await, events(&log).await.len()), (states[4].clone(), 8));
    log.replay().await.unwrap();
    assert_eq!(state(&*bed.store, &log).await, states[8]);
    session(&log).create(print(9)).await.unwrap();
}

#[derive(Clone, Default)]
struct Counting(Arc<AtomicUsize>);

#[async_trait]
impl Hook for Counting {
    async fn before_action(&self, _: &mut Unit, _: &Call) -> Result<()> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    async fn after_action(&self, _: &mut Unit, _: &Call, _: Option<&Json>) -> Result<()> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    async fn before_transaction(&self, _: &Transaction) -> Result<()> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    async fn after_transaction(&self, _: &Transaction, _: Result<&Committed, &Error>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

async fn p26_p27_a_replay_runs_no_hook_and_writes_no_event(bed: Bed) {
    let calls = Counting::default();
    let builder = bed.builder().hook(calls.clone());
    // As arguments, the body of an action is run: its hooks are not.
    let log = builder.replay_as_arguments::<Print>().start().await.unwrap();
    labels(&log, 1..=2).await;
    session(&log).update(&1, Stick { slot: None }).await.unwrap();
    assert_eq!(calls.0.load(Ordering::SeqCst), 12);
    let before = events(&log).await;
    log.replay().await.unwrap();
    log.replay().in_place().until_position(2).await.unwrap();
    assert_eq!((calls.0.load(Ordering::SeqCst), events(&log).await), (12, before));
}

async fn e1_commits_go_on_during_a_replay_and_are_in_its_result(bed: Bed) {
    let held = Held::around(&bed.store);
    let log = Rekindle::on(Arc::clone(&held)).resource::<Account>().resource::<Label>().start().await.unwrap();
    labels(&log, 1..=3).await;
    held.loads.shut();
    let replayed = async { log.replay().await.unwrap() };
    let committed = async {
        held.loads.come(1).await;
        // The records are folded; these commits come too late for that.
        session(&log).update(&1, Stick { slot: slot("late") }).await.unwrap();
        session(&log).destroy(&2, Peel {}).await.unwrap();
        labels(&log, 4..=5).await;
        let committed = state(&*bed.store, &log).await;
        assert_eq!((committed.len(), state_of_log(&log).await), (4, LogState::Live));
        held.loads.open();
        committed
    };
    let (replayed, committed) = futures::join!(replayed, committed);
    assert_eq!((replayed.events, replayed.through), (7, Position::new(7)));
    assert_eq!((state(&*bed.store, &log).await, state_of_log(&log).await), (committed, LogState::Live));
    session(&log).update(&1, Stick { slot: slot("later") }).await.unwrap();
}

async fn e1_readers_see_the_old_records_or_the_new_and_nothing_between(bed: Bed) {
    let held = Held::with_limits(&bed.store, Limits::default().with_page_rows(4));
    let log = Rekindle::on(Arc::clone(&held)).resource::<Account>().resource::<Label>().start().await.unwrap();
    labels(&log, 1..=12).await;
    for id in 1..=12 {
        session(&log).update(&id, Stick { slot: Some(format!("new-{id}")) }).await.unwrap();
    }
    let new = state(&*bed.store, &log).await;
    log.replay().until_position(12).await.unwrap();
    let old = state(&*bed.store, &log).await;
    assert!(old != new && old.len() == 12);
    let before = held.loads.come_so_far();
    held.loads.shut();
    // With no memory, each page of four events is a window of its own.
    let replay = async { log.replay().memory(0).await.unwrap() };
    let reader = async {
        held.loads.come(before + 1).await;
        assert_eq!(state(&*bed.store, &log).await, old);
        held.loads.open();
        loop {
            let seen = state(&*bed.store, &log).await;
            if seen == new {
                break;
            }
            assert_eq!(seen, old);
            tokio::task::yield_now().await;
        }
    };
    futures::join!(replay, reader);
    assert!(held.loads.come_so_far() - before >= 6, "it was loaded in windows");
    assert_eq!(state(&*bed.store, &log).await, new);
}

async fn e4_workers_and_memory_do_not_change_the_result(bed: Bed) {
    let held = Held::with_limits(&bed.store, Limits::default().with_page_rows(3));
    let log = Rekindle::on(held).resource::<Account>().resource::<Label>().start().await.unwrap();
    labels(&log, 1..=9).await;
    for id in (1..=9).step_by(2) {
        session(&log).destroy(&id, Peel {}).await.unwrap();
        session(&log).update(&(id % 4 * 2 + 2), Stick { slot: Some(format!("old-{id}")) }).await.unwrap();
    }
    session(&log).create(print(3)).await.unwrap();
    let live = state(&*bed.store, &log).await;
    for workers in 0..=4 {
        for memory in [0, 2_000, usize::MAX] {
            log.clear_records().await.unwrap();
            log.replay().workers(workers).memory(memory).await.unwrap();
            assert_eq!(state(&*bed.store, &log).await, live, "{workers} workers, {memory} bytes");
        }
    }
}

async fn progress_only_grows_and_ends_at_the_total(bed: Bed) {
    let held = Held::with_limits(&bed.store, Limits::default().with_page_rows(3));
    let log = Rekindle::on(held).resource::<Account>().resource::<Label>().start().await.unwrap();
    labels(&log, 1..=8).await;
    let reports: Arc<Mutex<Vec<Progressed>>> = Arc::default();
    let noted = Arc::clone(&reports);
    let note = move |progress: &Progressed| noted.lock().unwrap().push(*progress);
    log.replay().progress(note.clone()).await.unwrap();
    let told: Vec<(u64, u64)> = reports.lock().unwrap().drain(..).map(|told| (told.events, told.total)).collect();
    assert_eq!(told, [(3, 8), (6, 8), (8, 8), (8, 8)]);
    log.replay().until_position(4).progress(note).await.unwrap();
    let told = reports.lock().unwrap();
    assert_eq!(told.iter().map(|told| (told.events, told.total)).collect::<Vec<_>>(), [(3, 4), (4, 4), (4, 4)]);
    assert!(told.is_sorted_by_key(|told| told.elapsed));
    assert_eq!(told[2].left(), std::time::Duration::ZERO);
}

async fn a_replay_twice_is_a_replay_once(bed: Bed) {
    let (log, states) = history(&bed).await;
    let first = log.replay().await.unwrap();
    assert_eq!(log.replay().await.unwrap(), first);
    assert_eq!(log.replay().in_place().await.unwrap(), first);
    assert_eq!((state(&*bed.store, &log).await, events(&log).await.len()), (states[8].clone(), 8));
}

async fn a_replay_of_an_empty_log_does_nothing(bed: Bed) {
    let log = bed.log().await;
    let replayed = log.replay().await.unwrap();
    assert_eq!((replayed.events, replayed.records, replayed.through), (0, 0, Position::ZERO));
    log.replay().in_place().await.unwrap();
    log.replay().until_position(0).await.unwrap();
    log.replay().until(seconds(1)).await.unwrap();
    assert_eq!(state_of_log(&log).await, LogState::Live);
    labels(&log, 1..=1).await;
}

async fn a_replay_touches_one_tenant_only(bed: Bed) {
    let log = bed.log().await;
    let (north, south) = (log.tenant("north").unwrap(), log.tenant("south").unwrap());
    labels(&north, 1..=3).await;
    labels(&south, 1..=2).await;
    let before = state(&*bed.store, &south).await;
    north.replay().in_place().until_position(1).await.unwrap();
    assert_eq!((all::<Label>(&north).await.len(), state(&*bed.store, &south).await), (1, before));
    labels(&south, 3..=3).await;
    let error = session(&north).create(print(9)).await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Rewound { at: Position::new(1) });
    assert!(error.message().contains("north"), "{error}");
}
