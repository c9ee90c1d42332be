//! JSON objects some of whose members are sealed, and events.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{CHANGED, DATA, METADATA, SEALED};
use crate::error::{Error, Result, VaultFault};
use crate::types::{Event, Json, JsonObject, KeyId, Payload, RecordKey, Redacted, Subject};
use crate::vault::{Opened, Opener, Place, SealKeys, Section, key_of};

pub(super) fn expect_own_name(json: &Json) -> Result<()> {
    if json.as_str().contains(SEALED) && json.to_object()?.contains(SEALED) {
        return Err(Error::invalid(format!("a member {SEALED:?} is Rekindle's own")));
    }
    Ok(())
}

/// Seals members of a JSON object; those that are null stay so.
pub(super) fn seal_members<'m: 'p, 'p>(
    keys: &mut SealKeys,
    subject: &Subject,
    json: &Json,
    members: impl Iterator<Item = &'m str>,
    place: impl Fn(&'m str) -> Place<'p>,
) -> Result<Json> {
    expect_own_name(json)?;
    let mut members = members.peekable();
    if members.peek().is_none() {
        return Ok(json.clone());
    }
    let mut object = json.to_object()?;
    let mut sealed = Vec::new();
    for member in members {
        let Some(value) = object.get(member).filter(|value| *value != "null") else { continue };
        let envelope = keys.seal(subject, &place(member), value.as_bytes())?;
        object.set(member, &STANDARD.encode(envelope))?;
        sealed.push(member);
    }
    if sealed.is_empty() {
        return Ok(json.clone());
    }
    sealed.sort_unstable();
    sealed.dedup();
    object.set(SEALED, &sealed)?;
    object.to_json()
}

pub(super) fn sealed_names(object: &JsonObject) -> Result<Vec<String>> {
    let Some(names) = object.get(SEALED) else { return Ok(Vec::new()) };
    serde_json::from_str(names).map_err(|source| {
        Error::vault(VaultFault::Tampered, "the names of what is sealed cannot be read").with_source(source)
    })
}

/// A JSON object some of whose members are sealed.
pub(super) struct Members {
    object: JsonObject,
    envelopes: Vec<(String, Vec<u8>)>,
}

impl Members {
    /// `None` if none is sealed.
    pub(super) fn of(json: &Json) -> Result<Option<Self>> {
        if !json.as_str().contains(SEALED) {
            return Ok(None);
        }
        let mut object = json.to_object()?;
        let names = sealed_names(&object)?;
        if !object.remove(SEALED) {
            return Ok(None);
        }
        let envelope = |name: String| {
            let text: Option<String> = object.get(&name).and_then(|value| serde_json::from_str(value).ok());
            let bytes = text.and_then(|text| STANDARD.decode(text).ok());
            let bytes = bytes.ok_or_else(|| {
                Error::vault(VaultFault::Tampered, format!("{name:?} is said to be sealed, and is no envelope"))
            })?;
            Ok((name, bytes))
        };
        let envelopes = names.into_iter().map(envelope).collect::<Result<_>>()?;
        Ok(Some(Self { object, envelopes }))
    }

    pub(super) fn ids(&self) -> Result<Vec<KeyId>> {
        self.envelopes.iter().map(|(_, envelope)| key_of(envelope)).collect()
    }

    /// The object with its members opened, and why one of them is null, if one is.
    pub(super) fn open<'a>(
        &'a self,
        opener: &mut Opener<'_>,
        place: impl Fn(&'a str) -> Place<'a>,
    ) -> Result<(JsonObject, Option<Redacted>)> {
        let (mut object, mut why) = (self.object.clone(), None);
        for (name, envelope) in &self.envelopes {
            match opener.open(&place(name), envelope).map_err(|error| error.at(format!("{name:?}")))? {
                Opened::Plaintext(plaintext) => object.set_text(name.clone(), text(plaintext)?)?,
                Opened::Redacted(redacted) => {
                    object.set(name.clone(), &())?;
                    why = Some(redacted.clone());
                }
            }
        }
        Ok((object, why))
    }
}

fn text(plaintext: &[u8]) -> Result<&str> {
    std::str::from_utf8(plaintext).map_err(|_| Error::corrupt("what was sealed is no text"))
}

pub(super) fn open_event(opener: &mut Opener<'_>, event: &mut Event, metadata: bool) -> Result<()> {
    let key = event.key();
    let mut open = |section: &Payload, name: &'static str| open_section(opener, event, &key, section, name);
    let data = open(&event.data, DATA)?;
    let changed = open(&event.changed_attributes, CHANGED)?;
    if metadata {
        event.event.metadata = open(&event.metadata, METADATA)?;
    }
    event.event.data = data;
    event.event.changed_attributes = changed;
    Ok(())
}

fn open_section(
    opener: &mut Opener<'_>,
    event: &Event,
    key: &RecordKey,
    section: &Payload,
    name: &'static str,
) -> Result<Payload> {
    match section {
        Payload::Sealed(envelope) => {
            let place = Place::in_event(event, key, Section::Whole(name));
            Ok(match opener.open(&place, envelope).map_err(|error| error.at(name))? {
                Opened::Plaintext(plaintext) => Payload::Json(Json::from_stored(text(plaintext)?)),
                Opened::Redacted(why) => Payload::Redacted { why: why.clone(), rest: Json::empty() },
            })
        }
        Payload::Json(json) => {
            let Some(members) = Members::of(json)? else { return Ok(section.clone()) };
            let place = |member| Place::in_event(event, key, Section::Member(name, member));
            let (object, why) = members.open(opener, place).map_err(|error| error.at(name))?;
            let rest = object.to_json()?;
            Ok(match why {
                Some(why) => Payload::Redacted { why, rest },
                None => Payload::Json(rest),
            })
        }
        Payload::Redacted { .. } => Ok(section.clone()),
    }
}
