//! A log that was replayed to an earlier point and taken as it is: what was left out has no effect any more, and nobody
//! stumbles over it.

#![cfg(all(feature = "derive", feature = "memory", feature = "sled"))]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests")]

mod shop;

use rekindle::store::LogState;
use rekindle::{ErrorKind, Log, Position};
use serde_json::json;
use shop::state::state;
use shop::*;

on_each_backend![
    p24_a_rewound_log_can_be_taken_as_it_is,
    e2_what_was_left_out_is_in_no_later_replay,
    e3_an_identity_that_was_left_out_is_free,
    e7_the_past_and_the_history_know_what_was_left_out,
    p24_a_log_can_be_taken_as_it_was_at_a_time,
    a_point_before_an_acceptance_is_as_it_was_then,
    an_acceptance_is_an_event_of_whoever_made_it,
    only_the_point_that_it_is_rewound_to_is_accepted,
    a_replay_that_meets_a_new_acceptance_says_so,
];

async fn live(bed: &Bed, log: &Log) -> shop::state::State {
    state(&*bed.store, log).await
}

/// Positions 1 and 2 make the labels 1 and 2; 3 sticks the first, 4 makes the third, 5 destroys the second.
async fn labels(bed: &Bed) -> Log {
    let log = bed.builder().clock(Ticking::default()).start().await.unwrap();
    let session = session(&log);
    session.create(print(1)).await.unwrap();
    session.create(print(2)).await.unwrap();
    session.update(&1, Stick { slot: slot("a") }).await.unwrap();
    session.create(print(3)).await.unwrap();
    session.destroy(&2, Peel {}).await.unwrap();
    log
}

async fn p24_a_rewound_log_can_be_taken_as_it_is(bed: Bed) {
    let log = labels(&bed).await;
    log.replay().until_position(2).await.unwrap();
    let rewound = live(&bed, &log).await;
    assert_eq!(session(&log).accept_rewound(Position::new(2)).await.unwrap(), Position::new(6));
    assert_eq!((live(&bed, &log).await, log.head().await.unwrap().state), (rewound, LogState::Live));
    session(&log).update(&2, Stick { slot: slot("b") }).await.unwrap();
    assert_eq!(events(&log).await.len(), 7);
}

async fn e2_what_was_left_out_is_in_no_later_replay(bed: Bed) {
    let log = labels(&bed).await;
    log.replay().until_position(2).await.unwrap();
    session(&log).accept_rewound(Position::new(2)).await.unwrap();
    // An event that was left out has made this record, too.
    session(&log).create(print(3)).await.unwrap();
    session(&log).update(&2, Stick { slot: slot("b") }).await.unwrap();
    let before = live(&bed, &log).await;
    for workers in 1..=3 {
        log.replay().workers(workers).memory(1).await.unwrap();
        assert_eq!(live(&bed, &log).await, before, "{workers} workers");
    }
    log.replay().in_place().await.unwrap();
    assert_eq!(live(&bed, &log).await, before);
    let verified = log.replay().verify().await.unwrap();
    assert_eq!((verified.records, verified.drifts), (3, vec![]));
    let plan = log.replay().plan().await.unwrap();
    assert_eq!((plan.events, plan.records, plan.unknown().count()), (8, 3, 0));
}

async fn e3_an_identity_that_was_left_out_is_free(bed: Bed) {
    let log = labels(&bed).await;
    log.replay().until_position(2).await.unwrap();
    session(&log).accept_rewound(Position::new(2)).await.unwrap();
    session(&log).update(&2, Stick { slot: slot("a") }).await.unwrap();
    log.replay().await.unwrap();
    assert_eq!(log.find::<Label>("slot", "a").await.unwrap().unwrap().id, 2);
    assert_eq!(log.get::<Label>(&1).await.unwrap().unwrap().slot, None);
}

async fn e7_the_past_and_the_history_know_what_was_left_out(bed: Bed) {
    let log = labels(&bed).await;
    log.replay().until_position(2).await.unwrap();
    let taken = session(&log).accept_rewound(Position::new(2)).await.unwrap();
    session(&log).update(&1, Stick { slot: slot("z") }).await.unwrap();
    let at = async |position| log.as_of(Position::new(position)).get::<Label>(&1).await.unwrap().unwrap().slot;
    assert_eq!((at(3).await, at(5).await), (slot("a"), slot("a")), "as it was then");
    assert_eq!((at(taken.get()).await, at(7).await), (None, slot("z")));
    assert_eq!(log.as_of(Position::new(7)).get::<Label>(&2).await.unwrap(), Some(Label { id: 2, slot: None }));
    let history = log.history::<Label>(&1).await.unwrap();
    let seen: Vec<_> = history.iter().map(|step| (step.event.position.get(), step.in_effect)).collect();
    assert_eq!(seen, [(1, true), (3, false), (7, true)]);
    assert!(history[1].to_string().contains("stick by system/test, of no effect"), "{}", history[1]);
    assert_eq!(history[2].before, Some(Label { id: 1, slot: None }));
}

async fn p24_a_log_can_be_taken_as_it_was_at_a_time(bed: Bed) {
    let log = bed.log().await;
    session(&log).at(seconds(10)).create(print(1)).await.unwrap();
    session(&log).at(seconds(90)).create(print(2)).await.unwrap();
    session(&log).at(seconds(20)).create(print(3)).await.unwrap();
    log.replay().until(seconds(50)).await.unwrap();
    let rewound = live(&bed, &log).await;
    assert_eq!(rewound.len(), 2, "the third occurred before that time");
    let error = session(&log).accept_rewound(seconds(5)).await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Rewound { at: Position::new(1) });
    session(&log).accept_rewound(seconds(50)).await.unwrap();
    log.replay().await.unwrap();
    assert_eq!(live(&bed, &log).await, rewound);
}

async fn a_point_before_an_acceptance_is_as_it_was_then(bed: Bed) {
    let log = labels(&bed).await;
    let whole = live(&bed, &log).await;
    log.replay().until_position(2).await.unwrap();
    session(&log).accept_rewound(Position::new(2)).await.unwrap();
    session(&log).create(print(9)).await.unwrap();
    // Back to before the acceptance: and that taken as it is, too.
    log.replay().until_position(5).await.unwrap();
    assert_eq!(live(&bed, &log).await, whole);
    session(&log).accept_rewound(Position::new(5)).await.unwrap();
    session(&log).create(print(9)).await.unwrap();
    let before = live(&bed, &log).await;
    assert_eq!(before.len(), 3);
    log.replay().await.unwrap();
    assert_eq!(live(&bed, &log).await, before);
}

async fn an_acceptance_is_an_event_of_whoever_made_it(bed: Bed) {
    let log = labels(&bed).await;
    log.replay().until_position(4).await.unwrap();
    log.as_system("oncall").with("ticket", 7).accept_rewound(Position::new(4)).await.unwrap();
    let event = events(&log).await.pop().unwrap();
    assert_eq!((event.resource.as_str(), event.action.as_str()), ("rekindle.log", "accept_rewound"));
    assert_eq!((event.actor.as_ref().unwrap().to_string().as_str(), event.revision), ("system/oncall", None));
    assert_eq!((json(&event.data), json(&event.metadata)), (json!({"at": 4}), json!({"ticket": 7})));
}

async fn only_the_point_that_it_is_rewound_to_is_accepted(bed: Bed) {
    let log = labels(&bed).await;
    let error = session(&log).accept_rewound(Position::new(2)).await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Conflict { actual: None });
    assert_eq!(error.message(), "main is not rewound, so that nothing is to be taken as it is");
    log.replay().until_position(4).await.unwrap();
    let error = session(&log).accept_rewound(Position::new(2)).await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Rewound { at: Position::new(4) });
    assert_eq!(events(&log).await.len(), 5);
}

async fn a_replay_that_meets_a_new_acceptance_says_so(bed: Bed) {
    let held = held::Held::around(&bed.store);
    let log = rekindle::Rekindle::on(std::sync::Arc::clone(&held)).resource::<Label>().start().await.unwrap();
    for id in 1..=3 {
        session(&log).create(print(id)).await.unwrap();
    }
    log.replay().until_position(1).await.unwrap();
    let loads = held.loads.come_so_far();
    held.loads.shut();
    let replaying = tokio::spawn({
        let log = log.clone();
        async move { log.replay().await }
    });
    held.loads.come(loads + 1).await;
    session(&log).accept_rewound(Position::new(1)).await.unwrap();
    held.loads.open();
    let error = replaying.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Conflict { actual: None });
    let told = "main was taken as it is, by the event at position 4, while it was replayed: replay it again";
    assert_eq!(error.message(), told);
    log.replay().await.unwrap();
    assert_eq!(all::<Label>(&log).await, [Label { id: 1, slot: None }]);
}
