//! The rule of names, checked as the code is compiled. It is that of `rekindle-core`, which checks again as it runs.

const MAX_NAME: usize = 200;

/// Whether the text is a name, or why not.
pub(crate) fn check(text: &str) -> Result<(), String> {
    if text.len() > MAX_NAME {
        return Err(format!("this name has {} bytes; at most {MAX_NAME} are allowed", text.len()));
    }
    let starts_well = text.starts_with(|c: char| c.is_ascii_alphabetic());
    if starts_well && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')) {
        Ok(())
    } else {
        Err(format!("{text:?} is no name: it takes ASCII letters, digits, '_', '-' and '.', and starts with a letter"))
    }
}

/// `RegisterUser` is `register_user`, and `HTTPPingV2` is `http_ping_v2`.
pub(crate) fn snake_case(ident: &str) -> String {
    let chars: Vec<char> = ident.trim_start_matches("r#").chars().collect();
    let mut name = String::with_capacity(ident.len() + 4);
    for (at, &c) in chars.iter().enumerate() {
        let before = at.checked_sub(1).and_then(|at| chars.get(at)).copied().unwrap_or('_');
        let ends_acronym = before.is_uppercase() && chars.get(at + 1).is_some_and(|next| next.is_lowercase());
        if c.is_uppercase() && before != '_' && (!before.is_uppercase() || ends_acronym) {
            name.push('_');
        }
        name.extend(c.to_lowercase());
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_name_becomes_snake_case() {
        for (ident, name) in [
            ("Register", "register"),
            ("RegisterUser", "register_user"),
            ("RegisterV1", "register_v1"),
            ("HTTPPingV2", "http_ping_v2"),
            ("Move2Shelf", "move2_shelf"),
            ("Already_snake", "already_snake"),
            ("r#Type", "type"),
            ("A", "a"),
        ] {
            assert_eq!(snake_case(ident), name);
        }
    }

    #[test]
    fn the_rule_of_names_is_that_of_core() {
        for name in ["a", "accounts.user", "A-1_b.c", &"a".repeat(200)] {
            assert_eq!(check(name), Ok(()), "{name}");
        }
        for name in ["", "1a", ".a", "_a", "no spaces", "a\u{e9}", "\u{e9}", &"a".repeat(201)] {
            assert!(check(name).is_err(), "{name}");
        }
    }
}
