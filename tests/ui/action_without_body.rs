use rekindle::{Action, Resource};

#[derive(serde::Serialize, serde::Deserialize, Resource)]
#[resource(name = "accounts.user", actions(Register))]
struct User {
    #[resource(id)]
    id: u64,
}

#[derive(serde::Serialize, serde::Deserialize, Action)]
#[action(create, resource = User)]
struct Register {}

fn main() {}
