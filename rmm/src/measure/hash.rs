// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The digest of some bytes, by the algorithm of a Realm.
//!
//! The only place that knows how a digest is computed: with the instructions of the PE where it has
//! them, else by portable code.

use rmi::HashAlgorithm;
use rmm_hal::Sha2Unit;
use sha2::block_api::{compress256, compress512};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, transmute};

use crate::measure::pad::{Compress, Message};

/// The bytes of a measurement slot: the longest digest.
pub const SLOT_BYTES: usize = 64;

/// A digest at the start of a slot; zeroes behind it. Aligned, so that it is copied by words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct Measurement(pub [u8; SLOT_BYTES]);

impl Measurement {
    /// What a slot holds before anything is measured.
    pub const ZERO: Self = Self([0; SLOT_BYTES]);

    /// Returns the digest of this algorithm, which is as long as its digests are.
    #[must_use]
    pub fn digest(&self, algorithm: HashAlgorithm) -> &[u8] {
        self.0
            .get(..algorithm.digest_bytes())
            .expect("no digest is longer than a slot")
    }
}

/// Where SHA-256 starts (FIPS 180-4, section 5.3.3).
const START_256: [u32; 8] = [
    0x6A09_E667,
    0xBB67_AE85,
    0x3C6E_F372,
    0xA54F_F53A,
    0x510E_527F,
    0x9B05_688C,
    0x1F83_D9AB,
    0x5BE0_CD19,
];

/// Where SHA-512 starts (FIPS 180-4, section 5.3.5).
const START_512: [u64; 8] = [
    0x6A09_E667_F3BC_C908,
    0xBB67_AE85_84CA_A73B,
    0x3C6E_F372_FE94_F82B,
    0xA54F_F53A_5F1D_36F1,
    0x510E_527F_ADE6_82D1,
    0x9B05_688C_2B3E_6C1F,
    0x1F83_D9AB_FB41_BD6B,
    0x5BE0_CD19_137E_2179,
];

/// A part of a message: bytes, and zeroes behind them.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    bytes: &'a [u8],
    zeroes: usize,
}

impl<'a> Part<'a> {
    /// Returns the part that is these bytes.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, zeroes: 0 }
    }

    /// Returns the part of `size` bytes, no fewer than these, that begins with these.
    #[must_use]
    pub fn padded(bytes: &'a [u8], size: usize) -> Self {
        let zeroes = size - bytes.len();
        Self { bytes, zeroes }
    }
}

/// Returns the digest of `parts`, one behind the other.
#[must_use]
#[inline(always)]
pub fn digest<U: Sha2Unit, const PARTS: usize>(
    unit: &U,
    algorithm: HashAlgorithm,
    parts: [Part<'_>; PARTS],
) -> Measurement {
    match algorithm {
        HashAlgorithm::Sha256 => {
            let state = START_256;
            let mut digest = Digest256 { unit, state };
            add_all::<_, 64, 8, _>(&mut digest, parts);
            let [a, b, c, d, e, f, g, h] = digest.state.map(u32::to_be);
            transmute!([a, b, c, d, e, f, g, h, 0, 0, 0, 0, 0, 0, 0, 0])
        }
        HashAlgorithm::Sha512 => {
            let state = START_512;
            let mut digest = Digest512 { unit, state };
            add_all::<_, 128, 16, _>(&mut digest, parts);
            transmute!(digest.state.map(u64::to_be))
        }
    }
}

/// Adds all `parts` and the padding to a digest, whose padding has a field of `LENGTH` bytes.
#[inline(always)]
fn add_all<C: Compress<BLOCK>, const BLOCK: usize, const LENGTH: usize, const PARTS: usize>(
    digest: &mut C,
    parts: [Part<'_>; PARTS],
) {
    let mut message = Message::new(digest);
    for part in parts {
        message.push(part.bytes);
        message.push_zeroes(part.zeroes);
    }
    message.finish::<LENGTH>();
}

struct Digest256<'u, U> {
    unit: &'u U,
    state: [u32; 8],
}

impl<U: Sha2Unit> Compress<64> for Digest256<'_, U> {
    #[inline]
    fn add(&mut self, blocks: &[[u8; 64]]) {
        if self.unit.compress256(&mut self.state, blocks).is_err() {
            compress256(&mut self.state, blocks);
        }
    }

    #[inline]
    fn add_zeroes(&mut self, blocks: usize) {
        if self
            .unit
            .compress256_zeroes(&mut self.state, blocks)
            .is_err()
        {
            (0..blocks).for_each(|_| compress256(&mut self.state, &[[0; 64]]));
        }
    }
}

struct Digest512<'u, U> {
    unit: &'u U,
    state: [u64; 8],
}

impl<U: Sha2Unit> Compress<128> for Digest512<'_, U> {
    #[inline]
    fn add(&mut self, blocks: &[[u8; 128]]) {
        if self.unit.compress512(&mut self.state, blocks).is_err() {
            compress512(&mut self.state, blocks);
        }
    }

    #[inline]
    fn add_zeroes(&mut self, blocks: usize) {
        (0..blocks).for_each(|_| self.add(&[[0; 128]]));
    }
}

#[cfg(test)]
pub(super) mod tests;
