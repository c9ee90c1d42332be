//! Folding events into records: what replay, `as_of` and history share.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::action::{ActionKind, ActionSpec};
use super::context::Context;
use super::registry::{Registry, Rule};
use super::resource::ResourceSpec;
use super::unit::panicked;
use crate::error::{Error, ErrorKind, Result};
use crate::store::LoadedRecord;
use crate::types::{ActionType, Event, JsonObject, Position, RecordKey, ResourceName, Revision, WriteState};

/// A record between two events.
#[derive(Clone, Debug)]
pub(crate) struct FoldState {
    pub(crate) revision: Revision,
    /// `None` once it is destroyed.
    pub(crate) attributes: Option<JsonObject>,
    /// The last event that was applied.
    pub(crate) position: Position,
    dirty: bool,
}

/// Records by key, as far as the events were applied.
#[derive(Default)]
pub(crate) struct Fold {
    states: HashMap<RecordKey, FoldState>,
}

impl Fold {
    /// Whether a record must be fetched before the event can be applied.
    pub(crate) fn lacks(&self, key: &RecordKey) -> bool {
        !self.states.contains_key(key)
    }

    /// Takes a record over as an earlier window left it.
    pub(crate) fn fetched(&mut self, record: LoadedRecord) -> Result<()> {
        let attributes = record.state.map(|state| state.attributes.to_object()).transpose()?;
        let state = FoldState { revision: record.revision, attributes, position: Position::ZERO, dirty: false };
        self.states.insert(record.key, state);
        Ok(())
    }

    /// All records that it knows, destroyed ones among them.
    pub(crate) fn states(&self) -> impl Iterator<Item = (&RecordKey, &FoldState)> {
        self.states.iter()
    }

    /// Forgets the records that do not pass.
    pub(crate) fn retain(&mut self, keep: impl Fn(&RecordKey) -> bool) {
        self.states.retain(|key, _| keep(key));
    }

    pub(crate) fn state(&self, key: &RecordKey) -> Option<&FoldState> {
        self.states.get(key)
    }

    /// Applies one event. An event that came without a record write changes nothing.
    pub(crate) fn apply(&mut self, registry: &Registry, event: &Event) -> Result<()> {
        self.apply_where(registry, event, |_| true)
    }

    /// Applies what one event does to one record: the others that routes lead to are not known here.
    pub(crate) fn apply_to(&mut self, key: &RecordKey, registry: &Registry, event: &Event) -> Result<()> {
        if !registry.concerns(event, key) {
            return Ok(());
        }
        self.apply_where(registry, event, |target| target.resource == key.resource.as_str())
    }

    fn apply_where(
        &mut self,
        registry: &Registry,
        event: &Event,
        concerned: impl Fn(&ActionSpec) -> bool,
    ) -> Result<()> {
        if event.revision.is_none() {
            return Ok(());
        }
        match registry.rule(event)? {
            Rule::Force(resource, kind) => self.force(registry, resource, kind, event),
            Rule::Arguments(action) => self.run(registry, action, event, true),
            Rule::Route(targets) => targets
                .iter()
                .filter(|target| concerned(target))
                .try_for_each(|action| self.run(registry, action, event, false)),
        }
        .map_err(|error| at(event, &error))
    }

    /// Data and changed attributes are merged into the record; no code of the user's is run.
    fn force(&mut self, registry: &Registry, resource: &ResourceSpec, kind: ActionKind, event: &Event) -> Result<()> {
        let key = event.key();
        if event.action_type == ActionType::Destroy && kind != ActionKind::SoftDestroy {
            self.expect(&key)?;
            self.set(key, None, event);
            return Ok(());
        }
        // An upsert finds what there is: not what there was when it was recorded.
        let exists = self.states.get(&key).is_some_and(|state| state.attributes.is_some());
        let creates = if kind == ActionKind::Upsert { !exists } else { event.action_type == ActionType::Create };
        let state = match self.states.entry(key) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) if creates => entry.insert(FoldState {
                revision: Revision::ZERO,
                attributes: None,
                position: Position::ZERO,
                dirty: true,
            }),
            Entry::Vacant(entry) => return Err(missing(entry.key())),
        };
        if creates {
            if state.attributes.is_some() {
                return Err(Error::invalid(format!("the record {} is there already", event.key())));
            }
            state.attributes = Some(JsonObject::default());
        }
        let Some(attributes) = &mut state.attributes else { return Err(missing(&event.key())) };
        attributes.merge_json(event.data.json()?, |name| resource.has_attribute(name))?;
        attributes.merge_json(event.changed_attributes.json()?, |_| true)?;
        for name in &event.removed_attributes {
            attributes.remove(name);
        }
        for change in registry.changes_on_replay(event.resource.as_str()) {
            *attributes = change(attributes, event)?;
        }
        state.revision = event.revision.unwrap_or(state.revision);
        state.position = event.position;
        state.dirty = true;
        Ok(())
    }

    /// The body of an action is run on the input.
    fn run(&mut self, registry: &Registry, action: &ActionSpec, event: &Event, as_arguments: bool) -> Result<()> {
        let key = RecordKey { resource: ResourceName::new(action.resource)?, id: event.record_id.clone() };
        let known = self.states.get(&key).and_then(|state| state.attributes.as_ref());
        let before = match action.kind {
            ActionKind::Create => None,
            ActionKind::Upsert => known.map(JsonObject::to_json).transpose()?,
            ActionKind::Update | ActionKind::Destroy | ActionKind::SoftDestroy => Some(self.expect(&key)?.to_json()?),
        };
        let changed = event.changed_attributes.json()?.to_object()?;
        let input = if as_arguments {
            let mut input = event.data.json()?.to_object()?;
            input.merge(changed.clone());
            input.to_json()?
        } else {
            event.data.json()?.clone()
        };
        let cx = Context::of_event(event);
        let after = catch_unwind(AssertUnwindSafe(|| (action.run)(&input, before.as_ref(), &cx)))
            .map_err(|panic| panicked(&format!("the action {:?}", action.name), &*panic))??;
        let attributes = match after {
            None => None,
            Some(after) => {
                let mut attributes = after.to_object()?;
                let resource = registry.resource(action.resource)?;
                if before.is_none() {
                    give_id(&mut attributes, resource, registry.resource(event.resource.as_str())?, event, &changed)?;
                }
                if !as_arguments {
                    attributes.merge(resource.known(changed));
                }
                for change in registry.changes_on_replay(action.resource) {
                    attributes = change(&attributes, event)?;
                }
                Some(attributes)
            }
        };
        self.set(key, attributes, event);
        Ok(())
    }

    fn expect(&self, key: &RecordKey) -> Result<&JsonObject> {
        self.states.get(key).and_then(|state| state.attributes.as_ref()).ok_or_else(|| missing(key))
    }

    fn set(&mut self, key: RecordKey, attributes: Option<JsonObject>, event: &Event) {
        let before = self.states.get(&key).map_or(Revision::ZERO, |state| state.revision);
        let own = event.revision.filter(|_| key.resource == event.resource);
        let revision = own.unwrap_or_else(|| before.next());
        self.states.insert(key, FoldState { revision, attributes, position: event.position, dirty: true });
    }

    /// What it takes in memory, roughly, in bytes.
    pub(crate) fn weight(&self) -> usize {
        // A few of them stand for all: it is asked after each page.
        const SAMPLE: usize = 64;
        let sample: usize = self.states.values().take(SAMPLE).map(weight_of).sum();
        let sampled = self.states.len().clamp(1, SAMPLE);
        sample / sampled * self.states.len()
    }

    /// The records that changed, in the order of their keys.
    pub(crate) fn into_records(self, registry: &Registry) -> Result<Vec<LoadedRecord>> {
        let mut records = Vec::with_capacity(self.states.len());
        for (key, state) in self.states.into_iter().filter(|(_, state)| state.dirty) {
            let position = state.position;
            records.push(finish(registry, key, state).map_err(|error| {
                let message = format!("after the event at position {position}: {error}");
                Error::new(ErrorKind::Replay { position }, message)
            })?);
        }
        records.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        Ok(records)
    }
}

fn finish(registry: &Registry, key: RecordKey, state: FoldState) -> Result<LoadedRecord> {
    let written = match state.attributes {
        None => None,
        Some(attributes) => {
            let attributes = attributes.to_json()?;
            let identities = (registry.resource(key.resource.as_str())?.identities)(&key.id, &attributes)
                .map_err(|error| error.at(&key))?;
            Some(WriteState { attributes, identities })
        }
    };
    Ok(LoadedRecord { key, revision: state.revision, state: written })
}

/// A body may have made another id than it made when it was first run.
fn give_id(
    attributes: &mut JsonObject,
    resource: &ResourceSpec,
    source: &ResourceSpec,
    event: &Event,
    changed: &JsonObject,
) -> Result<()> {
    if let (Some(id), Some(member)) = (resource.id_attribute(), source.id_attribute())
        && !attributes.take_over(id, changed, member)
    {
        attributes.take_over(id, &event.data.json()?.to_object()?, member);
    }
    Ok(())
}

fn weight_of(state: &FoldState) -> usize {
    let attributes = state.attributes.iter().flat_map(JsonObject::iter);
    256 + attributes.map(|(name, value)| 96 + name.len() + value.len()).sum::<usize>()
}

fn missing(key: &RecordKey) -> Error {
    Error::new(ErrorKind::NotFound, format!("the record {key} is not there"))
}

fn at(event: &Event, error: &Error) -> Error {
    if matches!(error.kind(), ErrorKind::Replay { .. }) {
        return error.clone();
    }
    let message = format!(
        "the event at position {} (version {} of {}.{}, {}) cannot be applied: {error}",
        event.position, event.version, event.resource, event.action, event.id
    );
    Error::new(ErrorKind::Replay { position: event.position }, message)
}

/// The keys of the records that an event writes on replay, and whether it needs what they were.
pub(crate) fn touches(registry: &Registry, event: &Event) -> Result<Vec<RecordKey>> {
    if event.revision.is_none() {
        return Ok(Vec::new());
    }
    match registry.rule(event)? {
        Rule::Force(..) | Rule::Arguments(_) => Ok(vec![event.key()]),
        Rule::Route(targets) => {
            let key = |target: &ActionSpec| {
                Ok(RecordKey { resource: ResourceName::new(target.resource)?, id: event.record_id.clone() })
            };
            targets.iter().map(key).collect()
        }
    }
}
