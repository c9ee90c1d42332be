//! The bytes of rows. The Lua code reads and writes their heads, and never what is behind.

use rekindle_core::store::{Head, LoadedRecord, LogState};
use rekindle_core::types::{
    Event, Generation, IdentityValue, Json, KeyRow, NewEvent, Position, Record, RecordKey, Revision, Subject,
    WriteState,
};
use rekindle_core::{Error, Result, codec};

/// The version of rows that is written.
const VERSION: u8 = 1;
/// The bytes before an event: version, revision, and the positions of the record's event before it and of its landmark.
const EVENT_HEAD: usize = 21;
/// The bytes of a record before its identities: version, revision, whether it is there, the size of its identities.
const RECORD_HEAD: usize = 14;
/// The bytes before the keys of a subject: version of the row, version and epoch of the keys.
const KEYS_HEAD: usize = 17;

/// An event, from its row: the row's place is its position.
pub(crate) fn decode_event(row: &[u8], position: Position) -> Result<Event> {
    let (head, body) = row.split_at_checked(EVENT_HEAD).ok_or_else(|| cut("an event"))?;
    check_version(head)?;
    let revision = u64_at(head, 1)?;
    let event: NewEvent = codec::decode(body)?;
    Ok(Event { position, revision: (revision > 0).then(|| Revision::new(revision)), event })
}

/// A row of a record.
pub(crate) fn encode_record(revision: Revision, state: Option<&WriteState>) -> Vec<u8> {
    let identities = state.map_or(&[][..], |state| &state.identities);
    let size: usize = identities.iter().map(|value| value.name.len() + value.value.len() + 2).sum();
    let attributes = state.map_or("", |state| state.attributes.as_str());
    let mut row = Vec::with_capacity(RECORD_HEAD + size + attributes.len());
    row.push(VERSION);
    row.extend(revision.get().to_be_bytes());
    if state.is_none() {
        row.push(0);
        return row;
    }
    row.push(1);
    // The limits of a commit keep it far below.
    row.extend(u32::try_from(size).unwrap_or(u32::MAX).to_be_bytes());
    for value in identities {
        row.extend(identity_field(&value.name, &value.value));
        row.push(0);
    }
    row.extend(attributes.as_bytes());
    row
}

/// What the row of a record begins with that is there, and has no identities.
pub(crate) fn head_without_identities(revision: Revision) -> [u8; RECORD_HEAD] {
    let mut head = [0; RECORD_HEAD];
    head[0] = VERSION;
    head[1..9].copy_from_slice(&revision.get().to_be_bytes());
    head[9] = 1;
    head
}

/// The row of an event that came with the first write of its record, up to where the event begins; with room for it.
pub(crate) fn head_of_first_event() -> Vec<u8> {
    let mut head = Vec::with_capacity(512);
    head.push(VERSION);
    head.extend(Revision::ZERO.next().get().to_be_bytes());
    head.resize(EVENT_HEAD, 0);
    head
}

/// The name and the value of an identity, as one field of a hash. Neither has a NUL.
pub(crate) fn identity_field(name: &str, value: &str) -> Vec<u8> {
    [name.as_bytes(), &[0], value.as_bytes()].concat()
}

/// A record, a destroyed one included.
pub(crate) fn decode_record(row: &[u8], key: &RecordKey) -> Result<LoadedRecord> {
    decode_state(row)
        .map(|(revision, state)| LoadedRecord { key: key.clone(), revision, state })
        .map_err(|error| error.at(format!("the record {key}")))
}

/// A record as readers see it; `None` if it is destroyed.
pub(crate) fn decode_live(row: &[u8], key: &RecordKey) -> Result<Option<Record>> {
    let LoadedRecord { key, revision, state } = decode_record(row, key)?;
    Ok(state.map(|state| Record { key, revision, attributes: state.attributes, identities: state.identities }))
}

fn decode_state(row: &[u8]) -> Result<(Revision, Option<WriteState>)> {
    check_version(row)?;
    let revision = Revision::new(u64_at(row, 1)?);
    match (row.get(9), row.get(10..)) {
        (Some(0), Some([])) => Ok((revision, None)),
        (Some(1), Some(rest)) => {
            let (size, rest) = rest.split_first_chunk::<4>().ok_or_else(|| cut("a record"))?;
            let size = usize::try_from(u32::from_be_bytes(*size)).unwrap_or(usize::MAX);
            let (section, attributes) = rest.split_at_checked(size).ok_or_else(|| cut("a record"))?;
            let attributes = Json::from_stored(text(attributes)?);
            Ok((revision, Some(WriteState { attributes, identities: decode_identities(section)? })))
        }
        _ => Err(cut("a record")),
    }
}

fn decode_identities(section: &[u8]) -> Result<Vec<IdentityValue>> {
    let mut parts = section.split(|byte| *byte == 0);
    let mut identities = Vec::new();
    loop {
        match (parts.next(), parts.next()) {
            (Some(name), Some(value)) => {
                identities.push(IdentityValue { name: text(name)?.to_owned(), value: text(value)?.to_owned() });
            }
            // Each part is followed by a NUL, so an empty one is left.
            (Some([]), None) => return Ok(identities),
            _ => return Err(cut("the identities of a record")),
        }
    }
}

/// The row of the keys of a subject: what follows the version of rows is what a commit compares.
pub(crate) fn encode_keys(row: &KeyRow) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(KEYS_HEAD + row.body.len());
    bytes.push(VERSION);
    bytes.extend(row.version.to_be_bytes());
    bytes.extend(row.epoch.to_be_bytes());
    bytes.extend(&row.body);
    bytes
}

/// The keys of a subject, from their row.
pub(crate) fn decode_keys(row: &[u8], subject: Subject) -> Result<KeyRow> {
    match row {
        [VERSION, rest @ ..] if row.len() >= KEYS_HEAD => {
            let (version, epoch) = (u64_at(rest, 0)?, u64_at(rest, 8)?);
            Ok(KeyRow { subject, version, epoch, body: row.get(KEYS_HEAD..).unwrap_or_default().to_vec() })
        }
        _ => Err(damaged_keys(&subject)),
    }
}

/// The error for a row of keys that cannot be decoded.
pub(crate) fn damaged_keys(subject: &Subject) -> Error {
    Error::corrupt(format!("the row of the keys of {subject} is damaged, or of another version of Rekindle"))
}

/// The head of a log, from the fields `v`, `p`, `g` and `s`.
pub(crate) fn decode_head(fields: &[Option<Vec<u8>>]) -> Result<Head> {
    let [version, position, generation, state] = fields else { return Err(cut("the head")) };
    match version.as_deref() {
        None | Some(b"1") => {}
        Some(other) => return Err(layout(&String::from_utf8_lossy(other))),
    }
    let state = match state.as_deref() {
        None => LogState::Live,
        Some(state) => decode_log_state(state)?,
    };
    let number = |field: &Option<Vec<u8>>| field.as_deref().map_or(Ok(0), number);
    Ok(Head { position: Position::new(number(position)?), generation: Generation::new(number(generation)?), state })
}

/// The state of a log.
pub(crate) fn decode_log_state(state: &[u8]) -> Result<LogState> {
    match state {
        b"l" => Ok(LogState::Live),
        b"b" => Ok(LogState::Rebuilding),
        [b'w', at @ ..] => Ok(LogState::Rewound(Position::new(number(at)?))),
        _ => Err(Error::corrupt(format!("the state {:?} of a log is none", String::from_utf8_lossy(state)))),
    }
}

/// A number in decimal digits.
pub(crate) fn number(digits: &[u8]) -> Result<u64> {
    text(digits)?.parse().map_err(|source| {
        Error::corrupt(format!("{:?} is no number", String::from_utf8_lossy(digits))).with_source(source)
    })
}

/// The error for a log that another version of Rekindle has written.
pub(crate) fn layout(version: &str) -> Error {
    Error::invalid(format!("the log has the layout {version}; this version of Rekindle knows 1"))
}

fn check_version(row: &[u8]) -> Result<()> {
    match row.first() {
        Some(&VERSION) => Ok(()),
        Some(version) => Err(Error::corrupt(format!("a row has the version {version}; known is {VERSION}"))),
        None => Err(cut("a row")),
    }
}

fn u64_at(row: &[u8], at: usize) -> Result<u64> {
    let bytes = row.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).ok_or_else(|| cut("a row"))?;
    Ok(u64::from_be_bytes(bytes))
}

fn text(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).map_err(|source| Error::corrupt("stored text is no UTF-8").with_source(source))
}

fn cut(what: &str) -> Error {
    Error::corrupt(format!("{what} is cut off or damaged"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(state: Option<WriteState>) -> LoadedRecord {
        LoadedRecord { key: RecordKey::new("shop.order", "1").unwrap(), revision: Revision::new(u64::MAX - 1), state }
    }

    #[test]
    fn records_are_read_back_as_they_were_and_damage_is_told() {
        let identities =
            vec![IdentityValue::new("email", "a@b").unwrap(), IdentityValue::new("tax", "\u{1f980}").unwrap()];
        let attributes = Json::parse(r#"{"n":18446744073709551615}"#).unwrap();
        for state in [
            None,
            Some(WriteState { attributes: Json::empty(), identities: Vec::new() }),
            Some(WriteState { attributes, identities }),
        ] {
            let record = record(state);
            let row = encode_record(record.revision, record.state.as_ref());
            assert_eq!(decode_record(&row, &record.key).unwrap(), record);
            let cut = decode_record(&row[..9], &record.key).unwrap_err();
            assert_eq!(cut.message(), "the record shop.order/1: a record is cut off or damaged");
        }
        let other = decode_record(&[9, 0], &record(None).key).unwrap_err();
        assert_eq!(other.message(), "the record shop.order/1: a row has the version 9; known is 1");
    }

    #[test]
    fn keys_are_read_back_as_they_were_and_damage_is_told() {
        let subject = Subject::new("shop.order/1").unwrap();
        for body in [vec![], vec![0, 255, 1]] {
            let row = KeyRow { subject: subject.clone(), version: u64::MAX, epoch: (1 << 53) + 1, body };
            assert_eq!(decode_keys(&encode_keys(&row), subject.clone()).unwrap(), row);
            let mut damaged = encode_keys(&row);
            damaged[0] = 2;
            for damaged in [&damaged[..], &encode_keys(&row)[..16], &[]] {
                let error = decode_keys(damaged, subject.clone()).unwrap_err();
                assert!(error.message().contains("shop.order/1"), "{error}");
            }
        }
    }

    #[test]
    fn heads_are_read() {
        let fields = |all: [&str; 4]| all.map(|f| (!f.is_empty()).then(|| f.as_bytes().to_vec()));
        assert_eq!(decode_head(&fields(["", "", "", ""])).unwrap(), Head::default());
        let head = decode_head(&fields(["1", "9007199254740993", "2", "w7"])).unwrap();
        assert_eq!((head.position.get(), head.state), (9_007_199_254_740_993, LogState::Rewound(Position::new(7))));
        assert!(decode_head(&fields(["2", "", "", ""])).unwrap_err().message().contains("layout 2"));
        assert!(decode_head(&fields(["1", "x", "", ""])).is_err());
    }
}
