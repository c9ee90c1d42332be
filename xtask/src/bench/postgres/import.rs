//! `bench import --backend postgres`: events and records in bulk, beside COPY of the same rows.

use std::time::Instant;

use copying::copy_between;
use rekindle::store::{EventStore, LoadedRecord, RebuildMode, ResourceStore};
use rekindle::types::{ActionName, Change, Commit, LockKey, NewEvent, Payload, RecordKey, WriteState};
use rekindle::{ActionType, Actor, EventId, Json, LogId, Position, Revision, Timestamp};
use rekindle_test_servers::Postgres;

use super::super::Options;
use super::super::report::{Report, Result, ratios};

const LOCK: LockKey = LockKey::One(1);
/// So many events are in one commit, and so many records in one load.
const AT_ONCE: u64 = 5_000;

pub(super) async fn run(server: &Postgres, options: &Options, report: &mut Report) -> Result<()> {
    let (mut events, mut raw_events, mut records, mut raw_records) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let count = options.events;
    println!("{count} events, and as many records");
    for _ in 0..options.rounds {
        let schema = server.fresh_schema();
        let store = super::backend(server.url(), &schema).await?;
        let log = LogId::new("import")?;
        let batches = (0..count).step_by(AT_ONCE as usize).map(|first| batch(&log, first, AT_ONCE.min(count - first)));
        let batches = batches.collect::<Result<Vec<_>>>()?;
        let started = Instant::now();
        for batch in batches {
            for answer in store.commit([batch].into()).await {
                answer?;
            }
        }
        events.push(count as f64 / started.elapsed().as_secs_f64());

        let loads = (0..count).step_by(AT_ONCE as usize).map(|first| load(first, AT_ONCE.min(count - first)));
        let loads = loads.collect::<Result<Vec<_>>>()?;
        let started = Instant::now();
        let rebuild = store.begin_rebuild(&log, LOCK, RebuildMode::Shadow).await?;
        for load in loads {
            store.load(&rebuild, load).await?;
        }
        let fence = store.fence(&rebuild).await?;
        store.finish_rebuild(rebuild, fence, Position::new(count)).await?;
        records.push(count as f64 / started.elapsed().as_secs_f64());
        store.close().await;

        let target = super::raw::Rows::empty(server).await?;
        raw_events.push(count as f64 / copy_between(server, &schema, &target, "events").await?.as_secs_f64());
        raw_records.push(count as f64 / copy_between(server, &schema, &target, "records").await?.as_secs_f64());
        super::drop_schema(server, &target).await?;
        super::drop_schema(server, &schema).await?;
    }
    report.figure("events, committed in bulk", "events/s", &events);
    report.figure("COPY of the same events", "events/s", &raw_events);
    report.figure("rekindle / COPY, events", "ratio", &ratios(&events, &raw_events));
    report.figure("records, loaded in bulk", "records/s", &records);
    report.figure("COPY of the same records", "records/s", &raw_records);
    report.figure("rekindle / COPY, records", "ratio", &ratios(&records, &raw_records));
    Ok(())
}

fn batch(log: &LogId, first: u64, events: u64) -> Result<Commit> {
    let mut commit = Commit::new(log.clone(), LOCK);
    let actor = Actor::new("user", "42")?;
    for number in first..first + events {
        let key = RecordKey::new("bench.account", format!("{:032x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15)))?;
        let event = NewEvent {
            id: EventId::generate(),
            resource: key.resource,
            record_id: key.id,
            action: ActionName::new("credit")?,
            action_type: ActionType::Update,
            version: 1,
            actor: Some(actor.clone()),
            data: Payload::Json(Json::parse(format!(r#"{{"cents":{number},"note":"credit number {number}"}}"#))?),
            changed_attributes: Payload::empty(),
            removed_attributes: Vec::new(),
            metadata: Payload::Json(Json::parse(r#"{"batch":"import"}"#)?),
            occurred_at: Timestamp::now(),
        };
        commit.changes.push(Change { event: Some(event), write: None });
    }
    Ok(commit)
}

fn load(first: u64, records: u64) -> Result<Vec<LoadedRecord>> {
    (first..first + records)
        .map(|number| {
            let key = RecordKey::new("bench.account", format!("{:032x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15)))?;
            let attributes = Json::parse(format!(
                r#"{{"cents":{number},"id":"{number:032x}","note":"credit number {number}","owner":"Owner {number:08}"}}"#
            ))?;
            let state = Some(WriteState { attributes, identities: Vec::new() });
            Ok(LoadedRecord { key, revision: Revision::new(1), state })
        })
        .collect()
}

mod copying {
    //! COPY out of one table into memory, and from there into another: the second half is what is measured.

    use std::time::{Duration, Instant};

    use futures::TryStreamExt;
    use rekindle_test_servers::Postgres;
    use sqlx::postgres::PgConnection;

    use super::super::super::report::Result;
    use super::super::connect;

    pub(super) async fn copy_between(server: &Postgres, from: &str, to: &str, table: &str) -> Result<Duration> {
        let mut rows = Vec::new();
        {
            let mut connection: PgConnection = connect(server).await?;
            let statement = format!("COPY \"{from}\".{table} TO STDOUT (FORMAT binary)");
            let mut copy = connection.copy_out_raw(&statement).await?;
            while let Some(chunk) = copy.try_next().await? {
                rows.extend_from_slice(&chunk);
            }
        }
        let mut connection = connect(server).await?;
        let started = Instant::now();
        let statement = format!("COPY \"{to}\".{table} FROM STDIN (FORMAT binary)");
        let mut copy = connection.copy_in_raw(&statement).await?;
        for chunk in rows.chunks(1 << 20) {
            copy.send(chunk).await?;
        }
        copy.finish().await?;
        Ok(started.elapsed())
    }
}
