//! Customers: imported in bulk, signed up by an upsert, written to, and gone in name only.

use rekindle::{Action, Actor, AsActor, Context, Create, Rejection, Resource, SoftDestroy, Timestamp, Update, Upsert};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Resource)]
#[resource(name = "shop.customer", actions(Import, SignUp, SendMail, Leave))]
pub(crate) struct Customer {
    #[resource(id)]
    pub(crate) id: Uuid,
    #[resource(identity)]
    pub(crate) email: String,
    pub(crate) name: String,
    /// How many mails were sent to them.
    pub(crate) mails: u32,
    pub(crate) left_at: Option<Timestamp>,
    #[resource(created_at)]
    pub(crate) since: Timestamp,
}

impl Customer {
    fn new(email: &str, name: String, cx: &Context) -> Result<Self, Rejection> {
        if !email.contains('@') {
            return Err(Rejection::new(format!("{email:?} is no e-mail address")));
        }
        Ok(Self { id: cx.new_uuid(), email: stored(email), name, mails: 0, left_at: None, since: cx.now() })
    }
}

/// The form in which addresses are stored and looked for.
fn stored(email: &str) -> String {
    email.trim().to_lowercase()
}

/// A customer acts in their own name.
impl AsActor for Customer {
    fn as_actor(&self) -> rekindle::Result<Actor> {
        Actor::new("customer", self.id)
    }
}

#[derive(Serialize, Deserialize, Action)]
#[action(create, resource = Customer)]
pub(crate) struct Import {
    pub(crate) email: String,
    pub(crate) name: String,
}

impl Create for Import {
    fn create(self, cx: &Context) -> Result<Customer, Rejection> {
        Customer::new(&self.email, self.name, cx)
    }
}

/// Whoever signs up may be there already: imported, or gone and back again.
#[derive(Serialize, Deserialize, Action)]
#[action(upsert, resource = Customer)]
pub(crate) struct SignUp {
    pub(crate) email: String,
    pub(crate) name: String,
}

impl Upsert for SignUp {
    fn identity(&self) -> (&'static str, String) {
        ("email", stored(&self.email))
    }
}

impl Create for SignUp {
    fn create(self, cx: &Context) -> Result<Customer, Rejection> {
        Customer::new(&self.email, self.name, cx)
    }
}

impl Update for SignUp {
    fn update(self, customer: &mut Customer, _: &Context) -> Result<(), Rejection> {
        customer.name = self.name;
        customer.left_at = None;
        Ok(())
    }
}

/// That a mail is sent is a fact like any other, so it is an action. The letter itself goes out in a hook.
#[derive(Serialize, Deserialize, Action)]
#[action(update, resource = Customer)]
pub(crate) struct SendMail {
    pub(crate) to: String,
    pub(crate) subject: String,
}

impl Update for SendMail {
    fn update(self, customer: &mut Customer, _: &Context) -> Result<(), Rejection> {
        customer.mails += 1;
        Ok(())
    }
}

#[derive(Serialize, Deserialize, Action)]
#[action(soft_destroy, resource = Customer)]
pub(crate) struct Leave {}

impl SoftDestroy for Leave {
    fn destroy(self, customer: &mut Customer, cx: &Context) -> Result<(), Rejection> {
        if customer.left_at.is_some() {
            return Err(Rejection::new(format!("{} has left already", customer.name)));
        }
        customer.left_at = Some(cx.now());
        Ok(())
    }
}
