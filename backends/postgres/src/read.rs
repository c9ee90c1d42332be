//! Reading pages of events.

use std::sync::Arc;

use rekindle_core::types::{Event, EventQuery, LogId, Order, Position};
use rekindle_core::{Error, Result};
use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use sqlx::{Postgres, Row};

use crate::error::{classify, damaged};
use crate::rows::{Events, action_type_code, bound};
use crate::store::{Store, tenant};

impl Store {
    /// The first events that pass a query, `limit` at the most, between two positions, both inclusive.
    ///
    /// The statement is one of a fixed number of texts: which filters are in it depends on which are asked for. But one by time
    /// is a text of its own for each span, which is planned for that: whether the index by time is of use depends on how much
    /// of the log the span is.
    pub(crate) async fn page(
        self: &Arc<Self>,
        log: &LogId,
        query: &EventQuery,
        (first, last): (Position, Position),
        limit: usize,
    ) -> Result<Vec<Event>> {
        let text = text(query);
        let statement = bind(sqlx::query(self.sql.composed(&text)).persistent(!is_by_time(query)), log, query)
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

fn is_by_time(query: &EventQuery) -> bool {
    query.occurred_from.is_some() || query.occurred_until.is_some()
}

fn is_unfiltered(query: &EventQuery) -> bool {
    let EventQuery { id, resource, record_id, action, action_type, actor, .. } = query;
    id.is_none()
        && resource.is_none()
        && record_id.is_none()
        && action.is_none()
        && action_type.is_none()
        && actor.is_none()
        && !is_by_time(query)
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
    let log = "(SELECT l.id FROM @schema@.logs l WHERE l.name = $1 AND l.tenant = $2)";
    let (mut text, mut place) = if query.id.is_some() {
        // By the one index that begins with the id: as long as the table is empty, the planner would take any.
        let by_id = format!("SELECT * FROM @schema@.events k WHERE k.id = $3 AND k.log + 0 = {log} OFFSET 0");
        (format!("SELECT @event_columns@ FROM ({by_id}) e WHERE true"), 3)
    } else {
        (format!("SELECT @event_columns@ FROM @schema@.events e WHERE e.log = {log}"), 2)
    };
    let mut add = |text: &mut String, asked: bool, condition: &str| {
        if asked {
            place += 1;
            text.push_str(&condition.replace('?', &format!("${place}")));
        }
    };
    add(&mut text, query.resource.is_some(), " AND e.resource = ?");
    add(&mut text, query.record_id.is_some(), " AND e.record_id = ?");
    add(&mut text, query.action.is_some(), " AND e.action = ?");
    add(&mut text, query.action_type.is_some(), " AND e.action_type = ?");
    add(&mut text, query.actor.is_some(), " AND e.actor_kind = ?");
    add(&mut text, query.actor.is_some(), " AND e.actor_id = ?");
    for (time, than) in [(query.occurred_from, ">="), (query.occurred_until, "<=")] {
        if let Some(time) = time {
            text.push_str(&format!(" AND e.occurred_at {than} '{}'::bigint", time.as_microseconds()));
        }
    }
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
    bound
}

/// For the plans in the documentation, as `EXPLAIN` tells them: those that are made once for all values.
#[doc(hidden)]
impl crate::PostgresBackend {
    /// The plan of a page of events.
    pub async fn explain(&self, query: &EventQuery) -> Result<Vec<String>> {
        self.explained(&text(query)).await
    }

    /// The plan of a page of records.
    pub async fn explain_records(&self, order: Order) -> Result<Vec<String>> {
        self.explained(match order {
            Order::Forward => include_str!("sql/list_forward.sql"),
            Order::Backward => include_str!("sql/list_backward.sql"),
        })
        .await
    }

    async fn explained(&self, text: &str) -> Result<Vec<String>> {
        let values = (1..).take_while(|place| text.contains(&format!("${place}"))).map(|_| "NULL");
        let values = values.collect::<Vec<_>>().join(", ");
        let explained = format!(
            "PREPARE explained AS {text}; EXPLAIN (COSTS OFF) EXECUTE explained({values}); DEALLOCATE explained"
        );
        let mut connection = self.store.connection().await?;
        let rows = sqlx::raw_sql(self.store.sql.composed(&explained)).fetch_all(&mut *connection).await;
        rows.map_err(classify)?.iter().map(|row| row.try_get(0).map_err(classify)).collect()
    }
}

#[cfg(test)]
mod tests {
    use rekindle_core::store::{EventStore, ResourceStore};
    use rekindle_core::types::{RecordId, RecordKey, RecordQuery, ResourceName, Timestamp};

    use super::*;
    use crate::rows::Columns;
    use crate::{PostgresBackend, PostgresConfig};

    #[tokio::test]
    async fn what_is_read_is_planned_once_and_a_span_of_time_each_time() {
        let Some(server) = rekindle_test_servers::postgres() else { return };
        let config = PostgresConfig::new().with_schema(server.fresh_schema()).unwrap().with_max_connections(1);
        PostgresBackend::migrate(server.url(), &config).await.unwrap();
        let backend = PostgresBackend::connect_with(server.url(), config).await.unwrap();
        let log = LogId::new("main").unwrap();
        let resource = ResourceName::new("shop.order").unwrap();
        let key = RecordKey { resource: resource.clone(), id: RecordId::new("a").unwrap() };
        for second in 0..20 {
            let limit = 1 + second as usize;
            backend.read(&log, &EventQuery::new().with_limit(limit)).await.unwrap();
            backend.read(&log, &EventQuery::new().with_record(key.clone()).with_limit(limit)).await.unwrap();
            let of_a_second = EventQuery::new().with_occurred_from(Timestamp::from_seconds(second).unwrap());
            backend.read(&log, &of_a_second).await.unwrap();
            backend.list(&log, &RecordQuery::new(resource.clone()).with_limit(limit)).await.unwrap();
            backend.get(&log, std::slice::from_ref(&key)).await.unwrap();
            backend.head(&log).await.unwrap();
        }
        let of_all = EventQuery::new().with_occurred_from(Timestamp::min()).with_occurred_until(Timestamp::max());
        backend.read(&log, &of_all).await.unwrap();
        let counted = "SELECT statement, generic_plans, custom_plans FROM pg_prepared_statements
            WHERE generic_plans + custom_plans > 1";
        let rows = backend.store.read(sqlx::query(counted)).await.unwrap();
        assert_eq!(rows.len(), 5, "a page, one of a record, a list, a get, a head");
        for row in &rows {
            let columns = Columns(row);
            let counts = (columns.int8(1).unwrap(), columns.int8(2).unwrap());
            assert_eq!(counts, (20, 0), "{}", columns.text(0).unwrap());
        }
    }
}
