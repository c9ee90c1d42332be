//! In whose name things are run again, and in whose name hooks run.

#![cfg(all(feature = "derive", feature = "memory", feature = "sled"))]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests")]

mod shop;

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use rekindle::{
    Action, Actor, Call, Context, Create, EventQuery, Hook, Json, Log, Rejection, Resource, Session, Unit, Update,
};
use serde::{Deserialize, Serialize};
use shop::{Bed, events, on_each_backend};
use uuid::Uuid;

on_each_backend![
    p19_bodies_that_are_run_again_know_the_actor_of_their_event,
    p20_a_body_that_is_run_again_knows_that_nobody_ran_it,
    p21_a_part_of_the_system_is_told_from_a_user_of_the_same_id,
    p19_what_hooks_run_is_run_in_the_name_of_their_action,
    p19_a_tenant_has_the_same_actors,
];

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Resource)]
#[resource(name = "shop.signature", actions(Sign, Countersign))]
struct Signature {
    #[resource(id)]
    id: u64,
    by: Vec<String>,
}

fn by(cx: &Context) -> String {
    cx.actor().map_or_else(|| "nobody".to_owned(), ToString::to_string)
}

#[derive(Serialize, Deserialize, Action)]
#[action(create, resource = Signature)]
struct Sign {
    id: u64,
}

impl Create for Sign {
    fn create(self, cx: &Context) -> Result<Signature, Rejection> {
        Ok(Signature { id: self.id, by: vec![by(cx)] })
    }
}

#[derive(Serialize, Deserialize, Action)]
#[action(update, resource = Signature)]
struct Countersign {}

impl Update for Countersign {
    fn update(self, signature: &mut Signature, cx: &Context) -> Result<(), Rejection> {
        signature.by.push(by(cx));
        Ok(())
    }
}

async fn arguments(bed: &Bed) -> Log {
    let builder = bed.bare().resource::<Signature>().replay_as_arguments::<Sign>();
    builder.replay_as_arguments::<Countersign>().start().await.unwrap()
}

/// Signs in the name of all of these, and replays by running the bodies again.
async fn signed(bed: &Bed, sessions: impl Fn(&Log) -> Vec<Session>) -> Vec<String> {
    let log = arguments(bed).await;
    for (n, session) in sessions(&log).into_iter().enumerate() {
        if n == 0 {
            session.create(Sign { id: 1 }).await.unwrap();
        } else {
            session.update(&1, Countersign {}).await.unwrap();
        }
    }
    let live = log.get::<Signature>(&1).await.unwrap();
    log.clear_records().await.unwrap();
    log.replay().await.unwrap();
    assert_eq!(log.get::<Signature>(&1).await.unwrap(), live);
    live.unwrap().by
}

async fn p19_bodies_that_are_run_again_know_the_actor_of_their_event(bed: Bed) {
    let uuid = Uuid::from_u128(7);
    let signed = signed(&bed, |log| {
        let actor = |actor: rekindle::Result<Actor>| log.as_actor(actor.unwrap());
        vec![actor(Actor::new("user", 42)), actor(Actor::new("admin", uuid)), actor(Actor::new("employee", "Ünal, B."))]
    });
    assert_eq!(signed.await, ["user/42", "admin/00000000-0000-0000-0000-000000000007", "employee/Ünal, B."]);
}

async fn p20_a_body_that_is_run_again_knows_that_nobody_ran_it(bed: Bed) {
    let signed = signed(&bed, |log| vec![log.as_anonymous(), log.as_system("job"), log.as_anonymous()]);
    assert_eq!(signed.await, ["nobody", "system/job", "nobody"]);
}

async fn p21_a_part_of_the_system_is_told_from_a_user_of_the_same_id(bed: Bed) {
    let log = arguments(&bed).await;
    let user = Actor::new("user", "nightly").unwrap();
    log.as_system("nightly").create(Sign { id: 1 }).await.unwrap();
    log.as_actor(&user).create(Sign { id: 2 }).await.unwrap();
    for (actor, record) in [(Actor::system("nightly").unwrap(), "1"), (user, "2")] {
        let found = log.events(&EventQuery::new().with_actor(actor)).await.unwrap().items;
        assert_eq!(found.iter().map(|event| event.record_id.as_str()).collect::<Vec<_>>(), [record]);
    }
}

/// Each signature is countersigned.
#[derive(Clone, Default)]
struct Countersigning(Arc<Mutex<Vec<Option<Actor>>>>);

#[async_trait]
impl Hook for Countersigning {
    async fn after_action(&self, unit: &mut Unit, call: &Call, _: Option<&Json>) -> rekindle::Result<()> {
        self.0.lock().unwrap().push(call.actor.clone());
        if let Some(Sign { id }) = call.input()? {
            assert_eq!(unit.context().actor(), call.actor.as_ref());
            unit.update(&id, Countersign {}).await?;
        }
        Ok(())
    }
}

async fn p19_what_hooks_run_is_run_in_the_name_of_their_action(bed: Bed) {
    let hook = Countersigning::default();
    let log = bed.bare().resource::<Signature>().hook(hook.clone()).start().await.unwrap();
    let user = Actor::new("user", 42).unwrap();
    log.as_actor(&user).create(Sign { id: 1 }).await.unwrap();
    log.as_anonymous().create(Sign { id: 2 }).await.unwrap();
    let stored: Vec<_> = events(&log).await.iter().map(|event| event.actor.clone()).collect();
    assert_eq!(stored, [Some(user.clone()), Some(user), None, None]);
    assert_eq!(*hook.0.lock().unwrap(), stored);
}

async fn p19_a_tenant_has_the_same_actors(bed: Bed) {
    let log = arguments(&bed).await.tenant("acme").unwrap();
    log.as_actor(Actor::new("user", 42).unwrap()).create(Sign { id: 1 }).await.unwrap();
    log.replay().await.unwrap();
    assert_eq!(log.get::<Signature>(&1).await.unwrap().unwrap().by, ["user/42"]);
}
