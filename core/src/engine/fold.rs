//! Folding events into records: what replay, `as_of` and history share.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::action::{ActionKind, ActionSpec};
use super::context::Context;
use super::registry::{OnRedacted, Registry, Rule};
use super::resource::ResourceSpec;
use super::unit::panicked;
use crate::error::{Error, ErrorKind, Result};
use crate::store::LoadedRecord;
use crate::types::{
    ActionType, Event, JsonObject, Payload, Position, RecordKey, Redacted, ResourceName, Revision, WriteState,
};

/// A record between two events.
#[derive(Clone, Debug)]
pub(crate) struct FoldState {
    pub(crate) revision: Revision,
    /// `None` once it is destroyed.
    pub(crate) attributes: Option<JsonObject>,
    /// The last event that was applied.
    pub(crate) position: Position,
    /// Why it may not be whole: the subject of one of its events was forgotten.
    pub(crate) redacted: Option<Box<Redacted>>,
    /// Whether the event that made it was passed over for that reason, so that what comes after it has nothing to stand on.
    skipped: bool,
    dirty: bool,
}

impl FoldState {
    fn new(revision: Revision, attributes: Option<JsonObject>) -> Self {
        Self { revision, attributes, position: Position::ZERO, redacted: None, skipped: false, dirty: false }
    }

    pub(crate) fn is_skipped(&self) -> bool {
        self.skipped
    }

    fn applied(&mut self, event: &Event) {
        self.revision = event.revision.unwrap_or(self.revision);
        self.position = event.position;
        self.skipped = false;
        self.dirty = true;
    }
}

/// The records that a fold has made.
pub(crate) struct Folded {
    pub(crate) records: Vec<LoadedRecord>,
    /// The records of which too little can be read: they are loaded as if they were destroyed, and go on from here.
    pub(crate) redacted: Fold,
}

impl Folded {
    /// How many records are left out.
    pub(crate) fn left_out(&self) -> u64 {
        self.redacted.states.values().filter(|state| state.attributes.is_some()).count() as u64
    }
}

/// Records by key, as far as the events were applied.
#[derive(Default)]
pub(crate) struct Fold {
    states: HashMap<RecordKey, FoldState>,
    /// Whether an event was passed over, so that others may have to be.
    skipped: bool,
}

impl Fold {
    /// Whether a record must be fetched before the event can be applied.
    pub(crate) fn lacks(&self, key: &RecordKey) -> bool {
        !self.states.contains_key(key)
    }

    /// Takes a record over as an earlier window left it.
    pub(crate) fn fetched(&mut self, record: LoadedRecord) -> Result<()> {
        let attributes = record.state.map(|state| state.attributes.to_object()).transpose()?;
        self.states.insert(record.key, FoldState::new(record.revision, attributes));
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
            Rule::Scrubbed => self.scrubbed(registry, event),
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
        if self.passes_over(registry.on_redacted(event.resource.as_str()), &key, event)? {
            return Ok(());
        }
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
            Entry::Vacant(entry) if creates => entry.insert(FoldState::new(Revision::ZERO, None)),
            Entry::Vacant(entry) => return Err(missing(entry.key())),
        };
        if creates {
            if state.attributes.is_some() {
                return Err(Error::invalid(format!("the record {} is there already", event.key())));
            }
            state.attributes = Some(JsonObject::default());
        }
        let Some(attributes) = &mut state.attributes else { return Err(missing(&event.key())) };
        attributes.merge_json(event.data.readable()?, |name| resource.has_attribute(name))?;
        attributes.merge_json(event.changed_attributes.readable()?, |_| true)?;
        for name in &event.removed_attributes {
            attributes.remove(name);
        }
        for change in registry.changes_on_replay(event.resource.as_str()) {
            *attributes = change(attributes, event)?;
        }
        state.applied(event);
        Ok(())
    }

    /// What is left of a record after its subject was forgotten is merged into it.
    fn scrubbed(&mut self, registry: &Registry, event: &Event) -> Result<()> {
        let state = self.states.entry(event.key()).or_insert_with(|| FoldState::new(Revision::ZERO, None));
        let attributes = state.attributes.get_or_insert_default();
        attributes.merge_json(event.changed_attributes.json()?, |_| true)?;
        for change in registry.changes_on_replay(event.resource.as_str()) {
            *attributes = change(attributes, event)?;
        }
        state.applied(event);
        Ok(())
    }

    /// Sees to an event that cannot be read in full, and to those that follow one that was passed over: whether this one is.
    fn passes_over(&mut self, on_redacted: OnRedacted, key: &RecordKey, event: &Event) -> Result<bool> {
        let Some(why) = [&event.data, &event.changed_attributes].into_iter().find_map(Payload::redacted) else {
            if !self.skipped {
                return Ok(false);
            }
            let Some(state) = self.states.get_mut(key).filter(|state| state.skipped) else { return Ok(false) };
            state.skipped = event.action_type == ActionType::Update;
            return Ok(event.action_type != ActionType::Create);
        };
        if on_redacted == OnRedacted::Fail {
            return Err(Error::redacted(why.clone()));
        }
        let state = self.states.entry(key.clone()).or_insert_with(|| FoldState::new(Revision::ZERO, None));
        state.redacted = Some(Box::new(why.clone()));
        if on_redacted == OnRedacted::Marker {
            return Ok(false);
        }
        state.skipped |= state.attributes.is_none();
        self.skipped = true;
        Ok(true)
    }

    /// The body of an action is run on the input.
    fn run(&mut self, registry: &Registry, action: &ActionSpec, event: &Event, as_arguments: bool) -> Result<()> {
        let key = RecordKey { resource: ResourceName::from_static(action.resource)?, id: event.record_id.clone() };
        if self.passes_over(registry.on_redacted(action.resource), &key, event)? {
            return Ok(());
        }
        if event.data.redacted().or(event.changed_attributes.redacted()).is_some() {
            self.mark(key, action.kind, event);
            return Ok(());
        }
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

    /// No body can be run on what cannot be read: the record comes to be or goes, and nothing else is known of it.
    fn mark(&mut self, key: RecordKey, kind: ActionKind, event: &Event) {
        let known = self.states.get(&key).and_then(|state| state.attributes.clone());
        let attributes = if kind == ActionKind::Destroy { None } else { Some(known.unwrap_or_default()) };
        self.set(key, attributes, event);
    }

    fn expect(&self, key: &RecordKey) -> Result<&JsonObject> {
        self.states.get(key).and_then(|state| state.attributes.as_ref()).ok_or_else(|| missing(key))
    }

    fn set(&mut self, key: RecordKey, attributes: Option<JsonObject>, event: &Event) {
        let own = event.revision.filter(|_| key.resource == event.resource);
        let state = self.states.entry(key).or_insert_with(|| FoldState::new(Revision::ZERO, None));
        state.revision = own.unwrap_or_else(|| state.revision.next());
        state.position = event.position;
        state.attributes = attributes;
        state.dirty = true;
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
    pub(crate) fn into_records(self, registry: &Registry) -> Result<Folded> {
        let (mut records, mut redacted) = (Vec::with_capacity(self.states.len()), Fold::default());
        for (key, state) in self.states {
            if state.redacted.is_none() && !state.dirty {
                continue;
            }
            let (position, dirty) = (state.position, state.dirty);
            match finish(registry, &key, &state) {
                Ok(_) if state.skipped => {
                    redacted.skipped = true;
                    redacted.states.insert(key, state);
                }
                Ok(record) if dirty => records.push(record),
                Ok(_) => {}
                Err(_) if state.redacted.is_some() => {
                    if dirty {
                        records.push(LoadedRecord { key: key.clone(), revision: state.revision, state: None });
                    }
                    redacted.states.insert(key, FoldState { dirty: false, ..state });
                }
                Err(error) => {
                    let message = format!("after the event at position {position}: {error}");
                    return Err(Error::new(ErrorKind::Replay { position }, message));
                }
            }
        }
        records.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        Ok(Folded { records, redacted })
    }
}

fn finish(registry: &Registry, key: &RecordKey, state: &FoldState) -> Result<LoadedRecord> {
    let written = match &state.attributes {
        None => None,
        Some(attributes) => {
            let attributes = attributes.to_json()?;
            let identities = (registry.resource(key.resource.as_str())?.identities)(&key.id, &attributes)
                .map_err(|error| error.at(key))?;
            Some(WriteState { attributes, identities })
        }
    };
    Ok(LoadedRecord { key: key.clone(), revision: state.revision, state: written })
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
        Rule::Force(..) | Rule::Arguments(_) | Rule::Scrubbed => Ok(vec![event.key()]),
        Rule::Route(targets) => {
            let key = |target: &ActionSpec| {
                Ok(RecordKey { resource: ResourceName::from_static(target.resource)?, id: event.record_id.clone() })
            };
            targets.iter().map(key).collect()
        }
    }
}
