//! `bench commit --backend postgres`.

use std::sync::Arc;

use rekindle_test_servers::Postgres;

use super::super::Options;
use super::super::commit::{record, warm_up};
use super::super::report::{Report, Result, ratios};
use super::raw::Rows;

/// The loops that wait for the disk with each commit are the slow ones: they make so many at the most.
const SINGLES: usize = 1_500;

pub(super) async fn run(server: &Postgres, options: &Options, report: &mut Report) -> Result<()> {
    for &callers in &options.callers {
        let (commits, warm_up) = ((callers * 300).clamp(1_500, 60_000), warm_up(callers));
        let (mut ours, mut grouped, mut blind, mut naive) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let (mut p50, mut p99) = (Vec::new(), Vec::new());
        for round in 0..=options.rounds {
            let schema = server.fresh_schema();
            let log = super::open(server.url(), &schema).await?;
            record(&log, callers, warm_up).await?;
            let (rate, latency) = record(&log, callers, commits).await?;
            log.shutdown().await?;
            let rows = Arc::new(Rows::read(server, &schema).await?);
            let raw_grouped = commits as f64 / rows.write_for_callers(server, warm_up, callers).await?.as_secs_f64();
            let raw = commits as f64 / rows.write(server, warm_up, callers).await?.as_secs_f64();
            let singles = SINGLES.min(commits);
            let slow = singles as f64 / rows.naive(server, singles, callers).await?.as_secs_f64();
            super::drop_schema(server, &schema).await?;
            if round == 0 {
                println!("\n{callers} callers, {commits} commits, {} rounds after a warm-up", options.rounds);
                continue;
            }
            ours.push(rate);
            grouped.push(raw_grouped);
            blind.push(raw);
            naive.push(slow);
            p50.push(latency.value_at_quantile(0.5) as f64 / 1_000.0);
            p99.push(latency.value_at_quantile(0.99) as f64 / 1_000.0);
        }
        report.figure(format!("rekindle, {callers} callers"), "commits/s", &ours);
        report.figure(format!("raw group commit, {callers} callers"), "commits/s", &grouped);
        report.figure(format!("raw without callers, {callers} to a statement"), "commits/s", &blind);
        report.figure(format!("naive transactions, {callers} callers"), "commits/s", &naive);
        report.figure(format!("rekindle / raw group commit, {callers} callers"), "ratio", &ratios(&ours, &grouped));
        report.figure(format!("rekindle / raw without callers, {callers} callers"), "ratio", &ratios(&ours, &blind));
        report.figure(format!("rekindle / naive, {callers} callers"), "ratio", &ratios(&ours, &naive));
        report.figure(format!("latency p50, {callers} callers"), "ms", &p50);
        report.figure(format!("latency p99, {callers} callers"), "ms", &p99);
    }
    Ok(())
}
