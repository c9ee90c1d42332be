//! `bench replay`: a million events over a tenth as many records.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use super::Options;
use super::report::{Report, Result};
use super::work::{CACHE, fill, open};

pub(crate) async fn run(options: &Options) -> Result<Report> {
    let folder = tempfile::tempdir()?;
    let records = (options.events / 10).max(1);
    println!("recording {} events over {records} records", options.events);
    let log = open(folder.path()).await?;
    fill(&log, &mut Vec::new(), options.events, records).await?;
    log.shutdown().await?;
    drop(log);
    // Each round is a process of its own: so the memory that is measured is that of opening and replaying.
    let mut report = Report::new("replay", "sled");
    rounds(folder.path(), options, &mut report)?;
    println!("sled's cache, a part of that memory: {} MiB", CACHE >> 20);
    Ok(report)
}

/// Measures each round in a process of its own.
pub(super) fn rounds(place: &Path, options: &Options, report: &mut Report) -> Result<()> {
    let rounds = (0..options.rounds).map(|_| round(place)).collect::<Result<Vec<_>>>()?;
    let figures = |at: usize| rounds.iter().map(|round| round[at]).collect::<Vec<_>>();
    report.figure("replay, shadow", "events/s", &figures(0));
    report.figure("peak memory of the process", "MiB", &figures(1));
    report.figure("replay, shadow, 1 worker", "events/s", &figures(2));
    report.figure("replay, in place", "events/s", &figures(3));
    Ok(())
}

fn round(folder: &Path) -> Result<[f64; 4]> {
    let output = Command::new(std::env::current_exe()?)
        .args(["bench", "replay-round"])
        .arg(folder)
        .stderr(Stdio::inherit())
        .output()?;
    let figures = String::from_utf8(output.stdout)?
        .split_ascii_whitespace()
        .map(str::parse)
        .collect::<std::result::Result<Vec<f64>, _>>()?;
    figures.try_into().map_err(|_| "a round of the benchmark failed".into())
}

/// One round, in a process of its own; its figures are its output.
pub(crate) async fn measure(folder: &Path) -> Result<()> {
    let place = folder.to_str().unwrap_or_default();
    let log = if let Some((url, schema)) = super::postgres::url_of(place) {
        super::postgres::open(url, schema).await?
    } else if let Some((url, prefix)) = super::redis::url_of(place) {
        super::redis::open(url, prefix).await?
    } else {
        open(folder).await?
    };
    let started = Instant::now();
    let replayed = log.replay().await?;
    let shadow = replayed.events as f64 / started.elapsed().as_secs_f64();
    let peak = status("VmHWM:") / 1_024.0;
    let started = Instant::now();
    let replayed = log.replay().workers(1).await?;
    let one = replayed.events as f64 / started.elapsed().as_secs_f64();
    let started = Instant::now();
    let replayed = log.replay().in_place().await?;
    let in_place = replayed.events as f64 / started.elapsed().as_secs_f64();
    println!("{shadow} {peak} {one} {in_place}");
    log.shutdown().await?;
    Ok(())
}

/// A line of `/proc/self/status`, in KiB; zero where there is no such file.
fn status(name: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.split_ascii_whitespace().next()?.parse().ok()).unwrap_or(0.0)
}
