//! The history of a git repository as a log: recorded, shown, dropped, replayed, and verified against git.
//!
//! Each file is a record; each commit of the first-parent history is one commit of the log, in the name of its author.
//!
//! `cargo run --release --example git_history [REPOSITORY] [--data FOLDER] [--record-only]`
//!
//! With `--features postgres`, `--data` takes the URL of a Postgres database as well; with `--features redis`, that of Redis.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it is a program for people to look at")]

mod file;
mod git;
mod progress;
mod record;
mod show;
mod verify;

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::process::ExitCode;

use rekindle::sled::{SledBackend, SledConfig};
use rekindle::{Backend, Limits, Rekindle};

use crate::file::File;
use crate::git::{Repository, Result};

struct Options {
    repository: PathBuf,
    data: Option<OsString>,
    record_only: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<()> {
    let options = options()?;
    let repository = Repository::open(&options.repository)?;
    // Without a folder of the user's, the data goes with the run.
    let temporary = tempfile::tempdir()?;
    let data = options.data.unwrap_or_else(|| temporary.path().join("git_history").into());
    let place = match data.to_str() {
        Some(url) if is_postgres(url) => "Postgres".into(),
        Some(url) if is_redis(url) => "Redis".into(),
        _ => data.to_string_lossy(),
    };
    println!("the history of {}, into {place}", options.repository.display());

    let log = Rekindle::on(backend(&data).await?).log("git").resource::<File>().start().await?;
    record::record(&log, &repository).await?;
    if !options.record_only {
        show::last_entries(&log).await?;
        show::one_file(&log).await?;
        verify::verify(&log, &repository).await?;
        println!("verified");
    }
    log.shutdown().await?;
    Ok(())
}

/// The store in a folder, or at a URL of Postgres or Redis.
async fn backend(data: &OsStr) -> Result<Backend> {
    // A commit of git can touch more files, and have a longer message, than a commit of the log may by default.
    let limits =
        Limits::default().with_commit_changes(1_000_000).with_metadata_bytes(16 << 20).with_event_bytes(32 << 20);
    if let Some(url) = data.to_str().filter(|data| is_redis(data)) {
        #[cfg(feature = "redis")]
        {
            use rekindle::redis::{RedisBackend, RedisConfig};
            let config = RedisConfig::new().with_limits(limits);
            return Ok(RedisBackend::connect_with(url, config).await?.into());
        }
        #[cfg(not(feature = "redis"))]
        return Err(format!("for {}, build with --features redis", url.split(':').next().unwrap_or_default()).into());
    }
    match data.to_str().filter(|data| is_postgres(data)) {
        #[cfg(feature = "postgres")]
        Some(url) => {
            use rekindle::postgres::{PostgresBackend, PostgresConfig};
            let config = PostgresConfig::new().with_limits(limits);
            PostgresBackend::migrate(url, &config).await?;
            Ok(PostgresBackend::connect_with(url, config).await?.into())
        }
        #[cfg(not(feature = "postgres"))]
        Some(_) => Err("for a Postgres database, build with --features postgres".into()),
        None => Ok(SledBackend::open_with(data, SledConfig::new().with_limits(limits)).await?.into()),
    }
}

fn is_redis(data: &str) -> bool {
    let schemes = ["redis", "rediss", "redis+cluster", "rediss+cluster"];
    data.split_once("://").is_some_and(|(scheme, _)| schemes.contains(&scheme))
}

fn is_postgres(data: &str) -> bool {
    data.starts_with("postgres://") || data.starts_with("postgresql://")
}

fn options() -> Result<Options> {
    let mut options = Options { repository: PathBuf::from("."), data: None, record_only: false };
    let mut arguments = std::env::args_os().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.to_str() {
            Some("--data") => options.data = Some(arguments.next().ok_or("--data takes a folder")?),
            Some("--record-only") => options.record_only = true,
            Some(unknown) if unknown.starts_with('-') => {
                return Err(format!(
                    "unknown option {unknown}; usage: git_history [REPOSITORY] [--data FOLDER] [--record-only]"
                )
                .into());
            }
            _ => options.repository = argument.into(),
        }
    }
    Ok(options)
}
