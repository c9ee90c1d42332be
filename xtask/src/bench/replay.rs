//! `bench replay`: a million events over a tenth as many records.

use std::time::Instant;

use super::Options;
use super::report::{Report, Result};
use super::work::{CACHE, fill, open};

pub(crate) async fn run(options: &Options) -> Result<Report> {
    let mut report = Report::new("replay");
    let folder = tempfile::tempdir()?;
    let records = (options.events / 10).max(1);
    println!("recording {} events over {records} records", options.events);
    let log = open(folder.path()).await?;
    fill(&log, &mut Vec::new(), options.events, records).await?;
    // Opened anew, so that the process starts from the same state as a user's.
    log.shutdown().await?;
    drop(log);
    let log = open(folder.path()).await?;
    let (mut rates, mut in_place, mut one, mut memory) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..options.rounds {
        forget_peak();
        let before = status("VmRSS:");
        let started = Instant::now();
        let replayed = log.replay().await?;
        rates.push(replayed.events as f64 / started.elapsed().as_secs_f64());
        memory.push((status("VmHWM:") - before) / 1_024.0);

        let started = Instant::now();
        let replayed = log.replay().workers(1).await?;
        one.push(replayed.events as f64 / started.elapsed().as_secs_f64());

        let started = Instant::now();
        let replayed = log.replay().in_place().await?;
        in_place.push(replayed.events as f64 / started.elapsed().as_secs_f64());
    }
    report.figure("replay, shadow", "events/s", &rates);
    report.figure("replay, shadow, 1 worker", "events/s", &one);
    report.figure("replay, in place", "events/s", &in_place);
    report.figure("peak memory above the start of a replay", "MiB", &memory);
    report.figure("peak memory of the process", "MiB", &[status("VmHWM:") / 1_024.0]);
    println!("sled's cache: {} MiB, a part of both", CACHE >> 20);
    Ok(report)
}

/// A line of `/proc/self/status`, in KiB; zero where there is no such file.
fn status(name: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.split_ascii_whitespace().next()?.parse().ok()).unwrap_or(0.0)
}

/// Lets the kernel count the peak from now on.
fn forget_peak() {
    // Where it can't, the peak is that of the whole process, which is more.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}
