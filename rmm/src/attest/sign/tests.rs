// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

extern crate std;

use std::vec::Vec;

use p384::ecdsa::signature::hazmat::{PrehashSigner, PrehashVerifier};
use p384::ecdsa::{Signature, SigningKey, VerifyingKey};
use rmm_fake::REALM_KEY;
use sha2::Digest;
use zerocopy::FromZeros;

use super::*;

fn key() -> SecretKey {
    SecretKey::from_slice(&REALM_KEY).unwrap()
}

fn begun(digest: &[u8; 48]) -> Signing {
    let mut signing = Signing::new_zeroed();
    signing.begin(&key(), digest);
    signing
}

/// Signs and counts the interruptions; `is_interrupted` hears how many looks there were before.
fn sign(digest: &[u8; 48], is_interrupted: impl Fn(u64) -> bool) -> ([u8; 96], u64) {
    let comb = Comb::new();
    let mut signing = begun(digest);
    let (mut looks, mut interruptions) = (0, 0);
    loop {
        let advance = signing.advance(&key(), &comb, || {
            looks += 1;
            is_interrupted(looks)
        });
        match advance {
            Advance::Interrupted => interruptions += 1,
            Advance::Signed(signature) => return (signature, interruptions),
            Advance::Failed => panic!("no signature"),
        }
    }
}

/// The example of RFC 6979, section A.2.6, with SHA-384 and the message "sample".
#[test]
fn signature_of_the_rfc() {
    let expected = [
        0x94, 0xED, 0xBB, 0x92, 0xA5, 0xEC, 0xB8, 0xAA, 0xD4, 0x73, 0x6E, 0x56, 0xC6, 0x91, 0x91,
        0x6B, 0x3F, 0x88, 0x14, 0x06, 0x66, 0xCE, 0x9F, 0xA7, 0x3D, 0x64, 0xC4, 0xEA, 0x95, 0xAD,
        0x13, 0x3C, 0x81, 0xA6, 0x48, 0x15, 0x2E, 0x44, 0xAC, 0xF9, 0x6E, 0x36, 0xDD, 0x1E, 0x80,
        0xFA, 0xBE, 0x46, 0x99, 0xEF, 0x4A, 0xEB, 0x15, 0xF1, 0x78, 0xCE, 0xA1, 0xFE, 0x40, 0xDB,
        0x26, 0x03, 0x13, 0x8F, 0x13, 0x0E, 0x74, 0x0A, 0x19, 0x62, 0x45, 0x26, 0x20, 0x3B, 0x63,
        0x51, 0xD0, 0xA3, 0xA9, 0x4F, 0xA3, 0x29, 0xC1, 0x45, 0x78, 0x6E, 0x67, 0x9E, 0x7B, 0x82,
        0xC7, 0x1A, 0x38, 0x62, 0x8A, 0xC8,
    ];
    let (signature, _) = sign(&Sha384::digest(b"sample").into(), |_| false);
    assert_eq!(signature, expected);
}

#[test]
fn signatures_are_those_of_the_crate_and_verify() {
    let signer = SigningKey::from(key());
    for n in 0..20_u8 {
        let digest: [u8; 48] = Sha384::digest([n]).into();
        let (signature, _) = sign(&digest, |_| false);
        let expected: Signature = signer.sign_prehash(&digest).unwrap();
        assert_eq!(signature.to_vec(), expected.to_bytes().to_vec());
        let parsed = Signature::from_slice(&signature).unwrap();
        assert!(
            VerifyingKey::from(&signer)
                .verify_prehash(&digest, &parsed)
                .is_ok()
        );
    }
}

#[test]
fn interruptions_change_nothing_but_the_number_of_slices() {
    let digest = Sha384::digest(b"interrupted").into();
    let (signature, none) = sign(&digest, |_| false);
    assert_eq!(none, 0);
    let slices = COLUMNS / SLICE;
    assert_eq!(sign(&digest, |_| true), (signature, slices));
    for at in 1..=slices {
        assert_eq!(sign(&digest, |look| look == at), (signature, 1));
    }
}

#[test]
fn comb_multiplies() {
    let comb = Comb::new();
    for digit in 0..64 {
        let scalar = (0..6).filter(|n| digit >> n & 1 == 1).map(|n| {
            let mut bytes = [0_u8; 48];
            bytes[47 - 8 * n] = 1;
            Scalar::from_repr(bytes.into()).unwrap()
        });
        let scalar: Scalar = scalar.sum();
        assert_eq!(comb.select(digit), ProjectivePoint::GENERATOR * scalar);
    }
}

#[test]
fn limbs_are_read_across() {
    let mut scalar = [0; 48];
    // Bit 64 n + n of each limb n.
    for n in 0..6 {
        scalar[47 - 8 * n] = 1 << n;
    }
    scalar[0] |= 0x80;
    let limbs = Limbs::of(&scalar);
    let digits: Vec<u64> = (0..64).map(|column| limbs.digit(column)).collect();
    assert_eq!(digits[..6], [1, 2, 4, 8, 16, 32]);
    assert_eq!(digits[6..63], [0; 57]);
    assert_eq!(digits[63], 32);
}

#[test]
fn nothing_secret_is_left() {
    let comb = Comb::new();
    let mut signing = begun(&[0x5A; 48]);
    assert_ne!(signing.nonce, [0; 48]);
    let first = signing.advance(&key(), &comb, || true);
    assert_eq!(first, Advance::Interrupted);
    assert!(matches!(
        signing.advance(&key(), &comb, || false),
        Advance::Signed(_)
    ));
    let parts = [signing.digest, signing.nonce, signing.x, signing.y];
    assert_eq!((parts, signing.columns), ([[0; 48]; 4], 0));
}

#[test]
fn sum_that_cannot_be_kept_is_a_failure() {
    let mut signing = begun(&[0x5A; 48]);
    signing.columns = SLICE;
    assert_eq!(
        signing.advance(&key(), &Comb::new(), || false),
        Advance::Failed
    );
}

#[test]
fn debug_shows_no_nonce() {
    let signing = begun(&[1; 48]);
    assert_eq!(std::format!("{signing:?}"), "Signing { columns: 0, .. }");
}
