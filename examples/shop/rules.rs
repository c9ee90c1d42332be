//! Who may do what.

use rekindle::{Actor, AsActor, Call, Json, LogId, Policy, Rejection};
use uuid::Uuid;

use crate::customer::{Customer, Leave, SignUp};
use crate::order::{Cancel, Order, Place};
use crate::payment::Pay;

/// Somebody who works here.
pub(crate) struct Staff(pub(crate) &'static str);

impl AsActor for Staff {
    fn as_actor(&self) -> rekindle::Result<Actor> {
        Actor::new("staff", self.0)
    }
}

/// Whoever comes may sign up and pay; customers order, cancel and leave for themselves; staff may do the rest, and read the
/// log. The system may do everything, and so may hooks.
pub(crate) struct Rules;

/// The customer whom an action of customers is about; `None` for the actions of others.
fn concerned(call: &Call, record: Option<&Json>) -> rekindle::Result<Option<Uuid>> {
    if let Some(place) = call.input::<Place>()? {
        return Ok(Some(place.customer));
    }
    match record {
        Some(order) if call.is::<Cancel>() => Ok(Some(order.to_value::<Order>()?.customer)),
        Some(customer) if call.is::<Leave>() => Ok(Some(customer.to_value::<Customer>()?.id)),
        _ => Ok(None),
    }
}

impl Policy for Rules {
    fn may_run(&self, call: &Call, record: Option<&Json>) -> Result<(), Rejection> {
        let kind = call.actor.as_ref().map(|actor| actor.kind().as_str());
        if call.by_hook || matches!(kind, Some("staff" | "system")) || call.is::<SignUp>() || call.is::<Pay>() {
            return Ok(());
        }
        let actor = call.actor.as_ref().map(Actor::id);
        match concerned(call, record).map_err(|error| Rejection::new(error.to_string()))? {
            Some(customer) if actor == Some(&customer.to_string()) => Ok(()),
            Some(_) => Err(Rejection::new("customers act for themselves only")),
            None => Err(Rejection::new(format!("only staff may {}", call.action))),
        }
    }

    fn may_read(&self, _: &LogId, reader: Option<&Actor>) -> Result<(), Rejection> {
        match reader {
            Some(actor) if actor.kind().as_str() == "staff" => Ok(()),
            _ => Err(Rejection::new("only staff may read the log")),
        }
    }
}
