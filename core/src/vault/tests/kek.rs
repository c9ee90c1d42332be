//! What is wrapped by key-encryption keys.

use super::fault;
use crate::error::{ErrorKind, VaultFault};
use crate::types::{LogId, Subject};
use crate::vault::aad::Place;
use crate::vault::crypto::SealingKey;
use crate::vault::{KekProvider, Keks, SecretKey};

const KEY: [u8; 32] = [7; 32];

fn keks() -> Keks {
    Keks::new("new", SecretKey::from_bytes([2; 32])).unwrap().with("old", SecretKey::from_bytes([1; 32])).unwrap()
}

fn context() -> Vec<u8> {
    Place::key(1).aad(&LogId::new("shop").unwrap(), &Subject::named("ada").unwrap())
}

async fn wrapped(kek: &str) -> Vec<u8> {
    keks().wrap(kek, &SecretKey::from_bytes(KEY), &context()).await.unwrap()
}

#[test]
fn a_name_is_a_name_and_is_there_once() {
    let key = || SecretKey::from_bytes(KEY);
    for name in ["", "a b", "a/b", "é", "CwsL=", &"k".repeat(201)] {
        let error = Keks::new(name, key()).unwrap_err();
        let message = "is no name of a key-encryption key: it takes 1 to 200 ASCII letters, digits, '_', '-' and '.'";
        assert_eq!((error.kind(), error.message()), (&ErrorKind::Invalid, &*format!("{name:?} {message}")));
    }
    assert!(Keks::new(&"k".repeat(200), key()).is_ok());
    assert_eq!(Keks::new("2026", key()).unwrap().primary(), "2026");
    let error = keks().with("old", key()).unwrap_err();
    assert_eq!(
        (error.kind(), error.message()),
        (&ErrorKind::Invalid, "there are two key-encryption keys named \"old\"")
    );
}

/// Properties 74 and 76.
#[tokio::test]
async fn a_wrapped_key_unwraps_and_is_never_wrapped_alike() {
    for kek in ["old", "new"] {
        let (a, b) = (wrapped(kek).await, wrapped(kek).await);
        assert_ne!(a, b);
        for wrapped in [a, b] {
            assert_eq!(keks().unwrap(kek, &wrapped, &context()).await.unwrap().expose(), &KEY);
        }
    }
}

#[tokio::test]
async fn e8_a_key_that_is_not_there_is_told_apart() {
    let unwrapped = keks().unwrap("lost", &wrapped("old").await, &context()).await;
    let error = unwrapped.as_ref().unwrap_err();
    assert_eq!(error.message(), "the key-encryption key \"lost\" is asked for, and it is not there");
    assert_eq!(fault(unwrapped), VaultFault::NoKek);
    assert_eq!(fault(keks().wrap("lost", &SecretKey::from_bytes(KEY), &context()).await), VaultFault::NoKek);
}

/// Property 79.
#[tokio::test]
async fn another_key_of_the_same_name_is_told_apart_from_tampering() {
    let unwrapped = keks().unwrap("new", &wrapped("old").await, &context()).await;
    let error = unwrapped.as_ref().unwrap_err();
    assert_eq!(error.message(), "the key-encryption key \"new\" is not the one of this name that wrapped this");
    assert_eq!(fault(unwrapped), VaultFault::WrongKey);

    let mut changed = wrapped("old").await;
    *changed.last_mut().unwrap() ^= 1;
    let unwrapped = keks().unwrap("old", &changed, &context()).await;
    let error = unwrapped.as_ref().unwrap_err();
    assert_eq!(error.message(), "a wrapped key: it was changed, or moved from where it belongs");
    assert_eq!(fault(unwrapped), VaultFault::Tampered);
}

/// Property 77.
#[tokio::test]
async fn a_wrapped_key_that_is_cut_is_tampered_with() {
    let whole = wrapped("old").await;
    for end in 0..whole.len() {
        let unwrapped = keks().unwrap("old", &whole[..end], &context()).await;
        assert_eq!(fault(unwrapped), VaultFault::Tampered, "{end} bytes");
    }
}

/// Property 78.
#[tokio::test]
async fn a_wrapped_key_opens_for_its_log_subject_and_generation_only() {
    let (log, subject) = (LogId::new("shop").unwrap(), Subject::named("ada").unwrap());
    let (other_log, other_subject) = (LogId::new("shop2").unwrap(), Subject::named("bob").unwrap());
    let wrapped = wrapped("old").await;
    for context in [
        Place::key(1).aad(&other_log, &subject),
        Place::key(1).aad(&log.with_tenant("t").unwrap(), &subject),
        Place::key(1).aad(&log, &other_subject),
        Place::key(2).aad(&log, &subject),
        Place::canary().aad(&log, &subject),
        Vec::new(),
    ] {
        assert_eq!(fault(keks().unwrap("old", &wrapped, &context).await), VaultFault::Tampered);
    }
}

#[tokio::test]
async fn what_is_wrapped_and_no_key_is_corrupt() {
    let kek = SealingKey::new(SecretKey::from_bytes([1; 32])).unwrap();
    for length in [0, 31, 33] {
        let wrapped = kek.seal(&[0; 24], &context(), &vec![7; length]).unwrap();
        let error = keks().unwrap("old", &wrapped, &context()).await.unwrap_err();
        assert_eq!((error.kind(), error.message()), (&ErrorKind::Corrupt, "a wrapped key has not 32 bytes"));
    }
}
