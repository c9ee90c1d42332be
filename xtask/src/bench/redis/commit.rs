//! `bench commit --backend redis`.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rekindle::LogId;
use rekindle::redis::{RedisBackend, RedisConfig};
use rekindle::store::EventStore;
use rekindle::types::Commit;
use rekindle_test_servers::{Redis, fresh_prefix};

use super::super::Options;
use super::super::commit::record;
use super::super::report::{Report, Result, ratios};
use super::raw::Rows;

pub(super) async fn run(server: &Redis, aof: &str, options: &Options, report: &mut Report) -> Result<()> {
    for &callers in &options.callers {
        // A round of fewer is over in a tenth of a second, and shows a server whose tables are small.
        let commits = (callers * 2_000).clamp(4_000, 60_000);
        let warm_up = commits / 10;
        let (mut ours, mut alone, mut raw, mut grouped) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let (mut p50, mut p99) = (Vec::new(), Vec::new());
        for round in 0..=options.rounds {
            let prefix = fresh_prefix();
            let log = super::open(server.url(), &prefix).await?;
            record(&log, callers, warm_up).await?;
            let (rate, latency) = record(&log, callers, commits).await?;
            log.shutdown().await?;
            let rows = Arc::new(Rows::read(server, &prefix).await?);
            super::flush(server).await?;
            let of_store = commits as f64 / store_alone(server, &rows, warm_up, callers).await?.as_secs_f64();
            super::flush(server).await?;
            let raw_rate = commits as f64 / rows.write(server, warm_up, callers).await?.as_secs_f64();
            super::flush(server).await?;
            let grouped_rate = commits as f64 / rows.write_for_callers(server, warm_up, callers).await?.as_secs_f64();
            super::flush(server).await?;
            if round == 0 {
                println!(
                    "\nAOF {aof}, {callers} callers, {commits} commits, {} rounds after a warm-up",
                    options.rounds
                );
                continue;
            }
            ours.push(rate);
            alone.push(of_store);
            raw.push(raw_rate);
            grouped.push(grouped_rate);
            p50.push(latency.value_at_quantile(0.5) as f64 / 1_000.0);
            p99.push(latency.value_at_quantile(0.99) as f64 / 1_000.0);
        }
        report.figure(format!("AOF {aof}: rekindle, {callers} callers"), "commits/s", &ours);
        report.figure(format!("AOF {aof}: the store alone, {callers} in flight"), "commits/s", &alone);
        report.figure(format!("AOF {aof}: raw, {callers} in flight"), "commits/s", &raw);
        report.figure(format!("AOF {aof}: raw group commit, {callers} callers"), "commits/s", &grouped);
        report.figure(format!("AOF {aof}: store alone / raw, {callers} in flight"), "ratio", &ratios(&alone, &raw));
        report.figure(format!("AOF {aof}: rekindle / raw, {callers} callers"), "ratio", &ratios(&ours, &raw));
        report.figure(
            format!("AOF {aof}: rekindle / raw group commit, {callers} callers"),
            "ratio",
            &ratios(&ours, &grouped),
        );
        report.figure(format!("AOF {aof}: latency p50, {callers} callers"), "ms", &p50);
        report.figure(format!("AOF {aof}: latency p99, {callers} callers"), "ms", &p99);
    }
    Ok(())
}

/// The same commits, made ready before, handed to the store in the batches that the raw calls are made in.
async fn store_alone(server: &Redis, rows: &Rows, warm_up: usize, callers: usize) -> Result<Duration> {
    let store = RedisBackend::connect_with(server.url(), RedisConfig::new().with_prefix(fresh_prefix())).await?;
    let log = LogId::new("main")?;
    let calls = callers.min(2);
    let size = (callers / calls).max(1);
    let commits = rows.commits(&log)?;
    let (first, others) = commits.split_at(warm_up);
    commit_batches(&store, first, calls, size).await?;
    commit_batches(&store, others, calls, size).await
}

async fn commit_batches(store: &RedisBackend, commits: &[Commit], calls: usize, size: usize) -> Result<Duration> {
    let batches: VecDeque<Vec<Commit>> = commits.chunks(size).map(<[Commit]>::to_vec).collect();
    let batches = Arc::new(Mutex::new(batches));
    let started = Instant::now();
    let tasks: Vec<_> = (0..calls)
        .map(|_| {
            let (store, batches) = (store.clone(), Arc::clone(&batches));
            tokio::spawn(async move {
                loop {
                    let batch = batches.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                    let Some(batch) = batch else { return Ok(()) };
                    for answer in store.commit(batch.into()).await {
                        answer?;
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        let ended: rekindle::Result<()> = task.await?;
        ended?;
    }
    Ok(started.elapsed())
}
