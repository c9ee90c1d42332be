//! What was registered at the start: resources, their actions, and routes of old versions.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::action::{Action, ActionKind, ActionSpec};
use super::context::Context;
use super::forget::SCRUB;
use super::resource::{Resource, ResourceSpec, SubjectSpec};
use super::rewound::RESERVED;
use super::sealer::SEALED;
use super::unit::panicked;
use crate::error::{Error, ErrorKind, Result};
use crate::types::{ActionName, Event, Json, JsonObject, RecordKey, ResourceName};

/// What replay does with an event.
pub(crate) enum Rule<'a> {
    /// Merge data and changed attributes into the record.
    Force(&'a ResourceSpec, ActionKind),
    /// Run the action's body on data and changed attributes.
    Arguments(&'a ActionSpec),
    /// Run these legacy actions' bodies, and force the changed attributes that they know.
    Route(&'a [ActionSpec]),
    /// Merge what is left of the record after its subject was forgotten.
    Scrubbed,
}

/// What a replay, `as_of` and `history` do with an event whose data was sealed for a subject that was forgotten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnRedacted {
    /// It is applied with what is left of it: sealed members are null, and of a section that was sealed as a whole nothing is
    /// left.
    #[default]
    Marker,
    /// It has no effect.
    Skip,
    /// It is an error, with its position.
    Fail,
}

/// A change that is made to a record after each of its events on replay.
type ReplayChange = Arc<dyn Fn(&JsonObject, &Event) -> Result<JsonObject> + Send + Sync>;

/// Which actions of a resource are recorded.
enum Recorded {
    Only(Vec<String>),
    AllBut(Vec<String>),
}

#[derive(Default)]
pub(crate) struct Registry {
    resources: BTreeMap<String, ResourceSpec>,
    actions: BTreeMap<String, BTreeMap<String, Registered>>,
    routes: BTreeMap<(String, String, u32), Vec<ActionSpec>>,
    /// The resources and actions that are replayed as arguments: they may be registered after it was said.
    as_arguments: Vec<(&'static str, &'static str)>,
    recorded: Vec<(&'static str, Recorded)>,
    changes: BTreeMap<&'static str, Vec<ReplayChange>>,
    on_redacted: BTreeMap<&'static str, OnRedacted>,
    mistakes: Vec<String>,
}

struct Registered {
    spec: ActionSpec,
    as_arguments: bool,
    recorded: bool,
}

impl Registry {
    pub(crate) fn add<R: Resource>(&mut self) {
        if let Err(error) = ResourceName::new(R::NAME) {
            self.mistakes.push(error.to_string());
        }
        if self.resources.insert(R::NAME.to_owned(), ResourceSpec::of::<R>()).is_some() {
            self.mistakes.push(format!("the resource {:?} is registered twice", R::NAME));
            return;
        }
        if R::NAME.starts_with(RESERVED) {
            self.mistakes.push(format!("the resource {:?} has a name that is Rekindle's own", R::NAME));
        }
        if R::ATTRIBUTES.iter().any(|attribute| attribute.name == SEALED) {
            self.mistakes
                .push(format!("the resource {:?} has an attribute {SEALED:?}, which is Rekindle's own", R::NAME));
        }
        if let Some(SubjectSpec { attribute, .. }) = R::SUBJECT
            && R::ATTRIBUTES.iter().all(|known| known.name != attribute)
        {
            self.mistakes.push(format!(
                "the subject of {:?} is in the attribute {attribute:?}, which the resource does not have",
                R::NAME
            ));
        }
        for identity in R::IDENTITIES {
            for attribute in identity.attributes.iter().filter(|name| R::ATTRIBUTES.iter().all(|a| a.name != **name)) {
                self.mistakes.push(format!(
                    "the identity {:?} of {:?} is made of the attribute {attribute:?}, which the resource does not have",
                    identity.name,
                    R::NAME
                ));
            }
        }
        let mut actions = BTreeMap::new();
        for spec in R::actions() {
            if let Err(error) = ActionName::new(spec.name) {
                self.mistakes.push(error.to_string());
            }
            if spec.resource != R::NAME {
                self.mistakes.push(format!(
                    "the resource {:?} lists the action {:?} of the resource {:?}",
                    R::NAME,
                    spec.name,
                    spec.resource
                ));
            }
            if spec.name.starts_with(RESERVED) {
                self.mistakes.push(format!(
                    "the action {:?} of {:?} has a name that is Rekindle's own",
                    spec.name,
                    R::NAME
                ));
            }
            if spec.version == 0 {
                self.mistakes.push(format!(
                    "the action {:?} of {:?} has version 0; versions count from 1",
                    spec.name,
                    R::NAME
                ));
            }
            if actions.insert(spec.name.to_owned(), Registered { spec, as_arguments: false, recorded: true }).is_some()
            {
                self.mistakes.push(format!("the resource {:?} has two actions named {:?}", R::NAME, spec.name));
            }
        }
        self.actions.insert(R::NAME.to_owned(), actions);
    }

    pub(crate) fn route(&mut self, resource: &str, action: &str, versions: &[u32], targets: &[ActionSpec]) {
        if let Err(error) = ActionName::new(action) {
            self.mistakes.push(format!("{resource}.{action} is routed: {error}"));
        }
        if versions.is_empty() {
            self.mistakes.push(format!("{resource}.{action} is routed, and no version of it is named"));
        }
        for version in versions {
            let key = (resource.to_owned(), action.to_owned(), *version);
            self.routes.entry(key).or_default().extend_from_slice(targets);
        }
    }

    pub(crate) fn as_arguments<A: Action>(&mut self) {
        self.as_arguments.push((A::Resource::NAME, A::NAME));
    }

    pub(crate) fn only<R: Resource>(&mut self, actions: Vec<String>) {
        self.recorded.push((R::NAME, Recorded::Only(actions)));
    }

    pub(crate) fn ignore<R: Resource>(&mut self, actions: Vec<String>) {
        self.recorded.push((R::NAME, Recorded::AllBut(actions)));
    }

    pub(crate) fn change_on_replay<R: Resource>(
        &mut self,
        change: impl Fn(&mut R, &Event, &Context) + Send + Sync + 'static,
    ) {
        let change = move |attributes: &JsonObject, event: &Event| {
            let mut record: R = attributes.to_json()?.to_value()?;
            catch_unwind(AssertUnwindSafe(|| change(&mut record, event, &Context::of_event(event))))
                .map_err(|panic| panicked(&format!("a change on replay of {:?}", R::NAME), &*panic))?;
            Json::from_value(&record)?.to_object()
        };
        self.changes.entry(R::NAME).or_default().push(Arc::new(change));
    }

    pub(crate) fn set_on_redacted<R: Resource>(&mut self, on_redacted: OnRedacted) {
        self.on_redacted.insert(R::NAME, on_redacted);
    }

    pub(crate) fn on_redacted(&self, resource: &str) -> OnRedacted {
        self.on_redacted.get(resource).copied().unwrap_or_default()
    }

    /// That there is a vault: what is sensitive is sealed, and not left out.
    pub(crate) fn seal(&mut self) {
        self.resources.values_mut().for_each(ResourceSpec::seal);
    }

    /// The inputs of an action that are sensitive beside the attributes of its resource.
    pub(crate) fn sensitive_inputs(&self, resource: &str, action: &str) -> &'static [&'static str] {
        let registered = self.actions.get(resource).and_then(|actions| actions.get(action));
        registered.map_or(&[], |registered| registered.spec.sensitive)
    }

    /// A mistake that was found elsewhere.
    pub(crate) fn mistake(&mut self, mistake: String) {
        self.mistakes.push(mistake);
    }

    /// Which actions are recorded, as was said.
    fn settle_recorded(&mut self, mistakes: &mut Vec<String>) {
        for (resource, recorded) in &self.recorded {
            let Some(actions) = self.actions.get_mut(*resource) else {
                mistakes
                    .push(format!("it is said which actions of {resource:?} are recorded, and it is not registered"));
                continue;
            };
            let (names, what) = match recorded {
                Recorded::Only(names) => (names, "is to be the only one recorded"),
                Recorded::AllBut(names) => (names, "is to be ignored"),
            };
            for name in names.iter().filter(|name| !actions.contains_key(*name)) {
                mistakes.push(format!("the action {name:?} {what}, and {resource:?} does not list it"));
            }
            for (name, action) in actions.iter_mut() {
                action.recorded &= names.contains(name) == matches!(recorded, Recorded::Only(_));
            }
        }
        let ignored = self.actions.values().flat_map(BTreeMap::values).filter(|action| !action.recorded);
        let mut versions: Vec<_> = ignored
            .filter(|action| action.spec.version != 1)
            .map(|Registered { spec, .. }| {
                format!("the action {:?} of {:?} has version {} and is ignored", spec.name, spec.resource, spec.version)
            })
            .collect();
        versions.sort_unstable();
        mistakes.append(&mut versions);
    }

    /// Every mistake of the set-up, in one error.
    pub(crate) fn check(&mut self) -> Result<()> {
        let mut mistakes = std::mem::take(&mut self.mistakes);
        self.settle_recorded(&mut mistakes);
        for (resource, action) in &self.as_arguments {
            match self.actions.get_mut(*resource).and_then(|actions| actions.get_mut(*action)) {
                Some(registered) => registered.as_arguments = true,
                None => mistakes.push(format!(
                    "the action {action:?} is to be replayed as arguments, and {resource:?} does not list it"
                )),
            }
        }
        for resource in self.on_redacted.keys().filter(|resource| !self.resources.contains_key(**resource)) {
            mistakes.push(format!(
                "it is said what a replay does with redacted events of {resource:?}, and it is not registered"
            ));
        }
        for resource in self.changes.keys().filter(|resource| !self.resources.contains_key(**resource)) {
            mistakes.push(format!("there is a change on replay of {resource:?}, and it is not registered"));
        }
        for ((resource, action, version), targets) in &self.routes {
            let name = format!("version {version} of {resource}.{action}");
            if *version == 0 {
                mistakes.push(format!("{name} is routed; versions count from 1"));
            }
            if !self.resources.contains_key(resource) {
                mistakes.push(format!("{name} is routed, and no resource {resource:?} is registered"));
            }
            let current = self.actions.get(resource).and_then(|actions| actions.get(action));
            if current.is_some_and(|current| current.spec.version == *version) {
                mistakes.push(format!("{name} is routed, and it is the current version"));
            }
            for (index, target) in targets.iter().enumerate() {
                let same = |other: &ActionSpec| (other.resource, other.name) == (target.resource, target.name);
                if targets[..index].iter().any(same) {
                    mistakes.push(format!("{name} is routed to {:?} of {:?} twice", target.name, target.resource));
                }
            }
            for target in targets.iter().filter(|target| !self.resources.contains_key(target.resource)) {
                mistakes.push(format!(
                    "{name} is routed to {:?} of {:?}, which is not registered",
                    target.name, target.resource
                ));
            }
        }
        if mistakes.is_empty() {
            Ok(())
        } else {
            Err(Error::invalid(format!("the set-up has mistakes: {}", mistakes.join("; "))))
        }
    }

    pub(crate) fn resource(&self, name: &str) -> Result<&ResourceSpec> {
        self.resources.get(name).ok_or_else(|| Error::invalid(format!("no resource {name:?} is registered")))
    }

    /// That an action may be run; and whether it is recorded.
    pub(crate) fn expect_action<A: Action>(&self) -> Result<(&ResourceSpec, bool)> {
        let resource = self.resource(A::Resource::NAME)?;
        match self.actions.get(A::Resource::NAME).and_then(|actions| actions.get(A::NAME)) {
            Some(registered) => Ok((resource, registered.recorded)),
            None => Err(Error::invalid(format!(
                "the resource {:?} does not list the action {:?}",
                A::Resource::NAME,
                A::NAME
            ))),
        }
    }

    /// Whether events of other resources can write records of this one.
    pub(crate) fn routes_lead_to(&self, resource: &str) -> bool {
        self.routes
            .iter()
            .any(|((from, ..), targets)| from != resource && targets.iter().any(|target| target.resource == resource))
    }

    /// Whether an event is of this record, or a route leads from it to this record.
    pub(crate) fn concerns(&self, event: &Event, key: &RecordKey) -> bool {
        let routed = || {
            let route = (event.resource.as_str().to_owned(), event.action.as_str().to_owned(), event.version);
            self.routes.get(&route).is_some_and(|targets| targets.iter().any(|to| to.resource == key.resource.as_str()))
        };
        event.record_id == key.id && (event.resource == key.resource || routed())
    }

    /// What replay does with an event.
    pub(crate) fn rule(&self, event: &Event) -> Result<Rule<'_>> {
        let (resource, action) = (event.resource.as_str(), event.action.as_str());
        if !self.routes.is_empty()
            && let Some(targets) = self.routes.get(&(resource.to_owned(), action.to_owned(), event.version))
        {
            return Ok(Rule::Route(targets));
        }
        let unknown = |why: String| {
            let message = format!(
                "the event at position {} is version {} of {resource}.{action}: {why}",
                event.position, event.version
            );
            Error::new(ErrorKind::Replay { position: event.position }, message)
        };
        let spec =
            self.resources.get(resource).ok_or_else(|| unknown(format!("no resource {resource:?} is registered")))?;
        if action == SCRUB {
            return Ok(Rule::Scrubbed);
        }
        let registered = self.actions.get(resource).and_then(|actions| actions.get(action));
        let registered =
            registered.ok_or_else(|| unknown("there is no such action, and no route for it".to_owned()))?;
        if registered.spec.version != event.version {
            let current = registered.spec.version;
            return Err(unknown(format!("the current version is {current}, and there is no route for this one")));
        }
        let kind = registered.spec.kind;
        Ok(if registered.as_arguments { Rule::Arguments(&registered.spec) } else { Rule::Force(spec, kind) })
    }

    /// Whether anything sees events on replay that may ask for their metadata.
    pub(crate) fn shows_events_on_replay(&self) -> bool {
        !self.changes.is_empty()
    }

    /// The changes that are made to a record of this resource after each of its events.
    pub(crate) fn changes_on_replay(&self, resource: &str) -> &[ReplayChange] {
        self.changes.get(resource).map_or(&[], Vec::as_slice)
    }

    /// The names of all resources, in order.
    pub(crate) fn resources(&self) -> Vec<&str> {
        self.resources.keys().map(String::as_str).collect()
    }
}
