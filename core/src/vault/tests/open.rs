//! Opening with the keys of a store: four ways in which it fails, each told apart.

use std::sync::Arc;

use super::fault;
use crate::error::VaultFault;
use crate::types::{LogId, Redacted, Subject, Timestamp};
use crate::vault::aad::Place;
use crate::vault::by_id::ById;
use crate::vault::cache::Known;
use crate::vault::crypto::SealingKey;
use crate::vault::open::OpenKeys;
use crate::vault::{Opened, SecretKey};

fn key(byte: u8) -> SealingKey {
    SealingKey::new(SecretKey::from_bytes([byte; 32])).unwrap()
}

fn sealed(byte: u8, place: &Place<'_>) -> Vec<u8> {
    let aad = place.aad(&LogId::new("shop").unwrap(), &Subject::named("ada").unwrap());
    key(byte).seal(&[9; 24], &aad, b"secret").unwrap()
}

/// Properties 79 and 82b. The key 1 is there, the key 2 was destroyed, and any other never was there.
#[test]
fn e8_tampered_unknown_and_forgotten_are_told_apart() {
    let subject = Subject::named("ada").unwrap();
    let redacted = Redacted { subject: subject.clone(), at: Timestamp::EPOCH, reason: "asked".to_owned() };
    let keys = ById::from_iter([
        (key(1).id(), Known::Key(subject, Arc::new(key(1)))),
        (key(2).id(), Known::Destroyed(redacted.clone())),
    ]);
    let keys = OpenKeys { log: LogId::new("shop").unwrap(), keys };
    let mut keys = keys.opener();
    let (here, elsewhere) = (Place::key(1), Place::key(2));

    assert!(matches!(keys.open(&here, &sealed(1, &here)), Ok(Opened::Plaintext(text)) if text[..] == b"secret"[..]));
    assert_eq!(fault(keys.open(&elsewhere, &sealed(1, &here))), VaultFault::Tampered);
    assert_eq!(fault(keys.open(&here, b"no envelope")), VaultFault::Tampered);
    assert!(matches!(keys.open(&here, &sealed(2, &here)), Ok(Opened::Redacted(told)) if *told == redacted));
    let error = keys.open(&here, &sealed(3, &here)).err().unwrap();
    assert_eq!(error.message(), format!("it was sealed by the key {}, which is not in the store", key(3).id()));
    assert_eq!(fault::<()>(Err(error)), VaultFault::UnknownKey);

    let whole = sealed(1, &here);
    for at in 2..34 {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        assert_eq!(fault(keys.open(&here, &changed)), VaultFault::UnknownKey, "byte {at}");
    }
}
