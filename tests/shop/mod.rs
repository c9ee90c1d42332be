//! What the tests of the engine share: a bed to run on, and resources.

#![allow(dead_code, unreachable_pub, unused_imports, unused_macros, reason = "each test file uses some of it")]

pub mod bent;
pub mod callers;
pub mod held;
pub mod plant;
pub mod raw;
pub mod state;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use futures::TryStreamExt;
use rekindle::postgres::{PostgresBackend, PostgresConfig};
use rekindle::redis::{RedisBackend, RedisConfig};
use rekindle::store::Store;
use rekindle::{
    Action, Builder, Clock, Context, Create, Destroy, Error, ErrorKind, Event, EventQuery, Log, Rejection, Rekindle,
    Resource, Session, Timestamp, Update, types::Payload,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

/// Runs each test on each backend.
macro_rules! on_each_backend {
    ($($name:ident),* $(,)?) => {$(
        mod $name {
            #[tokio::test]
            async fn memory() {
                super::$name(crate::shop::Bed::memory()).await;
            }

            #[tokio::test]
            async fn sled() {
                super::$name(crate::shop::Bed::sled().await).await;
            }

            #[tokio::test]
            async fn postgres() {
                // Without a server it says that it was not run.
                if let Some(bed) = crate::shop::Bed::postgres().await {
                    super::$name(bed).await;
                }
            }

            #[tokio::test]
            async fn redis() {
                if let Some(bed) = crate::shop::Bed::redis().await {
                    super::$name(bed).await;
                }
            }
        }
    )*};
}
pub(crate) use on_each_backend;

/// An empty store of a backend.
pub struct Bed {
    pub store: Arc<dyn Store>,
    _folder: Option<tempfile::TempDir>,
}

impl Bed {
    pub fn memory() -> Self {
        Self { store: Arc::new(rekindle::memory::MemoryBackend::new()), _folder: None }
    }

    pub async fn sled() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = rekindle::sled::SledBackend::open(folder.path().join("data")).await.unwrap();
        Self { store: Arc::new(store), _folder: Some(folder) }
    }

    pub async fn postgres() -> Option<Self> {
        let server = rekindle_test_servers::postgres()?;
        let config = PostgresConfig::new().with_schema(server.fresh_schema()).unwrap();
        PostgresBackend::migrate(server.url(), &config).await.unwrap();
        let store = PostgresBackend::connect_with(server.url(), config).await.unwrap();
        Some(Self { store: Arc::new(store), _folder: None })
    }

    pub async fn redis() -> Option<Self> {
        let server = rekindle_test_servers::redis()?;
        let config = RedisConfig::new().with_prefix(rekindle_test_servers::fresh_prefix());
        let store = RedisBackend::connect_with(server.url(), config).await.unwrap();
        Some(Self { store: Arc::new(store), _folder: None })
    }

    /// The store without any resource registered.
    pub fn bare(&self) -> Builder {
        Rekindle::on(Arc::clone(&self.store))
    }

    pub fn builder(&self) -> Builder {
        self.bare().resource::<Account>().resource::<Label>()
    }

    pub async fn log(&self) -> Log {
        self.builder().start().await.unwrap()
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Resource)]
#[resource(name = "shop.account", actions(Open, Rename, Deposit, SetNote, SetPin, Refuse, Explode, Close))]
pub struct Account {
    #[resource(id)]
    pub id: Uuid,
    pub name: String,
    #[resource(identity)]
    pub email: String,
    pub balance: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    #[resource(sensitive)]
    pub pin: Option<String>,
    #[resource(created_at)]
    pub inserted_at: Timestamp,
    #[resource(updated_at)]
    pub updated_at: Timestamp,
}

#[derive(Serialize, Deserialize, Action)]
#[action(create, resource = Account)]
pub struct Open {
    pub name: String,
    pub email: String,
    pub newsletter: bool,
}

impl Create for Open {
    fn create(self, cx: &Context) -> Result<Account, Rejection> {
        if !self.email.contains('@') {
            return Err(Rejection::new("an e-mail address has an @"));
        }
        Ok(Account {
            id: cx.new_uuid(),
            name: self.name,
            email: self.email.to_lowercase(),
            balance: 0,
            note: None,
            pin: None,
            inserted_at: Timestamp::EPOCH,
            updated_at: Timestamp::EPOCH,
        })
    }
}

/// Declares an update of an account.
macro_rules! update {
    ($action:ident { $($field:ident: $type:ty),* }, |$input:ident, $account:ident, $cx:ident| $body:expr) => {
        #[derive(Serialize, Deserialize, Action)]
        #[action(update, resource = Account)]
        pub struct $action { $(pub $field: $type),* }

        impl Update for $action {
            fn update(self, $account: &mut Account, $cx: &Context) -> Result<(), Rejection> {
                let $input = self;
                $body
            }
        }
    };
}

update!(Rename { name: String }, |input, account, _cx| {
    account.name = input.name;
    Ok(())
});
update!(Deposit { amount: i64 }, |input, account, _cx| {
    account.balance += input.amount;
    if account.balance < 0 { Err(Rejection::new("the balance would be below zero")) } else { Ok(()) }
});
update!(SetNote { note: Option<String> }, |input, account, _cx| {
    account.note = input.note;
    Ok(())
});
update!(SetPin { pin: String }, |input, account, _cx| {
    account.pin = Some(input.pin);
    Ok(())
});
update!(Refuse {}, |_input, account, _cx| {
    account.name = "changed before it was refused".to_owned();
    Err(Rejection::new("not today"))
});
update!(Explode {}, |_input, account, _cx| {
    account.balance += 1;
    panic!("boom at {}", account.name)
});

#[derive(Serialize, Deserialize, Action)]
#[action(destroy, resource = Account)]
pub struct Close {}

impl Destroy for Close {
    fn destroy(self, account: &Account, _: &Context) -> Result<(), Rejection> {
        if account.balance > 0 { Err(Rejection::new("there is money on it")) } else { Ok(()) }
    }
}

/// A resource whose id and identity the caller sets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Resource)]
#[resource(name = "shop.label", actions(Print, Stick, Peel))]
pub struct Label {
    #[resource(id)]
    pub id: u64,
    #[resource(identity)]
    pub slot: Option<String>,
}

#[derive(Serialize, Deserialize, Action)]
#[action(create, resource = Label)]
pub struct Print {
    pub id: u64,
    pub slot: Option<String>,
}

impl Create for Print {
    fn create(self, _: &Context) -> Result<Label, Rejection> {
        Ok(Label { id: self.id, slot: self.slot })
    }
}

#[derive(Serialize, Deserialize, Action)]
#[action(update, resource = Label)]
pub struct Stick {
    pub slot: Option<String>,
}

impl Update for Stick {
    fn update(self, label: &mut Label, _: &Context) -> Result<(), Rejection> {
        label.slot = self.slot;
        Ok(())
    }
}

#[derive(Serialize, Deserialize, Action)]
#[action(destroy, resource = Label)]
pub struct Peel {}

impl Destroy for Peel {}

pub fn open(name: &str) -> Open {
    Open { name: name.to_owned(), email: format!("{name}@Example.org"), newsletter: true }
}

pub fn rename(name: &str) -> Rename {
    Rename { name: name.to_owned() }
}

pub fn print(id: u64) -> Print {
    Print { id, slot: None }
}

/// A slot for a label: of a new one, or of one that is there.
pub fn slot(slot: &str) -> Option<String> {
    Some(slot.to_owned())
}

pub fn session(log: &Log) -> Session {
    log.as_system("test")
}

pub async fn events(log: &Log) -> Vec<Event> {
    log.stream(EventQuery::new()).try_collect().await.unwrap()
}

pub async fn actions(log: &Log) -> Vec<String> {
    events(log).await.iter().map(|event| event.action.to_string()).collect()
}

pub async fn all<R: Resource>(log: &Log) -> Vec<R> {
    log.list().unwrap().try_collect().await.unwrap()
}

pub fn json(payload: &Payload) -> Value {
    payload.json().unwrap().to_value().unwrap()
}

/// What a user reads of an error: its kind, and all of its message.
#[track_caller]
pub fn is(error: &Error, kind: &ErrorKind, message: &str) {
    assert_eq!((error.kind(), error.to_string().as_str()), (kind, message));
}

pub fn seconds(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(seconds).unwrap()
}

/// A clock that goes on by one second and one microsecond each time it is asked.
#[derive(Default)]
pub struct Ticking(AtomicI64);

impl Clock for Ticking {
    fn now(&self) -> Timestamp {
        Timestamp::from_microseconds((self.0.fetch_add(1, Ordering::SeqCst) + 1) * 1_000_001).unwrap()
    }
}

/// What the ticking clock said the n-th time.
pub fn tick(n: i64) -> Timestamp {
    Timestamp::from_microseconds(n * 1_000_001).unwrap()
}
