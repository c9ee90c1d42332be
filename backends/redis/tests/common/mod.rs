//! What the tests share: servers, stores under prefixes of their own, and what they write.

#![allow(dead_code, unreachable_pub, reason = "each test file uses some of it")]

pub mod load;

use rekindle_core::types::{
    ActionName, ActionType, Change, Commit, EventId, Expected, IdentityValue, Json, LockKey, LogId, NewEvent, Payload,
    RecordKey, RecordWrite, Timestamp, WriteState,
};
use rekindle_redis::{RedisBackend, RedisConfig};
use rekindle_test_servers::{Redis, RedisCluster, fresh_prefix};

pub const LOCK: LockKey = LockKey::One(1);

/// The server that all tests of a file share. A file of tests that are not to run ends here, and says so.
pub fn server() -> &'static Redis {
    rekindle_test_servers::redis().unwrap_or_else(|| std::process::exit(0))
}

/// The cluster that all tests of a file share.
pub fn cluster() -> &'static RedisCluster {
    rekindle_test_servers::redis_cluster().unwrap_or_else(|| std::process::exit(0))
}

/// Settings with a prefix that no other test has.
pub fn config() -> RedisConfig {
    RedisConfig::new().with_prefix(fresh_prefix())
}

/// A store at this URL.
pub async fn open(url: &str, config: &RedisConfig) -> RedisBackend {
    RedisBackend::connect_with(url, config.clone()).await.unwrap()
}

pub fn log() -> LogId {
    LogId::new("main").unwrap()
}

pub fn key(id: &str) -> RecordKey {
    RecordKey::new("shop.order", id).unwrap()
}

/// The creation of a record, with its event.
pub fn create(id: &str, attributes: &str, identity: Option<&str>) -> Change {
    let key = key(id);
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
pub fn commit(changes: Vec<Change>) -> Commit {
    let mut commit = Commit::new(log(), LOCK);
    commit.changes = changes;
    commit
}

/// A commit that creates one record.
pub fn creation(id: &str) -> Commit {
    commit(vec![create(id, r#"{"n":1}"#, None)])
}
