//! Tenants have logs of their own, and each log has a lock key.

#![cfg(all(feature = "derive", feature = "memory", feature = "sled"))]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests")]

mod shop;

use std::sync::Arc;

use rekindle::types::{DefaultLockKeys, LockKey, LockKeys};
use rekindle::{Builder, Error, ErrorKind, Log, LogId, Position, Rekindle, Result};
use shop::bent::Bent;
use shop::*;

on_each_backend![
    p23_the_default_key_is_2147483647,
    p23_the_default_key_can_be_set_to_one_or_two_numbers,
    p23_a_tenant_that_is_an_integer_or_a_uuid_gives_its_key,
    p23_any_other_tenant_gets_a_key_by_a_stable_hash,
    p23_a_generator_of_ones_own_gives_the_keys,
    p23_a_tenant_that_a_generator_has_no_key_for_is_a_clear_error,
    p23_everything_that_changes_a_log_takes_its_key,
    tenants_have_events_positions_and_records_of_their_own,
    a_tenant_is_found_again_by_its_text,
];

fn on(store: &Arc<Bent>) -> Builder {
    Rekindle::on(Arc::clone(store)).resource::<Label>()
}

/// The key that a commit of this log is serialized by.
async fn key(store: &Bent, log: &Log) -> LockKey {
    session(log).create(print(1)).await.unwrap();
    let locks = store.locks();
    assert_eq!((locks.len(), &locks[0].0), (1, &log.id().to_string()));
    locks[0].1
}

async fn keys_of(bed: &Bed, tenants: &[&str]) -> Vec<LockKey> {
    let store = Bent::around(&bed.store);
    let log = on(&store).start().await.unwrap();
    let mut keys = Vec::new();
    for tenant in tenants {
        keys.push(key(&store, &log.tenant(tenant).unwrap()).await);
    }
    keys
}

async fn p23_the_default_key_is_2147483647(bed: Bed) {
    let store = Bent::around(&bed.store);
    let log = on(&store).start().await.unwrap();
    assert_eq!(key(&store, &log).await, LockKey::One(2_147_483_647));
    let other = on(&store).log("other").start().await.unwrap();
    assert_eq!(key(&store, &other).await, LockKey::One(2_147_483_647));
}

async fn p23_the_default_key_can_be_set_to_one_or_two_numbers(bed: Bed) {
    let store = Bent::around(&bed.store);
    for (name, set) in [("a", LockKey::One(i64::MIN)), ("b", LockKey::Two(7, -7))] {
        let log = on(&store).log(name).lock_keys(DefaultLockKeys::new(set)).start().await.unwrap();
        assert_eq!(key(&store, &log).await, set);
        assert_eq!(key(&store, &log.tenant("42").unwrap()).await, LockKey::One(42), "a tenant has its own");
    }
}

async fn p23_a_tenant_that_is_an_integer_or_a_uuid_gives_its_key(bed: Bed) {
    let tenants = ["42", "-42", "0", "9223372036854775807", "00000001-ffff-ffff-8000-000000000000"];
    let expected = [LockKey::One(42), LockKey::One(-42), LockKey::One(0), LockKey::One(i64::MAX), LockKey::Two(1, -1)];
    assert_eq!(keys_of(&bed, &tenants).await, expected);
}

/// The hashes are those that are published for FNV-1a, 64 bits.
async fn p23_any_other_tenant_gets_a_key_by_a_stable_hash(bed: Bed) {
    let published = [("a", 0xaf63_dc4c_8601_ec8c_u64), ("b", 0xaf63_df4c_8601_f1a5), ("foobar", 0x8594_4171_f739_67e8)];
    let expected = published.map(|(_, hash)| LockKey::One(hash.cast_signed()));
    assert_eq!(keys_of(&bed, &published.map(|(tenant, _)| tenant)).await, expected);
    // An integer that is no i64 is text.
    let keys = keys_of(&bed, &["9223372036854775808", "Ünï 🦀 ' \" %"]).await;
    assert!(keys.iter().all(|key| matches!(key, LockKey::One(_))) && keys[0] != keys[1]);
}

/// By the length of the tenant; none for a log without one.
struct ByLength;

impl LockKeys for ByLength {
    fn key(&self, log: &LogId) -> Result<LockKey> {
        match &log.tenant {
            Some(tenant) if tenant.as_str().len() < 9 => Ok(LockKey::Two(1, tenant.as_str().len() as i32)),
            Some(tenant) => Err(Error::invalid(format!("there is no key for the tenant {tenant:?}"))),
            None if log.name.as_str() == "main" => Ok(LockKey::One(99)),
            None => Err(Error::invalid("a log needs a tenant here")),
        }
    }
}

async fn p23_a_generator_of_ones_own_gives_the_keys(bed: Bed) {
    let store = Bent::around(&bed.store);
    let log = on(&store).lock_keys(ByLength).start().await.unwrap();
    assert_eq!(key(&store, &log).await, LockKey::One(99));
    assert_eq!(key(&store, &log.tenant("abc").unwrap()).await, LockKey::Two(1, 3));
    assert_eq!(key(&store, &log.tenant("1234").unwrap()).await, LockKey::Two(1, 4));
}

async fn p23_a_tenant_that_a_generator_has_no_key_for_is_a_clear_error(bed: Bed) {
    let store = Bent::around(&bed.store);
    let log = on(&store).lock_keys(ByLength).start().await.unwrap();
    let error = log.tenant("too long a name").unwrap_err();
    let told = r#"there is no key for the tenant "too long a name""#;
    assert_eq!((error.kind(), error.message()), (&ErrorKind::Invalid, told));
    let error = on(&store).log("other").lock_keys(ByLength).start().await.unwrap_err();
    assert_eq!((error.kind(), error.message()), (&ErrorKind::Invalid, "a log needs a tenant here"));
    let error = log.tenant("").unwrap_err();
    assert_eq!((error.kind(), error.message()), (&ErrorKind::Invalid, "the tenant is empty"));
}

async fn p23_everything_that_changes_a_log_takes_its_key(bed: Bed) {
    let store = Bent::around(&bed.store);
    let log = on(&store).start().await.unwrap().tenant("7").unwrap();
    session(&log).bulk_create([1, 2].map(print)).await.unwrap();
    log.seed([Label { id: 3, slot: None }]).await.unwrap();
    log.replay().await.unwrap();
    log.replay().in_place().until_position(1).await.unwrap();
    session(&log).accept_rewound(Position::new(1)).await.unwrap();
    log.clear_records().await.unwrap();
    assert_eq!(store.locks(), vec![("main[7]".to_owned(), LockKey::One(7)); 6]);
    log.replay().plan().await.unwrap();
    log.get::<Label>(&1).await.unwrap();
    assert!(store.locks().is_empty(), "what only reads takes none");
}

async fn tenants_have_events_positions_and_records_of_their_own(bed: Bed) {
    let log = bed.log().await;
    let [a, b] = ["a", "b"].map(|tenant| log.tenant(tenant).unwrap());
    session(&a).create(Print { id: 1, slot: slot("same") }).await.unwrap();
    session(&b).create(Print { id: 1, slot: slot("same") }).await.unwrap();
    session(&b).update(&1, Stick { slot: slot("b's") }).await.unwrap();
    assert_eq!((events(&log).await.len(), events(&a).await.len(), events(&b).await.len()), (0, 1, 2));
    assert_eq!(events(&b).await[0].position, Position::new(1));
    a.clear_records().await.unwrap();
    b.replay().await.unwrap();
    assert_eq!((all::<Label>(&a).await.len(), all::<Label>(&b).await.len()), (0, 1));
    assert_eq!(b.find::<Label>("slot", "b's").await.unwrap().unwrap().id, 1);
    a.replay().await.unwrap();
    assert_eq!(a.find::<Label>("slot", "same").await.unwrap().unwrap().id, 1);
}

async fn a_tenant_is_found_again_by_its_text(bed: Bed) {
    let log = bed.log().await;
    session(&log.tenant("acme").unwrap()).create(print(1)).await.unwrap();
    let again = bed.log().await.tenant("acme").unwrap();
    assert_eq!((again.id().to_string().as_str(), events(&again).await.len()), ("main[acme]", 1));
    // A tenant of a tenant's log is another tenant of the log.
    assert_eq!(again.tenant("other").unwrap().id().to_string(), "main[other]");
}
