//! `kill -9` of the server, again and again, while commits are being made.
//!
//! `REKINDLE_KILL_ROUNDS` sets the number of kills.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::load::{self, Told, Writer};
use common::{config, open, server};
use rekindle_redis::RedisBackend;
use rekindle_test_servers::{Aof, Redis};

const CALLERS: usize = 6;

fn rounds() -> usize {
    std::env::var("REKINDLE_KILL_ROUNDS").map_or(5, |rounds| rounds.parse().unwrap())
}

/// Commits from several callers until the server is killed at a moment of chance; gives what they were told.
async fn load_and_kill(server: &Arc<Redis>, store: &RedisBackend, nth: usize) -> Vec<(Instant, Told)> {
    let stop = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..CALLERS)
        .map(|caller| tokio::spawn(Writer::new(store.clone(), caller % load::LOGS).run(Arc::clone(&stop))))
        .collect();
    tokio::time::sleep(Duration::from_millis(100 + u64::try_from(nth * 37 % 250).unwrap())).await;
    let killed = Arc::clone(server);
    tokio::task::spawn_blocking(move || killed.kill()).await.unwrap();
    stop.store(true, Ordering::SeqCst);
    let mut told = Vec::new();
    for caller in callers {
        told.extend(caller.await.unwrap());
    }
    let restarted = Arc::clone(server);
    tokio::task::spawn_blocking(move || restarted.restart()).await.unwrap();
    told
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_by_a_kill() {
    server();
    let server = Arc::new(Redis::start(Aof::Always));
    let config = config().with_patience(Duration::ZERO);
    let store = open(server.url(), &config).await;
    let mut acknowledged = vec![HashMap::new(); load::LOGS];
    for round in 0..rounds() {
        let mut acks = 0;
        let told = load_and_kill(&server, &store, round).await;
        let fresh = open(server.url(), &config).await;
        for (_, told) in told {
            match told {
                Told::Made { log, position, id } => {
                    acks += 1;
                    let twice = acknowledged[log].insert(position, id);
                    assert!(twice.is_none(), "round {round}: position {position} was acknowledged twice");
                }
                Told::Failed { log, id } => {
                    assert!(!load::is_known(&fresh, log, id).await, "round {round}: what failed is there");
                }
                Told::Open => {}
            }
        }
        assert!(acks > 0, "round {round}: nothing was acknowledged");
        for (log, acknowledged) in acknowledged.iter().enumerate() {
            let events = load::check(&fresh, log, &format!("round {round}")).await;
            for (position, id) in acknowledged {
                let event = events.get(usize::try_from(position.get()).unwrap() - 1);
                assert_eq!(event.map(|event| event.id), Some(*id), "round {round}: {position} is lost");
            }
        }
    }
}

/// With `everysec` Redis answers before it syncs; and while a sync takes long, before it writes, for two seconds at most.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_everysec_a_kill_loses_the_last_two_seconds_at_most_and_leaves_a_prefix() {
    server();
    let server = Arc::new(Redis::start(Aof::EverySecond));
    let config = config().with_patience(Duration::ZERO);
    let store = open(server.url(), &config).await;
    for round in 0..rounds().div_ceil(3) {
        let mut positions = vec![HashMap::new(); load::LOGS];
        let told = load_and_kill(&server, &store, round).await;
        let last = told.iter().map(|(at, _)| *at).max().unwrap();
        for (at, told) in told {
            if let Told::Made { log, position, id } = told {
                positions[log].insert(position, (at, id));
            }
        }
        let fresh = open(server.url(), &config).await;
        for (log, positions) in positions.iter().enumerate() {
            let events = load::check(&fresh, log, &format!("round {round}")).await;
            for (position, (at, id)) in positions {
                let event = events.get(usize::try_from(position.get()).unwrap() - 1);
                let lost = event.map(|event| event.id) != Some(*id);
                let age = last.duration_since(*at);
                assert!(!lost || age < Duration::from_secs(3), "round {round}: {position} is lost, {age:?} old");
                // A prefix: what is there at this position is what was acknowledged there, or the log ends before it.
                assert!(!lost || event.is_none(), "round {round}: another event is at {position}");
            }
        }
    }
}
