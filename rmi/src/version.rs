// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Versions of an interface, and how a caller and the monitor agree on one.
//!
//! `RMI_VERSION` and `RSI_VERSION` share the algorithm and differ only in what can be chosen.

use core::fmt;

use crate::bits::Field;

/// The minor number in a version word.
const MINOR: Field = Field::new(15, 0);
/// The major number in a version word.
const MAJOR: Field = Field::new(30, 16);

/// A version of an interface. Greater means later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(u64);

impl Version {
    /// Version 1.0.
    pub const V1_0: Self = Self::new(1, 0);

    /// Names version `major`.`minor`; the major number has 15 bits.
    #[must_use]
    pub const fn new(major: u16, minor: u16) -> Self {
        let [major_low, major_high] = major.to_le_bytes();
        let [minor_low, minor_high] = minor.to_le_bytes();
        Self::from_register(u64::from_le_bytes([
            minor_low, minor_high, major_low, major_high, 0, 0, 0, 0,
        ]))
    }

    /// Reads a version word; the bits that should be zero have no meaning.
    #[must_use]
    pub const fn from_register(word: u64) -> Self {
        Self(word & (MAJOR.mask() | MINOR.mask()))
    }

    /// Returns the version word.
    #[must_use]
    pub const fn to_register(self) -> u64 {
        self.0
    }

    /// Returns the major number.
    #[must_use]
    pub const fn major(self) -> u64 {
        MAJOR.get(self.0)
    }

    /// Returns the minor number.
    #[must_use]
    pub const fn minor(self) -> u64 {
        MINOR.get(self.0)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major(), self.minor())
    }
}

/// The versions that an implementation supports: never none.
#[derive(Clone, Copy, Debug)]
pub struct Supported<'a> {
    /// The greatest of them.
    pub newest: Version,
    /// All others, in any order.
    pub older: &'a [Version],
}

/// The versions of RMI that this crate describes.
pub const RMI_VERSIONS: Supported<'static> = Supported {
    newest: Version::V1_0,
    older: &[],
};

/// The versions of RSI that this crate describes.
pub const RSI_VERSIONS: Supported<'static> = Supported {
    newest: Version::V1_0,
    older: &[],
};

/// The answer to a request for a version. Both versions are valid whatever the verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Negotiation {
    /// Whether the request is supported: success, otherwise an input error.
    pub is_supported: bool,
    /// The version to use, or the nearest one below the request if there is one.
    pub lower: Version,
    /// The greatest supported version.
    pub higher: Version,
}

impl Supported<'_> {
    /// Answers a request for the version in the word `request`. A word with other bits set names none.
    #[must_use]
    pub fn negotiate(self, request: u64) -> Negotiation {
        let higher = self.newest;
        let wanted = Version::from_register(request);
        let best = self.versions().filter(|version| *version <= wanted).max();
        Negotiation {
            is_supported: best.is_some_and(|best| best.to_register() == request),
            lower: best.unwrap_or(higher),
            higher,
        }
    }

    /// Returns every supported version.
    fn versions(self) -> impl Iterator<Item = Version> {
        self.older.iter().copied().chain([self.newest])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const V1_0: Version = Version::V1_0;
    const V1_1: Version = Version::new(1, 1);
    const V1_2: Version = Version::new(1, 2);
    const V1_3: Version = Version::new(1, 3);
    const V2_0: Version = Version::new(2, 0);
    const V2_1: Version = Version::new(2, 1);

    fn answer(newest: Version, older: &[Version], request: Version) -> (bool, Version, Version) {
        let Negotiation {
            is_supported,
            lower,
            higher,
        } = Supported { newest, older }.negotiate(request.to_register());
        (is_supported, lower, higher)
    }

    #[test]
    fn version_negotiation_follows_the_worked_examples() {
        assert_eq!(answer(V1_1, &[V1_0], V1_0), (true, V1_0, V1_1));
        assert_eq!(answer(V2_0, &[V1_0], V1_0), (true, V1_0, V2_0));
        assert_eq!(answer(V1_1, &[V1_0], V1_2), (false, V1_1, V1_1));
        assert_eq!(answer(V1_1, &[V1_0], V2_0), (false, V1_1, V1_1));
        assert_eq!(answer(V1_3, &[V1_0, V1_1], V1_2), (false, V1_1, V1_3));
        assert_eq!(answer(V2_0, &[V1_1, V1_0], V2_1), (false, V2_0, V2_0));
        assert_eq!(answer(V2_0, &[], V1_0), (false, V2_0, V2_0));
        assert_eq!(answer(V2_1, &[V2_0], V1_0), (false, V2_1, V2_1));
    }

    #[test]
    fn version_1_0_is_the_only_one() {
        for supported in [RMI_VERSIONS, RSI_VERSIONS] {
            assert!(supported.negotiate(0x1_0000).is_supported);
            let stray_bits = [1 << 31 | 0x1_0000, 1 << 63 | 0x1_0000, u64::MAX];
            for request in [0, 9, 0x1_0001, 0x2_0000].into_iter().chain(stray_bits) {
                let refusal = Negotiation {
                    is_supported: false,
                    lower: V1_0,
                    higher: V1_0,
                };
                assert_eq!(supported.negotiate(request), refusal);
            }
        }
    }

    #[test]
    fn version_word_has_the_major_number_on_top() {
        assert_eq!(V1_0.to_register(), 0x1_0000);
        assert_eq!(V2_1.to_register(), 0x2_0001);
        assert_eq!(Version::from_register(0xFFFF_FFFF_8001_0002), V1_2);
        assert_eq!((V2_1.major(), V2_1.minor()), (2, 1));
    }
}
