//! Records that are destroyed in name, in fact, or put away for a while.

#![cfg(all(feature = "derive", feature = "memory", feature = "sled"))]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests")]

mod shop;

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use rekindle::{
    Action, ActionType, Call, Context, Create, Destroy, ErrorKind, Hook, Json, Log, Rejection, Resource, SoftDestroy,
    Timestamp, Unit, Update,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use shop::state::state_of;
use shop::{Bed, Ticking, actions, events, on_each_backend, session, tick};

on_each_backend![
    p13_a_soft_destroy_is_a_destroy_event_and_the_record_stays_with_its_mark,
    p13_a_hard_destroy_leaves_no_record,
    p13_archiving_and_unarchiving_are_updates,
    p13_a_soft_destroy_keeps_what_the_body_does_not_give_up,
    p32_cycles_of_archiving_and_destroying_replay_exactly,
    e10_a_soft_destroyed_record_is_refused_by_the_body_and_a_missing_one_is_not_found,
    e11_a_soft_destroy_that_marks_nothing_is_not_recorded,
    hooks_see_the_record_that_a_soft_destroy_leaves,
    a_soft_destroy_is_run_as_a_destroy,
];

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Resource)]
#[resource(name = "shop.page", actions(Write, Archive, Unarchive, Trash, Forget, Purge, Restore))]
struct Page {
    #[resource(id)]
    id: u64,
    #[resource(identity)]
    slug: Option<String>,
    archived: bool,
    deleted_at: Option<Timestamp>,
    reason: Option<String>,
    #[resource(updated_at)]
    updated_at: Timestamp,
}

#[derive(Serialize, Deserialize, Action)]
#[action(create, resource = Page)]
struct Write {
    id: u64,
    slug: Option<String>,
}

impl Create for Write {
    fn create(self, _: &Context) -> Result<Page, Rejection> {
        let (archived, deleted_at, reason, updated_at) = (false, None, None, Timestamp::EPOCH);
        Ok(Page { id: self.id, slug: self.slug, archived, deleted_at, reason, updated_at })
    }
}

macro_rules! change {
    ($action:ident, |$page:ident| $change:expr) => {
        #[derive(Serialize, Deserialize, Action)]
        #[action(update, resource = Page)]
        struct $action {}

        impl Update for $action {
            fn update(self, $page: &mut Page, _: &Context) -> Result<(), Rejection> {
                $change;
                Ok(())
            }
        }
    };
}

change!(Archive, |page| page.archived = true);
change!(Unarchive, |page| page.archived = false);
change!(Restore, |page| (page.deleted_at, page.reason) = (None, None));

#[derive(Serialize, Deserialize, Action)]
#[action(soft_destroy, resource = Page)]
struct Trash {
    reason: String,
}

impl SoftDestroy for Trash {
    fn destroy(self, page: &mut Page, cx: &Context) -> Result<(), Rejection> {
        if page.deleted_at.is_some() {
            return Err(Rejection::new("it is in the trash already"));
        }
        page.deleted_at = Some(cx.now());
        page.reason = Some(self.reason);
        Ok(())
    }
}

/// One that gives up the identity, and does not mind if it was run before.
#[derive(Serialize, Deserialize, Action)]
#[action(soft_destroy, resource = Page)]
struct Forget {}

impl SoftDestroy for Forget {
    fn destroy(self, page: &mut Page, _: &Context) -> Result<(), Rejection> {
        page.slug = None;
        Ok(())
    }
}

#[derive(Serialize, Deserialize, Action)]
#[action(destroy, resource = Page)]
struct Purge {}

impl Destroy for Purge {}

fn write(id: u64, slug: &str) -> Write {
    Write { id, slug: Some(slug.to_owned()) }
}

fn trash() -> Trash {
    Trash { reason: "old".to_owned() }
}

async fn log(bed: &Bed) -> Log {
    bed.bare().resource::<Page>().clock(Ticking::default()).start().await.unwrap()
}

async fn page(log: &Log, id: u64) -> Option<Page> {
    log.get(&id).await.unwrap()
}

async fn p13_a_soft_destroy_is_a_destroy_event_and_the_record_stays_with_its_mark(bed: Bed) {
    let log = log(&bed).await;
    let written = session(&log).create(write(1, "a")).await.unwrap();
    session(&log).destroy(&1, trash()).await.unwrap();
    let event = shop::events(&log).await.remove(1);
    assert_eq!((event.action.as_str(), event.action_type), ("trash", ActionType::Destroy));
    assert_eq!(event.revision.unwrap().get(), 2);
    assert_eq!(shop::json(&event.data), json!({"reason": "old"}));
    assert_eq!(shop::json(&event.changed_attributes), json!({"deleted_at": tick(2), "updated_at": tick(2)}));
    let marked = Page { deleted_at: Some(tick(2)), reason: Some("old".to_owned()), updated_at: tick(2), ..written };
    assert_eq!(page(&log, 1).await, Some(marked.clone()));
    log.replay().await.unwrap();
    assert_eq!(page(&log, 1).await, Some(marked.clone()));
    assert_eq!(log.history::<Page>(&1).await.unwrap()[1].record, Some(marked));
}

async fn p13_a_hard_destroy_leaves_no_record(bed: Bed) {
    let log = log(&bed).await;
    session(&log).create(write(1, "a")).await.unwrap();
    session(&log).destroy(&1, trash()).await.unwrap();
    session(&log).destroy(&1, Purge {}).await.unwrap();
    let types: Vec<_> = events(&log).await.iter().map(|event| event.action_type).collect();
    assert_eq!(types, [ActionType::Create, ActionType::Destroy, ActionType::Destroy]);
    assert_eq!(page(&log, 1).await, None);
    log.replay().await.unwrap();
    assert_eq!(page(&log, 1).await, None);
    session(&log).create(write(2, "a")).await.unwrap();
}

async fn p13_archiving_and_unarchiving_are_updates(bed: Bed) {
    let log = log(&bed).await;
    session(&log).create(write(1, "a")).await.unwrap();
    assert!(session(&log).update(&1, Archive {}).await.unwrap().archived);
    assert!(!session(&log).update(&1, Unarchive {}).await.unwrap().archived);
    let events = events(&log).await;
    assert_eq!(events[1].action_type, ActionType::Update);
    assert_eq!(shop::json(&events[1].changed_attributes), json!({"archived": true, "updated_at": tick(2)}));
    assert_eq!(shop::json(&events[2].changed_attributes), json!({"archived": false, "updated_at": tick(3)}));
}

async fn p13_a_soft_destroy_keeps_what_the_body_does_not_give_up(bed: Bed) {
    let log = log(&bed).await;
    session(&log).create(write(1, "a")).await.unwrap();
    session(&log).destroy(&1, trash()).await.unwrap();
    let error = session(&log).create(write(2, "a")).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::IdentityTaken { .. }), "{error}");
    assert_eq!(log.find::<Page>("slug", "a").await.unwrap().unwrap().id, 1);
    session(&log).destroy(&1, Forget {}).await.unwrap();
    session(&log).create(write(2, "a")).await.unwrap();
    log.replay().await.unwrap();
    assert_eq!(log.find::<Page>("slug", "a").await.unwrap().unwrap().id, 2);
    assert_eq!(page(&log, 1).await.unwrap().slug, None);
}

async fn p32_cycles_of_archiving_and_destroying_replay_exactly(bed: Bed) {
    let log = log(&bed).await;
    let actor = session(&log);
    for round in 0..3 {
        for id in 1..=4 {
            actor.create(write(id, &format!("{id}-{round}"))).await.unwrap();
            actor.update(&id, Archive {}).await.unwrap();
            actor.destroy(&id, trash()).await.unwrap();
            actor.update(&id, Unarchive {}).await.unwrap();
            actor.update(&id, Restore {}).await.unwrap();
            actor.destroy(&id, trash()).await.unwrap();
            if round < 2 {
                actor.destroy(&id, Purge {}).await.unwrap();
            }
        }
    }
    let live = state_of(&*bed.store, &log, &["shop.page"]).await;
    assert_eq!((live.len(), live["shop.page/4"].revision), (4, 20));
    for (workers, memory) in [(1, usize::MAX), (3, 1)] {
        log.replay().workers(workers).memory(memory).await.unwrap();
        assert_eq!(state_of(&*bed.store, &log, &["shop.page"]).await, live);
    }
    log.replay().until_position(3).await.unwrap();
    assert_eq!(page(&log, 1).await.unwrap().reason.as_deref(), Some("old"));
}

async fn e10_a_soft_destroyed_record_is_refused_by_the_body_and_a_missing_one_is_not_found(bed: Bed) {
    let log = log(&bed).await;
    session(&log).create(write(1, "a")).await.unwrap();
    session(&log).destroy(&1, trash()).await.unwrap();
    let error = session(&log).destroy(&1, trash()).await.unwrap_err();
    assert_eq!((error.kind(), error.message()), (&ErrorKind::Rejected, "it is in the trash already"));
    let error = session(&log).destroy(&2, trash()).await.unwrap_err();
    assert_eq!((error.kind(), error.message()), (&ErrorKind::NotFound, "shop.page/2 does not exist"));
    assert_eq!(actions(&log).await, ["write", "trash"]);
}

async fn e11_a_soft_destroy_that_marks_nothing_is_not_recorded(bed: Bed) {
    let log = log(&bed).await;
    session(&log).create(write(1, "a")).await.unwrap();
    session(&log).destroy(&1, Forget {}).await.unwrap();
    session(&log).destroy(&1, Forget {}).await.unwrap();
    assert_eq!(actions(&log).await, ["write", "forget"]);
}

/// What a hook has seen after each action.
type Seen = Arc<Mutex<Vec<(ActionType, Option<Json>)>>>;

struct Seeing(Seen);

#[async_trait]
impl Hook for Seeing {
    async fn after_action(&self, _: &mut Unit, call: &Call, record: Option<&Json>) -> rekindle::Result<()> {
        self.0.lock().unwrap().push((call.action_type, record.cloned()));
        Ok(())
    }
}

async fn hooks_see_the_record_that_a_soft_destroy_leaves(bed: Bed) {
    let seen = Seen::default();
    let log = bed.bare().resource::<Page>().hook(Seeing(Arc::clone(&seen))).start().await.unwrap();
    session(&log).create(write(1, "a")).await.unwrap();
    session(&log).destroy(&1, trash()).await.unwrap();
    session(&log).destroy(&1, Purge {}).await.unwrap();
    let seen = seen.lock().unwrap();
    assert_eq!(seen[1].0, ActionType::Destroy);
    assert_eq!(seen[1].1.as_ref().unwrap().to_value::<Page>().unwrap().reason.as_deref(), Some("old"));
    assert_eq!(seen[2], (ActionType::Destroy, None));
}

async fn a_soft_destroy_is_run_as_a_destroy(bed: Bed) {
    let log = log(&bed).await;
    session(&log).create(write(1, "a")).await.unwrap();
    let error = session(&log).update(&1, trash()).await.unwrap_err();
    assert_eq!(error.message(), r#"the action "trash" is of type soft destroy, and was run as update"#);
    let error = session(&log).destroy(&1, Archive {}).await.unwrap_err();
    assert_eq!(error.message(), r#"the action "archive" is of type update, and was run as destroy"#);
}
