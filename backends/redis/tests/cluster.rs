//! A cluster under load: a slot is moved, and a primary is killed.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::load::{self, Told, Writer, log_of};
use common::{config, open};
use rekindle_core::store::EventStore;
use rekindle_core::types::Position;
use rekindle_redis::{RedisBackend, RedisConfig};
use rekindle_test_servers::{Aof, RedisCluster};

/// The key of a log's head.
fn head(config: &RedisConfig, log: usize) -> String {
    format!("{{{}:main:{}}}:head", config.prefix, log_of(log).0.tenant.unwrap())
}

/// Callers that commit, until they are asked for what they were told.
struct Load {
    stop: Arc<AtomicBool>,
    callers: Vec<tokio::task::JoinHandle<Vec<(Instant, Told)>>>,
}

impl Load {
    fn begin(store: &RedisBackend) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let caller = |caller| tokio::spawn(Writer::new(store.clone(), caller % load::LOGS).run(Arc::clone(&stop)));
        Self { callers: (0..4).map(caller).collect(), stop }
    }

    async fn end(self) -> Vec<Told> {
        self.stop.store(true, Ordering::SeqCst);
        let mut told = Vec::new();
        for caller in self.callers {
            told.extend(caller.await.unwrap().into_iter().map(|(_, told)| told));
        }
        told
    }
}

/// Waits until a log has grown by so much.
async fn grown(store: &RedisBackend, log: usize, by: u64) {
    let log = log_of(log).0;
    let target = store.head(&log).await.unwrap().position.get() + by;
    while store.head(&log).await.unwrap().position.get() < target {
        store.changed(&log, Position::new(target - 1)).await.unwrap();
    }
}

/// Checks that the logs are whole, and that all that was told is so.
async fn check(store: &RedisBackend, told: &[Told], failures_stay_away: bool) {
    for number in 0..load::LOGS {
        let events = load::check(store, number, "at the end").await;
        for told in told {
            match *told {
                Told::Made { log, position, id } if log == number => {
                    let event = events.get(usize::try_from(position.get()).unwrap() - 1);
                    assert_eq!(event.map(|event| event.id), Some(id), "what was acknowledged at {position} is lost");
                }
                Told::Failed { log, id } if log == number && failures_stay_away => {
                    assert!(events.iter().all(|event| event.id != id), "what failed is there");
                }
                _ => {}
            }
        }
    }
}

/// Moves a slot as `redis-cli --cluster reshard` does, a few keys at a time.
fn move_slot(cluster: &RedisCluster, key: &str) {
    let (from, slot) = cluster.primary_of(key);
    let to = cluster
        .nodes()
        .iter()
        .find(|node| node.port() != from.port() && node.cli(&["info", "replication"]).contains("role:master"));
    let to = to.unwrap();
    let slot = slot.to_string();
    let [from_id, to_id] = [from, to].map(|node| node.cli(&["cluster", "myid"]));
    assert_eq!(to.cli(&["cluster", "setslot", &slot, "importing", &from_id]), "OK");
    assert_eq!(from.cli(&["cluster", "setslot", &slot, "migrating", &to_id]), "OK");
    loop {
        let keys = from.cli(&["cluster", "getkeysinslot", &slot, "3"]);
        let keys: Vec<&str> = keys.lines().filter(|key| !key.is_empty()).collect();
        if keys.is_empty() {
            break;
        }
        let port = to.port().to_string();
        let migrate = [&["migrate", "127.0.0.1", &port, "", "0", "10000", "keys"][..], &keys].concat();
        let moved = from.cli(&migrate);
        assert!(moved == "OK" || moved == "NOKEY", "{moved}");
    }
    for node in [to, from] {
        assert_eq!(node.cli(&["cluster", "setslot", &slot, "node", &to_id]), "OK");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_is_moved_under_load_loses_nothing_and_tears_nothing() {
    common::cluster();
    let cluster = Arc::new(RedisCluster::start(Aof::EverySecond));
    let config = config();
    let store = open(cluster.url(), &config).await;
    let load = Load::begin(&store);
    for log in [0, 1, 0] {
        grown(&store, log, 500).await;
        let (moving, key) = (Arc::clone(&cluster), head(&config, log));
        tokio::task::spawn_blocking(move || move_slot(&moving, &key)).await.unwrap();
        grown(&store, log, 500).await;
    }
    let told = load.end().await;
    let open = told.iter().filter(|told| !matches!(told, Told::Made { .. })).count();
    assert_eq!(open, 0, "commits failed, though they had time to wait for the move");
    check(&store, &told, true).await;
    check(&common::open(cluster.url(), &config).await, &told, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_replicas_have_survives_the_kill_of_a_primary() {
    common::cluster();
    let cluster = Arc::new(RedisCluster::start(Aof::EverySecond));
    // With `WAIT` for the one replica, an acknowledged commit is on whichever becomes the primary.
    let config = config().with_replicas(1, Duration::from_secs(1)).with_response_timeout(Duration::from_secs(3));
    let store = open(cluster.url(), &config.clone().with_patience(Duration::from_secs(30))).await;
    let load = Load::begin(&store);
    grown(&store, 0, 200).await;
    let (killed, key) = (Arc::clone(&cluster), head(&config, 0));
    tokio::task::spawn_blocking(move || killed.primary_of(&key).0.kill()).await.unwrap();
    // No replica is left to wait for, so from here on commits are made and stay open.
    grown(&store, 0, 20).await;
    let told = load.end().await;
    assert!(told.iter().any(|told| matches!(told, Told::Made { .. })));
    // What failed for want of a primary may not be told from what the old one had; so only what was made counts.
    check(&store, &told, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_waiting_for_replicas_the_kill_of_a_primary_leaves_a_prefix() {
    common::cluster();
    let cluster = Arc::new(RedisCluster::start(Aof::EverySecond));
    let config = config().with_patience(Duration::from_secs(30)).with_response_timeout(Duration::from_secs(3));
    let store = open(cluster.url(), &config).await;
    let load = Load::begin(&store);
    grown(&store, 0, 200).await;
    let (killed, key) = (Arc::clone(&cluster), head(&config, 0));
    tokio::task::spawn_blocking(move || killed.primary_of(&key).0.kill()).await.unwrap();
    grown(&store, 0, 200).await;
    load.end().await;
    for log in 0..load::LOGS {
        load::check(&store, log, "after the failover").await;
    }
}
