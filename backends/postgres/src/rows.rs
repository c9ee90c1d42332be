//! Rows to types, straight from the binary protocol.

use std::sync::Arc;

use rekindle_core::store::{Head, LoadedRecord, LogState};
use rekindle_core::types::{
    ActionName, ActionType, Actor, Event, EventId, Generation, IdentityValue, Json, KeyRow, KeyVersion, NewEvent,
    Payload, Position, Record, RecordId, RecordKey, ResourceName, Revision, Subject, Timestamp, WriteState,
};
use rekindle_core::{Error, Result};
use sqlx::Row;
use sqlx::postgres::{PgRow, PgValueFormat};
use uuid::Uuid;

use crate::error::{classify, damaged};

/// A number as the database keeps it.
///
/// # Errors
///
/// `TooLarge` above `i64::MAX`.
pub(crate) fn bigint(number: u64, what: &str) -> Result<i64> {
    i64::try_from(number).map_err(|_| {
        let kind = rekindle_core::ErrorKind::TooLarge;
        Error::new(kind, format!("{what} {number} is too large for Postgres, which counts to {}", i64::MAX))
    })
}

/// A bound of a query as the database compares it: no row is above `i64::MAX`.
pub(crate) fn bound(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// One row, by the places of its columns.
#[derive(Clone, Copy)]
pub(crate) struct Columns<'a>(pub(crate) &'a PgRow);

impl<'a> Columns<'a> {
    fn raw(self, at: usize) -> Result<Option<&'a [u8]>> {
        let value = self.0.try_get_raw(at).map_err(classify)?;
        if value.format() != PgValueFormat::Binary {
            return Err(damaged("a column came as text"));
        }
        Ok(value.as_bytes().ok())
    }

    pub(crate) fn is_null(self, at: usize) -> Result<bool> {
        Ok(self.raw(at)?.is_none())
    }

    fn fixed<const N: usize>(self, at: usize) -> Result<Option<[u8; N]>> {
        let Some(bytes) = self.raw(at)? else { return Ok(None) };
        let fixed = bytes.try_into();
        fixed.map(Some).map_err(|_| damaged(format!("column {at} has {} bytes instead of {N}", bytes.len())))
    }

    pub(crate) fn int8_or_null(self, at: usize) -> Result<Option<i64>> {
        Ok(self.fixed(at)?.map(i64::from_be_bytes))
    }

    pub(crate) fn int8(self, at: usize) -> Result<i64> {
        self.int8_or_null(at)?.ok_or_else(|| null(at))
    }

    /// A number that is never below zero.
    pub(crate) fn count(self, at: usize) -> Result<u64> {
        let number = self.int8(at)?;
        u64::try_from(number).map_err(|_| damaged(format!("column {at} is {number}, below zero")))
    }

    pub(crate) fn count_or_null(self, at: usize) -> Result<Option<u64>> {
        if self.is_null(at)? { Ok(None) } else { self.count(at).map(Some) }
    }

    pub(crate) fn int4(self, at: usize) -> Result<i32> {
        self.fixed(at)?.map(i32::from_be_bytes).ok_or_else(|| null(at))
    }

    pub(crate) fn int2(self, at: usize) -> Result<i16> {
        self.fixed(at)?.map(i16::from_be_bytes).ok_or_else(|| null(at))
    }

    fn uuid(self, at: usize) -> Result<Uuid> {
        self.fixed(at)?.map(Uuid::from_bytes).ok_or_else(|| null(at))
    }

    pub(crate) fn text_or_null(self, at: usize) -> Result<Option<&'a str>> {
        let Some(bytes) = self.raw(at)? else { return Ok(None) };
        std::str::from_utf8(bytes).map(Some).map_err(|source| damaged("a text is no UTF-8").with_source(source))
    }

    pub(crate) fn text(self, at: usize) -> Result<&'a str> {
        self.text_or_null(at)?.ok_or_else(|| null(at))
    }

    pub(crate) fn bytes(self, at: usize) -> Result<&'a [u8]> {
        self.raw(at)?.ok_or_else(|| null(at))
    }

    /// A place in what was asked for, as `WITH ORDINALITY` gives it.
    pub(crate) fn place(self, at: usize) -> Result<usize> {
        let place = self.count(at)?.checked_sub(1).and_then(|place| usize::try_from(place).ok());
        place.ok_or_else(|| damaged("a row is of nothing that was asked for"))
    }
}

fn null(at: usize) -> Error {
    damaged(format!("column {at} is null"))
}

/// The head in four columns from here on: position, generation, state, rewound to.
pub(crate) fn head(position: u64, generation: u64, state: i32, rewound_to: Option<u64>) -> Result<Head> {
    let state = match (state, rewound_to) {
        (0, None) => LogState::Live,
        (1, _) => LogState::Rebuilding,
        (2, Some(to)) => LogState::Rewound(Position::new(to)),
        (state, to) => return Err(damaged(format!("the state of a log is {state}, rewound to {to:?}"))),
    };
    Ok(Head { position: Position::new(position), generation: Generation::new(generation), state })
}

/// The state of a log as the database keeps it: its code, and the position that it is rewound to.
pub(crate) fn state_codes(state: LogState) -> Result<(i16, Option<i64>)> {
    Ok(match state {
        LogState::Live => (0, None),
        LogState::Rebuilding => (1, None),
        LogState::Rewound(to) => (2, Some(bigint(to.get(), "the position")?)),
    })
}

/// The type of an action as the database keeps it.
pub(crate) fn action_type_code(action_type: ActionType) -> i16 {
    match action_type {
        ActionType::Create => 0,
        ActionType::Update => 1,
        ActionType::Destroy => 2,
    }
}

/// Decodes events. What came last of names, actors and empty sections is shared by the next, which mostly has the same.
#[derive(Default)]
pub(crate) struct Events {
    resource: Option<ResourceName>,
    action: Option<ActionName>,
    actor: Option<Actor>,
    sections: [Option<Json>; 2],
}

impl Events {
    /// The event in a row of the event columns.
    pub(crate) fn decode(&mut self, row: &PgRow) -> Result<Event> {
        let columns = Columns(row);
        let position = columns.count(0)?;
        self.event(columns, position).map_err(|error| Error::corrupt(format!("position {position}")).with_source(error))
    }

    fn event(&mut self, columns: Columns<'_>, position: u64) -> Result<Event> {
        let action_type = match columns.int2(5)? {
            0 => ActionType::Create,
            1 => ActionType::Update,
            2 => ActionType::Destroy,
            other => return Err(damaged(format!("{other} is no type of action"))),
        };
        let version = columns.count(3)?;
        let version = u32::try_from(version).map_err(|_| damaged(format!("{version} is no version")))?;
        let removed = columns.text_or_null(14)?;
        let new = NewEvent {
            id: EventId::from_uuid(columns.uuid(4)?),
            resource: self.resource(columns.text(6)?)?,
            record_id: RecordId::new(columns.text(7)?)?,
            action: self.action(columns.text(8)?)?,
            action_type,
            version,
            actor: self.actor(columns.text_or_null(9)?, columns.text_or_null(10)?)?,
            data: self.section(columns, 11, 15, None)?,
            changed_attributes: self.section(columns, 12, 16, Some(0))?,
            removed_attributes: removed.map(removed_attributes).transpose()?.unwrap_or_default(),
            metadata: self.section(columns, 13, 17, Some(1))?,
            occurred_at: Timestamp::from_microseconds(columns.int8(2)?)?,
        };
        let revision = columns.count_or_null(1)?.map(Revision::new);
        Ok(Event { position: Position::new(position), revision, event: new })
    }

    fn resource(&mut self, text: &str) -> Result<ResourceName> {
        shared(&mut self.resource, |last| last.as_str() == text, || ResourceName::new(text))
    }

    fn action(&mut self, text: &str) -> Result<ActionName> {
        shared(&mut self.action, |last| last.as_str() == text, || ActionName::new(text))
    }

    fn actor(&mut self, kind: Option<&str>, id: Option<&str>) -> Result<Option<Actor>> {
        match (kind, id) {
            (Some(kind), Some(id)) => {
                let same = |last: &Actor| last.kind().as_str() == kind && last.id() == id;
                shared(&mut self.actor, same, || Actor::new(kind, id)).map(Some)
            }
            (None, None) => Ok(None),
            _ => Err(damaged("half an actor is there")),
        }
    }

    fn section(&mut self, columns: Columns<'_>, clear: usize, sealed: usize, share: Option<usize>) -> Result<Payload> {
        match columns.text_or_null(clear)? {
            Some(text) => {
                let last = share.and_then(|share| self.sections.get_mut(share));
                let json = match last {
                    Some(last) => shared(last, |last| last.as_str() == text, || Ok(Json::from_stored(text)))?,
                    None => Json::from_stored(text),
                };
                Ok(Payload::Json(json))
            }
            None => match columns.raw(sealed)? {
                Some(bytes) => Ok(Payload::Sealed(bytes.to_vec())),
                None => Err(damaged("a section of an event is missing")),
            },
        }
    }
}

/// A copy of what came last if it is the same, else a new one.
fn shared<T: Clone>(last: &mut Option<T>, same: impl Fn(&T) -> bool, new: impl FnOnce() -> Result<T>) -> Result<T> {
    match last {
        Some(last) if same(last) => Ok(last.clone()),
        _ => Ok(last.insert(new()?).clone()),
    }
}

fn removed_attributes(text: &str) -> Result<Vec<String>> {
    serde_json::from_str(text).map_err(|source| damaged("the removed attributes cannot be decoded").with_source(source))
}

/// Identities as a column keeps them: an array of pairs; `None` if there are none.
pub(crate) fn identities_text(identities: &[IdentityValue]) -> Result<Option<String>> {
    if identities.is_empty() {
        return Ok(None);
    }
    let pairs: Vec<(&str, &str)> =
        identities.iter().map(|identity| (identity.name.as_str(), identity.value.as_str())).collect();
    to_text(&pairs).map(Some)
}

/// A value as JSON text.
pub(crate) fn to_text(value: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string(value)
        .map_err(|source| Error::invalid("a list cannot be written as JSON").with_source(source))
}

/// Identities from their column.
pub(crate) fn identities(text: Option<&str>) -> Result<Vec<IdentityValue>> {
    let Some(text) = text else { return Ok(Vec::new()) };
    let pairs: Vec<(String, String)> = serde_json::from_str(text)
        .map_err(|source| damaged("the identities of a record cannot be decoded").with_source(source))?;
    Ok(pairs.into_iter().map(|(name, value)| IdentityValue { name, value }).collect())
}

/// A live record of this key, from the columns revision, attributes, identities from `first` on; `None` if it is destroyed.
pub(crate) fn record(columns: Columns<'_>, first: usize, key: RecordKey) -> Result<Option<Record>> {
    let LoadedRecord { key, revision, state } = loaded(columns, first, key)?;
    Ok(state.map(|WriteState { attributes, identities }| Record { key, revision, attributes, identities }))
}

/// A record of this key, destroyed or not, from the same columns.
pub(crate) fn loaded(columns: Columns<'_>, first: usize, key: RecordKey) -> Result<LoadedRecord> {
    let read = || {
        let revision = Revision::new(columns.count(first)?);
        let state = match columns.text_or_null(first + 1)? {
            Some(attributes) => Some(WriteState {
                attributes: Json::from_stored(Arc::<str>::from(attributes)),
                identities: identities(columns.text_or_null(first + 2)?)?,
            }),
            None => None,
        };
        Ok((revision, state))
    };
    let (revision, state) = read().map_err(|error: Error| error.at(format!("the record {key}")))?;
    Ok(LoadedRecord { key, revision, state })
}

/// How far the keys of a subject are, from the columns version and epoch.
pub(crate) fn key_version(columns: Columns<'_>, first: usize) -> Result<KeyVersion> {
    Ok(KeyVersion { version: columns.count(first)?, epoch: columns.count(first + 1)? })
}

/// The keys of a subject, from the columns subject, version, epoch, body.
pub(crate) fn keys(columns: Columns<'_>, first: usize) -> Result<KeyRow> {
    let text = columns.text(first)?;
    let read = || {
        let subject = Subject::new(text).map_err(|source| damaged("this is no subject").with_source(source))?;
        let KeyVersion { version, epoch } = key_version(columns, first + 1)?;
        Ok(KeyRow { subject, version, epoch, body: columns.bytes(first + 3)?.to_vec() })
    };
    read().map_err(|error: Error| error.at(format!("the keys of {text}")))
}
