//! `bench commit`: N callers, each with one commit at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use hdrhistogram::Histogram;
use rekindle::Log;
use uuid::Uuid;

use super::Options;
use super::raw::Rows;
use super::report::{Report, Result, ratios};
use super::work::{credit_input, open, open_input};

/// The loop that flushes for each commit is the slow one: it makes so many at the most.
const SINGLES: usize = 1_000;

pub(crate) async fn run(options: &Options) -> Result<Report> {
    let mut report = Report::new("commit", "sled");
    for &callers in &options.callers {
        let commits = (callers * 400).clamp(2_000, 60_000);
        let (mut ours, mut grouped, mut single) = (Vec::new(), Vec::new(), Vec::new());
        let (mut p50, mut p99) = (Vec::new(), Vec::new());
        for round in 0..=options.rounds {
            let folder = tempfile::tempdir()?;
            let log = open(folder.path()).await?;
            let (rate, latency) = record(&log, callers, commits).await?;
            log.shutdown().await?;
            drop(log);
            let rows = Rows::read(folder.path(), commits)?;
            let raw = commits as f64 / rows.write(commits, callers)?.as_secs_f64();
            let one = SINGLES.min(commits);
            let one = one as f64 / rows.write(one, 1)?.as_secs_f64();
            if round == 0 {
                println!(
                    "\n{callers} callers, {commits} commits of {} rows, {} rounds after a warm-up",
                    rows.per_commit(),
                    options.rounds
                );
                continue;
            }
            ours.push(rate);
            grouped.push(raw);
            single.push(one);
            p50.push(latency.value_at_quantile(0.5) as f64 / 1_000.0);
            p99.push(latency.value_at_quantile(0.99) as f64 / 1_000.0);
        }
        report.figure(format!("rekindle, {callers} callers"), "commits/s", &ours);
        report.figure(format!("raw, {callers} to a flush"), "commits/s", &grouped);
        report.figure(format!("raw, one to a flush (beside {callers})"), "commits/s", &single);
        report.figure(format!("rekindle / raw grouped, {callers} callers"), "ratio", &ratios(&ours, &grouped));
        report.figure(format!("rekindle / raw single, {callers} callers"), "ratio", &ratios(&ours, &single));
        report.figure(format!("latency p50, {callers} callers"), "ms", &p50);
        report.figure(format!("latency p99, {callers} callers"), "ms", &p99);
    }
    Ok(report)
}

/// So many commits are made before others are measured, where there is a server: connections are made in this time, and plans.
pub(super) fn warm_up(callers: usize) -> usize {
    (callers * 4).max(100)
}

/// Commits a second, and each commit's latency in microseconds. Each commit makes a record.
pub(super) async fn record(log: &Log, callers: usize, commits: usize) -> Result<(f64, Histogram<u64>)> {
    record_many(log, callers, commits, 1).await
}

/// The same with so many commits for each record: one that makes it, and then ones that change it.
pub(super) async fn record_many(log: &Log, callers: usize, commits: usize, each: u64) -> Result<(f64, Histogram<u64>)> {
    let next = Arc::new(AtomicU64::new(0));
    let started = Instant::now();
    let tasks: Vec<_> = (0..callers)
        .map(|_| {
            let (session, next) = (log.as_system("bench"), Arc::clone(&next));
            tokio::spawn(async move {
                // Kept as they come: callers with a histogram each would measure their caches.
                let mut latencies = Vec::with_capacity(2 * commits / callers);
                let (mut id, mut made) = (Uuid::nil(), 0);
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= commits as u64 {
                        return Ok::<_, String>(latencies);
                    }
                    let began = Instant::now();
                    if made % each == 0 {
                        id = session.create(open_input(number)).await.map_err(|error| error.to_string())?.id;
                    } else {
                        session.update(&id, credit_input(number)).await.map_err(|error| error.to_string())?;
                    }
                    made += 1;
                    latencies.push(began.elapsed().as_micros() as u32);
                }
            })
        })
        .collect();
    let mut of_callers = Vec::with_capacity(callers);
    for task in tasks {
        of_callers.push(task.await??);
    }
    let rate = commits as f64 / started.elapsed().as_secs_f64();
    let mut latency = Histogram::<u64>::new(3)?;
    for micros in of_callers.into_iter().flatten() {
        latency.record(micros.into())?;
    }
    Ok((rate, latency))
}
