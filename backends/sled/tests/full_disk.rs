//! A disk with no room left (property 95): a typed error, nothing acknowledged lost, and the store goes on once there is
//! room. The limit on the size of files stands in for the disk: writes fail half-way, as they do there.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "tests")]

mod common;

use std::env;
use std::process::Command;

use common::{commit, create, log};
use rekindle_core::ErrorKind;
use rekindle_core::store::{EventStore, EventStoreExt, ResourceStoreExt};
use rekindle_core::types::EventQuery;
use rekindle_sled::SledBackend;
use tempfile::TempDir;

const FOLDER: &str = "REKINDLE_FULL_FOLDER";

/// The child: commits until it gets an error, and tells what it got.
#[tokio::test]
#[ignore = "it is run by the other test, in a process of its own"]
async fn child() {
    let Ok(folder) = env::var(FOLDER) else { return };
    let store = SledBackend::open(folder).await.unwrap();
    let text = format!(r#"{{"text":"{}"}}"#, "x".repeat(20_000));
    for n in 0.. {
        let answer = store.commit([commit(vec![create(&n.to_string(), &text, None)])].into()).await.remove(0);
        let Err(error) = answer else { continue };
        println!("\n{n} {} {error}", matches!(error.kind(), ErrorKind::Indeterminate | ErrorKind::Unavailable));
        // From now on everything is refused, reads too: what is in memory may never be on the disk. A commit may be the
        // retry of one that is, so that it is not refused as one that has not happened.
        let again = store.commit([commit(vec![create("again", "{}", None)])].into()).await.remove(0).unwrap_err();
        println!("{} {again}", matches!(again.kind(), ErrorKind::Indeterminate));
        let read = store.read(&log(), &EventQuery::new()).await.unwrap_err();
        println!("{} {read}", matches!(read.kind(), ErrorKind::Unavailable));
        return;
    }
}

#[tokio::test]
async fn a_full_disk_is_a_typed_error_and_nothing_acknowledged_is_lost() {
    let folder = TempDir::new().unwrap();
    // 6 MB; ignored, the signal leaves write() to fail.
    let limited = r#"trap "" XFSZ; ulimit -f 12288; exec "$0" --exact child --ignored --nocapture"#;
    let mut command = Command::new("sh");
    command.arg("-c").arg(limited).arg(env::current_exe().unwrap()).env(FOLDER, folder.path());
    let output = command.output().unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = told.lines().collect();
    let place = |line: &str| format!("{line}\n{told}\n{}", String::from_utf8_lossy(&output.stderr));
    let at = lines.iter().position(|line| line.contains(" true ")).unwrap_or_else(|| panic!("{}", place("no error")));
    assert!(lines[at].contains("File too large"), "{}", place("the first"));
    for line in &lines[at + 1..at + 3] {
        assert!(line.starts_with("true ") && line.contains("the store must be opened again"), "{}", place(line));
    }
    let acknowledged: usize = lines[at].split(' ').next().unwrap().parse().unwrap();
    assert!(acknowledged > 20, "{}", place("too few"));

    let store = SledBackend::open(folder.path()).await.unwrap();
    let events = store.count(&log(), EventQuery::new()).await.unwrap();
    // The one that failed may be there as a whole.
    let stored = usize::try_from(events).unwrap();
    assert!(stored == acknowledged || stored == acknowledged + 1, "{acknowledged} acknowledged, {stored} there");
    for n in 0..stored {
        let key = rekindle_core::types::RecordKey::new("shop.order", n.to_string()).unwrap();
        assert!(store.get_one(&log(), &key).await.unwrap().is_some(), "the record {n}");
    }
    let answer = store.commit([commit(vec![create("after", "{}", None)])].into()).await.remove(0);
    assert_eq!(answer.unwrap().events[0].position.get(), events + 1);
}
