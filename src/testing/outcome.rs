//! What came of a run, and what can be asserted of it.

use std::fmt::{self, Display};

use rekindle_core::engine::Log;
use rekindle_core::types::Event;
use rekindle_core::{ErrorKind, Result};

use super::Recorded;

/// What came of what was tested: its result, and the events that it recorded.
#[must_use = "an outcome is there to be held against what is expected"]
pub struct Outcome<T> {
    pub(super) log: Log,
    pub(super) events: Vec<Event>,
    /// What it gave.
    pub result: Result<T>,
}

impl<T> Outcome<T> {
    /// The events that it recorded, in order: for what is not asserted here, such as actors and metadata.
    #[must_use]
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// It ended well; and what it gave.
    ///
    /// # Panics
    ///
    /// If it failed: with its error.
    #[track_caller]
    pub fn then_succeeds(&self) -> &T {
        match &self.result {
            Ok(value) => value,
            Err(_) => panic!("expected: success\nfound: {}", self.found()),
        }
    }

    /// It recorded these actions, in this order, and no others.
    ///
    /// # Panics
    ///
    /// If it recorded anything else: with both lists, and what it gave.
    #[track_caller]
    pub fn then_recorded(&self, expected: impl IntoIterator<Item = Recorded>) -> &Self {
        let expected: Vec<_> = expected.into_iter().collect();
        let same = expected.len() == self.events.len() && expected.iter().zip(&self.events).all(|(a, b)| a.is(b));
        if !same {
            panic!("expected to be recorded:{}\nfound: {}", Lines(&expected), self.found());
        }
        self
    }

    /// It recorded nothing.
    ///
    /// # Panics
    ///
    /// If it recorded anything: with what it recorded.
    #[track_caller]
    pub fn then_nothing_recorded(&self) -> &Self {
        self.then_recorded([])
    }

    /// An action refused, with this message.
    ///
    /// # Panics
    ///
    /// If it ended well, failed otherwise, or with another message: with what it gave.
    #[track_caller]
    pub fn then_rejected(&self, message: &str) -> &Self {
        self.then_failed(&ErrorKind::Rejected, message)
    }

    /// A policy refused, with this message.
    ///
    /// # Panics
    ///
    /// If it ended well, failed otherwise, or with another message: with what it gave.
    #[track_caller]
    pub fn then_forbidden(&self, message: &str) -> &Self {
        self.then_failed(&ErrorKind::Forbidden, message)
    }

    #[track_caller]
    fn then_failed(&self, kind: &ErrorKind, message: &str) -> &Self {
        match &self.result {
            Err(error) if error.kind() == kind && error.message() == message => self,
            _ => panic!("expected: {kind:?}: {message}\nfound: {}", self.found()),
        }
    }

    /// The log brings back what it tells of: the records are what the events make, and after they are dropped and replayed
    /// they are so again, every attribute, revision and identity. (Sensitive attributes that events do not hold are passed
    /// over, and come back as null.)
    ///
    /// It fails where records are changed past the events: by an action that is not recorded, by a seed, or by a body that
    /// gives something else each time and is replayed as arguments.
    ///
    /// # Panics
    ///
    /// If they are not: with each difference, or with the error of the replay.
    ///
    /// # Cancel safety
    ///
    /// Dropped, the records may be those before, or none.
    pub async fn then_replays(&self) -> &Self {
        self.then_verified("the records are what the log makes of them").await;
        let replayed = match self.log.clear_records().await {
            Ok(_) => self.log.replay().await,
            Err(error) => Err(error),
        };
        if let Err(error) = replayed {
            panic!("expected: a replay that brings the records back\nfound: {error}");
        }
        self.then_verified("the replayed records are what they were").await;
        self
    }

    async fn then_verified(&self, expected: &str) {
        match self.log.replay().verify().await {
            Ok(verified) if verified.drifts.is_empty() => {}
            Ok(verified) => panic!("expected: {expected}\nfound: {verified}"),
            Err(error) => panic!("expected: {expected}\nfound: {error}"),
        }
    }

    /// What it gave and recorded, in words.
    fn found(&self) -> String {
        let result = match &self.result {
            Ok(_) => "success".to_owned(),
            Err(error) => format!("{:?}: {error}", error.kind()),
        };
        format!("{result}, and recorded:{}", Lines(&self.events.iter().map(Told).collect::<Vec<_>>()))
    }
}

impl<T: fmt::Debug> fmt::Debug for Outcome<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outcome").field("result", &self.result).field("events", &self.events).finish_non_exhaustive()
    }
}

/// An event, as it is shown beside a [`Recorded`].
struct Told<'a>(&'a Event);

impl Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.0.action, self.0.data)
    }
}

/// Each on a line of its own.
struct Lines<'a, T>(&'a [T]);

impl<T: Display> Display for Lines<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str(" nothing");
        }
        self.0.iter().try_for_each(|line| write!(f, "\n    {line}"))
    }
}
