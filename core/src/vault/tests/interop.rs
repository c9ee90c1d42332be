//! What a program in Python makes of the format, which was written from its page alone.

use std::path::Path;

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use rekindle_test_servers::{Python, python};
use serde_json::{Value, json};

use super::aad::{Parts, parts};
use super::ring::rings;
use super::{fault, hex, unhex};
use crate::codec;
use crate::types::{KeyRow, KeyVersion, LogId, Subject, Timestamp};
use crate::vault::aad::Place;
use crate::vault::crypto::{CIPHER, INDEX, SealingKey, derive, fill};
use crate::vault::ring::{Material, Ring, RingKey, State};
use crate::vault::{KekProvider, Keks, SecretKey, envelope};

/// Two key-encryption keys, the second one primary.
const KEKS: &str = r#"{"primary": "2026", "keys": {
    "2025": "CwsLCwsLCwsLCwsLCwsLCwsLCwsLCwsLCwsLCwsLCws=",
    "2026": "//////////////////////////////////////////8="
}}"#;

/// What Python answers to a task.
fn ask(python: &Python, name: &str, task: &Value) -> Value {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/vault.py");
    let answers = python.run(&program, &json!({ name: task }).to_string());
    serde_json::from_str::<Value>(&answers).unwrap()[name].take()
}

/// So many of a kind, the same ones each time.
fn some<T: std::fmt::Debug>(count: usize, of: impl Strategy<Value = T>) -> Vec<T> {
    let mut runner = TestRunner::deterministic();
    (0..count).map(|_| of.new_tree(&mut runner).unwrap().current()).collect()
}

fn nonce() -> [u8; 24] {
    let mut nonce = [0; 24];
    fill(&mut nonce).unwrap();
    nonce
}

fn with(place: &Parts, name: &str, bytes: &[u8]) -> Value {
    let mut json = place.to_json();
    json[name] = hex(bytes).into();
    json
}

#[test]
fn e8_python_derives_the_same_from_a_key() {
    let Some(python) = python() else { return };
    let key = SecretKey::generate().unwrap();
    let (cipher, index) = (hex(&*derive(&key, CIPHER).unwrap()), hex(&*derive(&key, INDEX).unwrap()));
    let sealing = SealingKey::new(key.clone()).unwrap();
    let made = SealingKey::made_at(key.clone(), Timestamp::from_microseconds(0x0189_0a5d_ac96 * 1000 + 999).unwrap());
    for (sealing, made) in [(&sealing, "000000000000"), (&made.unwrap(), "01890a5dac96")] {
        let here = json!({ "id": sealing.id().to_string(), "cipher": cipher, "index": index });
        assert_eq!(ask(&python, "derive", &json!({ "key": hex(key.expose()), "made": made })), here);
    }

    for parts in [["r", "n", ""], ["shop.customer", "email", "ádä@example.org"]] {
        let there = ask(&python, "hash", &json!({ "key": hex(key.expose()), "parts": parts }));
        assert_eq!(there, sealing.index().unwrap().hash(&parts).unwrap());
    }
}

#[test]
fn e8_python_makes_the_same_associated_data_of_a_place() {
    let Some(python) = python() else { return };
    let places = some(500, parts());
    let here: Vec<String> = places.iter().map(|place| hex(&place.aad())).collect();
    let there = ask(&python, "places", &places.iter().map(Parts::to_json).collect());
    assert_eq!(there, json!(here));
}

#[test]
fn e8_python_reads_and_writes_the_same_rows_of_keys() {
    let Some(python) = python() else { return };
    let rings = some(300, rings());
    let rows: Vec<String> = rings.iter().map(|ring| hex(&codec::encode(ring).unwrap())).collect();
    let answer = ask(&python, "rings", &json!(rows));
    assert_eq!(answer["written"], json!(rows));
    for (ring, read) in rings.iter().zip(answer["read"].as_array().unwrap()) {
        let mut here = super::page::shown(ring);
        if let Some(event) = here.pointer_mut("/forgotten/event") {
            *event = event.as_str().unwrap().replace('-', "").into();
        }
        assert_eq!(*read, here);
    }
}

/// Whose the keys are, in the tests that open and seal.
fn owner() -> (LogId, Subject, Value) {
    let log = LogId::new("shop").unwrap().with_tenant("norð").unwrap();
    let subject = Subject::new("shop.customer/42").unwrap();
    (log, subject, json!({ "log": "shop", "tenant": "norð", "subject": "shop.customer/42" }))
}

/// Places of that log and subject, and something to be in them.
fn contents(count: usize) -> Vec<(Parts, Vec<u8>)> {
    let owned = parts().prop_map(|place| place.owned_by("shop", "norð", "shop.customer/42"));
    some(count, (owned, proptest::collection::vec(proptest::num::u8::ANY, 0..200)))
}

#[tokio::test]
async fn e8_p34_python_opens_what_was_sealed_here() {
    let Some(python) = python() else { return };
    let (keks, (log, subject, owner)) = (Keks::from_text(KEKS).unwrap(), owner());
    let mut ring = Ring { state: State::Open, keys: Vec::new() };
    let mut keys = Vec::new();
    for (generation, kek) in [(1, "2025"), (2, "2025"), (3, "2026")] {
        let key = SealingKey::made_at(SecretKey::generate().unwrap(), Timestamp::now()).unwrap();
        let context = Place::key(generation).aad(&log, &subject);
        let wrapped = keks.wrap(kek, key.secret(), &context).await.unwrap();
        let material = match generation {
            1 => Material::Destroyed { kek: kek.to_owned(), at: Timestamp::now(), reason: "asked".to_owned() },
            _ => Material::Wrapped { kek: kek.to_owned(), wrapped },
        };
        ring.keys.push(RingKey { generation, id: key.id(), material });
        keys.push(key);
    }
    let contents = contents(100);
    let sealed = |(number, (place, plaintext)): (usize, &(Parts, Vec<u8>))| {
        let key = &keys[1 + number % 2];
        with(place, "envelope", &key.seal(&nonce(), &place.aad(), plaintext).unwrap())
    };
    let places: Vec<Value> = contents.iter().enumerate().map(sealed).collect();
    let mut row = owner;
    row["body"] = hex(&ring.row(&subject, KeyVersion::default(), true).unwrap().body).into();
    let opened = ask(&python, "open", &json!({ "keks": KEKS, "row": row, "places": places }));
    let plaintexts: Vec<String> = contents.iter().map(|(_, plaintext)| hex(plaintext)).collect();
    assert_eq!(opened, json!(plaintexts));
}

#[tokio::test]
async fn e8_p34_what_python_sealed_opens_here() {
    let Some(python) = python() else { return };
    let (keks, (log, subject, row)) = (Keks::from_text(KEKS).unwrap(), owner());
    let contents = contents(100);
    let places: Vec<Value> = contents.iter().map(|(place, plaintext)| with(place, "plaintext", plaintext)).collect();
    let answer = ask(&python, "seal", &json!({ "keks": KEKS, "row": row, "places": places, "objects": [] }));

    let body = unhex(answer["body"].as_str().unwrap());
    let ring = Ring::of_row(&KeyRow { subject: subject.clone(), version: 1, epoch: 1, body }).unwrap();
    let key = ring.current(&subject).unwrap().unwrap();
    let Material::Wrapped { kek, wrapped } = &key.material else { panic!("{key:?}") };
    let secret = keks.unwrap(kek, wrapped, &Place::key(key.generation).aad(&log, &subject)).await.unwrap();
    let opening = SealingKey::made_with(secret, &key.id).unwrap();
    assert_eq!(opening.id(), key.id);
    let envelopes = answer["envelopes"].as_array().unwrap();
    assert_eq!(envelopes.len(), contents.len());
    for ((place, plaintext), sealed) in contents.iter().zip(envelopes) {
        let sealed = unhex(sealed.as_str().unwrap());
        let opened = opening.open(&envelope::read(&sealed).unwrap(), &place.aad()).unwrap();
        assert_eq!(opened[..], plaintext[..]);
    }
}

/// Each flipped byte, and each length that it is cut to.
#[test]
fn e8_python_refuses_what_is_refused_here_by_the_same_fault() {
    let Some(python) = python() else { return };
    let secret = SecretKey::from_bytes([7; 32]);
    let key = SealingKey::new(secret.clone()).unwrap();
    let (place, plaintext) = contents(1).remove(0);
    let whole = key.seal(&nonce(), &place.aad(), &plaintext).unwrap();
    let flipped = (0..whole.len()).map(|at| {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        bytes
    });
    let changed: Vec<Vec<u8>> = flipped.chain((0..whole.len()).map(|length| whole[..length].to_vec())).collect();
    let case = |bytes: &Vec<u8>| {
        let mut case = with(&place, "envelope", bytes);
        case["key"] = hex(secret.expose()).into();
        case
    };
    let there = ask(&python, "faults", &changed.iter().chain([&whole]).map(case).collect());
    let open = |bytes: &[u8]| envelope::read(bytes).and_then(|envelope| key.open(&envelope, &place.aad()).map(drop));
    let here = changed.iter().map(|bytes| format!("{:?}", fault(open(bytes))));
    assert_eq!(there, json!(here.chain(["none".to_owned()]).collect::<Vec<_>>()));
}
