// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The identity of a REC, of which there are three spellings.
//!
//! | spelling | Aff0 | Aff1 | Aff2 | Aff3 | other bits |
//! |---|---|---|---|---|---|
//! | `RmiRecMpidr`, in RMI | 3:0 | 15:8 | 23:16 | 31:24 | zero |
//! | affinity, in PSCI and in `MPIDR_EL1` | 7:0 | 15:8 | 23:16 | 39:32 | zero; bit 31 in `MPIDR_EL1` |
//! | index, in creation order | 3:0 | 11:4 | 19:12 | 27:20 | zero |
//!
//! Aff0 never exceeds 15, for the sake of the GIC's targeted interrupts.

use crate::bits::Field;

/// The affinity fields of `RmiRecMpidr`.
const RMI: [Field; 4] = [
    Field::new(3, 0),
    Field::new(15, 8),
    Field::new(23, 16),
    Field::new(31, 24),
];

/// The affinity fields of `MPIDR_EL1`, without the part of Aff0 that no REC uses.
const ARCHITECTURE: [Field; 4] = [
    Field::new(3, 0),
    Field::new(15, 8),
    Field::new(23, 16),
    Field::new(39, 32),
];

/// The affinity fields of a REC index.
const INDEX: [Field; 4] = [
    Field::new(3, 0),
    Field::new(11, 4),
    Field::new(19, 12),
    Field::new(27, 20),
];

/// `MPIDR_EL1` bit 31, which always reads as one.
const MPIDR_EL1_RES1: u64 = 1 << 31;

/// Returns whether a word has no bits outside these fields.
fn is_within(word: u64, fields: [Field; 4]) -> bool {
    fields.iter().fold(word, |rest, field| rest & !field.mask()) == 0
}

/// Rewrites a word from one set of fields to another.
fn rewrite(word: u64, from: [Field; 4], to: [Field; 4]) -> u64 {
    let pairs = from.iter().zip(to);
    pairs.fold(0, |result, (from, to)| to.set(result, from.get(word)))
}

/// The identity of a REC inside its Realm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecMpidr {
    index: u32,
}

impl RecMpidr {
    /// Reads an `RmiRecMpidr`, or returns nothing if a bit that should be zero is set.
    #[must_use]
    pub fn new(raw: u64) -> Option<Self> {
        if !is_within(raw, RMI) {
            return None;
        }
        Self::from_index(rewrite(raw, RMI, INDEX))
    }

    /// Reads the affinity that PSCI uses, or returns nothing if no REC can have it.
    #[must_use]
    pub fn from_affinity(affinity: u64) -> Option<Self> {
        if !is_within(affinity, ARCHITECTURE) {
            return None;
        }
        Self::from_index(rewrite(affinity, ARCHITECTURE, INDEX))
    }

    /// Names the REC that is created as number `index`, counted from zero, below 2^28.
    #[must_use]
    pub fn from_index(index: u64) -> Option<Self> {
        if !is_within(index, INDEX) {
            return None;
        }
        let index = u32::try_from(index).ok()?;
        Some(Self { index })
    }

    /// Returns the `RmiRecMpidr`.
    #[must_use]
    pub fn raw(self) -> u64 {
        rewrite(self.index(), INDEX, RMI)
    }

    /// Returns the affinity as PSCI spells it.
    #[must_use]
    pub fn affinity(self) -> u64 {
        rewrite(self.index(), INDEX, ARCHITECTURE)
    }

    /// Returns what the REC reads from `MPIDR_EL1`.
    #[must_use]
    pub fn mpidr_el1(self) -> u64 {
        self.affinity() | MPIDR_EL1_RES1
    }

    /// Returns how many RECs of the Realm have been created before this one.
    #[must_use]
    pub fn index(self) -> u64 {
        u64::from(self.index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mpidr_spellings_agree() {
        // Index, RmiRecMpidr, affinity.
        let cases = [
            (0, 0x0, 0x0),
            (1, 0x1, 0x1),
            (15, 0xF, 0xF),
            (16, 0x100, 0x100),
            (17, 0x101, 0x101),
            (4096, 0x1_0000, 0x1_0000),
            (1_048_576, 0x100_0000, 0x1_0000_0000),
            (0xFFF_FFFF, 0xFFFF_FF0F, 0xFF_00FF_FF0F),
        ];
        for (index, raw, affinity) in cases {
            let mpidr = RecMpidr::from_index(index).unwrap();
            assert_eq!(mpidr.index(), index);
            assert_eq!(mpidr.raw(), raw);
            assert_eq!(mpidr.affinity(), affinity);
            assert_eq!(mpidr.mpidr_el1(), affinity | 0x8000_0000);
            assert_eq!(RecMpidr::new(raw), Some(mpidr));
            assert_eq!(RecMpidr::from_affinity(affinity), Some(mpidr));
        }
    }

    #[test]
    fn mpidr_rejects_bits_that_should_be_zero() {
        for raw in [0x10, 0x80, 1 << 32, 1 << 63] {
            assert_eq!(RecMpidr::new(raw), None, "{raw:#x}");
        }
        for affinity in [0x10, 1 << 24, 1 << 31, 1 << 40] {
            assert_eq!(RecMpidr::from_affinity(affinity), None, "{affinity:#x}");
        }
        assert_eq!(RecMpidr::from_index(1 << 28), None);
    }
}
