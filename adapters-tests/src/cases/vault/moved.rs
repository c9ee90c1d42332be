//! What was changed or moved is refused. Sealed events are brought to a store that has their keys and not yet them.

use rekindle_core::VaultFault;
use rekindle_core::types::{
    Change, EventId, Expected, KeyId, KeyRow, KeyWrite, LogId, Record, RecordId, RecordWrite, WriteState,
};

use super::patient::{Patient, admit, lived_in, treat};
use super::{
    assert_fault, attributes, envelope, json_of, keks, key_of, key_row, nurse, open, opened_event, put_event, put_keys,
    sections, start, stored_events, stored_record, subject, with_keys_of,
};
use crate::fixture::Backend;
use crate::look::put;
use crate::sample::{commit, log};

/// Where the id of the key is in an envelope: a change there makes it the id of a key that is not there.
const KEY_ID: std::ops::Range<usize> = 2..34;

/// Positions in an envelope: the first and the last byte of each part, and some in between.
fn sample(length: usize) -> Vec<usize> {
    vec![0, 1, 2, 17, 33, 34, 57, 58, (58 + length - 16) / 2, length - 17, length - 16, length - 1]
}

pub(crate) async fn a_flipped_bit_of_a_section_is_refused(backend: Backend) {
    let Some(opened) = open(backend).await else { return };
    let sealed = start(&opened.store, keks(7)).await;
    nurse(&sealed).create(admit(1)).await.unwrap();
    for n in 0..sample(100).len() * 3 + 4 {
        nurse(&sealed).update(&1, treat(&n.to_string())).await.unwrap();
    }
    let mut unused = stored_events(&*opened.store, 1).await.into_iter().skip(1);
    let (other, log_with_vault) = with_keys_of(backend, &sealed).await;
    for section in 0..3 {
        for place in 0..sample(100).len() {
            let mut event = unused.next().unwrap();
            let bytes = envelope(&mut *sections(&mut event)[section]);
            let at = sample(bytes.len())[place];
            bytes[at] ^= 1 << (at % 8);
            let id = event.id;
            put_event(&*other.store, &log(), event).await;
            let fault = if KEY_ID.contains(&at) { VaultFault::UnknownKey } else { VaultFault::Tampered };
            let what = format!("a flipped bit of byte {at} of section {section}");
            assert_fault(&opened_event(&log_with_vault, id).await.expect_err(&what), &fault, &what);
        }
    }
    for (what, length) in [("a byte is cut off", None), ("it ends with its head", Some(58)), ("it is empty", Some(0))] {
        let mut event = unused.next().unwrap();
        let (id, bytes) = (event.id, envelope(&mut event.data));
        bytes.truncate(length.unwrap_or(bytes.len() - 1));
        put_event(&*other.store, &log(), event).await;
        let error = opened_event(&log_with_vault, id).await.expect_err(what);
        assert_fault(&error, &VaultFault::Tampered, &what);
    }
    let untouched = unused.next().unwrap();
    let id = untouched.id;
    put_event(&*other.store, &log(), untouched).await;
    opened_event(&log_with_vault, id).await.expect("an event that is as it was is refused beside others");
}

/// Lays other attributes over a stored record, past the engine.
fn overwritten(log: &LogId, record: &Record, attributes: &serde_json::Value) -> rekindle_core::types::Commit {
    let state = WriteState { attributes: json_of(attributes), identities: record.identities.clone() };
    let write = RecordWrite { key: record.key.clone(), expected: Expected::Any, state: Some(state) };
    commit(log, vec![Change { event: None, write: Some(write) }])
}

pub(crate) async fn a_changed_character_of_a_sealed_attribute_is_refused(backend: Backend) {
    let Some(opened) = open(backend).await else { return };
    let sealed = start(&opened.store, keks(7)).await;
    lived_in(&nurse(&sealed), [1]).await;
    let record = stored_record(&*opened.store, 1).await;
    let text = attributes(&record)["diagnosis"].as_str().unwrap().to_owned();
    // Base64: characters 3 to 44 are of the key's id alone.
    for at in [0, 1, 3, 20, 44, 46, 70, text.len() - 12, text.len() - 1] {
        let other = if &text[at..=at] == "A" { "B" } else { "A" };
        let mut changed = attributes(&record);
        changed["diagnosis"] = format!("{}{other}{}", &text[..at], &text[at + 1..]).into();
        put(&*opened.store, overwritten(&log(), &record, &changed)).await;
        let fault = if (3..45).contains(&at) { VaultFault::UnknownKey } else { VaultFault::Tampered };
        let what = format!("a changed character {at} of an attribute");
        assert_fault(&sealed.get::<Patient>(&1).await.expect_err(&what), &fault, &what);
    }
    put(&*opened.store, overwritten(&log(), &record, &attributes(&record))).await;
    assert!(sealed.get::<Patient>(&1).await.unwrap().is_some(), "a record that is as it was is refused");
}

pub(crate) async fn a_section_that_was_moved_is_refused(backend: Backend) {
    let Some(opened) = open(backend).await else { return };
    let sealed = start(&opened.store, keks(7)).await;
    lived_in(&nurse(&sealed), [1, 2]).await;
    for n in 0..5 {
        nurse(&sealed).update(&1, treat(&n.to_string())).await.unwrap();
    }
    let mut unused = stored_events(&*opened.store, 1).await.into_iter().skip(1);
    let (other, log_with_vault) = with_keys_of(backend, &sealed).await;
    let mut moved = Vec::new();
    let mut event = unused.next().unwrap();
    event.id = EventId::generate();
    moved.push(("to another event", event));
    let mut event = unused.next().unwrap();
    std::mem::swap(&mut event.data, &mut event.changed_attributes);
    moved.push(("to another section", event));
    let mut event = unused.next().unwrap();
    event.record_id = RecordId::new("2").unwrap();
    moved.push(("to another record", event));
    let mut event = unused.next().unwrap();
    event.action = "admit".parse().unwrap();
    moved.push(("to another action", event));
    let mut event = unused.next().unwrap();
    event.version += 1;
    moved.push(("to another version", event));
    let mut event = unused.next().unwrap();
    event.data = stored_events(&*opened.store, 2).await[1].data.clone();
    moved.push(("from another subject", event));
    for (what, event) in moved {
        let id = event.id;
        put_event(&*other.store, &log(), event).await;
        let error = opened_event(&log_with_vault, id).await.expect_err(what);
        assert_fault(&error, &VaultFault::Tampered, &what);
    }
    let mut event = unused.next().unwrap();
    let (id, key) = (event.id, key_id(envelope(&mut event.data)));
    let tenant = log_with_vault.tenant("other").unwrap();
    event.metadata = event.data.clone();
    put_event(&*other.store, tenant.id(), event).await;
    let error = opened_event(&tenant, id).await.expect_err("an event of another log is opened");
    assert_fault(&error, &VaultFault::UnknownKey, &"to another log");
    let row = key_row(&*opened.store, 1).await;
    put_keys(&*other.store, tenant.id(), KeyWrite { expected: 0, row, new_ids: vec![key] }).await.unwrap();
    let error = opened_event(&tenant, id).await.expect_err("an event of another log is opened, its key at hand");
    assert_fault(&error, &VaultFault::Tampered, &"to another log, with its keys");
}

fn key_id(envelope: &[u8]) -> KeyId {
    KeyId::from_bytes(envelope[KEY_ID].try_into().unwrap())
}

pub(crate) async fn a_sealed_attribute_that_was_moved_is_refused(backend: Backend) {
    let Some(opened) = open(backend).await else { return };
    let sealed = start(&opened.store, keks(7)).await;
    lived_in(&nurse(&sealed), [1, 2]).await;
    let (first, second) = (stored_record(&*opened.store, 1).await, stored_record(&*opened.store, 2).await);
    let mut swapped = attributes(&first);
    (swapped["insurance"], swapped["diagnosis"]) = (swapped["diagnosis"].clone(), swapped["insurance"].clone());
    put(&*opened.store, overwritten(&log(), &first, &swapped)).await;
    let error = sealed.get::<Patient>(&1).await.expect_err("an attribute is opened in the place of another");
    assert_fault(&error, &VaultFault::Tampered, &"to another attribute");
    let mut mixed = attributes(&second);
    mixed["diagnosis"] = attributes(&first)["diagnosis"].clone();
    put(&*opened.store, overwritten(&log(), &second, &mixed)).await;
    let error = sealed.get::<Patient>(&2).await.expect_err("an attribute is opened in the record of another");
    assert_fault(&error, &VaultFault::Tampered, &"to another record");
    let tenant = sealed.tenant("other").unwrap();
    put(&*opened.store, overwritten(tenant.id(), &first, &attributes(&first))).await;
    let error = tenant.get::<Patient>(&1).await.expect_err("an attribute is opened in another log");
    assert_fault(&error, &VaultFault::UnknownKey, &"to another log");
}

pub(crate) async fn a_wrapped_key_that_was_moved_is_refused(backend: Backend) {
    let Some(opened) = open(backend).await else { return };
    let sealed = start(&opened.store, keks(7)).await;
    lived_in(&nurse(&sealed), [1]).await;
    let mut event = stored_events(&*opened.store, 1).await.remove(0);
    let (id, key) = (event.id, key_id(envelope(&mut event.data)));
    // All of it is moved: the row, the key's id, and the record's name in the event.
    let row = KeyRow { subject: subject(9), version: 1, ..key_row(&*opened.store, 1).await };
    let other = backend.open().await;
    let log_with_vault = start(&other.store, keks(7)).await;
    put_keys(&*other.store, &log(), KeyWrite { expected: 0, row, new_ids: vec![key] }).await.unwrap();
    event.record_id = key_of(9).id;
    put_event(&*other.store, &log(), event).await;
    let error = opened_event(&log_with_vault, id).await.expect_err("a key of another subject opens");
    assert_fault(&error, &VaultFault::Tampered, &"opening by the key of another subject");
    let error = nurse(&log_with_vault).create(admit(9)).await.expect_err("a key of another subject seals");
    assert_fault(&error, &VaultFault::Tampered, &"sealing by the key of another subject");
}
