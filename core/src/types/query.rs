//! What is read: filters, bounds, pages and cursors.

use std::fmt;
use std::str::FromStr;

use super::actor::Actor;
use super::event::{ActionType, Event, EventId};
use super::name::{ActionName, ResourceName};
use super::position::Position;
use super::record::{RecordId, RecordKey};
use super::time::Timestamp;
use crate::error::{Error, Result};

/// The direction of a read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// From the lowest up.
    #[default]
    Forward,
    /// From the highest down.
    Backward,
}

/// A part of a result, and where the next part begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T, C> {
    /// The rows.
    pub items: Vec<T>,
    /// Set as the cursor of the same query, it gives the next page; `None` if there is no more. A page can be full and be
    /// the last, and then the next one is empty.
    pub next: Option<C>,
}

impl<T, C> Page<T, C> {
    /// A page without rows, the last.
    #[must_use]
    pub const fn empty() -> Self {
        Self { items: Vec::new(), next: None }
    }
}

/// Which events of a log, and how many. The default is all of them from the first on, in pages of 1,000.
///
/// Filters compose as AND, and compare text byte by byte. The limit counts the events that pass.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct EventQuery {
    /// Events above this position: exclusive.
    pub after: Option<Position>,
    /// Events up to this position: inclusive.
    pub up_to: Option<Position>,
    /// The event with this id.
    pub id: Option<EventId>,
    /// Events of this resource.
    pub resource: Option<ResourceName>,
    /// Events of records with this id.
    pub record_id: Option<RecordId>,
    /// Events of this action.
    pub action: Option<ActionName>,
    /// Events of this type.
    pub action_type: Option<ActionType>,
    /// Events of this actor.
    pub actor: Option<Actor>,
    /// Events that occurred at this time or later: inclusive.
    pub occurred_from: Option<Timestamp>,
    /// Events that occurred at this time or earlier: inclusive.
    pub occurred_until: Option<Timestamp>,
    /// The direction.
    pub order: Order,
    /// Continue behind this position, in the direction of the query: what a [`Page`] gave as its next.
    pub cursor: Option<Position>,
    /// How many events at the most; 0 gives none. Cut to the store's `page_rows`.
    pub limit: usize,
}

impl Default for EventQuery {
    fn default() -> Self {
        Self {
            after: None,
            up_to: None,
            id: None,
            resource: None,
            record_id: None,
            action: None,
            action_type: None,
            actor: None,
            occurred_from: None,
            occurred_until: None,
            order: Order::Forward,
            cursor: None,
            limit: 1_000,
        }
    }
}

/// Declares the setters of a query.
macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident: $field:ident: $type:ty;)*) => {
        $($(#[$doc])*
        #[must_use]
        pub fn $name(mut self, $field: $type) -> Self {
            self.$field = Some($field);
            self
        })*
    };
}

impl EventQuery {
    /// All events.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    setters! {
        /// Only events above this position.
        with_after: after: Position;
        /// Only events up to this position, and including it.
        with_up_to: up_to: Position;
        /// Only the event with this id.
        with_id: id: EventId;
        /// Only events of this resource.
        with_resource: resource: ResourceName;
        /// Only events of records with this id.
        with_record_id: record_id: RecordId;
        /// Only events of this action.
        with_action: action: ActionName;
        /// Only events of this type.
        with_action_type: action_type: ActionType;
        /// Only events of this actor.
        with_actor: actor: Actor;
        /// Only events that occurred at this time or later.
        with_occurred_from: occurred_from: Timestamp;
        /// Only events that occurred at this time or earlier.
        with_occurred_until: occurred_until: Timestamp;
        /// Continue behind this position.
        with_cursor: cursor: Position;
    }

    /// Only events of this record.
    #[must_use]
    pub fn with_record(self, key: RecordKey) -> Self {
        self.with_resource(key.resource).with_record_id(key.id)
    }

    /// In this direction.
    #[must_use]
    pub fn with_order(mut self, order: Order) -> Self {
        self.order = order;
        self
    }

    /// At most so many.
    #[must_use]
    pub fn with_limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// The first and the last position that can be in the result, both inclusive, with the cursor taken in; `None` if
    /// there can be none.
    #[must_use]
    pub fn range(&self) -> Option<(Position, Position)> {
        let mut first = self.after.map_or(Position::new(1), Position::next);
        let mut last = self.up_to.unwrap_or(Position::new(u64::MAX));
        if self.after == Some(Position::new(u64::MAX)) {
            return None;
        }
        match (self.order, self.cursor) {
            (_, None) => {}
            (Order::Forward, Some(cursor)) if cursor.get() == u64::MAX => return None,
            (Order::Forward, Some(cursor)) => first = first.max(cursor.next()),
            (Order::Backward, Some(cursor)) => last = last.min(Position::new(cursor.get().saturating_sub(1))),
        }
        (first <= last).then_some((first, last))
    }

    /// Whether an event passes the filters; bounds and cursor are left to [`range`](Self::range).
    #[must_use]
    pub fn matches(&self, event: &Event) -> bool {
        self.id.is_none_or(|id| id == event.id)
            && self.resource.as_ref().is_none_or(|resource| *resource == event.resource)
            && self.record_id.as_ref().is_none_or(|record_id| *record_id == event.record_id)
            && self.action.as_ref().is_none_or(|action| *action == event.action)
            && self.action_type.is_none_or(|action_type| action_type == event.action_type)
            && self.actor.as_ref().is_none_or(|actor| event.actor.as_ref() == Some(actor))
            && self.occurred_from.is_none_or(|from| event.occurred_at >= from)
            && self.occurred_until.is_none_or(|until| event.occurred_at <= until)
    }
}

/// Which records of a log: those of one resource, sorted by the bytes of their ids, in pages of 1,000 unless told
/// otherwise.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct RecordQuery {
    /// The resource.
    pub resource: ResourceName,
    /// The direction.
    pub order: Order,
    /// Continue behind this cursor: what a [`Page`] gave as its next.
    pub cursor: Option<RecordCursor>,
    /// How many records at the most; 0 gives none. Cut to the store's `page_rows`.
    pub limit: usize,
}

impl RecordQuery {
    /// All records of a resource.
    #[must_use]
    pub fn new(resource: ResourceName) -> Self {
        Self { resource, order: Order::Forward, cursor: None, limit: 1_000 }
    }

    /// In this direction.
    #[must_use]
    pub fn with_order(mut self, order: Order) -> Self {
        self.order = order;
        self
    }

    /// Continue behind this cursor.
    #[must_use]
    pub fn with_cursor(mut self, cursor: RecordCursor) -> Self {
        self.cursor = Some(cursor);
        self
    }

    /// At most so many.
    #[must_use]
    pub fn with_limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// The record behind which the page begins. Every backend reads the cursor by this.
    ///
    /// # Errors
    ///
    /// `Invalid` for the cursor of another resource.
    pub fn cursor_id(&self) -> Result<Option<&RecordId>> {
        match &self.cursor {
            Some(RecordCursor(key)) if key.resource != self.resource => Err(Error::invalid(format!(
                "the cursor is of the resource {}, and the query of {}",
                key.resource, self.resource
            ))),
            Some(RecordCursor(key)) => Ok(Some(&key.id)),
            None => Ok(None),
        }
    }
}

/// Where a page of records ended. It stays good when records come and go, its own among them. As text, it can be handed
/// to a client and taken back: text that was never a cursor is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordCursor(RecordKey);

impl RecordCursor {
    /// The cursor behind this record.
    #[must_use]
    pub const fn new(key: RecordKey) -> Self {
        Self(key)
    }
}

/// A checksum of a cursor's text: it tells a forged or cut one, and is no signature.
fn checksum(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

impl fmt::Display for RecordCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        write!(f, "{:08x}.{text}", checksum(&text))
    }
}

impl FromStr for RecordCursor {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let forged = || Error::invalid(format!("{text:?} is no cursor of records"));
        let (sum, key) = text.split_once('.').ok_or_else(forged)?;
        if sum != format!("{:08x}", checksum(key)) {
            return Err(forged());
        }
        let (resource, id) = key.split_once('/').ok_or_else(forged)?;
        RecordKey::new(resource, id).map(Self).map_err(|_| forged())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_text_and_a_forged_one_is_refused() {
        let cursor = RecordCursor::new(RecordKey::new("shop.order", "a/b.c d'%\u{1f980}").unwrap());
        assert_eq!(cursor.to_string().parse::<RecordCursor>().unwrap(), cursor);
        for forged in ["", "0", "00000000.shop.order/1", &cursor.to_string()[1..]] {
            let error = forged.parse::<RecordCursor>().unwrap_err();
            assert_eq!(error.message(), format!("{forged:?} is no cursor of records"));
        }
    }

    #[test]
    fn a_range_takes_in_bounds_and_cursor() {
        let range = |query: EventQuery| query.range().map(|(first, last)| (first.get(), last.get()));
        let bounded = EventQuery::new().with_after(Position::new(3)).with_up_to(Position::new(9));
        assert_eq!(range(bounded.clone()), Some((4, 9)));
        assert_eq!(range(bounded.clone().with_cursor(Position::new(6))), Some((7, 9)));
        assert_eq!(range(bounded.clone().with_cursor(Position::new(6)).with_order(Order::Backward)), Some((4, 5)));
        assert_eq!(range(bounded.clone().with_cursor(Position::new(9))), None);
        assert_eq!(range(bounded.with_after(Position::new(u64::MAX))), None);
    }
}
