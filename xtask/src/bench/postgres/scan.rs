//! `bench scan --backend postgres`: reading a log from its start to its end.

use std::time::Instant;

use rekindle::EventQuery;
use rekindle_test_servers::Postgres;
use sqlx::{AssertSqlSafe, Row};
use uuid::Uuid;

use super::super::Options;
use super::super::report::{Report, Result, ratios};
use super::super::work::fill;

const PAGE: usize = 5_000;

/// The same columns, by key, without more.
const RAW: &str = "SELECT position, revision, occurred_at, version, id, action_type, resource, record_id, action, actor_kind,
    actor_id, data, changed_attributes, metadata, removed_attributes, sealed_data, sealed_changed_attributes, sealed_metadata
FROM @.events WHERE log = 1 AND position > $1 ORDER BY position LIMIT $2";

pub(super) async fn run(server: &Postgres, options: &Options, report: &mut Report) -> Result<()> {
    println!("recording {} events", options.events);
    let schema = server.fresh_schema();
    let log = super::open(server.url(), &schema).await?;
    fill(&log, &mut Vec::new(), options.events, (options.events / 10).max(1)).await?;
    sqlx::query("VACUUM ANALYZE").execute(&mut super::connect(server).await?).await?;
    let (mut ours, mut raw) = (Vec::new(), Vec::new());
    for round in 0..=options.rounds {
        let (started, mut events) = (Instant::now(), 0_u64);
        let mut query = EventQuery::new().with_limit(PAGE);
        loop {
            let page = log.events(&query).await?;
            events += page.items.len() as u64;
            match page.next {
                Some(next) => query = query.with_cursor(next),
                None => break,
            }
        }
        let ours_now = events as f64 / started.elapsed().as_secs_f64();
        let raw_now = raw_scan(server, &schema, events).await?;
        if round > 0 {
            ours.push(ours_now);
            raw.push(raw_now);
        }
    }
    log.shutdown().await?;
    report.figure("scan in pages", "events/s", &ours);
    report.figure("raw scan by key, decoded", "events/s", &raw);
    report.figure("rekindle / raw", "ratio", &ratios(&ours, &raw));
    Ok(())
}

/// What a row is decoded to: a struct of owned columns.
#[derive(Default)]
#[allow(dead_code, reason = "it is decoded for the time that it takes")]
struct Decoded {
    position: i64,
    revision: Option<i64>,
    occurred_at: i64,
    version: i64,
    id: Uuid,
    action_type: i16,
    texts: [Option<String>; 9],
    sealed: [Option<Vec<u8>>; 3],
}

async fn raw_scan(server: &Postgres, schema: &str, expected: u64) -> Result<f64> {
    let mut connection = super::connect(server).await?;
    let text: std::sync::Arc<str> = RAW.replace('@', &format!("\"{schema}\"")).into();
    let (started, mut events, mut after) = (Instant::now(), 0_u64, 0_i64);
    loop {
        let rows =
            sqlx::query(AssertSqlSafe(text.clone())).bind(after).bind(PAGE as i64).fetch_all(&mut connection).await?;
        let mut page = Vec::with_capacity(rows.len());
        for row in &rows {
            let mut decoded = Decoded {
                position: row.try_get(0)?,
                revision: row.try_get(1)?,
                occurred_at: row.try_get(2)?,
                version: row.try_get(3)?,
                id: row.try_get(4)?,
                action_type: row.try_get(5)?,
                ..Decoded::default()
            };
            for (at, text) in decoded.texts.iter_mut().enumerate() {
                *text = row.try_get(6 + at)?;
            }
            for (at, bytes) in decoded.sealed.iter_mut().enumerate() {
                *bytes = row.try_get(15 + at)?;
            }
            after = decoded.position;
            page.push(decoded);
        }
        events += page.len() as u64;
        if page.len() < PAGE {
            break;
        }
    }
    if events != expected {
        return Err(format!("the raw scan found {events} events of {expected}").into());
    }
    Ok(events as f64 / started.elapsed().as_secs_f64())
}
