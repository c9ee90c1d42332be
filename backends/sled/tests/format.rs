//! Opening: what is refused, and in which words; and rows that are damaged.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::fs;
use std::path::Path;

use common::{commit, create, log};
use rekindle_core::store::{EventStore, EventStoreExt, LoadedRecord, RebuildMode, ResourceStore, ResourceStoreExt};
use rekindle_core::types::{EventQuery, Position, RecordKey, Revision};
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
