//! What this process saw last of its logs: so a batch can be decided on without being read for.
//!
//! It is a guess, never more: whatever is decided on it is written only if the log is still at that version.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use rekindle_core::store::{Head, LogState};
use rekindle_core::types::LogId;

/// So many logs are kept in mind; beyond that, all are forgotten.
const LOGS: usize = 10_000;
/// So many batches of a log are read for, at the most, after guesses that were wrong.
const MOST_PAUSED: u32 = 64;

/// A log as it was seen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct At {
    pub(crate) id: i64,
    pub(crate) version: i64,
    pub(crate) head: Head,
}

#[derive(Debug, Default)]
struct Log {
    at: Option<At>,
    /// So many batches are still read for.
    pause: u32,
    /// So many will be after the next wrong guess.
    next_pause: u32,
}

#[derive(Debug, Default)]
pub(crate) struct Heads(Mutex<HashMap<LogId, Log>>);

impl Heads {
    /// What a batch of the log may be decided on; `None` if it is to be read for.
    pub(crate) fn guess(&self, log: &LogId) -> Option<At> {
        let mut logs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = logs.get_mut(log)?;
        if known.pause > 0 {
            known.pause -= 1;
            return None;
        }
        known.at.filter(|at| at.head.state == LogState::Live)
    }

    /// The log was left like this by a batch that was read for.
    pub(crate) fn saw(&self, log: &LogId, at: At) {
        let mut logs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match logs.get_mut(log) {
            Some(known) => known.at = Some(at),
            None => {
                if logs.len() >= LOGS {
                    logs.clear();
                }
                logs.insert(log.clone(), Log { at: Some(at), ..Log::default() });
            }
        }
    }

    /// A batch is decided on this guess, and leaves the log like this if all goes well: the next guess takes that for granted.
    /// `false` if another batch is ahead of it, so that it is to be decided anew.
    pub(crate) fn claim(&self, log: &LogId, guess: At, at: At) -> bool {
        let mut logs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = logs.get_mut(log);
        let Some(claimed) = known.and_then(|known| known.at.as_mut()).filter(|known| known.version == guess.version)
        else {
            return false;
        };
        *claimed = at;
        true
    }

    /// A guess was right.
    pub(crate) fn was_right(&self, log: &LogId) {
        let mut logs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = logs.get_mut(log) {
            (known.pause, known.next_pause) = (0, 0);
        }
    }

    /// A guess was wrong. The more follow each other, because another process writes to the log, the longer is the pause.
    pub(crate) fn was_wrong(&self, log: &LogId) {
        let mut logs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = logs.get_mut(log) {
            known.at = None;
            known.pause = known.next_pause;
            known.next_pause = (known.next_pause * 2).clamp(1, MOST_PAUSED);
        }
    }

    /// What became of a batch is open.
    pub(crate) fn is_unknown(&self, log: &LogId) {
        let mut logs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = logs.get_mut(log) {
            known.at = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_grows_with_each_wrong_guess_and_ends_with_a_right_one() {
        let (heads, log) = (Heads::default(), LogId::new("main").unwrap());
        let at = At { id: 1, version: 1, head: Head::default() };
        assert!(heads.guess(&log).is_none());
        heads.saw(&log, at);
        for expected in [0, 1, 2, 4, 8, 16, 32, 64, 64] {
            heads.was_wrong(&log);
            heads.saw(&log, at);
            assert_eq!((0..).find(|_| heads.guess(&log).is_some()), Some(expected));
        }
        heads.was_right(&log);
        heads.was_wrong(&log);
        heads.saw(&log, at);
        assert!(heads.guess(&log).is_some());
    }

    #[test]
    fn a_guess_is_claimed_once_and_the_next_one_is_what_it_leads_to() {
        let (heads, log) = (Heads::default(), LogId::new("main").unwrap());
        let at = |version| At { id: 1, version, head: Head::default() };
        assert!(!heads.claim(&log, at(1), at(2)), "nothing was seen");
        heads.saw(&log, at(1));
        assert!(heads.claim(&log, at(1), at(2)));
        assert!(!heads.claim(&log, at(1), at(2)), "another was faster");
        assert_eq!(heads.guess(&log).map(|at| at.version), Some(2));
        heads.is_unknown(&log);
        assert!(heads.guess(&log).is_none());
    }
}
