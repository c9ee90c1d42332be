//! What the tests write.

use rekindle_core::types::{
    ActionName, ActionType, Change, Commit, EventId, Expected, IdentityValue, Json, LockKey, LogId, NewEvent, Payload,
    RecordKey, RecordWrite, Timestamp, WriteState,
};

pub(crate) const LOCK: LockKey = LockKey::One(1);

pub(crate) fn log() -> LogId {
    LogId::new("main").unwrap()
}

/// The creation of a record, with its event.
pub(crate) fn create(id: &str, attributes: &str, identity: Option<&str>) -> Change {
    let key = RecordKey::new("shop.order", id).unwrap();
    let event = NewEvent {
        id: EventId::generate(),
        resource: key.resource.clone(),
        record_id: key.id.clone(),
        action: ActionName::new("place").unwrap(),
        action_type: ActionType::Create,
        version: 1,
        actor: None,
        data: Payload::Json(Json::parse(attributes).unwrap()),
        changed_attributes: Payload::empty(),
        removed_attributes: Vec::new(),
        metadata: Payload::empty(),
        occurred_at: Timestamp::EPOCH,
    };
    let identities = identity.iter().map(|value| IdentityValue::new("email", *value).unwrap()).collect();
    let state = Some(WriteState { attributes: Json::parse(attributes).unwrap(), identities });
    Change { event: Some(event), write: Some(RecordWrite { key, expected: Expected::Absent, state }) }
}

/// A commit to the log under its lock.
pub(crate) fn commit(changes: Vec<Change>) -> Commit {
    let mut commit = Commit::new(log(), LOCK);
    commit.changes = changes;
    commit
}
