//! Given, when, then: a helper for tests of your own actions, on the memory backend. Feature `memory`.
//!
//! A [`Scenario`] is a log in memory with a clock and ids that are the same in each run. Set it up with
//! [`given`](Scenario::given), run what is tested with [`when`](Scenario::when), and hold what came of it against what you
//! expect with the `then_..` methods of its [`Outcome`]. They panic with what was expected and what was found.
//!
//! ```
//! # use rekindle::{Action, Context, Create, Rejection, Resource, Update};
//! # use serde::{Deserialize, Serialize};
//! # #[derive(Serialize, Deserialize, Resource)]
//! # #[resource(name = "bank.account", actions(Open, Withdraw))]
//! # struct Account {
//! #     #[resource(id)]
//! #     iban: String,
//! #     cents: i64,
//! # }
//! # #[derive(Serialize, Deserialize, Action)]
//! # #[action(create, resource = Account)]
//! # struct Open {
//! #     iban: String,
//! # }
//! # impl Create for Open {
//! #     fn create(self, _: &Context) -> Result<Account, Rejection> {
//! #         Ok(Account { iban: self.iban, cents: 0 })
//! #     }
//! # }
//! # #[derive(Serialize, Deserialize, Action)]
//! # #[action(update, resource = Account)]
//! # struct Withdraw {
//! #     cents: i64,
//! # }
//! # impl Update for Withdraw {
//! #     fn update(self, account: &mut Account, _: &Context) -> Result<(), Rejection> {
//! #         account.cents -= self.cents;
//! #         if account.cents < 0 { Err(Rejection::new("there is not that much")) } else { Ok(()) }
//! #     }
//! # }
//! use rekindle::testing::{Recorded, Scenario};
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let scenario = Scenario::new(|log| log.resource::<Account>()).await;
//! let open = || Open { iban: "DE01".into() };
//! let opened = scenario.when(async |log| log.as_system("test").create(open()).await).await;
//! opened.then_recorded([Recorded::of(&open())]);
//! opened.then_replays().await;
//!
//! let account = "DE01".to_owned();
//! let refused = scenario.when(async |log| log.as_system("test").update(&account, Withdraw { cents: 1 }).await).await;
//! refused.then_rejected("there is not that much").then_nothing_recorded();
//! # });
//! ```

#![expect(clippy::panic, reason = "an assertion that does not hold panics")]

mod outcome;
mod recorded;
mod sources;

pub use outcome::Outcome;
pub use recorded::Recorded;
pub use sources::{CountingIds, TickingClock};

use rekindle_core::Result;
use rekindle_core::engine::{Builder, Log};
use rekindle_core::types::{Event, EventQuery, Position};
use rekindle_memory::MemoryBackend;

/// A log in memory to test actions on, with a [`TickingClock`] and [`CountingIds`].
#[derive(Clone, Debug)]
pub struct Scenario {
    log: Log,
}

impl Scenario {
    /// Opens an empty log with this set-up: the resources, hooks, policies and routes that your program has. A clock and
    /// ids of the set-up take the place of the scenario's.
    ///
    /// # Panics
    ///
    /// If the set-up has mistakes: with all of them.
    ///
    /// # Cancel safety
    ///
    /// Dropped, nothing is open.
    pub async fn new(set_up: impl FnOnce(Builder) -> Builder) -> Self {
        let builder = Builder::on(MemoryBackend::new()).clock(TickingClock::default()).ids(CountingIds::default());
        match set_up(builder).start().await {
            Ok(log) => Self { log },
            Err(error) => panic!("expected: a set-up without mistakes\nfound: {error}"),
        }
    }

    /// The log.
    #[must_use]
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// The scenario in the log of a tenant.
    ///
    /// # Panics
    ///
    /// If the text is no tenant, or its lock key cannot be made.
    #[must_use]
    #[track_caller]
    pub fn tenant(&self, tenant: impl AsRef<str>) -> Self {
        match self.log.tenant(&tenant) {
            Ok(log) => Self { log },
            Err(error) => panic!("expected: a tenant\nfound: {:?}: {error}", tenant.as_ref()),
        }
    }

    /// Sets the log up by actions, and gives what they gave, such as the record that they made. No policy is asked.
    ///
    /// # Panics
    ///
    /// If they fail: with their error.
    ///
    /// # Cancel safety
    ///
    /// Dropped, the actions that have ended stay.
    pub async fn given<T>(&self, actions: impl AsyncFnOnce(&Log) -> Result<T>) -> T {
        match actions(&self.log.unguarded()).await {
            Ok(given) => given,
            Err(error) => panic!("expected: what is given can be done\nfound: {:?}: {error}", error.kind()),
        }
    }

    /// Runs what is tested, and keeps its result and the events that it recorded.
    ///
    /// # Panics
    ///
    /// If the events cannot be read, which a log in memory can.
    ///
    /// # Cancel safety
    ///
    /// Dropped, the actions that have ended stay.
    pub async fn when<T>(&self, run: impl AsyncFnOnce(&Log) -> Result<T>) -> Outcome<T> {
        let before = events(&self.log, Position::ZERO).await.last().map_or(Position::ZERO, |event| event.position);
        let result = run(&self.log).await;
        Outcome { log: self.log.clone(), events: events(&self.log, before).await, result }
    }
}

/// The events behind a position. No policy is asked.
async fn events(log: &Log, after: Position) -> Vec<Event> {
    let (log, mut query, mut events) = (log.unguarded(), EventQuery::new().with_after(after), Vec::new());
    loop {
        let page = match log.events(&query).await {
            Ok(page) => page,
            Err(error) => panic!("expected: events that can be read\nfound: {error}"),
        };
        events.extend(page.items);
        let Some(next) = page.next else { return events };
        query = query.with_cursor(next);
    }
}
