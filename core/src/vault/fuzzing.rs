//! What must hold whatever the bytes are. The fuzzer calls it (`cargo xtask fuzz`), and a test with random bytes does.

#![allow(clippy::panic, clippy::expect_used, clippy::missing_panics_doc, reason = "a panic is a finding")]

use std::fmt::Debug;
use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::FutureExt;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::canary::Canary;
use super::crypto::{SealingKey, SecretKey};
use super::ring::Ring;
use super::{KekProvider, Keks, envelope, key_of};
use crate::codec;
use crate::error::{ErrorKind, VaultFault};
use crate::types::{KeyRow, Subject};

static KEY: LazyLock<SealingKey> =
    LazyLock::new(|| SealingKey::new(SecretKey::from_bytes([7; 32])).expect("it is a key"));

/// Takes the bytes as what the first of them says.
pub fn any(bytes: &[u8]) {
    match bytes {
        [0, bytes @ ..] => any_envelope(bytes),
        [1, bytes @ ..] => changed_envelope(bytes),
        [2, bytes @ ..] => ring(bytes),
        [3, bytes @ ..] => row::<Canary>(bytes),
        [4, bytes @ ..] => row::<KeyRow>(bytes),
        [5, bytes @ ..] => keks(bytes),
        _ => {}
    }
}

/// An envelope that is read is written the same. Nobody has sealed it, so it does not open: neither as it is, nor if it is said
/// to be of the key.
fn any_envelope(bytes: &[u8]) {
    let fault = |bytes: &[u8]| match envelope::read(bytes).and_then(|envelope| KEY.open(&envelope, b"nowhere")) {
        Ok(plaintext) => panic!("it opened: {plaintext:?}"),
        Err(error) => error.kind().clone(),
    };
    match envelope::read(bytes) {
        Err(error) => assert_eq!(*error.kind(), ErrorKind::Vault(VaultFault::Tampered)),
        Ok(read) => {
            assert_eq!(envelope::write(&read.key, read.nonce, read.sealed), bytes);
            assert_eq!(key_of(bytes).expect("it was read"), read.key);
            if read.key != KEY.id() {
                assert_eq!(fault(bytes), ErrorKind::Vault(VaultFault::WrongKey));
            }
            let own = envelope::write(&KEY.id(), read.nonce, read.sealed);
            assert_eq!(fault(&own), ErrorKind::Vault(VaultFault::Tampered));
        }
    }
}

/// An envelope and its place, changed as the bytes say, open only if they are as they were.
fn changed_envelope(bytes: &[u8]) {
    let Some((length, changes)) = bytes.split_first() else { return };
    let (plaintext, aad) = (vec![b'p'; usize::from(*length)], b"where it belongs".to_vec());
    let sealed = KEY.seal(&[9; 24], &aad, &plaintext).expect("it is short");
    let mut changed = [sealed.clone(), aad.clone()];
    for change in changes.chunks_exact(3) {
        let [kind, at, byte] = *change else { continue };
        let target = &mut changed[usize::from(kind & 1)];
        // What is asked for beyond the end is done at the end.
        let place = usize::from(at).min(target.len());
        match kind >> 1 & 3 {
            0 => target.iter_mut().skip(place).take(1).for_each(|there| *there ^= byte),
            1 => target.insert(place, byte),
            2 => target.truncate(place),
            _ => target.rotate_left(place),
        }
    }
    let same = changed == [sealed, aad];
    let [envelope, aad] = changed;
    match envelope::read(&envelope).and_then(|envelope| KEY.open(&envelope, &aad)) {
        Ok(opened) => assert!(same && *opened == plaintext, "it was changed, and opened"),
        Err(error) => {
            let refused = [VaultFault::Tampered, VaultFault::WrongKey].map(ErrorKind::Vault);
            assert!(!same && refused.contains(error.kind()), "{error}");
        }
    }
}

/// What is read of a row is written so that the same is read of it.
fn row<T: Serialize + DeserializeOwned + Debug + PartialEq>(bytes: &[u8]) {
    match codec::decode::<T>(bytes) {
        Err(error) => assert_eq!(*error.kind(), ErrorKind::Corrupt),
        Ok(read) => {
            let written = codec::encode(&read).expect("it was read");
            // A number may be written longer than it has to be; this code does not.
            assert!(written.len() <= bytes.len(), "{read:?}");
            assert_eq!(codec::decode::<T>(&written).expect("it was written"), read);
        }
    }
}

/// A ring gives the key that seals, or says why there is none.
fn ring(bytes: &[u8]) {
    row::<Ring>(bytes);
    let Ok(ring) = codec::decode::<Ring>(bytes) else { return };
    let subject = Subject::reserved("fuzzing").expect("it is a subject");
    match ring.current(&subject) {
        Ok(key) => assert!(key.is_none() || key == ring.keys.last()),
        Err(error) => assert!(matches!(error.kind(), ErrorKind::Vault(VaultFault::Redacted(_))), "{error}"),
    }
    assert!(ring.keys.last().is_none_or(|key| ring.next_generation() >= key.generation));
}

/// A text gives the keys that are in it, and no message has one of them.
fn keks(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let json = serde_json::from_str::<Value>(text);
    match Keks::from_text(text) {
        Ok(keks) => {
            let json = json.expect("the keys were read of it");
            assert_eq!(json["primary"], keks.primary());
            let keys = json["keys"].as_object().expect("the keys were read of it");
            assert_eq!(keks.names().len(), keys.len());
            assert!(keks.names().iter().any(|name| name == keks.primary()));
            for (name, key) in keys {
                let key = key.as_str().and_then(|key| STANDARD.decode(key.trim()).ok()).expect("it is base64");
                wraps(&keks, name, &SecretKey::from_bytes(key.try_into().expect("it has 32 bytes")));
            }
        }
        Err(error) => {
            let said = format!("{error} {error:?}");
            for key in json.iter().flat_map(keys_in) {
                assert!(!said.contains(&key), "{key} is in {said}");
            }
        }
    }
}

/// That these keys wrap and unwrap by this one under this name.
fn wraps(keks: &Keks, name: &str, kek: &SecretKey) {
    let data_key = SecretKey::from_bytes([3; 32]);
    let wrapped = keks.wrap(name, &data_key, b"here").now_or_never().expect("it waits for nothing").expect("it wraps");
    assert_eq!(key_of(&wrapped).ok(), SealingKey::new(kek.clone()).map(|kek| kek.id()).ok());
    let unwrapped = keks.unwrap(name, &wrapped, b"here").now_or_never().expect("it waits for nothing");
    assert_eq!(unwrapped.expect("it unwraps").expose(), data_key.expose());
}

/// Every string of a JSON text that could be a key.
fn keys_in(json: &Value) -> Vec<String> {
    match json {
        Value::String(text) => Some(text.trim()).filter(|text| is_key(text)).map(str::to_owned).into_iter().collect(),
        Value::Array(items) => items.iter().flat_map(keys_in).collect(),
        Value::Object(members) => {
            let names = members.keys().filter(|name| is_key(name)).cloned();
            names.chain(members.values().flat_map(keys_in)).collect()
        }
        _ => Vec::new(),
    }
}

fn is_key(text: &str) -> bool {
    STANDARD.decode(text).is_ok_and(|key| key.len() == 32)
}
