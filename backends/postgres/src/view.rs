//! What is stored, as a batch finds it: fetched in one round trip.

use std::collections::HashMap;

use rekindle_core::Result;
use rekindle_core::store::decide::View;
use rekindle_core::store::{Head, LoadedRecord};
use rekindle_core::types::{
    Event, EventId, Identity, Json, KeyVersion, LogId, RecordId, RecordKey, Revision, Subject, WriteState,
};
use sqlx::PgConnection;

use crate::batch::Asked;
use crate::error::{classify, damaged};
use crate::rows::{self, Columns, Events};
use crate::sql::Sql;
use crate::store::tenant;

/// A log as it was read.
#[derive(Debug, Default)]
pub(crate) struct LogSeen {
    pub(crate) id: i64,
    pub(crate) version: i64,
    pub(crate) head: Head,
    events: HashMap<EventId, Event>,
    records: HashMap<RecordKey, LoadedRecord>,
    owners: HashMap<Identity, RecordId>,
    keys: HashMap<Subject, KeyVersion>,
}

/// All that was asked for, of one snapshot.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    logs: HashMap<LogId, LogSeen>,
}

impl Seen {
    /// The log, if it is there.
    pub(crate) fn log(&self, log: &LogId) -> Option<&LogSeen> {
        self.logs.get(log)
    }
}

impl View for Seen {
    fn head(&self, log: &LogId) -> Result<Head> {
        Ok(self.log(log).map(|seen| seen.head).unwrap_or_default())
    }

    fn event(&self, log: &LogId, id: EventId) -> Result<Option<Event>> {
        Ok(self.log(log).and_then(|seen| seen.events.get(&id)).cloned())
    }

    fn record(&self, log: &LogId, key: &RecordKey) -> Result<Option<LoadedRecord>> {
        Ok(self.log(log).and_then(|seen| seen.records.get(key)).cloned())
    }

    fn owner(&self, log: &LogId, identity: &Identity) -> Result<Option<RecordId>> {
        Ok(self.log(log).and_then(|seen| seen.owners.get(identity)).cloned())
    }

    fn keys(&self, log: &LogId, subject: &Subject) -> Result<KeyVersion> {
        Ok(self.log(log).and_then(|seen| seen.keys.get(subject)).copied().unwrap_or_default())
    }
}

/// An error on the way: of the connection, or of what was read.
#[derive(Debug)]
pub(crate) enum Failed {
    Sql(sqlx::Error),
    Rows(rekindle_core::Error),
}

impl From<sqlx::Error> for Failed {
    fn from(error: sqlx::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<rekindle_core::Error> for Failed {
    fn from(error: rekindle_core::Error) -> Self {
        Self::Rows(error)
    }
}

impl Failed {
    /// The error, where nothing was changed.
    pub(crate) fn classify(self) -> rekindle_core::Error {
        match self {
            Self::Sql(error) => classify(error),
            Self::Rows(error) => error,
        }
    }
}

/// Fetches all that was asked for. Known events are fetched in full by a second query: there are some only when a commit is
/// made again.
pub(crate) async fn fetch(connection: &mut PgConnection, sql: &Sql, asked: &Asked) -> Result<Seen, Failed> {
    let rows = {
        let names: Vec<&str> = asked.logs.iter().map(|log| log.name.as_str()).collect();
        let tenants: Vec<&str> = asked.logs.iter().map(tenant).collect();
        let (event_logs, ids): (Vec<_>, Vec<_>) = asked.events.iter().map(|(log, id)| (*log, *id.as_uuid())).unzip();
        let record_logs: Vec<_> = asked.records.iter().map(|(log, _)| *log).collect();
        let resources: Vec<_> = asked.records.iter().map(|(_, key)| key.resource.as_str()).collect();
        let record_ids: Vec<_> = asked.records.iter().map(|(_, key)| key.id.as_str()).collect();
        let (subject_logs, subjects): (Vec<_>, Vec<_>) =
            asked.subjects.iter().map(|(log, subject)| (*log, subject.as_str())).unzip();
        let identity_logs: Vec<_> = asked.identities.iter().map(|(log, _)| *log).collect();
        let identity = |part: fn(&Identity) -> &str| -> Vec<&str> {
            asked.identities.iter().map(|(_, identity)| part(identity)).collect()
        };
        sqlx::query(sql.view())
            .bind(names)
            .bind(tenants)
            .bind(event_logs)
            .bind(ids)
            .bind(record_logs)
            .bind(resources)
            .bind(record_ids)
            .bind(identity_logs)
            .bind(identity(|identity| identity.resource.as_str()))
            .bind(identity(|identity| &identity.name))
            .bind(identity(|identity| &identity.value))
            .bind(subject_logs)
            .bind(subjects)
            .fetch_all(&mut *connection)
            .await?
    };
    let mut seen = Seen::default();
    let mut known = Vec::new();
    for row in &rows {
        take(&mut seen, asked, Columns(row), &mut known)?;
    }
    if !known.is_empty() {
        fetch_events(connection, sql, asked, &mut seen, &known).await?;
    }
    Ok(seen)
}

/// Takes one row in: by its kind, what it is of.
fn take(seen: &mut Seen, asked: &Asked, columns: Columns<'_>, known: &mut Vec<usize>) -> Result<()> {
    let (kind, place) = (columns.int4(0)?, columns.place(1)?);
    let unasked = || damaged("a row is of nothing that was asked for");
    match kind {
        0 => {
            let log = asked.logs.get(place).ok_or_else(unasked)?;
            let head = rows::head(columns.count(3)?, columns.count(4)?, columns.int4(7)?, columns.count_or_null(6)?)
                .map_err(|error| error.at(format!("the head of the log {log}")))?;
            let entry = seen.logs.entry(log.clone()).or_default();
            (entry.id, entry.version, entry.head) = (columns.int8(2)?, columns.int8(5)?, head);
        }
        1 => known.push(place),
        2 => {
            let (log, key) = asked.records.get(place).ok_or_else(unasked)?;
            // What the record held is not sent: a decision needs its revision, and what it owns.
            let state = match columns.int4(7)? {
                0 => None,
                _ => Some(WriteState {
                    attributes: Json::empty(),
                    identities: rows::identities(columns.text_or_null(8)?)
                        .map_err(|error| error.at(format!("the record {key}")))?,
                }),
            };
            let record = LoadedRecord { key: key.clone(), revision: Revision::new(columns.count(2)?), state };
            entry(seen, asked, *log).ok_or_else(unasked)?.records.insert(key.clone(), record);
        }
        3 => {
            let (log, identity) = asked.identities.get(place).ok_or_else(unasked)?;
            let owner = RecordId::new(columns.text(8)?)?;
            entry(seen, asked, *log).ok_or_else(unasked)?.owners.insert(identity.clone(), owner);
        }
        4 => {
            let (log, subject) = asked.subjects.get(place).ok_or_else(unasked)?;
            let keys = rows::key_version(columns, 2).map_err(|error| error.at(format!("the keys of {subject}")))?;
            entry(seen, asked, *log).ok_or_else(unasked)?.keys.insert(subject.clone(), keys);
        }
        _ => return Err(unasked()),
    }
    Ok(())
}

fn entry<'a>(seen: &'a mut Seen, asked: &Asked, log: i64) -> Option<&'a mut LogSeen> {
    let log = asked.logs.get(usize::try_from(log).ok()?.checked_sub(1)?)?;
    // A row of a log can come before the row of its head.
    Some(seen.logs.entry(log.clone()).or_default())
}

async fn fetch_events(
    connection: &mut PgConnection,
    sql: &Sql,
    asked: &Asked,
    seen: &mut Seen,
    known: &[usize],
) -> Result<(), Failed> {
    let known: Vec<_> = known.iter().filter_map(|place| asked.events.get(*place)).collect();
    for (at, log) in asked.logs.iter().enumerate() {
        let Some(of_log) = seen.logs.get_mut(log) else { continue };
        let place = i64::try_from(at + 1).unwrap_or(i64::MAX);
        let ids: Vec<_> = known.iter().filter(|(of, _)| *of == place).map(|(_, id)| *id.as_uuid()).collect();
        let logs = vec![of_log.id; ids.len()];
        let rows = sqlx::query(sql.events_by_id()).bind(logs).bind(ids).fetch_all(&mut *connection).await?;
        let mut decode = Events::default();
        for row in &rows {
            let event = decode.decode(row).map_err(|error| error.at(format!("the log {log}")))?;
            of_log.events.insert(event.id, event);
        }
    }
    Ok(())
}
