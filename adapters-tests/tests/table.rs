//! The table of cases.

use std::collections::BTreeSet;

use rekindle_conformance::CASES;

/// Properties that a store alone cannot show: unknown events, the oldest format, and what takes a kill or a full disk. 85 is
/// no property.
const ELSEWHERE: &[&str] = &["72", "73", "85", "89", "90", "92", "93", "94", "95"];

#[test]
fn e6_every_property_of_a_store_has_a_case() {
    let covered: BTreeSet<&str> = CASES.iter().flat_map(|case| case.properties).copied().collect();
    let numbers = (1..=100).map(|number| number.to_string()).chain(["21a", "73a", "82a", "82b"].map(str::to_owned));
    let all: BTreeSet<String> = numbers.collect();
    let missing: Vec<&String> = all.iter().filter(|number| !covered.contains(number.as_str())).collect();
    let elsewhere: BTreeSet<&str> = ELSEWHERE.iter().copied().collect();
    assert_eq!(missing.iter().map(|number| number.as_str()).collect::<BTreeSet<_>>(), elsewhere);
    assert!(covered.iter().all(|number| all.contains(*number)), "a case names a property that does not exist");
}

#[test]
fn names_are_unique() {
    let names: BTreeSet<(&str, &str)> = CASES.iter().map(|case| (case.group, case.name)).collect();
    assert_eq!(names.len(), CASES.len());
    assert!(CASES.len() >= 216, "cases were lost from the table: {}", CASES.len());
}
