//! Reading pages of events.

use std::sync::Arc;

use rekindle_core::types::{Event, EventQuery, LogId, Order, Position};
use rekindle_core::{Error, Result};
use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Postgres};

use crate::error::damaged;
use crate::rows::{Events, action_type_code, bound};
use crate::store::{Store, tenant};

impl Store {
    /// The first events that pass a query, `limit` at the most, between two positions, both inclusive.
    ///
    /// The statement is one of a fixed number of texts: which filters are in it depends on which are asked for.
    pub(crate) async fn page(
        self: &Arc<Self>,
        log: &LogId,
        query: &EventQuery,
        (first, last): (Position, Position),
        limit: usize,
    ) -> Result<Vec<Event>> {
        let text = text(query);
        let statement = bind(sqlx::query(self.sql.composed(&text)), log, query)
            .bind(bound(first.get()))
            .bind(bound(last.get()))
            .bind(i64::try_from(limit).unwrap_or(i64::MAX));
        let rows = self.read(statement).await?;
        let mut decode = Events::default();
        let events: Vec<Event> = rows
            .iter()
            .map(|row| decode.decode(row))
            .collect::<Result<_>>()
            .map_err(|error: Error| error.at(format!("the log {log}")))?;
        if is_unfiltered(query) {
            check_dense(&events, query.order, first).map_err(|error| error.at(format!("the log {log}")))?;
        }
        Ok(events)
    }
}

fn is_unfiltered(query: &EventQuery) -> bool {
    let EventQuery { id, resource, record_id, action, action_type, actor, occurred_from, occurred_until, .. } = query;
    id.is_none()
        && resource.is_none()
        && record_id.is_none()
        && action.is_none()
        && action_type.is_none()
        && actor.is_none()
        && occurred_from.is_none()
        && occurred_until.is_none()
}

/// Positions are dense: what is missing is damage, and is not passed over.
fn check_dense(events: &[Event], order: Order, first: Position) -> Result<()> {
    let missing = |position: Position| Err(damaged(format!("the event at position {position} is missing")));
    if let (Order::Forward, Some(event)) = (order, events.first())
        && event.position != first
    {
        return missing(first);
    }
    for pair in events.windows(2) {
        if let [before, after] = pair {
            let (low, high) = match order {
                Order::Forward => (before.position, after.position),
                Order::Backward => (after.position, before.position),
            };
            if low.next() != high {
                return missing(low.next());
            }
        }
    }
    Ok(())
}

/// The statement for the filters that are asked for.
fn text(query: &EventQuery) -> String {
    let mut text = "SELECT @event_columns@ FROM @schema@.events e \
        WHERE e.log = (SELECT l.id FROM @schema@.logs l WHERE l.name = $1 AND l.tenant = $2)"
        .to_owned();
    let mut place = 2;
    let mut add = |text: &mut String, asked: bool, condition: &str| {
        if asked {
            place += 1;
            text.push_str(&condition.replace('?', &format!("${place}")));
        }
    };
    add(&mut text, query.id.is_some(), " AND e.id = ?");
    add(&mut text, query.resource.is_some(), " AND e.resource = ?");
    add(&mut text, query.record_id.is_some(), " AND e.record_id = ?");
    add(&mut text, query.action.is_some(), " AND e.action = ?");
    add(&mut text, query.action_type.is_some(), " AND e.action_type = ?");
    add(&mut text, query.actor.is_some(), " AND e.actor_kind = ?");
    add(&mut text, query.actor.is_some(), " AND e.actor_id = ?");
    add(&mut text, query.occurred_from.is_some(), " AND e.occurred_at >= ?");
    add(&mut text, query.occurred_until.is_some(), " AND e.occurred_at <= ?");
    add(&mut text, true, " AND e.position >= ?");
    add(&mut text, true, " AND e.position <= ?");
    text.push_str(match query.order {
        Order::Forward => " ORDER BY e.position",
        Order::Backward => " ORDER BY e.position DESC",
    });
    add(&mut text, true, " LIMIT ?");
    text
}

type Bound<'q> = Query<'q, Postgres, PgArguments>;

/// Binds the log and the filters, in the order of the text.
fn bind<'q>(bound: Bound<'q>, log: &'q LogId, query: &'q EventQuery) -> Bound<'q> {
    let mut bound = bound.bind(log.name.as_str()).bind(tenant(log));
    if let Some(id) = query.id {
        bound = bound.bind(*id.as_uuid());
    }
    if let Some(resource) = &query.resource {
        bound = bound.bind(resource.as_str());
    }
    if let Some(record_id) = &query.record_id {
        bound = bound.bind(record_id.as_str());
    }
    if let Some(action) = &query.action {
        bound = bound.bind(action.as_str());
    }
    if let Some(action_type) = query.action_type {
        bound = bound.bind(action_type_code(action_type));
    }
    if let Some(actor) = &query.actor {
        bound = bound.bind(actor.kind().as_str()).bind(actor.id());
    }
    if let Some(from) = query.occurred_from {
        bound = bound.bind(from.as_microseconds());
    }
    if let Some(until) = query.occurred_until {
        bound = bound.bind(until.as_microseconds());
    }
    bound
}

/// For the plans in the documentation.
#[doc(hidden)]
impl crate::PostgresBackend {
    /// The plan of a query, as `EXPLAIN` tells it.
    pub async fn explain(&self, log: &LogId, query: &EventQuery) -> Result<Vec<String>> {
        let (first, last) = query.range().unwrap_or((Position::ZERO, Position::ZERO));
        let explained = crate::sql::of_schema(&format!("EXPLAIN (COSTS OFF) {}", text(query)), self.store.schema());
        let statement = bind(sqlx::query(AssertSqlSafe(explained)), log, query)
            .bind(bound(first.get()))
            .bind(bound(last.get()))
            .bind(i64::try_from(query.limit).unwrap_or(i64::MAX));
        let rows = self.store.read(statement).await?;
        rows.iter().map(|row| crate::rows::Columns(row).text(0).map(str::to_owned)).collect()
    }
}
