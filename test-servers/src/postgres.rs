//! PostgreSQL.

use std::env;
use std::fs;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::account::Account;

/// A server of your own, as a URL: then none is started.
const URL: &str = "REKINDLE_TEST_POSTGRES_URL";
/// Set to 1, tests that need a server do not run, and say so.
const SKIP: &str = "REKINDLE_SKIP_POSTGRES";

const HOW: &str = "Install it: `apt-get install postgresql` on Debian and Ubuntu, `brew install postgresql` on macOS. \
    Or set REKINDLE_TEST_POSTGRES_URL to the URL of a server, or REKINDLE_SKIP_POSTGRES=1 to leave these tests out.";

/// Runs until its standard input ends: when whoever started it is gone. Then it stops the server, and removes the folder.
/// A line `kill` kills the server and waits for its end; a line `start` starts it again.
const WATCHDOG: &str = r#"
trap '' INT TERM HUP
bin=$1; home=$2; shift 2
start() { "$bin/postgres" -D "$home/data" -k "$home" "$@" </dev/null >>"$home/log" 2>&1 & pid=$!; echo started; }
start "$@"
while read -r order; do
  case $order in
    kill) kill -KILL "$pid"; wait "$pid"; echo killed ;;
    stop) kill -INT "$pid"; wait "$pid"; echo stopped ;;
    start) start "$@" ;;
  esac
done
kill -QUIT "$pid" 2>/dev/null
wait "$pid"
rm -rf "$home"
"#;

/// Whether a server syncs what it writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fsync {
    /// It does, as in production: for tests of crashes, and benchmarks.
    On,
    /// It does not: for tests that are about something else.
    Off,
}

/// A server that runs until this is dropped, or until the process ends.
#[derive(Debug)]
pub struct Postgres {
    url: String,
    watchdog: Option<Watchdog>,
}

#[derive(Debug)]
struct Watchdog {
    shell: Child,
    answers: std::sync::Mutex<std::io::BufReader<std::process::ChildStdout>>,
    home: PathBuf,
}

/// The server of this test process, which does not sync; `None` if tests that need one are not to run, which is said then.
///
/// # Panics
///
/// If there is no PostgreSQL, with a message that tells how to install it.
pub fn postgres() -> Option<&'static Postgres> {
    static SHARED: LazyLock<Option<Postgres>> = LazyLock::new(|| {
        if env::var(SKIP).is_ok_and(|skip| skip == "1") {
            return None;
        }
        Some(match env::var(URL) {
            Ok(url) => Postgres { url, watchdog: None },
            Err(_) => Postgres::start(Fsync::Off),
        })
    });
    if SHARED.is_none() {
        // Not by `eprintln`, which a passing test would keep to itself.
        let _ = writeln!(std::io::stderr(), "NOT RUN, since {SKIP}=1: a test that needs PostgreSQL");
    }
    SHARED.as_ref()
}

impl Postgres {
    /// Starts a server of its own.
    ///
    /// # Panics
    ///
    /// If there is no PostgreSQL, or it does not start; the message tells why.
    #[must_use]
    pub fn start(fsync: Fsync) -> Self {
        Self::start_with(fsync, &[])
    }

    /// Starts a server of its own with these settings, each as `name=value`.
    ///
    /// # Panics
    ///
    /// As for [`start`](Self::start).
    #[must_use]
    pub fn start_with(fsync: Fsync, settings: &[&str]) -> Self {
        let bin = binaries().unwrap_or_else(|| panic!("PostgreSQL is not installed. {HOW}"));
        let account = Account::instead_of_root("postgres");
        let folder = tempfile::Builder::new().prefix("rekindle-pg-").tempdir().expect("a temporary folder");
        let home = folder.path().to_owned();
        if let Some(account) = account {
            account.own(&home);
        }
        let command = |program: &Path| {
            let mut command = Command::new(program);
            command.current_dir(&home);
            if let Some(account) = account {
                command.uid(account.uid).gid(account.gid);
            }
            command
        };
        let init = command(&bin.join("initdb"))
            .args(["--no-sync", "--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C"])
            .arg("--pgdata")
            .arg(home.join("data"))
            .output()
            .unwrap_or_else(|error| panic!("{} cannot be run: {error}", bin.join("initdb").display()));
        assert!(init.status.success(), "initdb failed: {}", String::from_utf8_lossy(&init.stderr));
        let mut shell = command(Path::new("sh"));
        shell.args(["-c", WATCHDOG, "watchdog"]).arg(&bin).arg(&home);
        // Few WAL segments would be a checkpoint every few seconds in the tests of load.
        let fixed = ["listen_addresses=", "max_connections=300", "max_wal_size=4GB", "log_checkpoints=off"];
        let synced = if fsync == Fsync::On { "fsync=on" } else { "fsync=off" };
        for setting in fixed.iter().chain([&synced]).chain(settings) {
            shell.args(["-c", setting]);
        }
        let mut shell = shell
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("a shell");
        let answers = std::io::BufReader::new(shell.stdout.take().expect("its output"));
        // From here on the shell removes the folder.
        let home = folder.keep();
        let url = format!("postgres://postgres@{}/postgres", home.display().to_string().replace('/', "%2F"));
        let server = Self { url, watchdog: Some(Watchdog { shell, answers: answers.into(), home }) };
        server.hear("started");
        server.await_ready();
        server
    }

    /// The URL of its database `postgres`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A name for a schema that no other test has.
    #[must_use]
    pub fn fresh_schema(&self) -> String {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let since = std::time::UNIX_EPOCH.elapsed().unwrap_or_default().as_micros();
        format!("test_{}_{since}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
    }

    /// Kills the server as `kill -9` does, and waits for its end.
    ///
    /// # Panics
    ///
    /// If it is a server of your own.
    pub fn kill(&self) {
        self.order("kill", "killed");
        // Its children end by themselves a moment later; until then they have a hold on the shared memory.
        let watchdog = self.watchdog();
        let _ = fs::remove_file(watchdog.home.join(".s.PGSQL.5432"));
    }

    /// Stops the server in order, though without waiting for its clients.
    ///
    /// # Panics
    ///
    /// If it is a server of your own.
    pub fn stop(&self) {
        self.order("stop", "stopped");
    }

    /// Starts the server again, and waits until it takes connections.
    ///
    /// # Panics
    ///
    /// If it is a server of your own, or does not start.
    pub fn restart(&self) {
        let deadline = Instant::now() + Duration::from_secs(300);
        loop {
            let told_before = self.log().len();
            self.order("start", "started");
            if self.ready_before_it_ends(told_before) {
                return;
            }
            // Children of a killed server may still be there, and it does not start beside them.
            assert!(Instant::now() < deadline, "PostgreSQL did not start again: {}", self.log());
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Whether the start that was begun at this length of the log comes off.
    fn ready_before_it_ends(&self, told_before: usize) -> bool {
        let deadline = Instant::now() + Duration::from_secs(300);
        while Instant::now() < deadline {
            if self.is_ready() {
                return true;
            }
            if self.log().get(told_before..).is_some_and(|told| told.contains("pre-existing shared memory block")) {
                return false;
            }
            thread::sleep(Duration::from_millis(10));
        }
        false
    }

    /// The path of a file or folder of the server.
    ///
    /// # Panics
    ///
    /// If it is a server of your own.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.watchdog().home.join(name)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    fn await_ready(&self) {
        let deadline = Instant::now() + Duration::from_secs(300);
        while !self.is_ready() {
            assert!(Instant::now() < deadline, "PostgreSQL did not start: {}", self.log());
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Whether it takes connections: it answers a request to start a session with one to authenticate, not with an error.
    fn is_ready(&self) -> bool {
        use std::io::Read;
        let Ok(mut stream) = UnixStream::connect(self.path(".s.PGSQL.5432")) else { return false };
        let parameters = b"user\0postgres\0database\0postgres\0\0";
        let mut start = Vec::new();
        start.extend(u32::try_from(parameters.len() + 8).unwrap_or_default().to_be_bytes());
        start.extend(196_608_u32.to_be_bytes());
        start.extend(parameters);
        let mut answer = [0];
        stream.write_all(&start).is_ok() && stream.read_exact(&mut answer).is_ok() && answer == *b"R"
    }

    fn watchdog(&self) -> &Watchdog {
        self.watchdog.as_ref().unwrap_or_else(|| panic!("this takes a server of the test's own, not that of {URL}"))
    }

    fn order(&self, order: &str, answer: &str) {
        let mut stdin = self.watchdog().shell.stdin.as_ref().expect("its input");
        writeln!(stdin, "{order}").expect("the watchdog is there");
        self.hear(answer);
    }

    fn hear(&self, answer: &str) {
        use std::io::BufRead;
        let mut line = String::new();
        let mut answers = self.watchdog().answers.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        answers.read_line(&mut line).expect("the watchdog answers");
        assert_eq!(line.trim(), answer, "the watchdog ended: {}", self.log());
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}

/// The folder of the server's programs: that of the newest version that is found.
fn binaries() -> Option<PathBuf> {
    let version = |folder: &Path| {
        let name = folder.parent().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
        name.and_then(|name| name.trim_start_matches("postgresql@").parse::<u32>().ok()).unwrap_or(0)
    };
    let on_path = env::var_os("PATH").map(|path| env::split_paths(&path).collect::<Vec<_>>()).unwrap_or_default();
    let mut found: Vec<PathBuf> = on_path;
    let mut installed = Vec::new();
    for root in ["/usr/lib/postgresql", "/opt/homebrew/opt", "/usr/local/opt", "/usr/local/pgsql", "/usr/pgsql"] {
        let folders = fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path().join("bin"));
        installed.extend(folders);
    }
    installed.push("/usr/local/pgsql/bin".into());
    installed.sort_by_key(|folder| std::cmp::Reverse(version(folder)));
    found.extend(installed);
    found.into_iter().find(|folder| folder.join("initdb").is_file() && folder.join("postgres").is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_gone_with_its_folder_when_it_is_dropped() {
        if postgres().is_none() {
            return;
        }
        let server = Postgres::start(Fsync::Off);
        let home = server.path("");
        assert!(home.join("data").is_dir());
        server.kill();
        server.restart();
        drop(server);
        assert!(!home.exists());
    }
}
