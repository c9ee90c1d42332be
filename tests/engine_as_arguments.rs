//! The two ways to replay an event: by merging what was recorded, or by running its action again.

#![cfg(all(feature = "derive", feature = "memory", feature = "sled"))]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests")]

mod shop;

use rekindle::{Action, Context, Create, Destroy, ErrorKind, Position, Rejection, Resource, Timestamp, Update};
use serde::{Deserialize, Serialize};
use shop::state::{state, state_of};
use shop::{Bed, Ticking, events, on_each_backend, session, tick};
use uuid::Uuid;

on_each_backend![
    p28_a_replay_forces_what_was_recorded_and_runs_no_body,
    p28_as_arguments_the_body_is_run_again,
    p28_as_arguments_is_said_for_each_action,
    p28_changed_attributes_come_as_arguments,
    p28_p5_p22_as_arguments_keeps_ids_and_timestamps,
    p28_as_arguments_fails_clearly_when_a_required_argument_is_missing,
    p28_as_arguments_fails_clearly_when_a_sensitive_argument_was_not_recorded,
    p28_as_arguments_is_the_same_for_the_past,
    p28_as_arguments_takes_over_the_revisions_of_the_events,
];

/// A program that sells at some rate of tax; programs differ in the rate, and in what they ask for.
macro_rules! till {
    ($program:ident, $rate:literal, { $($field:ident: $type:ty),* }, |$sell:ident| $tax:expr) => {
        mod $program {
            use super::*;

            #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Resource)]
            #[resource(name = "till.sale", actions(Sell, Discount, Cancel))]
            pub(super) struct Sale {
                #[resource(id)]
                pub(super) number: Uuid,
                pub(super) price: i64,
                pub(super) tax: i64,
                #[resource(created_at)]
                pub(super) sold_at: Timestamp,
                #[resource(updated_at)]
                pub(super) changed_at: Option<Timestamp>,
            }

            #[derive(Serialize, Deserialize, Action)]
            #[action(create, resource = Sale)]
            pub(super) struct Sell { pub(super) price: i64, $(pub(super) $field: $type),* }

            impl Create for Sell {
                fn create(self, cx: &Context) -> Result<Sale, Rejection> {
                    let $sell = &self;
                    let (number, price, tax) = (cx.new_uuid(), self.price, $tax);
                    Ok(Sale { number, price, tax, sold_at: Timestamp::EPOCH, changed_at: None })
                }
            }

            #[derive(Serialize, Deserialize, Action)]
            #[action(update, resource = Sale)]
            pub(super) struct Discount { pub(super) by: i64 }

            impl Update for Discount {
                fn update(self, sale: &mut Sale, _: &Context) -> Result<(), Rejection> {
                    sale.price -= self.by;
                    sale.tax = sale.price * $rate / 100;
                    Ok(())
                }
            }

            #[derive(Serialize, Deserialize, Action)]
            #[action(destroy, resource = Sale)]
            pub(super) struct Cancel {}

            impl Destroy for Cancel {}
        }
    };
}
till!(first, 10, {}, |sell| sell.price * 10 / 100);
till!(dearer, 20, {}, |sell| sell.price * 20 / 100);
till!(taking_over, 20, { tax: Option<i64> }, |sell| sell.tax.unwrap_or(sell.price * 20 / 100));
till!(asking_more, 10, { till: String }, |sell| i64::try_from(sell.till.len()).unwrap_or(0));

/// The first program sells for 100, gives a discount of 50, and sells and cancels another. Gives the first sale.
async fn sold(bed: &Bed) -> first::Sale {
    let log = bed.bare().resource::<first::Sale>().clock(Ticking::default()).start().await.unwrap();
    let sale = session(&log).create(first::Sell { price: 100 }).await.unwrap();
    let sale = session(&log).update(&sale.number, first::Discount { by: 50 }).await.unwrap();
    let other = session(&log).create(first::Sell { price: 7 }).await.unwrap();
    session(&log).destroy(&other.number, first::Cancel {}).await.unwrap();
    sale
}

fn as_sold(sale: &first::Sale, tax: i64) -> dearer::Sale {
    dearer::Sale { number: sale.number, price: 50, tax, sold_at: tick(1), changed_at: Some(tick(2)) }
}

async fn p28_a_replay_forces_what_was_recorded_and_runs_no_body(bed: Bed) {
    let sale = sold(&bed).await;
    let log = bed.bare().resource::<dearer::Sale>().start().await.unwrap();
    let before = state_of(&*bed.store, &log, &["till.sale"]).await;
    log.replay().await.unwrap();
    assert_eq!(shop::all::<dearer::Sale>(&log).await, [as_sold(&sale, 5)]);
    assert_eq!(state_of(&*bed.store, &log, &["till.sale"]).await, before);
}

async fn p28_as_arguments_the_body_is_run_again(bed: Bed) {
    let sale = sold(&bed).await;
    let builder = bed.bare().resource::<dearer::Sale>();
    let builder = builder.replay_as_arguments::<dearer::Sell>().replay_as_arguments::<dearer::Discount>();
    let log = builder.replay_as_arguments::<dearer::Cancel>().start().await.unwrap();
    let before = state_of(&*bed.store, &log, &["till.sale"]).await;
    log.replay().await.unwrap();
    assert_eq!(shop::all::<dearer::Sale>(&log).await, [as_sold(&sale, 10)]);
    let after = state_of(&*bed.store, &log, &["till.sale"]).await;
    assert_eq!(after.values().next().unwrap().revision, before.values().next().unwrap().revision);
}

async fn p28_as_arguments_is_said_for_each_action(bed: Bed) {
    let sale = sold(&bed).await;
    // It may be said before the resource is registered.
    let builder = bed.bare().replay_as_arguments::<dearer::Sell>();
    let log = builder.resource::<dearer::Sale>().start().await.unwrap();
    log.replay().until_position(1).await.unwrap();
    assert_eq!(log.get::<dearer::Sale>(&sale.number).await.unwrap().unwrap().tax, 20);
    log.replay().await.unwrap();
    assert_eq!(log.get::<dearer::Sale>(&sale.number).await.unwrap().unwrap().tax, 5);
}

async fn p28_changed_attributes_come_as_arguments(bed: Bed) {
    let sale = sold(&bed).await;
    let builder = bed.bare().resource::<taking_over::Sale>();
    let log = builder.replay_as_arguments::<taking_over::Sell>().start().await.unwrap();
    log.replay().until_position(1).await.unwrap();
    assert_eq!(log.get::<taking_over::Sale>(&sale.number).await.unwrap().unwrap().tax, 10);
}

async fn p28_p5_p22_as_arguments_keeps_ids_and_timestamps(bed: Bed) {
    use shop::*;

    let builder = bed.builder().clock(Ticking::default()).replay_as_arguments::<Open>();
    let builder = builder.replay_as_arguments::<Print>().replay_as_arguments::<Deposit>().replay_as_arguments::<Peel>();
    let log = builder.start().await.unwrap();
    let ada = session(&log).create(open("Ada")).await.unwrap().id;
    session(&log).create(print(7)).await.unwrap();
    session(&log).create(print(8)).await.unwrap();
    session(&log).update(&ada, Deposit { amount: 3 }).await.unwrap();
    session(&log).destroy(&8, Peel {}).await.unwrap();
    let live = state(&*bed.store, &log).await;
    for workers in 1..=3 {
        log.clear_records().await.unwrap();
        log.replay().workers(workers).memory(0).await.unwrap();
        assert_eq!(state(&*bed.store, &log).await, live);
    }
}

async fn p28_as_arguments_fails_clearly_when_a_required_argument_is_missing(bed: Bed) {
    sold(&bed).await;
    let builder = bed.bare().resource::<asking_more::Sale>();
    let log = builder.replay_as_arguments::<asking_more::Sell>().start().await.unwrap();
    let before = state_of(&*bed.store, &log, &["till.sale"]).await;
    let error = log.replay().await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Replay { position: Position::new(1) });
    let event = events(&log).await[0].id;
    let told = format!(
        "the event at position 1 (version 1 of till.sale.sell, {event}) cannot be applied: the input does not fit the \
         action \"sell\": "
    );
    assert!(error.message().starts_with(&told), "{error}");
    assert!(error.message().contains("missing field `till`"), "{error}");
    assert_eq!(state_of(&*bed.store, &log, &["till.sale"]).await, before);
}

async fn p28_as_arguments_fails_clearly_when_a_sensitive_argument_was_not_recorded(bed: Bed) {
    let log = bed.builder().replay_as_arguments::<shop::SetPin>().start().await.unwrap();
    let ada = session(&log).create(shop::open("ada")).await.unwrap();
    session(&log).update(&ada.id, shop::SetPin { pin: "1234".to_owned() }).await.unwrap();
    let error = log.replay().await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Replay { position: Position::new(2) });
    assert!(error.message().contains("the input does not fit the action \"set_pin\""), "{error}");
    assert!(error.message().contains("null, expected a string"), "{error}");
    assert_eq!(log.get::<shop::Account>(&ada.id).await.unwrap().unwrap().pin.as_deref(), Some("1234"));
}

async fn p28_as_arguments_is_the_same_for_the_past(bed: Bed) {
    let sale = sold(&bed).await;
    let builder = bed.bare().resource::<dearer::Sale>();
    let builder = builder.replay_as_arguments::<dearer::Sell>().replay_as_arguments::<dearer::Discount>();
    let log = builder.start().await.unwrap();
    let then = log.as_of(Position::new(1)).get::<dearer::Sale>(&sale.number).await.unwrap().unwrap();
    assert_eq!((then.number, then.price, then.tax, then.sold_at), (sale.number, 100, 20, tick(1)));
    let history = log.history::<dearer::Sale>(&sale.number).await.unwrap();
    assert_eq!(history[1].record, Some(as_sold(&sale, 10)));
    // The records in use are as they were made.
    assert_eq!(log.get::<dearer::Sale>(&sale.number).await.unwrap(), Some(as_sold(&sale, 5)));
}

async fn p28_as_arguments_takes_over_the_revisions_of_the_events(bed: Bed) {
    use shop::*;

    let log = bed.builder().replay_as_arguments::<Stick>().start().await.unwrap();
    session(&log).at(seconds(10)).create(print(1)).await.unwrap();
    session(&log).at(seconds(40)).update(&1, Stick { slot: slot("at 40") }).await.unwrap();
    session(&log).at(seconds(20)).update(&1, Stick { slot: slot("at 20") }).await.unwrap();
    // The second one is left out, and the third one keeps its number.
    log.replay().until(seconds(30)).await.unwrap();
    assert_eq!(state(&*bed.store, &log).await["shop.label/1"].revision, 3);
}
