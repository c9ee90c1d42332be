//! `bench scan`: reading a log from its start to its end.

use std::time::Instant;

use rekindle::EventQuery;

use super::Options;
use super::report::{Report, Result, ratios};
use super::work::{fill, open};

const PAGE: usize = 5_000;

pub(crate) async fn run(options: &Options) -> Result<Report> {
    let mut report = Report::new("scan", "sled");
    let folder = tempfile::tempdir()?;
    println!("recording {} events", options.events);
    let log = open(folder.path()).await?;
    fill(&log, &mut Vec::new(), options.events, (options.events / 10).max(1)).await?;
    log.shutdown().await?;
    drop(log);
    let (mut ours, mut raw) = (Vec::new(), Vec::new());
    for _ in 0..options.rounds {
        let log = open(folder.path()).await?;
        let (started, mut events) = (Instant::now(), 0);
        let mut query = EventQuery::new().with_limit(PAGE);
        loop {
            let page = log.events(&query).await?;
            events += page.items.len() as u64;
            match page.next {
                Some(next) => query = query.with_cursor(next),
                None => break,
            }
        }
        ours.push(events as f64 / started.elapsed().as_secs_f64());
        log.shutdown().await?;
        drop(log);
        raw.push(raw_scan(folder.path(), events)?);
    }
    report.figure("scan in pages", "events/s", &ours);
    report.figure("raw scan of the same rows, decoded", "events/s", &raw);
    report.figure("rekindle / raw", "ratio", &ratios(&ours, &raw));
    Ok(report)
}

/// The largest kind of rows that decode as events, iterated and decoded.
fn raw_scan(folder: &std::path::Path, expected: u64) -> Result<f64> {
    let db = super::raw::open(folder)?;
    for tree in db.tree_names() {
        let tree = db.open_tree(tree)?;
        for kind in 0..=255_u8 {
            let (started, mut events) = (Instant::now(), 0);
            for row in tree.scan_prefix([kind]) {
                let (_, value) = row?;
                match rekindle_core::codec::decode::<rekindle::Event>(&value) {
                    Ok(_) => events += 1,
                    Err(_) => break,
                }
            }
            if events == expected {
                return Ok(events as f64 / started.elapsed().as_secs_f64());
            }
        }
    }
    Err("the store has no rows that are its events".into())
}
