//! What is sealed is nowhere in clear: not in the files of the store, not in a dump, not in what is traced, and not in what
//! a program prints. Each scan finds what is known to be there, so it would find the rest.

#![cfg(all(feature = "derive", feature = "memory", feature = "sled"))]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests")]

mod clinic;
mod shop;

use std::path::Path;
use std::process::Command;
use std::sync::{Arc, LazyLock};

use clinic::heard::Heard;
use clinic::{FIRST, Letter, Patient, SECOND, both, lived_in, open, patient, treat};
use futures::TryStreamExt;
use rekindle::postgres::{PostgresBackend, PostgresConfig};
use rekindle::redis::{RedisBackend, RedisConfig};
use rekindle::sled::SledBackend;
use rekindle::store::{ResourceStoreExt, Store};
use rekindle::types::{Payload, RecordQuery, ResourceName};
use rekindle::{EventQuery, VaultConfig};
use rekindle_test_servers::{Aof, Fsync, Postgres, Redis};
use shop::session;

/// What is sealed in these tests. Its length is a multiple of three, so that its base64 is found in that of what it is in,
/// at one of three places.
const SECRET: &str = "kqzv0planted1secret2xwjy";
/// What is in clear: the resource of events and records.
const CONTROL: &[u8] = b"clinic.letter";

/// What is traced in this program.
static HEARD: LazyLock<Heard> = LazyLock::new(|| {
    let heard = Heard::default();
    tracing::subscriber::set_global_default(heard.clone()).unwrap();
    heard
});

/// The ways in which bytes can be written: as they are, in hex, and in base64, wherever they begin in it.
fn needles(bytes: &[u8]) -> Vec<Vec<u8>> {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut needles = vec![bytes.to_vec(), hex.to_uppercase().into_bytes(), hex.into_bytes()];
    needles.extend((0..3).map(|skipped| base64(&bytes[skipped..])));
    needles
}

/// In the standard alphabet, of whole groups of three bytes.
fn base64(bytes: &[u8]) -> Vec<u8> {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let letters = |group: &[u8]| {
        let number = u32::from(group[0]) << 16 | u32::from(group[1]) << 8 | u32::from(group[2]);
        [18, 12, 6, 0].map(|shift| LETTERS[(number >> shift & 63) as usize])
    };
    bytes.chunks_exact(3).flat_map(letters).collect()
}

fn find(text: &[u8], needle: &[u8]) -> Option<usize> {
    let mut at = 0;
    while let Some(next) = text[at..].iter().position(|byte| *byte == needle[0]) {
        at += next;
        if text[at..].starts_with(needle) {
            return Some(at);
        }
        at += 1;
    }
    None
}

/// That neither the secret nor a key is in it.
#[track_caller]
fn is_clean(what: &str, text: &[u8]) {
    for (name, bytes) in [("the secret", SECRET.as_bytes()), ("a key", &FIRST), ("a key", &SECOND)] {
        for needle in needles(bytes) {
            if let Some(at) = find(text, &needle) {
                let around = &text[at.saturating_sub(80)..text.len().min(at + 120)];
                panic!("{what} has {name} at {at}: {}", String::from_utf8_lossy(around));
            }
        }
    }
}

/// That no file of a folder has it, and some file has the control.
#[track_caller]
fn files_are_clean(folder: &Path) {
    let (mut folders, mut controls) = (vec![folder.to_owned()], 0);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.is_file()
                && let Ok(bytes) = std::fs::read(&path)
            {
                is_clean(&path.display().to_string(), &bytes);
                controls += usize::from(find(&bytes, CONTROL).is_some());
            }
        }
    }
    assert!(controls > 0, "the scan of {} finds nothing at all", folder.display());
}

/// Records, fails, replays, forgets and rewraps, in logs of both modes; what a program prints in all of it is clean.
async fn live(store: &Arc<dyn Store>) {
    let heard = &*HEARD;
    for (name, config) in [
        ("everything", VaultConfig::new(both("first"))),
        ("sensitive", VaultConfig::new(both("first")).sensitive_only()),
    ] {
        is_clean("the configuration", format!("{config:?}{:?}", both("first")).as_bytes());
        let log = open(store, name, config).await;
        lived_in(&log, SECRET).await;
        let mut printed = Vec::new();
        let taken = clinic::Admit { insurance: Some(format!("{SECRET} number 1")), ..clinic::admit(9) };
        let error = session(&log).create(taken).await.unwrap_err();
        printed.push(format!("{error} {error:?}"));
        let error = session(&log).create(clinic::letter(1, 2, SECRET)).await.unwrap_err();
        printed.push(format!("{error} {error:?}"));
        log.replay().await.unwrap();
        session(&log).update(&2, treat(&format!("{SECRET} fever"))).await.unwrap();
        printed.push(format!("{:?}", log.replay().verify().await.unwrap()));
        let receipt = session(&log).forget(&patient(2), "article 17").await.unwrap();
        printed.push(format!("{receipt:?}"));
        let error = session(&log).update(&2, treat(SECRET)).await.unwrap_err();
        printed.push(format!("{error} {error:?}"));
        let newer = open(store, name, both("second")).await;
        let vault = newer.vault().unwrap();
        printed.push(format!("{:?} {vault:?} {newer:?}", vault.rewrap().await.unwrap()));
        printed.push(format!("{:?}", vault.export_keys().await.unwrap()));
        log.replay().await.unwrap();
        let shut: Vec<_> = log.stream(EventQuery::new()).try_collect().await.unwrap();
        let shut = shut.iter().filter_map(|event| event.data.json().err());
        printed.extend(shut.map(|error| format!("{error} {error:?}")));
        let printed = printed.join("\n");
        assert!(printed.contains("clinic.patient/2"), "what is printed names the subject");
        is_clean("what is printed", printed.as_bytes());
        nothing_is_left(store, &log).await;
        log.shutdown().await.unwrap();
        newer.shutdown().await.unwrap();
    }
    tracing::trace!(control = "clinic.letter", "at the finest level");
    let heard = heard.text();
    assert!(find(heard.as_bytes(), CONTROL).is_some(), "nothing is heard");
    is_clean("what is traced", heard.as_bytes());
}

/// What is in the store of a subject that was forgotten: neither a wrapped key nor anything that was sealed by it.
async fn nothing_is_left(store: &Arc<dyn Store>, log: &rekindle::Log) {
    let keys = store.key_store().unwrap();
    let row = keys.keys(log.id(), &[patient(2), patient(1)]).await.unwrap();
    let [forgotten, other] = [0, 1].map(|at| row[at].as_ref().unwrap().body.len());
    // A wrapped key has 106 bytes; this one has none, though it has a reason and a time.
    assert!(forgotten < 106 && other > 106 + 32, "{forgotten} {other}");
    let resource = ResourceName::new("clinic.letter").unwrap();
    let records: Vec<_> = store.stream_records(log.id(), RecordQuery::new(resource)).try_collect().await.unwrap();
    let sealed = |id: &str| {
        let record = records.iter().find(|record| record.key.id.as_str() == id).unwrap();
        record.attributes.as_str().contains("$sealed")
    };
    assert_eq!(["1", "2", "3", "4"].map(sealed), [false, false, false, true]);
    let letters: Vec<Letter> = shop::all(log).await;
    assert!(letters[3].text.as_ref().unwrap().contains(SECRET), "it opens: the secret was there");
    assert_eq!(log.get::<Patient>(&2).await.unwrap().unwrap().diagnosis, None);
    let raw = clinic::raw_events(store, log.id()).await;
    assert!(raw.iter().any(|event| !matches!(event.data, Payload::Redacted { .. })));
}

#[tokio::test]
async fn e9_the_files_of_sled_hold_neither_a_secret_nor_a_key() {
    let folder = tempfile::tempdir().unwrap();
    let backend = SledBackend::open(folder.path().join("data")).await.unwrap();
    let store: Arc<dyn Store> = Arc::new(backend.clone());
    live(&store).await;
    drop(store);
    backend.close().await;
    files_are_clean(folder.path());
}

#[tokio::test]
async fn e9_dumps_and_files_of_postgres_hold_neither_a_secret_nor_a_key() {
    if rekindle_test_servers::postgres().is_none() {
        return;
    }
    let server = Postgres::start(Fsync::Off);
    let schema = server.fresh_schema();
    let config = PostgresConfig::new().with_schema(&schema).unwrap();
    PostgresBackend::migrate(server.url(), &config).await.unwrap();
    let store: Arc<dyn Store> = Arc::new(PostgresBackend::connect_with(server.url(), config).await.unwrap());
    live(&store).await;
    let dump = Command::new("pg_dump").arg(server.url()).args(["--schema", &schema]).output().unwrap();
    assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
    assert!(find(&dump.stdout, CONTROL).is_some());
    is_clean("the dump", &dump.stdout);
    let checkpoint = Command::new("psql").arg(server.url()).args(["--command", "checkpoint"]).output().unwrap();
    assert!(checkpoint.status.success(), "{}", String::from_utf8_lossy(&checkpoint.stderr));
    // Tables, indexes and the write-ahead log.
    files_are_clean(&server.path("data/base"));
    files_are_clean(&server.path("data/pg_wal"));
    files_are_clean(&server.path(""));
}

#[tokio::test]
async fn e9_the_files_of_redis_hold_neither_a_secret_nor_a_key() {
    if rekindle_test_servers::redis().is_none() {
        return;
    }
    let server = Redis::start_with(Aof::Always, &["--rdbcompression", "no"]);
    let config = RedisConfig::new().with_prefix(rekindle_test_servers::fresh_prefix());
    let store: Arc<dyn Store> = Arc::new(RedisBackend::connect_with(server.url(), config).await.unwrap());
    live(&store).await;
    files_are_clean(&server.path("appendonlydir"));
    assert_eq!(server.cli(&["save"]), "OK");
    let dump = std::fs::read(server.path("dump.rdb")).unwrap();
    assert!(find(&dump, CONTROL).is_some());
    is_clean("the dump", &dump);
    files_are_clean(&server.path(""));
}

#[test]
fn a_scan_finds_a_secret_however_it_is_written() {
    for text in [
        format!("ab{SECRET}"),
        needles(SECRET.as_bytes())[1..].iter().map(|text| String::from_utf8_lossy(text).into_owned()).collect(),
        String::from_utf8(base64(format!("x{SECRET}yz").as_bytes())).unwrap(),
        String::from_utf8(base64(format!("xy{SECRET}z").as_bytes())).unwrap(),
        String::from_utf8(base64(&FIRST)).unwrap(),
    ] {
        assert!(std::panic::catch_unwind(|| is_clean("this", text.as_bytes())).is_err(), "{text}");
    }
    is_clean("another text", b"kqzv0planted1secret2xwjz");
}
