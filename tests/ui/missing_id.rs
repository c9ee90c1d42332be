use rekindle::Resource;

#[derive(serde::Serialize, serde::Deserialize, Resource)]
#[resource(name = "accounts.user")]
struct User {
    id: u64,
}

fn main() {}
