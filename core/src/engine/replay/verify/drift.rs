//! What is found where live records and the log part.

use std::fmt;

use crate::types::{IdentityValue, Position, RecordKey, Revision};

/// What [`Replay::verify`](crate::engine::Replay::verify) has found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verified {
    /// The records that were held against the log, destroyed ones among them.
    pub records: u64,
    /// Where they part, by record. Empty if nowhere.
    pub drifts: Vec<Drift>,
}

/// A place where a live record and the log part.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Drift {
    /// The record.
    pub key: RecordKey,
    /// How they part.
    pub difference: Difference,
    /// The event after which they part: the first one whose effect the live record lacks, or else the last one that set what
    /// the log has. `None` if no event tells of it.
    pub event: Option<Position>,
}

/// How a live record and the log part.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Difference {
    /// By the log there is such a record, and it is not there.
    Missing,
    /// By the log there is no such record, and it is there.
    Extra,
    /// An attribute has another value; each as JSON text, `None` if it is not there.
    Attribute {
        /// Its name.
        name: String,
        /// As it is.
        live: Option<String>,
        /// As the log has it.
        replayed: Option<String>,
    },
    /// The revision is another.
    Revision {
        /// As it is.
        live: Revision,
        /// As the log has it.
        replayed: Revision,
    },
    /// The record is stored with other identities than its attributes make.
    Identities {
        /// As they are.
        live: Vec<IdentityValue>,
        /// As the log has them.
        replayed: Vec<IdentityValue>,
    },
    /// An identity of the record leads somewhere else.
    Index {
        /// The identity.
        identity: IdentityValue,
        /// The id of the record that it leads to; `None` if it leads to none.
        leads_to: Option<String>,
    },
}

impl fmt::Display for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} records, {} drifts", self.records, self.drifts.len())?;
        self.drifts.iter().try_for_each(|drift| write!(f, "\n{drift}"))
    }
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn text(value: &Option<String>) -> &str {
            value.as_deref().unwrap_or("not there")
        }
        fn list(identities: &[IdentityValue]) -> String {
            let identities: Vec<_> = identities.iter().map(ToString::to_string).collect();
            if identities.is_empty() { "none".to_owned() } else { identities.join(", ") }
        }
        write!(f, "{}: ", self.key)?;
        match &self.difference {
            Difference::Missing => f.write_str("it is missing")?,
            Difference::Extra => f.write_str("it is there, and by the log it is not")?,
            Difference::Attribute { name, live, replayed } => {
                write!(f, "{name} is {}, and by the log {}", text(live), text(replayed))?;
            }
            Difference::Revision { live, replayed } => {
                write!(f, "it is at revision {live}, and by the log at {replayed}")?;
            }
            Difference::Identities { live, replayed } => {
                write!(f, "it is stored with the identities {}, and by the log with {}", list(live), list(replayed))?;
            }
            Difference::Index { identity, leads_to: None } => write!(f, "its identity {identity} leads nowhere")?,
            Difference::Index { identity, leads_to: Some(id) } => {
                write!(f, "its identity {identity} leads to the record {id:?}")?;
            }
        }
        match self.event {
            Some(position) => write!(f, ", since the event at position {position}"),
            None => f.write_str(", and no event tells of it"),
        }
    }
}
