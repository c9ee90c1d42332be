//! The arguments of the function `commit`: what `batch.lua` says of them.

use redis::Cmd;
use rekindle_core::types::{Change, Check, Commit, Expected, NewEvent, RecordId, RecordWrite, Revision};
use rekindle_core::{Error, ErrorKind, Result, codec};

use crate::commit::locks;
use crate::keys::Tag;
use crate::names::{About, Names};
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

/// Writes the arguments of a call.
pub(crate) fn write(call: &mut Cmd, tag: &Tag, mode: &str, publish: &str, commits: &[Encoded<'_>]) {
    let names = Names::of(commits);
    let locks = locks(commits);
    call.arg(tag.as_str()).arg(mode).arg(publish).arg(locks.len()).arg(&locks);
    call.arg(names.buckets().len());
    for bucket in names.buckets() {
        call.arg(bucket.name.to_string()).arg(bucket.things.len());
        for id in &bucket.things {
            call.arg(&id.as_uuid().as_bytes()[..]);
        }
    }
    call.arg(names.resources().len());
    for (resource, wanted) in names.resources() {
        let wanted = match (wanted.rows, wanted.chains) {
            (true, true) => "b",
            (false, true) => "c",
            _ => "r",
        };
        call.arg(resource.name.as_str()).arg(wanted).arg(resource.things.len());
        for id in &resource.things {
            call.arg(id.as_str());
        }
    }
    call.arg(names.subjects.len());
    for subject in &names.subjects {
        call.arg(subject.as_str());
    }
    let mut forms = Vec::with_capacity(commits.len() * Form::BYTES);
    for (place, encoded) in commits.iter().enumerate() {
        encoded.form.describe(encoded.commit, &names, names.about(place), &mut forms);
    }
    call.arg(&forms[..]);
    for (place, encoded) in commits.iter().enumerate() {
        match (encoded.form, encoded.events.as_slice()) {
            (Form::New(_, write), [event]) => {
                write_keys(call, &names, encoded.commit);
                call.arg(&event[..]).arg(&new_row(write)[..]);
            }
            (Form::Update(write, before), [event]) => {
                write_keys(call, &names, encoded.commit);
                call.arg(&event[..]).arg(&new_row(write)[..]).arg(&head_without_identities(before)[..]);
            }
            (Form::Event, [event]) => {
                write_keys(call, &names, encoded.commit);
                call.arg(&event[..]);
            }
            _ => write_commit(call, &names, names.about(place), encoded),
        }
    }
}

/// The form of a commit: most are of one change and no more, and take little to tell.
#[derive(Clone, Copy)]
enum Form<'a> {
    Full,
    New(&'a NewEvent, &'a RecordWrite),
    /// With the revision before it.
    Update(&'a RecordWrite, Revision),
    Event,
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
        let Some(write) = write else { return Self::Event };
        match write.expected {
            _ if write.state.as_ref().is_some_and(|state| !state.identities.is_empty()) => Self::Full,
            Expected::Absent if write.state.is_some() => Self::New(event, write),
            Expected::Revision(revision) if revision.next() > revision => Self::Update(write, revision),
            _ => Self::Full,
        }
    }

    /// Eight bytes: the form, the number of the record, that of the event id, and how many guards and writes of keys it has.
    fn describe(self, commit: &Commit, names: &Names<'_>, about: &[About], to: &mut Vec<u8>) {
        let form = match self {
            Self::Full => 0,
            Self::New(..) => 1,
            Self::Update(..) => 2,
            Self::Event => 3,
        };
        let (1.., &[about]) = (form, about) else { return to.extend([0; Self::BYTES]) };
        to.push(form);
        for number in [names.record(about), names.event(about)] {
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

fn write_keys(call: &mut Cmd, names: &Names<'_>, commit: &Commit) {
    for guard in &commit.guards {
        call.arg("g").arg(names.subject(&guard.subject)).arg(&guard.epoch.to_be_bytes()[..]);
    }
    for write in &commit.keys {
        call.arg("k").arg(names.subject(&write.row.subject)).arg(&write.expected.to_be_bytes()[..]);
        let new_ids: Vec<u8> = write.new_ids.iter().flat_map(|id| *id.as_bytes()).collect();
        call.arg(&encode_keys(&write.row)[..]).arg(&new_ids[..]);
    }
}

fn write_commit(call: &mut Cmd, names: &Names<'_>, about: &[About], encoded: &Encoded<'_>) {
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
    write_keys(call, names, commit);
    let (of_checks, of_changes) = about.split_at_checked(commit.checks.len()).unwrap_or_default();
    for (check, about) in commit.checks.iter().zip(of_checks) {
        match check {
            Check::Record { expected, .. } => {
                call.arg("r").arg(names.record(*about)).arg(&expectation(*expected)[..]);
            }
            Check::Identity { identity, owner } => {
                call.arg("i")
                    .arg(names.resource(*about))
                    .arg(&identity_field(&identity.name, &identity.value)[..])
                    .arg(owner.as_ref().map_or("", RecordId::as_str));
            }
        }
    }
    let mut bytes = encoded.events.iter();
    for (change, about) in changes(commit).zip(of_changes) {
        let (event, write) = (change.event.as_ref(), change.write.as_ref());
        let kind = match (event, write) {
            (Some(_), Some(_)) => "b",
            (Some(_), None) => "e",
            _ => "w",
        };
        call.arg(kind).arg(names.record(*about));
        if event.is_some() {
            let body = bytes.next().map_or(&[][..], Vec::as_slice);
            call.arg(names.event(*about)).arg(body);
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
