//! `bench scan --backend redis`: reading a log from its start to its end.

use std::time::Instant;

use rekindle::EventQuery;
use rekindle_core::codec;
use rekindle_core::types::NewEvent;
use rekindle_test_servers::{Redis, fresh_prefix};

use super::super::Options;
use super::super::report::{Report, Result, ratios};
use super::super::work::fill;

const PAGE: usize = 5_000;

pub(super) async fn run(server: &Redis, options: &Options, report: &mut Report) -> Result<()> {
    println!("recording {} events", options.events);
    let prefix = fresh_prefix();
    let log = super::open(server.url(), &prefix).await?;
    fill(&log, &mut Vec::new(), options.events, (options.events / 10).max(1)).await?;
    let (mut ours, mut raw) = (Vec::new(), Vec::new());
    for round in 0..=options.rounds {
        let (started, mut events) = (Instant::now(), 0_u64);
        let mut query = EventQuery::new().with_limit(PAGE);
        loop {
            let page = log.events(&query).await?;
            events += page.items.len() as u64;
            match page.next {
                Some(next) => query = query.with_cursor(next),
                None => break,
            }
        }
        let ours_now = events as f64 / started.elapsed().as_secs_f64();
        let raw_now = raw_scan(server, &prefix, events).await?;
        if round > 0 {
            ours.push(ours_now);
            raw.push(raw_now);
        }
    }
    log.shutdown().await?;
    report.figure("scan in pages", "events/s", &ours);
    report.figure("raw pages of the same rows, decoded", "events/s", &raw);
    report.figure("rekindle / raw", "ratio", &ratios(&ours, &raw));
    Ok(())
}

/// The same lists, as many in one pipeline as a page has, decoded.
async fn raw_scan(server: &Redis, prefix: &str, expected: u64) -> Result<f64> {
    let mut connection = super::connect(server).await?;
    let (started, mut events) = (Instant::now(), 0_u64);
    let mut first = 0;
    loop {
        let mut page = redis::pipe();
        for segment in first..first + 5 {
            page.cmd("LRANGE").arg(format!("{{{prefix}:main}}:e:{segment}")).arg(0).arg(-1);
        }
        first += 5;
        let lists: Vec<Vec<Vec<u8>>> = page.query_async(&mut connection).await?;
        let rows = lists.iter().flatten().map(|row| codec::decode::<NewEvent>(&row[21..]));
        let decoded = rows.collect::<rekindle::Result<Vec<_>>>()?;
        events += decoded.len() as u64;
        if decoded.len() < PAGE {
            break;
        }
    }
    if events != expected {
        return Err(format!("the raw scan found {events} events of {expected}").into());
    }
    Ok(events as f64 / started.elapsed().as_secs_f64())
}
