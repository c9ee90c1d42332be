//! The history of a git repository as a log: recorded, shown, dropped, replayed, and verified against git.
//!
//! Each file is a record; each commit of the first-parent history is one commit of the log, in the name of its author.
//!
//! `cargo run --release --example git_history [REPOSITORY] [--data FOLDER] [--record-only]`

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it is a program for people to look at")]

mod file;
mod git;
mod progress;
mod record;
mod show;
mod verify;

use std::path::PathBuf;
use std::process::ExitCode;

use rekindle::sled::{SledBackend, SledConfig};
use rekindle::{Limits, Rekindle};

use crate::file::File;
use crate::git::{Repository, Result};

struct Options {
    repository: PathBuf,
    data: Option<PathBuf>,
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
    let folder = options.data.unwrap_or_else(|| temporary.path().join("git_history"));
    println!("the history of {}, into {}", options.repository.display(), folder.display());

    // A commit of git can touch more files, and have a longer message, than a commit of the log may by default.
    let config = SledConfig::new().with_limits(
        Limits::default().with_commit_changes(1_000_000).with_metadata_bytes(16 << 20).with_event_bytes(32 << 20),
    );
    let log =
        Rekindle::on(SledBackend::open_with(&folder, config).await?).log("git").resource::<File>().start().await?;
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

fn options() -> Result<Options> {
    let mut options = Options { repository: PathBuf::from("."), data: None, record_only: false };
    let mut arguments = std::env::args_os().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.to_str() {
            Some("--data") => options.data = Some(arguments.next().ok_or("--data takes a folder")?.into()),
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
