//! A store that breaks under a commit: what was lost is found again by the event ids, and what is told is true.

#![cfg(all(feature = "derive", feature = "memory", feature = "sled"))]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests")]

mod shop;

use std::sync::Arc;

use futures::future::join_all;
use rekindle::{ErrorKind, Log, Rekindle, Revision};
use shop::held::{Fault, Held};
use shop::*;

on_each_backend![
    a_lost_answer_is_found_again_and_the_event_is_there_once,
    a_lost_request_is_made_again_and_the_event_is_there_once,
    all_callers_of_a_lost_batch_find_their_own_answers,
    a_conflict_after_a_lost_request_is_met_by_running_again,
    an_answer_that_stays_lost_is_indeterminate_and_not_asked_for_without_end,
    what_may_have_been_made_is_not_told_as_not_made,
    what_may_have_been_made_is_not_told_as_not_made_at_a_shutdown,
    a_store_that_cannot_write_says_so_and_is_not_asked_again,
    a_store_that_panics_once_is_asked_again,
    a_store_that_panics_fails_its_batch_and_the_log_goes_on,
    a_store_that_panics_under_one_tenant_touches_no_other,
];

async fn start(bed: &Bed) -> (Arc<Held>, Log) {
    let store = Held::around(&bed.store);
    let log = Rekindle::on(Arc::clone(&store)).resource::<Account>().resource::<Label>().start().await.unwrap();
    (store, log)
}

/// With these faults, each kind of action succeeds and leaves one event.
async fn made_once(bed: &Bed, faults: impl Fn() -> Vec<Fault>) {
    let (store, log) = start(bed).await;
    let calls = faults().len() + 1;
    store.faults(faults());
    let ada = session(&log).create(open("ada")).await.unwrap();
    store.faults(faults());
    let after = session(&log).update(&ada.id, Deposit { amount: 1 }).await.unwrap();
    assert_eq!(log.get::<Account>(&ada.id).await.unwrap(), Some(after));
    store.faults(faults());
    session(&log).update(&ada.id, Deposit { amount: -1 }).await.unwrap();
    store.faults(faults());
    session(&log).destroy(&ada.id, Close {}).await.unwrap();
    assert_eq!(log.get::<Account>(&ada.id).await.unwrap(), None);
    store.faults(faults());
    let mut unit = session(&log).begin().unwrap();
    unit.create(print(1)).await.unwrap();
    unit.create(print(2)).await.unwrap();
    let positions: Vec<_> = unit.commit().await.unwrap().events.iter().map(|event| event.position.get()).collect();
    assert_eq!(positions, [5, 6]);
    assert_eq!(store.batches(), vec![1; 5 * calls], "each was asked again");
    assert_eq!(actions(&log).await, ["open", "deposit", "deposit", "close", "print", "print"]);
}

async fn a_lost_answer_is_found_again_and_the_event_is_there_once(bed: Bed) {
    made_once(&bed, || vec![Fault::AnswerLost, Fault::AnswerLost]).await;
}

async fn a_lost_request_is_made_again_and_the_event_is_there_once(bed: Bed) {
    made_once(&bed, || vec![Fault::RequestLost, Fault::AnswerLost]).await;
}

async fn all_callers_of_a_lost_batch_find_their_own_answers(bed: Bed) {
    let (store, log) = start(&bed).await;
    session(&log).create(print(0)).await.unwrap();
    store.faults([Fault::AnswerLost, Fault::RequestLost]);
    let session = session(&log);
    let outcomes = join_all((0..20).map(|id| session.create(print(id)))).await;
    let error = outcomes[0].as_ref().unwrap_err();
    is(error, &ErrorKind::AlreadyExists { actual: Revision::new(1) }, "shop.label/0 exists, at revision 1");
    for (id, outcome) in (1..).zip(&outcomes[1..]) {
        assert_eq!(outcome.as_ref().unwrap().id, id);
    }
    assert_eq!((store.batches()[1], events(&log).await.len()), (20, 20));
}

async fn a_conflict_after_a_lost_request_is_met_by_running_again(bed: Bed) {
    let (store, log) = start(&bed).await;
    let ada = session(&log).create(open("ada")).await.unwrap();
    let session = session(&log);
    store.faults([Fault::RequestLost]);
    let deposits = join_all((0..8).map(|_| session.update(&ada.id, Deposit { amount: 1 }))).await;
    for deposit in deposits {
        deposit.unwrap();
    }
    assert_eq!(log.get::<Account>(&ada.id).await.unwrap().unwrap().balance, 8);
    assert_eq!(events(&log).await.len(), 9);
}

async fn an_answer_that_stays_lost_is_indeterminate_and_not_asked_for_without_end(bed: Bed) {
    let (store, log) = start(&bed).await;
    store.faults([Fault::AnswerLost, Fault::RequestLost, Fault::AnswerLost]);
    let error = session(&log).create(print(1)).await.unwrap_err();
    is(&error, &ErrorKind::Indeterminate, "the line went dead");
    assert!(error.is_retryable());
    assert_eq!((store.batches(), events(&log).await.len()), (vec![1; 3], 1));
    session(&log).create(print(2)).await.unwrap();
}

/// A store that fails otherwise once an answer was lost tells nothing of the first time.
async fn what_may_have_been_made_is_not_told_as_not_made(bed: Bed) {
    let (store, log) = start(&bed).await;
    store.faults([Fault::AnswerLost, Fault::Unavailable]);
    let error = session(&log).create(print(1)).await.unwrap_err();
    is(&error, &ErrorKind::Indeterminate, "the line went dead: the disk is full");
    assert!(log.get::<Label>(&1).await.unwrap().is_some());
}

async fn what_may_have_been_made_is_not_told_as_not_made_at_a_shutdown(bed: Bed) {
    let (store, log) = start(&bed).await;
    let session = session(&log);
    store.faults([Fault::AnswerLost]);
    store.commits.shut();
    let mut caller = Box::pin(session.create(print(1)));
    assert!(futures::poll!(&mut caller).is_pending());
    store.commits.come(1).await;
    let mut shutdown = Box::pin(log.shutdown());
    assert!(futures::poll!(&mut shutdown).is_pending());
    store.commits.open();
    let message = "the line went dead: the log was shut down";
    is(&caller.await.unwrap_err(), &ErrorKind::Indeterminate, message);
    shutdown.await.unwrap();
    assert_eq!(actions(&log).await, ["print"]);
}

async fn a_store_that_cannot_write_says_so_and_is_not_asked_again(bed: Bed) {
    let (store, log) = start(&bed).await;
    store.faults([Fault::Unavailable]);
    let error = session(&log).create(print(1)).await.unwrap_err();
    is(&error, &ErrorKind::Unavailable, "the disk is full");
    assert!(error.is_retryable());
    assert_eq!((store.batches(), events(&log).await.len()), (vec![1], 0));
    session(&log).create(print(1)).await.unwrap();
}

async fn a_store_that_panics_once_is_asked_again(bed: Bed) {
    made_once(&bed, || vec![Fault::Panic]).await;
}

async fn a_store_that_panics_fails_its_batch_and_the_log_goes_on(bed: Bed) {
    let (store, log) = start(&bed).await;
    let session = session(&log);
    store.faults([Fault::Panic, Fault::Panic, Fault::Panic]);
    for outcome in join_all((0..5).map(|id| session.create(print(id)))).await {
        let message = "the store did not answer for this commit: it panicked or broke its contract";
        is(&outcome.unwrap_err(), &ErrorKind::Indeterminate, message);
    }
    assert_eq!(store.batches(), [5, 5, 5]);
    session.create(print(9)).await.unwrap();
    assert_eq!(events(&log).await.len(), 1);
    log.shutdown().await.unwrap();
}

async fn a_store_that_panics_under_one_tenant_touches_no_other(bed: Bed) {
    let (store, log) = start(&bed).await;
    let [one, other] = ["1", "2"].map(|tenant| session(&log.tenant(tenant).unwrap()));
    store.commits.shut();
    let mut calm = Box::pin(other.create(print(1)));
    assert!(futures::poll!(&mut calm).is_pending());
    store.commits.come(1).await;
    *store.only.lock().unwrap() = Some(rekindle::types::LockKey::One(2));
    store.faults([Fault::Panic, Fault::Panic, Fault::Panic]);
    assert_eq!(one.create(print(1)).await.unwrap_err().kind(), &ErrorKind::Indeterminate);
    store.commits.open();
    calm.await.unwrap();
}
