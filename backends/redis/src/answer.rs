//! What the function `commit` answers for one commit.

use redis::Value;
use rekindle_core::store::decide::{key_changed, rebuilding};
use rekindle_core::types::{Check, Commit, Committed, CommittedEvent, EventId, Identity, Position, Revision, Subject};
use rekindle_core::{Error, ErrorKind, Result};

use crate::batch::{changes, revision_after};
use crate::error::unexpected;
use crate::rows::{damaged_keys, number};
use crate::store::{bytes, text};

const TO: &str = "commit";

/// The answers for so many commits: one for each, or the first of positions that follow each other.
pub(crate) fn of_each(answer: Value, commits: usize) -> Result<Vec<Value>> {
    match answer {
        Value::Int(first) => {
            let end = i64::try_from(commits).ok().and_then(|commits| first.checked_add(commits));
            Ok((first..end.ok_or_else(|| unexpected(TO))?).map(Value::Int).collect())
        }
        Value::Array(answers) if answers.len() == commits => Ok(answers),
        _ => Err(unexpected(TO)),
    }
}

/// Reads the answer for a commit.
pub(crate) fn decode(answer: Value, commit: &Commit) -> Result<Committed> {
    match answer {
        Value::Int(position) => only(position, commit),
        Value::BulkString(events) => committed(&events),
        Value::Array(parts) => Err(refusal(parts, commit)?),
        _ => Err(unexpected(TO)),
    }
}

/// The position of the only event; the record has the revision after the expected one.
fn only(position: i64, commit: &Commit) -> Result<Committed> {
    let position = u64::try_from(position).map_err(|_| unexpected(TO))?;
    let revision = commit.writes().next().map(|write| revision_after(write.expected));
    Ok(Committed { events: vec![CommittedEvent { position: Position::new(position), revision }] })
}

/// Sixteen bytes for each event: its position and its record's revision, 0 for none.
fn committed(bytes: &[u8]) -> Result<Committed> {
    let (events, rest) = bytes.as_chunks::<16>();
    if !rest.is_empty() {
        return Err(unexpected(TO));
    }
    let events = events.iter().map(|event| {
        let both = u128::from_be_bytes(*event);
        let position = u64::try_from(both >> 64).unwrap_or(u64::MAX);
        let revision = u64::try_from(both & u128::from(u64::MAX)).unwrap_or(u64::MAX);
        CommittedEvent { position: Position::new(position), revision: (revision > 0).then(|| Revision::new(revision)) }
    });
    Ok(Committed { events: events.collect() })
}

/// The error that a refusal stands for, in the words of `decide`.
fn refusal(parts: Vec<Value>, commit: &Commit) -> Result<Error> {
    let mut parts = parts.into_iter();
    let mut next = || parts.next().ok_or_else(|| unexpected(TO));
    let word = text(next()?, TO)?;
    let place = |value: Value| match value {
        Value::Int(place) => usize::try_from(place).map_err(|_| unexpected(TO)),
        _ => Err(unexpected(TO)),
    };
    // The checks that the function counts begin with the guards and the writes of keys.
    let of_check =
        |place: usize| place.checked_sub(commit.guards.len() + commit.keys.len()).ok_or_else(|| unexpected(TO));
    let event_id = |place: usize| {
        let change = changes(commit).nth(place).and_then(|change| change.event.as_ref());
        change.map(|event| event.id).ok_or_else(|| unexpected(TO))
    };
    match word.as_str() {
        "U" => {
            let id = event_id(place(next()?)?)?;
            Ok(reused(id, &format!("is at position {} with other content", text(next()?, TO)?)))
        }
        "P" => Ok(reused(event_id(place(next()?)?)?, "is not known, and others of its commit are")),
        "B" => Ok(rebuilding(&commit.log)),
        "N" => {
            let message = format!("{} is not rewound, so that nothing is to be taken as it is", commit.log);
            Ok(Error::new(ErrorKind::Conflict { actual: None }, message))
        }
        "R" => {
            let at = Position::new(number(text(next()?, TO)?.as_bytes())?);
            let head = text(next()?, TO)?;
            let message = format!(
                "the records of {} are at position {at} of {head}: replay it to its head, or accept it as it is, before it \
                 takes commits",
                commit.log
            );
            Ok(Error::new(ErrorKind::Rewound { at }, message))
        }
        "V" => Ok(key_changed(&Subject::new(text(next()?, TO)?)?)),
        "D" => Ok(damaged_keys(&Subject::new(text(next()?, TO)?)?)),
        "K" => {
            let place = of_check(place(next()?)?)?;
            let actual = revision(next()?)?;
            match commit.checks.get(place) {
                Some(Check::Record { key, expected }) => failed(expected.verify_check(key, actual)),
                _ => Err(unexpected(TO)),
            }
        }
        "O" => {
            let place = of_check(place(next()?)?)?;
            let actual = text(next()?, TO)?;
            match commit.checks.get(place) {
                Some(Check::Identity { identity, owner }) => Ok(other_owner(identity, &actual, owner.as_ref())),
                _ => Err(unexpected(TO)),
            }
        }
        "W" => {
            let place = place(next()?)?;
            let actual = revision(next()?)?;
            let write = changes(commit).nth(place).and_then(|change| change.write.as_ref());
            let write = write.ok_or_else(|| unexpected(TO))?;
            failed(write.expected.verify_write(&write.key, actual))
        }
        "T" => {
            let (resource, identity, owner) = (text(next()?, TO)?, text(next()?, TO)?, text(next()?, TO)?);
            let (name, value) = identity.split_once('\0').ok_or_else(|| unexpected(TO))?;
            let identity = Identity::new(resource, name, value)?;
            let message = format!("the identity {identity} belongs to {owner:?}");
            Ok(Error::new(ErrorKind::IdentityTaken { identity: identity.name, owner }, message))
        }
        _ => Err(unexpected(TO)),
    }
}

/// What Lua found not to hold, told by core.
fn failed(verified: Result<()>) -> Result<Error> {
    verified.err().ok_or_else(|| Error::corrupt("Redis: a commit was refused for what holds"))
}

fn revision(value: Value) -> Result<Option<Revision>> {
    let bytes = bytes(value, TO)?.unwrap_or_default();
    if bytes.is_empty() {
        return Ok(None);
    }
    let revision = bytes.as_slice().try_into().map_err(|_| unexpected(TO))?;
    Ok(Some(Revision::new(u64::from_be_bytes(revision))))
}

fn reused(id: EventId, why: &str) -> Error {
    Error::new(ErrorKind::IdReused, format!("the event id {id} {why}"))
}

fn other_owner(identity: &Identity, actual: &str, expected: Option<&rekindle_core::types::RecordId>) -> Error {
    let name = |owner: &str| if owner.is_empty() { "no record".to_owned() } else { format!("{owner:?}") };
    let (found, expected) = (name(actual), name(expected.map_or("", |id| id.as_str())));
    let message = format!("the identity {identity} belongs to {found}; expected was {expected}");
    Error::new(ErrorKind::Conflict { actual: None }, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_that_follow_each_other_are_told_by_the_first() {
        let ints = |numbers: &[i64]| numbers.iter().copied().map(Value::Int).collect::<Vec<_>>();
        assert_eq!(of_each(Value::Int(7), 3).unwrap(), ints(&[7, 8, 9]));
        assert_eq!(of_each(Value::Array(ints(&[7, 9])), 2).unwrap(), ints(&[7, 9]));
        for (answer, commits) in [(Value::Array(ints(&[7])), 2), (Value::Int(i64::MAX), 2), (Value::Nil, 1)] {
            assert_eq!(*of_each(answer, commits).unwrap_err().kind(), ErrorKind::Corrupt);
        }
    }
}
