//! A log in a folder: an account is opened, used and closed; the records are dropped, and replayed.
//!
//! `cargo run --example quickstart`

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "it is a program for people to read")]

use rekindle::{Action, Context, Create, Destroy, Rejection, Rekindle, Resource, Update};
use serde::{Deserialize, Serialize};

#[derive(Debug, PartialEq, Serialize, Deserialize, Resource)]
#[resource(name = "bank.account", actions(Open, Deposit, Close))]
struct Account {
    #[resource(id)]
    iban: String,
    owner: String,
    cents: i64,
}

#[derive(Serialize, Deserialize, Action)]
#[action(create, resource = Account)]
struct Open {
    iban: String,
    owner: String,
}

impl Create for Open {
    fn create(self, _: &Context) -> Result<Account, Rejection> {
        Ok(Account { iban: self.iban, owner: self.owner, cents: 0 })
    }
}

#[derive(Serialize, Deserialize, Action)]
#[action(update, resource = Account)]
struct Deposit {
    amount: i64,
}

impl Update for Deposit {
    fn update(self, account: &mut Account, _: &Context) -> Result<(), Rejection> {
        account.cents += self.amount;
        if account.cents < 0 { Err(Rejection::new("there is not that much in the account")) } else { Ok(()) }
    }
}

#[derive(Serialize, Deserialize, Action)]
#[action(destroy, resource = Account)]
struct Close {}

impl Destroy for Close {}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let url = format!("sled:{}", folder.path().join("bank").display());
    let log = Rekindle::open(url).resource::<Account>().start().await?;

    let teller = log.as_system("teller").with("branch", "Main Street");
    let (ada, bob) = ("DE01".to_owned(), "DE02".to_owned());
    teller.create(Open { iban: ada.clone(), owner: "Ada".into() }).await?;
    teller.create(Open { iban: bob.clone(), owner: "Bob".into() }).await?;
    teller.update(&ada, Deposit { amount: 10_000 }).await?;
    let refused = teller.update(&ada, Deposit { amount: -20_000 }).await.unwrap_err();
    println!("refused, and not recorded: {refused}");
    teller.destroy(&bob, Close {}).await?;

    for step in log.history::<Account>(&ada).await? {
        println!("{} {:<8} by {:?}: {:?}", step.event.position, step.event.action, step.event.actor, step.record);
    }
    println!("records dropped: {}", log.clear_records().await?);
    println!("events replayed: {}", log.replay().await?.events);
    assert_eq!(log.get::<Account>(&ada).await?, Some(Account { iban: ada, owner: "Ada".into(), cents: 10_000 }));
    assert_eq!(log.get::<Account>(&bob).await?, None);
    log.shutdown().await?;
    Ok(())
}
