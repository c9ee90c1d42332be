//! Optimistic concurrency: what was read is checked at the commit, and an action that met a conflict is run again.

#![cfg(all(feature = "derive", feature = "memory", feature = "sled"))]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests")]

mod shop;

use std::collections::HashSet;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use async_trait::async_trait;
use rekindle::types::Committed;
use rekindle::{Call, Error, ErrorKind, Hook, Log, Result, Revision, Transaction, Unit};
use shop::*;
use uuid::Uuid;

on_each_backend![
    e3_of_two_units_with_a_write_skew_exactly_one_wins,
    e3_a_unit_that_only_reads_is_checked_too,
    e3_an_identity_that_was_free_when_it_was_read_is_checked,
    e3_a_record_that_was_not_there_when_it_was_read_is_a_conflict,
    e3_a_unit_whose_record_was_destroyed_is_not_found,
    e3_an_action_that_met_a_conflict_is_run_again_on_what_is_there_now,
    e3_an_action_that_a_conflict_has_made_wrong_is_rejected_by_its_body,
    e3_running_again_is_bounded_and_ends_in_the_conflict,
    e3_an_action_is_run_once_however_few_attempts_are_allowed,
    e3_a_record_read_as_absent_and_made_by_another_is_run_again,
    e3_actions_that_a_hook_runs_are_run_again_with_their_action,
    e3_a_hook_with_a_session_of_its_own_does_not_wait_for_itself,
];

async fn two(log: &Log) -> [Uuid; 2] {
    [session(log).create(open("ada")).await.unwrap().id, session(log).create(open("bob")).await.unwrap().id]
}

async fn deposit(log: &Log, id: &Uuid, amount: i64) {
    session(log).update(id, Deposit { amount }).await.unwrap();
}

async fn balance(log: &Log, id: &Uuid) -> i64 {
    log.get::<Account>(id).await.unwrap().unwrap().balance
}

/// Each unit takes from one account if both together have enough: alone it may, and both together may not.
async fn e3_of_two_units_with_a_write_skew_exactly_one_wins(bed: Bed) {
    let log = bed.log().await;
    let [ada, bob] = two(&log).await;
    deposit(&log, &ada, 5).await;
    deposit(&log, &bob, 5).await;
    let mut units = [session(&log).begin().unwrap(), session(&log).begin().unwrap()];
    for (unit, from) in units.iter_mut().zip([ada, bob]) {
        let mut together = 0;
        for id in [ada, bob] {
            together += unit.get::<Account>(&id).await.unwrap().unwrap().balance;
        }
        assert_eq!(together, 10);
        unit.update(&from, Deposit { amount: -5 }).await.unwrap();
    }
    let [one, other] = units;
    let (one, other) = tokio::join!(one.commit(), other.commit());
    let (won, lost, winner) = if one.is_ok() { (one, other, ada) } else { (other, one, bob) };
    assert_eq!(won.unwrap().events.len(), 1);
    let message = format!("shop.account/{winner} is at revision 3; expected was revision 2");
    is(&lost.unwrap_err(), &ErrorKind::Conflict { actual: Some(Revision::new(3)) }, &message);
    assert_eq!(balance(&log, &ada).await + balance(&log, &bob).await, 5);
    assert_eq!(events(&log).await.len(), 5);
}

async fn e3_a_unit_that_only_reads_is_checked_too(bed: Bed) {
    let log = bed.log().await;
    let [ada, bob] = two(&log).await;
    let mut unit = session(&log).begin().unwrap();
    unit.get::<Account>(&ada).await.unwrap();
    deposit(&log, &ada, 1).await;
    deposit(&log, &bob, 1).await;
    unit.get::<Account>(&bob).await.unwrap();
    let error = unit.commit().await.unwrap_err();
    let message = format!("shop.account/{ada} is at revision 2; expected was revision 1");
    is(&error, &ErrorKind::Conflict { actual: Some(Revision::new(2)) }, &message);
    let mut unit = session(&log).begin().unwrap();
    unit.get::<Account>(&ada).await.unwrap();
    unit.get::<Account>(&bob).await.unwrap();
    assert!(unit.commit().await.unwrap().events.is_empty());
}

async fn e3_an_identity_that_was_free_when_it_was_read_is_checked(bed: Bed) {
    let log = bed.log().await;
    let mut unit = session(&log).begin().unwrap();
    assert_eq!(unit.find::<Label>("slot", "a").await.unwrap(), None);
    unit.create(print(1)).await.unwrap();
    session(&log).create(Print { id: 2, slot: slot("a") }).await.unwrap();
    let message = "the identity shop.label.slot=\"a\" belongs to \"2\"; expected was no record";
    is(&unit.commit().await.unwrap_err(), &ErrorKind::Conflict { actual: None }, message);
    assert_eq!(log.get::<Label>(&1).await.unwrap(), None);
}

async fn e3_a_record_that_was_not_there_when_it_was_read_is_a_conflict(bed: Bed) {
    let log = bed.log().await;
    let mut unit = session(&log).begin().unwrap();
    assert_eq!(unit.get::<Label>(&1).await.unwrap(), None);
    unit.create(print(1)).await.unwrap();
    session(&log).create(print(1)).await.unwrap();
    let message = "shop.label/1 is at revision 1; expected was no such record";
    is(&unit.commit().await.unwrap_err(), &ErrorKind::Conflict { actual: Some(Revision::new(1)) }, message);
    assert_eq!(events(&log).await.len(), 1);
}

async fn e3_a_unit_whose_record_was_destroyed_is_not_found(bed: Bed) {
    let log = bed.log().await;
    let [ada, bob] = two(&log).await;
    let mut unit = session(&log).begin().unwrap();
    unit.update(&bob, rename("Bob")).await.unwrap();
    unit.update(&ada, rename("Ada")).await.unwrap();
    session(&log).destroy(&ada, Close {}).await.unwrap();
    let message = format!("shop.account/{ada} does not exist");
    is(&unit.commit().await.unwrap_err(), &ErrorKind::NotFound, &message);
    assert_eq!(actions(&log).await, ["open", "open", "close"]);
    assert_eq!(log.get::<Account>(&bob).await.unwrap().unwrap().name, "bob");
}

fn id_of(call: &Call) -> Uuid {
    call.key.as_ref().unwrap().id.as_str().parse().unwrap()
}

/// Between an action and its commit, changes the record by another log; so many times.
struct Rival {
    log: Log,
    amount: i64,
    left: AtomicI64,
}

#[async_trait]
impl Hook for Rival {
    async fn before_transaction(&self, transaction: &Transaction) -> Result<()> {
        if self.left.fetch_sub(1, Ordering::SeqCst) > 0 {
            deposit(&self.log, &id_of(&transaction.calls[0]), self.amount).await;
        }
        Ok(())
    }
}

/// Counts the actions that are run.
#[derive(Clone, Default)]
struct Runs(Arc<AtomicI64>);

#[async_trait]
impl Hook for Runs {
    async fn before_action(&self, _: &mut Unit, _: &Call) -> Result<()> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

/// A log whose actions on accounts meet so many conflicts; a record of it; and how often actions were run.
async fn with_rival(bed: &Bed, conflicts: i64, amount: i64, attempts: usize) -> (Log, Uuid, Runs) {
    let other = bed.log().await;
    let [ada, _] = two(&other).await;
    deposit(&other, &ada, 10).await;
    let (rival, runs) = (Rival { log: other, amount, left: AtomicI64::new(conflicts) }, Runs::default());
    let builder = bed.builder().hook(rival).hook(runs.clone()).attempts(attempts);
    (builder.start().await.unwrap(), ada, runs)
}

async fn e3_an_action_that_met_a_conflict_is_run_again_on_what_is_there_now(bed: Bed) {
    let (log, ada, runs) = with_rival(&bed, 2, 100, 3).await;
    let after = session(&log).with("try", 1).update(&ada, Deposit { amount: 1 }).await.unwrap();
    assert_eq!((after.balance, balance(&log, &ada).await), (211, 211));
    assert_eq!(runs.0.load(Ordering::SeqCst), 3);
    let events = events(&log).await;
    let by_log: Vec<_> = events.iter().filter(|event| json(&event.metadata)["try"] == 1).collect();
    assert_eq!((events.len(), by_log.len()), (6, 1), "what met a conflict has left nothing");
    assert_eq!(json(&by_log[0].changed_attributes)["balance"], 211);
}

async fn e3_an_action_that_a_conflict_has_made_wrong_is_rejected_by_its_body(bed: Bed) {
    let (log, ada, runs) = with_rival(&bed, 1, -5, 32).await;
    let error = session(&log).update(&ada, Deposit { amount: -6 }).await.unwrap_err();
    is(&error, &ErrorKind::Rejected, "the balance would be below zero");
    assert_eq!((balance(&log, &ada).await, runs.0.load(Ordering::SeqCst)), (5, 2));
}

async fn e3_running_again_is_bounded_and_ends_in_the_conflict(bed: Bed) {
    ends_in_the_conflict(bed, 3, 3).await;
}

async fn e3_an_action_is_run_once_however_few_attempts_are_allowed(bed: Bed) {
    ends_in_the_conflict(bed, 0, 1).await;
}

async fn ends_in_the_conflict(bed: Bed, attempts: usize, expected_runs: u64) {
    let (log, ada, runs) = with_rival(&bed, 99, 1, attempts).await;
    let error = session(&log).update(&ada, Deposit { amount: 100 }).await.unwrap_err();
    let (expected, actual) = (1 + expected_runs, 2 + expected_runs);
    let message = format!("shop.account/{ada} is at revision {actual}; expected was revision {expected}");
    is(&error, &ErrorKind::Conflict { actual: Some(Revision::new(actual)) }, &message);
    assert!(error.is_retryable());
    let expected_runs = i64::try_from(expected_runs).unwrap();
    assert_eq!(runs.0.load(Ordering::SeqCst), expected_runs);
    assert_eq!(balance(&log, &ada).await, 10 + expected_runs, "the rival's deposits only");
}

/// Sees to it that a label 1 is there when an account is opened.
struct Labels {
    other: Log,
}

#[async_trait]
impl Hook for Labels {
    async fn before_action(&self, unit: &mut Unit, call: &Call) -> Result<()> {
        if call.action == "open" && unit.get::<Label>(&1).await?.is_none() {
            unit.create(print(1)).await?;
            session(&self.other).create(print(1)).await?;
        }
        Ok(())
    }
}

async fn e3_a_record_read_as_absent_and_made_by_another_is_run_again(bed: Bed) {
    let log = bed.builder().hook(Labels { other: bed.log().await }).start().await.unwrap();
    session(&log).create(open("ada")).await.unwrap();
    assert_eq!(actions(&log).await, ["print", "open"]);
}

/// Sticks label 1, wherever it is, to what is opened.
struct Sticks {
    other: Log,
    left: AtomicI64,
}

#[async_trait]
impl Hook for Sticks {
    async fn before_action(&self, unit: &mut Unit, call: &Call) -> Result<()> {
        if call.action == "open" {
            let label = unit.update(&1, Stick { slot: slot("hook") }).await?;
            assert_eq!(label.slot, slot("hook"));
            if self.left.fetch_sub(1, Ordering::SeqCst) > 0 {
                session(&self.other).update(&1, Stick { slot: slot("rival") }).await?;
            }
        }
        Ok(())
    }
}

async fn e3_actions_that_a_hook_runs_are_run_again_with_their_action(bed: Bed) {
    let sticks = Sticks { other: bed.log().await, left: AtomicI64::new(1) };
    let log = bed.builder().hook(sticks).start().await.unwrap();
    session(&log).create(print(1)).await.unwrap();
    session(&log).create(open("ada")).await.unwrap();
    assert_eq!(actions(&log).await, ["print", "stick", "stick", "open"]);
    assert_eq!(log.get::<Label>(&1).await.unwrap().unwrap().slot, slot("hook"));
}

/// Makes each deposit and each note meet one conflict; and writes a note, in a commit of its own, after each deposit.
struct Notes {
    log: Arc<OnceLock<Log>>,
    other: Log,
    met: Mutex<HashSet<&'static str>>,
}

#[async_trait]
impl Hook for Notes {
    async fn before_transaction(&self, transaction: &Transaction) -> Result<()> {
        let call = &transaction.calls[0];
        let first = self.met.lock().unwrap().insert(call.action);
        if first && call.action != "open" {
            deposit(&self.other, &id_of(call), 100).await;
        }
        Ok(())
    }

    async fn after_transaction(&self, transaction: &Transaction, outcome: Result<&Committed, &Error>) {
        let call = &transaction.calls[0];
        if call.action == "deposit" && outcome.is_ok() {
            let note = SetNote { note: Some("rich".to_owned()) };
            session(self.log.get().unwrap()).update(&id_of(call), note).await.unwrap();
        }
    }
}

async fn e3_a_hook_with_a_session_of_its_own_does_not_wait_for_itself(bed: Bed) {
    let own = Arc::new(OnceLock::new());
    let notes = Notes { log: Arc::clone(&own), other: bed.log().await, met: Mutex::default() };
    let log = bed.builder().hook(notes).start().await.unwrap();
    own.set(log.clone()).unwrap();
    let ada = session(&log).create(open("ada")).await.unwrap();
    session(&log).update(&ada.id, Deposit { amount: 1 }).await.unwrap();
    assert_eq!(actions(&log).await, ["open", "deposit", "deposit", "deposit", "set_note"]);
    let ada = log.get::<Account>(&ada.id).await.unwrap().unwrap();
    assert_eq!((ada.balance, ada.note.as_deref()), (201, Some("rich")));
}
