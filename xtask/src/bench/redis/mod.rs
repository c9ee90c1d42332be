//! The benchmarks on Redis: on servers that are started for them.

mod commit;
mod memory;
mod raw;
mod scan;

use std::path::Path;

use redis::aio::MultiplexedConnection;
use rekindle::redis::{RedisBackend, RedisConfig};
use rekindle::{Log, Rekindle};
use rekindle_test_servers::{Aof, Redis, fresh_prefix};

use super::Options;
use super::report::{Report, Result};
use super::work::{Account, fill};

pub(super) async fn run(name: &str, options: &Options) -> Result<Report> {
    let mut report = Report::new(name, "redis");
    match name {
        "commit" => {
            for (aof, what) in [(Aof::Off, "off"), (Aof::Always, "always")] {
                commit::run(&Redis::start(aof), what, options, &mut report).await?;
            }
        }
        "scan" => scan::run(&Redis::start(Aof::Off), options, &mut report).await?,
        "memory" => memory::run(&Redis::start(Aof::Off), options, &mut report).await?,
        "replay" => {
            let (server, prefix) = (Redis::start(Aof::Always), fresh_prefix());
            let log = open(server.url(), &prefix).await?;
            println!("recording {} events over {} records", options.events, options.events / 10);
            fill(&log, &mut Vec::new(), options.events, (options.events / 10).max(1)).await?;
            log.shutdown().await?;
            super::replay::rounds(Path::new(&format!("{} {prefix}", server.url())), options, &mut report)?;
        }
        "growth" => {
            let server = Redis::start(Aof::Always);
            let (small, large) = (fresh_prefix(), fresh_prefix());
            let (small, large) = (open(server.url(), &small).await?, open(server.url(), &large).await?);
            super::growth::measure(small, large, options, &mut report).await?;
        }
        _ => return Err(format!("there is no benchmark {name:?} of redis").into()),
    }
    Ok(report)
}

/// A place that a round of a replay is given: a URL and a prefix.
pub(super) fn url_of(place: &str) -> Option<(&str, &str)> {
    place.split_once(' ').filter(|(url, _)| url.starts_with("redis://"))
}

pub(super) async fn open(url: &str, prefix: &str) -> Result<Log> {
    let backend = RedisBackend::connect_with(url, RedisConfig::new().with_prefix(prefix)).await?;
    Ok(Rekindle::on(backend).resource::<Account>().start().await?)
}

async fn connect(server: &Redis) -> Result<MultiplexedConnection> {
    let config = redis::AsyncConnectionConfig::new().set_response_timeout(None);
    Ok(redis::Client::open(server.url())?.get_multiplexed_async_connection_with_config(&config).await?)
}

async fn flush(server: &Redis) -> Result<()> {
    Ok(redis::cmd("FLUSHALL").arg("SYNC").exec_async(&mut connect(server).await?).await?)
}
