//! Commits inside transactions of the user's, and what else only a database server has: locks, time-outs, two processes.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::collections::HashSet;
use std::time::Duration;

use common::{LOCK, commit, config, create, creation, key, log, open, server};
use rekindle_core::ErrorKind;
use rekindle_core::store::{EventStore, EventStoreExt, ResourceStore, ResourceStoreExt};
use rekindle_core::types::{EventQuery, Expected, Position};
use rekindle_postgres::{LockMode, PostgresBackend, PostgresConfig};
use sqlx::postgres::PgPoolOptions;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, PgPool, Row};

/// A pool of the user's, with a table of its own.
async fn user_pool(config: &PostgresConfig) -> (PgPool, String) {
    let pool = PgPoolOptions::new().max_connections(2).connect(server().url()).await.unwrap();
    let table = format!("{}.orders", config.schema.quoted());
    pool.execute(AssertSqlSafe(format!("CREATE TABLE {table} (id text PRIMARY KEY)"))).await.unwrap();
    (pool, table)
}

async fn count(pool: &PgPool, table: &str) -> i64 {
    let text = AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
    sqlx::query(text).fetch_one(pool).await.unwrap().get(0)
}

async fn insert(transaction: &mut PgConnection, table: &str, id: &str) {
    let text = AssertSqlSafe(format!("INSERT INTO {table} VALUES ($1)"));
    sqlx::query(text).bind(id).execute(transaction).await.unwrap();
}

#[tokio::test]
async fn a_table_of_the_users_and_the_log_are_committed_as_one() {
    for mode in [LockMode::Advisory, LockMode::Row] {
        let config = config(server()).with_lock_mode(mode);
        let store = open(server(), &config).await;
        let (pool, table) = user_pool(&config).await;

        let mut transaction = pool.begin().await.unwrap();
        insert(&mut transaction, &table, "a").await;
        let committed = store.commit_in(&mut transaction, creation("a")).await.unwrap();
        assert_eq!(committed.events[0].position, Position::new(1));
        assert_eq!(store.head(&log()).await.unwrap().position, Position::ZERO, "it is not seen before it is committed");
        transaction.commit().await.unwrap();
        assert_eq!(store.head(&log()).await.unwrap().position, Position::new(1));
        assert!(store.get_one(&log(), &key("a")).await.unwrap().is_some());
        assert_eq!(count(&pool, &table).await, 1);

        let mut transaction = pool.begin().await.unwrap();
        insert(&mut transaction, &table, "b").await;
        store.commit_in(&mut transaction, creation("b")).await.unwrap();
        transaction.rollback().await.unwrap();
        assert_eq!(store.head(&log()).await.unwrap().position, Position::new(1), "it is rolled back with the rest");
        assert!(store.get_one(&log(), &key("b")).await.unwrap().is_none());
        assert_eq!(count(&pool, &table).await, 1);

        // A conflict leaves the transaction as it was.
        let mut transaction = pool.begin().await.unwrap();
        let error = store.commit_in(&mut transaction, creation("a")).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::AlreadyExists { .. }), "{error:?}");
        insert(&mut transaction, &table, "c").await;
        let answers = store.commit_all_in(&mut transaction, vec![creation("c"), creation("a"), creation("d")]).await;
        assert!(answers[0].is_ok() && answers[1].is_err() && answers[2].is_ok(), "{answers:?}");
        transaction.commit().await.unwrap();
        assert_eq!(store.head(&log()).await.unwrap().position, Position::new(3));
        assert_eq!(count(&pool, &table).await, 2);
    }
}

#[tokio::test]
async fn a_commit_waits_for_an_open_transaction_and_goes_on_after_it() {
    let config = config(server()).with_max_connections(1);
    let store = open(server(), &config).await;
    let (pool, _) = user_pool(&config).await;
    let mut transaction = pool.begin().await.unwrap();
    store.commit_in(&mut transaction, creation("a")).await.unwrap();
    let waiting = {
        let store = store.clone();
        tokio::spawn(async move { store.commit_one(creation("b")).await })
    };
    // A pool of one: who waits for a lock does not keep its connection.
    for _ in 0..200 {
        assert_eq!(store.head(&log()).await.unwrap().position, Position::ZERO);
    }
    assert!(!waiting.is_finished());
    transaction.commit().await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap().events[0].position, Position::new(2));
}

#[tokio::test]
async fn a_lock_that_is_held_for_too_long_is_a_typed_error() {
    for mode in [LockMode::Advisory, LockMode::Row] {
        let config = config(server()).with_lock_mode(mode).with_lock_timeout(Some(Duration::from_millis(250)));
        let store = open(server(), &config).await;
        store.commit_one(creation("first")).await.unwrap();
        let (pool, _) = user_pool(&config).await;
        let mut transaction = pool.begin().await.unwrap();
        store.commit_in(&mut transaction, creation("a")).await.unwrap();
        let error = store.commit_one(creation("b")).await.unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::Unavailable);
        assert!(error.message().contains("lock"), "{error}");
        transaction.rollback().await.unwrap();
        store.commit_one(creation("b")).await.unwrap();
        assert_eq!(store.head(&log()).await.unwrap().position, Position::new(2));
    }
}

#[tokio::test]
async fn whoever_holds_the_key_holds_the_commits() {
    let config = config(server()).with_lock_timeout(Some(Duration::from_millis(250)));
    let store = open(server(), &config).await;
    let mut holder = PgConnection::connect(server().url()).await.unwrap();
    // The key of no other test.
    let mut mine = creation("a");
    mine.lock = rekindle_core::types::LockKey::Two(71, 72);
    holder.execute("SELECT pg_advisory_lock(71, 72)").await.unwrap();
    let error = store.commit_one(mine.clone()).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Unavailable);
    holder.execute("SELECT pg_advisory_unlock(71, 72)").await.unwrap();
    store.commit_one(mine).await.unwrap();
}

#[tokio::test]
async fn a_statement_timeout_is_a_typed_error() {
    let config = config(server());
    open(server(), &config).await.close().await;
    let url = format!("{}?options=-c%20statement_timeout%3D100", server().url());
    let store = PostgresBackend::connect_with(&url, config.clone()).await.unwrap();
    store.commit_one(creation("a")).await.unwrap();
    let mut blocker = PgConnection::connect(server().url()).await.unwrap();
    let lock = format!("BEGIN; LOCK TABLE {}.events", config.schema.quoted());
    blocker.execute(AssertSqlSafe(lock)).await.unwrap();
    let error = store.read(&log(), &EventQuery::new()).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Unavailable);
    assert!(error.message().contains("time"), "{error}");
    let error = store.commit_one(creation("b")).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Unavailable, "a statement that was cancelled has certainly not committed");
    blocker.execute("ROLLBACK").await.unwrap();
    store.commit_one(creation("b")).await.unwrap();
    assert_eq!(store.head(&log()).await.unwrap().position, Position::new(2));
}

#[tokio::test]
async fn a_server_that_is_read_only_is_a_typed_error() {
    let config = config(server());
    open(server(), &config).await.close().await;
    let url = format!("{}?options=-c%20default_transaction_read_only%3Don", server().url());
    let store = PostgresBackend::connect_with(&url, config.clone()).await.unwrap();
    let error = store.commit_one(creation("a")).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Unavailable);
    assert!(error.message().contains("read-only"), "{error}");
    assert_eq!(store.head(&log()).await.unwrap().position, Position::ZERO, "it can still be read");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_commit_to_one_log() {
    for mode in [LockMode::Advisory, LockMode::Row] {
        let config = config(server()).with_max_connections(2).with_lock_mode(mode);
        let stores = [open(server(), &config).await, open(server(), &config).await];
        let tasks: Vec<_> = (0..8)
            .map(|task| {
                let store = stores[task % 2].clone();
                tokio::spawn(async move {
                    for n in 0..25 {
                        store.commit_one(creation(&format!("{task}-{n}"))).await.unwrap();
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        let events = stores[0].read(&log(), &EventQuery::new()).await.unwrap().items;
        let positions: Vec<u64> = events.iter().map(|event| event.position.get()).collect();
        assert_eq!(positions, (1..=200).collect::<Vec<_>>());
        let records: HashSet<_> = events.iter().map(|event| event.record_id.as_str()).collect();
        assert_eq!(records.len(), 200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_is_woken_by_another_process_before_it_looks_by_itself() {
    let config = config(server()).with_poll_interval(Duration::from_secs(3_600));
    let (reader, writer) = (open(server(), &config).await, open(server(), &config).await);
    let waiting = tokio::spawn(async move { reader.changed(&log(), Position::ZERO).await });
    // Until it listens, hints are lost: so they are sent until one is heard.
    let mut n = 0;
    while !waiting.is_finished() {
        writer.commit_one(creation(&n.to_string())).await.unwrap();
        n += 1;
        assert!(n < 10_000, "no hint was heard");
        tokio::task::yield_now().await;
    }
    waiting.await.unwrap().unwrap();
}

/// sqlx gives a connection back to its pool with a transaction open if `begin` is dropped at the wrong time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_dropped_no_transaction_stays_open() {
    let config = config(server()).with_max_connections(1);
    let (store, other) = (open(server(), &config).await, open(server(), &config).await);
    for polls in 0..60 {
        // Two handles in turn: so most of these commits find the log changed, and begin a transaction.
        other.commit_one(creation(&format!("other-{polls}"))).await.unwrap();
        let id = format!("mine-{polls}");
        let mut dropped = Box::pin(store.commit_one(creation(&id)));
        for _ in 0..polls % 6 {
            if futures_poll(&mut dropped).await {
                break;
            }
        }
        drop(dropped);
        let tenant = log().with_tenant("t").unwrap();
        let mut clear = Box::pin(store.clear(&tenant, LOCK));
        futures_poll(&mut clear).await;
        drop(clear);
    }
    // A commit that was swallowed by a transaction that stays open would not be seen by the other.
    store.commit_one(creation("last")).await.unwrap();
    assert!(other.get_one(&log(), &key("last")).await.unwrap().is_some());
    let mut asking = PgConnection::connect(server().url()).await.unwrap();
    let text = "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'
        AND query LIKE '%' || $1 || '%'";
    let open: i64 = sqlx::query(text).bind(config.schema.as_str()).fetch_one(&mut asking).await.unwrap().get(0);
    assert_eq!(open, 0);
}

/// Polls once, and lets others run; tells whether it is done.
async fn futures_poll<F: Future + Unpin>(future: &mut F) -> bool {
    let done = std::future::poll_fn(|cx| std::task::Poll::Ready(std::pin::Pin::new(&mut *future).poll(cx).is_ready()));
    let done = done.await;
    tokio::task::yield_now().await;
    done
}

#[tokio::test]
async fn a_commit_in_a_serializable_transaction_is_right_or_refused() {
    let config = config(server());
    let store = open(server(), &config).await;
    let (pool, _) = user_pool(&config).await;
    store.commit_one(creation("a")).await.unwrap();
    let mut transaction = pool.begin().await.unwrap();
    transaction.execute("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE").await.unwrap();
    transaction.execute("SELECT 1 FROM pg_class LIMIT 1").await.unwrap();
    store.commit_one(creation("b")).await.unwrap();
    // Its snapshot is older than the last commit: it cannot go on from there.
    let mut update = commit(vec![create("a", r#"{"n":2}"#, None)]);
    update.changes[0].write.as_mut().unwrap().expected = Expected::Any;
    let error = store.commit_in(&mut transaction, update).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Unavailable, "{error:?}");
    transaction.rollback().await.unwrap();
    assert_eq!(store.head(&log()).await.unwrap().position, Position::new(2));
}
