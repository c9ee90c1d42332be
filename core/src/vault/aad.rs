//! What a ciphertext is bound to: it opens where it was sealed, and nowhere else.

use crate::types::{ActionName, EventId, LogId, NewEvent, RecordKey, Subject};

/// The place of something sealed. Each part goes into the associated data with its length before it (4 bytes, the highest
/// first): log, tenant, subject, event id, resource, record id, action, version, section.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    pub(crate) event: Option<EventId>,
    pub(crate) record: Option<&'a RecordKey>,
    pub(crate) action: Option<&'a ActionName>,
    pub(crate) version: u32,
    pub(crate) section: Section<'a>,
}

/// Which part of an event, a record or a row of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Section<'a> {
    /// A whole section of an event: `data`, `changed_attributes`, `metadata`.
    Whole(&'static str),
    /// One member of it, or of a record's attributes (`record`).
    Member(&'static str, &'a str),
}

impl<'a> Place<'a> {
    /// A section of an event; `key` is that of its record.
    pub(crate) fn in_event(event: &'a NewEvent, key: &'a RecordKey, section: Section<'a>) -> Self {
        Self { event: Some(event.id), record: Some(key), action: Some(&event.action), version: event.version, section }
    }

    /// An attribute of a record.
    pub(crate) fn in_record(key: &'a RecordKey, name: &'a str) -> Self {
        Self { event: None, record: Some(key), action: None, version: 0, section: Section::Member("record", name) }
    }

    /// A wrapped key: its generation is the version.
    pub(super) fn key(generation: u32) -> Self {
        Self { event: None, record: None, action: None, version: generation, section: Section::Whole("key") }
    }

    /// The proof that a key-encryption key is the one of its name.
    pub(super) fn canary() -> Self {
        Self { section: Section::Whole("canary"), ..Self::key(0) }
    }

    /// The associated data.
    pub(crate) fn aad(&self, log: &LogId, subject: &Subject) -> Vec<u8> {
        let mut aad = Vec::with_capacity(256);
        self.write_aad(log, subject, &mut aad);
        aad
    }

    /// Writes the associated data in the place of what is there.
    pub(super) fn write_aad(&self, log: &LogId, subject: &Subject, aad: &mut Vec<u8>) {
        aad.clear();
        let mut part = |bytes: &[u8]| {
            // Every part is far below 4 GiB: its limits see to that.
            aad.extend(u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
            aad.extend(bytes);
        };
        part(log.name.as_str().as_bytes());
        part(log.tenant.as_ref().map_or("", |tenant| tenant.as_str()).as_bytes());
        part(subject.as_str().as_bytes());
        part(self.event.as_ref().map_or(&[][..], |id| &id.as_uuid().as_bytes()[..]));
        part(self.record.map_or("", |key| key.resource.as_str()).as_bytes());
        part(self.record.map_or("", |key| key.id.as_str()).as_bytes());
        part(self.action.map_or("", |action| action.as_str()).as_bytes());
        part(&self.version.to_be_bytes());
        match self.section {
            Section::Whole(section) => part(section.as_bytes()),
            Section::Member(section, member) => part(format!("{section}/{member}").as_bytes()),
        }
    }
}
