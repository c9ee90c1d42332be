use rekindle::Action;

#[derive(serde::Serialize, serde::Deserialize, Action)]
#[action(create)]
struct Register {
    email: String,
}

#[derive(serde::Serialize, serde::Deserialize, Action)]
struct Rename {
    email: String,
}

fn main() {}
