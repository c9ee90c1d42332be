//! Benchmarks: Rekindle beside the raw engine, alternating in one run.

mod commit;
mod group;
mod growth;
mod postgres;
mod raw;
mod redis;
mod replay;
mod report;
mod scan;
mod vault;
mod work;

use std::path::PathBuf;

/// What is said on the command line.
pub(crate) struct Options {
    /// How often each figure is measured.
    rounds: usize,
    /// Events, where the benchmark is about a number of them.
    events: u64,
    /// The callers of `commit`.
    callers: Vec<usize>,
    json: Option<PathBuf>,
    /// Whether a log with a vault is measured beside one without.
    vault: bool,
}

const USAGE: &str = "\
usage: cargo xtask bench NAME [--backend sled|postgres|redis] [--rounds N] [--events N] [--callers N,N,..] [--workers N] [--json FILE] [--vault]

  commit   commits a second at several numbers of callers, beside raw loops that write the same rows
  replay   replayed events a second and peak memory
  scan     events read a second in pages, beside a raw scan of the same rows
  import   events and records loaded in bulk, beside COPY of the same rows (postgres only)
  growth   commit and page latency as the log grows

  memory   bytes of the server's memory for each event, beside the bytes of its payload (redis only)

With --vault, `commit` and `replay` measure a log with a vault beside the same without one.

With postgres and redis, servers of their own are started; REKINDLE_TEST_POSTGRES_URL and REKINDLE_TEST_REDIS_URL do not
count here. With redis, commits are measured with the AOF off, and synced always. A server takes a core of its own: beside
one, the callers of `commit`, Rekindle's and raw ones alike, have a runtime with one worker less than there are cores; else
there is one for each core. --workers sets it.";

/// Runs one benchmark.
pub(crate) fn run(args: &[String]) -> Result<(), String> {
    let Some((name, rest)) = args.split_first() else { return Err(USAGE.to_owned()) };
    if let ("replay-round", [folder]) = (name.as_str(), rest) {
        return runtime(cores())?.block_on(replay::measure(folder.as_ref())).map_err(|error| error.to_string());
    }
    let events = match name.as_str() {
        "replay" | "scan" | "growth" | "import" | "memory" => 1_000_000,
        _ => 0,
    };
    let mut options = Options { rounds: 5, events, callers: vec![1, 8, 32, 128, 512], json: None, vault: false };
    let mut backend = "sled";
    let mut workers = None;
    let mut rest = rest.iter();
    while let Some(option) = rest.next() {
        if option == "--vault" {
            options.vault = true;
            continue;
        }
        let value = rest.next().ok_or_else(|| format!("{option} takes a value\n\n{USAGE}"))?;
        let number =
            |text: &str| text.replace('_', "").parse::<u64>().map_err(|_| format!("{text:?} is no number\n\n{USAGE}"));
        match option.as_str() {
            "--backend" if ["sled", "postgres", "redis"].contains(&value.as_str()) => backend = value,
            "--backend" => {
                let known = "known are sled, postgres and redis";
                return Err(format!("there is no benchmark of the backend {value:?}: {known}"));
            }
            "--rounds" => options.rounds = number(value)?.max(1) as usize,
            "--workers" => workers = Some(number(value)?.max(1) as usize),
            "--events" => options.events = number(value)?,
            "--callers" => {
                options.callers = value.split(',').map(|n| number(n).map(|n| n as usize)).collect::<Result<_, _>>()?;
            }
            "--json" => options.json = Some(value.into()),
            _ => return Err(format!("unknown option {option}\n\n{USAGE}")),
        }
    }
    let beside_a_server = name == "commit" && backend != "sled";
    let workers = workers.unwrap_or(if beside_a_server { (cores() - 1).max(1) } else { cores() });
    println!("{} cores, {workers} workers", cores());
    let report = runtime(workers)?.block_on(async {
        match name.as_str() {
            _ if options.vault => vault::run(name, backend, &options).await,
            _ if backend == "postgres" => postgres::run(name, &options).await,
            _ if backend == "redis" => redis::run(name, &options).await,
            "commit" => commit::run(&options).await,
            "replay" => replay::run(&options).await,
            "scan" => scan::run(&options).await,
            "growth" => growth::run(&options).await,
            _ => Err(format!("there is no benchmark {name:?}\n\n{USAGE}").into()),
        }
    });
    report.and_then(|report| report.finish(options.json.as_deref())).map_err(|error| error.to_string())
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

fn runtime(workers: usize) -> Result<tokio::runtime::Runtime, String> {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.worker_threads(workers).enable_all().build().map_err(|error| error.to_string())
}
