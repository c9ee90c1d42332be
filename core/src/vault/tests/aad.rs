//! What is sealed belongs to its place.

use proptest::prelude::*;
use serde_json::{Value, json};
use uuid::Uuid;

use super::fault;
use crate::error::VaultFault;
use crate::types::{ActionName, EventId, LogId, RecordKey, Subject};
use crate::vault::aad::{Place, Section};
use crate::vault::crypto::SealingKey;
use crate::vault::{SecretKey, envelope};

const SECTIONS: [&str; 6] = ["data", "changed_attributes", "metadata", "record", "key", "canary"];

/// All that a place is made of, owned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Parts {
    log: String,
    tenant: Option<String>,
    subject: String,
    event: Option<u128>,
    record: Option<(String, String)>,
    action: Option<String>,
    version: u32,
    section: &'static str,
    member: Option<String>,
}

impl Parts {
    /// As it is in the page of the format: what is not there is empty.
    pub(super) fn of_json(parts: &Value) -> Self {
        let text = |name: &str| parts[name].as_str().unwrap().to_owned();
        let some = |name: &str| Some(text(name)).filter(|text| !text.is_empty());
        let section = text("section");
        let (section, member) = match section.split_once('/') {
            Some((section, member)) => (section, Some(member.to_owned())),
            None => (&*section, None),
        };
        Self {
            log: text("log"),
            tenant: some("tenant"),
            subject: text("subject"),
            event: some("event").map(|id| id.parse::<Uuid>().unwrap().as_u128()),
            record: some("resource").map(|resource| (resource, text("record"))),
            action: some("action"),
            version: parts["version"].as_u64().unwrap().try_into().unwrap(),
            section: SECTIONS.into_iter().find(|known| *known == section).unwrap(),
            member,
        }
    }

    /// The same place, of another owner.
    pub(super) fn owned_by(self, log: &str, tenant: &str, subject: &str) -> Self {
        Self { log: log.to_owned(), tenant: Some(tenant.to_owned()), subject: subject.to_owned(), ..self }
    }

    /// As it is in the page of the format.
    pub(super) fn to_json(&self) -> Value {
        let (resource, record) = self.record.clone().unwrap_or_default();
        json!({
            "log": self.log,
            "tenant": self.tenant.clone().unwrap_or_default(),
            "subject": self.subject,
            "event": self.event.map(|id| Uuid::from_u128(id).to_string()).unwrap_or_default(),
            "resource": resource,
            "record": record,
            "action": self.action.clone().unwrap_or_default(),
            "version": self.version,
            "section": String::from_utf8(self.bytes()[8].clone()).unwrap(),
        })
    }

    pub(super) fn aad(&self) -> Vec<u8> {
        let log = LogId::new(&self.log).unwrap();
        let log = self.tenant.as_ref().map_or(log.clone(), |tenant| log.with_tenant(tenant).unwrap());
        let record = self.record.as_ref().map(|(resource, id)| RecordKey::new(resource, id).unwrap());
        let action = self.action.as_ref().map(|action| ActionName::new(action).unwrap());
        let section = match &self.member {
            Some(member) => Section::Member(self.section, member),
            None => Section::Whole(self.section),
        };
        let place = Place {
            event: self.event.map(|id| EventId::from_uuid(Uuid::from_u128(id))),
            record: record.as_ref(),
            action: action.as_ref(),
            version: self.version,
            section,
        };
        place.aad(&log, &Subject::new(&self.subject).unwrap())
    }

    /// As they are in the associated data.
    fn bytes(&self) -> [Vec<u8>; 9] {
        let text = |text: Option<&String>| text.map(|text| text.clone().into_bytes()).unwrap_or_default();
        let section = match &self.member {
            Some(member) => format!("{}/{member}", self.section),
            None => self.section.to_owned(),
        };
        [
            self.log.clone().into_bytes(),
            text(self.tenant.as_ref()),
            self.subject.clone().into_bytes(),
            self.event.map(|id| id.to_be_bytes().to_vec()).unwrap_or_default(),
            text(self.record.as_ref().map(|record| &record.0)),
            text(self.record.as_ref().map(|record| &record.1)),
            text(self.action.as_ref()),
            self.version.to_be_bytes().to_vec(),
            section.into_bytes(),
        ]
    }
}

/// Reads the parts back.
fn read(mut aad: &[u8]) -> Vec<Vec<u8>> {
    let mut parts = Vec::new();
    while let Some((length, rest)) = aad.split_first_chunk::<4>() {
        let (part, rest) = rest.split_at(u32::from_be_bytes(*length) as usize);
        parts.push(part.to_vec());
        aad = rest;
    }
    assert!(aad.is_empty(), "{} bytes are left", aad.len());
    parts
}

fn place() -> Parts {
    Parts {
        log: "shop".to_owned(),
        tenant: Some("north".to_owned()),
        subject: "shop.customer/42".to_owned(),
        event: Some(7),
        record: Some(("shop.customer".to_owned(), "42".to_owned())),
        action: Some("register".to_owned()),
        version: 1,
        section: "data",
        member: None,
    }
}

/// Property 78.
#[test]
fn e8_p34_what_is_sealed_opens_in_its_place_and_in_no_other() {
    let key = SealingKey::new(SecretKey::from_bytes([7; 32])).unwrap();
    let sealed = key.seal(&[9; 24], &place().aad(), b"secret").unwrap();
    let open = |parts: &Parts| key.open(&envelope::read(&sealed).unwrap(), &parts.aad());
    assert_eq!(open(&place()).unwrap()[..], b"secret"[..]);
    let elsewhere: [fn(&mut Parts); 19] = [
        |parts| parts.log = "shop2".to_owned(),
        |parts| parts.tenant = Some("south".to_owned()),
        |parts| parts.tenant = None,
        |parts| parts.subject = "shop.customer/43".to_owned(),
        |parts| parts.event = Some(8),
        |parts| parts.event = None,
        |parts| parts.record = Some(("shop.seller".to_owned(), "42".to_owned())),
        |parts| parts.record = Some(("shop.customer".to_owned(), "43".to_owned())),
        |parts| parts.record = None,
        |parts| parts.action = Some("rename".to_owned()),
        |parts| parts.action = None,
        |parts| parts.version = 2,
        |parts| parts.section = "changed_attributes",
        |parts| parts.section = "metadata",
        |parts| parts.section = "record",
        |parts| parts.section = "key",
        |parts| parts.section = "canary",
        |parts| parts.member = Some("name".to_owned()),
        |parts| parts.member = Some(String::new()),
    ];
    for (number, change) in elsewhere.into_iter().enumerate() {
        let mut parts = place();
        change(&mut parts);
        assert_eq!(fault(open(&parts)), VaultFault::Tampered, "change {number}: {parts:?}");
    }
}

#[test]
fn the_places_are_those_of_the_format() {
    let key = RecordKey::new("shop.customer", "42").unwrap();
    let (log, subject) = (LogId::new("shop").unwrap(), Subject::of_record(&key).unwrap());
    let aad = |place: Place<'_>| read(&place.aad(&log, &subject));
    let owned = |parts: [&[u8]; 9]| parts.map(<[u8]>::to_vec);
    let start: [&[u8]; 3] = [b"shop", b"", b"shop.customer/42"];
    let [name, tenant, whose] = start;
    assert_eq!(
        aad(Place::in_record(&key, "email")),
        owned([name, tenant, whose, b"", b"shop.customer", b"42", b"", &[0; 4], b"record/email"])
    );
    assert_eq!(aad(Place::key(258)), owned([name, tenant, whose, b"", b"", b"", b"", &[0, 0, 1, 2], b"key"]));
    assert_eq!(aad(Place::canary()), owned([name, tenant, whose, b"", b"", b"", b"", &[0; 4], b"canary"]));
}

pub(super) fn parts() -> impl Strategy<Value = Parts> {
    // Few letters, so that parts are often like each other; lengths and slashes, so that they could be taken for each other.
    let name = || "[a-c][a-c.]{0,3}";
    let text = || "[a/\u{1}\u{4}é]{1,6}";
    (
        (name(), proptest::option::of(text()), text(), proptest::option::of(0..4_u128)),
        (proptest::option::of((name(), text())), proptest::option::of(name()), 0..4_u32),
        (prop::sample::select(&SECTIONS[..])),
        proptest::option::of("[a/\u{1}\u{4}é]{0,6}"),
    )
        .prop_map(|((log, tenant, subject, event), (record, action, version), section, member)| Parts {
            log,
            tenant,
            subject,
            event,
            record,
            action,
            version,
            section,
            member,
        })
}

proptest! {
    #[test]
    fn every_part_is_read_back_from_the_associated_data(parts in parts()) {
        prop_assert_eq!(read(&parts.aad()), parts.bytes());
    }

    #[test]
    fn e8_two_places_never_have_the_same_associated_data(a in parts(), b in parts()) {
        prop_assert_eq!(a == b, a.aad() == b.aad());
    }

    /// The same text, cut into parts at two places.
    #[test]
    fn e8_parts_do_not_run_into_each_other(text in "[a-c]{8}", a in cuts(), b in cuts()) {
        let cut = |[first, second, third]: [usize; 3]| {
            let mut parts = place();
            parts.tenant = Some(text[..first].to_owned());
            parts.subject = text[first..second].to_owned();
            parts.record = Some(("c".to_owned(), text[second..third].to_owned()));
            parts.action = Some(text[third..].to_owned());
            parts
        };
        prop_assert_eq!(a == b, cut(a).aad() == cut(b).aad());
    }
}

/// Where a text of eight letters is cut, into four that are not empty.
fn cuts() -> impl Strategy<Value = [usize; 3]> {
    prop::sample::subsequence((1..8).collect::<Vec<_>>(), 3).prop_map(|cuts| [cuts[0], cuts[1], cuts[2]])
}
