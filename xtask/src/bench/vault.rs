//! `bench commit --vault` and `bench replay --vault`: a log with a vault, beside the same without one.

use std::time::Instant;

use rekindle::Log;
use rekindle::postgres::{PostgresBackend, PostgresConfig};
use rekindle::redis::{RedisBackend, RedisConfig};
use rekindle::sled::{SledBackend, SledConfig};
use rekindle_test_servers::{Aof, Fsync, Postgres, Redis, fresh_prefix};
use tempfile::TempDir;

use super::Options;
use super::commit::{record_many, warm_up};
use super::report::{Report, Result, ratios};
use super::work::{CACHE, fill, start};

/// Where logs are made.
enum Place {
    Sled,
    Postgres(Postgres),
    Redis(Redis),
}

impl Place {
    fn new(backend: &str) -> Self {
        match backend {
            "postgres" => Self::Postgres(Postgres::start(Fsync::On)),
            "redis" => Self::Redis(Redis::start(Aof::Always)),
            _ => Self::Sled,
        }
    }

    /// An empty log; it is there as long as the folder is.
    async fn log(&self, vault: bool) -> Result<(Log, Option<TempDir>)> {
        match self {
            Self::Sled => {
                let folder = tempfile::tempdir()?;
                let config = SledConfig::new().with_cache_bytes(CACHE);
                Ok((start(SledBackend::open_with(folder.path(), config).await?, vault).await?, Some(folder)))
            }
            Self::Postgres(server) => {
                let config = PostgresConfig::new().with_schema(server.fresh_schema())?;
                PostgresBackend::migrate(server.url(), &config).await?;
                Ok((start(PostgresBackend::connect_with(server.url(), config).await?, vault).await?, None))
            }
            Self::Redis(server) => {
                let config = RedisConfig::new().with_prefix(fresh_prefix());
                Ok((start(RedisBackend::connect_with(server.url(), config).await?, vault).await?, None))
            }
        }
    }
}

pub(super) async fn run(name: &str, backend: &str, options: &Options) -> Result<Report> {
    let (place, mut report) = (Place::new(backend), Report::new(name, backend));
    match name {
        "commit" => commit(&place, options, &mut report).await?,
        "replay" => replay(&place, options, &mut report).await?,
        _ => return Err(format!("--vault is for commit and replay, not for {name:?}").into()),
    }
    Ok(report)
}

async fn commit(place: &Place, options: &Options, report: &mut Report) -> Result<()> {
    for (&callers, each) in options.callers.iter().flat_map(|callers| [(callers, 1), (callers, 10)]) {
        let commits = (callers * 300).clamp(1_500, 30_000);
        let mut rates = [Vec::new(), Vec::new()];
        for round in 0..=options.rounds {
            for (vault, rates) in [false, true].into_iter().zip(&mut rates) {
                let (log, _folder) = place.log(vault).await?;
                record_many(&log, callers, warm_up(callers), each).await?;
                let (rate, _) = record_many(&log, callers, commits, each).await?;
                log.shutdown().await?;
                if round > 0 {
                    rates.push(rate);
                }
            }
        }
        println!("\n{callers} callers, {commits} commits, {each} a subject, {} rounds after a warm-up", options.rounds);
        compare(report, "commits/s", &format!(", {callers} callers, {each} a subject"), &rates);
    }
    Ok(())
}

async fn replay(place: &Place, options: &Options, report: &mut Report) -> Result<()> {
    let records = (options.events / 10).max(1);
    println!("recording {} events over {records} records, twice", options.events);
    let (plain, _folder) = place.log(false).await?;
    let (sealed, _other) = place.log(true).await?;
    let mut rates = [Vec::new(), Vec::new()];
    for log in [&plain, &sealed] {
        fill(log, &mut Vec::new(), options.events, records).await?;
    }
    for _ in 0..options.rounds {
        for (log, rates) in [&plain, &sealed].into_iter().zip(&mut rates) {
            let started = Instant::now();
            let replayed = log.replay().await?;
            rates.push(replayed.events as f64 / started.elapsed().as_secs_f64());
        }
    }
    compare(report, "events/s", "", &rates);
    Ok(())
}

fn compare(report: &mut Report, unit: &str, what: &str, [plain, sealed]: &[Vec<f64>; 2]) {
    report.figure(format!("without a vault{what}"), unit, plain);
    report.figure(format!("with a vault{what}"), unit, sealed);
    report.figure(format!("with / without{what}"), "ratio", &ratios(sealed, plain));
}
