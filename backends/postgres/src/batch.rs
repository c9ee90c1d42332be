//! What a batch needs to know before it is decided.

use std::collections::{BTreeSet, HashMap};

use rekindle_core::types::{
    Check, Commit, Committed, EventId, Identity, Json, Limits, LockKey, LogId, Payload, RecordKey, Subject,
};
use rekindle_core::{Error, ErrorKind, Result};

use crate::config::LockMode;
use crate::rows::bigint;

/// The bytes of the commits that are written at once; more are written in several steps.
const STEP_BYTES: usize = 32 << 20;
/// The bytes of one commit, at the most: the protocol and the server's memory end somewhere.
const COMMIT_BYTES: usize = 256 << 20;

/// Splits commits so that no step is too large for one message.
pub(crate) fn steps<'a, 'b>(commits: &'b [&'a Commit]) -> Vec<&'b [&'a Commit]> {
    let (mut steps, mut rest, mut bytes) = (Vec::new(), commits, 0);
    let mut at = 0;
    for commit in commits {
        let size = size_of(commit);
        if bytes + size > STEP_BYTES && at > 0 {
            let (step, others) = rest.split_at(at);
            steps.push(step);
            (rest, bytes, at) = (others, 0, 0);
        }
        bytes += size;
        at += 1;
    }
    if !rest.is_empty() {
        steps.push(rest);
    }
    steps
}

fn size_of(commit: &Commit) -> usize {
    let events: usize = commit
        .events()
        .map(|event| 300 + event.data.size() + event.changed_attributes.size() + event.metadata.size())
        .sum();
    let states = commit.writes().filter_map(|write| write.state.as_ref());
    let identities = |state: &rekindle_core::types::WriteState| -> usize {
        state.identities.iter().map(|identity| 2 * (identity.name.len() + identity.value.len())).sum()
    };
    let records: usize = states.map(|state| 200 + state.attributes.as_str().len() + identities(state)).sum();
    let keys: usize = commit.keys.iter().map(|write| 100 + write.row.body.len() + write.new_ids.len() * 100).sum();
    events + records + keys + (commit.checks.len() + commit.guards.len()) * 100
}

/// What can be refused without looking at the store.
///
/// **Invariant**: nothing that the server would refuse gets into a batch: it would fail the neighbours, too.
pub(crate) fn check(commit: &Commit, limits: &Limits) -> Result<()> {
    commit.validate(limits)?;
    let size = size_of(commit);
    if size > COMMIT_BYTES {
        let message = format!("about {size} bytes in a commit; Postgres takes {COMMIT_BYTES} at once");
        return Err(Error::new(ErrorKind::TooLarge, message));
    }
    let in_json = |json: &Json| memchr::memchr(0, json.as_str().as_bytes()).is_some();
    let has_nul = |payload: &Payload| matches!(payload, Payload::Json(json) if in_json(json));
    for event in commit.events() {
        if [&event.data, &event.changed_attributes, &event.metadata].into_iter().any(has_nul) {
            return Err(Error::invalid(format!(
                "the event {} holds text with a NUL character, which is no JSON",
                event.id
            )));
        }
    }
    for write in commit.writes() {
        if write.state.as_ref().is_some_and(|state| in_json(&state.attributes)) {
            return Err(Error::invalid(format!("{} holds text with a NUL character, which is no JSON", write.key)));
        }
    }
    for write in &commit.keys {
        bigint(write.row.version, "the version of keys")?;
        bigint(write.row.epoch, "the epoch of keys")?;
    }
    Ok(())
}

/// A batch whose wrong commits have their answers already.
pub(crate) struct Checked<'a> {
    /// An answer for each commit that is refused; `None` for one of `commits`, in order.
    answers: Vec<Option<Result<Committed>>>,
    /// Those that are left.
    pub(crate) commits: Vec<&'a Commit>,
}

impl<'a> Checked<'a> {
    pub(crate) fn new(batch: &'a [Commit], limits: &Limits) -> Self {
        let mut answers = Vec::with_capacity(batch.len());
        let mut commits = Vec::with_capacity(batch.len());
        for commit in batch {
            match check(commit, limits) {
                Ok(()) => {
                    answers.push(None);
                    commits.push(commit);
                }
                Err(error) => answers.push(Some(Err(error))),
            }
        }
        Self { answers, commits }
    }

    /// The answers of all, with those of the commits that were left.
    pub(crate) fn answered(self, left: Vec<Result<Committed>>) -> Vec<Result<Committed>> {
        let mut left = left.into_iter();
        self.answers.into_iter().filter_map(|answer| answer.or_else(|| left.next())).collect()
    }
}

/// The locks of a batch, each kind in sorted order. None where the row of the head is the lock.
#[derive(Debug, Default)]
pub(crate) struct BatchLocks {
    pub(crate) ones: Vec<i64>,
    pub(crate) firsts: Vec<i32>,
    pub(crate) seconds: Vec<i32>,
}

impl BatchLocks {
    pub(crate) fn of(keys: impl IntoIterator<Item = LockKey>, mode: LockMode) -> Self {
        let mut locks = Self::default();
        if mode == LockMode::Row {
            return locks;
        }
        for key in keys.into_iter().collect::<BTreeSet<_>>() {
            match key {
                LockKey::One(one) => locks.ones.push(one),
                LockKey::Two(first, second) => {
                    locks.firsts.push(first);
                    locks.seconds.push(second);
                }
            }
        }
        locks
    }
}

/// What is asked of the store for a batch. Each `.0` is the place of a log among `logs`, from 1 on.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    pub(crate) logs: Vec<LogId>,
    pub(crate) events: Vec<(i64, EventId)>,
    pub(crate) records: Vec<(i64, RecordKey)>,
    pub(crate) identities: Vec<(i64, Identity)>,
    pub(crate) subjects: Vec<(i64, Subject)>,
}

impl Asked {
    pub(crate) fn of(batch: &[&Commit]) -> Self {
        let mut asked = Self::default();
        let mut places: HashMap<&LogId, i64> = HashMap::new();
        for commit in batch {
            let log = *places.entry(&commit.log).or_insert_with(|| {
                asked.logs.push(commit.log.clone());
                i64::try_from(asked.logs.len()).unwrap_or(i64::MAX)
            });
            asked.events.extend(commit.events().map(|event| (log, event.id)));
            for write in commit.writes() {
                asked.records.push((log, write.key.clone()));
                let identities = write.state.iter().flat_map(|state| &state.identities);
                asked.identities.extend(identities.map(|identity| (log, identity.of(&write.key.resource))));
            }
            let guarded = commit.guards.iter().map(|guard| &guard.subject);
            let written = commit.keys.iter().map(|write| &write.row.subject);
            asked.subjects.extend(guarded.chain(written).map(|subject| (log, subject.clone())));
            for check in &commit.checks {
                match check {
                    Check::Record { key, .. } => asked.records.push((log, key.clone())),
                    // A text with a NUL belongs to nobody, and the server would not take it.
                    Check::Identity { identity, .. } if has_nul(identity) => {}
                    Check::Identity { identity, .. } => asked.identities.push((log, identity.clone())),
                }
            }
        }
        asked
    }
}

/// Whether an identity is no text that the database holds.
pub(crate) fn has_nul(identity: &Identity) -> bool {
    identity.name.contains('\0') || identity.value.contains('\0')
}

#[cfg(test)]
mod tests {
    use rekindle_core::types::{Change, Expected, Json, RecordWrite, WriteState};

    use super::*;

    /// A commit of so many bytes, and a little.
    fn of_bytes(bytes: usize) -> Commit {
        let attributes = Json::from_stored(" ".repeat(bytes));
        let state = Some(WriteState { attributes, identities: Vec::new() });
        let write = RecordWrite { key: RecordKey::new("note", "a").unwrap(), expected: Expected::Any, state };
        let mut commit = Commit::new(LogId::new("main").unwrap(), LockKey::One(1));
        commit.changes.push(Change { event: None, write: Some(write) });
        commit
    }

    #[test]
    fn a_step_ends_before_it_is_too_large_and_no_commit_is_left_out() {
        let (small, large, over) = (of_bytes(10), of_bytes(STEP_BYTES / 2 - 400), of_bytes(STEP_BYTES + 1));
        let sizes = |commits: &[&Commit]| steps(commits).iter().map(|step| step.len()).collect::<Vec<_>>();
        assert_eq!(sizes(&[]), [0; 0]);
        assert_eq!(sizes(&[&small, &small, &small]), [3]);
        assert_eq!(sizes(&[&large, &large, &small, &large, &large]), [3, 2]);
        assert_eq!(sizes(&[&over, &small, &over, &over]), [1, 1, 1, 1]);
        let commits = [&large, &small, &large, &over, &small];
        let together: Vec<&Commit> = steps(&commits).concat();
        assert!(together.iter().zip(commits).all(|(stepped, given)| std::ptr::eq(*stepped, given)));
        assert_eq!(together.len(), commits.len());
    }
}
