use rekindle::{Action, Resource};

#[derive(serde::Serialize, serde::Deserialize)]
struct Address {
    street: String,
}

#[derive(serde::Serialize, serde::Deserialize, Resource)]
#[resource(name = "accounts.user")]
struct User {
    #[resource(id)]
    id: u64,
    #[serde(flatten)]
    address: Address,
}

#[derive(serde::Serialize, serde::Deserialize, Action)]
#[action(create, resource = User)]
struct Register {
    #[serde(flatten)]
    address: Address,
}

fn main() {}
