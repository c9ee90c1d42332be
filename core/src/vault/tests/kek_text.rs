//! Where key-encryption keys come from.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use crate::error::{Error, ErrorKind};
use crate::vault::{KekProvider, Keks};

/// A key of 32 bytes 0x0b, and one of 0xff.
const KEY: &str = "CwsLCwsLCwsLCwsLCwsLCwsLCwsLCwsLCwsLCwsLCws=";
const OTHER: &str = "//////////////////////////////////////////8=";
const NO_TEXT: &str = "the text of the key-encryption keys is no {\"primary\": NAME, \"keys\": {NAME: BASE64, ..}}";
const NO_NAME: &str = "the text of the key-encryption keys has a name that is none: it takes 1 to 200 ASCII letters, digits, '_', '-' and '.'";

fn text() -> String {
    format!(r#"{{"primary": "2026", "keys": {{"2025": "{KEY}", "2026": "{OTHER}\n"}}}}"#)
}

/// The message of an `Invalid`.
fn message(keks: Result<Keks, Error>) -> String {
    let error = keks.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Invalid, "{error}");
    error.message().to_owned()
}

#[test]
fn e8_the_primary_key_is_the_one_that_is_named_and_not_the_first_or_the_last() {
    for primary in ["a", "b", "c"] {
        let text = format!(r#"{{"primary": "{primary}", "keys": {{"b": "{KEY}", "a": "{KEY}", "c": "{OTHER}"}}}}"#);
        let keks = Keks::from_text(&text).unwrap();
        assert_eq!((keks.primary(), keks.names()), (primary, vec!["a".into(), "b".into(), "c".into()]));
    }
}

#[test]
fn a_text_that_is_none_is_refused_by_line_and_column() {
    for (text, place) in [
        ("", ""),
        ("null", ""),
        (r#"["a", {"a": "CwsLCwsLCwsLCwsLCwsLCwsLCwsLCwsLCwsLCwsLCws="}]"#, ""),
        (r#"{"primary": "a"}"#, " (line 1, column 16)"),
        ("{\"primary\": \"a\",\n\"keys\": 7}", " (line 2, column 9)"),
        (r#"{"primary": "a", "keys": {}, "more": 1}"#, " (line 1, column 35)"),
        (r#"{"primary": "a", "primary": "a", "keys": {}}"#, " (line 1, column 26)"),
        (r#"{"primary": "a", "keys": {"a": 1}}"#, " (line 1, column 32)"),
    ] {
        assert_eq!(message(Keks::from_text(text)), format!("{NO_TEXT}{place}"), "{text}");
    }
}

#[test]
fn a_key_of_another_length_or_that_is_no_base64_is_refused_by_its_name() {
    let long = format!("{}8L", &KEY[..42]);
    for key in ["", "AAAA", &KEY[..40], &KEY[..43], &KEY.replace('C', "-"), &long, &format!("{KEY}{KEY}")] {
        let text = format!(r#"{{"primary": "a", "keys": {{"a": "{key}"}}}}"#);
        assert_eq!(message(Keks::from_text(&text)), "the key-encryption key \"a\" is no 32 bytes in base64", "{key}");
    }
}

#[test]
fn a_primary_key_that_is_not_there_is_refused() {
    let message = message(Keks::from_text(&format!(r#"{{"primary": "b", "keys": {{"a": "{KEY}"}}}}"#)));
    assert_eq!(message, "the primary key-encryption key is to be \"b\", and it is not there");
}

#[test]
fn two_keys_of_one_name_are_refused_and_neither_is_taken() {
    let text = format!(r#"{{"primary": "a", "keys": {{"a": "{KEY}", "a": "{OTHER}"}}}}"#);
    assert_eq!(message(Keks::from_text(&text)), "there are two key-encryption keys named \"a\"");
}

#[test]
fn a_key_in_the_place_of_a_name_is_refused_and_not_shown() {
    for text in [
        format!(r#"{{"primary": "a", "keys": {{"{KEY}": "a"}}}}"#),
        format!(r#"{{"primary": "{KEY}", "keys": {{"a": "{KEY}"}}}}"#),
        format!(r#"{{"primary": "a", "keys": {{"a": "{KEY}", "": "{KEY}"}}}}"#),
    ] {
        assert_eq!(message(Keks::from_text(&text)), NO_NAME);
    }
}

/// Property 75.
#[test]
fn no_message_of_a_text_shows_a_key() {
    let whole = text();
    for end in 0..whole.len() {
        let error = Keks::from_text(&whole[..end]).unwrap_err();
        assert!(!format!("{error} {error:?}").contains(&KEY[..8]), "{error}");
    }
}

/// The variables of a process are not changed while it runs: it runs itself again with other ones.
#[test]
fn keys_come_from_an_environment_variable() {
    const GIVEN: &str = "REKINDLE_TEST_KEKS";
    const WRONG: &str = "REKINDLE_TEST_KEKS_WRONG";
    const BYTES: &str = "REKINDLE_TEST_KEKS_BYTES";
    if std::env::var_os(GIVEN).is_none() {
        let test = format!("{}::keys_come_from_an_environment_variable", module_path!());
        let test = test.split_once("::").unwrap().1;
        let bytes = <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"\xff");
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test])
            .env(GIVEN, text())
            .env(WRONG, "{}")
            .env(BYTES, bytes)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
        return;
    }
    assert_eq!(Keks::from_env(GIVEN).unwrap().primary(), "2026");
    assert_eq!(
        message(Keks::from_env("REKINDLE_TEST_KEKS_UNSET")),
        "the environment variable REKINDLE_TEST_KEKS_UNSET with the key-encryption keys is not set"
    );
    assert_eq!(
        message(Keks::from_env(BYTES)),
        format!("the environment variable {BYTES} with the key-encryption keys is no UTF-8")
    );
    assert_eq!(
        message(Keks::from_env(WRONG)),
        format!("the environment variable {WRONG}: {NO_TEXT} (line 1, column 2)")
    );
}

fn file(folder: &TempDir, text: &[u8], mode: u32) -> PathBuf {
    let path = folder.path().join("keks");
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    path
}

#[test]
fn keys_come_from_a_file_that_is_the_owners_alone() {
    let folder = TempDir::new().unwrap();
    for mode in [0o600, 0o400, 0o700] {
        let path = file(&folder, text().as_bytes(), mode);
        assert_eq!(Keks::from_file(&path).unwrap().primary(), "2026", "{mode:o}");
        std::fs::remove_file(path).unwrap();
    }
    for mode in [0o604, 0o602, 0o601, 0o640, 0o620, 0o610, 0o644, 0o666] {
        let path = file(&folder, text().as_bytes(), mode);
        assert_eq!(
            message(Keks::from_file(&path)),
            format!(
                "{}: the file of key-encryption keys has the mode {mode:04o}, so that others than its owner can reach it: make it 0600",
                path.display()
            )
        );
    }
}

#[test]
fn a_file_that_is_none_is_refused_by_its_path() {
    let folder = TempDir::new().unwrap();
    let nowhere = folder.path().join("nowhere");
    assert_eq!(
        message(Keks::from_file(&nowhere)),
        format!("{}: the file of key-encryption keys cannot be read", nowhere.display())
    );
    let path = file(&folder, b"\xff", 0o600);
    assert_eq!(
        message(Keks::from_file(&path)),
        format!("{}: the file of key-encryption keys cannot be read", path.display())
    );
    let path = file(&folder, b"{}", 0o600);
    assert_eq!(message(Keks::from_file(&path)), format!("{}: {NO_TEXT} (line 1, column 2)", path.display()));
}
