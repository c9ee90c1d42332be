//! What changed beyond the input.

use std::collections::BTreeSet;

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
    let explained =
        |name: &str, value: &str| if input.contains(name) { input.has(name, value) } else { before.has(name, value) };
    let changed = after.filtered(|name, value| !explained(name, value));
    let removed: BTreeSet<&str> = before.names().chain(input.names()).filter(|name| !after.contains(name)).collect();
    Changes { changed, removed: removed.into_iter().map(str::to_owned).collect() }
}

#[cfg(test)]
mod tests {
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
}
