//! The shop as it was: an order had one item, and a price in whole euros. And what its events are today.

use rekindle::{Action, Context, Create, Rejection, Resource, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::order::{self, Line};

/// What a record was, and is until the first replay after the upgrade.
#[derive(Serialize, Deserialize, Resource)]
#[resource(name = "shop.order", actions(Place))]
pub(crate) struct Order {
    #[resource(id)]
    number: u32,
    customer: Uuid,
    item: String,
    euros: u32,
    #[resource(created_at)]
    placed_at: Timestamp,
}

/// Version 1 of `place`, as the old program ran it.
#[derive(Serialize, Deserialize, Action)]
#[action(create, resource = Order)]
pub(crate) struct Place {
    pub(crate) number: u32,
    pub(crate) customer: Uuid,
    pub(crate) item: String,
    pub(crate) euros: u32,
}

impl Create for Place {
    fn create(self, cx: &Context) -> Result<Order, Rejection> {
        let Self { number, customer, item, euros } = self;
        Ok(Order { number, customer, item, euros, placed_at: cx.now() })
    }
}

/// The route's target: it reads the old input, and makes an order of today. Nobody runs it but replays, so that the order
/// does not list it.
#[derive(Serialize, Deserialize, Action)]
#[action(create, resource = order::Order)]
pub(crate) struct PlaceV1 {
    number: u32,
    customer: Uuid,
    item: String,
    euros: u32,
}

impl Create for PlaceV1 {
    fn create(self, cx: &Context) -> Result<order::Order, Rejection> {
        let line = Line { item: self.item, quantity: 1, cents: u64::from(self.euros) * 100 };
        order::Order::new(self.number, self.customer, vec![line], cx)
    }
}
