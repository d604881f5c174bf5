// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The digest of some bytes, by the algorithm of a Realm.
//!
//! The only place that knows how a digest is computed.

use rmi::HashAlgorithm;
use sha2::{Digest, Sha256, Sha512};

/// The bytes of a measurement slot: the longest digest.
pub const SLOT_BYTES: usize = 64;

/// A digest at the start of a slot; zeroes behind it.
pub type Measurement = [u8; SLOT_BYTES];

/// Returns the digest of `parts`, one behind the other.
#[must_use]
pub fn digest(algorithm: HashAlgorithm, parts: &[&[u8]]) -> Measurement {
    match algorithm {
        HashAlgorithm::Sha256 => digest_with(Sha256::new(), parts),
        HashAlgorithm::Sha512 => digest_with(Sha512::new(), parts),
    }
}

fn digest_with<D: Digest>(mut hasher: D, parts: &[&[u8]]) -> Measurement {
    for part in parts {
        hasher.update(part);
    }
    let mut slot = [0; SLOT_BYTES];
    for (byte, value) in slot.iter_mut().zip(hasher.finalize()) {
        *byte = value;
    }
    slot
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FIPS 180-4's example message.
    const ABC: &[&[u8]] = &[b"a", b"", b"bc"];

    #[test]
    fn sha256_digest_starts_the_slot() {
        let slot = digest(HashAlgorithm::Sha256, ABC);
        let first = [0xBA, 0x78, 0x16, 0xBF, 0x8F, 0x01, 0xCF, 0xEA];
        let last = [0xB4, 0x10, 0xFF, 0x61, 0xF2, 0x00, 0x15, 0xAD];
        assert_eq!(slot[..8], first);
        assert_eq!(slot[24..32], last);
        assert_eq!(slot[32..], [0; 32]);
    }

    #[test]
    fn sha512_digest_fills_the_slot() {
        let slot = digest(HashAlgorithm::Sha512, ABC);
        let first = [0xDD, 0xAF, 0x35, 0xA1, 0x93, 0x61, 0x7A, 0xBA];
        let last = [0x2A, 0x9A, 0xC9, 0x4F, 0xA5, 0x4C, 0xA4, 0x9F];
        assert_eq!(slot[..8], first);
        assert_eq!(slot[56..], last);
    }
}
