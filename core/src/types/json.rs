//! JSON that is kept as text, and parsed where it is needed.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, LazyLock};

use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

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
        let text = serde_json::to_string(value)
            .map_err(|source| Error::invalid("a value cannot be written as JSON").with_source(source))?;
        if text.starts_with('{') {
            Ok(Self(Arc::from(text)))
        } else {
            Err(Error::invalid(format!("a value must be written as a JSON object, not {}", kind_of(&text))))
        }
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
        serde_json::from_str(&self.0).map_err(|source| Error::corrupt("stored JSON is no object").with_source(source))
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
fn same_json(a: &str, b: &str) -> bool {
    same_to_depth(a, b, DEPTH)
}

/// **Invariant**: no difference is overlooked. So numbers are the same only if they are written the same: no type at hand
/// holds all of their digits.
fn same_to_depth(a: &str, b: &str, depth: usize) -> bool {
    fn both<'a, T: Deserialize<'a>>(a: &'a str, b: &'a str) -> Option<(T, T)> {
        serde_json::from_str(a).ok().zip(serde_json::from_str(b).ok())
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
        let text = super::text::deserialize(deserializer)?;
        if check { Self::parse(&*text).map_err(serde::de::Error::custom) } else { Ok(Self(text)) }
    }
}

/// The members of one JSON object, in the order of their names; each value is kept as text.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JsonObject(BTreeMap<String, Box<RawValue>>);

impl JsonObject {
    /// Whether there is a member of this name.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// The value of a member, as JSON text.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|raw| raw.get())
    }

    /// Sets a member to a value.
    ///
    /// # Errors
    ///
    /// `Invalid` if the value cannot be written as JSON.
    pub fn set(&mut self, name: impl Into<String>, value: &impl Serialize) -> Result<()> {
        let name = name.into();
        let raw = serde_json::value::to_raw_value(value).map_err(|source| {
            Error::invalid(format!("the value of {name:?} cannot be written as JSON")).with_source(source)
        })?;
        self.0.insert(name, raw);
        Ok(())
    }

    /// Sets a member to a value that is JSON text.
    ///
    /// # Errors
    ///
    /// `Corrupt` if the text is no JSON.
    pub(crate) fn set_text(&mut self, name: impl Into<String>, text: String) -> Result<()> {
        let raw =
            RawValue::from_string(text).map_err(|source| Error::corrupt("a value is no JSON").with_source(source))?;
        self.0.insert(name.into(), raw);
        Ok(())
    }

    /// Takes over the value of one member of another object, if it is there, under this name.
    pub(crate) fn take_over(&mut self, name: &str, from: &Self, member: &str) -> bool {
        let Some(value) = from.0.get(member) else { return false };
        self.0.insert(name.to_owned(), value.clone());
        true
    }

    /// Takes a member away.
    pub fn remove(&mut self, name: &str) -> bool {
        self.0.remove(name).is_some()
    }

    /// Takes over every member of the other.
    pub fn merge(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// Takes over the members of a JSON object whose names pass: without making an object of it first.
    ///
    /// # Errors
    ///
    /// `Corrupt` if the text is no JSON object, which only stored text can be.
    pub fn merge_json(&mut self, json: &Json, keep: impl Fn(&str) -> bool) -> Result<()> {
        let mut members = serde_json::Deserializer::from_str(&json.0);
        let merge = Merge { object: self, keep };
        members.deserialize_map(merge).map_err(|source| Error::corrupt("stored JSON is no object").with_source(source))
    }

    /// Keeps the members whose names pass.
    pub fn retain(&mut self, mut keep: impl FnMut(&str) -> bool) {
        self.0.retain(|name, _| keep(name));
    }

    /// The members that pass.
    pub(crate) fn filtered(&self, mut keep: impl FnMut(&str, &str) -> bool) -> Self {
        let kept = self.0.iter().filter(|(name, value)| keep(name, value.get()));
        Self(kept.map(|(name, value)| (name.clone(), value.clone())).collect())
    }

    /// The names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The members, sorted by name, each value as JSON text.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, raw)| (name.as_str(), raw.get()))
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a member is there and means this JSON text.
    #[must_use]
    pub fn has(&self, name: &str, value: &str) -> bool {
        self.get(name).is_some_and(|own| same_json(own, value))
    }

    /// The object as text, its members sorted by name: the one form in which Rekindle stores attributes.
    ///
    /// # Errors
    ///
    /// None that can be met; the signature leaves room for the serializer's.
    pub fn to_json(&self) -> Result<Json> {
        Json::from_value(self)
    }
}

struct Merge<'a, F> {
    object: &'a mut JsonObject,
    keep: F,
}

impl<'de, F: Fn(&str) -> bool> Visitor<'de> for Merge<'_, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> std::result::Result<(), A::Error> {
        while let Some(Name(name)) = members.next_key()? {
            let value: &RawValue = members.next_value()?;
            if !(self.keep)(&name) {
                continue;
            }
            match self.object.0.get_mut(&*name) {
                Some(own) => *own = value.to_owned(),
                None => {
                    self.object.0.insert(name.into_owned(), value.to_owned());
                }
            }
        }
        Ok(())
    }
}

/// The name of a member, borrowed from the text unless it is written with escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl FromIterator<(String, Box<RawValue>)> for JsonObject {
    fn from_iter<I: IntoIterator<Item = (String, Box<RawValue>)>>(members: I) -> Self {
        Self(members.into_iter().collect())
    }
}

impl IntoIterator for JsonObject {
    type Item = (String, Box<RawValue>);
    type IntoIter = std::collections::btree_map::IntoIter<String, Box<RawValue>>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl fmt::Debug for JsonObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
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

    #[test]
    fn values_of_any_size_pass_through_an_object() {
        let text = r#"{"a":123456789012345678901234567890,"b":1.10}"#;
        assert_eq!(Json::parse(text).unwrap().to_object().unwrap().to_json().unwrap().as_str(), text);
    }
}
