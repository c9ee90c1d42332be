//! Orders: a state machine with conditions.

use std::fmt;

use rekindle::{Action, Context, Create, Rejection, Resource, Timestamp, Update};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Resource)]
#[resource(name = "shop.order", actions(Place, ReceivePayment, Ship, Cancel))]
pub(crate) struct Order {
    #[resource(id)]
    pub(crate) number: u32,
    pub(crate) customer: Uuid,
    pub(crate) lines: Vec<Line>,
    /// In cents, as all money here.
    pub(crate) total: u64,
    pub(crate) paid: u64,
    pub(crate) status: Status,
    #[resource(created_at)]
    pub(crate) placed_at: Timestamp,
    #[resource(updated_at)]
    pub(crate) changed_at: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Line {
    pub(crate) item: String,
    pub(crate) quantity: u32,
    pub(crate) cents: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Status {
    Placed,
    Paid,
    Shipped,
    Cancelled,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Placed => "placed",
            Self::Paid => "paid",
            Self::Shipped => "shipped",
            Self::Cancelled => "cancelled",
        })
    }
}

impl Order {
    pub(crate) fn new(number: u32, customer: Uuid, lines: Vec<Line>, cx: &Context) -> Result<Self, Rejection> {
        let total = lines.iter().map(|line| u64::from(line.quantity) * line.cents).sum();
        if total == 0 {
            return Err(Rejection::new("an order has something in it"));
        }
        let status = Status::Placed;
        Ok(Self { number, customer, lines, total, paid: 0, status, placed_at: cx.now(), changed_at: cx.now() })
    }

    /// All ways from one status to another, each with its condition.
    fn turn(&mut self, next: Status) -> Result<(), Rejection> {
        let allowed = match (self.status, next) {
            (Status::Placed, Status::Paid) => self.paid == self.total,
            (Status::Placed, Status::Cancelled) => self.paid == 0,
            (Status::Paid, Status::Shipped) => true,
            _ => false,
        };
        if !allowed {
            let Self { number, status, paid, total, .. } = self;
            return Err(Rejection::new(format!(
                "order {number} is {status}, with {paid} of {total} paid: it cannot be {next}"
            )));
        }
        self.status = next;
        Ok(())
    }
}

/// Version 1 took one item, and its price in euros: see `v1.rs`.
#[derive(Serialize, Deserialize, Action)]
#[action(create, resource = Order, version = 2)]
pub(crate) struct Place {
    pub(crate) number: u32,
    pub(crate) customer: Uuid,
    pub(crate) lines: Vec<Line>,
}

impl Create for Place {
    fn create(self, cx: &Context) -> Result<Order, Rejection> {
        Order::new(self.number, self.customer, self.lines, cx)
    }
}

/// A payment has come in: a hook runs it, see `payment.rs`.
#[derive(Serialize, Deserialize, Action)]
#[action(update, resource = Order)]
pub(crate) struct ReceivePayment {
    pub(crate) cents: u64,
}

impl Update for ReceivePayment {
    fn update(self, order: &mut Order, _: &Context) -> Result<(), Rejection> {
        order.paid += self.cents;
        if order.status != Status::Placed || order.paid > order.total {
            let (number, status, owed) = (order.number, order.status, order.total + self.cents - order.paid);
            return Err(Rejection::new(format!("order {number} is {status}, and {owed} are owed: not {}", self.cents)));
        }
        if order.paid == order.total { order.turn(Status::Paid) } else { Ok(()) }
    }
}

#[derive(Serialize, Deserialize, Action)]
#[action(update, resource = Order)]
pub(crate) struct Ship {}

impl Update for Ship {
    fn update(self, order: &mut Order, _: &Context) -> Result<(), Rejection> {
        order.turn(Status::Shipped)
    }
}

#[derive(Serialize, Deserialize, Action)]
#[action(update, resource = Order)]
pub(crate) struct Cancel {
    pub(crate) reason: String,
}

impl Update for Cancel {
    fn update(self, order: &mut Order, _: &Context) -> Result<(), Rejection> {
        order.turn(Status::Cancelled)
    }
}
