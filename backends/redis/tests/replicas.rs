//! Replicas: what a commit waits for, and what takes none.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::time::Duration;

use common::{config, creation, log, open, server};
use rekindle_core::ErrorKind;
use rekindle_core::store::EventStoreExt;
use rekindle_core::types::{Commit, LockKey, Position};
use rekindle_redis::RedisBackend;
use rekindle_test_servers::{Aof, Redis};

/// A server that has no replica, and a store whose commits wait for one so long, and then for their answer.
async fn without_replica(wait: Duration, answer: Duration) -> (Redis, RedisBackend) {
    server();
    let primary = Redis::start(Aof::Always);
    let store = open(primary.url(), &config().with_replicas(1, wait).with_response_timeout(answer)).await;
    (primary, store)
}

#[tokio::test]
async fn a_replica_refuses_commits_until_it_is_the_primary() {
    server();
    let (primary, replica) = (Redis::start(Aof::Always), Redis::start(Aof::Always));
    let store = open(replica.url(), &config().with_patience(Duration::from_millis(50))).await;
    store.commit_one(creation("a")).await.unwrap();
    assert_eq!(replica.cli(&["replicaof", "127.0.0.1", &primary.port().to_string()]), "OK");
    let error = store.commit_one(creation("b")).await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Unavailable, "{error:?}");
    assert!(error.to_string().contains("replica"), "{error}");
    let error = RedisBackend::connect_with(replica.url(), config()).await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Invalid);
    assert!(error.message().contains("replica"), "{error}");
    assert_eq!(replica.cli(&["replicaof", "no", "one"]), "OK");
    store.commit_one(creation("c")).await.unwrap();
}

#[tokio::test]
async fn replicas_that_are_missing_leave_a_commit_open() {
    let (primary, store) = without_replica(Duration::from_millis(100), Duration::from_secs(10)).await;
    let commit = creation("a");
    let error = store.commit_one(commit.clone()).await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Indeterminate, "{error:?}");
    let replica = Redis::start(Aof::Always);
    assert_eq!(replica.cli(&["replicaof", "127.0.0.1", &primary.port().to_string()]), "OK");
    while !replica.cli(&["info", "replication"]).contains("master_link_status:up") {
        tokio::task::yield_now().await;
    }
    let mut answer = store.commit_one(commit.clone()).await;
    while answer.as_ref().is_err_and(|error| error.kind() == &ErrorKind::Indeterminate) {
        answer = store.commit_one(commit.clone()).await;
    }
    assert_eq!(answer.unwrap().events[0].position, Position::new(1));
}

#[tokio::test]
async fn commits_that_wait_for_replicas_do_not_wait_for_each_other() {
    let (_primary, store) = without_replica(Duration::from_millis(300), Duration::from_millis(500)).await;
    // On one connection they would take six seconds: longer than any of them waits for its answer.
    let commits = (0..20).map(|number| Commit {
        log: log().with_tenant(number.to_string()).unwrap(),
        lock: LockKey::One(number),
        ..creation("a")
    });
    for answer in futures::future::join_all(commits.map(|commit| store.commit_one(commit))).await {
        let error = answer.unwrap_err();
        assert!(error.message().contains("fewer replicas than were asked for"), "{error:?}");
        assert_eq!(error.kind(), &ErrorKind::Indeterminate);
    }
}

#[tokio::test]
async fn a_call_that_was_given_up_is_not_waited_for_by_the_next() {
    let (_primary, store) = without_replica(Duration::from_secs(2), Duration::from_secs(1)).await;
    // Each of them leaves the server waiting for two seconds.
    for id in ["a", "b", "c"] {
        tokio::time::timeout(Duration::from_millis(100), store.commit_one(creation(id))).await.unwrap_err();
    }
    let error = store.commit_one(creation("d")).await.unwrap_err();
    assert!(error.message().contains("fewer replicas than were asked for"), "{error:?}");
}
