use rekindle::{Action, Resource};

#[derive(serde::Serialize, serde::Deserialize, Resource)]
#[resource(name = "shape")]
enum Shape {
    Circle { id: u64 },
}

#[derive(serde::Serialize, serde::Deserialize, Resource)]
#[resource(name = "pair")]
struct Pair(u64, u64);

#[derive(serde::Serialize, serde::Deserialize, Resource)]
#[resource(name = "boxed")]
struct Boxed<T> {
    #[resource(id)]
    id: T,
}

#[derive(serde::Serialize, serde::Deserialize, Action)]
#[action(destroy, resource = Shape)]
struct Close;

fn main() {}
