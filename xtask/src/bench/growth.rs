//! `bench growth`: whether commits and pages get slower as the log grows.

use std::time::Instant;

use rekindle::{EventQuery, Log, Position};

use super::Options;
use super::report::{Report, Result, ratios};
use super::work::{Credit, fill, open};

const SAMPLES: u64 = 300;

pub(crate) async fn run(options: &Options) -> Result<Report> {
    let mut report = Report::new("growth", "sled");
    let folder = tempfile::tempdir()?;
    let log = open(folder.path()).await?;
    measure(&log, options, &mut report).await?;
    Ok(report)
}

/// Reads the log once, so that it is in memory: it is measured what a log costs that is, and not what a disk does.
async fn read(log: &Log) -> Result<()> {
    let mut query = EventQuery::new().with_limit(1_000);
    loop {
        let page = log.events(&query).await?;
        let Some(next) = page.next else { return Ok(()) };
        query = query.with_cursor(next);
    }
}

/// Fills the log tenfold, again and again, and measures at each size.
pub(super) async fn measure(log: &Log, options: &Options, report: &mut Report) -> Result<()> {
    let session = log.as_system("bench");
    let mut ids = Vec::new();
    let mut first: Option<(Vec<f64>, Vec<f64>)> = None;
    let mut size = 10_000;
    while size <= options.events {
        fill(log, &mut ids, size, (options.events / 10).min(size)).await?;
        read(log).await?;
        let (mut commits, mut pages) = (Vec::new(), Vec::new());
        for round in 0..options.rounds as u64 {
            let started = Instant::now();
            for sample in 0..SAMPLES {
                let id = ids[((round * SAMPLES + sample) * 7_919 % ids.len() as u64) as usize];
                session.update(&id, Credit { cents: 1, note: format!("{size}/{round}/{sample}") }).await?;
            }
            commits.push(started.elapsed().as_secs_f64() * 1e6 / SAMPLES as f64);
            let started = Instant::now();
            for sample in 0..SAMPLES {
                let after = Position::new((round * SAMPLES + sample) * 7_919 % (size - 100));
                log.events(&EventQuery::new().with_after(after).with_limit(100)).await?;
            }
            pages.push(started.elapsed().as_secs_f64() * 1e6 / SAMPLES as f64);
        }
        report.figure(format!("commit at {size} events"), "us", &commits);
        report.figure(format!("page of 100 at {size} events"), "us", &pages);
        match &first {
            None => first = Some((commits, pages)),
            Some((first_commits, first_pages)) => {
                report.figure(
                    format!("commit at {size} / at the first size"),
                    "ratio",
                    &ratios(&commits, first_commits),
                );
                report.figure(format!("page at {size} / at the first size"), "ratio", &ratios(&pages, first_pages));
            }
        }
        size *= 10;
    }
    Ok(())
}
