//! Property 75, of what is shown for debugging.

use std::fmt::Debug;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use super::hex;
use crate::types::{KeyVersion, Subject};
use crate::vault::cache::{Current, Known};
use crate::vault::crypto::{CIPHER, INDEX, SealingKey, derive};
use crate::vault::{Keks, SecretKey, VaultConfig};

const KEY: [u8; 32] = *b"\xa5ecret key of 32 bytes, in clear";

fn secret() -> SecretKey {
    SecretKey::from_bytes(KEY)
}

/// Shows it, and that it has none of these bytes, in any way in which bytes are shown.
fn shown(value: &impl Debug) -> String {
    let shown = format!("{value:?} {value:#?}");
    let flat: String = shown.split_whitespace().collect();
    let secrets = [KEY, *derive(&secret(), CIPHER).unwrap(), *derive(&secret(), INDEX).unwrap()];
    for piece in secrets.iter().flat_map(|secret| secret.chunks(6)).filter(|piece| piece.len() == 6) {
        let decimal: Vec<String> = piece.iter().map(u8::to_string).collect();
        let base64 = STANDARD_NO_PAD.encode(piece);
        let hex = hex(piece);
        let text = String::from_utf8_lossy(piece).into_owned();
        for secret in [hex.to_uppercase(), hex, base64, decimal.join(","), text] {
            assert!(!shown.contains(&secret) && !flat.contains(&secret), "{secret} is in {shown}");
        }
    }
    shown
}

#[test]
fn e9_no_type_that_has_a_key_shows_it() {
    let key = SealingKey::new(secret()).unwrap();
    let id = key.id();
    assert_eq!(shown(&secret()), "SecretKey(..) SecretKey(..)");
    assert_eq!(shown(&key), format!("SealingKey({id}) SealingKey({id})"));
    assert_eq!(shown(&key.index().unwrap()), "IndexKey(..) IndexKey(..)");
    let key = Arc::new(key);
    assert!(shown(&Current { key: Arc::clone(&key), at: KeyVersion::default() }).contains("SealingKey("));
    assert!(shown(&Known::Key(Subject::named("ada").unwrap(), key)).contains("SealingKey("));
    let keks = Keks::new("new", secret()).unwrap().with("old", secret()).unwrap();
    assert_eq!(shown(&keks), "Keks(new, old, primary new) Keks(new, old, primary new)");
    assert!(shown(&VaultConfig::new(keks)).starts_with("VaultConfig { keks: [\"new\", \"old\"], "));
}
