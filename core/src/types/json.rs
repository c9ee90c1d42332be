//! JSON that is kept as text, and parsed where it is needed.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, LazyLock};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use super::object::JsonObject;
use super::text;
use crate::error::{Error, Result};

/// The text of one JSON object.
///
/// The text is stored and read back byte for byte: numbers of any size, the order of keys and the form of strings stay as
/// they were written. Equality is equality of text; [`same_value`](Self::same_value) compares what it means.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Json(Arc<str>);

impl Json {
    /// The empty object.
    #[must_use]
    pub fn empty() -> Self {
        static EMPTY: LazyLock<Json> = LazyLock::new(|| Json(Arc::from("{}")));
        EMPTY.clone()
    }

    /// Checks that the text is one JSON object.
    ///
    /// # Errors
    ///
    /// `Invalid` if it is not.
    pub fn parse(text: impl Into<String>) -> Result<Self> {
        let text = text.into();
        let fail = |source| Error::invalid("this is no JSON object").with_source(source);
        let raw: &RawValue = serde_json::from_str(&text).map_err(fail)?;
        if !raw.get().starts_with('{') {
            return Err(Error::invalid(format!("a JSON object was expected, not {}", kind_of(raw.get()))));
        }
        Ok(Self(Arc::from(text)))
    }

    /// Takes text that was a [`Json`] before: for a backend that reads back what it stored. It is not parsed here.
    #[must_use]
    pub fn from_stored(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// Writes a value as JSON.
    ///
    /// # Errors
    ///
    /// `Invalid` if the value does not serialize, or not to an object.
    pub fn from_value(value: &impl Serialize) -> Result<Self> {
        Self::written(|to| serde_json::to_writer(to, value))
    }

    /// What is written as JSON.
    pub(super) fn written(write: impl FnOnce(&mut Vec<u8>) -> serde_json::Result<()>) -> Result<Self> {
        let take = |text: &str| if text.starts_with('{') { Ok(Self(Arc::from(text))) } else { Err(kind_of(text)) };
        text::written(write, take)
            .map_err(|source| Error::invalid("a value cannot be written as JSON").with_source(source))?
            .map_err(|kind| Error::invalid(format!("a value must be written as a JSON object, not {kind}")))
    }

    /// Reads a value from the JSON.
    ///
    /// # Errors
    ///
    /// `Corrupt` if the text does not fit the type.
    pub fn to_value<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_str(&self.0).map_err(|source| {
            Error::corrupt(format!("stored JSON is no {}", std::any::type_name::<T>())).with_source(source)
        })
    }

    /// The members, each with its value as text.
    ///
    /// # Errors
    ///
    /// `Corrupt` if the text is no JSON object, which only stored text can be.
    pub fn to_object(&self) -> Result<JsonObject> {
        JsonObject::parse(&self.0).map_err(|source| Error::corrupt("stored JSON is no object").with_source(source))
    }

    pub(super) fn text(&self) -> &Arc<str> {
        &self.0
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether both mean the same: the order of keys and white space do not count.
    #[must_use]
    pub fn same_value(&self, other: &Self) -> bool {
        same_json(&self.0, &other.0)
    }
}

fn kind_of(text: &str) -> &'static str {
    match text.trim_start().bytes().next() {
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b'"') => "a string",
        Some(b'n') => "null",
        Some(b't' | b'f') => "a boolean",
        _ => "a number",
    }
}

/// So deep, JSON is compared by what it means, and deeper by its text.
const DEPTH: usize = 128;

/// Whether two JSON texts mean the same.
pub(super) fn same_json(a: &str, b: &str) -> bool {
    same_to_depth(a, b, DEPTH)
}

/// **Invariant**: no difference is overlooked. So numbers are the same only if they are written the same: no type at hand
/// holds all of their digits.
fn same_to_depth(a: &str, b: &str, depth: usize) -> bool {
    fn both<'a, T: Deserialize<'a>>(a: &'a str, b: &'a str) -> Option<(T, T)> {
        serde_json::from_str(a).ok().zip(serde_json::from_str(b).ok())
    }
    if a == b {
        return true;
    }
    let (a, b) = (a.trim(), b.trim());
    if a == b {
        return true;
    }
    let same = |a: &RawValue, b: &RawValue| same_to_depth(a.get(), b.get(), depth - 1);
    match (a.bytes().next(), b.bytes().next()) {
        _ if depth == 0 => false,
        (Some(b'{'), Some(b'{')) => both::<BTreeMap<Cow<'_, str>, &RawValue>>(a, b).is_some_and(|(a, b)| {
            a.len() == b.len() && a.iter().all(|(name, value)| b.get(name).is_some_and(|other| same(value, other)))
        }),
        (Some(b'['), Some(b'[')) => both::<Vec<&RawValue>>(a, b)
            .is_some_and(|(a, b)| a.len() == b.len() && a.iter().zip(&b).all(|(value, other)| same(value, other))),
        (Some(b'"'), Some(b'"')) => both::<Cow<'_, str>>(a, b).is_some_and(|(a, b)| a == b),
        _ => false,
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// It is checked in formats for people; in binary ones, which only a store reads, it is taken as it was written.
impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let check = deserializer.is_human_readable();
        let text = text::deserialize(deserializer)?;
        if check { Self::parse(&*text).map_err(serde::de::Error::custom) } else { Ok(Self(text)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_kept_byte_for_byte() {
        let text = r#"{ "b":1.10, "a":123456789012345678901234567890, "a\u0062":"\u00e9" }"#;
        assert_eq!(Json::parse(text).unwrap().as_str(), text);
    }

    #[test]
    fn only_an_object_will_do() {
        assert_eq!(Json::parse("[1]").unwrap_err().message(), "a JSON object was expected, not an array");
        assert_eq!(
            Json::from_value(&7).unwrap_err().message(),
            "a value must be written as a JSON object, not a number"
        );
        assert!(Json::parse("{} {}").is_err() && Json::parse("{").is_err());
        assert!(serde_json::from_str::<Json>("\"[]\"").is_err());
    }

    #[test]
    fn json_is_the_same_if_it_means_the_same_and_never_if_a_digit_differs() {
        for (a, b) in [
            (r#"{"a":1,"b":[null,{"c":"\u00e9"}]}"#, r#"{ "b" : [ null, {"\u0063":"é"} ], "a":1 }"#),
            (r#"{"a":1,"a":2}"#, r#"{"a":2}"#),
        ] {
            assert!(same_json(a, b) && same_json(b, a), "{a} {b}");
        }
        for (a, b) in [
            (r#"{"a":123456789012345678901234567890}"#, r#"{"a":123456789012345678901234567891}"#),
            (r#"[18446744073709551616]"#, r#"[18446744073709551617]"#),
            ("0.10000000000000000001", "0.1"),
            ("1", "1.0"),
            ("1", r#""1""#),
            ("[1]", "[1,1]"),
            ("[]", "{}"),
            (r#"{"a":null}"#, "{}"),
            (r#"{"a":1,"b":2}"#, r#"{"a":1,"c":2}"#),
            ("true", "false"),
            ("\"a\"", "\"A\""),
        ] {
            assert!(!same_json(a, b) && !same_json(b, a), "{a} {b}");
        }
        let deep = |inner: &str| format!("{}{inner}{}", "[".repeat(10_000), "]".repeat(10_000));
        assert!(same_json(&deep("1"), &deep("1")) && !same_json(&deep("1"), &deep(" 1")));
    }
}
