//! Reading pages of events.

use rekindle_core::types::{Event, EventQuery, LogId, Order, Position};
use rekindle_core::{Error, Result};
use sled::IVec;

use crate::keys::{self, LogNumber};
use crate::rows;
use crate::store::Store;

/// A page while it is filled.
struct Filling<'a> {
    query: &'a EventQuery,
    limit: usize,
    items: Vec<Event>,
}

impl Filling<'_> {
    /// Takes an event if it passes, and tells whether the page is full.
    fn push(&mut self, event: Event) -> bool {
        if self.query.matches(&event) {
            self.items.push(event);
        }
        self.items.len() >= self.limit
    }
}

impl Store {
    /// The first events that pass a query, `limit` at the most, which is not 0.
    ///
    /// The head is read first, and a head is seen together with all of its batch. So the events up to it are there; they
    /// never change, and those above it are left out.
    pub(crate) fn read(&self, log: &LogId, query: &EventQuery, limit: usize) -> Result<Vec<Event>> {
        self.disk.check()?;
        let (Some((number, head)), Some((first, last))) = (self.log(log)?, query.range()) else {
            return Ok(Vec::new());
        };
        let last = last.min(head.position);
        if first > last {
            return Ok(Vec::new());
        }
        let mut page = Filling { query, limit, items: Vec::new() };
        if let Some(id) = query.id {
            let position = self.position(number, id)?.filter(|position| (first..=last).contains(position));
            if let Some(position) = position {
                page.push(self.event(number, position)?);
            }
        } else if let (Some(resource), Some(id)) = (&query.resource, &query.record_id) {
            let of = |position| keys::history(number, resource, id, position);
            for row in self.ordered(query.order, of(first), of(last)) {
                if page.push(self.event(number, position_of(&row?.0)?)?) {
                    break;
                }
            }
        } else {
            self.scan(number, first, last, &mut page)?;
        }
        Ok(page.items)
    }

    /// Goes through the events one by one, and sees to it that none is missing.
    fn scan(&self, log: LogNumber, first: Position, last: Position, page: &mut Filling<'_>) -> Result<()> {
        let mut rows = self.ordered(page.query.order, keys::event(log, first), keys::event(log, last));
        let mut position = if page.query.order == Order::Forward { first } else { last };
        loop {
            match rows.next().transpose()? {
                Some((key, row)) if position_of(&key)? == position => {
                    if page.push(rows::decode_event(&row, position)?) {
                        return Ok(());
                    }
                }
                _ => return Err(Error::corrupt(format!("the event at position {position} is missing"))),
            }
            position = match page.query.order {
                Order::Forward if position < last => position.next(),
                Order::Backward if position > first => Position::new(position.get() - 1),
                _ => return Ok(()),
            };
        }
    }

    /// The rows between two keys, both inclusive, in this order.
    fn ordered(
        &self,
        order: Order,
        first: Vec<u8>,
        last: Vec<u8>,
    ) -> Box<dyn Iterator<Item = Result<(IVec, IVec)>> + '_> {
        let rows = self.rows(first..=last);
        match order {
            Order::Forward => Box::new(rows),
            Order::Backward => Box::new(rows.rev()),
        }
    }
}

fn position_of(key: &[u8]) -> Result<Position> {
    keys::position(key).ok_or_else(|| Error::corrupt("the key of an event is damaged"))
}
