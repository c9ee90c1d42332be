//! Attributes that are structs, lists and maps; and attributes that every update sets.

#![cfg(all(feature = "derive", feature = "memory", feature = "sled"))]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests")]

mod shop;

use std::collections::BTreeMap;

use rekindle::{Action, Actor, Context, Create, Log, Rejection, Resource, Update};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use shop::state::state_of;
use shop::{Bed, actions, events, on_each_backend, session};

on_each_backend![
    p9_nested_structs_lists_maps_and_nulls_survive,
    p9_a_change_deep_inside_is_a_change_of_its_attribute,
    p9_numbers_keep_all_their_digits,
    p9_a_change_in_the_last_digit_is_a_change,
    p8_update_defaults_are_in_changed_attributes,
    p8_update_defaults_alone_are_a_change,
];

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Resource)]
#[resource(name = "shop.profile", actions(Join, Move, Tag, Measure, Touch))]
struct Profile {
    #[resource(id)]
    id: u64,
    address: Address,
    phones: Vec<Phone>,
    extra: BTreeMap<String, Value>,
    measured: Measured,
    /// Who has changed it last: each update sets it.
    updated_by: String,
    edits: u32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Address {
    street: String,
    place: Option<Place>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Place {
    latitude: f64,
    longitude: f64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Phone {
    None,
    Home(String),
    Work { number: String, extension: Option<u16> },
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Measured {
    large: u128,
    small: i64,
    unsigned: u64,
    fraction: f64,
}

fn by(cx: &Context) -> String {
    cx.actor().map_or_else(|| "nobody".to_owned(), ToString::to_string)
}

#[derive(Serialize, Deserialize, Action)]
#[action(create, resource = Profile)]
struct Join {
    id: u64,
    address: Address,
    phones: Vec<Phone>,
    extra: BTreeMap<String, Value>,
}

impl Create for Join {
    fn create(self, cx: &Context) -> Result<Profile, Rejection> {
        let Self { id, address, phones, extra } = self;
        Ok(Profile { id, address, phones, extra, measured: Measured::default(), updated_by: by(cx), edits: 0 })
    }
}

macro_rules! update {
    ($action:ident { $($field:ident: $type:ty),* }, |$input:ident, $profile:ident| $change:expr) => {
        #[derive(Serialize, Deserialize, Action)]
        #[action(update, resource = Profile)]
        struct $action { $($field: $type),* }

        impl Update for $action {
            fn update(self, $profile: &mut Profile, cx: &Context) -> Result<(), Rejection> {
                let $input = self;
                $change;
                $profile.updated_by = by(cx);
                $profile.edits += 1;
                Ok(())
            }
        }
    };
}

update!(Move { latitude: f64 }, |input, profile| profile.address.place.as_mut().unwrap().latitude = input.latitude);
update!(Tag { name: String, value: Value }, |input, profile| profile.extra.insert(input.name, input.value));
update!(Touch {}, |_input, profile| profile.phones.truncate(9));

/// It counts as no edit, so that what it leaves alone is unchanged.
#[derive(Serialize, Deserialize, Action)]
#[action(update, resource = Profile)]
struct Measure {
    measured: Measured,
}

impl Update for Measure {
    fn update(self, profile: &mut Profile, _: &Context) -> Result<(), Rejection> {
        profile.measured = self.measured;
        Ok(())
    }
}

fn join(id: u64) -> Join {
    let extra = json!({"null": null, "list": [1, [2, null], {"a": {}}], "quote\" \\ \u{1f980}": "\u{0}\n"});
    Join {
        id,
        address: Address {
            street: "Hauptstraße 1".to_owned(),
            place: Some(Place { latitude: 50.1, longitude: -0.000_1 }),
        },
        phones: vec![
            Phone::None,
            Phone::Home("1".to_owned()),
            Phone::Work { number: "2".to_owned(), extension: None },
            Phone::Work { number: "3".to_owned(), extension: Some(4) },
        ],
        extra: serde_json::from_value(extra).unwrap(),
    }
}

async fn log(bed: &Bed) -> Log {
    bed.bare().resource::<Profile>().start().await.unwrap()
}

async fn p9_nested_structs_lists_maps_and_nulls_survive(bed: Bed) {
    let log = log(&bed).await;
    let profile = session(&log).create(join(1)).await.unwrap();
    assert_eq!(log.get::<Profile>(&1).await.unwrap().as_ref(), Some(&profile));
    let event = events(&log).await.remove(0);
    assert_eq!(shop::json(&event.data), serde_json::to_value(join(1)).unwrap());
    let phones = json!(["none", {"home": "1"}, {"work": {"number": "2", "extension": null}},
        {"work": {"number": "3", "extension": 4}}]);
    assert_eq!(shop::json(&event.data)["phones"], phones);
    log.replay().await.unwrap();
    assert_eq!(log.get::<Profile>(&1).await.unwrap(), Some(profile));
}

async fn p9_a_change_deep_inside_is_a_change_of_its_attribute(bed: Bed) {
    let log = log(&bed).await;
    session(&log).create(join(1)).await.unwrap();
    session(&log).update(&1, Move { latitude: 51.0 }).await.unwrap();
    let tag = Tag { name: "list".to_owned(), value: json!([null]) };
    let after = session(&log).update(&1, tag).await.unwrap();
    let events = events(&log).await;
    let address = json!({"street": "Hauptstraße 1", "place": {"latitude": 51.0, "longitude": -0.0001}});
    let moved = json!({"address": address, "updated_by": "system/test", "edits": 1});
    let mut moved = moved.as_object().unwrap().clone();
    moved.remove("updated_by");
    assert_eq!(shop::json(&events[1].changed_attributes), Value::Object(moved), "who did it is the same as before");
    assert_eq!(shop::json(&events[2].changed_attributes)["extra"]["list"], json!([null]));
    let live = state_of(&*bed.store, &log, &["shop.profile"]).await;
    log.replay().await.unwrap();
    assert_eq!(state_of(&*bed.store, &log, &["shop.profile"]).await, live);
    assert_eq!(log.get::<Profile>(&1).await.unwrap(), Some(after));
}

const MEASURED: Measured =
    Measured { large: u128::MAX, small: i64::MIN, unsigned: u64::MAX, fraction: 0.100_000_000_000_000_02 };

async fn p9_numbers_keep_all_their_digits(bed: Bed) {
    let log = log(&bed).await;
    session(&log).create(join(1)).await.unwrap();
    for measured in [MEASURED, Measured { fraction: f64::MIN_POSITIVE, ..MEASURED }] {
        session(&log).update(&1, Measure { measured }).await.unwrap();
        assert_eq!(log.get::<Profile>(&1).await.unwrap().unwrap().measured, measured);
        log.replay().await.unwrap();
        assert_eq!(log.get::<Profile>(&1).await.unwrap().unwrap().measured, measured);
    }
}

async fn p9_a_change_in_the_last_digit_is_a_change(bed: Bed) {
    let log = log(&bed).await;
    session(&log).create(join(1)).await.unwrap();
    session(&log).update(&1, Measure { measured: MEASURED }).await.unwrap();
    let near = [
        Measured { large: u128::MAX - 1, ..MEASURED },
        Measured { unsigned: u64::MAX - 1, ..MEASURED },
        Measured { small: i64::MIN + 1, ..MEASURED },
        Measured { fraction: 0.1, ..MEASURED },
    ];
    for (number, measured) in (3..).zip(near) {
        session(&log).update(&1, Measure { measured }).await.unwrap();
        assert_eq!(log.get::<Profile>(&1).await.unwrap().unwrap().measured, measured);
        assert_eq!(events(&log).await.len(), number);
    }
}

async fn p8_update_defaults_are_in_changed_attributes(bed: Bed) {
    let log = log(&bed).await;
    session(&log).create(join(1)).await.unwrap();
    let user = log.as_actor(Actor::new("user", 42).unwrap());
    user.update(&1, Move { latitude: 1.5 }).await.unwrap();
    let changed = shop::json(&events(&log).await[1].changed_attributes);
    assert_eq!((&changed["updated_by"], &changed["edits"]), (&json!("user/42"), &json!(1)));
    log.replay().await.unwrap();
    assert_eq!(log.get::<Profile>(&1).await.unwrap().unwrap().updated_by, "user/42");
}

async fn p8_update_defaults_alone_are_a_change(bed: Bed) {
    let log = log(&bed).await;
    session(&log).create(join(1)).await.unwrap();
    session(&log).update(&1, Touch {}).await.unwrap();
    assert_eq!(actions(&log).await, ["join", "touch"]);
    let event = events(&log).await.remove(1);
    assert_eq!(shop::json(&event.data), json!({}));
    assert_eq!(shop::json(&event.changed_attributes), json!({"edits": 1}));
}
