//! Hooks: their order, what they see and what they run; and that a replay runs none of them.

#![cfg(all(feature = "derive", feature = "memory", feature = "sled"))]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests")]

mod shop;

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use rekindle::types::Committed;
use rekindle::{
    ActionType, Actor, Call, Error, Hook, Json, Log, Next, NextTransaction, Position, Rekindle, Result, Timestamp,
    Transaction, Unit,
};
use serde_json::{Value, json};
use shop::held::{Gate, Held};
use shop::*;

on_each_backend![
    p26_hooks_run_in_the_order_in_which_they_were_added,
    p26_no_hook_runs_on_a_replay_or_on_a_read,
    p27_a_replay_writes_no_event,
    hooks_see_the_call_and_the_record,
    what_hooks_run_is_in_the_same_commit_in_the_order_in_which_it_ran,
    a_hook_sees_what_the_action_has_done,
    after_the_transaction_means_once_the_commit_is_durable,
    hooks_see_the_transaction_and_its_outcome,
    e12_a_slow_hook_holds_up_nobody_else,
];

type Lines = Arc<Mutex<Vec<String>>>;

/// Writes down whatever it is told.
#[derive(Clone)]
struct Told {
    name: &'static str,
    lines: Lines,
}

impl Told {
    fn note(&self, line: impl AsRef<str>) {
        self.lines.lock().unwrap().push(format!("{} {}", self.name, line.as_ref()));
    }
}

#[async_trait]
impl Hook for Told {
    async fn before_action(&self, _: &mut Unit, call: &Call) -> Result<()> {
        self.note(format!("before {}", call.action));
        Ok(())
    }

    async fn after_action(&self, _: &mut Unit, call: &Call, _: Option<&Json>) -> Result<()> {
        self.note(format!("after {}", call.action));
        Ok(())
    }

    async fn around_action(&self, unit: &mut Unit, call: &Call, next: Next<'_>) -> Result<()> {
        self.note(format!("around {} {{", call.action));
        next.run(unit).await?;
        self.note(format!("}} around {}", call.action));
        Ok(())
    }

    async fn before_transaction(&self, _: &Transaction) -> Result<()> {
        self.note("before the transaction");
        Ok(())
    }

    async fn after_transaction(&self, _: &Transaction, outcome: Result<&Committed, &Error>) {
        self.note(format!("after the transaction: {}", outcome.unwrap().events.len()));
    }

    async fn around_transaction(&self, _: &Transaction, next: NextTransaction<'_>) -> Result<Committed> {
        self.note("around the transaction {");
        let committed = next.run().await?;
        self.note("} around the transaction");
        Ok(committed)
    }
}

/// A log with two such hooks, and what they write down.
async fn told(bed: &Bed) -> (Log, Lines) {
    let lines = Lines::default();
    let hook = |name| Told { name, lines: Arc::clone(&lines) };
    let builder = bed.builder().hook(hook("1st")).hook(hook("2nd")).replay_as_arguments::<Stick>();
    (builder.start().await.unwrap(), lines)
}

fn take(lines: &Lines) -> Vec<String> {
    std::mem::take(&mut lines.lock().unwrap())
}

async fn p26_hooks_run_in_the_order_in_which_they_were_added(bed: Bed) {
    let (log, lines) = told(&bed).await;
    session(&log).create(print(1)).await.unwrap();
    let expected = [
        "1st around print {",
        "2nd around print {",
        "1st before print",
        "2nd before print",
        "1st after print",
        "2nd after print",
        "2nd } around print",
        "1st } around print",
        "1st before the transaction",
        "2nd before the transaction",
        "1st around the transaction {",
        "2nd around the transaction {",
        "2nd } around the transaction",
        "1st } around the transaction",
        "1st after the transaction: 1",
        "2nd after the transaction: 1",
    ];
    assert_eq!(take(&lines), expected);
    let mut unit = session(&log).begin().unwrap();
    unit.update(&1, Stick { slot: slot("a") }).await.unwrap();
    unit.destroy(&1, Peel {}).await.unwrap();
    unit.commit().await.unwrap();
    let lines = take(&lines);
    let of_actions = lines.iter().take_while(|line| !line.contains("transaction")).count();
    let of_transactions = lines.iter().filter(|line| line.contains("transaction")).count();
    assert_eq!((of_actions, of_transactions), (16, 8), "all actions, then one transaction: {lines:?}");
}

async fn p26_no_hook_runs_on_a_replay_or_on_a_read(bed: Bed) {
    let (log, lines) = told(&bed).await;
    let ada = session(&log).create(open("ada")).await.unwrap();
    session(&log).create(print(1)).await.unwrap();
    session(&log).update(&1, Stick { slot: slot("a") }).await.unwrap();
    session(&log).destroy(&1, Peel {}).await.unwrap();
    let before = state::state(&*bed.store, &log).await;
    take(&lines);
    log.replay().await.unwrap();
    log.clear_records().await.unwrap();
    log.replay().in_place().await.unwrap();
    log.replay().until_position(Position::new(3)).await.unwrap();
    assert_eq!(log.get::<Label>(&1).await.unwrap().unwrap().slot, slot("a"));
    log.replay().await.unwrap();
    assert_eq!(state::state(&*bed.store, &log).await, before);
    log.as_of(Position::new(3)).get::<Label>(&1).await.unwrap().unwrap();
    log.history::<Account>(&ada.id).await.unwrap();
    log.find::<Account>("email", "ada@example.org").await.unwrap().unwrap();
    assert_eq!(take(&lines), [""; 0]);
}

async fn p27_a_replay_writes_no_event(bed: Bed) {
    let log = bed.builder().hook(Around).replay_as_arguments::<Print>().start().await.unwrap();
    session(&log).create(open("ada")).await.unwrap();
    let before = events(&log).await;
    for _ in 0..2 {
        log.clear_records().await.unwrap();
        log.replay().await.unwrap();
        log.replay().in_place().await.unwrap();
    }
    assert_eq!(events(&log).await, before);
    assert_eq!(log.head().await.unwrap().position, Position::new(5));
    assert_eq!((all::<Account>(&log).await.len(), all::<Label>(&log).await.len()), (1, 4));
}

/// Keeps the calls, and the record after each.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<SeenCall>>>);

type SeenCall = (Call, Option<Value>);

#[async_trait]
impl Hook for Seen {
    async fn after_action(&self, _: &mut Unit, call: &Call, record: Option<&Json>) -> Result<()> {
        let record = record.map(|record| record.to_value().unwrap());
        self.0.lock().unwrap().push((call.clone(), record));
        Ok(())
    }
}

async fn hooks_see_the_call_and_the_record(bed: Bed) {
    let seen = Seen::default();
    let log = bed.builder().hook(seen.clone()).start().await.unwrap();
    let user = Actor::new("user", 42).unwrap();
    log.as_actor(&user).at(seconds(7)).create(print(1)).await.unwrap();
    log.as_system("test").update(&1, Stick { slot: slot("a") }).await.unwrap();
    log.as_anonymous().destroy(&1, Peel {}).await.unwrap();
    let seen = std::mem::take(&mut *seen.0.lock().unwrap());
    let calls: Vec<_> = seen.iter().map(|(call, _)| (call.resource, call.action, call.action_type)).collect();
    let label = "shop.label";
    let types = [ActionType::Create, ActionType::Update, ActionType::Destroy];
    assert_eq!(calls, [(label, "print", types[0]), (label, "stick", types[1]), (label, "peel", types[2])]);
    let keys: Vec<_> = seen.iter().map(|(call, _)| call.key.as_ref().map(ToString::to_string)).collect();
    assert_eq!(keys, [None, Some("shop.label/1".to_owned()), Some("shop.label/1".to_owned())]);
    let actors: Vec<_> = seen.iter().map(|(call, _)| call.actor.clone()).collect();
    assert_eq!(actors, [Some(user), Some(Actor::system("test").unwrap()), None]);
    let data: Vec<Value> = seen.iter().map(|(call, _)| call.data.to_value().unwrap()).collect();
    assert_eq!(data, [json!({"id": 1, "slot": null}), json!({"slot": "a"}), json!({})]);
    let records: Vec<_> = seen.iter().map(|(_, record)| record.clone()).collect();
    assert_eq!(records, [Some(json!({"id": 1, "slot": null})), Some(json!({"id": 1, "slot": "a"})), None]);
    let times: Vec<Timestamp> = seen.iter().map(|(call, _)| call.occurred_at).collect();
    assert_eq!(times[0], seconds(7));
    let recorded: Vec<Timestamp> = events(&log).await.iter().map(|event| event.occurred_at).collect();
    assert_eq!(times, recorded);
}

/// Prints labels all around the opening of an account.
struct Around;

#[async_trait]
impl Hook for Around {
    async fn before_action(&self, unit: &mut Unit, call: &Call) -> Result<()> {
        if call.action == "open" { unit.create(print(2)).await.map(drop) } else { Ok(()) }
    }

    async fn after_action(&self, unit: &mut Unit, call: &Call, _: Option<&Json>) -> Result<()> {
        if call.action == "open" { unit.create(print(3)).await.map(drop) } else { Ok(()) }
    }

    async fn around_action(&self, unit: &mut Unit, call: &Call, next: Next<'_>) -> Result<()> {
        if call.action != "open" {
            return next.run(unit).await;
        }
        unit.create(print(1)).await?;
        next.run(unit).await?;
        unit.create(print(4)).await?;
        Ok(())
    }
}

async fn what_hooks_run_is_in_the_same_commit_in_the_order_in_which_it_ran(bed: Bed) {
    let store = Held::around(&bed.store);
    let builder = Rekindle::on(Arc::clone(&store)).resource::<Account>().resource::<Label>();
    let log = builder.hook(Around).start().await.unwrap();
    let user = Actor::new("user", 42).unwrap();
    let ada = log.as_actor(&user).with("request", 1).create(open("ada")).await.unwrap();
    assert_eq!(store.batches(), [1]);
    let events = events(&log).await;
    let ids: Vec<_> = events.iter().map(|event| event.record_id.to_string()).collect();
    assert_eq!(ids, ["1", "2", &ada.id.to_string(), "3", "4"]);
    for event in &events {
        assert_eq!((event.actor.as_ref(), event.occurred_at), (Some(&user), ada.inserted_at));
        assert_eq!(json(&event.metadata), json!({"request": 1}));
    }
}

/// Welcomes whoever opens an account, by the account as the action has left it.
struct Welcome;

#[async_trait]
impl Hook for Welcome {
    async fn after_action(&self, unit: &mut Unit, call: &Call, record: Option<&Json>) -> Result<()> {
        if call.action == "open" {
            let told: Account = record.unwrap().to_value()?;
            let account = unit.get::<Account>(&told.id).await?.unwrap();
            assert_eq!(account, told);
            assert_eq!(unit.find::<Account>("email", &account.email).await?, Some(told));
            unit.update(&account.id, Deposit { amount: 10 }).await?;
        }
        Ok(())
    }
}

async fn a_hook_sees_what_the_action_has_done(bed: Bed) {
    let log = bed.builder().hook(Welcome).start().await.unwrap();
    let ada = session(&log).create(open("ada")).await.unwrap();
    assert_eq!(ada.balance, 0, "an action gives the record as it left it");
    assert_eq!(log.get::<Account>(&ada.id).await.unwrap().unwrap().balance, 10);
    assert_eq!(actions(&log).await, ["open", "deposit"]);
}

async fn after_the_transaction_means_once_the_commit_is_durable(bed: Bed) {
    let store = Held::around(&bed.store);
    let lines = Lines::default();
    let builder = Rekindle::on(Arc::clone(&store)).resource::<Label>();
    let log = builder.hook(Told { name: "it is", lines: Arc::clone(&lines) }).start().await.unwrap();
    store.commits.shut();
    let session = session(&log);
    let mut caller = Box::pin(session.create(print(1)));
    assert!(futures::poll!(&mut caller).is_pending());
    store.commits.come(1).await;
    assert_eq!(take(&lines).last().unwrap(), "it is around the transaction {");
    store.commits.open();
    caller.await.unwrap();
    assert_eq!(take(&lines), ["it is } around the transaction", "it is after the transaction: 1"]);
}

/// Keeps what it is told of transactions.
#[derive(Clone, Default)]
struct Outcomes(Lines);

#[async_trait]
impl Hook for Outcomes {
    async fn before_transaction(&self, transaction: &Transaction) -> Result<()> {
        self.0.lock().unwrap().push(format!("before {}", names(transaction)));
        Ok(())
    }

    async fn after_transaction(&self, transaction: &Transaction, outcome: Result<&Committed, &Error>) {
        let outcome = match outcome {
            Ok(committed) => {
                format!("{:?}", committed.events.iter().map(|event| event.position.get()).collect::<Vec<_>>())
            }
            Err(error) => error.to_string(),
        };
        self.0.lock().unwrap().push(format!("after {}: {outcome}", names(transaction)));
    }
}

fn names(transaction: &Transaction) -> String {
    transaction.calls.iter().map(|call| call.action).collect::<Vec<_>>().join(" ")
}

async fn hooks_see_the_transaction_and_its_outcome(bed: Bed) {
    let outcomes = Outcomes::default();
    let log = bed.builder().hook(outcomes.clone()).hook(Welcome).start().await.unwrap();
    let ada = session(&log).create(open("ada")).await.unwrap();
    assert_eq!(take(&outcomes.0), ["before deposit open", "after deposit open: [1, 2]"]);
    session(&log).create(print(1)).await.unwrap();
    session(&log).create(print(1)).await.unwrap_err();
    let expected =
        ["before print", "after print: [3]", "before print", "after print: shop.label/1 exists, at revision 1"];
    assert_eq!(take(&outcomes.0), expected);
    session(&log).update(&ada.id, Refuse {}).await.unwrap_err();
    drop(session(&log).begin().unwrap());
    assert_eq!(take(&outcomes.0), [""; 0], "there was nothing to commit");
    session(&log).begin().unwrap().commit().await.unwrap();
    assert_eq!(take(&outcomes.0), ["before ", "after : []"]);
}

/// Does not let an account be opened before its gate is.
struct Slow(Arc<Gate>);

#[async_trait]
impl Hook for Slow {
    async fn before_action(&self, _: &mut Unit, call: &Call) -> Result<()> {
        if call.action == "open" {
            self.0.pass().await;
        }
        Ok(())
    }
}

async fn e12_a_slow_hook_holds_up_nobody_else(bed: Bed) {
    let gate = Arc::new(Gate::default());
    gate.shut();
    let log = bed.builder().hook(Slow(Arc::clone(&gate))).start().await.unwrap();
    let task = tokio::spawn({
        let session = session(&log);
        async move { session.create(open("ada")).await }
    });
    gate.come(1).await;
    session(&log).create(print(1)).await.unwrap();
    log.replay().await.unwrap();
    assert_eq!(actions(&log).await, ["print"]);
    gate.open();
    task.await.unwrap().unwrap();
    assert_eq!(actions(&log).await, ["print", "open"]);
}
