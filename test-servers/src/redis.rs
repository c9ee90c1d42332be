//! Redis: one server, and a cluster of six.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// A server of your own, as a URL: then none is started.
const URL: &str = "REKINDLE_TEST_REDIS_URL";
/// A cluster of your own, as a URL: then none is started.
const CLUSTER_URL: &str = "REKINDLE_TEST_REDIS_CLUSTER_URL";
/// Set to 1, tests that need a server do not run, and say so.
const SKIP: &str = "REKINDLE_SKIP_REDIS";

const HOW: &str = "Install it: `apt-get install redis-server` on Debian and Ubuntu, `brew install redis` on macOS. \
    Or set REKINDLE_TEST_REDIS_URL to the URL of a server, or REKINDLE_SKIP_REDIS=1 to leave these tests out.";

/// Runs until its standard input ends: when whoever started it is gone. Then it kills the server, and removes the folder.
/// A line `kill` kills the server and waits for its end; a line `start` starts it again.
const WATCHDOG: &str = r#"
trap '' INT TERM HUP
home=$1; shift
start() { redis-server "$@" </dev/null >>"$home/log" 2>&1 & pid=$!; echo started; }
start "$@"
while read -r order; do
  case $order in
    kill) kill -KILL "$pid"; wait "$pid"; echo killed ;;
    stop) kill -TERM "$pid"; wait "$pid"; echo stopped ;;
    pause) kill -STOP "$pid"; echo paused ;;
    resume) kill -CONT "$pid"; echo resumed ;;
    start) start "$@" ;;
  esac
done
kill -KILL "$pid" 2>/dev/null
wait "$pid"
rm -rf "$home"
"#;

/// When a server writes to its disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aof {
    /// Never: `appendonly no`.
    Off,
    /// It syncs every second: `appendfsync everysec`.
    EverySecond,
    /// It syncs before it answers: `appendfsync always`.
    Always,
}

/// A server that runs until this is dropped, or until the process ends.
#[derive(Debug)]
pub struct Redis {
    url: String,
    port: u16,
    watchdog: Option<Watchdog>,
}

#[derive(Debug)]
struct Watchdog {
    shell: Child,
    answers: Mutex<BufReader<ChildStdout>>,
    home: PathBuf,
}

/// The server of this test process, which syncs before it answers; `None` if tests that need one are not to run, which is
/// said then.
///
/// # Panics
///
/// If there is no Redis, with a message that tells how to install it.
pub fn redis() -> Option<&'static Redis> {
    static SHARED: LazyLock<Option<Redis>> = LazyLock::new(|| {
        if skipped() {
            return None;
        }
        Some(match env::var(URL) {
            Ok(url) => Redis { url, port: 0, watchdog: None },
            Err(_) => Redis::start(Aof::Always),
        })
    });
    said(SHARED.as_ref())
}

/// The cluster of this test process; `None` if tests that need one are not to run, which is said then.
///
/// # Panics
///
/// If there is no Redis, with a message that tells how to install it.
pub fn redis_cluster() -> Option<&'static RedisCluster> {
    static SHARED: LazyLock<Option<RedisCluster>> = LazyLock::new(|| {
        if skipped() {
            return None;
        }
        Some(match env::var(CLUSTER_URL) {
            Ok(url) => RedisCluster { url, nodes: Vec::new() },
            Err(_) => RedisCluster::start(Aof::EverySecond),
        })
    });
    said(SHARED.as_ref())
}

fn skipped() -> bool {
    env::var(SKIP).is_ok_and(|skip| skip == "1")
}

fn said<T>(server: Option<&T>) -> Option<&T> {
    if server.is_none() {
        // Not by `eprintln`, which a passing test would keep to itself.
        let _ = writeln!(std::io::stderr(), "NOT RUN, since {SKIP}=1: a test that needs Redis");
    }
    server
}

impl Redis {
    /// Starts a server of its own, on a free port of this machine.
    ///
    /// # Panics
    ///
    /// If there is no Redis, or it does not start; the message tells why.
    #[must_use]
    pub fn start(aof: Aof) -> Self {
        Self::start_with(aof, &[])
    }

    /// Starts a server of its own with these settings, as on its command line: `["--maxmemory", "10mb"]`.
    ///
    /// # Panics
    ///
    /// As for [`start`](Self::start).
    #[must_use]
    pub fn start_with(aof: Aof, settings: &[&str]) -> Self {
        let server = Self::launch(aof, settings);
        server.await_ready();
        server
    }

    fn launch(aof: Aof, settings: &[&str]) -> Self {
        let found = Command::new("redis-server").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        assert!(found.is_ok_and(|found| found.success()), "Redis is not installed. {HOW}");
        let folder = tempfile::Builder::new().prefix("rekindle-redis-").tempdir().expect("a temporary folder");
        let [port, bus] = free_ports();
        // From here on the shell removes the folder.
        let home = folder.keep();
        let (appendonly, appendfsync) = match aof {
            Aof::Off => ("no", "everysec"),
            Aof::EverySecond => ("yes", "everysec"),
            Aof::Always => ("yes", "always"),
        };
        let mut shell = Command::new("sh");
        shell.args(["-c", WATCHDOG, "watchdog"]).arg(&home).current_dir(&home);
        shell.args(["--port", &port.to_string(), "--cluster-port", &bus.to_string(), "--bind", "127.0.0.1"]);
        shell.arg("--dir").arg(&home).args(["--save", "", "--daemonize", "no", "--enable-debug-command", "local"]);
        shell.args(["--appendonly", appendonly, "--appendfsync", appendfsync]).args(settings);
        let mut shell = shell
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("a shell");
        let answers = BufReader::new(shell.stdout.take().expect("its output"));
        let watchdog = Watchdog { shell, answers: answers.into(), home };
        let server = Self { url: format!("redis://127.0.0.1:{port}"), port, watchdog: Some(watchdog) };
        server.hear("started");
        server
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its port; 0 for a server of your own.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Kills the server as `kill -9` does, and waits for its end.
    ///
    /// # Panics
    ///
    /// If it is a server of your own.
    pub fn kill(&self) {
        self.order("kill", "killed");
    }

    /// Stops the server in order.
    ///
    /// # Panics
    ///
    /// If it is a server of your own.
    pub fn stop(&self) {
        self.order("stop", "stopped");
    }

    /// Stops the server's time: it takes what is sent to it, and does nothing, until it is resumed.
    ///
    /// # Panics
    ///
    /// If it is a server of your own.
    pub fn pause(&self) {
        self.order("pause", "paused");
    }

    /// Lets a paused server go on.
    ///
    /// # Panics
    ///
    /// If it is a server of your own.
    pub fn resume(&self) {
        self.order("resume", "resumed");
    }

    /// Starts the server again, and waits until it answers.
    ///
    /// # Panics
    ///
    /// If it is a server of your own, or does not start.
    pub fn restart(&self) {
        self.order("start", "started");
        self.await_ready();
    }

    /// Starts the server again, and does not wait for it.
    ///
    /// # Panics
    ///
    /// If it is a server of your own.
    pub fn begin_restart(&self) {
        self.order("start", "started");
    }

    /// The answer to a command, as `redis-cli` gives it.
    ///
    /// # Panics
    ///
    /// If it is a server of your own, or `redis-cli` cannot be run.
    #[must_use]
    pub fn cli(&self, args: &[&str]) -> String {
        let _ = self.watchdog();
        let output = Command::new("redis-cli")
            .args(["-p", &self.port.to_string()])
            .args(args)
            .stdin(Stdio::null())
            .output()
            .unwrap_or_else(|error| panic!("redis-cli cannot be run: {error}. {HOW}"));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
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
            assert!(Instant::now() < deadline, "Redis did not start: {}", self.log());
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Whether it answers a ping, and not that it is loading.
    fn is_ready(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)) else { return false };
        let mut answer = [0; 5];
        stream.write_all(b"PING\r\n").is_ok() && stream.read_exact(&mut answer).is_ok() && answer == *b"+PONG"
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
        let mut line = String::new();
        let mut answers = self.watchdog().answers.lock().unwrap_or_else(PoisonError::into_inner);
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

/// A cluster of six servers, three of them replicas, that run until this is dropped, or until the process ends.
#[derive(Debug)]
pub struct RedisCluster {
    url: String,
    nodes: Vec<Redis>,
}

impl RedisCluster {
    /// Starts a cluster of its own, on this machine.
    ///
    /// # Panics
    ///
    /// If there is no Redis, or it does not start; the message tells why.
    #[must_use]
    pub fn start(aof: Aof) -> Self {
        let settings =
            ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--repl-diskless-sync-delay", "0"];
        let nodes: Vec<Redis> = (0..6).map(|_| Redis::launch(aof, &settings)).collect();
        nodes.iter().for_each(Redis::await_ready);
        let hosts: Vec<String> = nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)).collect();
        let created = Command::new("redis-cli")
            .args(["--cluster", "create"])
            .args(&hosts)
            .args(["--cluster-replicas", "1", "--cluster-yes"])
            .stdin(Stdio::null())
            .output()
            .unwrap_or_else(|error| panic!("redis-cli cannot be run: {error}. {HOW}"));
        assert!(created.status.success(), "no cluster: {}", String::from_utf8_lossy(&created.stdout));
        let cluster = Self { url: format!("redis+cluster://{}", hosts.join(",")), nodes };
        let deadline = Instant::now() + Duration::from_secs(300);
        while !cluster.is_whole() {
            assert!(Instant::now() < deadline, "the cluster does not come together");
            thread::sleep(Duration::from_millis(20));
        }
        cluster
    }

    /// Whether every node knows all slots, and every replica follows its primary.
    fn is_whole(&self) -> bool {
        self.nodes.iter().all(|node| {
            let replication = node.cli(&["info", "replication"]);
            node.cli(&["cluster", "info"]).contains("cluster_state:ok")
                && (replication.contains("role:master") && replication.contains("connected_slaves:1")
                    || replication.contains("master_link_status:up"))
        })
    }

    /// Its URL, with all nodes.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its nodes; none for a cluster of your own.
    #[must_use]
    pub fn nodes(&self) -> &[Redis] {
        &self.nodes
    }

    /// The primary that has the slot of a key, and that slot.
    ///
    /// # Panics
    ///
    /// If it is a cluster of your own, or no node has the slot.
    #[must_use]
    pub fn primary_of(&self, key: &str) -> (&Redis, u16) {
        let slot = self.nodes.iter().find_map(|node| node.cli(&["cluster", "keyslot", key]).parse::<u16>().ok());
        let slot = slot.expect("a node that answers");
        let primary = self.nodes.iter().find(|node| {
            let nodes = node.cli(&["cluster", "nodes"]);
            let own = nodes.lines().find(|line| line.contains("myself,master"));
            own.is_some_and(|own| own.split(' ').skip(8).any(|slots| has(slots, slot)))
        });
        (primary.expect("a primary with the slot"), slot)
    }
}

/// Whether a range of slots, as `CLUSTER NODES` writes it, has this one.
fn has(slots: &str, slot: u16) -> bool {
    let (first, last) = slots.split_once('-').unwrap_or((slots, slots));
    match (first.parse::<u16>(), last.parse::<u16>()) {
        (Ok(first), Ok(last)) => (first..=last).contains(&slot),
        _ => false,
    }
}

/// A prefix for keys that no other test has.
#[must_use]
pub fn fresh_prefix() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let since = std::time::UNIX_EPOCH.elapsed().unwrap_or_default().as_micros();
    format!("test-{}-{since}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Two ports that nobody listens on at the moment.
fn free_ports() -> [u16; 2] {
    let listeners = [(); 2].map(|()| TcpListener::bind(("127.0.0.1", 0)).expect("a free port"));
    listeners.map(|listener| listener.local_addr().expect("its address").port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_gone_with_its_folder_when_it_is_dropped() {
        if redis().is_none() {
            return;
        }
        let server = Redis::start(Aof::Always);
        let home = server.path("");
        assert_eq!(server.cli(&["set", "a", "1"]), "OK");
        server.kill();
        server.restart();
        assert_eq!(server.cli(&["get", "a"]), "1");
        drop(server);
        assert!(!home.exists());
    }
}
