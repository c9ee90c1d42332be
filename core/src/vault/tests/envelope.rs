//! What becomes of an envelope that is not as it was sealed.

use super::fault;
use crate::error::{Result, VaultFault};
use crate::types::KeyId;
use crate::vault::crypto::SealingKey;
use crate::vault::{OVERHEAD, SecretKey, envelope, key_of};

const AAD: &[u8] = b"where it belongs";
/// Where the parts of an envelope are.
const KEY_ID: std::ops::Range<usize> = 2..34;

fn key(byte: u8) -> SealingKey {
    SealingKey::new(SecretKey::from_bytes([byte; 32])).unwrap()
}

fn sealed(plaintext: &[u8]) -> Vec<u8> {
    key(7).seal(&[9; 24], AAD, plaintext).unwrap()
}

fn open(bytes: &[u8]) -> Result<Vec<u8>> {
    key(7).open(&envelope::read(bytes)?, AAD).map(|plaintext| plaintext.to_vec())
}

/// Property 74.
#[test]
fn e8_what_was_sealed_opens_and_is_so_much_longer() {
    for length in [0, 1, 15, 16, 17, 63, 64, 65, 1000, 100_000] {
        let plaintext: Vec<u8> = (0..length).map(|byte| byte as u8).collect();
        let sealed = sealed(&plaintext);
        assert_eq!(sealed.len(), plaintext.len() + OVERHEAD);
        assert_eq!(open(&sealed).unwrap(), plaintext);
        assert_eq!(key_of(&sealed).unwrap(), key(7).id());
    }
}

/// Properties 77 and 79.
#[test]
fn e8_each_flipped_bit_is_refused() {
    for plaintext in [&b""[..], b"{\"name\":\"Ada\"}"] {
        let whole = sealed(plaintext);
        for (at, bit) in (0..whole.len()).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
            let mut changed = whole.clone();
            changed[at] ^= 1 << bit;
            let expected = if KEY_ID.contains(&at) { VaultFault::WrongKey } else { VaultFault::Tampered };
            assert_eq!(fault(open(&changed)), expected, "bit {bit} of byte {at}");
        }
    }
}

/// Property 77.
#[test]
fn e8_what_is_cut_is_refused() {
    let whole = sealed(b"{\"name\":\"Ada\"}");
    for length in 0..whole.len() {
        assert_eq!(fault(open(&whole[..length])), VaultFault::Tampered, "{length} bytes");
    }
    assert_eq!(
        envelope::read(&whole[..73]).unwrap_err().message(),
        "an envelope of 73 bytes is cut: the shortest has 74"
    );
}

/// Property 77.
#[test]
fn e8_what_is_longer_is_refused() {
    let whole = sealed(b"{\"name\":\"Ada\"}");
    for byte in 0..=255 {
        assert_eq!(fault(open(&[&whole[..], &[byte]].concat())), VaultFault::Tampered, "{byte} after it");
        assert_eq!(fault(open(&[&[byte], &whole[..]].concat())), before(byte), "{byte} before it");
    }
}

/// With a byte before it all parts are one byte further on. The version is that byte; the suite is 1 then, as the version was.
fn before(byte: u8) -> VaultFault {
    if byte == 1 { VaultFault::WrongKey } else { VaultFault::Tampered }
}

#[test]
fn e8_another_version_or_suite_is_refused_in_words() {
    let message = |at: usize| {
        let mut bytes = sealed(b"");
        bytes[at] = 9;
        open(&bytes).unwrap_err().message().to_owned()
    };
    assert_eq!(message(0), "an envelope is of the version 9; known is 1");
    assert_eq!(message(1), "an envelope is of the suite 9; known is 1");
}

/// Property 79.
#[test]
fn e8_another_key_is_told_apart_from_tampering_and_opens_nothing_under_its_own_id() {
    let mut whole = sealed(b"secret");
    let error = key(8).open(&envelope::read(&whole).unwrap(), AAD).unwrap_err();
    let message = format!("it was sealed by the key {}, and not by {}", key(7).id(), key(8).id());
    assert_eq!(error.message(), message);
    assert_eq!(fault::<()>(Err(error)), VaultFault::WrongKey);

    whole[KEY_ID].copy_from_slice(key(8).id().as_bytes());
    assert_eq!(fault(key(8).open(&envelope::read(&whole).unwrap(), AAD)), VaultFault::Tampered);
}

#[test]
fn what_is_written_reads_back() {
    let id = KeyId::from_bytes([3; 32]);
    let bytes = envelope::write(&id, &[4; 24], &[5; 16]);
    assert_eq!(bytes, [&[1, 1][..], &[3; 32], &[4; 24], &[5; 16]].concat());
    assert_eq!(envelope::read(&bytes).unwrap(), envelope::Envelope { key: id, nonce: &[4; 24], sealed: &[5; 16] });
}
