//! A process that is killed while it commits, again and again on the same folder: nothing that it acknowledged is lost,
//! and nothing is there by half. `REKINDLE_KILL_ROUNDS` sets how often (default 10).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "tests")]

mod common;

use std::collections::HashMap;
use std::env;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use common::{commit, create, log};
use rekindle_core::store::{EventStore, ResourceStore, ResourceStoreExt};
use rekindle_core::types::{Event, EventId, EventQuery, Identity, LockKey, LogId, Position, RecordQuery};
use rekindle_sled::SledBackend;
use tempfile::TempDir;

const FOLDER: &str = "REKINDLE_KILL_FOLDER";
const CALLERS: usize = 6;
/// The logs that the callers write to, each under a key of its own.
const LOGS: usize = 2;

fn log_of(caller: usize) -> (LogId, LockKey) {
    let tenant = caller % LOGS;
    (log().with_tenant(tenant.to_string()).unwrap(), LockKey::One(i64::try_from(tenant).unwrap()))
}

/// The child: commits until it is killed, and tells each commit that it got an answer for.
#[test]
#[ignore = "it is run by the other test, in a process of its own"]
fn child() {
    let Ok(folder) = env::var(FOLDER) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    runtime.block_on(async {
        let store = SledBackend::open(folder).await.unwrap();
        println!("open");
        let callers: Vec<_> = (0..CALLERS).map(|caller| tokio::spawn(commits(store.clone(), caller))).collect();
        for caller in callers {
            caller.await.unwrap();
        }
    });
}

async fn commits(store: SledBackend, caller: usize) {
    // Now and then a value that sled keeps in a file of its own.
    let (small, large) = (r#"{"n":1}"#.to_owned(), format!(r#"{{"text":"{}"}}"#, "x".repeat(200_000)));
    for n in 0_u64.. {
        let attributes = if n % 50 == 49 { &large } else { &small };
        let batch: Vec<_> = (0..1 + n % 3)
            .map(|_| {
                let id = EventId::generate();
                let changes = vec![
                    create(&format!("{id}-1"), attributes, Some(&format!("{id}@example.org"))),
                    create(&format!("{id}-2"), attributes, None),
                ];
                let mut commit = commit(changes);
                (commit.log, commit.lock) = log_of(caller);
                commit
            })
            .collect();
        let ids: Vec<_> = batch.iter().map(|commit| commit.events().next().unwrap().id).collect();
        for (answer, id) in store.commit(batch.into()).await.into_iter().zip(ids) {
            println!("ack {} {} {id}", caller % LOGS, answer.unwrap().events[0].position);
        }
    }
}

#[test]
fn nothing_acknowledged_is_lost_by_a_kill() {
    let rounds = env::var("REKINDLE_KILL_ROUNDS").map_or(10, |rounds| rounds.parse().unwrap());
    let folder = TempDir::new().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut acknowledged: Vec<HashMap<Position, EventId>> = vec![HashMap::new(); LOGS];
    for round in 0..rounds {
        let before: usize = acknowledged.iter().map(HashMap::len).sum();
        run_and_kill(folder.path(), &mut acknowledged);
        let after: usize = acknowledged.iter().map(HashMap::len).sum();
        assert!(after > before, "round {round}: nothing was acknowledged");
        runtime.block_on(check(folder.path(), &acknowledged, round));
    }
}

/// Runs the child for a moment, and takes down what it tells until its end.
fn run_and_kill(folder: &Path, acknowledged: &mut [HashMap<Position, EventId>]) {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "child", "--ignored", "--nocapture"]).env(FOLDER, folder);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let (sender, lines) = mpsc::channel();
    let output = BufReader::new(child.stdout.take().unwrap());
    let reader = thread::spawn(move || output.lines().map_while(Result::ok).for_each(|line| drop(sender.send(line))));

    let random = u64::from(EventId::generate().as_uuid().as_bytes()[15]);
    let mut kill_at = Instant::now() + Duration::from_secs(120);
    loop {
        match lines.recv_timeout(kill_at.saturating_duration_since(Instant::now())) {
            // From the first commit on.
            Ok(line) if line.ends_with("open") => kill_at = Instant::now() + Duration::from_millis(30 + random * 2),
            Ok(line) => take_down(&line, acknowledged),
            Err(RecvTimeoutError::Timeout) => break,
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    child.kill().unwrap();
    assert!(!child.wait().unwrap().success(), "the child ended by itself");
    reader.join().unwrap();
    lines.iter().for_each(|line| take_down(&line, acknowledged));
}

fn take_down(line: &str, acknowledged: &mut [HashMap<Position, EventId>]) {
    let Some(told) = line.strip_prefix("ack ") else { return };
    let words: Vec<_> = told.split(' ').collect();
    // The last line may be cut by the kill.
    if let [log, position, id] = words[..]
        && let (Ok(log), Ok(position), Ok(id)) = (log.parse::<usize>(), position.parse::<u64>(), id.parse())
    {
        let twice = acknowledged[log].insert(Position::new(position), EventId::from_uuid(id));
        assert!(twice.is_none(), "position {position} of log {log} was acknowledged twice: {line}");
    }
}

async fn check(folder: &Path, acknowledged: &[HashMap<Position, EventId>], round: usize) {
    let store = SledBackend::open(folder).await.unwrap();
    for (tenant, acknowledged) in acknowledged.iter().enumerate() {
        let (log, _) = log_of(tenant);
        let events = all_events(&store, &log).await;
        let head = store.head(&log).await.unwrap().position;
        assert_eq!(
            u64::try_from(events.len()).unwrap(),
            head.get(),
            "round {round}: the head is not at the last event"
        );
        for (event, position) in events.iter().zip(1..) {
            assert_eq!(event.position, Position::new(position), "round {round}: positions have a gap");
        }
        for (position, id) in acknowledged {
            let event = events.get(usize::try_from(position.get()).unwrap() - 1);
            assert_eq!(
                event.map(|event| event.id),
                Some(*id),
                "round {round}: an acknowledged commit is lost, at {position}"
            );
        }
        // Two events and two records a commit: side by side, and all of them or none.
        assert_eq!(events.len() % 2, 0, "round {round}: half a commit");
        for pair in events.chunks(2) {
            let [first, second] = [&pair[0], &pair[1]].map(|event| event.record_id.as_str());
            assert_eq!(first.strip_suffix("-1"), second.strip_suffix("-2"), "round {round}: a commit is torn");
        }
        let records = all_records(&store, &log).await;
        let mut by_event: Vec<_> = events.iter().map(|event| event.record_id.as_str().to_owned()).collect();
        by_event.sort();
        assert_eq!(records, by_event, "round {round}: the records are not those of the events");
        // The indexes, for the newest events: those were in flight.
        for event in events.iter().rev().take(200) {
            let by_id = store.read(&log, &EventQuery::new().with_id(event.id)).await.unwrap().items;
            let by_record = store.read(&log, &EventQuery::new().with_record(event.key())).await.unwrap().items;
            assert_eq!(
                (&by_id[..], &by_record[..]),
                (std::slice::from_ref(event), std::slice::from_ref(event)),
                "round {round}"
            );
            let record = store.get_one(&log, &event.key()).await.unwrap().expect("a record");
            for identity in &record.identities {
                let identity: Identity = identity.of(&record.key.resource);
                assert_eq!(store.find(&log, &identity).await.unwrap().as_ref(), Some(&record), "round {round}");
            }
        }
    }
    store.close().await;
}

async fn all_events(store: &SledBackend, log: &LogId) -> Vec<Event> {
    let mut query = EventQuery::new().with_limit(10_000);
    let mut events = Vec::new();
    loop {
        let page = store.read(log, &query).await.unwrap();
        events.extend(page.items);
        match page.next {
            Some(next) => query = query.with_cursor(next),
            None => return events,
        }
    }
}

async fn all_records(store: &SledBackend, log: &LogId) -> Vec<String> {
    let mut query = RecordQuery::new("shop.order".parse().unwrap()).with_limit(10_000);
    let mut records = Vec::new();
    loop {
        let page = store.list(log, &query).await.unwrap();
        records.extend(page.items.into_iter().map(|record| record.key.id.as_str().to_owned()));
        match page.next {
            Some(next) => query = query.with_cursor(next),
            None => return records,
        }
    }
}
