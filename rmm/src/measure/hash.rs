// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The digest of some bytes, by the algorithm of a Realm.
//!
//! The only place that knows how a digest is computed: with the instructions of the PE where it has
//! them, else by portable code.

use rmi::HashAlgorithm;
use rmm_hal::Sha2;
use sha2::block_api::{compress256, compress512};
use zerocopy::transmute;

use crate::measure::pad::Message;

/// The bytes of a measurement slot: the longest digest.
pub const SLOT_BYTES: usize = 64;

/// A digest at the start of a slot; zeroes behind it.
pub type Measurement = [u8; SLOT_BYTES];

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

/// Returns the digest of `parts`, one behind the other.
#[must_use]
pub fn digest<S: Sha2>(sha: &S, algorithm: HashAlgorithm, parts: &[&[u8]]) -> Measurement {
    match algorithm {
        HashAlgorithm::Sha256 => digest256(sha, parts),
        HashAlgorithm::Sha512 => digest512(sha, parts),
    }
}

// The buffers hold a descriptor of the initial measurement (256 bytes) and one block of padding.

fn digest256<S: Sha2>(sha: &S, parts: &[&[u8]]) -> Measurement {
    let mut state = START_256;
    let mut message = Message::<_, 64, { 256 + 64 }>::new(|blocks| {
        if sha.compress256(&mut state, blocks).is_err() {
            compress256(&mut state, blocks);
        }
    });
    parts.iter().for_each(|part| message.push(part));
    message.finish::<8>();
    let [a, b, c, d, e, f, g, h] = state.map(u32::to_be);
    transmute!([a, b, c, d, e, f, g, h, 0, 0, 0, 0, 0, 0, 0, 0])
}

fn digest512<S: Sha2>(sha: &S, parts: &[&[u8]]) -> Measurement {
    let mut state = START_512;
    let mut message = Message::<_, 128, { 256 + 128 }>::new(|blocks| {
        if sha.compress512(&mut state, blocks).is_err() {
            compress512(&mut state, blocks);
        }
    });
    parts.iter().for_each(|part| message.push(part));
    message.finish::<16>();
    transmute!(state.map(u64::to_be))
}

#[cfg(test)]
pub(super) mod tests;
