//! Raw calls that write the rows that Rekindle wrote, many commits in one call of one function.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{Cmd, cmd};
use rekindle_core::codec;
use rekindle_core::types::{Change, Commit, Expected, Json, LockKey, LogId, NewEvent, RecordWrite, WriteState};
use rekindle_test_servers::Redis;

use super::super::group::{self, Writer};
use super::super::report::Result;

const RESOURCE: &str = "bench.account";
/// The bytes of an event's row before the event.
const HEAD: usize = 21;
/// How many events one list holds.
const SEGMENT: usize = 1_000;

/// The rows of many commits, each of one event and one record.
pub(super) struct Rows(Vec<OneCommit>);

struct OneCommit {
    event: Vec<u8>,
    bucket: String,
    id: [u8; 16],
    record_id: String,
    chain: Vec<u8>,
    record: Vec<u8>,
}

impl Rows {
    /// Reads what Rekindle wrote to the log `main`.
    pub(super) async fn read(server: &Redis, prefix: &str) -> Result<Self> {
        let mut connection = super::connect(server).await?;
        let tag = format!("{{{prefix}:main}}");
        let mut rows = Vec::new();
        for segment in 0.. {
            let events: Vec<Vec<u8>> =
                cmd("LRANGE").arg(format!("{tag}:e:{segment}")).arg(0).arg(-1).query_async(&mut connection).await?;
            if events.is_empty() {
                break;
            }
            let decoded = events
                .iter()
                .map(|row| codec::decode::<NewEvent>(&row[HEAD..]))
                .collect::<rekindle::Result<Vec<_>>>()?;
            let ids: Vec<_> = decoded.iter().map(|event| event.record_id.as_str()).collect();
            let get = |key: String| {
                let (mut connection, mut get) = (connection.clone(), cmd("HMGET"));
                get.arg(key).arg(&ids);
                async move { get.query_async::<Vec<Vec<u8>>>(&mut connection).await }
            };
            let chains = get(format!("{tag}:c:{RESOURCE}")).await?;
            let records = get(format!("{tag}:r:0:{RESOURCE}")).await?;
            for (((event, decoded), chain), record) in events.into_iter().zip(&decoded).zip(chains).zip(records) {
                let id = *decoded.id.as_uuid().as_bytes();
                rows.push(OneCommit {
                    event,
                    bucket: format!("t{:02x}{:02x}{:02x}{:02x}", id[0], id[1], id[2], id[3]),
                    id,
                    record_id: decoded.record_id.to_string(),
                    chain,
                    record,
                });
            }
        }
        Ok(Self(rows))
    }

    /// The commits that wrote them.
    pub(super) fn commits(&self, log: &LogId) -> Result<Vec<Commit>> {
        let commits = self.0.iter().map(|row| {
            let event: NewEvent = codec::decode(&row.event[HEAD..])?;
            // Version, revision, whether it is there, the size of its identities, which it has none of; then the attributes.
            let attributes = Json::parse(String::from_utf8(row.record[14..].to_vec())?)?;
            let state = Some(WriteState { attributes, identities: Vec::new() });
            let write = RecordWrite { key: event.key(), expected: Expected::Absent, state };
            let mut commit = Commit::new(log.clone(), LockKey::One(1));
            commit.changes.push(Change { event: Some(event), write: Some(write) });
            Ok(commit)
        });
        commits.collect()
    }

    /// Writes them all, as many in flight as there are callers: two calls with half of them each, as callers that wait for
    /// their answers come together in two groups. Gives the time without that of the warm-up.
    pub(super) async fn write(self: &Arc<Self>, server: &Redis, warm_up: usize, callers: usize) -> Result<Duration> {
        let connection = loaded(server).await?;
        self.write_calls(&connection, 0..warm_up, callers).await?;
        self.write_calls(&connection, warm_up..self.0.len(), callers).await
    }

    async fn write_calls(
        self: &Arc<Self>,
        connection: &MultiplexedConnection,
        rows: Range<usize>,
        callers: usize,
    ) -> Result<Duration> {
        let calls = callers.min(2);
        let group = (callers / calls).max(1);
        let (next, end) = (Arc::new(AtomicUsize::new(rows.start)), rows.end);
        let started = Instant::now();
        let tasks: Vec<_> = (0..calls)
            .map(|_| {
                let (rows, next, mut connection) = (Arc::clone(self), Arc::clone(&next), connection.clone());
                tokio::spawn(async move {
                    loop {
                        let first = next.fetch_add(group, Ordering::Relaxed);
                        let Some(group) = rows.0.get(first..(first + group).min(end)) else { return Ok(()) };
                        if group.is_empty() {
                            return redis::RedisResult::Ok(());
                        }
                        call(first, group.iter()).exec_async(&mut connection).await?;
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await??;
        }
        Ok(started.elapsed())
    }

    /// Writes them all for so many callers by group commit: one call for those that wait. Gives the time without that of the
    /// warm-up.
    pub(super) async fn write_for_callers(
        self: &Arc<Self>,
        server: &Redis,
        warm_up: usize,
        callers: usize,
    ) -> Result<Duration> {
        let (rows, connection) = (Arc::clone(self), loaded(server).await?);
        group::commit(self.0.len(), warm_up, callers, Grouped { rows, connection }).await
    }
}

struct Grouped {
    rows: Arc<Rows>,
    connection: MultiplexedConnection,
}

impl Writer for Grouped {
    async fn write(&mut self, behind: usize, group: &[usize]) -> std::result::Result<(), String> {
        let call = call(behind, group.iter().map(|at| &self.rows.0[*at]));
        call.exec_async(&mut self.connection).await.map_err(|error| error.to_string())
    }
}

async fn loaded(server: &Redis) -> Result<MultiplexedConnection> {
    let mut connection = super::connect(server).await?;
    cmd("FUNCTION").arg("LOAD").arg("REPLACE").arg(include_str!("raw.lua")).exec_async(&mut connection).await?;
    Ok(connection)
}

/// The call that writes these behind so many others.
fn call<'a>(first: usize, group: impl ExactSizeIterator<Item = &'a OneCommit>) -> Cmd {
    let mut call = cmd("FCALL");
    call.arg("bench_raw").arg(1).arg("{raw:main}:head");
    call.arg("{raw:main}").arg(RESOURCE).arg(first).arg(first / SEGMENT).arg(group.len());
    for commit in group {
        call.arg(&commit.event[..]).arg(&commit.bucket).arg(&commit.id[..]);
        call.arg(&commit.record_id).arg(&commit.chain[..]).arg(&commit.record[..]);
    }
    call
}
