use rekindle::{Action, Resource};

// Everything that is wrong is told at once.
#[derive(serde::Serialize, serde::Deserialize, Resource)]
#[resource(name = "accounts.user", table = "users", name = "twice")]
struct User {
    #[resource(id, primary(key))]
    id: u64,
    #[resource(unique)]
    email: String,
}

#[derive(serde::Serialize, serde::Deserialize, Action)]
#[action(create, insert, resource = User)]
struct Register {
    #[action(sensitive)]
    email: String,
}

fn main() {}
