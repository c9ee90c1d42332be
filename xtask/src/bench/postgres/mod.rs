//! The benchmarks on PostgreSQL: on a server that is started for them, and syncs.

mod commit;
mod huge_pages;
mod import;
mod raw;
mod scan;

use std::path::Path;

use rekindle::postgres::{PostgresBackend, PostgresConfig};
use rekindle::{Log, Rekindle};
use rekindle_test_servers::{Fsync, Postgres};
use sqlx::{Connection, PgConnection};

use huge_pages::HugePages;

use super::Options;
use super::report::{Report, Result};
use super::work::{Account, fill};

/// Enough that the benchmarks measure neither a checkpoint every few seconds nor a cache for a toy.
const SETTINGS: &[&str] = &["shared_buffers=2GB", "max_wal_size=16GB", "checkpoint_timeout=30min"];
/// For ten million events, on a machine of 24 GB: PostgreSQL's manual recommends a quarter of it, and no more than 40 %.
const FOR_GROWTH: &[&str] = &["shared_buffers=9GB", "max_wal_size=8GB", "checkpoint_timeout=30min"];
/// The buffers, and what the server has beside them in the same memory.
const HUGE_FOR_GROWTH: u64 = 10 << 30;

pub(super) async fn run(name: &str, options: &Options) -> Result<Report> {
    let _huge_pages = if name == "growth" { HugePages::reserve(HUGE_FOR_GROWTH) } else { None };
    let server = Postgres::start_with(Fsync::On, if name == "growth" { FOR_GROWTH } else { SETTINGS });
    let mut report = Report::new(name, "postgres");
    match name {
        "commit" => commit::run(&server, options, &mut report).await?,
        "scan" => scan::run(&server, options, &mut report).await?,
        "import" => import::run(&server, options, &mut report).await?,
        "replay" => {
            let schema = server.fresh_schema();
            let log = open(server.url(), &schema).await?;
            println!("recording {} events over {} records", options.events, options.events / 10);
            fill(&log, &mut Vec::new(), options.events, (options.events / 10).max(1)).await?;
            log.shutdown().await?;
            let place = format!("{} {schema}", server.url());
            super::replay::rounds(Path::new(&place), options, &mut report)?;
        }
        "growth" => {
            let small = open(server.url(), &server.fresh_schema()).await?;
            let large = open(server.url(), &server.fresh_schema()).await?;
            super::growth::measure(small, large, options, &mut report).await?;
        }
        _ => return Err(format!("there is no benchmark {name:?} of postgres").into()),
    }
    Ok(report)
}

/// A place that a round of a replay is given: a URL and a schema.
pub(super) fn url_of(place: &str) -> Option<(&str, &str)> {
    place.split_once(' ').filter(|(url, _)| url.starts_with("postgres://"))
}

fn config(schema: &str) -> Result<PostgresConfig> {
    Ok(PostgresConfig::new().with_schema(schema)?)
}

/// A backend on a schema, which is made.
async fn backend(url: &str, schema: &str) -> Result<PostgresBackend> {
    let config = config(schema)?;
    PostgresBackend::migrate(url, &config).await?;
    Ok(PostgresBackend::connect_with(url, config).await?)
}

pub(super) async fn open(url: &str, schema: &str) -> Result<Log> {
    Ok(Rekindle::on(backend(url, schema).await?).resource::<Account>().start().await?)
}

async fn connect(server: &Postgres) -> Result<PgConnection> {
    Ok(PgConnection::connect(server.url()).await?)
}

async fn drop_schema(server: &Postgres, schema: &str) -> Result<()> {
    let drop = sqlx::AssertSqlSafe(format!("DROP SCHEMA \"{schema}\" CASCADE"));
    sqlx::query(drop).execute(&mut connect(server).await?).await?;
    Ok(())
}
