//! Random batches of plain commits, held against the model. Each commit is of one change, and mostly succeeds: it expects what
//! those before it in its batch have left. Records are of two resources, and events have ids of several minutes.

use std::sync::Arc;

use futures::TryStreamExt;
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy};
use proptest::{option, prop_oneof};
use rekindle_core::store::{ResourceStoreExt, Store};
use rekindle_core::types::{
    Change, Commit, EventId, EventQuery, Expected, Order, RecordKey, RecordQuery, ResourceName, Revision,
};

use super::random::{assert_answers, hold};
use crate::fixture::Backend;
use crate::look::{assert_same, events, live, stream};
use crate::model::{Model, page};
use crate::sample::{RESOURCE, change, commit, email, log, note, owning, state};

const RESOURCES: [&str; 2] = [RESOURCE, "suite.other"];
const IDS: [&str; 3] = ["a", "b", "c"];
const EMAILS: u8 = 2;

#[derive(Clone, Debug)]
struct Planned {
    resource: usize,
    id: usize,
    /// Of the time in the event's id; `None` for an id without a time.
    minute: Option<u8>,
    kind: Kind,
    /// Whether the commit is in the batch twice.
    twice: bool,
}

#[derive(Clone, Debug)]
enum Kind {
    /// Makes the record, or changes it.
    Write {
        email: Option<u8>,
    },
    Destroy,
    /// An event alone.
    Note,
    /// A write alone.
    Silent,
    /// Expects what is not so.
    Wrong,
}

fn planned() -> impl Strategy<Value = Planned> {
    let kind = prop_oneof![
        8 => option::weighted(0.2, 0..EMAILS).prop_map(|email| Kind::Write { email }),
        3 => Just(Kind::Destroy),
        2 => Just(Kind::Note),
        1 => Just(Kind::Silent),
        1 => Just(Kind::Wrong),
    ];
    (0..RESOURCES.len(), 0..IDS.len(), option::weighted(0.9, 0..2_u8), kind, 0..12_u8)
        .prop_map(|(resource, id, minute, kind, twice)| Planned { resource, id, minute, kind, twice: twice == 0 })
}

pub(crate) async fn random_batches_equal_the_model(backend: Backend) {
    hold(vec(vec(planned(), 1..12), 1..8), move |batches| run(backend, batches)).await;
}

async fn run(backend: Backend, batches: Vec<Vec<Planned>>) {
    let (store, mut model) = (backend.open().await.store, Model::default());
    for planned in batches {
        let (mut batch, mut expected) = (Vec::new(), Vec::new());
        for planned in planned {
            let commit = build(&model, &planned);
            for _ in 0..1 + usize::from(planned.twice) {
                expected.push(model.commit(&commit));
                batch.push(commit.clone());
            }
        }
        assert_answers(&store, batch.clone(), &expected).await;
        compare(&store, &model).await;
        // Again: what was made is known, and what failed is tried anew.
        let expected: Vec<_> = batch.iter().map(|commit| model.commit(commit)).collect();
        assert_answers(&store, batch, &expected).await;
        compare(&store, &model).await;
    }
}

fn build(model: &Model, planned: &Planned) -> Commit {
    let (id, now) = (IDS[planned.id], model.log(&log()));
    let key = RecordKey::new(RESOURCES[planned.resource], id).unwrap();
    let there = now.records.get(&key).filter(|record| record.state.is_some()).map(|record| record.revision);
    let right = there.map_or(Expected::Absent, Expected::Revision);
    let n = now.events.len() as u64;
    let mut change = match &planned.kind {
        Kind::Note => note(id, n),
        Kind::Write { email: None } | Kind::Silent => change(id, right, Some(state(n))),
        Kind::Write { email: Some(email) } => change(id, right, Some(owning(n, &[&email.to_string()]))),
        Kind::Destroy => change(id, there.map_or(Expected::Any, Expected::Revision), None),
        Kind::Wrong => {
            let wrong = there.map_or(Expected::Revision(Revision::new(1)), |there| Expected::Revision(there.next()));
            change(id, wrong, Some(state(n)))
        }
    };
    move_to(&mut change, &key.resource);
    if let Some(event) = &mut change.event {
        event.id = id_of(planned.minute);
    }
    if matches!(planned.kind, Kind::Silent) {
        change.event = None;
    }
    commit(&log(), vec![change])
}

fn move_to(change: &mut Change, resource: &ResourceName) {
    if let Some(event) = &mut change.event {
        event.resource = resource.clone();
    }
    if let Some(write) = &mut change.write {
        write.key.resource = resource.clone();
    }
}

/// A new id: of version 7 in this minute, or of version 4.
fn id_of(minute: Option<u8>) -> EventId {
    let mut text = EventId::generate().to_string();
    match minute {
        Some(minute) => text.replace_range(7..8, &minute.to_string()),
        None => text.replace_range(14..15, "4"),
    }
    serde_json::from_value(text.into()).unwrap()
}

async fn compare(store: &Arc<dyn Store>, model: &Model) {
    let expected = model.log(&log());
    assert_same(&events(&**store, &log()).await, &expected.events, &"the log");
    for resource in RESOURCES {
        let resource = ResourceName::new(resource).unwrap();
        let stored: Vec<_> =
            store.stream_records(&log(), RecordQuery::new(resource.clone())).try_collect().await.unwrap();
        let records = expected.records.values().filter(|record| record.key.resource == resource);
        assert_eq!(stored, records.filter_map(live).collect::<Vec<_>>(), "the records of {resource}");
        for id in IDS {
            let key = RecordKey::new(resource.as_str(), id).unwrap();
            assert_eq!(store.get_one(&log(), &key).await.unwrap(), expected.records.get(&key).and_then(live), "{key}");
            for order in [Order::Forward, Order::Backward] {
                let history = EventQuery::new().with_record(key.clone()).with_order(order);
                let whole = page(&expected.events, &history, usize::MAX);
                assert_same(&stream(&**store, &log(), history.with_limit(2)).await, &whole, &(&key, order));
            }
        }
        for value in 0..EMAILS {
            let identity = email(&value.to_string()).of(&resource);
            let owner = store.find(&log(), &identity).await.unwrap().map(|record| record.key.id);
            assert_eq!(owner, expected.owner(&identity), "the owner of {identity}");
        }
    }
    assert_eq!(store.head(&log()).await.unwrap().position.get(), expected.events.len() as u64, "the head");
}
