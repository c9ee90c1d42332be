//! Reading events: filters, bounds, pages.

use std::sync::Arc;

use futures::StreamExt;
use rekindle_core::store::{EventStoreExt, Store};
use rekindle_core::types::{
    ActionName, ActionType, Actor, Event, EventId, EventQuery, Limits, NewEvent, Order, Position, RecordId,
    ResourceName,
};

use crate::fixture::Backend;
use crate::look::{assert_same, events, put, stream};
use crate::model::{matches, page};
use crate::sample::{TRICKY, at, commit, event, log, note, number, only, tenant};

/// An event whose every field is one of a few values, so that filters meet some and miss some.
fn varied(n: u64) -> NewEvent {
    let pick = |of: u64, salt: u64| (n.wrapping_mul(2_654_435_761).wrapping_add(salt * 40_503) >> 7) % of;
    let mut event = event(["a", "A", "a%", "\u{e9}", "e\u{301}"][pick(5, 1) as usize], number(n));
    event.resource = ResourceName::new(["suite.item", "suite.Item", "suite"][pick(3, 2) as usize]).unwrap();
    event.action = ActionName::new(["set", "set_", "Set"][pick(3, 3) as usize]).unwrap();
    event.action_type = [ActionType::Create, ActionType::Update, ActionType::Destroy][pick(3, 4) as usize];
    let actors = [Some(("user", "1")), Some(("user", "%")), Some(("system", "1")), None];
    event.actor = actors[pick(4, 5) as usize].map(|(kind, id)| Actor::new(kind, id).unwrap());
    event.occurred_at = at(pick(5, 6) as i64 - 2);
    event
}

async fn filled(backend: Backend) -> (Arc<dyn Store>, Vec<Event>) {
    let store = backend.open().await.store;
    put(&*store, commit(&log(), (0..120).map(|n| only(varied(n))).collect())).await;
    put(&*store, commit(&tenant("other"), (0..20).map(|n| only(varied(n))).collect())).await;
    let all = events(&*store, &log()).await;
    assert_eq!(all.len(), 120);
    (store, all)
}

/// One query for each filter and each of its values, those without a match among them.
fn single_filters(all: &[Event]) -> Vec<EventQuery> {
    let query = EventQuery::new;
    let mut queries = vec![query(), query().with_id(all[50].id), query().with_id(EventId::generate())];
    queries.extend(
        ["a", "A", "a%", "%", "_", "\u{e9}", "e\u{301}", "e"]
            .map(|id| query().with_record_id(RecordId::new(id).unwrap())),
    );
    queries.extend(
        ["suite.item", "suite.Item", "suite", "suite.ite"].map(|name| query().with_resource(name.parse().unwrap())),
    );
    queries.extend(["set", "set_", "Set", "se"].map(|name| query().with_action(name.parse().unwrap())));
    queries.extend(
        [ActionType::Create, ActionType::Update, ActionType::Destroy].map(|kind| query().with_action_type(kind)),
    );
    let actors = [("user", "1"), ("user", "%"), ("system", "1"), ("system", "%"), ("use", "r1")];
    queries.extend(actors.map(|(kind, id)| query().with_actor(Actor::new(kind, id).unwrap())));
    queries
        .extend((-3..4).flat_map(|time| [query().with_occurred_from(at(time)), query().with_occurred_until(at(time))]));
    queries
}

fn and(mut one: EventQuery, other: &EventQuery) -> EventQuery {
    one.id = one.id.or(other.id);
    one.resource = one.resource.or_else(|| other.resource.clone());
    one.record_id = one.record_id.or_else(|| other.record_id.clone());
    one.action = one.action.or_else(|| other.action.clone());
    one.action_type = one.action_type.or(other.action_type);
    one.actor = one.actor.or_else(|| other.actor.clone());
    one.occurred_from = one.occurred_from.or(other.occurred_from);
    one.occurred_until = one.occurred_until.or(other.occurred_until);
    one
}

pub(crate) async fn each_filter_equals_brute_force(backend: Backend) {
    let (store, all) = filled(backend).await;
    for query in single_filters(&all) {
        let expected: Vec<Event> = all.iter().filter(|event| matches(&query, event)).cloned().collect();
        assert_same(&store.read(&log(), &query).await.unwrap().items, &expected, &query);
    }
}

pub(crate) async fn filters_compose_as_and(backend: Backend) {
    let (store, all) = filled(backend).await;
    let filters = single_filters(&all);
    let mut found = 0;
    for (nth, one) in filters.iter().enumerate() {
        for (mth, other) in filters.iter().enumerate().skip(nth + 1) {
            let mut query = and(one.clone(), other);
            if (nth + mth) % 3 == 0 {
                query = and(query, &filters[(nth * mth) % filters.len()]);
            }
            let expected: Vec<Event> = all.iter().filter(|event| matches(&query, event)).cloned().collect();
            found += usize::from(!expected.is_empty());
            assert_same(&store.read(&log(), &query).await.unwrap().items, &expected, &query);
        }
    }
    assert!(found > 100, "the combinations find too little to tell: {found}");
}

pub(crate) async fn the_limit_applies_after_the_filter(backend: Backend) {
    let (store, all) = filled(backend).await;
    for filter in single_filters(&all) {
        for (order, limit) in [(Order::Forward, 1), (Order::Forward, 4), (Order::Backward, 3)] {
            let query = filter.clone().with_order(order).with_limit(limit);
            let expected = page(&all, &query, usize::MAX);
            let read = store.read(&log(), &query).await.unwrap();
            assert_same(&read.items, &expected, &query);
            if read.items.len() == limit && stream(&*store, &log(), query.clone()).await.len() > limit {
                assert_eq!(read.next, read.items.last().map(|event| event.position), "{query:?}");
            }
        }
    }
}

pub(crate) async fn limit_zero_is_empty(backend: Backend) {
    let (store, _) = filled(backend).await;
    let page = store.read(&log(), &EventQuery::new().with_limit(0)).await.unwrap();
    assert_eq!((page.items, page.next), (Vec::new(), None), "a page of none must not go on for ever");
}

pub(crate) async fn backward_is_forward_reversed(backend: Backend) {
    let (store, all) = filled(backend).await;
    for filter in single_filters(&all) {
        let filter = filter.with_after(Position::new(7)).with_up_to(Position::new(110)).with_limit(9);
        let mut forward = stream(&*store, &log(), filter.clone()).await;
        forward.reverse();
        assert_same(&stream(&*store, &log(), filter.clone().with_order(Order::Backward)).await, &forward, &filter);
    }
}

pub(crate) async fn after_is_exclusive_and_up_to_inclusive(backend: Backend) {
    let (store, all) = filled(backend).await;
    let bounds = [0, 1, 2, 60, 119, 120, 121, u64::MAX - 1, u64::MAX];
    for (after, up_to) in bounds.iter().flat_map(|after| bounds.map(|up_to| (*after, up_to))) {
        for order in [Order::Forward, Order::Backward] {
            let query =
                EventQuery::new().with_after(Position::new(after)).with_up_to(Position::new(up_to)).with_order(order);
            let mut expected: Vec<u64> = (1..=120).filter(|position| *position > after && *position <= up_to).collect();
            if order == Order::Backward {
                expected.reverse();
            }
            let read = store.read(&log(), &query).await.unwrap().items;
            assert_eq!(read.iter().map(|event| event.position.get()).collect::<Vec<_>>(), expected, "{query:?}");
        }
    }
    let only_after = store.read(&log(), &EventQuery::new().with_after(Position::new(119))).await.unwrap().items;
    assert_eq!(only_after, all[119..]);
    let only_up_to = store.read(&log(), &EventQuery::new().with_up_to(Position::new(1))).await.unwrap().items;
    assert_eq!(only_up_to, all[..1]);
}

pub(crate) async fn an_inverted_range_is_empty(backend: Backend) {
    let (store, _) = filled(backend).await;
    for (after, up_to) in [(5, 5), (6, 5), (100, 1), (u64::MAX, 0), (u64::MAX, u64::MAX)] {
        let query = EventQuery::new().with_after(Position::new(after)).with_up_to(Position::new(up_to));
        assert_eq!(store.read(&log(), &query).await.unwrap().items, []);
        assert_eq!(store.read(&log(), &query.with_order(Order::Backward)).await.unwrap().items, []);
    }
    let times = EventQuery::new().with_occurred_from(at(2)).with_occurred_until(at(1));
    assert_eq!(store.read(&log(), &times).await.unwrap().items, []);
}

pub(crate) async fn pages_concatenate_to_the_whole_at_any_size(backend: Backend) {
    let (store, all) = filled(backend).await;
    let some = EventQuery::new().with_action_type(ActionType::Update);
    for query in [EventQuery::new(), some.clone(), some.with_after(Position::new(10)).with_up_to(Position::new(99))] {
        for order in [Order::Forward, Order::Backward] {
            let whole = page(&all, &query.clone().with_order(order), usize::MAX);
            for size in [1, 2, 3, 7, 40, 119, 120, 121, 1_000, usize::MAX] {
                let query = query.clone().with_order(order).with_limit(size);
                assert_same(&stream(&*store, &log(), query.clone()).await, &whole, &query);
            }
        }
    }
}

pub(crate) async fn a_page_is_cut_to_the_stores_rows(backend: Backend) {
    let store = backend.open_with(Limits::default().with_page_rows(4)).await.store;
    put(&*store, commit(&log(), (0..10).map(|n| note("a", n)).collect())).await;
    let page = store.read(&log(), &EventQuery::new().with_limit(100)).await.unwrap();
    assert_eq!((page.items.len(), page.next), (4, Some(Position::new(4))));
    assert_eq!(events(&*store, &log()).await.len(), 10);
    assert_eq!(store.count(&log(), EventQuery::new()).await.unwrap(), 10);
}

pub(crate) async fn a_cursor_survives_appends(backend: Backend) {
    let (store, all) = filled(backend).await;
    for order in [Order::Forward, Order::Backward] {
        let query = EventQuery::new().with_order(order).with_limit(50);
        let first = store.read(&log(), &query).await.unwrap();
        put(&*store, commit(&log(), vec![note("new", 1), note("new", 2)])).await;
        let rest = stream(&*store, &log(), query.with_cursor(first.next.unwrap())).await;
        let old: Vec<&Event> =
            first.items.iter().chain(&rest).filter(|event| event.record_id.as_str() != "new").collect();
        let expected: Vec<&Event> =
            if order == Order::Forward { all.iter().collect() } else { all.iter().rev().collect() };
        assert_eq!(old, expected);
    }
}

pub(crate) async fn a_cursor_that_was_never_given_is_only_a_position(backend: Backend) {
    let (store, all) = filled(backend).await;
    let read = |cursor: u64, order| EventQuery::new().with_cursor(Position::new(cursor)).with_order(order);
    assert_eq!(store.read(&log(), &read(0, Order::Backward)).await.unwrap().items, []);
    assert_eq!(store.read(&log(), &read(1, Order::Backward)).await.unwrap().items, []);
    assert_eq!(store.read(&log(), &read(0, Order::Forward)).await.unwrap().items, all);
    for beyond in [120, 121, 1 << 40, u64::MAX] {
        assert_eq!(store.read(&log(), &read(beyond, Order::Forward)).await.unwrap().items, []);
    }
    for beyond in [121, 1 << 40, u64::MAX] {
        assert_eq!(store.read(&log(), &read(beyond, Order::Backward)).await.unwrap().items.len(), 120);
    }
}

pub(crate) async fn text_is_literal(backend: Backend) {
    let store = backend.open().await.store;
    let write = TRICKY.iter().map(|text| {
        let mut event = event(text, number(1));
        event.actor = Some(Actor::new("user", text).unwrap());
        only(event)
    });
    put(&*store, commit(&log(), write.collect())).await;
    for text in TRICKY {
        let of_record = EventQuery::new().with_record_id(RecordId::new(text).unwrap());
        let of_actor = EventQuery::new().with_actor(Actor::new("user", text).unwrap());
        for query in [of_record, of_actor] {
            let found = store.read(&log(), &query).await.unwrap().items;
            assert_eq!(found.iter().map(|event| event.record_id.as_str()).collect::<Vec<_>>(), [*text], "{query:?}");
        }
    }
}

pub(crate) async fn an_unknown_log_reads_as_empty(backend: Backend) {
    let (store, _) = filled(backend).await;
    let unknown = tenant("unknown");
    assert_eq!(store.head(&unknown).await.unwrap(), rekindle_core::store::Head::default());
    assert_eq!(events(&*store, &unknown).await, []);
    assert_eq!(stream(&*store, &unknown, EventQuery::new().with_order(Order::Backward)).await, []);
    assert_eq!(store.count(&unknown, EventQuery::new()).await.unwrap(), 0);
}

pub(crate) async fn a_dropped_stream_holds_nothing(backend: Backend) {
    let (store, all) = filled(backend).await;
    let log = log();
    let mut kept = Vec::new();
    for _ in 0..200 {
        let mut stream = store.stream(&log, EventQuery::new().with_limit(2));
        assert_eq!(stream.next().await.unwrap().unwrap(), all[0]);
        kept.push(stream);
    }
    put(&*store, commit(&log, vec![note("a", 1)])).await;
    drop(kept);
    put(&*store, commit(&log, vec![note("a", 2)])).await;
    assert_eq!(events(&*store, &log).await.len(), 122);
}

pub(crate) async fn count_is_the_length(backend: Backend) {
    let (store, all) = filled(backend).await;
    for query in single_filters(&all) {
        let expected = all.iter().filter(|event| matches(&query, event)).count() as u64;
        assert_eq!(store.count(&log(), query.clone().with_limit(1)).await.unwrap(), expected, "{query:?}");
    }
}
