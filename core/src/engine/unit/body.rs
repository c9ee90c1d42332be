//! Running an action's body in a unit, and the event that it leaves.

use std::mem;

use async_trait::async_trait;

use super::{Unit, no_record};
use crate::engine::action::{Action, ActionKind};
use crate::engine::hook::Body;
use crate::engine::resource::{Resource, ResourceSpec, Stored, typed};
use crate::error::{Error, ErrorKind, Result};
use crate::types::{ActionName, Change, Json, JsonObject, NewEvent, Payload, RecordKey, RecordWrite, WriteState, diff};

/// An action with its types, to be run once.
pub(super) struct Typed<A: Action> {
    pub(super) action: Option<A>,
    pub(super) key: Option<RecordKey>,
    pub(super) data: Json,
    /// The members of the data.
    pub(super) input: JsonObject,
    pub(super) outcome: Option<Option<A::Resource>>,
}

#[async_trait]
impl<A: Action> Body for Typed<A> {
    async fn run(&mut self, unit: &mut Unit) -> Result<Option<Json>> {
        let action = self.action.take().ok_or_else(|| Error::invalid("a hook ran an action twice"))?;
        let state = match &self.key {
            Some(key) => Some(
                unit.state(key)
                    .await?
                    .ok_or_else(|| Error::new(ErrorKind::NotFound, format!("{key} does not exist")))?,
            ),
            None => None,
        };
        let before = match (&self.key, &state) {
            (Some(key), Some(state)) => Some(typed::<A::Resource>(key, &state.attributes)?),
            _ => None,
        };
        let (mut key, before_attributes) = match (&self.key, &state) {
            (Some(key), Some(state)) => (Some(key.clone()), state.attributes.to_object()?),
            _ => (None, JsonObject::default()),
        };
        let created = before.is_none();
        let mut after = action.apply(before, &unit.cx)?;
        if after.is_none() && A::KIND != ActionKind::Destroy {
            return Err(no_record::<A>());
        }
        let mut written = None;
        let mut after_attributes = JsonObject::default();
        if let Some(record) = &mut after {
            let unchanged = !created && same(&before_attributes, &Stored::of(record)?.attributes);
            if unchanged && !A::Resource::RECORD_UNCHANGED {
                let attributes = state.map(|state| state.attributes);
                self.outcome = Some(after);
                return Ok(attributes);
            }
            record.stamp(created, unit.cx.now);
            let stored = Stored::of(record)?;
            if key.as_ref().is_some_and(|key| *key != stored.key) {
                let message =
                    format!("the action {:?} changed the id of a record to {:?}", A::NAME, stored.key.id.as_str());
                return Err(Error::invalid(message));
            }
            if created {
                unit.expect_absent(&stored.key)?;
            }
            key = Some(stored.key);
            written = Some(WriteState { attributes: stored.attributes.to_json()?, identities: stored.identities });
            after_attributes = stored.attributes;
        }
        let key = key.ok_or_else(no_record::<A>)?;
        let after_attributes = written.as_ref().map(|_| &after_attributes);
        let resource = unit.engine.registry.resource(A::Resource::NAME)?;
        let subject = if resource.is_sealed() || resource.subject_spec().is_some() {
            Some(resource.subject(&key, after_attributes.unwrap_or(&before_attributes))?)
        } else {
            None
        };
        // Who reads an event by the key of one subject alone needs all that the record is then.
        let moved = resource.is_sealed() && !created && subject != Some(resource.subject(&key, &before_attributes)?);
        let nothing = JsonObject::default();
        let known_before = if moved { &nothing } else { &before_attributes };
        let event =
            event::<A>(unit, &key, (&self.data, mem::take(&mut self.input)), created, known_before, after_attributes)?;
        let expected = unit.expected(&key, created);
        let record = written.as_ref().map(|state| state.attributes.clone());
        unit.written.insert(key.clone(), written.clone());
        unit.push(Change { event, write: Some(RecordWrite { key, expected, state: written }) }, subject);
        self.outcome = Some(after);
        Ok(record)
    }
}

/// The event of an action; `None` if the action is not recorded.
fn event<A: Action>(
    unit: &Unit,
    key: &RecordKey,
    (data, input): (&Json, JsonObject),
    created: bool,
    before: &JsonObject,
    after: Option<&JsonObject>,
) -> Result<Option<NewEvent>> {
    let (resource, recorded) = unit.engine.registry.expect_action::<A>()?;
    if !recorded {
        return Ok(None);
    }
    if let Some(after) = after {
        expect_replayable::<A::Resource>(resource, key, after)?;
    }
    let redacted = resource.redacted(&input, A::SENSITIVE)?;
    let recorded_data = redacted.map_or_else(|| Ok(data.clone()), |redacted| redacted.to_json())?;
    // The difference is to the whole input, redacted or not.
    let known = resource.known(input);
    let changes = after.map(|after| diff(before, &known, after)).unwrap_or_default();
    let changed = resource.redacted(&changes.changed, &[])?.unwrap_or(changes.changed);
    Ok(Some(NewEvent {
        id: unit.cx.new_event_id(),
        resource: key.resource.clone(),
        record_id: key.id.clone(),
        action: ActionName::from_static(A::NAME)?,
        action_type: A::KIND.action_type(!created),
        version: A::VERSION,
        actor: unit.cx.actor.clone(),
        data: Payload::Json(recorded_data),
        changed_attributes: Payload::Json(changed.to_json()?),
        removed_attributes: changes.removed,
        metadata: Payload::Json(unit.metadata.clone()),
        occurred_at: unit.cx.now,
    }))
}

/// That a record can be read without what events do not hold of it: that is how a replay reads it.
fn expect_replayable<R: Resource>(resource: &ResourceSpec, key: &RecordKey, after: &JsonObject) -> Result<()> {
    let sealed = resource.is_sealed();
    let names: Vec<_> = if sealed { resource.sensitive().collect() } else { resource.hidden().collect() };
    if names.is_empty() {
        return Ok(());
    }
    let mut replayed = after.clone();
    for name in names.iter().filter(|name| after.contains(name)) {
        replayed.set(*name, &())?;
    }
    replayed.to_json()?.to_value::<R>().map(drop).map_err(|error| {
        let names = names.join(", ");
        let message = if sealed {
            format!(
                "nobody could read {key} once its subject is forgotten: what is sensitive ({names}) is null then, and the type \
                 of an attribute takes no null: make it an Option"
            )
        } else {
            format!(
                "no replay could read {key} back: what is sensitive ({names}) is null in events, and the type of an attribute \
                 takes no null: make it an Option, or mark it `sensitive(stored)`"
            )
        };
        Error::invalid(message).with_source(error)
    })
}

fn same(a: &JsonObject, b: &JsonObject) -> bool {
    let changes = diff(a, &JsonObject::default(), b);
    changes.changed.is_empty() && changes.removed.is_empty()
}
