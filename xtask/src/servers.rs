//! The servers and the interpreter that the tests start: what is not installed is, where this may be done.

use std::process::{Command, Stdio};

/// A program that tests need.
struct Needed {
    /// What finds its program.
    find: &'static str,
    /// The package of Debian and Ubuntu that has it.
    package: &'static str,
    /// Set, a server is given, or the tests are to be left out.
    unless: &'static [&'static str],
}

const NEEDED: &[Needed] = &[
    Needed {
        find: "command -v redis-server",
        package: "redis-server",
        unless: &["REKINDLE_TEST_REDIS_URL", "REKINDLE_SKIP_REDIS"],
    },
    Needed {
        find: "command -v postgres || ls /usr/lib/postgresql/*/bin/postgres",
        package: "postgresql",
        unless: &["REKINDLE_TEST_POSTGRES_URL", "REKINDLE_SKIP_POSTGRES"],
    },
    Needed { find: "python3 -c 'import ensurepip, venv'", package: "python3-venv", unless: &["REKINDLE_SKIP_PYTHON"] },
];

/// Installs what is missing, if this process is root's and there is `apt-get`. The tests themselves fail where one is
/// missing, and tell how to install it; so nothing is said of it here.
pub(crate) fn install() -> Result<(), String> {
    if !succeeds("sh", &["-c", "test \"$(id -u)\" = 0 && command -v apt-get"]) {
        return Ok(());
    }
    for Needed { find, package, unless } in NEEDED {
        if unless.iter().any(|name| std::env::var_os(name).is_some()) || succeeds("sh", &["-c", find]) {
            continue;
        }
        println!("$ apt-get install --yes {package}");
        // The lists may be old, or there may be none.
        succeeds("apt-get", &["update"]);
        if !succeeds("apt-get", &["install", "--yes", package]) {
            return Err(format!("`apt-get install {package}` failed"));
        }
    }
    Ok(())
}

fn succeeds(program: &str, args: &[&str]) -> bool {
    let status = Command::new(program).args(args).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}
