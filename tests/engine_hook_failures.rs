//! Hooks and actions that fail or panic: what becomes of their commit, and that nothing else is touched.

#![cfg(all(feature = "derive", feature = "memory", feature = "sled"))]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests")]

mod shop;

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use rekindle::types::Committed;
use rekindle::{
    Call, Error, ErrorKind, Hook, Json, Log, Next, NextTransaction, Rekindle, Result, Session, Transaction, Unit,
};
use shop::held::{Fault, Held};
use shop::*;

on_each_backend![
    p2_a_hook_that_fails_fails_the_whole_commit_with_its_message,
    p2_a_hook_that_panics_fails_its_own_commit_only,
    p2_an_action_that_panics_fails_its_own_commit_only,
    a_failed_action_is_not_made_good_by_a_hook_that_takes_no_notice,
    a_hook_around_an_action_that_does_not_run_it_gives_an_error,
    a_hook_around_a_transaction_that_does_not_run_it_gives_an_error,
    a_commit_that_was_made_stands_whatever_fails_after_it,
    a_commit_that_failed_is_no_success_whatever_a_hook_says,
    a_hook_around_a_transaction_may_say_better_what_went_wrong,
    a_hook_around_a_transaction_that_does_not_wait_leaves_it_indeterminate,
];

const STAGES: [&str; 7] = [
    "before_action",
    "after_action",
    "around_action, before it",
    "around_action, after it",
    "before_transaction",
    "around_transaction, before it",
    "around_transaction, after it",
];

/// Fails at one stage of opening an account, by an error or by a panic.
#[derive(Clone, Default)]
struct Fails {
    at: Arc<Mutex<&'static str>>,
    panics: bool,
}

impl Fails {
    fn reached(&self, stage: &str, action: &str) -> Result<()> {
        if action != "open" || *self.at.lock().unwrap() != stage {
            return Ok(());
        }
        assert!(!self.panics, "no luck {stage}");
        Err(Error::new(ErrorKind::Rejected, format!("no luck {stage}")))
    }
}

#[async_trait]
impl Hook for Fails {
    async fn before_action(&self, _: &mut Unit, call: &Call) -> Result<()> {
        self.reached("before_action", call.action)
    }

    async fn after_action(&self, _: &mut Unit, call: &Call, _: Option<&Json>) -> Result<()> {
        self.reached("after_action", call.action)
    }

    async fn around_action(&self, unit: &mut Unit, call: &Call, next: Next<'_>) -> Result<()> {
        self.reached("around_action, before it", call.action)?;
        next.run(unit).await?;
        self.reached("around_action, after it", call.action)
    }

    async fn before_transaction(&self, transaction: &Transaction) -> Result<()> {
        self.reached("before_transaction", transaction.calls[0].action)
    }

    async fn around_transaction(&self, transaction: &Transaction, next: NextTransaction<'_>) -> Result<Committed> {
        self.reached("around_transaction, before it", transaction.calls[0].action)?;
        let committed = next.run().await?;
        self.reached("around_transaction, after it", transaction.calls[0].action)?;
        Ok(committed)
    }

    async fn after_transaction(&self, transaction: &Transaction, _: Result<&Committed, &Error>) {
        let action = transaction.calls[0].action;
        assert!(action != "close", "no luck after the transaction");
    }
}

/// Opens an account and prints a label beside it, both in one commit, while somebody else prints one.
async fn open_beside_others(session: &Session, id: u64) -> Result<Committed> {
    let both = async {
        let mut unit = session.begin()?;
        unit.create(open("ada")).await?;
        unit.create(print(id)).await?;
        unit.commit().await
    };
    let (outcome, neighbour) = tokio::join!(both, session.create(print(id + 1)));
    neighbour.unwrap();
    outcome
}

async fn p2_a_hook_that_fails_fails_the_whole_commit_with_its_message(bed: Bed) {
    let fails = Fails::default();
    let log = bed.builder().hook(fails.clone()).start().await.unwrap();
    for (id, stage) in (1..).zip(&STAGES[..6]) {
        *fails.at.lock().unwrap() = stage;
        let error = session(&log).create(open("ada")).await.unwrap_err();
        is(&error, &ErrorKind::Rejected, &format!("no luck {stage}"));
        let error = open_beside_others(&session(&log), 10 * id).await.unwrap_err();
        assert!(error.message().ends_with(&format!("no luck {stage}")), "{error}");
        assert_eq!(all::<Account>(&log).await, []);
        assert_eq!(log.get::<Label>(&(10 * id)).await.unwrap(), None);
    }
    assert_eq!(actions(&log).await, ["print"; 6], "those of the neighbours");
    *fails.at.lock().unwrap() = "";
    session(&log).create(open("ada")).await.unwrap();
}

async fn p2_a_hook_that_panics_fails_its_own_commit_only(bed: Bed) {
    let fails = Fails { panics: true, ..Fails::default() };
    let log = bed.builder().hook(fails.clone()).start().await.unwrap();
    for (id, stage) in (1..).zip(&STAGES[..6]) {
        *fails.at.lock().unwrap() = stage;
        let whose = if stage.contains("transaction") { "a hook" } else { "the action \"open\" or a hook of it" };
        let message = format!("{whose} panicked: no luck {stage}");
        is(&session(&log).create(open("ada")).await.unwrap_err(), &ErrorKind::Panicked, &message);
        let error = open_beside_others(&session(&log), 10 * id).await.unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::Panicked);
        assert_eq!(all::<Account>(&log).await, []);
    }
    assert_eq!(actions(&log).await, ["print"; 6], "those of the neighbours");
}

async fn p2_an_action_that_panics_fails_its_own_commit_only(bed: Bed) {
    let log = bed.log().await;
    let ada = session(&log).create(open("ada")).await.unwrap();
    let session = session(&log);
    let (broken, neighbour) = tokio::join!(session.update(&ada.id, Explode {}), session.create(print(1)));
    neighbour.unwrap();
    let message = "the action \"explode\" or a hook of it panicked: boom at ada";
    is(&broken.unwrap_err(), &ErrorKind::Panicked, message);
    let mut unit = session.begin().unwrap();
    unit.create(print(2)).await.unwrap();
    unit.update(&ada.id, Explode {}).await.unwrap_err();
    let message = format!("an action of this unit of work had failed: {message}");
    is(&unit.commit().await.unwrap_err(), &ErrorKind::Panicked, &message);
    assert_eq!(actions(&log).await, ["open", "print"]);
    assert_eq!(log.get::<Account>(&ada.id).await.unwrap(), Some(ada));
}

/// Opens an account along with each label, and takes no notice if that fails.
struct Careless;

#[async_trait]
impl Hook for Careless {
    async fn before_action(&self, unit: &mut Unit, call: &Call) -> Result<()> {
        if call.action == "print" {
            let _ = unit.create(open("ada")).await;
        }
        Ok(())
    }
}

async fn a_failed_action_is_not_made_good_by_a_hook_that_takes_no_notice(bed: Bed) {
    let fails = Fails::default();
    *fails.at.lock().unwrap() = "after_action";
    let log = bed.builder().hook(fails.clone()).hook(Careless).start().await.unwrap();
    let error = session(&log).create(print(1)).await.unwrap_err();
    let message = "an action of this unit of work had failed: no luck after_action";
    is(&error, &ErrorKind::Rejected, message);
    assert!(events(&log).await.is_empty(), "neither the label nor the half of an account");
}

/// Runs neither actions nor transactions, with an error or without one.
struct Never {
    of: &'static str,
    error: Option<Error>,
}

#[async_trait]
impl Hook for Never {
    async fn around_action(&self, unit: &mut Unit, _: &Call, next: Next<'_>) -> Result<()> {
        if self.of == "action" { self.error.clone().map_or(Ok(()), Err) } else { next.run(unit).await }
    }

    async fn around_transaction(&self, _: &Transaction, next: NextTransaction<'_>) -> Result<Committed> {
        if self.of == "transaction" {
            return self.error.clone().map_or_else(|| Ok(Committed::default()), Err);
        }
        next.run().await
    }
}

async fn without(bed: &Bed, of: &'static str, error: Option<Error>) -> (Log, Error) {
    let log = bed.builder().hook(Never { of, error }).start().await.unwrap();
    let error = session(&log).create(print(1)).await.unwrap_err();
    (log, error)
}

async fn a_hook_around_an_action_that_does_not_run_it_gives_an_error(bed: Bed) {
    let (_, error) = without(&bed, "action", Some(Error::invalid("closed on Sundays"))).await;
    is(&error, &ErrorKind::Invalid, "closed on Sundays");
    let (log, error) = without(&bed, "action", None).await;
    is(&error, &ErrorKind::Invalid, "a hook around the action \"print\" did not run it, and gave no error");
    assert!(events(&log).await.is_empty());
}

async fn a_hook_around_a_transaction_that_does_not_run_it_gives_an_error(bed: Bed) {
    let (_, error) = without(&bed, "transaction", Some(Error::invalid("closed on Sundays"))).await;
    is(&error, &ErrorKind::Invalid, "closed on Sundays");
    let (log, error) = without(&bed, "transaction", None).await;
    is(&error, &ErrorKind::Invalid, "a hook around the transaction did not run it, and gave no error");
    assert!(events(&log).await.is_empty());
}

async fn a_commit_that_was_made_stands_whatever_fails_after_it(bed: Bed) {
    for (name, panics) in [("ada", false), ("bob", true)] {
        let fails = Fails { panics, ..Fails::default() };
        let log = bed.builder().hook(fails.clone()).start().await.unwrap();
        *fails.at.lock().unwrap() = STAGES[6];
        let account = session(&log).create(open(name)).await.unwrap();
        assert_eq!(log.get::<Account>(&account.id).await.unwrap(), Some(account.clone()));
        session(&log).destroy(&account.id, Close {}).await.unwrap();
    }
    assert_eq!(actions(&bed.log().await).await, ["open", "close", "open", "close"]);
}

/// Tells something else of a transaction than what became of it.
struct Tells(fn(Result<Committed>) -> Result<Committed>);

#[async_trait]
impl Hook for Tells {
    async fn around_transaction(&self, _: &Transaction, next: NextTransaction<'_>) -> Result<Committed> {
        self.0(next.run().await)
    }
}

async fn a_commit_that_failed_is_no_success_whatever_a_hook_says(bed: Bed) {
    let log = bed.builder().hook(Tells(|_| Ok(Committed::default()))).start().await.unwrap();
    session(&log).create(print(1)).await.unwrap();
    let error = session(&log).create(print(1)).await.unwrap_err();
    assert_eq!(error.message(), "shop.label/1 exists, at revision 1");
    let mut unit = session(&log).begin().unwrap();
    unit.create(print(2)).await.unwrap();
    assert_eq!(unit.commit().await.unwrap().events.len(), 1, "and the positions are the true ones");
}

async fn a_hook_around_a_transaction_may_say_better_what_went_wrong(bed: Bed) {
    let told = |outcome: Result<Committed>| outcome.map_err(|error| error.at("printing"));
    let log = bed.builder().hook(Tells(told)).start().await.unwrap();
    session(&log).create(print(1)).await.unwrap();
    let error = session(&log).create(print(1)).await.unwrap_err();
    assert_eq!(error.message(), "printing: shop.label/1 exists, at revision 1");
    let store = Held::around(&bed.store);
    let told = |outcome: Result<Committed>| outcome.map_err(|_| Error::invalid("nothing was printed"));
    let builder = Rekindle::on(Arc::clone(&store)).resource::<Label>().hook(Tells(told));
    let log = builder.start().await.unwrap();
    store.faults([Fault::AnswerLost, Fault::Unavailable]);
    let error = session(&log).create(print(2)).await.unwrap_err();
    is(&error, &ErrorKind::Indeterminate, "the line went dead: the disk is full");
    assert!(log.get::<Label>(&2).await.unwrap().is_some(), "the hook could not know");
}

/// Gives up on a transaction at once.
struct Impatient;

#[async_trait]
impl Hook for Impatient {
    async fn around_transaction(&self, _: &Transaction, next: NextTransaction<'_>) -> Result<Committed> {
        let mut commit = Box::pin(next.run());
        assert!(futures::poll!(&mut commit).is_pending());
        Err(Error::invalid("this takes too long"))
    }
}

async fn a_hook_around_a_transaction_that_does_not_wait_leaves_it_indeterminate(bed: Bed) {
    let log = bed.builder().hook(Impatient).start().await.unwrap();
    let error = session(&log).create(print(1)).await.unwrap_err();
    is(&error, &ErrorKind::Indeterminate, "a hook around the transaction did not wait for the commit");
    log.shutdown().await.unwrap();
    assert_eq!(actions(&log).await, ["print"]);
}
