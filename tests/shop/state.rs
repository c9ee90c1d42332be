//! What a store holds of a log, down to revisions and identities: what a replay must bring back.

use std::collections::BTreeMap;

use futures::TryStreamExt;
use rekindle::Log;
use rekindle::store::{ResourceStoreExt, Store};
use rekindle::types::{RecordQuery, ResourceName};
use serde_json::Value;

/// Records by resource and id.
pub type State = BTreeMap<String, RecordState>;

#[derive(Clone, Debug, PartialEq)]
pub struct RecordState {
    pub revision: u64,
    pub attributes: Value,
    pub identities: Vec<(String, String)>,
}

/// All records of some resources of a log.
pub async fn state_of(store: &dyn Store, log: &Log, resources: &[&str]) -> State {
    let mut state = State::new();
    for resource in resources {
        let query = RecordQuery::new(ResourceName::new(resource).unwrap());
        let mut records = store.stream_records(log.id(), query);
        while let Some(record) = records.try_next().await.unwrap() {
            let identities = record.identities.iter().map(|own| (own.name.clone(), own.value.clone()));
            let record_state = RecordState {
                revision: record.revision.get(),
                attributes: record.attributes.to_value().unwrap(),
                identities: identities.collect(),
            };
            state.insert(record.key.to_string(), record_state);
        }
    }
    state
}

/// All records of a log of the shop.
pub async fn state(store: &dyn Store, log: &Log) -> State {
    state_of(store, log, &["shop.account", "shop.label"]).await
}
