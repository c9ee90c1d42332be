//! Mail: what is to be sent is recorded in the commit that it is about, and sent once that is durable.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use rekindle::types::Committed;
use rekindle::{Call, Error, Hook, Json, Resource, Transaction, Unit};

use crate::customer::{Customer, SendMail};
use crate::order::{Order, ReceivePayment, Status};

/// What has gone out. A program of yours has a mail server here.
#[derive(Clone, Default)]
pub(crate) struct Outbox(Arc<Mutex<Vec<SendMail>>>);

impl Outbox {
    fn send(&self, mail: SendMail) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(mail);
    }

    /// The mails, each as one line.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mails = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        mails.iter().map(|SendMail { to, subject }| format!("to {to}: {subject}")).collect()
    }
}

/// Writes to customers about their orders.
pub(crate) struct Mails(pub(crate) Outbox);

#[async_trait]
impl Hook for Mails {
    /// In the unit of work of the order's action: the order's event and the mail's are one commit.
    async fn after_action(&self, unit: &mut Unit, call: &Call, record: Option<&Json>) -> rekindle::Result<()> {
        let Some(order) = record.filter(|_| call.resource == Order::NAME) else { return Ok(()) };
        let order: Order = order.to_value()?;
        // A part of the money is not worth a mail.
        if call.is::<ReceivePayment>() && order.status != Status::Paid {
            return Ok(());
        }
        let Some(customer) = unit.get::<Customer>(&order.customer).await? else { return Ok(()) };
        let subject = format!("order {} is {}", order.number, order.status);
        unit.update(&customer.id, SendMail { to: customer.email, subject }).await?;
        Ok(())
    }

    /// Once the commit is durable. A replay runs no hook, so it sends no mail again.
    async fn after_transaction(&self, transaction: &Transaction, outcome: Result<&Committed, &Error>) {
        if outcome.is_ok() {
            let mails = transaction.calls.iter().filter_map(|call| call.input::<SendMail>().ok().flatten());
            mails.for_each(|mail| self.0.send(mail));
        }
    }
}
