//! `kill -9` of the server and of a client, again and again, under load: nothing that was acknowledged is lost, nothing is
//! there by half, positions are dense, and the log goes on. `REKINDLE_KILL_ROUNDS` sets how often (default 3).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "tests")]

mod common;

use std::collections::HashMap;
use std::env;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use common::{commit, create, log};
use rekindle_core::ErrorKind;
use rekindle_core::store::{EventStore, ResourceStore, ResourceStoreExt};
use rekindle_core::types::{Commit, Event, EventId, EventQuery, Position, RecordQuery};
use rekindle_postgres::{PostgresBackend, PostgresConfig};
use rekindle_test_servers::{Fsync, Postgres};

const CALLERS: usize = 64;
const URL: &str = "REKINDLE_KILL_URL";
const SCHEMA: &str = "REKINDLE_KILL_SCHEMA";

type Acknowledged = Mutex<HashMap<Position, EventId>>;

fn rounds() -> usize {
    env::var("REKINDLE_KILL_ROUNDS").map_or(3, |rounds| rounds.parse().unwrap())
}

/// Between 50 and 305 ms.
fn moment() -> Duration {
    Duration::from_millis(50 + u64::from(EventId::generate().as_uuid().as_bytes()[15]))
}

/// Two events and two records, which belong together.
fn pair() -> Commit {
    let id = EventId::generate();
    let identity = format!("{id}@example.org");
    commit(vec![
        create(&format!("{id}-1"), r#"{"n":1}"#, Some(&identity)),
        create(&format!("{id}-2"), r#"{"n":2}"#, None),
    ])
}

fn note(acknowledged: &Acknowledged, position: Position, id: EventId) {
    let twice = acknowledged.lock().unwrap().insert(position, id);
    assert!(twice.is_none_or(|before| before == id), "position {position} was acknowledged for two events");
}

#[test]
fn nothing_acknowledged_is_lost_by_a_kill_of_the_server() {
    common::server();
    let server = Postgres::start(Fsync::On);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let config = common::config(&server).with_max_connections(8).with_acquire_timeout(Duration::from_secs(5));
        let store = common::open(&server, &config).await;
        let (acknowledged, stop) = (Arc::new(Acknowledged::default()), Arc::new(AtomicBool::new(false)));
        let callers: Vec<_> = (0..CALLERS)
            .map(|caller| {
                let (store, acknowledged, stop) = (store.clone(), Arc::clone(&acknowledged), Arc::clone(&stop));
                tokio::spawn(async move {
                    while !stop.load(Ordering::SeqCst) {
                        persist(&store, &acknowledged, caller).await;
                    }
                })
            })
            .collect();
        for round in 0..rounds() {
            let before = acknowledged.lock().unwrap().len();
            tokio::time::sleep(moment()).await;
            tokio::task::block_in_place(|| {
                server.kill();
                server.restart();
            });
            // The same store goes on, without being opened again.
            let deadline = Instant::now() + Duration::from_secs(120);
            while acknowledged.lock().unwrap().len() == before {
                assert!(Instant::now() < deadline, "round {round}: the store did not heal");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        stop.store(true, Ordering::SeqCst);
        for caller in callers {
            caller.await.unwrap();
        }
        let events = check(&store, &acknowledged).await;
        let acknowledged = acknowledged.lock().unwrap().len();
        println!("{} rounds: {acknowledged} acknowledged, {events} stored", rounds());
        // Every lost answer was asked for again, so that here all that is stored is acknowledged.
        assert_eq!(acknowledged * 2, events);
    });
}

/// Commits until it knows what became of it: a lost answer is asked for again, with the same event ids.
async fn persist(store: &PostgresBackend, acknowledged: &Acknowledged, caller: usize) {
    let mut batch: Vec<Commit> = (0..1 + caller % 3).map(|_| pair()).collect();
    while !batch.is_empty() {
        let answers = store.commit(batch.clone().into()).await;
        let mut left = Vec::new();
        for (commit, answer) in batch.into_iter().zip(answers) {
            match answer {
                Ok(committed) => {
                    note(acknowledged, committed.events[0].position, commit.events().next().unwrap().id);
                }
                Err(error) => {
                    let kind = error.kind();
                    assert!(matches!(kind, ErrorKind::Unavailable | ErrorKind::Indeterminate), "{error:?}");
                    left.push(commit);
                }
            }
        }
        batch = left;
        if !batch.is_empty() {
            // The server is away for a moment.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// The child: commits until it is killed, and tells each commit that it got an answer for.
#[test]
#[ignore = "it is run by the other test, in a process of its own"]
fn child() {
    let Ok(url) = env::var(URL) else { return };
    let config = PostgresConfig::new().with_schema(env::var(SCHEMA).unwrap()).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let store = PostgresBackend::connect_with(&url, config).await.unwrap();
        println!("open");
        let callers = (0..CALLERS).map(|caller| tokio::spawn(commits(store.clone(), caller)));
        for caller in callers.collect::<Vec<_>>() {
            caller.await.unwrap();
        }
    });
}

async fn commits(store: PostgresBackend, caller: usize) {
    for _ in 0_u64.. {
        let batch: Vec<Commit> = (0..1 + caller % 3).map(|_| pair()).collect();
        let ids: Vec<_> = batch.iter().map(|commit| commit.events().next().unwrap().id).collect();
        for (answer, id) in store.commit(batch.into()).await.into_iter().zip(ids) {
            println!("ack {} {id}", answer.unwrap().events[0].position);
        }
    }
}

#[test]
fn nothing_acknowledged_is_lost_by_a_kill_of_a_client() {
    common::server();
    let server = Postgres::start(Fsync::On);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let config = common::config(&server);
    let store = runtime.block_on(common::open(&server, &config));
    let acknowledged = Acknowledged::default();
    for round in 0..rounds() {
        let before = acknowledged.lock().unwrap().len();
        run_and_kill(&server, &config, &acknowledged);
        assert!(acknowledged.lock().unwrap().len() > before, "round {round}: nothing was acknowledged");
        // Another process goes on at once: what the killed one held is free.
        runtime.block_on(async {
            persist(&store, &acknowledged, 0).await;
            check(&store, &acknowledged).await;
        });
    }
}

/// Runs the child for a moment, and takes down what it tells until its end.
fn run_and_kill(server: &Postgres, config: &PostgresConfig, acknowledged: &Acknowledged) {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "child", "--ignored", "--nocapture"]);
    command.env(URL, server.url()).env(SCHEMA, config.schema.as_str());
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let (sender, lines) = mpsc::channel();
    let output = BufReader::new(child.stdout.take().unwrap());
    let reader = thread::spawn(move || output.lines().map_while(Result::ok).for_each(|line| drop(sender.send(line))));
    let mut kill_at = Instant::now() + Duration::from_secs(120);
    let mut acks = 0;
    while let Ok(line) = lines.recv_timeout(kill_at.saturating_duration_since(Instant::now())) {
        take_down(&line, acknowledged);
        acks += usize::from(line.starts_with("ack"));
        if acks == 1 {
            kill_at = kill_at.min(Instant::now() + moment());
        }
    }
    child.kill().unwrap();
    assert!(!child.wait().unwrap().success(), "the child ended by itself");
    reader.join().unwrap();
    lines.iter().for_each(|line| take_down(&line, acknowledged));
}

fn take_down(line: &str, acknowledged: &Acknowledged) {
    let Some(told) = line.strip_prefix("ack ") else { return };
    // The last line may be cut off by the kill.
    if let Some((position, id)) = told.split_once(' ')
        && let (Ok(position), Ok(id), 36) = (position.parse(), id.parse(), id.len())
    {
        note(acknowledged, Position::new(position), EventId::from_uuid(id));
    }
}

/// Looks at everything that is stored; gives the number of events.
async fn check(store: &PostgresBackend, acknowledged: &Acknowledged) -> usize {
    let events = all_events(store).await;
    // Nobody commits now but servers' sessions that have not noticed yet that their client was killed.
    let head = store.head(&log()).await.unwrap().position;
    assert!(head.get() >= u64::try_from(events.len()).unwrap(), "the head is below the last event");
    for (event, position) in events.iter().zip(1..) {
        assert_eq!(event.position, Position::new(position), "positions have a gap");
    }
    for (position, id) in acknowledged.lock().unwrap().iter() {
        let event = events.get(usize::try_from(position.get()).unwrap() - 1);
        assert_eq!(event.map(|event| event.id), Some(*id), "an acknowledged commit is lost, at {position}");
    }
    assert_eq!(events.len() % 2, 0, "half a commit");
    for pair in events.chunks(2) {
        let [first, second] = [&pair[0], &pair[1]].map(|event| event.record_id.as_str());
        assert_eq!(first.strip_suffix("-1"), second.strip_suffix("-2"), "a commit is torn");
    }
    let mut records = HashMap::new();
    let mut query = RecordQuery::new("shop.order".parse().unwrap()).with_limit(10_000);
    loop {
        let page = store.list(&log(), &query).await.unwrap();
        records.extend(page.items.into_iter().map(|record| (record.key.id.as_str().to_owned(), record.revision)));
        match page.next {
            Some(next) => query = query.with_cursor(next),
            None => break,
        }
    }
    for event in &events {
        assert_eq!(records.get(event.record_id.as_str()).copied(), event.revision, "a record is not that of its event");
    }
    let later = all_events(store).await;
    assert!(records.len() <= later.len(), "a record is there without its event");
    for event in events.iter().rev().take(50) {
        let record = store.get_one(&log(), &event.key()).await.unwrap().expect("a record");
        for identity in &record.identities {
            let found = store.find(&log(), &identity.of(&record.key.resource)).await.unwrap();
            assert_eq!(found.as_ref(), Some(&record));
        }
    }
    events.len()
}

async fn all_events(store: &PostgresBackend) -> Vec<Event> {
    let mut query = EventQuery::new().with_limit(10_000);
    let mut events = Vec::new();
    loop {
        let page = store.read(&log(), &query).await.unwrap();
        events.extend(page.items);
        match page.next {
            Some(next) => query = query.with_cursor(next),
            None => return events,
        }
    }
}
