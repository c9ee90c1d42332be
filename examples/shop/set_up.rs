//! The shop's log: its resources, hooks and rules, and the route of its old events.

use rekindle::Builder;

use crate::customer::Customer;
use crate::mail::{Mails, Outbox};
use crate::order::Order;
use crate::payment::{Payment, Payments};
use crate::rules::Rules;
use crate::v1;

/// The shop of today.
pub(crate) fn shop(log: Builder, outbox: &Outbox) -> Builder {
    log.log("shop")
        .resource::<Customer>()
        .resource::<Order>()
        .resource::<Payment>()
        .on_version::<Order>("place", [1])
        .route_to::<v1::PlaceV1>()
        .hook(Payments)
        .hook(Mails(outbox.clone()))
        .policy(Rules)
}

/// The shop as it was.
pub(crate) fn old_shop(log: Builder) -> Builder {
    log.log("shop").resource::<Customer>().resource::<v1::Order>()
}
