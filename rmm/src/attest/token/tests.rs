// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

extern crate std;

use std::vec;
use std::vec::Vec;

use rmm_fake::FakePlatform;
use sha2::{Digest, Sha384};

use super::*;
use crate::attest::sign::Comb;

/// Calls `visit` with what a fake platform vouches for.
fn with_attestation(config_bytes: u16, visit: impl FnOnce(&Attestation<'_>)) {
    let (comb, mut room) = (Comb::new(), [0; 16384]);
    let mut platform = FakePlatform { config_bytes };
    visit(&Attestation::obtain(&mut platform, &comb, &mut room).unwrap());
}

fn claims(algorithm: HashAlgorithm) -> Claims {
    Claims {
        challenge: [0xC0; 64],
        personalization_value: [0xB0; 64],
        initial: Measurement([0xA0; 64]),
        extensible: [0xA1, 0xA2, 0xA3, 0xA4].map(|byte| Measurement([byte; 64])),
        is_sha512: u64::from(algorithm == HashAlgorithm::Sha512),
    }
}

/// The claims, written by hand from RFC 8949 and section A7.2.3.1 of the RMM specification.
fn payload(algorithm: HashAlgorithm, public_key: &[u8]) -> Vec<u8> {
    let (name, digest) = match algorithm {
        HashAlgorithm::Sha256 => (b"sha-256", 32),
        HashAlgorithm::Sha512 => (b"sha-512", 64),
    };
    let mut bytes = vec![0xA8];
    bytes.extend([0x0A, 0x58, 0x40]);
    bytes.extend([0xC0; 64]);
    bytes.extend([0x19, 0xAC, 0xCB, 0x58, 0x40]);
    bytes.extend([0xB0; 64]);
    bytes.extend([0x19, 0xAC, 0xCD, 0x58, 0x6B]);
    bytes.extend(public_key);
    bytes.extend([0x19, 0xAC, 0xCC, 0x67]);
    bytes.extend(name);
    bytes.extend([0x19, 0xAC, 0xD0, 0x67]);
    bytes.extend(b"sha-256");
    bytes.extend([0x19, 0x01, 0x09, 0x78, 0x1C]);
    bytes.extend(b"tag:arm.com,2023:realm#1.0.0");
    bytes.extend([0x19, 0xAC, 0xCE, 0x58, digest]);
    bytes.extend(vec![0xA0; digest.into()]);
    bytes.extend([0x19, 0xAC, 0xCF, 0x84]);
    for fill in [0xA1, 0xA2, 0xA3, 0xA4] {
        bytes.extend([0x58, digest]);
        bytes.extend(vec![fill; digest.into()]);
    }
    bytes
}

/// A byte string whose length takes two bytes.
fn long_bytes(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).unwrap();
    let mut all = vec![0x59];
    all.extend(length.to_be_bytes());
    all.extend(bytes);
    all
}

#[test]
fn digest_is_of_the_sig_structure_around_the_claims() {
    with_attestation(0, |attestation| {
        for algorithm in [HashAlgorithm::Sha256, HashAlgorithm::Sha512] {
            let mut structure = vec![0x84, 0x6A];
            structure.extend(b"Signature1");
            structure.extend([0x44, 0xA1, 0x01, 0x38, 0x22, 0x40]);
            structure.extend(long_bytes(&payload(algorithm, attestation.public_key())));
            let expected: [u8; 48] = Sha384::digest(&structure).into();
            assert_eq!(claims(algorithm).digest(attestation), expected);
        }
    });
}

#[test]
fn token_bytes() {
    // The longer platform token does not fit a page.
    for (algorithm, config_bytes) in [(HashAlgorithm::Sha256, 0), (HashAlgorithm::Sha512, 5000)] {
        with_attestation(config_bytes, |attestation| {
            let mut realm = vec![0xD2, 0x84, 0x44, 0xA1, 0x01, 0x38, 0x22, 0xA0];
            realm.extend(long_bytes(&payload(algorithm, attestation.public_key())));
            realm.extend([0x58, 0x60]);
            realm.extend([0x5A; 96]);
            let platform = attestation.platform_token();
            let mut expected = vec![0xD9, 0x01, 0x8F, 0xA2, 0x19, 0xAC, 0xCA];
            if platform.len() < 256 {
                expected.extend([0x58, u8::try_from(platform.len()).unwrap()]);
                expected.extend(platform);
            } else {
                expected.extend(long_bytes(platform));
            }
            expected.extend([0x19, 0xAC, 0xD1]);
            expected.extend(long_bytes(&realm));

            let claims = claims(algorithm);
            let token = Token {
                attestation,
                claims: &claims,
                signature: &[0x5A; SIGNATURE_BYTES],
            };
            assert_eq!(token.length(), expected.len());
            let mut whole = vec![0; expected.len()];
            token.copy(0, &mut whole);
            assert_eq!(whole, expected);
            let mut pieces = vec![0; expected.len()];
            for (n, piece) in pieces.chunks_mut(97).enumerate() {
                token.copy(97 * n, piece);
            }
            assert_eq!(pieces, expected);
        });
    }
}
