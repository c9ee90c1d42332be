//! The text of key-encryption keys: a JSON object that names the primary one, and has each in base64.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use zeroize::Zeroizing;

use super::crypto::SecretKey;
use super::kek::{Keks, NAME, is_name};
use crate::error::{Error, Result};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    primary: String,
    keys: Members,
}

/// Every member, even if two have one name: a map would keep the last, and say nothing.
struct Members(Vec<(String, Zeroizing<String>)>);

/// Reads the keys. **Invariant**: no message shows a key, not even one that stands where its name should. So what is no name
/// is not shown, and neither is what serde says.
pub(super) fn read(text: &str) -> Result<Keks> {
    let no_text = |place: &str| {
        let form = "{\"primary\": NAME, \"keys\": {NAME: BASE64, ..}}";
        Error::invalid(format!("the text of the key-encryption keys is no {form}{place}"))
    };
    // serde reads an array as the fields in their order, too.
    if !text.trim_start().starts_with('{') {
        return Err(no_text(""));
    }
    let Text { primary, keys } = serde_json::from_str(text)
        .map_err(|error| no_text(&format!(" (line {}, column {})", error.line(), error.column())))?;
    if !is_name(&primary) || keys.0.iter().any(|(name, _)| !is_name(name)) {
        let message = format!("the text of the key-encryption keys has a name that is none: {NAME}");
        return Err(Error::invalid(message));
    }
    let mut keks = Keks::none(&primary);
    for (name, encoded) in keys.0 {
        keks = keks.with(&name, key(&name, encoded.trim())?)?;
    }
    if keks.has_primary() {
        Ok(keks)
    } else {
        Err(Error::invalid(format!("the primary key-encryption key is to be {primary:?}, and it is not there")))
    }
}

fn key(name: &str, encoded: &str) -> Result<SecretKey> {
    // One byte more than a key has: base64 asks for room for three bytes each four characters.
    let mut bytes = Zeroizing::new([0; 33]);
    let length = STANDARD.decode_slice(encoded, &mut bytes[..]);
    match (length, bytes.first_chunk::<32>()) {
        (Ok(32), Some(key)) => Ok(SecretKey::from_bytes(*key)),
        _ => Err(Error::invalid(format!("the key-encryption key {name:?} is no 32 bytes in base64"))),
    }
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of keys")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Members, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Members(members))
    }
}
