use rekindle::{Action, Resource};

#[derive(serde::Serialize, serde::Deserialize, Resource)]
#[resource(name = "accounts user")]
struct User {
    #[resource(id)]
    id: u64,
}

#[derive(serde::Serialize, serde::Deserialize, Action)]
#[action(create, resource = User, name = "1st", version = 0)]
struct Register {
    email: String,
}

#[derive(serde::Serialize, serde::Deserialize, Action)]
#[action(create, resource = User)]
struct Überweise {
    email: String,
}

fn main() {}
