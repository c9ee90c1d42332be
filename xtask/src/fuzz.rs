//! `cargo xtask fuzz`: the vault's formats, by a fuzzer that is guided by coverage.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What makes the compiler count what is reached, as `cargo fuzz` does, and on a stable toolchain, too.
const FLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares";

pub(crate) fn run(args: &[String]) -> Result<(), String> {
    let seconds = match args {
        [] => 600,
        [option, seconds] if option == "--seconds" => {
            seconds.parse::<u32>().map_err(|_| format!("{seconds:?} is no number of seconds"))?
        }
        _ => return Err(format!("unknown options {args:?}; known is --seconds N")),
    };
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = package.parent().unwrap_or(package);
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from).join("fuzz");
    let program = build(root, &target)?;

    // What is found on the way is kept, and is where the next run begins.
    let (corpus, findings) = (target.join("corpus"), target.join("findings"));
    for folder in [&corpus, &findings] {
        fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    }
    let mut fuzzer = Command::new(program);
    fuzzer
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-dict={}", root.join("fuzz/vault.dict").display()))
        .arg(format!("-artifact_prefix={}/", findings.display()))
        .args(["-max_len=4096", "-timeout=10", "-print_final_stats=1"])
        .args([&corpus, &root.join("fuzz/seeds")]);
    let status = fuzzer.status().map_err(|error| format!("the fuzzer: {error}"))?;
    if status.success() {
        println!("no finding in {seconds} seconds");
        return Ok(());
    }
    Err(format!("the fuzzer: {status}; what it found is in {}", findings.display()))
}

/// Builds the fuzzer. Its flags are not for build scripts and macros, hence the target.
fn build(root: &Path, target: &Path) -> Result<PathBuf, String> {
    let host = host()?;
    let crate_ = root.join("fuzz");
    // The versions of what it depends on are those of the workspace.
    fs::copy(root.join("Cargo.lock"), crate_.join("Cargo.lock")).map_err(|error| format!("Cargo.lock: {error}"))?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let status = Command::new(cargo)
        .args(["build", "--release", "--bin", "vault", "--target", &host, "--target-dir"])
        .arg(target)
        .current_dir(&crate_)
        .env("RUSTFLAGS", FLAGS)
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .status()
        .map_err(|error| format!("cargo: {error}"))?;
    if !status.success() {
        return Err(format!("the fuzzer does not build ({status}); it needs a compiler of C++: apt-get install g++"));
    }
    Ok(target.join(host).join("release/vault"))
}

/// The target of this machine.
fn host() -> Result<String, String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| OsString::from("rustc"));
    let output = Command::new(rustc).arg("-vV").stderr(Stdio::inherit()).output();
    let output = output.map_err(|error| format!("rustc: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| "`rustc -vV` tells no host".to_owned())
}
