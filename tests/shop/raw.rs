//! Events that no action of the shop can write: what an older program, or a faulty one, has left in a log.

use rekindle::store::{EventStoreExt, Store};
use rekindle::types::{
    ActionName, Change, Commit, DefaultLockKeys, Expected, LockKeys, NewEvent, Payload, RecordKey, RecordWrite,
    WriteState,
};
use rekindle::{ActionType, EventId, Json, Log, Position, Timestamp};
use serde_json::{Value, json};

/// Writes one event straight into the store, and a record along with it. The change is an update of version 1 unless
/// it is told otherwise.
pub struct Raw<'a> {
    resource: &'a str,
    id: &'a str,
    action: &'a str,
    action_type: ActionType,
    version: u32,
    data: Value,
    changed: Value,
}

pub fn raw<'a>(resource: &'a str, id: &'a str, action: &'a str) -> Raw<'a> {
    Raw { resource, id, action, action_type: ActionType::Update, version: 1, data: json!({}), changed: json!({}) }
}

impl Raw<'_> {
    pub fn of_type(mut self, action_type: ActionType) -> Self {
        self.action_type = action_type;
        self
    }

    pub fn version(mut self, version: u32) -> Self {
        self.version = version;
        self
    }

    pub fn data(mut self, data: Value) -> Self {
        self.data = data;
        self
    }

    pub fn changed(mut self, changed: Value) -> Self {
        self.changed = changed;
        self
    }

    /// Writes it, and tells its position.
    pub async fn write(self, store: &dyn Store, log: &Log) -> Position {
        let key = RecordKey::new(self.resource, self.id).unwrap();
        let event = NewEvent {
            id: EventId::generate(),
            resource: key.resource.clone(),
            record_id: key.id.clone(),
            action: ActionName::new(self.action).unwrap(),
            action_type: self.action_type,
            version: self.version,
            actor: None,
            data: Payload::Json(Json::from_value(&self.data).unwrap()),
            changed_attributes: Payload::Json(Json::from_value(&self.changed).unwrap()),
            removed_attributes: Vec::new(),
            metadata: Payload::empty(),
            occurred_at: Timestamp::now(),
        };
        let attributes = Json::from_value(&json!({"written": "raw"})).unwrap();
        let state =
            (self.action_type != ActionType::Destroy).then(|| WriteState { attributes, identities: Vec::new() });
        let write = RecordWrite { key, expected: Expected::Any, state };
        let mut commit = Commit::new(log.id().clone(), DefaultLockKeys::default().key(log.id()).unwrap());
        commit.changes.push(Change { event: Some(event), write: Some(write) });
        store.commit_one(commit).await.unwrap().events[0].position
    }
}
