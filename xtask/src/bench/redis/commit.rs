//! `bench commit --backend redis`.

use std::sync::Arc;

use rekindle_test_servers::{Redis, fresh_prefix};

use super::super::Options;
use super::super::commit::record;
use super::super::report::{Report, Result, ratios};
use super::raw::Rows;

pub(super) async fn run(server: &Redis, aof: &str, options: &Options, report: &mut Report) -> Result<()> {
    for &callers in &options.callers {
        let commits = (callers * 400).clamp(4_000, 60_000);
        let (mut ours, mut raw, mut p50, mut p99) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for round in 0..=options.rounds {
            let prefix = fresh_prefix();
            let log = super::open(server.url(), &prefix).await?;
            let (rate, latency) = record(&log, callers, commits).await?;
            log.shutdown().await?;
            let rows = Arc::new(Rows::read(server, &prefix).await?);
            super::flush(server).await?;
            let raw_rate = commits as f64 / rows.write(server, callers).await?.as_secs_f64();
            super::flush(server).await?;
            if round == 0 {
                println!("\nAOF {aof}, {callers} callers, {commits} commits, {} rounds after a warm-up", options.rounds);
                continue;
            }
            ours.push(rate);
            raw.push(raw_rate);
            p50.push(latency.value_at_quantile(0.5) as f64 / 1_000.0);
            p99.push(latency.value_at_quantile(0.99) as f64 / 1_000.0);
        }
        report.figure(format!("AOF {aof}: rekindle, {callers} callers"), "commits/s", &ours);
        report.figure(format!("AOF {aof}: raw, as many in flight"), "commits/s", &raw);
        report.figure(format!("AOF {aof}: rekindle / raw, {callers} callers"), "ratio", &ratios(&ours, &raw));
        report.figure(format!("AOF {aof}: latency p50, {callers} callers"), "ms", &p50);
        report.figure(format!("AOF {aof}: latency p99, {callers} callers"), "ms", &p99);
    }
    Ok(())
}
