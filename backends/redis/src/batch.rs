//! The arguments of the function `commit`: what `commit.lua` says of them.

use std::collections::HashMap;

use redis::Cmd;
use rekindle_core::types::{
    Change, Check, Commit, EventId, Expected, NewEvent, RecordId, RecordKey, RecordWrite, ResourceName, Revision,
    Subject,
};
use rekindle_core::{Error, ErrorKind, Result, codec};

use crate::commit::locks;
use crate::keys::{Bucket, Tag};
use crate::rows::{encode_keys, encode_record, head_of_first_event, head_without_identities, identity_field};

/// Commits beyond so many bytes go by another call. A server takes many more, and would be busy for long.
pub(crate) const MOST_BYTES: usize = 8 << 20;
/// A single commit of more bytes is refused: a server takes a gigabyte.
const MOST_BYTES_OF_ONE: usize = 768 << 20;

/// A commit, its place in the batch, and its events in bytes: one of a new record as its row.
pub(crate) struct Encoded<'a> {
    pub(crate) place: usize,
    pub(crate) commit: &'a Commit,
    form: Form<'a>,
    pub(crate) events: Vec<Vec<u8>>,
    pub(crate) bytes: usize,
}

impl<'a> Encoded<'a> {
    pub(crate) fn new(place: usize, commit: &'a Commit) -> Result<Self> {
        let form = Form::of(commit);
        let events = match form {
            Form::New(event, _) => vec![codec::encode_behind(head_of_first_event(), event)?],
            _ => commit.events().map(codec::encode).collect::<Result<Vec<_>>>()?,
        };
        let states =
            commit.writes().filter_map(|write| write.state.as_ref()).map(|state| state.attributes.as_str().len());
        let keys = commit.keys.iter().map(|write| write.row.body.len());
        let bytes = events.iter().map(Vec::len).sum::<usize>() + states.sum::<usize>() + keys.sum::<usize>();
        if bytes > MOST_BYTES_OF_ONE {
            let message = format!("a commit has {bytes} bytes; Redis takes at most {MOST_BYTES_OF_ONE} at once");
            return Err(Error::new(ErrorKind::TooLarge, message));
        }
        Ok(Self { place, commit, form, events, bytes })
    }
}

/// The changes that change something.
pub(crate) fn changes(commit: &Commit) -> impl Iterator<Item = &Change> {
    commit.changes.iter().filter(|change| change.event.is_some() || change.write.is_some())
}

/// The records of one resource that the commits are about.
#[derive(Default)]
struct OfResource<'a> {
    name: Option<&'a ResourceName>,
    ids: Vec<&'a RecordId>,
    places: HashMap<&'a RecordId, usize>,
    /// The number of the first of them among all.
    first: usize,
    states: bool,
    chains: bool,
}

/// All records that the commits are about.
#[derive(Default)]
struct Records<'a> {
    resources: Vec<OfResource<'a>>,
    places: HashMap<&'a ResourceName, usize>,
}

impl<'a> Records<'a> {
    fn resource(&mut self, name: &'a ResourceName) -> Option<&mut OfResource<'a>> {
        let place = *self.places.entry(name).or_insert_with(|| {
            self.resources.push(OfResource { name: Some(name), ..OfResource::default() });
            self.resources.len() - 1
        });
        self.resources.get_mut(place)
    }

    fn add(&mut self, resource: &'a ResourceName, id: &'a RecordId, state: bool, chain: bool) {
        let Some(of) = self.resource(resource) else { return };
        of.states |= state;
        of.chains |= chain;
        let next = of.ids.len();
        if *of.places.entry(id).or_insert(next) == next {
            of.ids.push(id);
        }
    }

    fn of(commits: &[Encoded<'a>]) -> Self {
        let mut records = Self::default();
        for encoded in commits {
            for check in &encoded.commit.checks {
                match check {
                    Check::Record { key, .. } => records.add(&key.resource, &key.id, true, false),
                    Check::Identity { identity, .. } => {
                        records.resource(&identity.resource);
                    }
                }
            }
            for change in &encoded.commit.changes {
                match (&change.event, &change.write) {
                    (Some(event), write) => {
                        records.add(&event.resource, &event.record_id, write.is_some(), true);
                    }
                    (None, Some(write)) => records.add(&write.key.resource, &write.key.id, true, false),
                    (None, None) => {}
                }
            }
        }
        let mut first = 1;
        for of in &mut records.resources {
            of.first = first;
            first += of.ids.len();
        }
        records
    }

    /// The number of a resource, from 1.
    fn resource_number(&self, name: &ResourceName) -> usize {
        self.places.get(name).map_or(0, |place| place + 1)
    }

    /// The number of a record among all, from 1.
    fn number(&self, resource: &ResourceName, id: &RecordId) -> usize {
        let of = self.places.get(resource).and_then(|place| self.resources.get(*place));
        of.and_then(|of| of.places.get(id).map(|place| of.first + place)).unwrap_or(0)
    }
}

/// The event ids of the commits, by their buckets, each once.
#[derive(Default)]
struct Buckets {
    all: Vec<(Bucket, Vec<EventId>)>,
    places: HashMap<Bucket, usize>,
    known: HashMap<EventId, (usize, usize)>,
}

impl Buckets {
    fn add(&mut self, id: EventId) {
        if self.known.contains_key(&id) {
            return;
        }
        let bucket = Bucket::of(id);
        let place = *self.places.entry(bucket).or_insert_with(|| {
            self.all.push((bucket, Vec::new()));
            self.all.len() - 1
        });
        if let Some((_, ids)) = self.all.get_mut(place) {
            self.known.insert(id, (place, ids.len()));
            ids.push(id);
        }
    }

    /// The number of each id among all, from 1.
    fn numbers(self) -> HashMap<EventId, usize> {
        let mut first = 1;
        let mut firsts = Vec::with_capacity(self.all.len());
        for (_, ids) in &self.all {
            firsts.push(first);
            first += ids.len();
        }
        let number = |(bucket, at): (usize, usize)| firsts.get(bucket).map_or(0, |first| first + at);
        self.known.into_iter().map(|(id, place)| (id, number(place))).collect()
    }
}

/// The subjects whose keys the commits are about, each once.
#[derive(Default)]
struct Subjects<'a> {
    names: Vec<&'a Subject>,
    /// The number of each, from 1.
    numbers: HashMap<&'a Subject, usize>,
}

impl<'a> Subjects<'a> {
    fn of(commits: &[Encoded<'a>]) -> Self {
        let mut subjects = Self::default();
        for Encoded { commit, .. } in commits {
            let guarded = commit.guards.iter().map(|guard| &guard.subject);
            for subject in commit.keys.iter().map(|write| &write.row.subject).chain(guarded) {
                let next = subjects.names.len() + 1;
                if *subjects.numbers.entry(subject).or_insert(next) == next {
                    subjects.names.push(subject);
                }
            }
        }
        subjects
    }

    fn number(&self, subject: &Subject) -> usize {
        self.numbers.get(subject).copied().unwrap_or(0)
    }
}

/// Writes the arguments of a call.
pub(crate) fn write(call: &mut Cmd, tag: &Tag, mode: &str, publish: &str, commits: &[Encoded<'_>]) {
    let records = Records::of(commits);
    let mut buckets = Buckets::default();
    commits.iter().flat_map(|encoded| encoded.commit.events()).for_each(|event| buckets.add(event.id));
    let locks = locks(commits);
    call.arg(tag.as_str()).arg(mode).arg(publish).arg(locks.len()).arg(&locks);
    call.arg(buckets.all.len());
    for (bucket, ids) in &buckets.all {
        call.arg(bucket.to_string()).arg(ids.len());
        for id in ids {
            call.arg(&id.as_uuid().as_bytes()[..]);
        }
    }
    call.arg(records.resources.len());
    for of in &records.resources {
        let wanted = match (of.states, of.chains) {
            (true, true) => "b",
            (false, true) => "c",
            _ => "r",
        };
        call.arg(of.name.map_or("", ResourceName::as_str)).arg(wanted).arg(of.ids.len());
        for id in &of.ids {
            call.arg(id.as_str());
        }
    }
    let subjects = Subjects::of(commits);
    call.arg(subjects.names.len());
    for subject in &subjects.names {
        call.arg(subject.as_str());
    }
    let numbers = buckets.numbers();
    let mut forms = Vec::with_capacity(commits.len() * Form::BYTES);
    commits.iter().for_each(|encoded| encoded.form.describe(encoded.commit, &records, &numbers, &mut forms));
    call.arg(&forms[..]);
    for encoded in commits {
        match (encoded.form, encoded.events.as_slice()) {
            (Form::New(_, write), [event]) => {
                write_keys(call, &subjects, encoded.commit);
                call.arg(&event[..]).arg(&new_row(write)[..]);
            }
            (Form::Update(_, write, before), [event]) => {
                write_keys(call, &subjects, encoded.commit);
                call.arg(&event[..]).arg(&new_row(write)[..]).arg(&head_without_identities(before)[..]);
            }
            (Form::Event(_), [event]) => {
                write_keys(call, &subjects, encoded.commit);
                call.arg(&event[..]);
            }
            _ => write_commit(call, &records, &subjects, encoded, &numbers),
        }
    }
}

/// The form of a commit: most are of one change and no more, and take little to tell.
#[derive(Clone, Copy)]
enum Form<'a> {
    Full,
    New(&'a NewEvent, &'a RecordWrite),
    /// With the revision before it.
    Update(&'a NewEvent, &'a RecordWrite, Revision),
    Event(&'a NewEvent),
}

impl<'a> Form<'a> {
    const BYTES: usize = 8;

    fn of(commit: &'a Commit) -> Self {
        let bare = commit.checks.is_empty() && u8::try_from(of_keys(commit)).is_ok();
        let mut changes = changes(commit);
        let (Some(Change { event: Some(event), write }), None, true, None) =
            (changes.next(), changes.next(), bare, commit.accepts)
        else {
            return Self::Full;
        };
        let Some(write) = write else { return Self::Event(event) };
        match write.expected {
            _ if write.state.as_ref().is_some_and(|state| !state.identities.is_empty()) => Self::Full,
            Expected::Absent if write.state.is_some() => Self::New(event, write),
            Expected::Revision(revision) if revision.next() > revision => Self::Update(event, write, revision),
            _ => Self::Full,
        }
    }

    /// Eight bytes: the form, the number of the record, that of the event id, and how many guards and writes of keys it has.
    fn describe(self, commit: &Commit, records: &Records<'_>, ids: &HashMap<EventId, usize>, to: &mut Vec<u8>) {
        let (form, event) = match self {
            Self::Full => return to.extend([0; Self::BYTES]),
            Self::New(event, _) => (1, event),
            Self::Update(event, ..) => (2, event),
            Self::Event(event) => (3, event),
        };
        let record = records.number(&event.resource, &event.record_id);
        let id = ids.get(&event.id).copied().unwrap_or(0);
        to.push(form);
        for number in [record, id] {
            // A call has far fewer bytes than 2^24 records.
            to.extend(&u32::try_from(number).unwrap_or(0).to_be_bytes()[1..]);
        }
        to.push(u8::try_from(of_keys(commit)).unwrap_or(0));
    }
}

/// The row of a record after a write that found what it expected.
fn new_row(write: &RecordWrite) -> Vec<u8> {
    encode_record(revision_after(write.expected), write.state.as_ref())
}

/// The revision after a write that found what it expected, where that tells it; else the first.
pub(crate) fn revision_after(expected: Expected) -> Revision {
    match expected {
        Expected::Revision(revision) => revision.next(),
        _ => Revision::ZERO.next(),
    }
}

/// How many guards and writes of keys a commit has.
fn of_keys(commit: &Commit) -> usize {
    commit.guards.len() + commit.keys.len()
}

fn write_keys(call: &mut Cmd, subjects: &Subjects<'_>, commit: &Commit) {
    for guard in &commit.guards {
        call.arg("g").arg(subjects.number(&guard.subject)).arg(&guard.epoch.to_be_bytes()[..]);
    }
    for write in &commit.keys {
        call.arg("k").arg(subjects.number(&write.row.subject)).arg(&write.expected.to_be_bytes()[..]);
        let new_ids: Vec<u8> = write.new_ids.iter().flat_map(|id| *id.as_bytes()).collect();
        call.arg(&encode_keys(&write.row)[..]).arg(&new_ids[..]);
    }
}

fn write_commit(
    call: &mut Cmd,
    records: &Records<'_>,
    subjects: &Subjects<'_>,
    encoded: &Encoded<'_>,
    ids: &HashMap<EventId, usize>,
) {
    let commit = encoded.commit;
    let of_check = |check: &Check| if matches!(check, Check::Record { .. }) { 3 } else { 4 };
    let of_change = |change: &Change| match (&change.event, &change.write) {
        (Some(_), Some(_)) => 6,
        _ => 4,
    };
    let checks = of_keys(commit) + commit.checks.len();
    let of_checks = commit.guards.len() * 3 + commit.keys.len() * 5 + commit.checks.iter().map(of_check).sum::<usize>();
    let values = of_checks + changes(commit).map(of_change).sum::<usize>();
    let accepts = match commit.accepts {
        Some(at) => at.to_string(),
        None if commit.is_of_keys() => "*".to_owned(),
        None => String::new(),
    };
    call.arg(values + 3).arg(checks).arg(changes(commit).count()).arg(accepts);
    write_keys(call, subjects, commit);
    for check in &commit.checks {
        match check {
            Check::Record { key: RecordKey { resource, id }, expected } => {
                call.arg("r").arg(records.number(resource, id)).arg(&expectation(*expected)[..]);
            }
            Check::Identity { identity, owner } => {
                call.arg("i")
                    .arg(records.resource_number(&identity.resource))
                    .arg(&identity_field(&identity.name, &identity.value)[..])
                    .arg(owner.as_ref().map_or("", RecordId::as_str));
            }
        }
    }
    let mut bytes = encoded.events.iter();
    for change in changes(commit) {
        let (event, write) = (change.event.as_ref(), change.write.as_ref());
        let kind = match (event, write) {
            (Some(_), Some(_)) => "b",
            (Some(_), None) => "e",
            _ => "w",
        };
        let number = match (event, write) {
            (Some(event), _) => records.number(&event.resource, &event.record_id),
            (None, Some(write)) => records.number(&write.key.resource, &write.key.id),
            (None, None) => 0,
        };
        call.arg(kind).arg(number);
        if let Some(event) = event {
            let body = bytes.next().map_or(&[][..], Vec::as_slice);
            call.arg(ids.get(&event.id).copied().unwrap_or(0)).arg(body);
        }
        if let Some(write) = write {
            call.arg(&expectation(write.expected)[..]).arg(&new_row(write)[..]);
        }
    }
}

fn expectation(expected: Expected) -> Vec<u8> {
    match expected {
        Expected::Absent => b"a".to_vec(),
        Expected::Exists => b"e".to_vec(),
        Expected::Any => b"x".to_vec(),
        Expected::Revision(revision) => [&b"r"[..], &revision.get().to_be_bytes()].concat(),
    }
}
