//! The members of a JSON object.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use super::json::{Json, same_json};
use super::members::{self, Noted};
use super::text;
use crate::error::{Error, Result};

/// A member that is taken over from a text of at most so many bytes keeps the whole text; from a longer one it does so only
/// if it is half of it.
const SHARED: usize = 256;

/// The members of one JSON object, in the order of their names; each value is kept as text.
#[derive(Clone, Default)]
pub struct JsonObject(Vec<Member>);

/// A name and its value, as parts of a text that others may share.
#[derive(Clone)]
struct Member {
    text: Arc<str>,
    name: Range<usize>,
    value: Range<usize>,
}

impl Member {
    fn new(name: &str, value: &str) -> Self {
        let text = [name, value].concat().into();
        Self { text, name: 0..name.len(), value: name.len()..name.len() + value.len() }
    }

    /// The member of a text that it was read from: its name is a part of it unless it was written with escapes.
    fn within(text: &Arc<str>, name: &str, value: &str) -> Self {
        match (part_of(text, name), part_of(text, value)) {
            (Some(name), Some(value)) => Self { text: Arc::clone(text), name, value },
            _ => Self::new(name, value),
        }
    }

    fn name(&self) -> &str {
        self.text.get(self.name.clone()).unwrap_or_default()
    }

    fn value(&self) -> &str {
        self.text.get(self.value.clone()).unwrap_or_default()
    }
}

/// Where a part of a text is in it.
fn part_of(text: &str, part: &str) -> Option<Range<usize>> {
    let start = part.as_ptr().addr().checked_sub(text.as_ptr().addr())?;
    let range = start..start.checked_add(part.len())?;
    text.get(range.clone()).map(|_| range)
}

impl JsonObject {
    fn place(&self, name: &str) -> std::result::Result<usize, usize> {
        self.0.binary_search_by(|member| member.name().cmp(name))
    }

    fn put(&mut self, member: Member) {
        match self.place(member.name()) {
            Ok(at) => {
                if let Some(own) = self.0.get_mut(at) {
                    *own = member;
                }
            }
            Err(at) => self.0.insert(at, member),
        }
    }

    /// Takes members in any order; of two with one name the later one counts.
    fn put_all(&mut self, members: impl IntoIterator<Item = Member>) {
        let sorted = self.0.len();
        for member in members {
            let place = self.0.get(..sorted).map(|own| own.binary_search_by(|own| own.name().cmp(member.name())));
            match place.and_then(std::result::Result::ok).and_then(|at| self.0.get_mut(at)) {
                Some(own) => *own = member,
                None => self.0.push(member),
            }
        }
        self.sort();
    }

    fn sort(&mut self) {
        if self.0.is_sorted_by(|a, b| a.name() < b.name()) {
            return;
        }
        self.0.sort_by(|a, b| a.name().cmp(b.name()));
        self.0.dedup_by(|later, earlier| {
            let same = later.name() == earlier.name();
            if same {
                std::mem::swap(later, earlier);
            }
            same
        });
    }

    /// The members of the text of an object.
    pub(super) fn parse(text: &Arc<str>) -> serde_json::Result<Self> {
        let mut object = Self::default();
        read(text, |name, value| object.0.push(Member::within(text, name, value)))?;
        object.sort();
        Ok(object)
    }

    /// Writes a value as JSON, and gives its members with it.
    ///
    /// # Errors
    ///
    /// `Invalid` if the value does not serialize, or not to an object.
    pub(crate) fn of_value(value: &impl Serialize) -> Result<(Json, Self)> {
        let mut members = Vec::new();
        let json = Json::written(|to| {
            members = members::write(to, value)?;
            Ok(())
        })?;
        let text = json.text();
        let plain = |name: &Range<usize>| text.get(name.clone()).is_some_and(|name| !name.contains('\\'));
        // One that is raw JSON as a whole is written without a word of its members.
        let noted = !members.is_empty() || json.as_str() == "{}";
        if !noted || !members.iter().all(|member| plain(&member.name)) {
            return json.to_object().map(|object| (json, object));
        }
        let member = |Noted { name, value }| Member { text: Arc::clone(text), name, value };
        let mut object = Self(members.into_iter().map(member).collect());
        object.sort();
        Ok((json, object))
    }

    /// Whether there is a member of this name.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.place(name).is_ok()
    }

    /// The value of a member, as JSON text.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.place(name).ok().and_then(|at| self.0.get(at)).map(Member::value)
    }

    /// Sets a member to a value.
    ///
    /// # Errors
    ///
    /// `Invalid` if the value cannot be written as JSON.
    pub fn set(&mut self, name: impl Into<String>, value: &impl Serialize) -> Result<()> {
        let name = name.into();
        let value = serde_json::to_string(value).map_err(|source| {
            Error::invalid(format!("the value of {name:?} cannot be written as JSON")).with_source(source)
        })?;
        self.put(Member::new(&name, &value));
        Ok(())
    }

    /// Sets a member to a value that is JSON text.
    ///
    /// # Errors
    ///
    /// `Corrupt` if the text is no JSON.
    pub(crate) fn set_text(&mut self, name: impl Into<String>, text: &str) -> Result<()> {
        let raw: &RawValue =
            serde_json::from_str(text).map_err(|source| Error::corrupt("a value is no JSON").with_source(source))?;
        self.put(Member::new(&name.into(), raw.get()));
        Ok(())
    }

    /// Takes over the value of one member of another object, if it is there, under this name.
    pub(crate) fn take_over(&mut self, name: &str, from: &Self, member: &str) -> bool {
        let Some(value) = from.get(member) else { return false };
        self.put(Member::new(name, value));
        true
    }

    /// Takes a member away.
    pub fn remove(&mut self, name: &str) -> bool {
        self.place(name).map(|at| self.0.remove(at)).is_ok()
    }

    /// Takes over every member of the other.
    pub fn merge(&mut self, other: Self) {
        self.put_all(other.0);
    }

    /// Takes over the members of a JSON object whose names pass: without making an object of it first.
    ///
    /// # Errors
    ///
    /// `Corrupt` if the text is no JSON object, which only stored text can be.
    pub fn merge_json(&mut self, json: &Json, keep: impl Fn(&str) -> bool) -> Result<()> {
        let (text, mut taken) = (json.text(), Vec::new());
        let take = |name: &str, value: &str| {
            if keep(name) {
                let shares = text.len() <= SHARED || value.len() >= text.len() / 2;
                taken.push(if shares { Member::within(text, name, value) } else { Member::new(name, value) });
            }
        };
        read(text, take).map_err(|source| Error::corrupt("stored JSON is no object").with_source(source))?;
        self.put_all(taken);
        Ok(())
    }

    /// Keeps the members whose names pass.
    pub fn retain(&mut self, mut keep: impl FnMut(&str) -> bool) {
        self.0.retain(|member| keep(member.name()));
    }

    /// The members that pass.
    pub(crate) fn filtered(&self, mut keep: impl FnMut(&str, &str) -> bool) -> Self {
        Self(self.0.iter().filter(|member| keep(member.name(), member.value())).cloned().collect())
    }

    /// The names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(Member::name)
    }

    /// The members, sorted by name, each value as JSON text.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|member| (member.name(), member.value()))
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
        let Some(first) = self.0.first() else { return Ok(Json::empty()) };
        let written = text::written(
            |to| {
                for (at, member) in self.0.iter().enumerate() {
                    to.push(if at == 0 { b'{' } else { b',' });
                    write_name(to, member.name())?;
                    to.push(b':');
                    to.extend_from_slice(member.value().as_bytes());
                }
                to.push(b'}');
                Ok(())
            },
            // Most often it is the text that the members were read from.
            |written| if *written == *first.text { Arc::clone(&first.text) } else { Arc::from(written) },
        );
        let unwritten = |source| Error::invalid("an object cannot be written as JSON").with_source(source);
        written.map(Json::from_stored).map_err(unwritten)
    }
}

/// Writes a name as JSON. Most are written as they are.
fn write_name(to: &mut Vec<u8>, name: &str) -> serde_json::Result<()> {
    let is_escaped = |byte| byte < b' ' || byte == b'"' || byte == b'\\';
    if name.bytes().fold(false, |any, byte| any | is_escaped(byte)) {
        return serde_json::to_writer(to, name);
    }
    to.push(b'"');
    to.extend_from_slice(name.as_bytes());
    to.push(b'"');
    Ok(())
}

impl fmt::Debug for JsonObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl Serialize for JsonObject {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let raw = |text| serde_json::from_str::<&RawValue>(text).map_err(serde::ser::Error::custom);
        let members = self.iter().map(|(name, value)| raw(value).map(|value| (name, value)));
        serializer.collect_map(members.collect::<std::result::Result<Vec<_>, S::Error>>()?)
    }
}

impl<'de> Deserialize<'de> for JsonObject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = JsonObject;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> std::result::Result<JsonObject, A::Error> {
                let mut object = JsonObject::default();
                while let Some((name, value)) = members.next_entry::<String, Box<RawValue>>()? {
                    object.0.push(Member::new(&name, value.get()));
                }
                object.sort();
                Ok(object)
            }
        }

        deserializer.deserialize_map(Members)
    }
}

/// Reads the members of the text of an object, in its order.
fn read(text: &str, member: impl FnMut(&str, &str)) -> serde_json::Result<()> {
    let mut members = serde_json::Deserializer::from_str(text);
    members.deserialize_map(Each(member))?;
    members.end()
}

struct Each<F>(F);

impl<'de, F: FnMut(&str, &str)> Visitor<'de> for Each<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> std::result::Result<(), A::Error> {
        while let Some(Name(name)) = members.next_key()? {
            let value: &RawValue = members.next_value()?;
            (self.0)(&name, value.get());
        }
        Ok(())
    }
}

/// The name of a member, borrowed from the text unless it is written with escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn object(text: &str) -> JsonObject {
        Json::parse(text).unwrap().to_object().unwrap()
    }

    #[test]
    fn values_of_any_size_pass_through_an_object() {
        let text = r#"{"a":123456789012345678901234567890,"b":1.10}"#;
        assert_eq!(object(text).to_json().unwrap().as_str(), text);
    }

    #[test]
    fn members_are_sorted_by_name_and_of_two_with_one_name_the_later_counts() {
        let text = r#" { "b" : [1, 2], "a":1, "\u0062":2, "a\"":null, "é":{} , "a":3 } "#;
        assert_eq!(object(text).to_json().unwrap().as_str(), r#"{"a":3,"a\"":null,"b":2,"é":{}}"#);
        assert_eq!(serde_json::to_string(&object(text)).unwrap(), object(text).to_json().unwrap().as_str());
    }

    /// The oracle is serde_json's own writer.
    #[test]
    fn a_name_is_written_with_the_escapes_that_it_needs() {
        for name in ["", "plain", "a b", "\"", "a\\", "\u{0}", "\u{1f}", "a\n", "\u{7f}", "é\u{2028}", "/"] {
            let mut written = Vec::new();
            write_name(&mut written, name).unwrap();
            assert_eq!(String::from_utf8(written).unwrap(), serde_json::to_string(name).unwrap());
        }
    }

    #[test]
    fn a_text_that_has_its_form_already_is_not_copied() {
        let json = Json::parse(r#"{"a":1,"b":{"c": 2}}"#).unwrap();
        assert!(Arc::ptr_eq(json.text(), json.to_object().unwrap().to_json().unwrap().text()));
    }

    #[test]
    fn a_small_member_does_not_keep_a_large_text() {
        let json = Json::parse(format!(r#"{{"large":"{}","small":1}}"#, "x".repeat(1_000))).unwrap();
        let mut object = JsonObject::default();
        object.merge_json(&json, |name| name == "small").unwrap();
        assert_eq!(Arc::strong_count(json.text()), 1);
        object.merge_json(&json, |name| name == "large").unwrap();
        assert_eq!(Arc::strong_count(json.text()), 2);
    }

    #[test]
    fn what_follows_an_object_is_refused() {
        let json = Json::from_stored("{} {}");
        assert_eq!(json.to_object().unwrap_err().message(), "stored JSON is no object");
        assert_eq!(
            JsonObject::default().merge_json(&json, |_| true).unwrap_err().message(),
            "stored JSON is no object"
        );
    }

    #[test]
    fn only_an_object_has_members() {
        let message = |error: Error| error.message().to_owned();
        let array = message(JsonObject::of_value(&[object("{}")]).unwrap_err());
        assert_eq!(array, "a value must be written as a JSON object, not an array");
    }

    #[test]
    fn raw_json_has_the_members_that_are_read_of_it() {
        let raw = RawValue::from_string(r#"{ "b": [1, {"c": 2}], "a": {} }"#.to_owned()).unwrap();
        let (json, members) = JsonObject::of_value(&raw).unwrap();
        assert_eq!((json.as_str(), members.get("b")), (raw.get(), Some(r#"[1, {"c": 2}]"#)));
        let (json, members) = JsonObject::of_value(&BTreeMap::from([("raw", &raw)])).unwrap();
        assert_eq!((json.to_object().unwrap().get("raw"), members.get("raw")), (Some(raw.get()), Some(raw.get())));
    }

    /// Any JSON, with members of members, and names that are written with escapes.
    fn value() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<i64>().prop_map(Into::into),
            "[a\"\\\\{}:,é]{0,6}".prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
                prop::collection::vec(("[a-c\"\\\\{}:,é\u{1}]{0,3}", inner), 0..4)
                    .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
            ]
        })
    }

    fn members() -> impl Strategy<Value = Vec<(String, i64)>> {
        prop::collection::vec(("[a-e\"\\\\é\u{1}]{0,2}", any::<i64>()), 0..8)
    }

    fn text_of(members: &[(String, i64)]) -> String {
        let members: Vec<_> =
            members.iter().map(|(name, value)| format!("{}: {value}", serde_json::to_string(name).unwrap())).collect();
        format!("{{{}}}", members.join(" ,"))
    }

    proptest! {
        /// The oracles are serde_json's own writer and reader.
        #[test]
        fn members_that_were_noted_are_those_that_are_read(
            members in prop::collection::vec(("[a-c\"\\\\{}:,é\u{1}]{0,3}", value()), 0..6),
        ) {
            // In no order.
            let map: std::collections::HashMap<_, _> = members.into_iter().collect();
            let (json, object) = JsonObject::of_value(&map).unwrap();
            prop_assert_eq!(json.as_str(), serde_json::to_string(&map).unwrap());
            let read = json.to_object().unwrap();
            prop_assert_eq!(object.iter().collect::<Vec<_>>(), read.iter().collect::<Vec<_>>());
        }

        /// The oracle is a map.
        #[test]
        fn an_object_is_a_map(first in members(), second in members(), removed in "[a-e]{0,2}", set in "[a-e]{0,2}") {
            let mut map: BTreeMap<String, i64> = first.iter().cloned().collect();
            let mut own = object(&text_of(&first));
            prop_assert_eq!(&serde_json::from_str::<BTreeMap<String, i64>>(own.to_json().unwrap().as_str()).unwrap(), &map);

            map.extend(second.iter().cloned());
            let mut merged = own.clone();
            merged.merge(object(&text_of(&second)));
            own.merge_json(&Json::parse(text_of(&second)).unwrap(), |_| true).unwrap();
            prop_assert_eq!(merged.to_json().unwrap(), own.to_json().unwrap());

            prop_assert_eq!(own.remove(&removed), map.remove(&removed).is_some());
            own.set(set.clone(), &7).unwrap();
            map.insert(set.clone(), 7);
            own.retain(|name| name != "b");
            map.remove("b");

            prop_assert_eq!(own.to_json().unwrap().to_string(), serde_json::to_string(&map).unwrap());
            let read: JsonObject = serde_json::from_str(own.to_json().unwrap().as_str()).unwrap();
            prop_assert_eq!(serde_json::to_string(&read).unwrap(), serde_json::to_string(&map).unwrap());
            prop_assert_eq!(own.names().map(str::to_owned).collect::<Vec<_>>(), map.keys().cloned().collect::<Vec<_>>());
            for (name, value) in &map {
                prop_assert_eq!(own.get(name).map(str::to_owned), Some(value.to_string()));
            }
        }
    }
}
