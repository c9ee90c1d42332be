//! The keys of all rows.
//!
//! Everything is in one tree of sled, so that one batch is one atomic step. A key is a tag, the number of the log (4
//! bytes), and what the table says; numbers are big-endian and of fixed width, so that keys sort as what they stand for.
//! Text is followed by a zero byte where more comes after it; names, ids and values hold none.
//!
//! | tag | key | value |
//! |---|---|---|
//! | 0 | (nothing, not even a log) | the version of this format |
//! | 1 | log name, 0, tenant (instead of a number) | the number of the log |
//! | 2 | | the head |
//! | 3 | position | the event |
//! | 4 | event id | its position |
//! | 5 | resource, 0, record id, 0, position | nothing |
//! | 6 | generation, resource, 0, record id | the record |
//! | 7 | generation, resource, 0, identity name, 0, value | the id of the record that owns it |
//! | 8 | generation | nothing: the generation is being loaded, or is to be removed |
//! | 9 | subject | its keys |
//! | 10 | key id | the subject that has it |

use std::ops::Range;

use rekindle_core::types::{
    EventId, Generation, Identity, KeyId, LogId, Position, RecordId, RecordKey, ResourceName, Subject,
};

/// The key of the format's version.
pub(crate) const FORMAT: [u8; 1] = [0];

const LOG: u8 = 1;
const HEAD: u8 = 2;
const EVENT: u8 = 3;
const EVENT_ID: u8 = 4;
const HISTORY: u8 = 5;
const RECORD: u8 = 6;
const IDENTITY: u8 = 7;
const MARK: u8 = 8;
const KEYS: u8 = 9;
const KEY_ID: u8 = 10;

/// The number of a log.
pub(crate) type LogNumber = u32;

fn join(tag: u8, log: LogNumber, parts: &[&[u8]]) -> Vec<u8> {
    let mut key = Vec::with_capacity(5 + parts.iter().map(|part| part.len()).sum::<usize>());
    key.push(tag);
    key.extend_from_slice(&log.to_be_bytes());
    parts.iter().for_each(|part| key.extend_from_slice(part));
    key
}

fn number(bytes: &[u8]) -> Option<u64> {
    bytes.last_chunk().map(|bytes| u64::from_be_bytes(*bytes))
}

pub(crate) fn log(log: &LogId) -> Vec<u8> {
    let tenant = log.tenant.as_ref().map_or("", |tenant| tenant.as_str());
    [&[LOG], log.name.as_str().as_bytes(), &[0], tenant.as_bytes()].concat()
}

pub(crate) fn head(log: LogNumber) -> Vec<u8> {
    join(HEAD, log, &[])
}

/// The keys of all heads.
pub(crate) fn heads() -> Range<Vec<u8>> {
    vec![HEAD]..vec![HEAD + 1]
}

/// The number in the key of a head.
pub(crate) fn log_of_head(key: &[u8]) -> Option<LogNumber> {
    key.last_chunk().map(|bytes| LogNumber::from_be_bytes(*bytes))
}

pub(crate) fn event(log: LogNumber, position: Position) -> Vec<u8> {
    join(EVENT, log, &[&position.get().to_be_bytes()])
}

pub(crate) fn event_id(log: LogNumber, id: EventId) -> Vec<u8> {
    join(EVENT_ID, log, &[id.as_uuid().as_bytes()])
}

/// All keys of a log with this tag.
fn of_log(tag: u8, log: LogNumber) -> Range<Vec<u8>> {
    join(tag, log, &[])..match log.checked_add(1) {
        Some(next) => join(tag, next, &[]),
        None => vec![tag + 1],
    }
}

/// A row of the index of one record's events.
pub(crate) fn history(log: LogNumber, resource: &ResourceName, id: &RecordId, position: Position) -> Vec<u8> {
    join(
        HISTORY,
        log,
        &[resource.as_str().as_bytes(), &[0], id.as_str().as_bytes(), &[0], &position.get().to_be_bytes()],
    )
}

/// The position in a key of an event or of the index.
pub(crate) fn position(key: &[u8]) -> Option<Position> {
    number(key).map(Position::new)
}

pub(crate) fn record(log: LogNumber, generation: Generation, key: &RecordKey) -> Vec<u8> {
    let generation = generation.get().to_be_bytes();
    join(RECORD, log, &[&generation, key.resource.as_str().as_bytes(), &[0], key.id.as_str().as_bytes()])
}

/// The keys of the records of a resource.
pub(crate) fn records(log: LogNumber, generation: Generation, resource: &ResourceName) -> Range<Vec<u8>> {
    let generation = generation.get().to_be_bytes();
    let bound = |end: u8| join(RECORD, log, &[&generation, resource.as_str().as_bytes(), &[end]]);
    bound(0)..bound(1)
}

pub(crate) fn identity(log: LogNumber, generation: Generation, identity: &Identity) -> Vec<u8> {
    let (name, value) = (identity.name.as_bytes(), identity.value.as_bytes());
    join(
        IDENTITY,
        log,
        &[&generation.get().to_be_bytes(), identity.resource.as_str().as_bytes(), &[0], name, &[0], value],
    )
}

/// The keys of the records of a generation, and those of its identities.
pub(crate) fn generation(log: LogNumber, generation: Generation) -> [Range<Vec<u8>>; 2] {
    let of = |tag| {
        join(tag, log, &[&generation.get().to_be_bytes()])..join(tag, log, &[&generation.next().get().to_be_bytes()])
    };
    [of(RECORD), of(IDENTITY)]
}

/// The mark of a generation that is not in use: it is being loaded, or is to be removed.
pub(crate) fn mark(log: LogNumber, generation: Generation) -> Vec<u8> {
    join(MARK, log, &[&generation.get().to_be_bytes()])
}

/// The keys of the marks of a log.
pub(crate) fn marks(log: LogNumber) -> Range<Vec<u8>> {
    of_log(MARK, log)
}

/// The keys of all marks.
pub(crate) fn all_marks() -> Range<Vec<u8>> {
    vec![MARK]..vec![MARK + 1]
}

/// The log and the generation in the key of a mark.
pub(crate) fn marked(key: &[u8]) -> Option<(LogNumber, Generation)> {
    let log = key.get(1..5)?.first_chunk().map(|bytes| LogNumber::from_be_bytes(*bytes))?;
    Some((log, Generation::new(number(key)?)))
}

/// The begin that a key has in common with those among which a new one mostly comes last: of an event id those of the log, of
/// a record those of its resource in its generation, of a subject those of its kind.
pub(crate) fn range_of(key: &[u8]) -> &[u8] {
    let (fixed, end) = match key.first() {
        Some(&RECORD) => (1 + 4 + 8, Some(0)),
        Some(&KEYS) => (1 + 4, Some(b'/')),
        _ => (1 + 4, None),
    };
    let text = key.get(fixed..).unwrap_or_default();
    let end = end.and_then(|end| text.iter().position(|byte| *byte == end)).map_or(0, |at| at + 1);
    key.get(..fixed + end).unwrap_or(key)
}

/// The keys of a subject.
pub(crate) fn subject(log: LogNumber, subject: &Subject) -> Vec<u8> {
    join(KEYS, log, &[subject.as_str().as_bytes()])
}

/// The keys of the rows of all subjects of a log above this one.
pub(crate) fn subjects(log: LogNumber, after: Option<&Subject>) -> Range<Vec<u8>> {
    let Range { start, end } = of_log(KEYS, log);
    // No subject has a zero byte, so nothing is between a subject and itself with one.
    let start = after.map_or(start, |after| join(KEYS, log, &[after.as_str().as_bytes(), &[0]]));
    start..end
}

pub(crate) fn key_id(log: LogNumber, id: &KeyId) -> Vec<u8> {
    join(KEY_ID, log, &[id.as_bytes()])
}

/// The keys of all logs' numbers.
pub(crate) fn logs() -> Range<Vec<u8>> {
    vec![LOG]..vec![LOG + 1]
}

/// The name and the tenant in the key of a log's number; an empty tenant is none.
pub(crate) fn log_of(key: &[u8]) -> Option<(&str, &str)> {
    std::str::from_utf8(key.get(1..)?).ok()?.split_once('\0')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_sort_by_resource_then_by_the_bytes_of_the_id() {
        let key = |resource: &str, id: &str| record(1, Generation::new(2), &RecordKey::new(resource, id).unwrap());
        let sorted = [
            key("a", "\u{1}"),
            key("a", "b"),
            key("a", "b\u{1}"),
            key("a", "é"),
            key("a-b", "a"),
            key("a.b", "a"),
            key("b", "a"),
        ];
        assert!(sorted.is_sorted());
        let of_a = records(1, Generation::new(2), &ResourceName::new("a").unwrap());
        assert_eq!(sorted.iter().filter(|key| of_a.contains(*key)).count(), 4);
        let [all, identities] = generation(1, Generation::new(2));
        assert!(sorted.iter().all(|key| all.contains(key) && !identities.contains(key)));
    }

    #[test]
    fn numbers_come_back() {
        let (resource, id) = (ResourceName::new("a").unwrap(), RecordId::new("b").unwrap());
        assert_eq!(position(&event(7, Position::new(9))), Some(Position::new(9)));
        assert_eq!(position(&history(7, &resource, &id, Position::new(9))), Some(Position::new(9)));
        assert_eq!(marked(&mark(7, Generation::new(9))), Some((7, Generation::new(9))));
        assert_eq!(log_of_head(&head(7)), Some(7));
        assert!(
            marks(u32::MAX).contains(&mark(u32::MAX, Generation::ZERO))
                && !marks(7).contains(&mark(8, Generation::ZERO))
        );
    }

    #[test]
    fn subjects_sort_by_their_bytes_and_logs_come_back() {
        let of = |text: &str| subject(7, &Subject::new(text).unwrap());
        let after = subjects(7, Some(&Subject::new("a/b").unwrap()));
        assert!(!after.contains(&of("a/b")) && after.contains(&of("a/b\u{1}")) && after.contains(&of("a/ba")));
        assert!(!subjects(7, None).contains(&subject(8, &Subject::new("a").unwrap())));
        let main = LogId::new("main").unwrap();
        assert_eq!(log_of(&log(&main)), Some(("main", "")));
        assert_eq!(log_of(&log(&main.with_tenant("é").unwrap())), Some(("main", "é")));
    }

    #[test]
    fn logs_with_and_without_a_tenant_differ() {
        let main = LogId::new("main").unwrap();
        assert_ne!(log(&main), log(&main.with_tenant("x").unwrap()));
        assert_ne!(log(&main.with_tenant("x").unwrap()), log(&LogId::new("mainx").unwrap()));
    }

    #[test]
    fn a_range_ends_where_an_id_begins() {
        let of_record = |id: &str| record(7, Generation::new(2), &RecordKey::new("shop.order", id).unwrap());
        assert_eq!(range_of(&of_record("a")), range_of(&of_record("b\u{1}")));
        assert!(range_of(&of_record("a")).ends_with(b"shop.order\0"));
        let of_subject = |name: &str| subject(7, &Subject::new(name).unwrap());
        assert!(range_of(&of_subject("shop.order/a/b")).ends_with(b"shop.order/"));
        assert_eq!(range_of(&of_subject("actor")), join(KEYS, 7, &[]));
        let id = event_id(7, EventId::generate());
        assert_eq!(range_of(&id), join(EVENT_ID, 7, &[]));
        for short in [&[][..], &[RECORD], &[KEYS, 1]] {
            assert_eq!(range_of(short), short);
        }
    }
}
