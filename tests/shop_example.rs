//! The example `shop`: run as a program in memory and on disk, and its parts run here.

#![cfg(all(feature = "memory", feature = "sled", feature = "derive"))]
#![allow(clippy::unwrap_used, dead_code, reason = "tests; the parts of the example are here whole")]

#[path = "../examples/shop/customer.rs"]
mod customer;
#[path = "../examples/shop/mail.rs"]
mod mail;
#[path = "../examples/shop/order.rs"]
mod order;
#[path = "../examples/shop/payment.rs"]
mod payment;
#[path = "../examples/shop/rules.rs"]
mod rules;
#[path = "../examples/shop/set_up.rs"]
mod set_up;
#[path = "../examples/shop/v1.rs"]
mod v1;

use std::path::Path;
use std::process::{Command, Output};

use customer::{Customer, Import, Leave, SendMail, SignUp};
use futures::TryStreamExt;
use mail::Outbox;
use order::{Cancel, Line, Order, Place, ReceivePayment, Ship, Status};
use payment::{Pay, Payment};
use rekindle::testing::{Recorded, Scenario};
use rekindle::{Log, Rekindle, Resource, Timestamp};
use rules::Staff;
use uuid::Uuid;

const STAFF: Staff = Staff("grace");

/// What the program prints; `UUID` stands for each UUID.
const STORY: &str = r#"the old program has recorded 3 events

the new program knows all of them: true
records that are not as the log has them now: 2
replayed 3 events into 3 records
records that are not as the log has them now: 0

imported 3 customers, in one commit
two signed up, one of them an imported one: there are 5 customers
Dan left; the second time: Rejected: Dan has left already
his record stays: there are 5 customers

orders 3 and 4 are placed
Cleo orders for Bob: Forbidden: customers act for themselves only
nothing in it: Rejected: an order has something in it

ship what is half paid: Rejected: order 3 is placed, with 11000 of 61000 paid: it cannot be shipped
pay too much: Rejected: order 3 is placed, and 50000 are owed: not 50001
Bob ships it himself: Forbidden: only staff may ship
order 3 is shipped, after 2 payments

the nightly job has cancelled the orders [1, 2, 4]

mail that was sent:
  to bob@example.org: order 3 is placed
  to cleo@example.org: order 4 is placed
  to bob@example.org: order 3 is paid
  to bob@example.org: order 3 is shipped
  to ada@example.org: order 1 is cancelled
  to ada@example.org: order 2 is cancelled
  to cleo@example.org: order 4 is cancelled

records dropped: 11
events replayed: 26
mails that the replay has sent: 0
verified: 11 records, 0 drifts

the log, read by nobody: Forbidden: only staff may read the log
the history of order 3:
10  2026-01-05T09:08:00Z  place by customer/UUID
    changed_at: - -> "2026-01-05T09:08:00Z"
    customer: - -> "UUID"
    lines: - -> [{"item":"table","quantity":1,"cents":25000},{"item":"chair","quantity":4,"cents":9000}]
    number: - -> 3
    paid: - -> 0
    placed_at: - -> "2026-01-05T09:08:00Z"
    status: - -> "placed"
    total: - -> 61000
15  2026-01-05T09:12:00Z  receive_payment by customer/UUID
    changed_at: "2026-01-05T09:08:00Z" -> "2026-01-05T09:12:00Z"
    paid: 0 -> 11000
17  2026-01-05T09:15:00Z  receive_payment by customer/UUID
    changed_at: "2026-01-05T09:12:00Z" -> "2026-01-05T09:15:00Z"
    paid: 11000 -> 61000
    status: "placed" -> "paid"
19  2026-01-05T09:17:00Z  ship by staff/grace
    changed_at: "2026-01-05T09:15:00Z" -> "2026-01-05T09:17:00Z"
    status: "paid" -> "shipped"
"#;

/// Runs the example: `cargo test` builds it beside the tests.
fn run(args: &[String]) -> Output {
    let tests = std::env::current_exe().unwrap();
    let path = tests.parent().and_then(Path::parent).unwrap().join("examples").join("shop");
    assert!(path.with_extension(std::env::consts::EXE_EXTENSION).exists(), "build the examples first");
    Command::new(path).args(args).output().unwrap()
}

fn with_uuids_masked(text: &[u8]) -> String {
    let (mut rest, mut masked) = (std::str::from_utf8(text).unwrap(), String::new());
    while let Some(next) = rest.chars().next() {
        let uuid = rest.get(..36).is_some_and(|text| Uuid::try_parse(text).is_ok());
        masked.push_str(if uuid { "UUID" } else { &rest[..next.len_utf8()] });
        rest = &rest[if uuid { 36 } else { next.len_utf8() }..];
    }
    masked
}

async fn all<R: Resource>(log: &Log) -> Vec<R> {
    log.list().unwrap().try_collect().await.unwrap()
}

#[test]
fn in_memory_it_tells_its_story() {
    let ran = run(&[]);
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    assert_eq!(with_uuids_masked(&ran.stdout), STORY);
}

#[tokio::test]
async fn on_disk_it_tells_the_same_and_leaves_the_shop_there() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sled:{}", folder.path().join("shop").display());
    let ran = run(std::slice::from_ref(&url));
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    assert_eq!(with_uuids_masked(&ran.stdout), STORY);

    let log = set_up::shop(Rekindle::open(&url), &Outbox::default()).start().await.unwrap();
    let orders: Vec<_> = all::<Order>(&log).await.into_iter().map(|o| (o.number, o.status, o.total, o.paid)).collect();
    let expected = [
        (1, Status::Cancelled, 4_000, 0),
        (2, Status::Cancelled, 9_000, 0),
        (3, Status::Shipped, 61_000, 61_000),
        (4, Status::Cancelled, 8_000, 0),
    ];
    assert_eq!(orders, expected);
    assert_eq!(all::<Payment>(&log).await.iter().map(|payment| payment.cents).sum::<u64>(), 61_000);
    let mut customers: Vec<_> =
        all::<Customer>(&log).await.into_iter().map(|c| (c.name, c.mails, c.left_at.is_some())).collect();
    customers.sort();
    let expected = [("Ada", 2, false), ("Bob", 3, false), ("Cleopatra", 2, false), ("Dan", 0, true), ("Eve", 0, false)];
    assert_eq!(customers, expected.map(|(name, mails, left)| (name.to_owned(), mails, left)));
    assert_eq!(log.replay().verify().await.unwrap().drifts, []);
    log.shutdown().await.unwrap();
    drop(log);

    let again = run(&[url]);
    assert!(!again.status.success());
    assert_eq!(
        String::from_utf8(again.stderr).unwrap(),
        "error: there is a shop in this folder already: give another one\n"
    );
}

#[test]
fn it_says_how_it_is_called() {
    for argument in ["redis:x", "sled:", "--help"] {
        let ran = run(&[argument.to_owned()]);
        assert_eq!(String::from_utf8(ran.stderr).unwrap(), "error: usage: shop [sled:FOLDER]\n");
    }
}

/// The shop with a customer and an order over 50.00.
async fn with_order() -> (Scenario, Outbox, Customer) {
    let outbox = Outbox::default();
    let scenario = Scenario::new(|log| set_up::shop(log, &outbox)).await;
    let customer = scenario
        .given(async |log| {
            let import = Import { email: "ada@example.org".into(), name: "Ada".into() };
            let ada = log.as_system("test").create(import).await?;
            let lines = vec![Line { item: "lamp".into(), quantity: 2, cents: 2_500 }];
            log.as_system("test").create(Place { number: 1, customer: ada.id, lines }).await?;
            Ok(ada)
        })
        .await;
    (scenario, outbox, customer)
}

#[tokio::test]
async fn a_payment_its_order_and_the_mail_about_it_are_one_commit() {
    let (scenario, outbox, ada) = with_order().await;
    let paid = scenario.when(async |log| log.as_actor(&ada).create(Pay { order: 1, cents: 5_000 }).await).await;
    let mail = SendMail { to: "ada@example.org".into(), subject: "order 1 is paid".into() };
    paid.then_recorded([
        Recorded::of(&Pay { order: 1, cents: 5_000 }),
        Recorded::of(&ReceivePayment { cents: 5_000 }),
        Recorded::of(&mail),
    ]);
    assert_eq!(outbox.lines(), ["to ada@example.org: order 1 is placed", "to ada@example.org: order 1 is paid"]);
    paid.then_replays().await;
    assert_eq!(outbox.lines().len(), 2, "a replay sends no mail");

    let too_much = scenario.when(async |log| log.as_actor(&ada).create(Pay { order: 1, cents: 1 }).await).await;
    too_much.then_rejected("order 1 is paid, and 0 are owed: not 1").then_nothing_recorded();
    let nothing = scenario.when(async |log| log.as_actor(&ada).create(Pay { order: 1, cents: 0 }).await).await;
    nothing.then_rejected("a payment is of some money").then_nothing_recorded();
    assert_eq!(outbox.lines().len(), 2, "what was not recorded is not sent");
}

#[tokio::test]
async fn an_order_goes_no_way_that_it_does_not_have() {
    let (scenario, _, _) = with_order().await;
    let cancel = || Cancel { reason: "no longer wanted".into() };
    let ship = scenario.when(async |log| log.as_actor(STAFF).update(&1, Ship {}).await).await;
    ship.then_rejected("order 1 is placed, with 0 of 5000 paid: it cannot be shipped").then_nothing_recorded();
    scenario.given(async |log| log.as_system("test").create(Pay { order: 1, cents: 1 }).await).await;
    let half_paid = scenario.when(async |log| log.as_actor(STAFF).update(&1, cancel()).await).await;
    half_paid.then_rejected("order 1 is placed, with 1 of 5000 paid: it cannot be cancelled");
    scenario.given(async |log| log.as_system("test").create(Pay { order: 1, cents: 4_999 }).await).await;
    let shipped = scenario.when(async |log| log.as_actor(STAFF).update(&1, Ship {}).await).await;
    assert_eq!(shipped.then_succeeds().status, Status::Shipped);
    let again = scenario.when(async |log| log.as_actor(STAFF).update(&1, Ship {}).await).await;
    again.then_rejected("order 1 is shipped, with 5000 of 5000 paid: it cannot be shipped").then_replays().await;
}

#[tokio::test]
async fn the_rules_hold() {
    let (scenario, _, ada) = with_order().await;
    let eve = scenario
        .when(async |log| {
            log.as_anonymous().upsert(SignUp { email: "eve@example.org".into(), name: "Eve".into() }).await
        })
        .await;
    let eve = eve.then_succeeds();
    let cancel = || Cancel { reason: "I was told to".into() };
    let by_eve = scenario.when(async |log| log.as_actor(eve).update(&1, cancel()).await).await;
    by_eve.then_forbidden("customers act for themselves only").then_nothing_recorded();
    let ship = scenario.when(async |log| log.as_actor(&ada).update(&1, Ship {}).await).await;
    ship.then_forbidden("only staff may ship");
    let as_paid = scenario.when(async |log| log.as_actor(&ada).update(&1, ReceivePayment { cents: 5_000 }).await).await;
    as_paid.then_forbidden("only staff may receive_payment").then_nothing_recorded();
    let leave = scenario.when(async |log| log.as_actor(eve).destroy(&ada.id, Leave {}).await).await;
    leave.then_forbidden("customers act for themselves only");
    let read = scenario.when(async |log| log.as_actor(&ada).log()?.history::<Order>(&1).await).await;
    read.then_forbidden("only staff may read the log");
    let by_ada = scenario.when(async |log| log.as_actor(&ada).update(&1, cancel()).await).await;
    by_ada.then_succeeds();
    by_ada.then_replays().await;
}

#[tokio::test]
async fn who_has_left_is_there_and_comes_back_by_signing_up() {
    let (scenario, _, ada) = with_order().await;
    let left = scenario.when(async |log| log.as_actor(&ada).destroy(&ada.id, Leave {}).await).await;
    left.then_recorded([Recorded::of(&Leave {})]).then_replays().await;
    let gone = scenario.log().get::<Customer>(&ada.id).await.unwrap().unwrap();
    assert!(gone.left_at.is_some_and(|at| at > Timestamp::EPOCH));
    let sign_up = || SignUp { email: " Ada@Example.org".into(), name: "Ada L.".into() };
    let back = scenario.when(async |log| log.as_anonymous().upsert(sign_up()).await).await;
    back.then_recorded([Recorded::of(&sign_up())]).then_replays().await;
    let expected = Customer { name: "Ada L.".into(), left_at: None, ..gone };
    assert_eq!(back.then_succeeds(), &expected);
}
