//! The servers that the tests start: what is not installed is, where this may be done.

use std::process::{Command, Stdio};

/// What finds a program that tests need, and the package of Debian and Ubuntu that has it.
const NEEDED: &[(&str, &str)] = &[
    ("command -v redis-server", "redis-server"),
    ("command -v postgres || ls /usr/lib/postgresql/*/bin/postgres", "postgresql"),
];

/// Installs what is missing, if this process is root's and there is `apt-get`. The tests themselves fail where a server is
/// missing, and tell how to install it; so nothing is said of it here.
pub(crate) fn install() -> Result<(), String> {
    if !succeeds("sh", &["-c", "test \"$(id -u)\" = 0 && command -v apt-get"]) {
        return Ok(());
    }
    for (find, package) in NEEDED {
        if succeeds("sh", &["-c", find]) {
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
