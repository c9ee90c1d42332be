//! The values of rows.

use rekindle_core::store::{Head, LoadedRecord, LogState};
use rekindle_core::types::{
    Event, Generation, KeyRow, Position, Record, RecordId, RecordKey, Revision, Subject, WriteState,
};
use rekindle_core::{Error, Result, codec};
use serde::{Deserialize, Serialize};

/// The state of a log. The order of the fields is the format.
#[derive(Serialize, Deserialize)]
struct HeadRow {
    position: Position,
    generation: Generation,
    state: StateRow,
}

#[derive(Serialize, Deserialize)]
enum StateRow {
    Live,
    Rebuilding,
    Rewound(Position),
}

/// A record. The state comes first, so that the second byte of a row tells whether there is one.
#[derive(Serialize)]
struct RecordRowRef<'a> {
    state: Option<&'a WriteState>,
    revision: Revision,
}

#[derive(Deserialize)]
struct RecordRow {
    state: Option<WriteState>,
    revision: Revision,
}

pub(crate) fn encode_head(head: &Head) -> Result<Vec<u8>> {
    let state = match head.state {
        LogState::Live => StateRow::Live,
        LogState::Rebuilding => StateRow::Rebuilding,
        LogState::Rewound(at) => StateRow::Rewound(at),
    };
    codec::encode(&HeadRow { position: head.position, generation: head.generation, state })
}

pub(crate) fn decode_head(row: &[u8]) -> Result<Head> {
    let HeadRow { position, generation, state } = codec::decode(row)?;
    let state = match state {
        StateRow::Live => LogState::Live,
        StateRow::Rebuilding => LogState::Rebuilding,
        StateRow::Rewound(at) => LogState::Rewound(at),
    };
    Ok(Head { position, generation, state })
}

/// The event of a row, which must be the one of this position.
pub(crate) fn decode_event(row: &[u8], position: Position) -> Result<Event> {
    let event: Event = codec::decode(row).map_err(|e| e.at(format!("the event at position {position}")))?;
    if event.position == position {
        Ok(event)
    } else {
        Err(Error::corrupt(format!("the event at position {position} says that it is at {}", event.position)))
    }
}

pub(crate) fn encode_record(revision: Revision, state: Option<&WriteState>) -> Result<Vec<u8>> {
    codec::encode(&RecordRowRef { state, revision })
}

pub(crate) fn decode_record(row: &[u8], key: RecordKey) -> Result<LoadedRecord> {
    match codec::decode(row) {
        Ok(RecordRow { state, revision }) => Ok(LoadedRecord { key, revision, state }),
        Err(error) => Err(error.at(format!("the record {key}"))),
    }
}

/// Whether a row is that of a destroyed record; without decoding it.
pub(crate) fn is_destroyed(row: &[u8]) -> bool {
    row.get(1) == Some(&0)
}

/// The keys of a subject, which must be those of this one.
pub(crate) fn decode_keys(row: &[u8], subject: &Subject) -> Result<KeyRow> {
    let row: KeyRow = codec::decode(row).map_err(|e| e.at(format!("the keys of {subject}")))?;
    if row.subject == *subject {
        Ok(row)
    } else {
        Err(Error::corrupt(format!("the keys of {subject} say that they are those of {}", row.subject)))
    }
}

/// The subject in a row of the index of key ids.
pub(crate) fn subject(row: &[u8]) -> Result<Subject> {
    let text =
        std::str::from_utf8(row).map_err(|source| Error::corrupt("a stored subject is no text").with_source(source))?;
    Subject::new(text).map_err(|source| Error::corrupt("a stored subject is none").with_source(source))
}

/// The record as readers see it; `None` if it is destroyed.
pub(crate) fn live(record: LoadedRecord) -> Option<Record> {
    let LoadedRecord { key, revision, state } = record;
    state.map(|WriteState { attributes, identities }| Record { key, revision, attributes, identities })
}

/// The text of a record id in a row or a key.
pub(crate) fn record_id(bytes: &[u8]) -> Result<RecordId> {
    let text = std::str::from_utf8(bytes)
        .map_err(|source| Error::corrupt("a stored record id is no text").with_source(source))?;
    RecordId::new(text).map_err(|source| Error::corrupt("a stored record id is none").with_source(source))
}

/// A number of fixed width.
pub(crate) fn fixed<const N: usize>(row: &[u8], what: &str) -> Result<[u8; N]> {
    row.try_into()
        .map_err(|source| Error::corrupt(format!("{what} has {} bytes instead of {N}", row.len())).with_source(source))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rekindle_core::types::Json;

    #[test]
    fn rows_come_back_and_a_destroyed_record_is_told_without_decoding() {
        for state in [LogState::Live, LogState::Rebuilding, LogState::Rewound(Position::new(3))] {
            let head = Head { position: Position::new(300), generation: Generation::new(2), state };
            assert_eq!(decode_head(&encode_head(&head).unwrap()).unwrap(), head);
        }
        let key = RecordKey::new("a", "b").unwrap();
        for state in [None, Some(WriteState { attributes: Json::empty(), identities: Vec::new() })] {
            let record = LoadedRecord { key: key.clone(), revision: Revision::new(1), state };
            let row = encode_record(record.revision, record.state.as_ref()).unwrap();
            assert_eq!(is_destroyed(&row), record.state.is_none());
            assert_eq!(decode_record(&row, key.clone()).unwrap(), record);
        }
        assert_eq!(
            decode_record(&[1, 7], key).unwrap_err().message(),
            "the record a/b: a stored row cannot be decoded"
        );
    }
}
