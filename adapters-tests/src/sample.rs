//! What the cases commit.

use rekindle_core::types::{
    ActionName, ActionType, Actor, Change, Check, Commit, DefaultLockKeys, EventId, Expected, Identity, IdentityValue,
    Json, KeyGuard, KeyId, KeyRow, KeyWrite, LockKey, LockKeys, LogId, NewEvent, Payload, Position, RecordId,
    RecordKey, RecordWrite, ResourceName, Revision, Subject, Timestamp, WriteState,
};

/// The resource of all samples.
pub(crate) const RESOURCE: &str = "suite.item";

pub(crate) fn log() -> LogId {
    LogId::new("suite").unwrap()
}

pub(crate) fn tenant(tenant: &str) -> LogId {
    log().with_tenant(tenant).unwrap()
}

pub(crate) fn lock_of(log: &LogId) -> LockKey {
    DefaultLockKeys::default().key(log).unwrap()
}

pub(crate) fn resource() -> ResourceName {
    ResourceName::new(RESOURCE).unwrap()
}

pub(crate) fn key(id: &str) -> RecordKey {
    RecordKey::new(RESOURCE, id).unwrap()
}

pub(crate) fn json(text: &str) -> Json {
    Json::parse(text).unwrap()
}

pub(crate) fn number(n: u64) -> Json {
    json(&format!("{{\"n\":{n}}}"))
}

pub(crate) fn at(microseconds: i64) -> Timestamp {
    Timestamp::from_microseconds(microseconds).unwrap()
}

pub(crate) fn email(value: &str) -> IdentityValue {
    IdentityValue::new("email", value).unwrap()
}

/// The identity of [`email`], with its resource.
pub(crate) fn email_of(value: &str) -> Identity {
    email(value).of(&resource())
}

/// The state `{"n": n}` without an identity.
pub(crate) fn state(n: u64) -> WriteState {
    WriteState { attributes: number(n), identities: Vec::new() }
}

/// The state `{"n": n}` that owns these e-mail addresses; only the first is named `email`.
pub(crate) fn owning(n: u64, emails: &[&str]) -> WriteState {
    assert!(emails.len() < 2, "a record has each identity once");
    WriteState { attributes: number(n), identities: emails.iter().map(|value| email(value)).collect() }
}

/// A plain event of a record of [`RESOURCE`].
pub(crate) fn event(id: &str, data: Json) -> NewEvent {
    NewEvent {
        id: EventId::generate(),
        resource: resource(),
        record_id: RecordId::new(id).unwrap(),
        action: ActionName::new("set").unwrap(),
        action_type: ActionType::Update,
        version: 1,
        actor: Some(Actor::new("user", "42").unwrap()),
        data: data.into(),
        changed_attributes: Payload::empty(),
        removed_attributes: Vec::new(),
        metadata: Payload::empty(),
        occurred_at: at(1_800_000_000_000_000),
    }
}

/// A change that is an event only.
pub(crate) fn note(id: &str, n: u64) -> Change {
    Change { event: Some(event(id, number(n))), write: None }
}

pub(crate) fn only(event: NewEvent) -> Change {
    Change { event: Some(event), write: None }
}

/// A write with the event that [`fold`](crate::look::fold) makes the record of again.
pub(crate) fn change(id: &str, expected: Expected, state: Option<WriteState>) -> Change {
    let mut event = event(id, state.as_ref().map_or_else(Json::empty, |state| state.attributes.clone()));
    event.action_type = match (&state, expected) {
        (None, _) => ActionType::Destroy,
        (Some(_), Expected::Absent) => ActionType::Create,
        (Some(_), _) => ActionType::Update,
    };
    if let Some(state) = &state {
        event.metadata = Json::from_value(&serde_json::json!({ "identities": state.identities })).unwrap().into();
    }
    Change { event: Some(event), write: Some(RecordWrite { key: key(id), expected, state }) }
}

pub(crate) fn create(id: &str, n: u64) -> Change {
    change(id, Expected::Absent, Some(state(n)))
}

pub(crate) fn update(id: &str, revision: u64, n: u64) -> Change {
    change(id, Expected::Revision(Revision::new(revision)), Some(state(n)))
}

/// Sets a record, whatever it is.
pub(crate) fn set(id: &str, state: WriteState) -> Change {
    change(id, Expected::Any, Some(state))
}

pub(crate) fn destroy(id: &str) -> Change {
    change(id, Expected::Exists, None)
}

pub(crate) fn commit(log: &LogId, changes: Vec<Change>) -> Commit {
    Commit { changes, ..Commit::new(log.clone(), lock_of(log)) }
}

/// A commit that takes a log as it is, rewound to this position.
pub(crate) fn accepting(commit: Commit, at: u64) -> Commit {
    Commit { accepts: Some(Position::new(at)), ..commit }
}

pub(crate) fn checked(mut commit: Commit, check: Check) -> Commit {
    commit.checks.push(check);
    commit
}

pub(crate) fn check(id: &str, expected: Expected) -> Check {
    Check::Record { key: key(id), expected }
}

pub(crate) fn subject(text: &str) -> Subject {
    Subject::new(text).unwrap()
}

pub(crate) fn key_id(n: u8) -> KeyId {
    KeyId::from_bytes([n; 32])
}

/// A write of a subject's keys: the row after this version, at this epoch, with a body that no other has.
pub(crate) fn keys(text: &str, expected: u64, epoch: u64) -> KeyWrite {
    let body = format!("the keys of {text} after {expected}, at {epoch}").into_bytes();
    let row = KeyRow { subject: subject(text), version: expected + 1, epoch, body };
    KeyWrite { expected, row, new_ids: Vec::new() }
}

/// The same write, with a key that is new.
pub(crate) fn with_id(mut write: KeyWrite, id: KeyId) -> KeyWrite {
    write.new_ids.push(id);
    write
}

/// The same commit, with a write of keys.
pub(crate) fn keyed(mut commit: Commit, write: KeyWrite) -> Commit {
    commit.keys.push(write);
    commit
}

/// A commit of keys only.
pub(crate) fn of_keys(log: &LogId, keys: Vec<KeyWrite>) -> Commit {
    Commit { keys, ..commit(log, Vec::new()) }
}

/// The same commit, of what was sealed at this epoch of a subject.
pub(crate) fn guarded(mut commit: Commit, text: &str, epoch: u64) -> Commit {
    commit.guards.push(KeyGuard { subject: subject(text), epoch });
    commit
}

/// Text that breaks whoever builds a query, a key or a path of it by hand.
pub(crate) const TRICKY: &[&str] = &[
    "%",
    "_",
    "a%",
    "a_",
    "ab",
    "a",
    "A",
    "a b",
    " a",
    "a ",
    "'",
    "\"",
    "a'; drop table events; --",
    "\\",
    "a\\",
    "a/b",
    "a//b",
    "a:b",
    "a{b}",
    "{b}",
    "a[b]",
    "*",
    "a*",
    "?",
    ".",
    "..",
    "\n",
    "\r\n",
    "\t",
    "$1",
    "\u{1}",
    "\u{7f}",
    "e\u{301}",
    "\u{e9}",
    "\u{1f980}",
    "\u{fffd}",
    "\u{10ffff}",
    "\u{202e}abc",
    "null",
    "0",
    "-1",
];
