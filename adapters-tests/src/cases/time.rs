//! When events occurred.

use rekindle_core::types::{EventQuery, NewEvent, Timestamp};

use crate::fixture::Backend;
use crate::look::{events, put, stream};
use crate::sample::{at, commit, event, log, number, only};

fn when(occurred_at: Timestamp) -> NewEvent {
    NewEvent { occurred_at, ..event("a", number(1)) }
}

async fn round_trip(backend: Backend, times: &[Timestamp]) {
    let store = backend.open().await.store;
    put(&*store, commit(&log(), times.iter().map(|time| only(when(*time))).collect())).await;
    let stored: Vec<Timestamp> = events(&*store, &log()).await.iter().map(|event| event.occurred_at).collect();
    assert_eq!(stored, times);
}

pub(crate) async fn microseconds_round_trip(backend: Backend) {
    let times: Vec<Timestamp> =
        [0, 1, 999, 1_000, 999_999, 1_000_000].map(|part| at(1_795_000_000_000_000 + part)).to_vec();
    round_trip(backend, &times).await;
}

pub(crate) async fn the_whole_range_round_trips(backend: Backend) {
    let near = |time: Timestamp, by: i64| at(time.as_microseconds() + by);
    let (min, max) = (Timestamp::min(), Timestamp::max());
    round_trip(backend, &[min, near(min, 1), at(-1_000_001), at(-1_000_000), at(-1), at(0), at(1), near(max, -1), max])
        .await;
}

pub(crate) async fn a_clock_that_goes_back_keeps_the_order(backend: Backend) {
    let store = backend.open().await.store;
    for (nth, time) in [5, 3, 9, -1, 3, 0].into_iter().enumerate() {
        let committed = put(&*store, commit(&log(), vec![only(when(at(time)))])).await;
        assert_eq!(committed.events[0].position.get(), nth as u64 + 1);
    }
    let stored: Vec<i64> =
        events(&*store, &log()).await.iter().map(|event| event.occurred_at.as_microseconds()).collect();
    assert_eq!(stored, [5, 3, 9, -1, 3, 0]);
    let from = stream(&*store, &log(), EventQuery::new().with_occurred_from(at(3)).with_limit(1)).await;
    let positions: Vec<u64> = from.iter().map(|event| event.position.get()).collect();
    assert_eq!(positions, [1, 2, 3, 5], "a filter by time keeps the order of positions");
}

pub(crate) async fn time_filters_are_exact_at_the_boundary(backend: Backend) {
    let store = backend.open().await.store;
    for base in [0, -1_000_000, 1_795_000_000_123_456] {
        put(&*store, commit(&log(), (-2..=2).map(|by| only(when(at(base + by)))).collect())).await;
        for (from, until) in (-3..=3).flat_map(|from| (-3..=3).map(move |until| (from, until))) {
            let query = EventQuery::new().with_occurred_from(at(base + from)).with_occurred_until(at(base + until));
            let found: Vec<i64> = stream(&*store, &log(), query)
                .await
                .iter()
                .map(|event| event.occurred_at.as_microseconds() - base)
                .collect();
            assert_eq!(
                found,
                (-2..=2).filter(|by| (from..=until).contains(by)).collect::<Vec<_>>(),
                "from {from} until {until}"
            );
        }
    }
}

pub(crate) async fn a_moment_is_the_same_in_any_time_zone(backend: Backend) {
    let store = backend.open().await.store;
    let texts = ["2026-03-29T01:30:00Z", "2026-03-29T03:30:00+02:00", "2026-03-28T15:30:00-10:00"];
    let times = texts.map(|text| text.parse::<Timestamp>().unwrap());
    put(&*store, commit(&log(), times.iter().map(|time| only(when(*time))).collect())).await;
    for time in times {
        let query = EventQuery::new().with_occurred_from(time).with_occurred_until(time);
        assert_eq!(stream(&*store, &log(), query).await.len(), 3);
    }
    assert!(events(&*store, &log()).await.iter().all(|event| event.occurred_at.to_string() == texts[0]));
}
