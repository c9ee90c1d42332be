//! What happens in the shop.

use std::sync::Arc;

use futures::TryStreamExt;
use rekindle::store::Store;
use rekindle::{Log, Position, Rekindle};

use crate::calendar::Calendar;
use crate::customer::{Customer, Import, Leave, SignUp};
use crate::mail::Outbox;
use crate::order::{Cancel, Line, Order, Place, Ship, Status};
use crate::payment::{Pay, Payment};
use crate::rules::Staff;
use crate::set_up::{old_shop, shop};
use crate::v1;

pub(crate) type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const GRACE: Staff = Staff("grace");

pub(crate) async fn tell(store: &Arc<dyn Store>) -> Result<()> {
    let (calendar, outbox) = (Calendar::default(), Outbox::default());
    in_the_old_days(store, &calendar).await?;

    let log = shop(Rekindle::on(Arc::clone(store)), &outbox).clock(calendar.clone()).start().await?;
    upgrade(&log).await?;
    customers_come(&log).await?;
    orders_are_placed(&log).await?;
    orders_are_paid_and_shipped(&log).await?;
    calendar.days_pass(15);
    nightly_job(&log, &calendar).await?;

    println!("\nmail that was sent:");
    outbox.lines().iter().for_each(|line| println!("  {line}"));
    lost_and_found(&log, &outbox).await?;
    history(&log, 3).await?;
    log.shutdown().await?;
    Ok(())
}

/// Two orders of version 1.
async fn in_the_old_days(store: &Arc<dyn Store>, calendar: &Calendar) -> Result<()> {
    let log = old_shop(Rekindle::on(Arc::clone(store))).clock(calendar.clone()).start().await?;
    if log.head().await?.position != Position::ZERO {
        return Err("there is a shop in this folder already: give another one".into());
    }
    let till = log.as_system("old-till");
    let ada = till.create(Import { email: "ada@example.org".into(), name: "Ada".into() }).await?;
    for (number, item, euros) in [(1, "lamp", 40), (2, "chair", 90)] {
        till.create(v1::Place { number, customer: ada.id, item: item.into(), euros }).await?;
    }
    println!("the old program has recorded {} events", log.head().await?.position);
    log.shutdown().await?;
    Ok(())
}

/// The records are of the old shape still. The plan tells whether every event is known; the replay makes them new.
async fn upgrade(log: &Log) -> Result<()> {
    let plan = log.replay().plan().await?;
    println!("\nthe new program knows all of them: {}", plan.unknown().next().is_none());
    println!("records that are not as the log has them now: {}", drifted(log).await?);
    println!("replayed {} events into {} records", log.replay().await?.events, plan.records);
    println!("records that are not as the log has them now: {}", drifted(log).await?);
    Ok(())
}

async fn drifted(log: &Log) -> Result<usize> {
    let verified = log.replay().verify().await?;
    let mut keys: Vec<_> = verified.drifts.into_iter().map(|drift| drift.key).collect();
    keys.dedup();
    Ok(keys.len())
}

async fn customers_come(log: &Log) -> Result<()> {
    let people = [("bob@example.org", "Bob"), ("Cleo@Example.org", "Cleo"), ("dan@example.org", "Dan")];
    let import = people.map(|(email, name)| Import { email: email.into(), name: name.into() });
    let imported = log.as_actor(GRACE).with("file", "customers.csv").bulk_create(import).await?;
    println!("\nimported {} customers, in one commit", imported.len());

    let door = log.as_anonymous();
    door.upsert(SignUp { email: "cleo@example.org".into(), name: "Cleopatra".into() }).await?;
    door.upsert(SignUp { email: "eve@example.org".into(), name: "Eve".into() }).await?;
    println!("two signed up, one of them an imported one: there are {} customers", count(log).await?);

    let dan = customer(log, "dan@example.org").await?;
    log.as_actor(&dan).destroy(&dan.id, Leave {}).await?;
    let again = log.as_actor(&dan).destroy(&dan.id, Leave {}).await;
    println!("Dan left; the second time: {}", refusal(again)?);
    println!("his record stays: there are {} customers", count(log).await?);
    Ok(())
}

async fn orders_are_placed(log: &Log) -> Result<()> {
    let (bob, cleo) = (customer(log, "bob@example.org").await?, customer(log, "cleo@example.org").await?);
    let line = |item: &str, quantity, cents| Line { item: item.into(), quantity, cents };
    let lines = vec![line("table", 1, 25_000), line("chair", 4, 9_000)];
    log.as_actor(&bob).with("browser", "lynx").create(Place { number: 3, customer: bob.id, lines }).await?;
    log.as_actor(&cleo).create(Place { number: 4, customer: cleo.id, lines: vec![line("lamp", 2, 4_000)] }).await?;
    println!("\norders 3 and 4 are placed");

    let lines = vec![line("throne", 1, 1_000_000)];
    let for_bob = log.as_actor(&cleo).create(Place { number: 5, customer: bob.id, lines }).await;
    println!("Cleo orders for Bob: {}", refusal(for_bob)?);
    println!("nothing in it: {}", refusal(log.as_actor(&bob).create(nothing(bob.id)).await)?);
    Ok(())
}

fn nothing(customer: uuid::Uuid) -> Place {
    Place { number: 6, customer, lines: Vec::new() }
}

async fn orders_are_paid_and_shipped(log: &Log) -> Result<()> {
    let bob = customer(log, "bob@example.org").await?;
    let (bob, grace) = (log.as_actor(&bob), log.as_actor(GRACE));
    bob.create(Pay { order: 3, cents: 11_000 }).await?;
    println!("\nship what is half paid: {}", refusal(grace.update(&3, Ship {}).await)?);
    println!("pay too much: {}", refusal(bob.create(Pay { order: 3, cents: 50_001 }).await)?);
    bob.create(Pay { order: 3, cents: 50_000 }).await?;
    println!("Bob ships it himself: {}", refusal(bob.update(&3, Ship {}).await)?);
    let shipped = grace.update(&3, Ship {}).await?;
    let payments: Vec<Payment> = log.list()?.try_collect().await?;
    println!("order 3 is {}, after {} payments", shipped.status, payments.len());
    Ok(())
}

/// What nobody has paid for two weeks is cancelled: all of it in one commit, or nothing.
async fn nightly_job(log: &Log, calendar: &Calendar) -> Result<()> {
    let long_ago = calendar.days_ago(14)?;
    let orders: Vec<Order> = log.list()?.try_collect().await?;
    let unpaid = orders.iter().filter(|order| order.status == Status::Placed && order.paid == 0);
    let due = unpaid.filter(|order| order.placed_at < long_ago).map(|order| order.number);
    let cancel = due.map(|number| (number, Cancel { reason: "not paid in two weeks".into() }));
    let cancelled = log.as_system("nightly").with("job", "unpaid-orders").bulk_update(cancel).await?;
    let numbers: Vec<_> = cancelled.iter().map(|order| order.number).collect();
    println!("\nthe nightly job has cancelled the orders {numbers:?}");
    Ok(())
}

/// All records are dropped, and replayed from the log.
async fn lost_and_found(log: &Log, outbox: &Outbox) -> Result<()> {
    let sent = outbox.lines().len();
    println!("\nrecords dropped: {}", log.clear_records().await?);
    println!("events replayed: {}", log.replay().await?.events);
    println!("mails that the replay has sent: {}", outbox.lines().len() - sent);
    let verified = log.replay().verify().await?;
    println!("verified: {verified}");
    if verified.drifts.is_empty() { Ok(()) } else { Err("the records are not what they were".into()) }
}

/// Only staff may read the log.
async fn history(log: &Log, number: u32) -> Result<()> {
    println!("\nthe log, read by nobody: {}", refusal(log.history::<Order>(&number).await)?);
    println!("the history of order {number}:");
    for step in log.as_actor(GRACE).log()?.history::<Order>(&number).await? {
        println!("{step}");
    }
    Ok(())
}

async fn customer(log: &Log, email: &str) -> Result<Customer> {
    Ok(log.find::<Customer>("email", email).await?.ok_or_else(|| format!("there is no customer {email}"))?)
}

async fn count(log: &Log) -> Result<usize> {
    Ok(log.list::<Customer>()?.try_fold(0, |count, _| async move { Ok(count + 1) }).await?)
}

/// What was to be refused, and why it was.
fn refusal<T>(result: rekindle::Result<T>) -> Result<String> {
    match result {
        Ok(_) => Err("this was to be refused".into()),
        Err(error) => Ok(format!("{:?}: {error}", error.kind())),
    }
}
