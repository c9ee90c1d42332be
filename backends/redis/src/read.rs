//! Reading pages of events.
//!
//! Events never change, and a log only grows. So a page is read by plain commands, one for each list that it is in, all at
//! once; where a list ends early, the log did end there at that moment, and what a later list gave is left out.

use futures::future::try_join_all;
use redis::{Value, cmd};
use rekindle_core::store::Head;
use rekindle_core::types::{Event, EventQuery, LogId, Order, Position};
use rekindle_core::{Error, Result};

use crate::functions;
use crate::keys::{Bucket, SEGMENT, Tag, place};
use crate::rows;
use crate::store::{Effect, Store, bytes, parts, text};

/// The first and the last position of a range.
type Range = (Position, Position);

/// How many events of one record are asked for at once: the server is busy with it.
const HISTORY: usize = 500;
/// How many events are looked at in one step when a query has filters.
const STEP: u64 = 2_000;
/// The largest position that Lua can tell.
const LARGEST: u64 = 1 << 53;

impl Store {
    pub(crate) async fn head(&self, log: &LogId) -> Result<Head> {
        let mut get = cmd("HMGET");
        get.arg(self.tag(log).head()).arg("v").arg("p").arg("g").arg("s");
        let fields = parts(self.call(&get, Effect::None).await?, "HMGET")?;
        let fields: Vec<_> = fields.into_iter().map(|field| bytes(field, "HMGET")).collect::<Result<_>>()?;
        rows::decode_head(&fields).map_err(|e| e.at(format!("the log {log}")))
    }

    /// The first events of a range that pass a query, `limit` at the most, which is not 0.
    pub(crate) async fn page(&self, log: &LogId, query: &EventQuery, range: Range, limit: usize) -> Result<Vec<Event>> {
        let tag = self.tag(log);
        let page = if let Some(id) = query.id {
            let answer = self
                .function(functions::EVENT, &[tag.head()], Effect::None, |call| {
                    call.arg(tag.as_str()).arg(Bucket::of(id).to_string()).arg(&id.as_uuid().as_bytes()[..]);
                })
                .await?;
            let found = placed(parts(answer, "event")?)?;
            Ok(found.into_iter().filter(|event| in_range(event, range) && query.matches(event)).collect())
        } else if query.resource.is_some() && query.record_id.is_some() {
            self.history(&tag, query, range, limit).await
        } else if has_filters(query) {
            self.filtered(log, &tag, query, range, limit).await
        } else {
            self.plain(log, &tag, query.order, range, limit).await
        };
        page.map_err(|e: Error| e.at(format!("the log {log}")))
    }

    /// Events without a filter: all of them in a row.
    async fn plain(&self, log: &LogId, tag: &Tag, order: Order, range: Range, limit: usize) -> Result<Vec<Event>> {
        let (mut first, mut last) = range;
        let most = u64::try_from(limit).unwrap_or(u64::MAX);
        match order {
            Order::Forward => {
                last = last.min(Position::new(first.get().saturating_add(most - 1)));
                self.events(tag, (first, last)).await
            }
            Order::Backward => {
                last = last.min(self.head(log).await?.position);
                if first > last {
                    return Ok(Vec::new());
                }
                first = first.max(Position::new(last.get().saturating_sub(most - 1)));
                let mut events = self.events_up_to(tag, (first, last)).await?;
                events.reverse();
                Ok(events)
            }
        }
    }

    /// Events that pass a query, looked for step by step.
    async fn filtered(
        &self,
        log: &LogId,
        tag: &Tag,
        query: &EventQuery,
        range: Range,
        limit: usize,
    ) -> Result<Vec<Event>> {
        let (mut first, mut last) = (range.0, range.1.min(self.head(log).await?.position));
        let mut page = Vec::new();
        while first <= last {
            let step = match query.order {
                Order::Forward => (first, last.min(Position::new(first.get() + STEP - 1))),
                Order::Backward => (first.max(Position::new(last.get().saturating_sub(STEP - 1))), last),
            };
            let mut events = self.events_up_to(tag, step).await?;
            if query.order == Order::Backward {
                events.reverse();
            }
            page.extend(events.into_iter().filter(|event| query.matches(event)).take(limit - page.len()));
            if page.len() == limit {
                break;
            }
            match query.order {
                Order::Forward => first = step.1.next(),
                Order::Backward if step.0.get() <= 1 => break,
                Order::Backward => last = Position::new(step.0.get() - 1),
            }
        }
        Ok(page)
    }

    /// Events of one record, by its chain.
    async fn history(&self, tag: &Tag, query: &EventQuery, range: Range, limit: usize) -> Result<Vec<Event>> {
        let (Some(resource), Some(id)) = (&query.resource, &query.record_id) else { return Ok(Vec::new()) };
        let (mut first, mut last) = (range.0.get().min(LARGEST), range.1.get().min(LARGEST));
        let order = if query.order == Order::Forward { "f" } else { "b" };
        let mut page = Vec::new();
        while first <= last {
            let answer = self
                .function(functions::HISTORY, &[tag.head()], Effect::None, |call| {
                    call.arg(tag.as_str()).arg(resource.as_str()).arg(id.as_str());
                    call.arg(first).arg(last).arg(order).arg(HISTORY.min(limit));
                })
                .await?;
            let events = placed(parts(answer, "history")?)?;
            let whole = events.len() < HISTORY.min(limit);
            let Some(end) = events.last().map(|event| event.position.get()) else { break };
            page.extend(events.into_iter().filter(|event| query.matches(event)).take(limit - page.len()));
            if whole || page.len() == limit {
                break;
            }
            match query.order {
                Order::Forward => first = end + 1,
                Order::Backward => last = end - 1,
            }
        }
        Ok(page)
    }

    /// The events of a range that is in the log.
    async fn events_up_to(&self, tag: &Tag, range: Range) -> Result<Vec<Event>> {
        let events = self.events(tag, range).await?;
        if events.last().is_some_and(|event| event.position == range.1) {
            Ok(events)
        } else {
            let missing = events.last().map_or(range.0, |event| event.position.next());
            Err(Error::corrupt(format!("the event at position {missing} is missing")))
        }
    }

    /// The events of a range, up to the end of the log.
    async fn events(&self, tag: &Tag, (first, last): Range) -> Result<Vec<Event>> {
        let ((first_list, start), (last_list, end)) = (place(first), place(last));
        let lists = (first_list..=last_list).map(|list| {
            let from = if list == first_list { start } else { 0 };
            let to = if list == last_list { end } else { SEGMENT - 1 };
            async move {
                let mut range = cmd("LRANGE");
                range.arg(tag.segment(list)).arg(from).arg(to);
                let rows = parts(self.call(&range, Effect::None).await?, "LRANGE")?;
                Ok::<_, Error>((list * SEGMENT + from + 1, to - from + 1, rows))
            }
        });
        let mut events = Vec::new();
        for (position, expected, rows) in try_join_all(lists).await? {
            let ended = u64::try_from(rows.len()).unwrap_or(u64::MAX) < expected;
            for (row, position) in rows.into_iter().zip(position..) {
                events.push(event(row, Position::new(position))?);
            }
            if ended {
                break;
            }
        }
        Ok(events)
    }
}

fn has_filters(query: &EventQuery) -> bool {
    query.resource.is_some()
        || query.record_id.is_some()
        || query.action.is_some()
        || query.action_type.is_some()
        || query.actor.is_some()
        || query.occurred_from.is_some()
        || query.occurred_until.is_some()
}

fn in_range(event: &Event, (first, last): Range) -> bool {
    (first..=last).contains(&event.position)
}

fn event(row: Value, position: Position) -> Result<Event> {
    let row = bytes(row, "LRANGE")?.unwrap_or_default();
    rows::decode_event(&row, position).map_err(|e| e.at(format!("the event at position {position}")))
}

/// Events from positions and rows.
fn placed(parts: Vec<Value>) -> Result<Vec<Event>> {
    let mut parts = parts.into_iter();
    let mut events = Vec::with_capacity(parts.len() / 2);
    while let Some(position) = parts.next() {
        let position = Position::new(rows::number(text(position, "a position")?.as_bytes())?);
        events.push(event(parts.next().unwrap_or_default(), position)?);
    }
    Ok(events)
}
