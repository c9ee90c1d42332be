//! Committing a batch: one call of one function for each log.

use std::collections::{BTreeSet, HashMap};
use std::mem;

use futures::future::join_all;
use rekindle_core::types::{Commit, Committed, LockKey, LogId};
use rekindle_core::{Error, ErrorKind, Result};

use crate::answer::{decode, of_each};
use crate::batch::{Encoded, MOST_BYTES, write};
use crate::error::{indeterminate, unchanged, unexpected};
use crate::functions;
use crate::keys::{self, Tag};
use crate::lock::InTheWay;
use crate::store::{After, Patience, Store};

/// Commits to one log that follow each other in a batch, by their places in it.
struct Run {
    log: LogId,
    places: Vec<usize>,
}

impl Store {
    /// Commits a batch.
    ///
    /// Commits under one lock key are made one after the other, as are those to one log; all others at the same time.
    pub(crate) async fn commit(&self, batch: &[Commit]) -> Vec<Result<Committed>> {
        let mut answers: Vec<Option<Result<Committed>>> = Vec::with_capacity(batch.len());
        for commit in batch {
            answers.push(commit.validate(&self.config.limits).err().map(Err));
        }
        let runs = runs(batch, |place| answers.get(place).is_some_and(Option::is_none));
        let made = join_all(runs.into_iter().map(|runs| self.make_runs(batch, runs))).await;
        for (place, answer) in made.into_iter().flatten() {
            if let Some(open) = answers.get_mut(place) {
                *open = Some(answer);
            }
        }
        answers.into_iter().map(|answer| answer.unwrap_or_else(|| Err(unexpected("commit")))).collect()
    }

    async fn make_runs(&self, batch: &[Commit], runs: Vec<Run>) -> Vec<(usize, Result<Committed>)> {
        let mut answers = Vec::new();
        for Run { log, places } in runs {
            let tag = self.tag(&log);
            let mut waiting = Vec::new();
            let mut bytes = 0;
            let writes_keys = |place: &usize| batch.get(*place).is_some_and(|commit| !commit.keys.is_empty());
            let keyed = if places.iter().any(writes_keys) { self.enter_keyed(&log).await } else { Ok(()) };
            for place in places {
                let Some(commit) = batch.get(place) else { continue };
                let encoded = match &keyed {
                    Err(error) if !commit.keys.is_empty() => Err(error.clone()),
                    _ => Encoded::new(place, commit),
                };
                match encoded {
                    Err(error) => answers.push((place, Err(error))),
                    Ok(encoded) => {
                        bytes += encoded.bytes;
                        if bytes > MOST_BYTES && !waiting.is_empty() {
                            answers.extend(self.make(&log, &tag, mem::take(&mut waiting)).await);
                            bytes = encoded.bytes;
                        }
                        waiting.push(encoded);
                    }
                }
            }
            if !waiting.is_empty() {
                answers.extend(self.make(&log, &tag, waiting).await);
            }
        }
        answers
    }

    /// Makes commits by one call; by another one if the answer to the first was lost.
    async fn make(&self, log: &LogId, tag: &Tag, mut waiting: Vec<Encoded<'_>>) -> Vec<(usize, Result<Committed>)> {
        let mut answers = Vec::with_capacity(waiting.len());
        let mut patience = Patience::new(self.config.patience);
        let mut lost = false;
        loop {
            let mut call = functions::call(self.way, functions::COMMIT, &[tag.head()]);
            write(&mut call, tag, self.mode(), self.publish_by(), &waiting);
            functions::end(self.way, functions::COMMIT, &mut call);
            let failure = match self.link.send_durably(&call).await {
                Ok((answer, replicated)) => {
                    if let Some(in_the_way) = InTheWay::of(&answer) {
                        match self.clear_the_way(tag, in_the_way, &mut patience).await {
                            Ok(()) => continue,
                            Err(error) => {
                                answers.extend(for_all(waiting, &if lost { open(&error) } else { error }));
                                return answers;
                            }
                        }
                    }
                    match of_each(answer, waiting.len()) {
                        Err(error) => answers.extend(for_all(waiting, &error)),
                        Ok(each) => {
                            for (answer, encoded) in each.into_iter().zip(&waiting) {
                                let answer = decode(answer, encoded.commit);
                                answers.push((encoded.place, replicated_or_open(answer, replicated)));
                            }
                        }
                    }
                    let last = answers.iter().filter_map(|(_, answer)| answer.as_ref().ok()?.events.last());
                    if let Some(last) = last.map(|event| event.position).max() {
                        self.watchers.notify(log, last);
                    }
                    return answers;
                }
                Err(failure) => failure,
            };
            let again = match self.after(&failure).await {
                Ok(After::Again) => true,
                Ok(After::Refused) => false,
                Ok(After::Lost) => {
                    lost = true;
                    // Without an event there is nothing that a commit is known by: made again, it could be made twice.
                    let (known, unknown) =
                        mem::take(&mut waiting).into_iter().partition(|encoded| !encoded.events.is_empty());
                    answers.extend(for_all(unknown, &indeterminate(failure.error.clone())));
                    waiting = known;
                    if waiting.is_empty() {
                        return answers;
                    }
                    true
                }
                Err(error) => {
                    answers.extend(for_all(waiting, &if lost { open(&error) } else { error }));
                    return answers;
                }
            };
            if !again || !patience.wait().await {
                let error = if lost {
                    indeterminate(failure.error)
                } else {
                    unchanged(failure.error, failure.sent).at(format!("the log {log}"))
                };
                answers.extend(for_all(waiting, &error));
                return answers;
            }
        }
    }

    fn publish_by(&self) -> &'static str {
        match (self.config.publish, self.link.is_cluster()) {
            (false, _) => "",
            (true, true) => "SPUBLISH",
            (true, false) => "PUBLISH",
        }
    }
}

fn for_all(waiting: Vec<Encoded<'_>>, error: &Error) -> Vec<(usize, Result<Committed>)> {
    waiting.into_iter().map(|encoded| (encoded.place, Err(error.clone()))).collect()
}

/// The same error for a commit whose first answer was lost.
fn open(error: &Error) -> Error {
    Error::new(ErrorKind::Indeterminate, "the commit may or may not have been made").with_source(error.clone())
}

fn replicated_or_open(answer: Result<Committed>, replicated: bool) -> Result<Committed> {
    match answer {
        Ok(_) if !replicated => Err(Error::new(
            ErrorKind::Indeterminate,
            "the commit is made, and fewer replicas than were asked for had it in time",
        )),
        answer => answer,
    }
}

/// The runs of a batch: those of one inner list follow each other, in the order of the batch.
fn runs(batch: &[Commit], is_open: impl Fn(usize) -> bool) -> Vec<Vec<Run>> {
    if let Some(Commit { log, .. }) = batch.first()
        && batch.iter().all(|commit| commit.log == *log)
    {
        let places: Vec<_> = (0..batch.len()).filter(|place| is_open(*place)).collect();
        return if places.is_empty() { Vec::new() } else { vec![vec![Run { log: log.clone(), places }]] };
    }
    let mut group_of_log: HashMap<&LogId, usize> = HashMap::new();
    let mut group_of_lock: HashMap<LockKey, usize> = HashMap::new();
    let mut groups: Vec<BTreeSet<usize>> = Vec::new();
    for (place, commit) in batch.iter().enumerate().filter(|(place, _)| is_open(*place)) {
        let by_log = group_of_log.get(&commit.log).copied();
        let by_lock = group_of_lock.get(&commit.lock).copied();
        let group = by_log.or(by_lock).unwrap_or_else(|| {
            groups.push(BTreeSet::new());
            groups.len() - 1
        });
        if let Some(other) = by_lock.filter(|other| *other != group) {
            // One log under two keys: what is under either of them keeps its order.
            let moved = groups.get_mut(other).map(mem::take).unwrap_or_default();
            group_of_log.values_mut().filter(|of| **of == other).for_each(|of| *of = group);
            group_of_lock.values_mut().filter(|of| **of == other).for_each(|of| *of = group);
            if let Some(group) = groups.get_mut(group) {
                group.extend(moved);
            }
        }
        group_of_log.insert(&commit.log, group);
        group_of_lock.insert(commit.lock, group);
        if let Some(group) = groups.get_mut(group) {
            group.insert(place);
        }
    }
    let mut all = Vec::new();
    for group in groups {
        let mut runs: Vec<Run> = Vec::new();
        for place in group {
            let Some(commit) = batch.get(place) else { continue };
            match runs.last_mut() {
                Some(run) if run.log == commit.log => run.places.push(place),
                _ => runs.push(Run { log: commit.log.clone(), places: vec![place] }),
            }
        }
        if !runs.is_empty() {
            all.push(runs);
        }
    }
    all
}

/// The lock keys of commits, as text.
pub(crate) fn locks(waiting: &[Encoded<'_>]) -> Vec<String> {
    let locks: BTreeSet<LockKey> = waiting.iter().map(|encoded| encoded.commit.lock).collect();
    locks.into_iter().map(keys::lock).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_shares_a_log_or_a_key_keeps_its_order() {
        let commit = |log: &str, lock| Commit::new(LogId::new(log).unwrap(), LockKey::One(lock));
        let places = |batch: &[Commit]| {
            let all = runs(batch, |place| place != 9);
            all.into_iter()
                .map(|runs| runs.into_iter().map(|run| (run.log.to_string(), run.places)).collect::<Vec<_>>())
                .collect::<Vec<_>>()
        };
        let one = |log: &str, places: &[usize]| (log.to_owned(), places.to_vec());
        assert_eq!(places(&[commit("a", 1), commit("a", 1)]), [[one("a", &[0, 1])]]);
        assert_eq!(places(&[commit("a", 1), commit("b", 2), commit("a", 1)]), [[one("a", &[0, 2])], [one("b", &[1])]]);
        assert_eq!(
            places(&[commit("a", 1), commit("b", 1), commit("a", 1)]),
            [[one("a", &[0]), one("b", &[1]), one("a", &[2])]]
        );
        assert_eq!(
            places(&[commit("a", 1), commit("b", 2), commit("a", 2), commit("b", 2)]),
            [[one("a", &[0]), one("b", &[1]), one("a", &[2]), one("b", &[3])]]
        );
    }
}
