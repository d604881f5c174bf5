// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

use core::array::from_fn;
use core::cell::Cell;

use rmm_hal::{NoInstructions, Sha2};
use sha2::{Digest, Sha256, Sha512};

use super::*;

/// A PE without instructions.
pub(crate) struct Portable;

impl Sha2 for Portable {
    type Unit = Self;

    fn with_unit<R>(&self, work: impl FnOnce(&Self) -> R) -> R {
        work(self)
    }
}

impl Sha2Unit for Portable {
    fn compress256(&self, _: &mut [u32; 8], _: &[[u8; 64]]) -> Result<(), NoInstructions> {
        Err(NoInstructions)
    }

    fn compress256_zeroes(&self, _: &mut [u32; 8], _: usize) -> Result<(), NoInstructions> {
        Err(NoInstructions)
    }

    fn compress512(&self, _: &mut [u64; 8], _: &[[u8; 128]]) -> Result<(), NoInstructions> {
        Err(NoInstructions)
    }
}

/// A PE that has them, and counts how often it gets ready for them.
#[derive(Default)]
pub(crate) struct Instructions {
    pub(crate) times: Cell<usize>,
}

impl Sha2 for Instructions {
    type Unit = Self;

    fn with_unit<R>(&self, work: impl FnOnce(&Self) -> R) -> R {
        self.times.set(self.times.get() + 1);
        work(self)
    }
}

impl Sha2Unit for Instructions {
    fn compress256(&self, state: &mut [u32; 8], blocks: &[[u8; 64]]) -> Result<(), NoInstructions> {
        compress256(state, blocks);
        Ok(())
    }

    fn compress256_zeroes(
        &self,
        state: &mut [u32; 8],
        blocks: usize,
    ) -> Result<(), NoInstructions> {
        (0..blocks).for_each(|_| compress256(state, &[[0; 64]]));
        Ok(())
    }

    fn compress512(
        &self,
        state: &mut [u64; 8],
        blocks: &[[u8; 128]],
    ) -> Result<(), NoInstructions> {
        compress512(state, blocks);
        Ok(())
    }
}

/// Returns the digest of some bytes, however a PE computes it.
pub(crate) fn digest_bytes(algorithm: HashAlgorithm, bytes: &[u8]) -> Measurement {
    digest_twice(algorithm, [Part::new(bytes)])
}

/// Returns the digest of both kinds of PEs, which must be the same.
fn digest_twice<const PARTS: usize>(
    algorithm: HashAlgorithm,
    parts: [Part<'_>; PARTS],
) -> Measurement {
    let portable = digest(&Portable, algorithm, parts);
    assert_eq!(digest(&Instructions::default(), algorithm, parts), portable);
    portable
}

/// FIPS 180-4's example message.
const ABC: [&[u8]; 3] = [b"a", b"", b"bc"];

#[test]
fn sha256_digest_starts_the_slot() {
    let slot = digest_twice(HashAlgorithm::Sha256, ABC.map(Part::new));
    let first = [0xBA, 0x78, 0x16, 0xBF, 0x8F, 0x01, 0xCF, 0xEA];
    let last = [0xB4, 0x10, 0xFF, 0x61, 0xF2, 0x00, 0x15, 0xAD];
    assert_eq!(slot.0[..8], first);
    assert_eq!(slot.0[24..32], last);
    assert_eq!(slot.0[32..], [0; 32]);
}

#[test]
fn sha512_digest_fills_the_slot() {
    let slot = digest_twice(HashAlgorithm::Sha512, ABC.map(Part::new));
    let first = [0xDD, 0xAF, 0x35, 0xA1, 0x93, 0x61, 0x7A, 0xBA];
    let last = [0x2A, 0x9A, 0xC9, 0x4F, 0xA5, 0x4C, 0xA4, 0x9F];
    assert_eq!(slot.0[..8], first);
    assert_eq!(slot.0[56..], last);
}

/// Every length around the ends of blocks and buffers, against the whole hash of the same crate.
#[test]
fn digest_of_any_length_and_any_parts() {
    let message: [u8; 4500] = from_fn(|n| ((n * n) >> 3).to_le_bytes()[0]);
    for length in (0..800).chain(4090..4100) {
        let message = &message[..length];
        let mut expected = Measurement::ZERO;
        expected.0[..32].copy_from_slice(&Sha256::digest(message));
        let expected512 = Sha512::digest(message);
        for split in [0, 1, 55, 64, 127, 320, length] {
            let (a, b) = message.split_at(split.min(length));
            let parts = [Part::new(a), Part::new(b)];
            let sha256 = digest_twice(HashAlgorithm::Sha256, parts);
            assert_eq!(sha256, expected, "{length} {split}");
            let sha512 = digest_twice(HashAlgorithm::Sha512, parts);
            assert_eq!(sha512.0[..], *expected512, "{length} {split}");
        }
    }
}

/// Zeroes of every length around the ends of blocks, behind and before other bytes.
#[test]
fn digest_of_zeroes_is_that_of_bytes_that_are_zero() {
    let mut message = [0; 1200];
    for algorithm in [HashAlgorithm::Sha256, HashAlgorithm::Sha512] {
        for before in [0, 1, 63, 64, 100, 128] {
            for zeroes in (0..260).chain([511, 512, 513, 1000]) {
                message.fill(0);
                message[..before].fill(0xA5);
                message[before + zeroes..][..9].fill(0x5A);
                let (a, _) = message.split_at(before);
                let parts = [Part::padded(a, before + zeroes), Part::new(&[0x5A; 9])];
                let whole = &message[..before + zeroes + 9];
                assert_eq!(
                    digest_twice(algorithm, parts),
                    digest_bytes(algorithm, whole),
                    "{before} {zeroes}"
                );
            }
        }
    }
}
