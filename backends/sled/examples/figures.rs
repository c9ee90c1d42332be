//! Measures the backend beside a bare loop over sled: `cargo run --release -p rekindle-sled --example figures [folder]`.
//!
//! The bare loop writes the same rows, encoded beforehand, with one batch, one flush and one fsync for each batch of
//! commits. Both take turns in one run, on the same disk.

#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs, reason = "an example")]

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rekindle_core::codec::encode;
use rekindle_core::store::{EventStore, LoadedRecord, RebuildMode, ResourceStore};
use rekindle_core::types::{
    ActionName, ActionType, Actor, Change, Commit, Event, EventId, EventQuery, Expected, IdentityValue, Json, LockKey,
    LogId, NewEvent, Payload, Position, RecordKey, RecordWrite, Revision, Timestamp, WriteState,
};
use rekindle_sled::{SledBackend, SledConfig};

const COMMITS: usize = 128;
const BATCHES: usize = 40;
const ROUNDS: usize = 5;
const RECORDS: u64 = 200_000;
const LOCK: LockKey = LockKey::One(1);

#[tokio::main]
async fn main() {
    let folder: PathBuf = std::env::args().nth(1).unwrap_or_else(|| ".".into()).into();
    let folder = tempfile::TempDir::new_in(folder).unwrap();
    let store = SledBackend::open_with(folder.path().join("store"), SledConfig::new()).await.unwrap();
    let log = LogId::new("main").unwrap();

    for with_identity in [false, true] {
        let (raw, raw_file) = open_raw(&folder.path().join(format!("raw-{with_identity}")));
        let (mut ours, mut theirs, mut position) = (Duration::ZERO, Duration::ZERO, 0);
        for _ in 0..ROUNDS {
            let batches: Vec<Vec<Commit>> =
                (0..BATCHES).map(|_| (0..COMMITS).map(|_| commit(&log, with_identity)).collect()).collect();
            let rows: Vec<Vec<_>> = batches.iter().map(|batch| rows_of(batch, &mut position)).collect();
            let begun = Instant::now();
            for rows in rows {
                let mut batch = sled::Batch::default();
                rows.into_iter().for_each(|(key, row)| batch.insert(key, row));
                raw.apply_batch(batch).unwrap();
                raw.flush().unwrap();
                raw_file.sync_data().unwrap();
            }
            theirs += begun.elapsed();
            let begun = Instant::now();
            for batch in batches {
                assert!(store.commit(batch).await.iter().all(Result::is_ok));
            }
            ours += begun.elapsed();
        }
        let commits = ROUNDS * BATCHES * COMMITS;
        let (ours, theirs) = (rate(commits, ours), rate(commits, theirs));
        println!(
            "commits/s at {COMMITS} a batch, identity {with_identity}: {ours:.0}, bare {theirs:.0}, ratio {:.2}",
            ours / theirs
        );
    }

    let (raw, _) = open_raw(&folder.path().join("raw-true"));
    let begun = Instant::now();
    let events =
        raw.scan_prefix([3]).map(|row| rekindle_core::codec::decode::<Event>(&row.unwrap().1).unwrap()).count();
    println!("events/s, bare: {:.0}", rate(events, begun.elapsed()));
    for limit in [1_000, 10_000] {
        let begun = Instant::now();
        let mut query = EventQuery::new().with_limit(limit);
        let mut events = 0;
        loop {
            let page = store.read(&log, &query).await.unwrap();
            events += page.items.len();
            let Some(next) = page.next else { break };
            query = query.with_cursor(next);
        }
        println!("events/s in pages of {limit}: {:.0}", rate(events, begun.elapsed()));
    }

    for with_identity in [false, true] {
        let rebuild = store.begin_rebuild(&log, LOCK, RebuildMode::Shadow).await.unwrap();
        let records: Vec<LoadedRecord> = (0..RECORDS).map(|n| loaded(n, with_identity)).collect();
        let keys: Vec<RecordKey> = records.iter().map(|record| record.key.clone()).collect();
        let rows: Vec<_> = records.iter().map(bare_rows).collect();
        let begun = Instant::now();
        for (key, row) in rows.into_iter().flatten() {
            raw.insert(key, row).unwrap();
        }
        println!("records/s by bare inserts, identity {with_identity}: {:.0}", rate(records.len(), begun.elapsed()));
        raw.flush().unwrap();
        let begun = Instant::now();
        for chunk in records.chunks(10_000) {
            store.load(&rebuild, chunk.to_vec()).await.unwrap();
        }
        println!("records/s by load, identity {with_identity}: {:.0}", rate(records.len(), begun.elapsed()));
        let begun = Instant::now();
        for chunk in keys.chunks(10_000) {
            assert!(store.loaded(&rebuild, chunk).await.unwrap().iter().all(Option::is_some));
        }
        println!("records/s by loaded: {:.0}", rate(keys.len(), begun.elapsed()));
        let begun = Instant::now();
        let fence = store.fence(&rebuild).await.unwrap();
        let head = store.head(&log).await.unwrap().position;
        store.finish_rebuild(rebuild, fence, head).await.unwrap();
        println!("finish: {:?}", begun.elapsed());
    }
}

fn rate(count: usize, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64()
}

fn open_raw(folder: &Path) -> (sled::Db, File) {
    let raw = sled::Config::new().path(folder).cache_capacity(256 << 20).flush_every_ms(None).open().unwrap();
    (raw, File::options().write(true).open(folder.join("db")).unwrap())
}

fn commit(log: &LogId, with_identity: bool) -> Commit {
    let id = EventId::generate();
    let key = RecordKey::new("accounts.user", id.to_string()).unwrap();
    let attributes =
        Json::parse(format!(r#"{{"id":"{id}","name":"{}","email":"{id}@example.org","plan":"free"}}"#, "n".repeat(90)))
            .unwrap();
    let event = NewEvent {
        id,
        resource: key.resource.clone(),
        record_id: key.id.clone(),
        action: ActionName::new("register").unwrap(),
        action_type: ActionType::Create,
        version: 1,
        actor: Some(Actor::new("user", "42").unwrap()),
        data: Payload::Json(attributes.clone()),
        changed_attributes: Payload::empty(),
        removed_attributes: Vec::new(),
        metadata: Payload::Json(Json::parse(r#"{"request_id":"f81d4fae"}"#).unwrap()),
        occurred_at: Timestamp::now(),
    };
    let identities = if with_identity {
        vec![IdentityValue::new("email", format!("{id}@example.org")).unwrap()]
    } else {
        Vec::new()
    };
    let write = RecordWrite { key, expected: Expected::Absent, state: Some(WriteState { attributes, identities }) };
    let mut commit = Commit::new(log.clone(), LOCK);
    commit.changes.push(Change { event: Some(event), write: Some(write) });
    commit
}

/// The rows of a batch, as the backend writes them.
fn rows_of(batch: &[Commit], position: &mut u64) -> Vec<(Vec<u8>, Vec<u8>)> {
    let key = |tag: u8, parts: &[&[u8]]| [&[tag, 0, 0, 0, 1][..], &parts.concat()].concat();
    let mut rows = Vec::new();
    for change in batch.iter().flat_map(|commit| &commit.changes) {
        *position += 1;
        let (event, write) = (change.event.clone().unwrap(), change.write.as_ref().unwrap());
        let at = position.to_be_bytes();
        let (resource, id) = (event.resource.as_str().as_bytes(), event.record_id.as_str().as_bytes());
        let state = write.state.as_ref().unwrap();
        rows.push((key(4, &[event.id.as_uuid().as_bytes()]), at.to_vec()));
        rows.push((key(5, &[resource, &[0], id, &[0], &at]), Vec::new()));
        rows.push((key(6, &[&[0; 8], resource, &[0], id]), encode(&(Some(state), Revision::new(1))).unwrap()));
        for identity in &state.identities {
            let (name, value) = (identity.name.as_bytes(), identity.value.as_bytes());
            rows.push((key(7, &[&[0; 8], resource, &[0], name, &[0], value]), id.to_vec()));
        }
        let event =
            Event { position: Position::new(*position), revision: Some(Revision::new(1)), event: event.clone() };
        rows.push((key(3, &[&at]), encode(&event).unwrap()));
    }
    rows.push((key(2, &[]), encode(&(*position, 0_u64, 0_u32)).unwrap()));
    rows
}

/// The rows of a loaded record, encoded.
fn bare_rows(record: &LoadedRecord) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut rows = vec![(format!("6{}", record.key).into_bytes(), encode(&(&record.state, record.revision)).unwrap())];
    for identity in record.state.iter().flat_map(|state| &state.identities) {
        rows.push((
            format!("7{}{}", identity.name, identity.value).into_bytes(),
            record.key.id.as_str().as_bytes().to_vec(),
        ));
    }
    rows
}

fn loaded(n: u64, with_identity: bool) -> LoadedRecord {
    let key = RecordKey::new("accounts.user", format!("{:016x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15))).unwrap();
    let attributes = Json::parse(format!(r#"{{"id":"{n}","name":"{}","plan":"free"}}"#, "n".repeat(120))).unwrap();
    let identities =
        if with_identity { vec![IdentityValue::new("email", format!("{n}@example.org")).unwrap()] } else { Vec::new() };
    LoadedRecord { key, revision: Revision::new(1), state: Some(WriteState { attributes, identities }) }
}
