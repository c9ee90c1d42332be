//! Payments: each changes its order in the same commit, by a hook.

use async_trait::async_trait;
use rekindle::{Action, Call, Context, Create, Hook, Json, Rejection, Resource, Timestamp, Unit};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::order::ReceivePayment;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Resource)]
#[resource(name = "shop.payment", actions(Pay))]
pub(crate) struct Payment {
    #[resource(id)]
    pub(crate) id: Uuid,
    pub(crate) order: u32,
    pub(crate) cents: u64,
    #[resource(created_at)]
    pub(crate) received_at: Timestamp,
}

#[derive(Serialize, Deserialize, Action)]
#[action(create, resource = Payment)]
pub(crate) struct Pay {
    pub(crate) order: u32,
    pub(crate) cents: u64,
}

impl Create for Pay {
    fn create(self, cx: &Context) -> Result<Payment, Rejection> {
        if self.cents == 0 {
            return Err(Rejection::new("a payment is of some money"));
        }
        Ok(Payment { id: cx.new_uuid(), order: self.order, cents: self.cents, received_at: cx.now() })
    }
}

/// Lets an order know of its payments. If the order refuses one, neither is recorded.
pub(crate) struct Payments;

#[async_trait]
impl Hook for Payments {
    async fn after_action(&self, unit: &mut Unit, call: &Call, _: Option<&Json>) -> rekindle::Result<()> {
        if let Some(Pay { order, cents }) = call.input()? {
            unit.update(&order, ReceivePayment { cents }).await?;
        }
        Ok(())
    }
}
