//! `bench memory --backend redis`: how much of the server's memory an event takes.

use rekindle::EventQuery;
use rekindle_core::codec;
use rekindle_test_servers::{Redis, fresh_prefix};

use super::super::Options;
use super::super::report::{Report, Result};
use super::super::work::fill;

pub(super) async fn run(server: &Redis, options: &Options, report: &mut Report) -> Result<()> {
    for per_record in [10, 1] {
        super::flush(server).await?;
        let before = used(server).await?;
        let prefix = fresh_prefix();
        let log = super::open(server.url(), &prefix).await?;
        fill(&log, &mut Vec::new(), options.events, (options.events / per_record).max(1)).await?;
        let events = options.events as f64;
        let taken = (used(server).await? - before) / events;
        let of_records = of_records(server, &prefix).await? / events;
        // The payload: what is in the events.
        let (mut payload, mut query) = (0, EventQuery::new().with_limit(5_000));
        loop {
            let page = log.events(&query).await?;
            for event in &page.items {
                payload += codec::encode(&event.event)?.len();
            }
            match page.next {
                Some(next) => query = query.with_cursor(next),
                None => break,
            }
        }
        let payload = payload as f64 / events;
        log.shutdown().await?;
        let most = 1.3 * payload + 250.0;
        report.figure(format!("memory an event, {per_record} to a record"), "bytes", &[taken]);
        report.figure(format!("of it for its record, {per_record} to a record"), "bytes", &[of_records]);
        report.figure(format!("payload of an event, {per_record} to a record"), "bytes", &[payload]);
        report.figure(format!("memory / (1.3 payload + 250), {per_record} to a record"), "ratio", &[taken / most]);
        report.figure(
            format!("without the record / (1.3 payload + 250), {per_record} to a record"),
            "ratio",
            &[(taken - of_records) / most],
        );
    }
    Ok(())
}

/// What the records take, and what they are found by: the keys `:r:`, `:l:` and `:u:` of a log.
async fn of_records(server: &Redis, prefix: &str) -> Result<f64> {
    let mut connection = super::connect(server).await?;
    let mut bytes = 0;
    for kind in ["r", "l", "u"] {
        let keys: Vec<String> =
            redis::cmd("KEYS").arg(format!("{{{prefix}:main}}:{kind}:*")).query_async(&mut connection).await?;
        for key in keys {
            let mut usage = redis::cmd("MEMORY");
            usage.arg("USAGE").arg(key).arg("SAMPLES").arg(0);
            bytes += usage.query_async::<Option<u64>>(&mut connection).await?.unwrap_or(0);
        }
    }
    Ok(bytes as f64)
}

async fn used(server: &Redis) -> Result<f64> {
    let info: String = redis::cmd("INFO").arg("memory").query_async(&mut super::connect(server).await?).await?;
    let line = info.lines().find_map(|line| line.strip_prefix("used_memory:")).ok_or("no used_memory")?;
    Ok(line.trim().parse()?)
}
