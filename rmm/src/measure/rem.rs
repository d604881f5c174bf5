// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The Realm extensible measurements: what the Realm says of itself.

use rmi::HashAlgorithm;
use rmm_hal::Sha2;

use crate::measure::hash::{Measurement, digest};

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
    let (old, _) = old
        .split_at_checked(algorithm.digest_bytes())
        .expect("no digest is longer than a slot");
    digest(sha, algorithm, &[old, value])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::hash::SLOT_BYTES;
    use crate::measure::hash::tests::Portable;

    #[test]
    fn rem_hashes_the_old_digest_and_the_value_only() {
        let old: Measurement = core::array::from_fn(|n| u8::try_from(n).unwrap());
        for (algorithm, bytes) in [(HashAlgorithm::Sha256, 32), (HashAlgorithm::Sha512, 64)] {
            let expected = digest(&Portable, algorithm, &[&old[..bytes], &[7, 8, 9]]);
            assert_eq!(extend(&Portable, algorithm, &old, &[7, 8, 9]), expected);
            assert_ne!(extend(&Portable, algorithm, &old, &[7, 8, 9, 0]), expected);
            let empty = extend(&Portable, algorithm, &[0; SLOT_BYTES], &[]);
            assert_eq!(empty, digest(&Portable, algorithm, &[&[0; 64][..bytes]]));
        }
    }
}
