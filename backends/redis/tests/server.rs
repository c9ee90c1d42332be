//! What only a server can show: its keys, its settings, its code, and the errors that it gives.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{LOCK, commit, config, create, creation, key, log, open, server};
use rekindle_core::ErrorKind;
use rekindle_core::store::{
    Durability, EventStore, EventStoreExt, LoadedRecord, RebuildMode, ResourceStore, ResourceStoreExt,
};
use rekindle_core::types::{Change, EventQuery, Expected, Json, Order, Position, RecordWrite, Revision, WriteState};
use rekindle_redis::{Code, RedisBackend, RedisConfig};
use rekindle_test_servers::{Aof, Redis};

async fn refused(url: &str, config: RedisConfig) -> rekindle_core::Error {
    RedisBackend::connect_with(url, config).await.expect_err("it must be refused")
}

fn keys(server: &Redis) -> Vec<String> {
    server.cli(&["keys", "*"]).lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn no_key_is_outside_of_the_prefix_and_nothing_is_left_of_old_generations() {
    server();
    let server = Redis::start(Aof::Off);
    let config = config().with_prefix("a{b}:c");
    let store = open(server.url(), &config).await;
    for n in 0..1_200 {
        store.commit_one(commit(vec![create(&n.to_string(), r#"{"n":1}"#, Some(&n.to_string()))])).await.unwrap();
    }
    for round in 0..3 {
        let rebuild = store.begin_rebuild(&log(), LOCK, RebuildMode::Shadow).await.unwrap();
        let state = Some(WriteState { attributes: Json::empty(), identities: Vec::new() });
        let record = LoadedRecord { key: key("a"), revision: Revision::new(1), state };
        store.load(&rebuild, vec![record]).await.unwrap();
        if round == 2 {
            store.abandon_rebuild(rebuild).await.unwrap();
        } else {
            let fence = store.fence(&rebuild).await.unwrap();
            store.finish_rebuild(rebuild, fence, Position::new(1_200)).await.unwrap();
        }
    }
    // The fences are taken away in the background; a commit waits for that.
    store.commit_one(creation("b")).await.unwrap();
    let keys = keys(&server);
    assert!(keys.iter().all(|key| key.starts_with("{a%7Bb%7D%3Ac:")), "{keys:?}");
    for kind in [":r:", ":l:", ":u:", ":g:"] {
        let of: Vec<_> = keys.iter().filter(|key| key.contains(kind)).collect();
        assert!(of.iter().all(|key| key.contains(&format!("{kind}2"))), "old generations are left: {of:?}");
    }
    assert!(keys.iter().filter(|key| key.contains(":e:")).count() == 2, "{keys:?}");
    let scans = server.cli(&["info", "commandstats"]);
    assert!(!scans.contains("cmdstat_scan:"), "{scans}");
}

#[tokio::test]
async fn the_durability_is_that_of_the_servers_settings_and_less_than_asked_for_is_refused() {
    server();
    for (aof, durability, setting) in [
        (Aof::Off, Durability::Process, "`appendonly no`"),
        (Aof::EverySecond, Durability::ProcessCrash, "`appendfsync everysec`"),
        (Aof::Always, Durability::PowerLoss, "`appendfsync always`"),
    ] {
        let server = Redis::start(aof);
        assert_eq!(open(server.url(), &config()).await.info().durability, durability);
        let asks = config().with_durability(Durability::PowerLoss);
        if durability == Durability::PowerLoss {
            open(server.url(), &asks).await;
            continue;
        }
        let error = refused(server.url(), asks).await;
        assert_eq!(error.kind(), &ErrorKind::Invalid);
        assert!(error.message().contains(setting), "{error}");
    }
}

#[tokio::test]
async fn a_server_that_may_drop_keys_is_refused_by_the_name_of_the_setting() {
    server();
    let server = Redis::start_with(Aof::Always, &["--maxmemory-policy", "allkeys-lru"]);
    let error = refused(server.url(), config()).await;
    assert_eq!(error.kind(), &ErrorKind::Invalid);
    assert!(error.message().contains("`maxmemory-policy allkeys-lru`"), "{error}");
}

#[tokio::test]
async fn where_config_is_forbidden_the_durability_must_be_said() {
    server();
    let server = Redis::start(Aof::Always);
    assert_eq!(server.cli(&["acl", "setuser", "app", "on", ">secret", "~*", "&*", "+@all", "-config"]), "OK");
    let url = server.url().replace("redis://", "redis://app:secret@");
    let error = refused(&url, config()).await;
    assert_eq!(error.kind(), &ErrorKind::Invalid);
    assert!(error.message().contains("with_durability"), "{error}");
    let store = open(&url, &config().with_durability(Durability::ProcessCrash)).await;
    assert_eq!(store.info().durability, Durability::ProcessCrash);
    store.commit_one(creation("a")).await.unwrap();
    let error = refused(&server.url().replace("redis://", "redis://app:wrong@"), config()).await;
    assert_eq!(error.kind(), &ErrorKind::Invalid);
    assert!(!format!("{error} {error:?}").contains("wrong@"), "the password is told: {error:?}");
}

#[tokio::test]
async fn what_cannot_be_reached_is_unavailable() {
    let error = refused("redis://127.0.0.1:1", config()).await;
    assert_eq!(error.kind(), &ErrorKind::Unavailable, "{error:?}");
    assert_eq!(*refused("redis://[", config()).await.kind(), ErrorKind::Invalid);
    assert_eq!(*refused("redis+cluster://127.0.0.1:1", config()).await.kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn code_that_is_gone_from_the_server_is_loaded_again_and_old_versions_stay() {
    server();
    let server = Redis::start(Aof::Off);
    let other =
        "#!lua name=rekindle_1_0123\nredis.register_function('rekindle_1_0123_commit', function() return 1 end)";
    assert_eq!(server.cli(&["function", "load", other]), "rekindle_1_0123");
    let functions = open(server.url(), &config()).await;
    let scripts = open(server.url(), &config().with_code(Code::Scripts)).await;
    for (n, store) in [&functions, &scripts].into_iter().enumerate() {
        store.commit_one(creation(&n.to_string())).await.unwrap();
    }
    let libraries = server.cli(&["function", "list"]);
    assert_eq!(libraries.matches("library_name").count(), 2, "{libraries}");
    assert_eq!(server.cli(&["function", "flush"]), "OK");
    assert_eq!(server.cli(&["script", "flush"]), "OK");
    for (n, store) in [&functions, &scripts].into_iter().enumerate() {
        store.commit_one(creation(&format!("again {n}"))).await.unwrap();
        assert!(store.get_one(&log(), &key(&format!("again {n}"))).await.unwrap().is_some());
    }
}

#[tokio::test]
async fn two_versions_of_the_code_work_on_one_log() {
    // A library by another name is another version; the same log is written through both, one after the other.
    let config = config();
    let functions = open(server().url(), &config).await;
    let scripts = open(server().url(), &config.clone().with_code(Code::Scripts)).await;
    for n in 0..20_u64 {
        let store = if n % 2 == 0 { &functions } else { &scripts };
        let committed = store.commit_one(creation(&n.to_string())).await.unwrap();
        assert_eq!(committed.events[0].position, Position::new(n + 1));
    }
}

#[tokio::test]
async fn without_memory_a_commit_is_unavailable_and_leaves_nothing() {
    server();
    let server = Redis::start(Aof::Always);
    let store = open(server.url(), &config()).await;
    store.commit_one(creation("a")).await.unwrap();
    assert_eq!(server.cli(&["config", "set", "maxmemory", "1mb"]), "OK");
    let commit = creation("b");
    let error = store.commit_one(commit.clone()).await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Unavailable, "{error:?}");
    assert!(error.to_string().contains("maxmemory"), "{error}");
    assert!(store.get_one(&log(), &key("a")).await.unwrap().is_some(), "reading goes on");
    assert_eq!(store.head(&log()).await.unwrap().position, Position::new(1));
    assert_eq!(server.cli(&["config", "set", "maxmemory", "0"]), "OK");
    store.commit_one(commit).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_server_is_waited_for_and_then_unavailable() {
    server();
    let server = Arc::new(Redis::start_with(Aof::Always, &["--busy-reply-threshold", "50"]));
    let patient = open(server.url(), &config()).await;
    let hasty = open(server.url(), &config().with_patience(Duration::from_millis(20))).await;
    let endless = {
        let server = Arc::clone(&server);
        std::thread::spawn(move || server.cli(&["eval", "while true do end", "0"]))
    };
    while !server.cli(&["get", "x"]).starts_with("BUSY") {
        tokio::task::yield_now().await;
    }
    let error = hasty.commit_one(creation("a")).await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Unavailable, "{error:?}");
    assert!(error.to_string().contains("busy"), "{error}");
    let waiting = tokio::spawn(async move { patient.commit_one(creation("b")).await });
    assert_eq!(server.cli(&["script", "kill"]), "OK");
    endless.join().unwrap();
    assert_eq!(waiting.await.unwrap().unwrap().events[0].position, Position::new(1));
}

#[tokio::test]
async fn an_answer_that_comes_too_late_is_asked_for_again_by_the_event_ids() {
    server();
    let server = Redis::start(Aof::Always);
    let config = config().with_response_timeout(Duration::from_millis(100));
    let patient = open(server.url(), &config).await;
    let hasty = open(server.url(), &config.clone().with_patience(Duration::ZERO)).await;
    patient.commit_one(creation("a")).await.unwrap();
    hasty.commit_one(creation("b")).await.unwrap();
    // What is sent now, the server takes, and makes when it goes on.
    server.pause();
    let lost = creation("c");
    let error = hasty.commit_one(lost.clone()).await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Indeterminate, "{error:?}");
    let mut silent = creation("d");
    silent.changes[0].event = None;
    let silent = patient.commit_one(silent);
    let error = silent.await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Indeterminate, "a commit without events is made once: {error:?}");
    let (retried, ()) = tokio::join!(patient.commit_one(creation("e")), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        server.resume();
    });
    let position = retried.unwrap().events[0].position;
    // The lost one was made, and is known.
    assert_eq!(hasty.commit_one(lost).await.unwrap().events[0].position, Position::new(3));
    assert_eq!(position, Position::new(4));
    let events = patient.count(&log(), EventQuery::new()).await.unwrap();
    assert_eq!(events, 4, "a commit that was asked for again was made twice");
    assert_eq!(patient.get_one(&log(), &key("d")).await.unwrap().unwrap().revision, Revision::new(1));
}

#[tokio::test]
async fn a_server_that_was_killed_heals_unaided() {
    server();
    let server = Redis::start(Aof::Always);
    let patient = open(server.url(), &config()).await;
    let hasty = open(server.url(), &config().with_patience(Duration::ZERO)).await;
    patient.commit_one(creation("a")).await.unwrap();
    hasty.commit_one(creation("b")).await.unwrap();
    server.kill();
    // The first call may find the connection cut; after that there is nobody.
    let _ = hasty.commit_one(creation("c")).await;
    let error = hasty.commit_one(creation("d")).await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Unavailable, "{error:?}");
    server.begin_restart();
    patient.commit_one(creation("e")).await.unwrap();
    hasty.commit_one(creation("f")).await.unwrap();
}

#[tokio::test]
async fn damage_is_corrupt_and_names_its_place() {
    let config = config();
    let store = open(server().url(), &config).await;
    for id in ["a", "b", "c"] {
        store.commit_one(creation(id)).await.unwrap();
    }
    let tag = format!("{{{}:main}}", config.prefix);
    let cli = |args: &[&str]| assert!(!server().cli(args).starts_with("ERR"), "{args:?}");
    cli(&["lset", &format!("{tag}:e:0"), "1", "damaged"]);
    let error = store.read(&log(), &EventQuery::new()).await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Corrupt);
    assert!(error.message().contains("the event at position 2"), "{error}");
    cli(&["hset", &format!("{tag}:r:0:shop.order"), "a", "x"]);
    let error = store.get(&log(), &[key("a")]).await.unwrap_err();
    assert!(error.kind() == &ErrorKind::Corrupt && error.message().contains("shop.order/a"), "{error}");
    // A list that is shorter than the log: nothing is written on top.
    cli(&["rpop", &format!("{tag}:e:0")]);
    let error = store.commit_one(creation("d")).await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Corrupt, "{error:?}");
    assert_eq!(store.get(&log(), &[key("d")]).await.unwrap(), [None]);
    // A head that another version has written.
    cli(&["hset", &format!("{tag}:head"), "v", "2"]);
    let error = store.commit_one(creation("e")).await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Invalid, "{error:?}");
    assert_eq!(store.head(&log()).await.unwrap_err().kind(), &ErrorKind::Invalid);
}

#[tokio::test]
async fn numbers_beyond_what_a_double_can_tell_are_exact() {
    let store = open(server().url(), &config()).await;
    store.commit_one(creation("a")).await.unwrap();
    let rebuild = store.begin_rebuild(&log(), LOCK, RebuildMode::Shadow).await.unwrap();
    let state = Some(WriteState { attributes: Json::empty(), identities: Vec::new() });
    let large = (1_u64 << 53) + 1;
    for (id, revision) in [("a", large), ("max", u64::MAX), ("carry", (1 << 32) - 1)] {
        let record = LoadedRecord { key: key(id), revision: Revision::new(revision), state: state.clone() };
        store.load(&rebuild, vec![record]).await.unwrap();
    }
    let fence = store.fence(&rebuild).await.unwrap();
    store.finish_rebuild(rebuild, fence, Position::new(1)).await.unwrap();
    for (id, before, after) in [("a", large, large + 1), ("max", u64::MAX, u64::MAX), ("carry", (1 << 32) - 1, 1 << 32)]
    {
        let write =
            RecordWrite { key: key(id), expected: Expected::Revision(Revision::new(before)), state: state.clone() };
        store.commit_one(commit(vec![Change { event: None, write: Some(write) }])).await.unwrap();
        assert_eq!(store.get_one(&log(), &key(id)).await.unwrap().unwrap().revision, Revision::new(after));
    }
    for at in [large, u64::MAX] {
        let query = EventQuery::new().with_after(Position::new(at)).with_record(key("a"));
        assert_eq!(store.read(&log(), &query).await.unwrap().items, []);
        let query = EventQuery::new().with_up_to(Position::new(at)).with_order(Order::Backward);
        assert_eq!(store.read(&log(), &query).await.unwrap().items.len(), 1);
    }
}

/// The chain of a record is walked by landmarks: any page of a long history equals the filtered log.
#[tokio::test]
async fn a_long_history_is_read_in_pages_of_any_size() {
    let store = open(server().url(), &config()).await;
    let write = |id: &str| {
        let mut change = create(id, r#"{"n":1}"#, None);
        change.write.as_mut().unwrap().expected = Expected::Any;
        change
    };
    for _ in 0..30 {
        let changes = (0..100).map(|n| write(if n % 7 == 3 { "other" } else { "long" })).collect();
        store.commit_one(commit(changes)).await.unwrap();
    }
    let all = store.read(&log(), &EventQuery::new().with_limit(10_000)).await.unwrap().items;
    let all: Vec<_> = all.into_iter().filter(|event| event.record_id.as_str() == "long").collect();
    for (after, up_to) in [(0, u64::MAX), (63, 64), (64, 1_000), (999, 2_222), (2_900, 2_999), (500, 500), (1, 2)] {
        for order in [Order::Forward, Order::Backward] {
            for limit in [1, 63, 64, 500, 10_000] {
                let mut query = EventQuery::new().with_record(key("long")).with_order(order).with_limit(limit);
                query = query.with_after(Position::new(after)).with_up_to(Position::new(up_to));
                let mut expected: Vec<_> =
                    all.iter().filter(|event| (after + 1..=up_to).contains(&event.position.get())).cloned().collect();
                if order == Order::Backward {
                    expected.reverse();
                }
                expected.truncate(limit);
                let page = store.read(&log(), &query).await.unwrap();
                let positions = |events: &[rekindle_core::types::Event]| {
                    events.iter().map(|event| event.position.get()).collect::<Vec<_>>()
                };
                assert_eq!(positions(&page.items), positions(&expected), "{after} {up_to} {order:?} {limit}");
                assert!(page.items == expected);
            }
        }
    }
}

/// A process that ends right after a replay leaves no fence: commits would wait for its lease.
#[tokio::test]
async fn a_rebuild_that_is_finished_has_taken_its_fence_away() {
    let config = config();
    let store = open(server().url(), &config).await;
    store.commit_one(creation("a")).await.unwrap();
    let rebuild = store.begin_rebuild(&log(), LOCK, RebuildMode::Shadow).await.unwrap();
    let fence = store.fence(&rebuild).await.unwrap();
    let of_fence = [format!("{{{}:main}}:f:1", config.prefix), format!("{{{}::1}}:f", config.prefix)];
    let there = || server().cli(&["exists", &of_fence[0], &of_fence[1]]);
    assert_eq!(there(), "2");
    store.finish_rebuild(rebuild, fence, Position::new(1)).await.unwrap();
    assert_eq!(there(), "0");
}

/// A rebuild whose process is gone ends with its lease.
#[tokio::test]
async fn a_rebuild_ends_with_its_lease() {
    let config = config().with_lease(Duration::from_millis(300));
    let store = open(server().url(), &config).await;
    store.commit_one(creation("a")).await.unwrap();
    let tag = format!("{{{}:main}}", config.prefix);
    let rebuild = store.begin_rebuild(&log(), LOCK, RebuildMode::Shadow).await.unwrap();
    let fence = store.fence(&rebuild).await.unwrap();
    // As if another process held them that is gone: nobody renews these.
    assert_eq!(server().cli(&["set", &format!("{tag}:b"), "another", "px", "400"]), "OK");
    assert_eq!(server().cli(&["set", &format!("{tag}:f:1"), "another", "px", "400"]), "OK");
    let error = store.finish_rebuild(rebuild, fence, Position::new(1)).await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Conflict { actual: None }, "{error:?}");
    // It waits until the fence's lease is over.
    store.commit_one(creation("b")).await.unwrap();
    let next = loop {
        match store.begin_rebuild(&log(), LOCK, RebuildMode::Shadow).await {
            Ok(rebuild) => break rebuild,
            Err(error) => assert_eq!(error.kind(), &ErrorKind::Rebuilding, "{error:?}"),
        }
    };
    // One that is renewed outlives its lease.
    tokio::time::sleep(Duration::from_millis(700)).await;
    store.abandon_rebuild(next).await.unwrap();
}
