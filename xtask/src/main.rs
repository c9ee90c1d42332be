//! The commands of this repository: `cargo xtask test`, and what else the README calls.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it is a command, and these are its answers")]

use std::process::ExitCode;

mod bench;
mod fuzz;
mod parity;
mod servers;
mod test;

const USAGE: &str = "\
usage: cargo xtask COMMAND

commands:
  test [--only STEP].. [--advisories] | --list    every check of this repository, in order
  bench NAME [OPTION]..                           a benchmark: commit, replay, scan, growth
  fuzz [--seconds N]                              the vault's formats, by a fuzzer; 600 seconds
  parity [--check]                                makes docs/parity.md from the names of the tests, or checks it
  help                                            this text";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (command, args) = args.split_first().map_or(("help", &[][..]), |(command, args)| (command.as_str(), args));
    let done = match command {
        "bench" => bench::run(args),
        "fuzz" => fuzz::run(args),
        "parity" => parity::run(args),
        "test" => test::run(args),
        "help" | "--help" | "-h" => {
            println!("{USAGE}");
            Ok(())
        }
        unknown => Err(format!("unknown command {unknown:?}\n\n{USAGE}")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}
