//! The names of keys.
//!
//! Everything of a log is under one hash tag, `{prefix:log:tenant}`, so that it is in one slot of a cluster: its head `:head`
//! (a hash); its events `:e:N` (lists of [`SEGMENT`]); its event ids `:i:BUCKET` (hashes); the last event of each record
//! `:c:RESOURCE` (hashes); of each generation the records `:r:G:RESOURCE` (hashes), the ids of those that are there
//! `:l:G:RESOURCE` (sorted sets), their identities `:u:G:RESOURCE` (hashes), and the names of its resources `:g:G` (a set);
//! generations that are to be removed `:x` (a set); the tokens of a rebuild `:b` and of fences `:f:LOCK`. Readers are woken by
//! the channel `:n`.
//!
//! The vault's keys are of no generation: their rows by subject `:k` (a hash), the subject of each key id `:ki` (a hash), and
//! the subjects in order `:kl` (a sorted set).
//!
//! A lock key has a tag of its own, `{prefix::LOCK}`, with the list of its logs `:logs` and its fence `:f`. The logs that have
//! the vault's keys are in the set `{prefix:::keys}`.

use std::fmt::{self, Write};

use rekindle_core::types::{EventId, LockKey, LogId, Position};

/// How many events one list holds. The Lua code has the same number.
pub(crate) const SEGMENT: u64 = 1_000;

/// The hash tag of a log, braces included.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Tag(String);

impl Tag {
    pub(crate) fn of(prefix: &str, log: &LogId) -> Self {
        let mut tag = format!("{{{}:{}", escaped(prefix), escaped(log.name.as_str()));
        if let Some(tenant) = &log.tenant {
            tag.push(':');
            tag.push_str(&escaped(tenant.as_str()));
        }
        tag.push('}');
        Self(tag)
    }

    /// A tag that was read back.
    pub(crate) fn stored(tag: String) -> Self {
        Self(tag)
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn head(&self) -> String {
        format!("{}:head", self.0)
    }

    pub(crate) fn segment(&self, segment: u64) -> String {
        format!("{}:e:{segment}", self.0)
    }

    pub(crate) fn rebuild(&self) -> String {
        format!("{}:b", self.0)
    }

    pub(crate) fn fence(&self, lock: &str) -> String {
        format!("{}:f:{lock}", self.0)
    }

    /// The rows of the vault's keys.
    pub(crate) fn keys(&self) -> String {
        format!("{}:k", self.0)
    }

    /// The subject of each id of the vault's keys.
    pub(crate) fn key_ids(&self) -> String {
        format!("{}:ki", self.0)
    }

    /// The subjects that have keys, in order.
    pub(crate) fn subjects(&self) -> String {
        format!("{}:kl", self.0)
    }

    pub(crate) fn channel(&self) -> String {
        format!("{}:n", self.0)
    }
}

/// The keys of a lock key's own: the list of its logs, and its fence.
pub(crate) fn of_lock(prefix: &str, lock: &str) -> [String; 2] {
    let tag = format!("{{{}::{lock}}}", escaped(prefix));
    [format!("{tag}:logs"), format!("{tag}:f")]
}

/// The set of the logs that have the vault's keys. Its tag is no log's and no lock key's: neither has an empty name.
pub(crate) fn keyed_logs(prefix: &str) -> String {
    format!("{{{}:::keys}}", escaped(prefix))
}

/// A lock key as text.
pub(crate) fn lock(lock: LockKey) -> String {
    match lock {
        LockKey::One(key) => key.to_string(),
        LockKey::Two(high, low) => format!("{high}.{low}"),
    }
}

/// The hash that an event id is in.
///
/// Ids of version 7 begin with their time, so those of about a minute are together; all others are spread over 65,536 by
/// their first two bytes. So a hash is small enough to be kept as a list by Redis, or so large that its name weighs nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Bucket {
    Time([u8; 4]),
    Chance([u8; 2]),
}

impl Bucket {
    pub(crate) fn of(id: EventId) -> Self {
        let uuid = id.as_uuid();
        let [a, b, c, d, ..] = *uuid.as_bytes();
        if uuid.get_version_num() == 7 { Self::Time([a, b, c, d]) } else { Self::Chance([a, b]) }
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Time(first) => write!(f, "t{:08x}", u32::from_be_bytes(*first)),
            Self::Chance(first) => write!(f, "x{:04x}", u16::from_be_bytes(*first)),
        }
    }
}

/// The list that an event is in, and its place there.
pub(crate) fn place(position: Position) -> (u64, u64) {
    let index = position.get().saturating_sub(1);
    (index / SEGMENT, index % SEGMENT)
}

/// Text with everything but ASCII letters, digits, `_`, `-` and `.` as `%XX`: so no part can end another, or the tag.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.') {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_apart_whatever_is_in_the_names() {
        let log = |tenant: Option<&str>| {
            let log = LogId::new("main").unwrap();
            tenant.map_or(log.clone(), |tenant| log.with_tenant(tenant).unwrap())
        };
        assert_eq!(Tag::of("rekindle", &log(None)).head(), "{rekindle:main}:head");
        assert_eq!(Tag::of("rekindle", &log(Some("a}{:b"))).as_str(), "{rekindle:main:a%7D%7B%3Ab}");
        let tags = [("p", None), ("p", Some("a")), ("p", Some("%61")), ("p:main", None), ("p", Some("é"))];
        let tags: std::collections::HashSet<_> = tags.iter().map(|(p, t)| Tag::of(p, &log(*t))).collect();
        assert_eq!(tags.len(), 5);
        assert_eq!(keyed_logs("a b"), "{a%20b:::keys}");
        assert_eq!(of_lock("p", &lock(LockKey::Two(-1, 2)))[0], "{p::-1.2}:logs");
    }

    #[test]
    fn event_ids_are_spread_by_time_or_by_chance() {
        let id = |text: &str| EventId::from_uuid(text.parse().unwrap());
        assert_eq!(Bucket::of(id("0193a5b2-c3d4-7abc-8abc-0123456789ab")).to_string(), "t0193a5b2");
        assert_eq!(Bucket::of(id("0193a5b2-c3d4-4abc-8abc-0123456789ab")).to_string(), "x0193");
    }

    #[test]
    fn positions_have_their_places() {
        assert_eq!(place(Position::new(1)), (0, 0));
        assert_eq!(place(Position::new(SEGMENT)), (0, SEGMENT - 1));
        assert_eq!(place(Position::new(SEGMENT + 1)), (1, 0));
    }
}
