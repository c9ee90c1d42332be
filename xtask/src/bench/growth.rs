//! `bench growth`: whether commits and pages get slower as a log grows.

use std::time::Instant;

use rekindle::{EventQuery, Log, Position};
use uuid::Uuid;

use super::Options;
use super::report::{Report, Result, ratios};
use super::work::{Credit, fill, open};

const FIRST: u64 = 10_000;
const SAMPLES: u64 = 300;

pub(crate) async fn run(options: &Options) -> Result<Report> {
    let mut report = Report::new("growth", "sled");
    let (small, large) = (tempfile::tempdir()?, tempfile::tempdir()?);
    measure(open(small.path()).await?, open(large.path()).await?, options, &mut report).await?;
    Ok(report)
}

/// A log with so many events.
struct Filled {
    log: Log,
    ids: Vec<Uuid>,
    size: u64,
    commits: u64,
}

impl Filled {
    fn new(log: Log) -> Self {
        Self { log, ids: Vec::new(), size: 0, commits: 0 }
    }

    /// Fills it up, and reads it once, so that it is in memory: it is measured what a log costs that is, and not what a disk
    /// does.
    async fn fill(&mut self, size: u64, accounts: u64) -> Result<()> {
        fill(&self.log, &mut self.ids, size, accounts).await?;
        self.size = size;
        let mut query = EventQuery::new().with_limit(1_000);
        while let Some(next) = self.log.events(&query).await?.next {
            query = query.with_cursor(next);
        }
        Ok(())
    }

    /// Microseconds for a commit to one account after the other.
    async fn commit(&mut self) -> Result<f64> {
        let session = self.log.as_system("bench");
        let started = Instant::now();
        for _ in 0..SAMPLES {
            let id = self.ids[(self.commits * 7_919 % self.ids.len() as u64) as usize];
            session.update(&id, Credit { cents: 1, note: format!("credit {}", self.commits) }).await?;
            self.commits += 1;
        }
        Ok(started.elapsed().as_secs_f64() * 1e6 / SAMPLES as f64)
    }

    /// Microseconds for a page of 100 events from anywhere in the log.
    async fn page(&self, round: u64) -> Result<f64> {
        let started = Instant::now();
        for sample in 0..SAMPLES {
            let after = Position::new((round * SAMPLES + sample) * 7_919 % (self.size - 100));
            self.log.events(&EventQuery::new().with_after(after).with_limit(100)).await?;
        }
        Ok(started.elapsed().as_secs_f64() * 1e6 / SAMPLES as f64)
    }
}

/// Fills a log tenfold, again and again, and measures it at each size beside one that stays small, in turn.
pub(super) async fn measure(small: Log, large: Log, options: &Options, report: &mut Report) -> Result<()> {
    let (mut small, mut large) = (Filled::new(small), Filled::new(large));
    small.fill(FIRST, FIRST / 10).await?;
    let mut size = FIRST;
    while size <= options.events {
        large.fill(size, (options.events / 10).min(size)).await?;
        let (mut commits, mut pages) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
        for round in 0..options.rounds as u64 {
            commits[0].push(small.commit().await?);
            commits[1].push(large.commit().await?);
            pages[0].push(small.page(round).await?);
            pages[1].push(large.page(round).await?);
        }
        for (what, [of_small, of_large]) in [("commit", commits), ("page of 100", pages)] {
            report.figure(format!("{what} at {size} events"), "us", &of_large);
            report.figure(format!("{what} at {FIRST} beside it"), "us", &of_small);
            report.figure(format!("{what} at {size} / at {FIRST}"), "ratio", &ratios(&of_large, &of_small));
        }
        size *= 10;
    }
    small.log.shutdown().await?;
    large.log.shutdown().await?;
    Ok(())
}
