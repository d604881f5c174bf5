// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

use core::array::from_fn;
use core::cell::Cell;

use rmm_hal::NoInstructions;
use sha2::{Digest, Sha256, Sha512};

use super::*;

/// A PE without instructions.
pub(crate) struct Portable;

impl Sha2 for Portable {
    fn compress256(&self, _: &mut [u32; 8], _: &[[u8; 64]]) -> Result<(), NoInstructions> {
        Err(NoInstructions)
    }

    fn compress512(&self, _: &mut [u64; 8], _: &[[u8; 128]]) -> Result<(), NoInstructions> {
        Err(NoInstructions)
    }
}

/// A PE that has them and counts their use.
#[derive(Default)]
struct Instructions {
    calls: Cell<usize>,
}

impl Sha2 for Instructions {
    fn compress256(&self, state: &mut [u32; 8], blocks: &[[u8; 64]]) -> Result<(), NoInstructions> {
        self.calls.set(self.calls.get() + 1);
        compress256(state, blocks);
        Ok(())
    }

    fn compress512(
        &self,
        state: &mut [u64; 8],
        blocks: &[[u8; 128]],
    ) -> Result<(), NoInstructions> {
        self.calls.set(self.calls.get() + 1);
        compress512(state, blocks);
        Ok(())
    }
}

/// Returns the digest of both kinds of PEs, which must be the same.
fn digest_twice(algorithm: HashAlgorithm, parts: &[&[u8]]) -> Measurement {
    let portable = digest(&Portable, algorithm, parts);
    assert_eq!(digest(&Instructions::default(), algorithm, parts), portable);
    portable
}

/// FIPS 180-4's example message.
const ABC: &[&[u8]] = &[b"a", b"", b"bc"];

#[test]
fn sha256_digest_starts_the_slot() {
    let slot = digest_twice(HashAlgorithm::Sha256, ABC);
    let first = [0xBA, 0x78, 0x16, 0xBF, 0x8F, 0x01, 0xCF, 0xEA];
    let last = [0xB4, 0x10, 0xFF, 0x61, 0xF2, 0x00, 0x15, 0xAD];
    assert_eq!(slot[..8], first);
    assert_eq!(slot[24..32], last);
    assert_eq!(slot[32..], [0; 32]);
}

#[test]
fn sha512_digest_fills_the_slot() {
    let slot = digest_twice(HashAlgorithm::Sha512, ABC);
    let first = [0xDD, 0xAF, 0x35, 0xA1, 0x93, 0x61, 0x7A, 0xBA];
    let last = [0x2A, 0x9A, 0xC9, 0x4F, 0xA5, 0x4C, 0xA4, 0x9F];
    assert_eq!(slot[..8], first);
    assert_eq!(slot[56..], last);
}

/// Every length around the ends of blocks and buffers, against the whole hash of the same crate.
#[test]
fn digest_of_any_length_and_any_parts() {
    let message: [u8; 4500] = from_fn(|n| ((n * n) >> 3).to_le_bytes()[0]);
    for length in (0..800).chain(4090..4100) {
        let message = &message[..length];
        let mut expected = [0; SLOT_BYTES];
        expected[..32].copy_from_slice(&Sha256::digest(message));
        let expected512 = Sha512::digest(message);
        for split in [0, 1, 55, 64, 127, 320, length] {
            let (a, b) = message.split_at(split.min(length));
            let sha256 = digest_twice(HashAlgorithm::Sha256, &[a, b]);
            assert_eq!(sha256, expected, "{length} {split}");
            let sha512 = digest_twice(HashAlgorithm::Sha512, &[a, b]);
            assert_eq!(sha512, *expected512, "{length} {split}");
        }
    }
}

#[test]
fn digest_of_a_descriptor_is_one_run() {
    for algorithm in [HashAlgorithm::Sha256, HashAlgorithm::Sha512] {
        let pe = Instructions::default();
        let _ = digest(&pe, algorithm, &[&[1; 0x50], &[2; 0xB0]]);
        assert_eq!(pe.calls.get(), 1);
    }
}

#[test]
fn digest_of_a_page_is_two_runs() {
    for algorithm in [HashAlgorithm::Sha256, HashAlgorithm::Sha512] {
        let pe = Instructions::default();
        let _ = digest(&pe, algorithm, &[&[1; 0x1000]]);
        assert_eq!(pe.calls.get(), 2);
    }
}
