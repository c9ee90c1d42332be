//! Records that belong together, made by actions that hooks run; and records whose state says what may come next.

#![cfg(all(feature = "derive", feature = "memory", feature = "sled"))]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests")]

mod shop;

use async_trait::async_trait;
use rekindle::{
    Action, Builder, Call, Context, Create, Destroy, ErrorKind, Hook, Json, Log, Rejection, Rekindle, Resource, Unit,
    Update, Upsert,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use shop::held::Held;
use shop::state::{State, state_of};
use shop::{Bed, actions, all, events, on_each_backend, session};
use uuid::Uuid;

on_each_backend![
    p30_a_parent_its_children_and_join_records_have_an_event_each_in_one_commit,
    p30_related_records_are_rebuilt_once_also_where_bodies_are_run_again,
    p30_a_child_that_is_refused_refuses_the_parent,
    p7_foreign_keys_set_by_a_relation_are_in_the_event,
    p31_a_state_machine_refuses_what_its_state_does_not_allow,
    p31_a_conditional_state_machine_replays_to_the_same_state,
];

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Resource)]
#[resource(name = "shop.order", actions(Place, Cancel))]
struct Order {
    #[resource(id)]
    id: Uuid,
    lines: u32,
    tags: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Resource)]
#[resource(name = "shop.line", actions(AddLine, DropLine))]
struct Line {
    #[resource(id)]
    id: String,
    order_id: Uuid,
    sku: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Resource)]
#[resource(name = "shop.tag", actions(Use))]
struct Tag {
    #[resource(id)]
    id: Uuid,
    #[resource(identity)]
    name: String,
    uses: u32,
}

/// The join of an order and a tag.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Resource)]
#[resource(name = "shop.tagging", actions(Join), identities(by_both(order_id, tag_id)))]
struct Tagging {
    #[resource(id)]
    id: Uuid,
    order_id: Uuid,
    tag_id: Uuid,
}

#[derive(Serialize, Deserialize, Action)]
#[action(create, resource = Order)]
struct Place {
    skus: Vec<String>,
    tags: Vec<String>,
}

impl Create for Place {
    fn create(self, cx: &Context) -> Result<Order, Rejection> {
        Ok(Order { id: cx.new_uuid(), lines: self.skus.len() as u32, tags: self.tags })
    }
}

#[derive(Serialize, Deserialize, Action)]
#[action(destroy, resource = Order)]
struct Cancel {}

impl Destroy for Cancel {}

/// Its argument is the parent, and its body sets the foreign key.
#[derive(Serialize, Deserialize, Action)]
#[action(create, resource = Line)]
struct AddLine {
    parent: Uuid,
    number: u32,
    sku: String,
}

impl Create for AddLine {
    fn create(self, _: &Context) -> Result<Line, Rejection> {
        if self.sku == "sold out" {
            return Err(Rejection::new("there is none left"));
        }
        Ok(Line { id: format!("{}/{}", self.parent, self.number), order_id: self.parent, sku: self.sku })
    }
}

#[derive(Serialize, Deserialize, Action)]
#[action(destroy, resource = Line)]
struct DropLine {}

impl Destroy for DropLine {}

#[derive(Serialize, Deserialize, Action)]
#[action(upsert, resource = Tag)]
struct Use {
    name: String,
}

impl Create for Use {
    fn create(self, cx: &Context) -> Result<Tag, Rejection> {
        Ok(Tag { id: cx.new_uuid(), name: self.name, uses: 1 })
    }
}

impl Update for Use {
    fn update(self, tag: &mut Tag, _: &Context) -> Result<(), Rejection> {
        tag.uses += 1;
        Ok(())
    }
}

impl Upsert for Use {
    fn identity(&self) -> (&'static str, String) {
        ("name", self.name.clone())
    }
}

/// Its inputs are the foreign keys.
#[derive(Serialize, Deserialize, Action)]
#[action(create, resource = Tagging)]
struct Join {
    order_id: Uuid,
    tag_id: Uuid,
}

impl Create for Join {
    fn create(self, cx: &Context) -> Result<Tagging, Rejection> {
        Ok(Tagging { id: cx.new_uuid(), order_id: self.order_id, tag_id: self.tag_id })
    }
}

/// What belongs to an order comes and goes with it.
struct Related;

#[async_trait]
impl Hook for Related {
    async fn before_action(&self, unit: &mut Unit, call: &Call) -> rekindle::Result<()> {
        if let ("cancel", Some(key)) = (call.action, &call.key) {
            let id = key.id.as_str().parse().unwrap();
            let order = unit.get::<Order>(&id).await?.unwrap();
            for number in 0..order.lines {
                unit.destroy(&format!("{id}/{number}"), DropLine {}).await?;
            }
        }
        Ok(())
    }

    async fn after_action(&self, unit: &mut Unit, call: &Call, record: Option<&Json>) -> rekindle::Result<()> {
        if call.action == "place" {
            let (input, order): (Place, Order) = (call.data.to_value()?, record.unwrap().to_value()?);
            for (number, sku) in (0..).zip(input.skus) {
                unit.create(AddLine { parent: order.id, number, sku }).await?;
            }
            for name in order.tags {
                let tag = unit.upsert(Use { name }).await?;
                unit.create(Join { order_id: order.id, tag_id: tag.id }).await?;
            }
        }
        Ok(())
    }
}

const ALL: &[&str] = &["shop.order", "shop.line", "shop.tag", "shop.tagging"];

fn related(bed: &Bed) -> Builder {
    related_on(bed.bare())
}

fn related_on(bare: Builder) -> Builder {
    bare.resource::<Order>().resource::<Line>().resource::<Tag>().resource::<Tagging>().hook(Related)
}

fn place(skus: &[&str], tags: &[&str]) -> Place {
    let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    Place { skus: owned(skus), tags: owned(tags) }
}

async fn state(bed: &Bed, log: &Log) -> State {
    state_of(&*bed.store, log, ALL).await
}

async fn p30_a_parent_its_children_and_join_records_have_an_event_each_in_one_commit(bed: Bed) {
    let held = Held::around(&bed.store);
    let log = related_on(Rekindle::on(held.clone())).start().await.unwrap();
    let order = session(&log).create(place(&["tea", "milk"], &["gift"])).await.unwrap();
    assert_eq!(actions(&log).await, ["place", "add_line", "add_line", "use", "join"]);
    assert_eq!(held.batches(), [1]);
    let lines = all::<Line>(&log).await;
    let skus: Vec<_> = lines.iter().map(|line| (line.order_id, line.sku.as_str())).collect();
    assert_eq!(skus, [(order.id, "tea"), (order.id, "milk")]);
    let (tag, join) = (all::<Tag>(&log).await.remove(0), all::<Tagging>(&log).await.remove(0));
    assert_eq!((join.order_id, join.tag_id), (order.id, tag.id));
    let (times, actors): (Vec<_>, Vec<_>) =
        events(&log).await.into_iter().map(|event| (event.occurred_at, event.event.actor)).unzip();
    assert!(times.iter().all(|time| *time == times[0]) && actors.iter().all(|actor| *actor == actors[0]));
}

async fn p30_related_records_are_rebuilt_once_also_where_bodies_are_run_again(bed: Bed) {
    let log = related(&bed).start().await.unwrap();
    let first = session(&log).create(place(&["tea", "milk"], &["gift", "fast"])).await.unwrap();
    session(&log).create(place(&["tea"], &["gift"])).await.unwrap();
    session(&log).destroy(&first.id, Cancel {}).await.unwrap();
    let (live, before) = (state(&bed, &log).await, events(&log).await);
    // One order with a line, two tags, and three joins: nobody takes those away.
    assert_eq!((live.len(), before.len()), (7, 14));
    assert_eq!(log.find::<Tag>("name", "gift").await.unwrap().unwrap().uses, 2);
    let arguments = related(&bed).replay_as_arguments::<Place>().replay_as_arguments::<AddLine>();
    let arguments = arguments.replay_as_arguments::<Use>().replay_as_arguments::<Join>().start().await.unwrap();
    for log in [&log, &arguments] {
        for (workers, memory) in [(1, usize::MAX), (2, 1)] {
            log.replay().workers(workers).memory(memory).await.unwrap();
            assert_eq!((state(&bed, log).await, &events(log).await), (live.clone(), &before));
        }
        assert!(log.replay().verify().await.unwrap().drifts.is_empty());
    }
}

async fn p30_a_child_that_is_refused_refuses_the_parent(bed: Bed) {
    let log = related(&bed).start().await.unwrap();
    let error = session(&log).create(place(&["tea", "sold out"], &["gift"])).await.unwrap_err();
    assert_eq!((error.kind(), error.message()), (&ErrorKind::Rejected, "there is none left"));
    assert!(state(&bed, &log).await.is_empty() && events(&log).await.is_empty());
}

async fn p7_foreign_keys_set_by_a_relation_are_in_the_event(bed: Bed) {
    let log = related(&bed).start().await.unwrap();
    let order = session(&log).create(place(&["tea"], &["gift"])).await.unwrap();
    let events = events(&log).await;
    let (line, join) = (&events[1], &events[3]);
    // The body has set it from an argument of another name.
    assert_eq!(shop::json(&line.data), json!({"parent": order.id, "number": 0, "sku": "tea"}));
    assert_eq!(shop::json(&line.changed_attributes), json!({"id": format!("{}/0", order.id), "order_id": order.id}));
    // It is the input itself.
    let tag = log.find::<Tag>("name", "gift").await.unwrap().unwrap();
    assert_eq!(shop::json(&join.data), json!({"order_id": order.id, "tag_id": tag.id}));
    assert_eq!(shop::json(&join.changed_attributes), json!({"id": join.record_id.as_str()}));
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum At {
    Packed,
    Sent,
    Waiting,
    Delivered,
    Returned,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Resource)]
#[resource(name = "shop.parcel", actions(Pack, Send, Deliver, Miss))]
struct Parcel {
    #[resource(id)]
    id: u64,
    at: At,
    tries: u32,
}

#[derive(Serialize, Deserialize, Action)]
#[action(create, resource = Parcel)]
struct Pack {
    id: u64,
}

impl Create for Pack {
    fn create(self, _: &Context) -> Result<Parcel, Rejection> {
        Ok(Parcel { id: self.id, at: At::Packed, tries: 0 })
    }
}

macro_rules! step {
    ($action:ident, $from:pat, |$parcel:ident| $to:expr) => {
        #[derive(Serialize, Deserialize, Action)]
        #[action(update, resource = Parcel)]
        struct $action {}

        impl Update for $action {
            fn update(self, $parcel: &mut Parcel, _: &Context) -> Result<(), Rejection> {
                if !matches!($parcel.at, $from) {
                    return Err(Rejection::new(format!("a parcel that is {:?} does not {}", $parcel.at, Self::NAME)));
                }
                $parcel.at = $to;
                Ok(())
            }
        }
    };
}

step!(Send, At::Packed | At::Waiting, |parcel| {
    parcel.tries += 1;
    At::Sent
});
step!(Deliver, At::Sent, |parcel| At::Delivered);
// The third time that nobody is there, it goes back.
step!(Miss, At::Sent, |parcel| if parcel.tries < 3 { At::Waiting } else { At::Returned });

async fn run(log: &Log, id: u64, step: &str) -> rekindle::Result<Parcel> {
    match step {
        "send" => session(log).update(&id, Send {}).await,
        "deliver" => session(log).update(&id, Deliver {}).await,
        _ => session(log).update(&id, Miss {}).await,
    }
}

async fn p31_a_state_machine_refuses_what_its_state_does_not_allow(bed: Bed) {
    let log = bed.bare().resource::<Parcel>().start().await.unwrap();
    session(&log).create(Pack { id: 1 }).await.unwrap();
    let allowed = |at: At, step: &str| match at {
        At::Packed | At::Waiting => step == "send",
        At::Sent => step != "send",
        At::Delivered | At::Returned => false,
    };
    let mut events = 1;
    for way in ["send", "miss", "send", "deliver"] {
        let at = log.get::<Parcel>(&1).await.unwrap().unwrap().at;
        for step in ["send", "deliver", "miss"].into_iter().filter(|step| !allowed(at, step)) {
            let error = run(&log, 1, step).await.unwrap_err();
            let told = format!("a parcel that is {at:?} does not {step}");
            assert_eq!((error.kind(), error.message()), (&ErrorKind::Rejected, told.as_str()));
        }
        run(&log, 1, way).await.unwrap();
        events += 1;
    }
    assert_eq!((shop::events(&log).await.len(), run(&log, 1, "send").await.is_err()), (events, true));
}

async fn p31_a_conditional_state_machine_replays_to_the_same_state(bed: Bed) {
    let log = bed.bare().resource::<Parcel>().start().await.unwrap();
    let ways: [(&[&str], At); 4] = [
        (&[], At::Packed),
        (&["send", "miss"], At::Waiting),
        (&["send", "miss", "send", "deliver"], At::Delivered),
        (&["send", "miss", "send", "miss", "send", "miss"], At::Returned),
    ];
    for (id, (way, _)) in (1..).zip(ways) {
        session(&log).create(Pack { id }).await.unwrap();
        for step in way {
            run(&log, id, step).await.unwrap();
        }
    }
    let live = state_of(&*bed.store, &log, &["shop.parcel"]).await;
    let machine = bed.bare().resource::<Parcel>().replay_as_arguments::<Send>().replay_as_arguments::<Deliver>();
    let arguments = machine.replay_as_arguments::<Miss>().start().await.unwrap();
    for log in [&log, &arguments] {
        log.replay().await.unwrap();
        assert_eq!(state_of(&*bed.store, log, &["shop.parcel"]).await, live);
    }
    let reached: Vec<_> = all::<Parcel>(&log).await.iter().map(|parcel| parcel.at).collect();
    assert_eq!(reached, ways.map(|(_, at)| at));
}
