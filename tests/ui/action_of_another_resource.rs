use rekindle::{Action, Create, Context, Rejection, Resource};

#[derive(serde::Serialize, serde::Deserialize, Resource)]
#[resource(name = "accounts.user", actions(Publish))]
struct User {
    #[resource(id)]
    id: u64,
}

#[derive(serde::Serialize, serde::Deserialize, Resource)]
#[resource(name = "post", actions(Publish))]
struct Post {
    #[resource(id)]
    id: u64,
}

#[derive(serde::Serialize, serde::Deserialize, Action)]
#[action(create, resource = Post)]
struct Publish {}

impl Create for Publish {
    fn create(self, _: &Context) -> Result<Post, Rejection> {
        Ok(Post { id: 1 })
    }
}

fn main() {}
