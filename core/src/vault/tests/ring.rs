//! The rows of keys.

use proptest::prelude::*;
use uuid::Uuid;

use crate::error::ErrorKind;
use crate::types::{EventId, KeyId, KeyRow, KeyVersion, Redacted, Subject, Timestamp};
use crate::vault::ring::{Forgetting, Material, Ring, RingKey, State};

fn subject() -> Subject {
    Subject::named("ada").unwrap()
}

pub(super) fn rings() -> impl Strategy<Value = Ring> {
    let time = || any::<i32>().prop_map(|time| Timestamp::from_microseconds(i64::from(time) * 1_000_003).unwrap());
    let forgetting = (time(), ".{0,9}", any::<u128>(), any::<bool>()).prop_map(|(at, reason, event, done)| {
        State::Forgotten(Forgetting { at, reason, event: EventId::from_uuid(Uuid::from_u128(event)), done })
    });
    let material = prop_oneof![
        (".{0,9}", prop::collection::vec(any::<u8>(), 0..200))
            .prop_map(|(kek, wrapped)| Material::Wrapped { kek, wrapped }),
        (".{0,9}", time(), ".{0,9}").prop_map(|(kek, at, reason)| Material::Destroyed { kek, at, reason }),
    ];
    let key = (any::<u32>(), any::<[u8; 32]>(), material).prop_map(|(generation, id, material)| RingKey {
        generation,
        id: KeyId::from_bytes(id),
        material,
    });
    (prop_oneof![Just(State::Open), forgetting], prop::collection::vec(key, 0..4))
        .prop_map(|(state, keys)| Ring { state, keys })
}

proptest! {
    #[test]
    fn a_row_reads_back_and_neither_a_part_of_it_nor_more_does(ring in rings(), cut in any::<prop::sample::Index>()) {
        let row = ring.row(&subject(), KeyVersion { version: 4, epoch: 2 }, true).unwrap();
        prop_assert_eq!((row.version, row.epoch), (5, 3));
        prop_assert_eq!(Ring::of_row(&row).unwrap(), ring);
        let of_body = |body: Vec<u8>| Ring::of_row(&KeyRow { body, ..row.clone() });
        let length = cut.index(row.body.len());
        let error = of_body(row.body[..length].to_vec()).unwrap_err();
        prop_assert_eq!(error.kind().clone(), ErrorKind::Corrupt);
        prop_assert!(error.message().starts_with("the keys of named:ada: a stored row"), "{}", error);
        let error = of_body([&row.body[..], &[0]].concat()).unwrap_err();
        prop_assert_eq!(error.kind().clone(), ErrorKind::Corrupt);
    }
}

fn wrapped(generation: u32) -> RingKey {
    let material = Material::Wrapped { kek: "kek".to_owned(), wrapped: Vec::new() };
    RingKey { generation, id: KeyId::from_bytes([generation as u8; 32]), material }
}

fn destroyed(generation: u32) -> RingKey {
    let material = Material::Destroyed { kek: "kek".to_owned(), at: Timestamp::EPOCH, reason: "asked".to_owned() };
    RingKey { material, ..wrapped(generation) }
}

/// Property 80.
#[test]
fn e8_what_is_sealed_by_is_the_last_key_and_never_one_before_it() {
    let current = |keys| {
        let ring = Ring { state: State::Open, keys };
        (ring.current(&subject()).unwrap().map(|key| key.generation), ring.next_generation())
    };
    assert_eq!(current(vec![]), (None, 1));
    assert_eq!(current(vec![wrapped(1), wrapped(2)]), (Some(2), 3));
    assert_eq!(current(vec![wrapped(1), destroyed(2)]), (None, 3));
    assert_eq!(current(vec![destroyed(1), wrapped(2)]), (Some(2), 3));
}

/// Property 82.
#[test]
fn e8_nothing_is_sealed_for_who_was_forgotten() {
    let (at, event) = (Timestamp::EPOCH, EventId::from_uuid(Uuid::nil()));
    let state = State::Forgotten(Forgetting { at, reason: "asked".to_owned(), event, done: true });
    let error = Ring { state, keys: vec![wrapped(1)] }.current(&subject()).unwrap_err();
    let redacted = Redacted { subject: subject(), at, reason: "asked".to_owned() };
    assert_eq!(super::fault::<()>(Err(error)), crate::VaultFault::Redacted(Box::new(redacted)));
}
