//! What changed beyond the input.

use std::iter::Peekable;

use super::json::same_json;
use super::object::JsonObject;

/// The difference that the input alone does not explain.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// Attributes and their new values.
    pub changed: JsonObject,
    /// Attributes that are gone.
    pub removed: Vec<String>,
}

/// Finds what must be stored beside the input so that both together make `after` of `before`.
///
/// **Invariant**: taking `before`, merging `input`, merging `changed`, and taking `removed` away gives `after`, exactly.
/// `input` holds members of the resource's attributes only.
#[must_use]
pub fn diff(before: &JsonObject, input: &JsonObject, after: &JsonObject) -> Changes {
    // All of them are sorted by name, so they are gone through together.
    let (mut before, mut input) = (before.iter().peekable(), input.iter().peekable());
    let mut removed = Vec::new();
    let changed = after.filtered(|name, value| {
        let old = take(&mut before, name, &mut removed);
        let explained = take(&mut input, name, &mut removed).or(old);
        !explained.is_some_and(|known| same_json(known, value))
    });
    removed.extend(before.chain(input).map(|(name, _)| name));
    removed.sort_unstable();
    removed.dedup();
    Changes { changed, removed: removed.into_iter().map(str::to_owned).collect() }
}

/// Takes the member of this name, if it is there; those before it are passed.
fn take<'a>(
    members: &mut Peekable<impl Iterator<Item = (&'a str, &'a str)>>,
    name: &str,
    passed: &mut Vec<&'a str>,
) -> Option<&'a str> {
    while let Some((own, value)) = members.next_if(|(own, _)| *own <= name) {
        if own == name {
            return Some(value);
        }
        passed.push(own);
    }
    None
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;
    use crate::types::Json;

    fn object(text: &str) -> JsonObject {
        Json::parse(text).unwrap().to_object().unwrap()
    }

    #[test]
    fn p7_changed_attributes_hold_what_the_input_does_not_explain_and_no_copy_of_it() {
        let changes = diff(
            &object(r#"{"id":1,"name":"a","hits":1,"gone":true}"#),
            &object(r#"{"name":"b","email":"A@B"}"#),
            &object(r#"{"id":1,"name":"b","email":"a@b","hits":2,"new":null}"#),
        );
        assert_eq!(changes.changed.to_json().unwrap().as_str(), r#"{"email":"a@b","hits":2,"new":null}"#);
        assert_eq!(changes.removed, ["gone"]);
    }

    #[test]
    fn an_input_that_was_taken_away_is_removed() {
        let changes = diff(&object("{}"), &object(r#"{"note":""}"#), &object("{}"));
        assert_eq!(changes.removed, ["note"]);
    }

    fn members() -> impl Strategy<Value = BTreeMap<String, u8>> {
        prop::collection::btree_map("[a-e]", 0..3u8, 0..5)
    }

    proptest! {
        /// The oracle is what it is defined by, over maps.
        #[test]
        fn the_difference_is_what_the_input_does_not_explain(before in members(), input in members(), after in members()) {
            let of = |map: &BTreeMap<String, u8>| Json::from_value(map).unwrap().to_object().unwrap();
            let Changes { changed, removed } = diff(&of(&before), &of(&input), &of(&after));
            let known = before.iter().chain(&input).collect::<BTreeMap<_, _>>();
            let unexplained: BTreeMap<_, _> = after.iter().filter(|(name, value)| known.get(name) != Some(value)).collect();
            prop_assert_eq!(changed.to_json().unwrap(), Json::from_value(&unexplained).unwrap());
            let gone: BTreeSet<_> = known.into_keys().filter(|name| !after.contains_key(*name)).cloned().collect();
            prop_assert_eq!(&removed, &gone.into_iter().collect::<Vec<_>>());

            let mut made = of(&before);
            made.merge(of(&input));
            made.merge(changed);
            made.retain(|name| !removed.iter().any(|gone| gone == name));
            prop_assert_eq!(made.to_json().unwrap(), of(&after).to_json().unwrap());
        }
    }
}
