//! What is remembered of keys.

use std::sync::Arc;
use std::time::Duration;

use crate::types::{KeyVersion, LogId, Redacted, Subject, Timestamp};
use crate::vault::SecretKey;
use crate::vault::cache::{Cache, Current, Known};
use crate::vault::crypto::SealingKey;

/// Property 82. Somebody may have read the row before the key was destroyed, and tell of it after that.
#[test]
fn e8_a_key_that_was_destroyed_stays_so_whatever_is_learnt_late() {
    let cache = Cache::new(10, Duration::from_secs(60));
    let (log, subject) = (LogId::new("shop").unwrap(), Subject::named("ada").unwrap());
    let key = Arc::new(SealingKey::new(SecretKey::from_bytes([7; 32])).unwrap());
    let live = || Known::Key(subject.clone(), Arc::clone(&key));
    let known = || cache.known(&log, &[key.id()]).pop().flatten();

    cache.add_known(&log, [(key.id(), live())]);
    assert!(matches!(known(), Some(Known::Key(..))));
    let redacted = Redacted { subject: subject.clone(), at: Timestamp::EPOCH, reason: "asked".to_owned() };
    cache.add_known(&log, [(key.id(), Known::Destroyed(redacted))]);
    assert!(matches!(known(), Some(Known::Destroyed(_))));

    cache.add_known(&log, [(key.id(), live())]);
    assert!(matches!(known(), Some(Known::Destroyed(_))));
    let current = Current { key: Arc::clone(&key), at: KeyVersion::default() };
    cache.add_current(&log, [(subject.clone(), current)]);
    assert!(matches!(known(), Some(Known::Destroyed(_))));
}
