//! Opening: what is refused, and in which words; and rows that are damaged.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::fs;
use std::path::Path;

use common::{commit, create, log};
use rekindle_core::store::{
    EventStore, EventStoreExt, KeyStore, LoadedRecord, RebuildMode, ResourceStore, ResourceStoreExt,
};
use rekindle_core::types::{
    Commit, EventQuery, KeyGuard, KeyId, KeyRow, KeyWrite, Position, RecordKey, Revision, Subject,
};
use rekindle_core::{Error, ErrorKind};
use rekindle_sled::SledBackend;
use tempfile::TempDir;

async fn refusal(folder: &Path) -> Error {
    SledBackend::open(folder).await.map(drop).unwrap_err()
}

/// Changes a closed database behind the backend's back.
fn tamper(folder: &Path, change: impl Fn(&sled::Db)) {
    let config = sled::Config::new().path(folder).flush_every_ms(None);
    // sled frees its lock a little after it was closed.
    let db = (0..100)
        .find_map(|_| config.open().inspect_err(|_| std::thread::sleep(std::time::Duration::from_millis(10))).ok())
        .unwrap();
    change(&db);
    db.flush().unwrap();
}

async fn with_commits(folder: &Path) {
    let store = SledBackend::open(folder).await.unwrap();
    for id in ["a", "b", "c"] {
        store.commit_one(commit(vec![create(id, r#"{"n":1}"#, None)])).await.unwrap();
    }
    store.close().await;
}

#[tokio::test]
async fn a_folder_that_is_open_is_refused_and_can_be_opened_when_it_is_closed() {
    let folder = TempDir::new().unwrap();
    let store = SledBackend::open(folder.path()).await.unwrap();
    let error = refusal(folder.path()).await;
    assert_eq!(*error.kind(), ErrorKind::Unavailable);
    let name = folder.path().display();
    assert_eq!(
        error.message(),
        format!("the folder {name} is open already, by another process or by another handle in this one")
    );
    drop(store);
    SledBackend::open(folder.path()).await.unwrap();
}

#[tokio::test]
async fn an_unknown_version_is_refused() {
    let folder = TempDir::new().unwrap();
    with_commits(folder.path()).await;
    tamper(folder.path(), |db| drop(db.insert([0], &7_u32.to_be_bytes()).unwrap()));
    let error = refusal(folder.path()).await;
    assert_eq!(*error.kind(), ErrorKind::Invalid);
    assert!(error.message().ends_with("it has the format version 7; this version of Rekindle knows 1"), "{error}");
}

#[tokio::test]
async fn a_folder_of_something_else_is_refused() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("notes.txt"), "x").unwrap();
    let error = refusal(folder.path()).await;
    assert_eq!(*error.kind(), ErrorKind::Corrupt);
    assert!(error.message().ends_with("is not empty, and holds no sled database"), "{error}");

    let folder = TempDir::new().unwrap();
    tamper(folder.path(), |db| drop(db.insert("x", "y").unwrap()));
    let error = refusal(folder.path()).await;
    assert_eq!(*error.kind(), ErrorKind::Corrupt);
    assert!(error.message().ends_with("it holds something that is not Rekindle's"), "{error}");
}

#[tokio::test]
async fn a_database_that_lost_its_content_is_not_taken_for_a_new_one() {
    for damage in ["empty", "garbage", "gone", "conf"] {
        let folder = TempDir::new().unwrap();
        with_commits(folder.path()).await;
        let db = folder.path().join("db");
        let size = usize::try_from(fs::metadata(&db).unwrap().len()).unwrap();
        match damage {
            "empty" => fs::write(&db, []).unwrap(),
            "garbage" => fs::write(&db, vec![0xa5; size]).unwrap(),
            "gone" => fs::remove_file(&db).unwrap(),
            _ => fs::write(folder.path().join("conf"), vec![0xa5; 64]).unwrap(),
        }
        let error = refusal(folder.path()).await;
        assert!(matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Invalid), "{damage}: {error:?}");
        assert!(error.message().contains(&folder.path().display().to_string()), "{damage}: {error:?}");
    }
}

#[tokio::test]
async fn a_damaged_row_is_corrupt_and_says_which() {
    let folder = TempDir::new().unwrap();
    with_commits(folder.path()).await;
    // The keys as they are on disk: tag, log 1, position 2; and tag, log 1, generation 0, resource, 0, id.
    let event = [&[3, 0, 0, 0, 1][..], &2_u64.to_be_bytes()].concat();
    let record = [&[6, 0, 0, 0, 1][..], &0_u64.to_be_bytes(), b"shop.order\0b"].concat();
    tamper(folder.path(), |db| {
        for key in [&event, &record] {
            let row = db.get(key).unwrap().expect("the row is where the format says");
            db.insert(key, &row[..row.len() - 3]).unwrap();
        }
    });
    let store = SledBackend::open(folder.path()).await.unwrap();
    let error = store.read(&log(), &EventQuery::new()).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Corrupt);
    assert_eq!(error.message(), "the log main: the event at position 2: a stored row cannot be decoded");
    let error = store.get_one(&log(), &RecordKey::new("shop.order", "b").unwrap()).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Corrupt);
    assert_eq!(error.message(), "the record shop.order/b: a stored row cannot be decoded");
    store.close().await;

    tamper(folder.path(), |db| drop(db.remove(&event).unwrap()));
    let store = SledBackend::open(folder.path()).await.unwrap();
    let error = store.read(&log(), &EventQuery::new()).await.unwrap_err();
    assert_eq!(error.message(), "the log main: the event at position 2 is missing");
}

fn subject(text: &str) -> Subject {
    Subject::new(text).unwrap()
}

/// The keys of a subject, with one key that is new in them.
fn keys(text: &str, id: u8) -> Commit {
    let row = KeyRow { subject: subject(text), version: 300, epoch: 2, body: vec![0, 0xff, 7] };
    let write = KeyWrite { expected: 0, row, new_ids: vec![KeyId::from_bytes([id; 32])] };
    Commit { keys: vec![write], ..commit(Vec::new()) }
}

/// The key of a row, as it is on disk: a tag, log 1, and the rest.
fn key_of(tag: u8, rest: &[u8]) -> Vec<u8> {
    [&[tag, 0, 0, 0, 1], rest].concat()
}

/// The row of [`keys`] for the subject `a/1`, and its key: by the first version of the format.
const KEYS_V1: (&[u8], &[u8]) = (b"\x09\0\0\0\x01a/1", b"\x01\x03a/1\xac\x02\x02\x03\0\xff\x07");

#[tokio::test]
async fn keys_are_kept_as_the_format_says() {
    let folder = TempDir::new().unwrap();
    let store = SledBackend::open(folder.path()).await.unwrap();
    store.commit_one(keys("a/1", 5)).await.unwrap();
    store.close().await;
    let (key, row) = KEYS_V1;
    let by_id = key_of(10, &[5; 32]);
    tamper(folder.path(), |db| {
        assert_eq!(db.get(key).unwrap().unwrap(), row);
        assert_eq!(db.get(&by_id).unwrap().unwrap(), b"a/1");
    });

    let folder = TempDir::new().unwrap();
    with_commits(folder.path()).await;
    tamper(folder.path(), |db| {
        db.insert(key, row).unwrap();
        db.insert(&*by_id, b"a/1").unwrap();
    });
    let store = SledBackend::open(folder.path()).await.unwrap();
    let expected = Some(keys("a/1", 5).keys.remove(0).row);
    assert_eq!(store.keys(&log(), &[subject("a/1")]).await.unwrap(), std::slice::from_ref(&expected));
    assert_eq!(store.keys_by_id(&log(), &[KeyId::from_bytes([5; 32])]).await.unwrap(), [expected]);
}

#[tokio::test]
async fn damaged_keys_are_corrupt_and_say_whose() {
    let folder = TempDir::new().unwrap();
    let store = SledBackend::open(folder.path()).await.unwrap();
    for (id, text) in [(1, "a"), (2, "b"), (3, "c"), (4, "d")] {
        store.commit_one(keys(text, id)).await.unwrap();
    }
    store.close().await;
    tamper(folder.path(), |db| {
        let row = db.get(key_of(9, b"a")).unwrap().expect("the row is where the format says");
        db.insert(key_of(9, b"b"), &row).unwrap();
        db.insert(key_of(9, b"a"), &row[..row.len() - 1]).unwrap();
        db.remove(key_of(9, b"c")).unwrap();
        db.insert(key_of(10, &[4; 32]), b"\xff").unwrap();
    });
    let store = SledBackend::open(folder.path()).await.unwrap();
    let cut = "the keys of a: a stored row cannot be decoded";
    let moved = "the keys of b say that they are those of a";
    let lost = format!("the key {} is one of c, which has none", KeyId::from_bytes([3; 32]));
    let no_text = format!("the key {}: a stored subject is no text", KeyId::from_bytes([4; 32]));
    for (text, message) in [("a", cut), ("b", moved)] {
        assert_corrupt(store.keys(&log(), &[subject("d"), subject(text)]).await, message);
        let guards = vec![KeyGuard { subject: subject(text), epoch: 2 }];
        let guarded = Commit { guards, ..commit(vec![create("new", r#"{"n":1}"#, None)]) };
        assert_corrupt(store.commit_one(guarded).await, message);
        assert_corrupt(store.commit_one(keys(text, 9)).await, message);
    }
    for (id, message) in [(1, cut), (2, moved), (3, &*lost), (4, &*no_text)] {
        assert_corrupt(store.keys_by_id(&log(), &[KeyId::from_bytes([id; 32])]).await, message);
    }
    assert_corrupt(store.list_keys(&log(), None, 10).await, cut);
    assert_corrupt(store.list_keys(&log(), Some(&subject("a")), 10).await, moved);
    assert_eq!(store.keys(&log(), &[subject("d")]).await.unwrap(), [Some(keys("d", 4).keys.remove(0).row)]);
    assert_eq!(store.head(&log()).await.unwrap().position, Position::ZERO);
    store.close().await;

    tamper(folder.path(), |db| drop(db.insert(key_of(9, b"b\xff"), b"").unwrap()));
    let store = SledBackend::open(folder.path()).await.unwrap();
    assert_corrupt(store.list_keys(&log(), Some(&subject("b")), 10).await, "a stored subject is no text");
}

fn assert_corrupt<T: std::fmt::Debug>(answer: Result<T, Error>, message: &str) {
    let error = answer.unwrap_err();
    assert_eq!((error.kind(), error.message()), (&ErrorKind::Corrupt, message));
}

#[tokio::test]
async fn what_a_rebuild_left_is_removed_when_the_store_is_opened() {
    let folder = TempDir::new().unwrap();
    with_commits(folder.path()).await;
    let store = SledBackend::open(folder.path()).await.unwrap();
    let rebuild = store.begin_rebuild(&log(), common::LOCK, RebuildMode::Shadow).await.unwrap();
    let records = (0..5_000).map(|n| LoadedRecord {
        key: RecordKey::new("shop.order", n.to_string()).unwrap(),
        revision: Revision::new(1),
        state: create("x", r#"{"n":1}"#, Some(&n.to_string())).write.unwrap().state,
    });
    store.load(&rebuild, records.collect()).await.unwrap();
    std::mem::forget(rebuild);
    store.close().await;

    let rows = |tag: u8| {
        let rows = std::cell::Cell::new(0);
        tamper(folder.path(), |db| rows.set(db.scan_prefix([tag]).count()));
        rows.get()
    };
    assert_eq!((rows(6), rows(7), rows(8)), (5_003, 5_000, 1));
    SledBackend::open(folder.path()).await.unwrap().close().await;
    assert_eq!((rows(6), rows(7), rows(8)), (3, 0, 0));
}

/// Values of more than 128 KiB are in files of their own.
#[tokio::test]
async fn large_events_and_many_of_them_are_there_after_opening() {
    let folder = TempDir::new().unwrap();
    let store = SledBackend::open(folder.path()).await.unwrap();
    let attributes = format!(r#"{{"text":"{}"}}"#, "x".repeat(1_000_000));
    let batch = (0..12).map(|n| commit(vec![create(&n.to_string(), &attributes, None)])).collect();
    assert!(store.commit(batch).await.iter().all(Result::is_ok));
    let many = (0..10_000).map(|n| create(&format!("many-{n}"), r#"{"n":1}"#, None)).collect();
    store.commit_one(commit(many)).await.unwrap();
    assert!(fs::read_dir(folder.path().join("blobs")).unwrap().count() > 0);
    store.close().await;

    let store = SledBackend::open(folder.path()).await.unwrap();
    assert_eq!(store.head(&log()).await.unwrap().position, Position::new(10_012));
    let page = store.read(&log(), &EventQuery::new().with_limit(12)).await.unwrap();
    assert!(page.items.iter().all(|event| event.data.size() == attributes.len()));
    assert_eq!(store.count(&log(), EventQuery::new()).await.unwrap(), 10_012);
}
