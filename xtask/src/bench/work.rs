//! What the benchmarks record: accounts, made and credited.

use rekindle::sled::{SledBackend, SledConfig};
use rekindle::{
    Action, Backend, Context, Create, Keks, Log, Rejection, Rekindle, Resource, SecretKey, Timestamp, Update,
};
use serde::{Deserialize, Serialize};
use std::path::Path;
use uuid::Uuid;

use super::report::Result;

/// sled's cache, in bytes, in every benchmark, Rekindle's and raw ones alike.
pub(crate) const CACHE: u64 = 256 << 20;

#[derive(Debug, Serialize, Deserialize, Resource)]
#[resource(name = "bench.account", actions(Open, Credit))]
pub(crate) struct Account {
    #[resource(id)]
    pub(crate) id: Uuid,
    owner: String,
    note: String,
    cents: i64,
    #[resource(created_at)]
    opened_at: Timestamp,
}

#[derive(Serialize, Deserialize, Action)]
#[action(create, resource = Account)]
pub(crate) struct Open {
    pub(crate) owner: String,
    pub(crate) note: String,
}

impl Create for Open {
    fn create(self, cx: &Context) -> std::result::Result<Account, Rejection> {
        Ok(Account { id: cx.new_uuid(), owner: self.owner, note: self.note, cents: 0, opened_at: cx.now() })
    }
}

#[derive(Serialize, Deserialize, Action)]
#[action(update, resource = Account)]
pub(crate) struct Credit {
    pub(crate) cents: i64,
    pub(crate) note: String,
}

impl Update for Credit {
    fn update(self, account: &mut Account, _: &Context) -> std::result::Result<(), Rejection> {
        account.cents += self.cents;
        account.note = self.note;
        Ok(())
    }
}

pub(crate) fn open_input(number: u64) -> Open {
    Open {
        owner: format!("Owner number {number:08}"),
        note: "opened at the counter, with an identity card and a proof of address".into(),
    }
}

pub(crate) fn credit_input(number: u64) -> Credit {
    Credit { cents: number as i64 % 1_000, note: format!("credit number {number}") }
}

pub(crate) async fn open(folder: &Path) -> Result<Log> {
    let backend = SledBackend::open_with(folder, SledConfig::new().with_cache_bytes(CACHE)).await?;
    start(backend, false).await
}

/// A log on a backend that is open; each account is a subject of its own if there is a vault.
pub(crate) async fn start(backend: impl Into<Backend>, vault: bool) -> Result<Log> {
    let builder = Rekindle::on(backend).resource::<Account>();
    let builder = if vault { builder.vault(Keks::new("bench", SecretKey::from_bytes([7; 32]))?) } else { builder };
    Ok(builder.start().await?)
}

/// Fills a log up to so many events over so many accounts, many to a commit.
pub(crate) async fn fill(log: &Log, ids: &mut Vec<Uuid>, events: u64, accounts: u64) -> Result<()> {
    const PER_COMMIT: u64 = 500;
    let session = log.as_system("bench").with("batch", "fill");
    let mut at = log.head().await?.position.get();
    while at < events {
        let mut end = (at + PER_COMMIT).min(events);
        if at < accounts {
            end = end.min(accounts);
            let made = session.bulk_create((at..end).map(open_input)).await?;
            ids.extend(made.into_iter().map(|account| account.id));
        } else {
            // A fixed walk over all accounts that is not in the order of their making.
            let of = |number: u64| ids[(number.wrapping_mul(7_919) % ids.len() as u64) as usize];
            session.bulk_update((at..end).map(|number| (of(number), credit_input(number)))).await?;
        }
        at = end;
    }
    Ok(())
}
