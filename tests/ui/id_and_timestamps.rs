use rekindle::{Resource, Timestamp};

#[derive(serde::Serialize, serde::Deserialize, Resource)]
#[resource(name = "accounts.user")]
struct User {
    #[resource(id, sensitive)]
    id: u64,
    #[resource(id)]
    other: u64,
    #[resource(created_at)]
    first: Timestamp,
    #[resource(created_at)]
    second: Timestamp,
    #[resource(identity)]
    #[serde(skip)]
    email: String,
    #[serde(rename(serialize = "a", deserialize = "b"))]
    renamed: String,
}

fn main() {}
