// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The Realm extensible measurements: what the Realm says of itself.

use rmi::HashAlgorithm;
use rmm_hal::Sha2;

use crate::measure::hash::{Measurement, Part, digest};

/// Returns the measurement `old`, extended by `value`.
///
/// The digest is that of the old digest and of exactly the bytes of the value. The specification's
/// prose could also mean a value padded to 64 bytes; verifiers follow the reference implementation,
/// which pads neither.
#[must_use]
pub fn extend<S: Sha2>(
    sha: &S,
    algorithm: HashAlgorithm,
    old: &Measurement,
    value: &[u8],
) -> Measurement {
    let parts = [Part::new(old.digest(algorithm)), Part::new(value)];
    sha.with_unit(|unit| digest(unit, algorithm, parts))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::hash::SLOT_BYTES;
    use crate::measure::hash::tests::{Portable, digest_bytes};

    #[test]
    fn rem_hashes_the_old_digest_and_the_value_only() {
        let old = Measurement(core::array::from_fn(|n| u8::try_from(n).unwrap()));
        for (algorithm, bytes) in [(HashAlgorithm::Sha256, 32), (HashAlgorithm::Sha512, 64)] {
            let mut message = [0; SLOT_BYTES + 4];
            message[..bytes].copy_from_slice(&old.0[..bytes]);
            message[bytes..][..3].copy_from_slice(&[7, 8, 9]);
            let extended = |value: &[u8]| extend(&Portable, algorithm, &old, value);
            let expected = digest_bytes(algorithm, &message[..bytes + 3]);
            assert_eq!(extended(&[7, 8, 9]), expected);
            assert_ne!(extended(&[7, 8, 9, 0]), expected);
            assert_eq!(extended(&[]), digest_bytes(algorithm, &message[..bytes]));
        }
    }
}
