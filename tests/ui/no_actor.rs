use rekindle::{Action, Context, Create, Destroy, Log, Rejection, Resource, Update};

#[derive(serde::Serialize, serde::Deserialize, Resource)]
#[resource(name = "accounts.user", actions(Register, Rename, Close))]
struct User {
    #[resource(id)]
    id: u64,
}

#[derive(serde::Serialize, serde::Deserialize, Action)]
#[action(create, resource = User)]
struct Register {}

impl Create for Register {
    fn create(self, _: &Context) -> Result<User, Rejection> {
        Ok(User { id: 1 })
    }
}

#[derive(serde::Serialize, serde::Deserialize, Action)]
#[action(update, resource = User)]
struct Rename {}

impl Update for Rename {
    fn update(self, _: &mut User, _: &Context) -> Result<(), Rejection> {
        Ok(())
    }
}

#[derive(serde::Serialize, serde::Deserialize, Action)]
#[action(destroy, resource = User)]
struct Close {}

impl Destroy for Close {}

// With an actor, each of them compiles: that the ones below do not is not for another reason.
async fn with_an_actor(log: Log) -> rekindle::Result<()> {
    log.as_system("job").create(Register {}).await?;
    log.as_system("job").update(&1, Rename {}).await?;
    log.as_system("job").destroy(&1, Close {}).await?;
    log.as_system("job").begin()?.commit().await?;
    Ok(())
}

async fn without_an_actor(log: Log) -> rekindle::Result<()> {
    log.create(Register {}).await?;
    log.update(&1, Rename {}).await?;
    log.destroy(&1, Close {}).await?;
    log.begin()?.commit().await?;
    Ok(())
}

fn main() {}
