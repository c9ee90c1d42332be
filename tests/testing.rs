//! The helper for tests of one's own actions: what it gives, and that each of its assertions can fail.

#![cfg(all(feature = "memory", feature = "derive"))]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::FutureExt;
use rekindle::testing::{CountingIds, Recorded, Scenario, TickingClock};
use rekindle::{
    Action, Builder, Context, Create, ErrorKind, Json, Log, Policy, Rejection, Resource, Result, Session, Timestamp,
    Update, engine::Call,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Resource)]
#[resource(name = "bank.account", actions(Open, Withdraw, Correct, Import))]
struct Account {
    #[resource(id)]
    id: Uuid,
    #[resource(identity)]
    iban: String,
    cents: i64,
    #[resource(sensitive)]
    pin: Option<String>,
    #[resource(created_at)]
    opened_at: Timestamp,
}

#[derive(Clone, Serialize, Deserialize, Action)]
#[action(create, resource = Account)]
struct Open {
    iban: String,
    pin: Option<String>,
    #[action(sensitive)]
    password: String,
}

impl Create for Open {
    fn create(self, cx: &Context) -> Result<Account, Rejection> {
        Ok(Account { id: cx.new_uuid(), iban: self.iban, cents: 0, pin: self.pin, opened_at: cx.now() })
    }
}

#[derive(Serialize, Deserialize, Action)]
#[action(update, resource = Account)]
struct Withdraw {
    amount: i64,
}

impl Update for Withdraw {
    fn update(self, account: &mut Account, _: &Context) -> Result<(), Rejection> {
        account.cents -= self.amount;
        if account.cents < 0 { Err(Rejection::new("there is not that much")) } else { Ok(()) }
    }
}

/// It is not recorded.
#[derive(Serialize, Deserialize, Action)]
#[action(update, resource = Account)]
struct Correct {
    cents: i64,
}

impl Update for Correct {
    fn update(self, account: &mut Account, _: &Context) -> Result<(), Rejection> {
        account.cents = self.cents;
        Ok(())
    }
}

struct NoThieves;

impl Policy for NoThieves {
    fn may_run(&self, call: &Call, _: Option<&Json>) -> Result<(), Rejection> {
        let thief = call.actor.as_ref().is_some_and(|actor| actor.id() == "thief");
        if thief { Err(Rejection::new("not you")) } else { Ok(()) }
    }

    fn may_read(&self, _: &rekindle::LogId, _: Option<&rekindle::Actor>) -> Result<(), Rejection> {
        Err(Rejection::new("nobody reads"))
    }
}

fn set_up(log: Builder) -> Builder {
    log.resource::<Account>().ignore_actions::<Account>(["correct"]).policy(NoThieves)
}

fn open() -> Open {
    Open { iban: "DE01".into(), pin: Some("1234".into()), password: "secret".into() }
}

fn teller(log: &Log) -> Session {
    log.as_system("teller")
}

async fn with_account() -> (Scenario, Account) {
    let scenario = Scenario::new(set_up).await;
    let account = scenario.given(async |log| log.as_system("thief").create(open()).await).await;
    (scenario, account)
}

/// The message of the panic that it ends with.
async fn panic_of<T>(run: impl Future<Output = T>) -> String {
    let panic = AssertUnwindSafe(run).catch_unwind().await.err().unwrap();
    panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap()
}

#[tokio::test]
async fn time_and_ids_are_the_same_in_each_run() {
    for _ in 0..2 {
        let (scenario, account) = with_account().await;
        assert_eq!((account.id, account.opened_at), (CountingIds::id(1), TickingClock::tick(1)));
        let outcome = scenario.when(async |log| teller(log).update(&account.id, Withdraw { amount: -5 }).await).await;
        assert_eq!(outcome.events()[0].id.as_uuid(), &CountingIds::id(3));
        assert_eq!(outcome.events()[0].occurred_at.to_string(), "1970-01-01T00:00:02Z");
    }
}

#[tokio::test]
async fn what_happened_can_be_asserted() {
    let (scenario, account) = with_account().await;
    let id = account.id;
    let paid_in = scenario.when(async |log| teller(log).update(&id, Withdraw { amount: -5 }).await).await;
    assert_eq!(paid_in.then_succeeds().cents, 5);
    paid_in.then_recorded([Recorded::of(&Withdraw { amount: -5 })]).then_replays().await;

    let refused = scenario.when(async |log| teller(log).update(&id, Withdraw { amount: 6 }).await).await;
    refused.then_rejected("there is not that much").then_nothing_recorded().then_replays().await;
    let forbidden = scenario.when(async |log| log.as_system("thief").update(&id, Withdraw { amount: 1 }).await).await;
    forbidden.then_forbidden("not you").then_nothing_recorded();
    let taken = scenario.when(async |log| teller(log).create(open()).await).await;
    assert!(matches!(taken.result.as_ref().unwrap_err().kind(), ErrorKind::IdentityTaken { .. }));
}

#[tokio::test]
async fn several_events_are_held_against_in_order_and_what_is_sensitive_is_null() {
    let scenario = Scenario::new(set_up).await;
    let outcome = scenario
        .when(async |log| {
            let account = teller(log).create(open()).await?;
            teller(log).update(&account.id, Withdraw { amount: -7 }).await
        })
        .await;
    let named = Recorded::new("open", json!({"iban": "DE01", "pin": null, "password": null}));
    let other = || Recorded::new("withdraw", json!({"amount": -7}));
    outcome.then_recorded([named, other()]).then_recorded([Recorded::of(&open()), other()]).then_replays().await;
}

#[tokio::test]
async fn tenants_have_scenarios_of_their_own() {
    let (scenario, _) = with_account().await;
    let tenant = scenario.tenant("acme");
    let outcome = tenant.when(async |log| teller(log).create(open()).await).await;
    outcome.then_recorded([Recorded::of(&open())]).then_replays().await;
    scenario.when(async |_| Ok(())).await.then_nothing_recorded();
    assert_eq!(tenant.log().id().to_string(), "main[acme]");
    let message = panic_of(async { scenario.tenant("") }).await;
    assert_eq!(message, "expected: a tenant\nfound: \"\": the tenant is empty");
}

#[tokio::test]
async fn a_set_up_with_mistakes_fails_with_all_of_them() {
    let message = panic_of(Scenario::new(|log| {
        log.only_actions::<Account>(["open"]).resource::<Account>().resource::<Account>()
    }))
    .await;
    assert_eq!(
        message,
        "expected: a set-up without mistakes\n\
         found: the set-up has mistakes: the resource \"bank.account\" is registered twice"
    );
}

#[tokio::test]
async fn what_is_given_must_succeed() {
    let (scenario, account) = with_account().await;
    let given = scenario.given(async |log| teller(log).update(&account.id, Withdraw { amount: 1 }).await);
    let message = panic_of(given).await;
    assert_eq!(message, "expected: what is given can be done\nfound: Rejected: there is not that much");
}

#[tokio::test]
async fn each_assertion_fails_with_what_was_expected_and_what_was_found() {
    let (scenario, account) = with_account().await;
    let id = account.id;
    let paid_in = scenario.when(async |log| teller(log).update(&id, Withdraw { amount: -5 }).await).await;
    let refused = scenario.when(async |log| teller(log).update(&id, Withdraw { amount: 6 }).await).await;
    let found = "success, and recorded:\n    withdraw {\"amount\":-5}";

    let message = panic_of(async { refused.then_succeeds().cents }).await;
    assert_eq!(message, "expected: success\nfound: Rejected: there is not that much, and recorded: nothing");
    let wrong_data = panic_of(async { _ = paid_in.then_recorded([Recorded::of(&Withdraw { amount: 5 })]) }).await;
    assert_eq!(wrong_data, format!("expected to be recorded:\n    withdraw {{\"amount\":5}}\nfound: {found}"));
    let wrong_name = panic_of(async { _ = paid_in.then_recorded([Recorded::new("pay", json!({"amount": -5}))]) }).await;
    assert_eq!(wrong_name, format!("expected to be recorded:\n    pay {{\"amount\":-5}}\nfound: {found}"));
    let too_few = panic_of(async { _ = refused.then_recorded([Recorded::new("pay", json!({}))]) }).await;
    assert_eq!(
        too_few,
        "expected to be recorded:\n    pay {}\nfound: Rejected: there is not that much, and recorded: nothing"
    );
    let nothing = panic_of(async { _ = paid_in.then_nothing_recorded() }).await;
    assert_eq!(nothing, format!("expected to be recorded: nothing\nfound: {found}"));
    let not_rejected = panic_of(async { _ = paid_in.then_rejected("no") }).await;
    assert_eq!(not_rejected, format!("expected: Rejected: no\nfound: {found}"));
    let other_message = panic_of(async { _ = refused.then_rejected("no") }).await;
    assert_eq!(other_message, "expected: Rejected: no\nfound: Rejected: there is not that much, and recorded: nothing");
    let other_kind = panic_of(async { _ = refused.then_forbidden("there is not that much") }).await;
    assert!(other_kind.starts_with("expected: Forbidden: there is not that much\nfound: Rejected"), "{other_kind}");
    let no_object = panic_of(async { Recorded::new("pay", 5) }).await;
    assert!(no_object.starts_with("expected: \"pay\" with data that is a JSON object\nfound: "), "{no_object}");
}

#[tokio::test]
async fn a_change_past_the_events_does_not_replay() {
    let (scenario, account) = with_account().await;
    let outcome = scenario.when(async |log| teller(log).update(&account.id, Correct { cents: 9 }).await).await;
    let message = panic_of(outcome.then_nothing_recorded().then_replays()).await;
    let key = format!("bank.account/{}", account.id);
    assert_eq!(
        message,
        format!(
            "expected: the records are what the log makes of them\nfound: 1 records, 2 drifts\n\
             {key}: cents is 9, and by the log 0, since the event at position 1\n\
             {key}: it is at revision 2, and by the log at 1, since the event at position 1"
        )
    );
}

/// Its body is impure: the run of this number, from 1, refuses or gives something else.
#[derive(Serialize, Deserialize, Action)]
#[action(create, resource = Account)]
struct Import {
    refuses: u64,
    differs: u64,
}

static RUNS: AtomicU64 = AtomicU64::new(0);

impl Create for Import {
    fn create(self, cx: &Context) -> Result<Account, Rejection> {
        let run = RUNS.fetch_add(1, Ordering::SeqCst) + 1;
        if run == self.refuses {
            return Err(Rejection::new("today it is closed"));
        }
        let cents = i64::from(run == self.differs);
        Ok(Account { id: cx.new_uuid(), iban: "DE02".into(), cents, pin: None, opened_at: cx.now() })
    }
}

#[tokio::test]
async fn a_body_that_is_not_pure_does_not_replay() {
    // It is run live, for the first verify, for the replay, and for the second verify.
    let refused = "the event at position 1 (version 1 of bank.account.import, 00000000-0000-0000-0000-000000000002) \
                   cannot be applied: today it is closed";
    let made = "bank.account/00000000-0000-0000-0000-000000000001: cents is 1, and by the log 0, since the event at \
                position 1";
    let cases = [
        (2, 0, format!("expected: the records are what the log makes of them\nfound: {refused}")),
        (3, 0, format!("expected: a replay that brings the records back\nfound: {refused}")),
        (0, 3, format!("expected: the replayed records are what they were\nfound: 1 records, 1 drifts\n{made}")),
    ];
    for (refuses, differs, expected) in cases {
        RUNS.store(0, Ordering::SeqCst);
        let scenario = Scenario::new(|log| set_up(log).replay_as_arguments::<Import>()).await;
        let outcome = scenario.when(async |log| teller(log).create(Import { refuses, differs }).await).await;
        outcome.then_succeeds();
        assert_eq!(panic_of(outcome.then_replays()).await, expected);
    }
}
