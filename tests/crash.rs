//! A process that records, or that replays, is killed again and again on the same folder. `REKINDLE_KILL_ROUNDS` sets how
//! often (default 5).

#![cfg(all(feature = "derive", feature = "memory", feature = "sled"))]
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, missing_docs, reason = "tests")]

mod shop;

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::hash::{BuildHasher, RandomState};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use rekindle::store::LogState;
use rekindle::{ErrorKind, Event, Log, Rekindle};
use shop::*;

const FOLDER: &str = "REKINDLE_CRASH_FOLDER";
const ARGUMENT: &str = "REKINDLE_CRASH_ARGUMENT";
const CALLERS: u64 = 8;
const LABELS: u64 = 4_000;

async fn start(folder: &Path) -> Log {
    let builder = Rekindle::open(format!("sled:{}", folder.display()));
    builder.resource::<Account>().resource::<Label>().start().await.unwrap()
}

fn rounds() -> usize {
    env::var("REKINDLE_KILL_ROUNDS").map_or(5, |rounds| rounds.parse().unwrap())
}

/// What the children run: until they are killed.
async fn in_a_child<F: Future<Output = ()>>(work: impl FnOnce(Log, String) -> F) {
    let (Ok(folder), Ok(argument)) = (env::var(FOLDER), env::var(ARGUMENT)) else { return };
    let log = start(folder.as_ref()).await;
    println!("open");
    work(log, argument).await;
}

/// A child process, and the lines that it tells.
struct Victim {
    child: Child,
    lines: Receiver<String>,
}

impl Victim {
    /// Starts it, and waits until it has the folder open.
    fn start(test: &str, folder: &Path, argument: &str) -> Self {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["--exact", test, "--ignored", "--nocapture"]).env(FOLDER, folder).env(ARGUMENT, argument);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = mpsc::channel();
        let output = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || output.lines().map_while(Result::ok).for_each(|line| drop(sender.send(line))));
        let victim = Self { child, lines };
        // The test harness writes the test's name before it, on the same line.
        while !victim.lines.recv_timeout(Duration::from_secs(300)).unwrap().ends_with("open") {}
        victim
    }

    /// Kills it at some moment of this span of time, and gives what it told until then.
    fn kill_within(mut self, span: Duration) -> Vec<String> {
        let random = RandomState::new().hash_one(Instant::now()) % 1_000;
        let kill_at = Instant::now() + span * u32::try_from(random).unwrap() / 1_000;
        let mut told = Vec::new();
        // Until its time has come, or it has ended.
        while let Ok(line) = self.lines.recv_timeout(kill_at.saturating_duration_since(Instant::now())) {
            told.push(line);
        }
        self.child.kill().unwrap();
        assert!(!self.child.wait().unwrap().success(), "the child ended by itself");
        told.extend(self.lines.iter());
        told
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it is run by another test, in a process of its own"]
async fn record() {
    in_a_child(async |log, first| {
        let first: u64 = first.parse().unwrap();
        let callers = (0..CALLERS).map(|caller| {
            let log = log.clone();
            tokio::spawn(async move {
                for n in (first + caller..).step_by(usize::try_from(CALLERS).unwrap()) {
                    let mut unit = session(&log).begin().unwrap();
                    unit.create(print(2 * n)).await.unwrap();
                    unit.create(print(2 * n + 1)).await.unwrap();
                    unit.update(&(2 * n), Stick { slot: slot(&n.to_string()) }).await.unwrap();
                    unit.commit().await.unwrap();
                    println!("ack {n}.");
                }
            })
        });
        for caller in callers.collect::<Vec<_>>() {
            caller.await.unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn recording_that_is_killed_loses_nothing_acknowledged_and_leaves_no_half_commit() {
    let folder = tempfile::tempdir().unwrap();
    let (mut acknowledged, mut next) = (BTreeSet::new(), 0);
    for round in 0..rounds() {
        let victim = Victim::start("record", folder.path(), &next.to_string());
        let told = victim.kill_within(Duration::from_millis(600));
        // The last line may be cut by the kill: a whole one ends in a dot.
        let acks = told.iter().filter_map(|line| line.strip_prefix("ack ")?.strip_suffix('.')?.parse::<u64>().ok());
        acknowledged.extend(acks);

        let log = start(folder.path()).await;
        let events = events(&log).await;
        assert_eq!(log.head().await.unwrap().position.get(), events.len() as u64, "round {round}");
        assert!(events.iter().zip(1..).all(|(event, position)| event.position.get() == position), "round {round}");
        assert_eq!(events.len() % 3, 0, "round {round}: half a commit");
        let mut expected = BTreeMap::new();
        for commit in events.chunks(3) {
            let n = recorded(commit);
            expected.insert(2 * n, slot(&n.to_string()));
            expected.insert(2 * n + 1, None);
            acknowledged.remove(&n);
            next = next.max(n + 1);
        }
        assert_eq!(acknowledged, BTreeSet::new(), "round {round}: acknowledged, and lost");
        acknowledged.clear();
        assert_eq!(labels(&log).await, expected, "round {round}: the records are not those of the events");
        if round + 1 == rounds() {
            assert!(!expected.is_empty(), "nothing was ever recorded");
            log.replay().await.unwrap();
            assert_eq!(labels(&log).await, expected);
        }
        log.shutdown().await.unwrap();
    }
}

/// Which commit of the child this is; it fails if it is torn.
fn recorded(commit: &[Event]) -> u64 {
    let seen: Vec<_> = commit.iter().map(|event| (event.action.as_str(), event.record_id.as_str())).collect();
    let n = commit[0].record_id.as_str().parse::<u64>().unwrap() / 2;
    let (even, odd) = ((2 * n).to_string(), (2 * n + 1).to_string());
    assert_eq!(seen, [("print", &*even), ("print", &*odd), ("stick", &*even)], "a torn commit");
    n
}

async fn labels(log: &Log) -> BTreeMap<u64, Option<String>> {
    all::<Label>(log).await.into_iter().map(|label| (label.id, label.slot)).collect()
}

/// A log of labels that are made, stuck to a slot, and in part peeled off again.
async fn recorded_labels(folder: &Path) -> BTreeMap<u64, Option<String>> {
    let log = start(folder).await;
    for some in (0..LABELS).collect::<Vec<_>>().chunks(200) {
        let mut unit = session(&log).begin().unwrap();
        for id in some {
            unit.create(print(*id)).await.unwrap();
            unit.update(id, Stick { slot: slot(&id.to_string()) }).await.unwrap();
            if id % 3 == 0 {
                unit.destroy(id, Peel {}).await.unwrap();
            }
        }
        unit.commit().await.unwrap();
    }
    let labels = labels(&log).await;
    log.shutdown().await.unwrap();
    labels
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it is run by another test, in a process of its own"]
async fn replay() {
    in_a_child(async |log, mode| {
        loop {
            // A small window, so that it loads all the time.
            let replay = log.replay().memory(64 << 10);
            if mode == "in place" {
                replay.in_place().await.unwrap()
            } else {
                replay.await.unwrap()
            };
            println!("replayed");
        }
    })
    .await;
}

#[tokio::test]
async fn e1_a_replay_that_is_killed_leaves_the_old_state_whole_and_the_next_one_succeeds() {
    let folder = tempfile::tempdir().unwrap();
    let expected = recorded_labels(folder.path()).await;
    for round in 0..rounds() {
        let told = Victim::start("replay", folder.path(), "shadow").kill_within(Duration::from_millis(1_500));
        let log = start(folder.path()).await;
        assert_eq!(log.head().await.unwrap().state, LogState::Live, "round {round}");
        assert_eq!(labels(&log).await, expected, "round {round}, after {} replays", told.len());
        log.replay().await.unwrap();
        assert_eq!(labels(&log).await, expected, "round {round}, replayed");
        session(&log).update(&1, Stick { slot: slot(&format!("round {round}")) }).await.unwrap();
        session(&log).update(&1, Stick { slot: slot("1") }).await.unwrap();
        log.shutdown().await.unwrap();
    }
}

#[tokio::test]
async fn p25_a_replay_in_place_that_is_killed_says_so_until_the_next_one_has_finished() {
    let folder = tempfile::tempdir().unwrap();
    let expected = recorded_labels(folder.path()).await;
    for round in 0..rounds() {
        Victim::start("replay", folder.path(), "in place").kill_within(Duration::from_millis(1_500));
        let log = start(folder.path()).await;
        match log.head().await.unwrap().state {
            LogState::Live => assert_eq!(labels(&log).await, expected, "round {round}"),
            state => {
                assert_eq!(state, LogState::Rebuilding, "round {round}");
                let message = "the records of main are being rebuilt in place, and the rebuild has not finished";
                let error = log.get::<Label>(&1).await.unwrap_err();
                assert_eq!((error.kind(), error.message()), (&ErrorKind::Rebuilding, message));
                let error = session(&log).create(print(LABELS)).await.unwrap_err();
                assert_eq!((error.kind(), error.message()), (&ErrorKind::Rebuilding, message));
            }
        }
        log.replay().await.unwrap();
        assert_eq!(labels(&log).await, expected, "round {round}, replayed");
        log.shutdown().await.unwrap();
    }
}

#[tokio::test]
async fn a_second_process_on_the_same_folder_is_told_so() {
    let folder = tempfile::tempdir().unwrap();
    let victim = Victim::start("record", folder.path(), "0");
    let url = format!("sled:{}", folder.path().display());
    let error = Rekindle::open(url).start().await.err().unwrap();
    let expected = format!(
        "the folder {} is open already, by another process or by another handle in this one",
        folder.path().display()
    );
    assert_eq!((error.kind(), error.message()), (&ErrorKind::Unavailable, expected.as_str()));
    victim.kill_within(Duration::ZERO);
    start(folder.path()).await.shutdown().await.unwrap();
}
