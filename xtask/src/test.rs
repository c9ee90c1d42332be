//! `cargo xtask test`: every check of this repository, in order, up to the first that fails.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A check: its name for `--only`, what it is, and how it is run.
struct Step {
    name: &'static str,
    what: &'static str,
    run: fn(&Options) -> Result<Outcome, String>,
}

const STEPS: &[Step] = &[
    Step { name: "fmt", what: "the code is formatted", run: fmt },
    Step { name: "clippy", what: "no lint warns, anywhere", run: clippy },
    Step { name: "test", what: "unit tests, conformance of each backend, doc tests", run: tests },
    Step { name: "parity", what: "docs/parity.md is up to date, and no behaviour is without a test", run: parity },
    Step { name: "doc", what: "the docs build without a warning", run: doc },
    Step { name: "features", what: "the facade builds with none, each alone, and all of its features", run: features },
    Step { name: "deny", what: "the dependencies are what deny.toml allows", run: deny },
];

/// How a step ended that did not fail.
enum Outcome {
    Ok,
    NotRun(String),
}

#[derive(Default)]
struct Options {
    only: Vec<String>,
    advisories: bool,
    list: bool,
}

pub(crate) fn run(args: &[String]) -> Result<(), String> {
    let options = options(args)?;
    if options.list {
        for step in STEPS {
            println!("{:<10}{}", step.name, step.what);
        }
        return Ok(());
    }
    let mut lines = Vec::new();
    let mut not_run = Vec::new();
    let mut failed = None;
    for step in STEPS.iter().filter(|step| options.only.is_empty() || options.only.iter().any(|name| name == step.name))
    {
        if failed.is_some() {
            lines.push(summary(step, "not reached", None));
            continue;
        }
        println!("\n=== {}: {}", step.name, step.what);
        let start = Instant::now();
        let outcome = (step.run)(&options);
        let took = Some(start.elapsed());
        match outcome {
            Ok(Outcome::Ok) => lines.push(summary(step, "ok", took)),
            Ok(Outcome::NotRun(why)) => {
                println!("NOT RUN: {why}");
                lines.push(summary(step, "NOT RUN", took));
                not_run.push(step.name);
            }
            Err(why) => {
                lines.push(summary(step, "FAILED", took));
                failed = Some(format!(
                    "\nthe step `{}` failed: {why}\nagain, alone: cargo xtask test --only {}",
                    step.name, step.name
                ));
            }
        }
    }
    println!("\n=== summary");
    for line in lines {
        println!("{line}");
    }
    if let Some(failed) = failed {
        return Err(failed);
    }
    if !not_run.is_empty() {
        println!("\nNOT RUN: {}; all others passed", not_run.join(", "));
    }
    Ok(())
}

fn summary(step: &Step, outcome: &str, took: Option<Duration>) -> String {
    let took = took.map(|took| format!("{:.1} s", took.as_secs_f64())).unwrap_or_default();
    format!("{:<10}{took:>10}  {outcome}", step.name)
}

fn options(args: &[String]) -> Result<Options, String> {
    let mut options = Options::default();
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--advisories" => options.advisories = true,
            "--list" => options.list = true,
            "--only" => {
                let name = args.next().ok_or("--only takes the name of a step; --list shows them")?;
                if !STEPS.iter().any(|step| step.name == name) {
                    return Err(format!("there is no step {name:?}; --list shows them"));
                }
                options.only.push(name.clone());
            }
            unknown => {
                return Err(format!("unknown option {unknown:?}; known are --only STEP, --advisories and --list"));
            }
        }
    }
    Ok(options)
}

fn fmt(_: &Options) -> Result<Outcome, String> {
    cargo(&["fmt", "--all", "--check"])
}

fn clippy(_: &Options) -> Result<Outcome, String> {
    cargo(&["clippy", "--workspace", "--all-targets", "--all-features", "--", "-D", "warnings"])
}

fn tests(_: &Options) -> Result<Outcome, String> {
    install_postgres()?;
    cargo(&["test", "--workspace", "--all-features"])
}

/// Installs PostgreSQL where it is missing and this may do so: as root, with apt. Elsewhere the tests say how.
fn install_postgres() -> Result<(), String> {
    let given = ["REKINDLE_TEST_POSTGRES_URL", "REKINDLE_SKIP_POSTGRES"];
    let root = Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout == b"0\n");
    if rekindle_test_servers::postgres_is_installed()
        || given.iter().any(|name| std::env::var_os(name).is_some())
        || !root
    {
        return Ok(());
    }
    for args in [&["update"][..], &["install", "-y", "--no-install-recommends", "postgresql"]] {
        println!("$ apt-get {}", args.join(" "));
        let status = Command::new("apt-get").args(args).env("DEBIAN_FRONTEND", "noninteractive").status();
        match status {
            Ok(status) if status.success() => {}
            Ok(status) => return Err(format!("apt-get {}: {status}", args.join(" "))),
            // No Debian: the tests say what to do.
            Err(_) => return Ok(()),
        }
    }
    Ok(())
}

fn parity(_: &Options) -> Result<Outcome, String> {
    crate::parity::run(&["--check".to_owned()]).map(|()| Outcome::Ok)
}

fn doc(_: &Options) -> Result<Outcome, String> {
    let args = ["doc", "--workspace", "--no-deps", "--all-features"];
    shown(command(&args).env("RUSTDOCFLAGS", "-D warnings"))
}

/// A lint that warns under one set of features only is a failure too, hence clippy and not check.
fn features(_: &Options) -> Result<Outcome, String> {
    let check = |features: &[&str]| {
        let args = [&["clippy", "-p", "rekindle", "--lib"], features, &["--", "-D", "warnings"]].concat();
        cargo(&args)
    };
    check(&["--no-default-features"])?;
    for feature in facade_features()? {
        check(&["--no-default-features", "--features", &feature])?;
    }
    check(&["--all-features"])
}

/// The features that the facade declares.
fn facade_features() -> Result<Vec<String>, String> {
    let args = ["metadata", "--format-version", "1", "--no-deps"];
    let output =
        command(&args).stderr(Stdio::inherit()).output().map_err(|error| format!("cargo metadata: {error}"))?;
    if !output.status.success() {
        return Err(format!("cargo metadata: {}", output.status));
    }
    let metadata: serde_json::Value =
        serde_json::from_slice(&output.stdout).map_err(|error| format!("cargo metadata: {error}"))?;
    let packages = metadata["packages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let facade = packages.iter().find(|package| package["name"] == "rekindle");
    let features = facade.and_then(|facade| facade["features"].as_object());
    features
        .map(|features| features.keys().cloned().collect())
        .ok_or_else(|| "the package `rekindle` is not there".to_owned())
}

fn deny(options: &Options) -> Result<Outcome, String> {
    let installed = command(&["deny", "--version"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !installed.is_ok_and(|status| status.success()) {
        let why = "cargo deny: not installed (cargo install --locked cargo-deny)";
        return Ok(Outcome::NotRun(why.to_owned()));
    }
    let mut args = vec!["deny", "check", "bans", "licenses", "sources"];
    if options.advisories {
        args.push("advisories");
    }
    cargo(&args)
}

fn cargo(args: &[&str]) -> Result<Outcome, String> {
    shown(&mut command(args))
}

/// Cargo at the root of the workspace.
fn command(args: &[&str]) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(cargo);
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    command.args(args).current_dir(package.parent().unwrap_or(package));
    command
}

/// Runs it in sight; what it is called with is shown first.
fn shown(command: &mut Command) -> Result<Outcome, String> {
    let line: Vec<_> = command.get_args().map(|arg| arg.to_string_lossy()).collect();
    let line = format!("cargo {}", line.join(" "));
    println!("$ {line}");
    match command.status() {
        Ok(status) if status.success() => Ok(Outcome::Ok),
        Ok(status) => Err(format!("`{line}`: {status}")),
        Err(error) => Err(format!("`{line}` cannot be run: {error}")),
    }
}
