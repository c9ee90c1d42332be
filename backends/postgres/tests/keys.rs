//! The keys of subjects: written by commits, with events or alone, whatever state the log is in.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{LOCK, commit, config, create, creation, log, open, server};
use rekindle_core::store::{EventStore, EventStoreExt, KeyStore, LogState, ResourceStore};
use rekindle_core::types::{Commit, KeyGuard, KeyId, KeyRow, KeyWrite, Position, Subject};
use rekindle_core::{Error, ErrorKind, VaultFault};
use rekindle_postgres::LockMode;
use sqlx::postgres::PgPoolOptions;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

fn subject(name: &str) -> Subject {
    Subject::named(name).unwrap()
}

fn id(byte: u8) -> KeyId {
    KeyId::from_bytes([byte; 32])
}

/// The next write of a subject's keys, after a version.
fn write(name: &str, expected: u64, new_ids: &[KeyId]) -> KeyWrite {
    let row = KeyRow { subject: subject(name), version: expected + 1, epoch: expected + 1, body: vec![0, 1, 255] };
    KeyWrite { expected, row, new_ids: new_ids.to_vec() }
}

fn of_keys(keys: Vec<KeyWrite>) -> Commit {
    let mut commit = commit(Vec::new());
    commit.keys = keys;
    commit
}

fn guarded(id: &str, name: &str, epoch: u64) -> Commit {
    let mut commit = creation(id);
    commit.guards.push(KeyGuard { subject: subject(name), epoch });
    commit
}

#[track_caller]
fn assert_changed(error: &Error) {
    assert_eq!(*error.kind(), ErrorKind::Vault(VaultFault::KeyChanged), "{error:?}");
}

#[tokio::test]
async fn keys_are_written_at_the_version_that_was_read_and_found_by_id() {
    for mode in [LockMode::Advisory, LockMode::Row] {
        let store = open(server(), &config(server()).with_lock_mode(mode)).await;
        assert!(store.key_store().is_some());
        let first = write("ada", 0, &[id(1), id(2)]);
        store.commit_one(of_keys(vec![write("ben", 0, &[id(3)]), first.clone()])).await.unwrap();
        let found = store.keys(&log(), &[subject("nobody"), subject("ada")]).await.unwrap();
        assert_eq!(found, [None, Some(first.row.clone())]);

        assert_changed(&store.commit_one(of_keys(vec![first])).await.unwrap_err());
        let second = write("ada", 1, &[id(4)]);
        store.commit_one(of_keys(vec![second.clone()])).await.unwrap();
        let found = store.keys_by_id(&log(), &[id(4), id(9), id(1)]).await.unwrap();
        assert_eq!(found, [Some(second.row.clone()), None, Some(second.row)]);

        // An import brings ids that are known, and a batch may bring one twice.
        let again = [of_keys(vec![write("ada", 2, &[id(1)])]), of_keys(vec![write("ada", 3, &[id(1), id(1)])])];
        assert!(store.commit(again.to_vec().into()).await.iter().all(Result::is_ok));
        assert_eq!(store.keys_by_id(&log(), &[id(1)]).await.unwrap()[0].as_ref().unwrap().version, 4);
        assert_eq!(store.head(&log()).await.unwrap().position, Position::ZERO);
    }
}

#[tokio::test]
async fn nothing_is_committed_under_keys_that_have_changed() {
    let store = open(server(), &config(server())).await;
    store.commit_one(of_keys(vec![write("ada", 0, &[])])).await.unwrap();
    store.commit_one(guarded("a", "ada", 1)).await.unwrap();
    assert_changed(&store.commit_one(guarded("b", "ada", 0)).await.unwrap_err());
    // Within a batch, each one sees the keys of those before it.
    let batch = vec![guarded("b", "ada", 1), of_keys(vec![write("ada", 1, &[])]), guarded("c", "ada", 1)];
    let answers = store.commit(batch.into()).await;
    assert!(answers[0].is_ok() && answers[1].is_ok());
    assert_changed(answers[2].as_ref().unwrap_err());

    let with_event = |id: &str, expected| {
        let mut commit = creation(id);
        commit.keys.push(write("ben", expected, &[]));
        commit
    };
    assert_changed(&store.commit_one(with_event("c", 7)).await.unwrap_err());
    let mut twice = with_event("a", 0);
    twice.changes.push(create("d", "{}", None));
    let error = store.commit_one(twice).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::AlreadyExists { .. }), "{error:?}");
    assert_eq!(store.keys(&log(), &[subject("ben")]).await.unwrap(), [None], "all of a commit or nothing");
    store.commit_one(with_event("c", 0)).await.unwrap();
    assert!(store.keys(&log(), &[subject("ben")]).await.unwrap()[0].is_some());
    assert_eq!(store.head(&log()).await.unwrap().position, Position::new(3));
}

#[tokio::test]
async fn keys_are_listed_in_pages_and_so_are_their_logs() {
    let store = open(server(), &config(server())).await;
    assert_eq!(store.logs_with_keys().await.unwrap(), []);
    let other = log().with_tenant("t").unwrap();
    let mut elsewhere = of_keys(vec![write("zoe", 0, &[])]);
    elsewhere.log = other.clone();
    store.commit_one(elsewhere).await.unwrap();
    store.commit_one(creation("a")).await.unwrap();
    assert_eq!(store.logs_with_keys().await.unwrap(), std::slice::from_ref(&other));
    let names = ["é", "b", "B", "a"];
    store.commit_one(of_keys(names.map(|name| write(name, 0, &[])).to_vec())).await.unwrap();
    assert_eq!(store.logs_with_keys().await.unwrap(), [log(), other]);

    let mut listed = Vec::new();
    let mut after = None;
    loop {
        let page = store.list_keys(&log(), after.as_ref(), 3).await.unwrap();
        listed.extend(page.items.into_iter().map(|row| row.subject));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(listed, ["B", "a", "b", "é"].map(subject));
    assert!(store.list_keys(&log(), None, 0).await.unwrap().items.is_empty());
    assert!(store.list_keys(&log().with_tenant("no").unwrap(), None, 9).await.unwrap().items.is_empty());
}

#[tokio::test]
async fn keys_outlive_a_clear_and_leave_a_rewound_log_rewound() {
    let config = config(server());
    let store = open(server(), &config).await;
    let mut first = creation("a");
    first.keys.push(write("ada", 0, &[id(1)]));
    store.commit_one(first).await.unwrap();
    store.clear(&log(), LOCK).await.unwrap();
    let rewound = LogState::Rewound(Position::ZERO);
    assert_eq!(store.head(&log()).await.unwrap().state, rewound);
    assert_eq!(store.keys(&log(), &[subject("ada")]).await.unwrap()[0].as_ref().unwrap().version, 1);

    store.commit_one(of_keys(vec![write("ada", 1, &[])])).await.unwrap();
    let head = store.head(&log()).await.unwrap();
    assert_eq!((head.state, head.position), (rewound, Position::new(1)));
    let error = store.commit_one(guarded("b", "ada", 2)).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Rewound { at: Position::ZERO });

    let mut connection = PgConnection::connect(server().url()).await.unwrap();
    let drop = format!("SELECT {}.drop_log('main')", config.schema.quoted());
    sqlx::query(AssertSqlSafe(drop)).execute(&mut connection).await.unwrap();
    assert_eq!(store.keys(&log(), &[subject("ada")]).await.unwrap(), [None]);
    assert_eq!(store.keys_by_id(&log(), &[id(1)]).await.unwrap(), [None]);
    store.commit_one(of_keys(vec![write("ada", 0, &[id(1)])])).await.unwrap();
}

#[tokio::test]
async fn keys_are_committed_in_a_transaction_of_the_users() {
    let store = open(server(), &config(server())).await;
    let pool = PgPoolOptions::new().max_connections(1).connect(server().url()).await.unwrap();
    let mut transaction = pool.begin().await.unwrap();
    store.commit_in(&mut transaction, of_keys(vec![write("ada", 0, &[id(1)])])).await.unwrap();
    assert_changed(&store.commit_in(&mut transaction, guarded("a", "ada", 9)).await.unwrap_err());
    store.commit_in(&mut transaction, guarded("a", "ada", 1)).await.unwrap();
    assert_eq!(store.keys(&log(), &[subject("ada")]).await.unwrap(), [None]);
    transaction.commit().await.unwrap();
    assert!(store.keys_by_id(&log(), &[id(1)]).await.unwrap()[0].is_some());
}

#[tokio::test]
async fn keys_that_cannot_be_decoded_are_damage_of_their_subject() {
    let config = config(server());
    let store = open(server(), &config).await;
    store.commit_one(of_keys(vec![write("ada", 0, &[id(1)]), write("ben", 0, &[id(2)])])).await.unwrap();
    let mut connection = PgConnection::connect(server().url()).await.unwrap();
    let schema = config.schema.quoted();
    let damage = format!(
        "UPDATE {schema}.keys SET version = -1 WHERE subject = 'named:ada'; DELETE FROM {schema}.keys WHERE subject = 'named:ben'"
    );
    sqlx::raw_sql(AssertSqlSafe(damage)).execute(&mut connection).await.unwrap();
    for error in [
        store.keys(&log(), &[subject("ada")]).await.unwrap_err(),
        store.list_keys(&log(), None, 9).await.unwrap_err(),
        store.commit_one(guarded("a", "ada", 1)).await.unwrap_err(),
    ] {
        assert_eq!(*error.kind(), ErrorKind::Corrupt);
        assert!(error.message().contains("named:ada"), "{error}");
    }
    let error = store.keys_by_id(&log(), &[id(2)]).await.unwrap_err();
    assert!(*error.kind() == ErrorKind::Corrupt && error.message().contains("named:ben"), "{error}");
}
