//! What the commits of a batch name. Each record, event id and subject is sent once, and then told by its number: its place
//! among all of its kind, from 1.

use std::collections::HashMap;
use std::hash::Hash;

use rekindle_core::types::{Change, Check, EventId, RecordId, ResourceName, Subject};

use crate::batch::{Encoded, changes};
use crate::keys::Bucket;

/// So many things are searched one by one: most batches have few, and hashing them takes longer.
const FEW: usize = 32;

/// Things in groups, each once.
struct Groups<G, T> {
    all: Vec<Group<G, T>>,
    places: HashMap<G, usize>,
    /// The group that was asked for last: most batches ask for one all the time.
    latest: usize,
}

pub(crate) struct Group<G, T> {
    pub(crate) name: G,
    pub(crate) things: Vec<T>,
    /// The places of the things, once they are more than a few.
    places: HashMap<T, usize>,
    /// The number of its first thing.
    first: usize,
}

impl<G, T: Copy + Eq + Hash> Group<G, T> {
    fn new(name: G) -> Self {
        Self { name, things: Vec::new(), places: HashMap::new(), first: 0 }
    }

    fn add(&mut self, thing: T) -> usize {
        let next = self.things.len();
        let place = if next <= FEW {
            self.things.iter().position(|other| *other == thing).unwrap_or(next)
        } else {
            if self.places.is_empty() {
                self.places = self.things.iter().copied().zip(0..).collect();
            }
            *self.places.entry(thing).or_insert(next)
        };
        if place == next {
            self.things.push(thing);
        }
        place
    }
}

/// The place of a group, and that of a thing in it.
type Place = (usize, usize);

impl<G: Copy + Eq + Hash, T: Copy + Eq + Hash> Groups<G, T> {
    fn new() -> Self {
        Self { all: Vec::new(), places: HashMap::new(), latest: 0 }
    }

    fn group(&mut self, name: G) -> usize {
        if self.all.get(self.latest).is_none_or(|latest| latest.name != name) {
            self.latest = *self.places.entry(name).or_insert_with(|| {
                self.all.push(Group::new(name));
                self.all.len() - 1
            });
        }
        self.latest
    }

    fn add(&mut self, name: G, thing: T) -> Place {
        let at = self.group(name);
        (at, self.all.get_mut(at).map_or(0, |group| group.add(thing)))
    }

    /// Numbers the things over all groups.
    fn number(&mut self) {
        let mut next = 1;
        for group in &mut self.all {
            group.first = next;
            next += group.things.len();
        }
    }

    fn number_of(&self, (group, thing): Place) -> usize {
        self.all.get(group).map_or(0, |group| group.first + thing)
    }
}

/// What is asked of the records of a resource.
#[derive(Clone, Copy, Default)]
pub(crate) struct Wanted {
    pub(crate) rows: bool,
    pub(crate) chains: bool,
}

/// What a check or a change is about.
#[derive(Clone, Copy, Default)]
pub(crate) struct About {
    /// Its record, or the resource of its identity.
    record: Place,
    event: Place,
}

/// All that a batch names.
pub(crate) struct Names<'a> {
    records: Groups<&'a ResourceName, &'a RecordId>,
    wanted: Vec<Wanted>,
    events: Groups<Bucket, EventId>,
    pub(crate) subjects: Vec<&'a Subject>,
    numbers: HashMap<&'a Subject, usize>,
    /// Of each check, and then of each change, of each commit.
    about: Vec<About>,
    /// Where those of each commit end.
    ends: Vec<usize>,
}

impl<'a> Names<'a> {
    pub(crate) fn of(commits: &[Encoded<'a>]) -> Self {
        let mut names = Self {
            records: Groups::new(),
            wanted: Vec::new(),
            events: Groups::new(),
            subjects: Vec::new(),
            numbers: HashMap::new(),
            about: Vec::with_capacity(commits.len()),
            ends: Vec::with_capacity(commits.len()),
        };
        for Encoded { commit, .. } in commits {
            commit.keys.iter().for_each(|write| names.add_subject(&write.row.subject));
            commit.guards.iter().for_each(|guard| names.add_subject(&guard.subject));
            for check in &commit.checks {
                let about = names.of_check(check);
                names.about.push(about);
            }
            for change in changes(commit) {
                let about = names.of_change(change);
                names.about.push(about);
            }
            names.ends.push(names.about.len());
        }
        names.records.number();
        names.events.number();
        names
    }

    fn add_subject(&mut self, subject: &'a Subject) {
        let next = self.subjects.len() + 1;
        if *self.numbers.entry(subject).or_insert(next) == next {
            self.subjects.push(subject);
        }
    }

    fn of_check(&mut self, check: &'a Check) -> About {
        let record = match check {
            Check::Record { key, .. } => self.add_record(&key.resource, &key.id, Wanted { rows: true, chains: false }),
            Check::Identity { identity, .. } => {
                let resource = self.records.group(&identity.resource);
                self.want(resource, Wanted::default());
                (resource, 0)
            }
        };
        About { record, ..About::default() }
    }

    fn of_change(&mut self, change: &'a Change) -> About {
        match (&change.event, &change.write) {
            (Some(event), write) => {
                let wanted = Wanted { rows: write.is_some(), chains: true };
                About {
                    record: self.add_record(&event.resource, &event.record_id, wanted),
                    event: self.events.add(Bucket::of(event.id), event.id),
                }
            }
            (None, Some(write)) => {
                let wanted = Wanted { rows: true, chains: false };
                let record = self.add_record(&write.key.resource, &write.key.id, wanted);
                About { record, ..About::default() }
            }
            (None, None) => About::default(),
        }
    }

    fn add_record(&mut self, resource: &'a ResourceName, id: &'a RecordId, wanted: Wanted) -> Place {
        let place = self.records.add(resource, id);
        self.want(place.0, wanted);
        place
    }

    fn want(&mut self, resource: usize, more: Wanted) {
        self.wanted.resize(self.records.all.len(), Wanted::default());
        if let Some(wanted) = self.wanted.get_mut(resource) {
            wanted.rows |= more.rows;
            wanted.chains |= more.chains;
        }
    }

    /// The resources and their records, with what is asked of them.
    pub(crate) fn resources(&self) -> impl ExactSizeIterator<Item = (&Group<&'a ResourceName, &'a RecordId>, Wanted)> {
        self.records.all.iter().zip(self.wanted.iter().copied())
    }

    /// The event ids, by their buckets.
    pub(crate) fn buckets(&self) -> &[Group<Bucket, EventId>] {
        &self.events.all
    }

    /// What the checks and the changes of a commit are about, by its place in the batch.
    pub(crate) fn about(&self, commit: usize) -> &[About] {
        let start = commit.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        self.ends.get(commit).and_then(|end| self.about.get(start..*end)).unwrap_or_default()
    }

    pub(crate) fn record(&self, about: About) -> usize {
        self.records.number_of(about.record)
    }

    pub(crate) fn event(&self, about: About) -> usize {
        self.events.number_of(about.event)
    }

    /// The resource of an identity.
    pub(crate) fn resource(&self, about: About) -> usize {
        about.record.0 + 1
    }

    pub(crate) fn subject(&self, subject: &Subject) -> usize {
        self.numbers.get(subject).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thing_has_one_number_however_many_there_are() {
        let mut groups = Groups::new();
        let mut places = Vec::new();
        for round in 0..2 {
            for thing in 0..3 * FEW {
                let place = groups.add(thing % 2, thing);
                assert!(round == 0 || places[thing] == place, "{thing} has two places");
                places.push(place);
            }
        }
        groups.number();
        let mut numbers: Vec<_> = places[..3 * FEW].iter().map(|place| groups.number_of(*place)).collect();
        assert_eq!(numbers[..4], [1, 3 * FEW / 2 + 1, 2, 3 * FEW / 2 + 2], "they are numbered by group");
        numbers.sort_unstable();
        assert_eq!(numbers, (1..=3 * FEW).collect::<Vec<_>>());
    }
}
