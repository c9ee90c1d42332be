//! Whose data something is.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::actor::Actor;
use super::name::text_newtype;
use super::record::RecordKey;
use super::text::Text;
use crate::error::{Error, ErrorKind, Result};

/// The longest subject, in bytes of UTF-8: that of a record with the longest name and id.
const MAX_SUBJECT: usize = 1300;

text_newtype!(
    /// Whose data something is: the subject has keys of its own, and what is sealed for it is unreadable once it is
    /// forgotten.
    ///
    /// A subject is a record (`shop.customer/42`), an actor (`actor:user/42`), or a name of your own (`named:household 7`).
    /// It is text of 1 to 1300 bytes without NUL. It is stored in clear, so that it must not tell anything itself: an id,
    /// not a name.
    Subject, "subject", check_subject
);

fn check_subject(text: &str, what: &str) -> Result<()> {
    if text.is_empty() {
        return Err(Error::invalid(format!("the {what} is empty")));
    }
    if text.contains('\0') {
        return Err(Error::invalid(format!("{text:?} is no {what}: it contains a NUL character")));
    }
    if text.len() > MAX_SUBJECT {
        let message = format!("the {what} has {} bytes; at most {MAX_SUBJECT} are allowed", text.len());
        return Err(Error::new(ErrorKind::TooLarge, message));
    }
    Ok(())
}

impl Subject {
    fn of_parts(parts: &[&str]) -> Result<Self> {
        let text = Text::of_parts(parts);
        check_subject(&text, "subject")?;
        Ok(Self(text))
    }

    /// The subject that a record is, unless its resource names another.
    ///
    /// # Errors
    ///
    /// None that can be met: the longest record key fits.
    pub fn of_record(key: &RecordKey) -> Result<Self> {
        Self::of_parts(&[key.resource.as_str(), "/", key.id.as_str()])
    }

    /// The subject that an actor is: the metadata of what it does is sealed for it.
    ///
    /// # Errors
    ///
    /// None that can be met: the longest actor fits.
    pub fn of_actor(actor: &Actor) -> Result<Self> {
        Self::of_parts(&["actor:", actor.kind().as_str(), "/", actor.id()])
    }

    /// A subject by a name of your own, such as the value of an attribute that is marked `#[resource(subject)]`.
    ///
    /// # Errors
    ///
    /// `Invalid` if the name is empty or has a NUL; `TooLarge` beyond 1294 bytes.
    pub fn named(name: &str) -> Result<Self> {
        if name.is_empty() {
            return Err(Error::invalid("the name of a subject is empty"));
        }
        Self::of_parts(&["named:", name])
    }

    /// A subject of Rekindle's own.
    pub(crate) fn reserved(name: &str) -> Result<Self> {
        Self::of_parts(&["rekindle:", name])
    }

    /// Whether it is this record.
    pub(crate) fn is_of_record(&self, key: &RecordKey) -> bool {
        let id = self.as_str().strip_prefix(key.resource.as_str()).and_then(|rest| rest.strip_prefix('/'));
        id == Some(key.id.as_str())
    }

    /// The record that it is, if it is one.
    #[must_use]
    pub fn record(&self) -> Option<RecordKey> {
        let (resource, id) = self.as_str().split_once('/')?;
        RecordKey::new(resource, id).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_kind_of_subject_can_be_taken_for_another() {
        let record = Subject::of_record(&RecordKey::new("shop.customer", "a/b:c").unwrap()).unwrap();
        assert_eq!(record.as_str(), "shop.customer/a/b:c");
        assert_eq!(record.record(), Some(RecordKey::new("shop.customer", "a/b:c").unwrap()));
        assert!(record.is_of_record(&RecordKey::new("shop.customer", "a/b:c").unwrap()));
        assert!(!record.is_of_record(&RecordKey::new("shop.custom", "a/b:c").unwrap()));
        for other in [
            Subject::of_actor(&Actor::new("user", "42").unwrap()).unwrap(),
            Subject::named("shop.customer/7").unwrap(),
            Subject::reserved("log").unwrap(),
        ] {
            assert_eq!(other.record(), None, "{other}");
        }
        let longest = RecordKey::new("a".repeat(200), "b".repeat(1024)).unwrap();
        assert!(Subject::of_record(&longest).is_ok());
        assert_eq!(Subject::new("").unwrap_err().message(), "the subject is empty");
    }
}
