//! The vectors of `docs/vault-format.md`, read out of the page.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::aad::Parts;
use super::{hex, unhex};
use crate::codec;
use crate::types::{KeyRow, KeyVersion, Subject, Timestamp};
use crate::vault::canary::Canary;
use crate::vault::crypto::{CIPHER, INDEX, SealingKey, derive};
use crate::vault::ring::{Material, Ring, RingKey, State};
use crate::vault::{KekProvider, Keks, SecretKey, envelope};

const PAGE: &str = include_str!("../../../../docs/vault-format.md");

/// The JSON of the page: that of its text, and its vectors.
fn page() -> (Vec<Value>, Vec<Value>) {
    let (text, vectors) = PAGE.split_once("\n## Test vectors\n").unwrap();
    let blocks = |part: &str| {
        let blocks = part.split("```json\n").skip(1).map(|block| block.split_once("\n```").unwrap().0);
        blocks.map(|block| serde_json::from_str(block).unwrap()).collect()
    };
    (blocks(text), blocks(vectors))
}

/// The vectors that have this member.
fn vectors(member: &str) -> Vec<Value> {
    page().1.into_iter().filter(|vector| vector.get(member).is_some()).collect()
}

fn bytes(vector: &Value, member: &str) -> Vec<u8> {
    unhex(vector[member].as_str().unwrap())
}

fn secret(vector: &Value) -> SecretKey {
    SecretKey::from_bytes(bytes(vector, "key").try_into().unwrap())
}

/// The key, made when the vector says.
fn sealing(vector: &Value) -> SealingKey {
    let made = bytes(vector, "made").iter().fold(0, |made, byte| made << 8 | i64::from(*byte));
    SealingKey::made_at(secret(vector), Timestamp::from_microseconds(made * 1000).unwrap()).unwrap()
}

#[test]
fn the_page_has_vectors_of_each_kind_and_no_other_ones() {
    let kinds = ["cipher", "envelope", "body", "row", "hash"].map(|member| vectors(member).len());
    assert_eq!((kinds, page().1.len()), ([1, 4, 2, 1, 1], 9));
}

#[test]
fn e8_keys_are_derived_as_the_page_says() {
    for vector in vectors("cipher") {
        let key = secret(&vector);
        let derived = json!({
            "key": hex(key.expose()),
            "made": vector["made"],
            "id": sealing(&vector).id().to_string(),
            "cipher": hex(&*derive(&key, CIPHER).unwrap()),
            "index": hex(&*derive(&key, INDEX).unwrap()),
        });
        assert_eq!(derived, vector);
    }
}

#[test]
fn e8_ids_grow_with_the_time_at_which_a_key_was_made_and_begin_with_it() {
    let id = |byte, at: &str| {
        let key = SealingKey::made_at(SecretKey::from_bytes([byte; 32]), at.parse().unwrap()).unwrap();
        key.id().to_string()
    };
    let times = ["1969-12-31T23:59:59Z", "1970-01-01T00:00:00.001Z", "2026-11-26T12:00:00Z", "9999-01-01T00:00:00Z"];
    let ids: Vec<String> = times.iter().zip([4, 3, 2, 1]).map(|(at, byte)| id(byte, at)).collect();
    assert!(ids.is_sorted(), "{ids:?}");
    let begins: Vec<&str> = ids.iter().map(|id| &id[..12]).collect();
    // By Python's datetime.
    assert_eq!(begins, ["000000000000", "000000000001", "01a217ba1200", "e6707a6eb000"]);
    assert_ne!(id(9, times[2])[12..], id(9, times[3])[12..], "the time is in what is derived");
}

#[test]
fn e8_p34_what_is_sealed_is_byte_for_byte_what_the_page_says() {
    for vector in vectors("envelope") {
        let (key, aad) = (sealing(&vector), Parts::of_json(&vector).aad());
        let nonce = bytes(&vector, "nonce").try_into().unwrap();
        assert_eq!(hex(&aad), vector["aad"]);
        assert_eq!(hex(&key.seal(&nonce, &aad, &bytes(&vector, "plaintext")).unwrap()), vector["envelope"]);
        let sealed = bytes(&vector, "envelope");
        let opened = key.open(&envelope::read(&sealed).unwrap(), &aad).unwrap();
        assert_eq!(hex(&opened), vector["plaintext"]);
    }
}

#[test]
fn e9_an_identity_is_hashed_as_the_page_says() {
    for vector in vectors("hash") {
        let parts: Vec<&str> = vector["parts"].as_array().unwrap().iter().map(|part| part.as_str().unwrap()).collect();
        let index = SealingKey::new(secret(&vector)).unwrap().index().unwrap();
        assert_eq!(index.hash(&parts).unwrap(), vector["hash"]);
    }
}

/// A ring as the page shows it.
pub(super) fn shown(ring: &Ring) -> Value {
    let micros = |at: &Timestamp| at.as_microseconds();
    let forgotten = match &ring.state {
        State::Open => Value::Null,
        State::Forgotten(how) => json!({
            "at": micros(&how.at), "reason": how.reason, "event": how.event.to_string(), "done": how.done,
        }),
    };
    let key = |RingKey { generation, id, material }: &RingKey| match material {
        Material::Wrapped { kek, wrapped } => {
            json!({ "generation": generation, "id": id.to_string(), "kek": kek, "wrapped": hex(wrapped) })
        }
        Material::Destroyed { kek, at, reason } => json!({
            "generation": generation, "id": id.to_string(), "kek": kek, "destroyed": micros(at), "reason": reason,
        }),
    };
    json!({ "forgotten": forgotten, "keys": ring.keys.iter().map(key).collect::<Vec<_>>() })
}

#[test]
fn e8_rows_of_keys_are_byte_for_byte_as_the_page_says() {
    let subject = Subject::new("shop.customer/42").unwrap();
    for mut vector in vectors("body") {
        let body = bytes(&vector, "body");
        let ring =
            Ring::of_row(&KeyRow { subject: subject.clone(), version: 1, epoch: 1, body: body.clone() }).unwrap();
        assert_eq!(ring.row(&subject, KeyVersion::default(), true).unwrap().body, body);
        vector.as_object_mut().unwrap().remove("body");
        assert_eq!(shown(&ring), vector);
    }
}

#[test]
fn e8_rows_of_canaries_are_byte_for_byte_as_the_page_says() {
    for vector in vectors("row") {
        let canary = Canary { wrapped: bytes(&vector, "wrapped"), retired: vector["retired"].as_bool().unwrap() };
        assert_eq!(hex(&codec::encode(&canary).unwrap()), vector["row"]);
        assert_eq!(codec::decode::<Canary>(&bytes(&vector, "row")).unwrap(), canary);
    }
}

/// The examples in the text are of the vectors, too.
#[tokio::test]
async fn e8_the_keys_of_the_page_unwrap_the_key_of_the_page() {
    let (examples, _) = page();
    let [members, keks] = &examples[..] else { panic!("{} examples", examples.len()) };
    let by_section =
        |section: &str| vectors("envelope").into_iter().find(|vector| vector["section"] == section).unwrap();

    let keks = Keks::from_text(&keks.to_string()).unwrap();
    for (section, key) in [("key", vectors("cipher")[0]["key"].clone()), ("canary", hex(&[0; 32]).into())] {
        let wrapped = by_section(section);
        let opened = keks.unwrap("2026", &bytes(&wrapped, "envelope"), &bytes(&wrapped, "aad")).await.unwrap();
        assert_eq!(hex(opened.expose()), key);
    }
    let rows = vectors("body");
    assert_eq!(rows[0]["keys"][0]["wrapped"], by_section("key")["envelope"]);

    let sealed = STANDARD.decode(members["tax_id"].as_str().unwrap()).unwrap();
    assert_eq!(hex(&sealed), by_section("record/tax_id")["envelope"]);
    assert_eq!(members["$sealed"], json!(["tax_id"]));
}
