//! The only code that a replay may run besides bodies: changes that were allowed by name.

#![cfg(all(feature = "derive", feature = "memory", feature = "sled"))]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests")]

mod shop;

use rekindle::{Builder, ErrorKind, Log, Position};
use shop::*;
use uuid::Uuid;

on_each_backend![
    p26_a_change_on_replay_is_made_after_each_event_of_its_resource,
    p26_a_change_on_replay_sees_the_event_and_what_it_was_run_in,
    p26_changes_on_replay_are_made_in_their_order,
    p26_changes_on_replay_are_made_where_bodies_are_run_again_and_on_routes,
    p26_the_past_is_read_with_the_changes_on_replay,
    p26_a_change_on_replay_that_panics_stops_it,
    p26_a_change_on_replay_that_makes_another_record_stops_it,
];

/// A log with these labels, which were made and stuck without any change on replay.
async fn labels(bed: &Bed, ids: impl IntoIterator<Item = u64>) -> Log {
    let log = bed.log().await;
    for id in ids {
        session(&log).create(print(id)).await.unwrap();
        session(&log).update(&id, Stick { slot: Some(format!("s-{id}")) }).await.unwrap();
    }
    log
}

fn add(builder: Builder, text: &'static str) -> Builder {
    builder.change_on_replay(move |label: &mut Label, _, _| {
        label.slot = Some(format!("{}{text}", label.slot.clone().unwrap_or_default()));
    })
}

async fn slots(log: &Log) -> Vec<String> {
    all::<Label>(log).await.into_iter().map(|label| label.slot.unwrap_or_default()).collect()
}

async fn p26_a_change_on_replay_is_made_after_each_event_of_its_resource(bed: Bed) {
    labels(&bed, 1..=3).await;
    let log = add(bed.builder(), "!").start().await.unwrap();
    let ada = session(&log).create(open("ada")).await.unwrap();
    session(&log).create(Print { id: 4, slot: slot("s-4") }).await.unwrap();
    assert_eq!(slots(&log).await, ["s-1", "s-2", "s-3", "s-4"], "what is not replayed is not changed");
    for (workers, memory) in [(1, usize::MAX), (3, 1)] {
        log.replay().workers(workers).memory(memory).await.unwrap();
        // The update sets the slot anew, so that what was added to it before is gone.
        assert_eq!(slots(&log).await, ["s-1!", "s-2!", "s-3!", "s-4!"]);
    }
    assert_eq!(log.find::<Label>("slot", "s-2!").await.unwrap().unwrap().id, 2, "identities follow");
    assert_eq!(log.get::<Account>(&ada.id).await.unwrap(), Some(ada));
    session(&log).destroy(&4, Peel {}).await.unwrap();
    log.replay().await.unwrap();
    assert_eq!(slots(&log).await.len(), 3, "a destroyed record stays so");
}

async fn p26_a_change_on_replay_sees_the_event_and_what_it_was_run_in(bed: Bed) {
    let log = bed.builder().clock(Ticking::default()).start().await.unwrap();
    session(&log).with("batch", 7).create(print(1)).await.unwrap();
    log.as_anonymous().create(print(2)).await.unwrap();
    let builder = bed.builder().change_on_replay(|label: &mut Label, event, cx| {
        assert_eq!((event.occurred_at, event.actor.as_ref()), (cx.now(), cx.actor()));
        let actor = cx.actor().map_or_else(|| "nobody".to_owned(), ToString::to_string);
        label.slot = Some(format!("{} {} {actor} {} {:?}", event.position, event.action, cx.now(), event.metadata));
    });
    let log = builder.start().await.unwrap();
    log.replay().await.unwrap();
    let expected = [
        r#"1 print system/test 1970-01-01T00:00:01.000001Z {"batch":7}"#,
        "2 print nobody 1970-01-01T00:00:02.000002Z {}",
    ];
    assert_eq!(slots(&log).await, expected);
}

async fn p26_changes_on_replay_are_made_in_their_order(bed: Bed) {
    labels(&bed, [1]).await;
    let log = add(add(bed.builder(), " one"), " two").start().await.unwrap();
    log.replay().await.unwrap();
    assert_eq!(slots(&log).await, ["s-1 one two"]);
}

async fn p26_changes_on_replay_are_made_where_bodies_are_run_again_and_on_routes(bed: Bed) {
    let log = labels(&bed, [1, 2]).await;
    let old = raw::raw("shop.label", "2", "glue").data(serde_json::json!({"slot": "glued"}));
    old.write(&*bed.store, &log).await;
    let builder = add(bed.builder(), "!").replay_as_arguments::<Print>().replay_as_arguments::<Stick>();
    let log = builder.on_version::<Label>("glue", [1]).route_to::<Stick>().start().await.unwrap();
    log.replay().await.unwrap();
    assert_eq!(slots(&log).await, ["s-1!", "glued!"]);
}

async fn p26_the_past_is_read_with_the_changes_on_replay(bed: Bed) {
    labels(&bed, [1]).await;
    let log = add(bed.builder(), "!").start().await.unwrap();
    let past = log.as_of(Position::new(1)).get::<Label>(&1).await.unwrap().unwrap();
    assert_eq!(past.slot.as_deref(), Some("!"));
    let history = log.history::<Label>(&1).await.unwrap();
    assert_eq!(history[1].changes().unwrap()[0].to_string(), r#"slot: "!" -> "s-1!""#);
    assert_eq!(slots(&log).await, ["s-1"], "looking changes nothing");
}

async fn p26_a_change_on_replay_that_panics_stops_it(bed: Bed) {
    labels(&bed, [1, 2]).await;
    let builder = bed.builder().change_on_replay(|label: &mut Label, _, _| assert!(label.id < 2, "not that one"));
    let log = builder.start().await.unwrap();
    let error = log.replay().await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Replay { position: Position::new(3) });
    let told = "cannot be applied: a change on replay of \"shop.label\" panicked: not that one";
    assert!(error.message().ends_with(told), "{error}");
    let error = log.as_of(Position::new(4)).get::<Label>(&2).await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Replay { position: Position::new(3) });
    assert_eq!(slots(&log).await, ["s-1", "s-2"], "the records are as they were");
}

async fn p26_a_change_on_replay_that_makes_another_record_stops_it(bed: Bed) {
    labels(&bed, [1]).await;
    let log = bed.builder().change_on_replay(|label: &mut Label, _, _| label.id = 9).start().await.unwrap();
    let error = log.replay().await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Replay { .. }), "{error:?}");
    let told = r#"shop.label/1: its attributes are those of a record with the id "9""#;
    assert!(error.message().ends_with(told), "{error}");
}

#[tokio::test]
async fn p26_a_change_on_replay_of_a_resource_that_is_not_registered_is_a_mistake_of_the_set_up() {
    let builder = Bed::memory().bare().resource::<Label>();
    let error = builder.change_on_replay(|account: &mut Account, _, _| account.id = Uuid::nil()).start().await;
    let told = r#"the set-up has mistakes: there is a change on replay of "shop.account", and it is not registered"#;
    assert_eq!(error.unwrap_err().message(), told);
}
