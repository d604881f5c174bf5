// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Levels of a Realm Translation Table tree, from -1 (the widest root) to 3 (pages).

use core::fmt;

use crate::addr::Ipa;

/// The level of a table or of an entry in it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RttLevel(Level);

/// A closed set, so that what depends on the level becomes arithmetic of it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i8)]
enum Level {
    Minus1 = -1,
    L0,
    L1,
    L2,
    L3,
}

impl RttLevel {
    /// The level that only starts walks of addresses of more than 48 bits.
    pub const LEVEL_MINUS_1: Self = Self(Level::Minus1);
    /// The level whose entries cover 512 GiB.
    pub const LEVEL_0: Self = Self(Level::L0);
    /// The level whose entries cover 1 GiB.
    pub const LEVEL_1: Self = Self(Level::L1);
    /// The level whose entries cover 2 MiB.
    pub const LEVEL_2: Self = Self(Level::L2);
    /// The level of pages.
    pub const LEVEL_3: Self = Self(Level::L3);

    /// Every level, root first.
    pub const ALL: [Self; 5] = [
        Self::LEVEL_MINUS_1,
        Self::LEVEL_0,
        Self::LEVEL_1,
        Self::LEVEL_2,
        Self::LEVEL_3,
    ];

    /// Returns the level with this number, if a tree may have it.
    #[must_use]
    pub const fn new(level: i64) -> Option<Self> {
        match level {
            -1 => Some(Self::LEVEL_MINUS_1),
            0 => Some(Self::LEVEL_0),
            1 => Some(Self::LEVEL_1),
            2 => Some(Self::LEVEL_2),
            3 => Some(Self::LEVEL_3),
            _ => None,
        }
    }

    /// Returns the level that a command argument denotes: a signed number in a register.
    #[must_use]
    pub const fn from_register(value: u64) -> Option<Self> {
        Self::new(value.cast_signed())
    }

    /// Returns the level that the index of an `RMI_ERROR_RTT` denotes: a signed byte.
    #[must_use]
    pub fn from_index(index: u8) -> Option<Self> {
        Self::new(i64::from(index.cast_signed()))
    }

    /// Returns the number of the level.
    #[must_use]
    pub fn raw(self) -> i64 {
        self.number().into()
    }

    /// Returns the level as a register value: sign-extended.
    #[must_use]
    pub fn to_register(self) -> u64 {
        self.raw().cast_unsigned()
    }

    /// Returns the level as the index of an `RMI_ERROR_RTT`: 0xff for level -1.
    #[must_use]
    pub const fn to_index(self) -> u8 {
        self.number().cast_unsigned()
    }

    /// Returns the bytes that one entry at this level covers.
    #[must_use]
    pub const fn block_size(self) -> u64 {
        1 << self.block_bits()
    }

    /// Returns the address bits that one entry at this level leaves: its size as a power of two.
    #[must_use]
    pub const fn block_bits(self) -> u32 {
        match self {
            Self::LEVEL_3 => 12,
            Self::LEVEL_2 => 21,
            Self::LEVEL_1 => 30,
            Self::LEVEL_0 => 39,
            Self::LEVEL_MINUS_1 => 48,
        }
    }

    /// Returns the bytes that one whole table at this level covers.
    #[must_use]
    pub const fn table_size(self) -> u64 {
        1 << self.table_bits()
    }

    /// Returns the address bits that one whole table at this level leaves.
    #[must_use]
    pub const fn table_bits(self) -> u32 {
        self.block_bits() + self.index_bits()
    }

    /// Returns the level of the entries that point to tables of this level.
    #[must_use]
    pub const fn parent(self) -> Option<Self> {
        match self {
            Self::LEVEL_3 => Some(Self::LEVEL_2),
            Self::LEVEL_2 => Some(Self::LEVEL_1),
            Self::LEVEL_1 => Some(Self::LEVEL_0),
            Self::LEVEL_0 => Some(Self::LEVEL_MINUS_1),
            Self::LEVEL_MINUS_1 => None,
        }
    }

    /// Returns the level of the tables that entries of this level point to.
    #[must_use]
    pub const fn child(self) -> Option<Self> {
        match self {
            Self::LEVEL_3 => None,
            Self::LEVEL_2 => Some(Self::LEVEL_3),
            Self::LEVEL_1 => Some(Self::LEVEL_2),
            Self::LEVEL_0 => Some(Self::LEVEL_1),
            Self::LEVEL_MINUS_1 => Some(Self::LEVEL_0),
        }
    }

    /// Returns the number of entries of one table at this level.
    #[must_use]
    pub const fn entries(self) -> usize {
        1 << self.index_bits()
    }

    /// Returns whether an entry at this level may map memory: Arm ARM D8.3, 4 KiB granule.
    ///
    /// Level 0 blocks exist in the architecture with 52-bit descriptors, but not in Realms.
    #[must_use]
    pub const fn can_map(self) -> bool {
        matches!(self, Self::LEVEL_1 | Self::LEVEL_2 | Self::LEVEL_3)
    }

    /// Returns whether `ipa` is the first address of some entry at this level.
    #[must_use]
    pub const fn is_aligned(self, ipa: Ipa) -> bool {
        ipa.is_aligned(self.block_size())
    }

    /// Returns the address bits that one table at this level resolves.
    ///
    /// Level -1 resolves only address bits 51:48.
    const fn index_bits(self) -> u32 {
        match self {
            Self::LEVEL_MINUS_1 => 4,
            Self::LEVEL_0 | Self::LEVEL_1 | Self::LEVEL_2 | Self::LEVEL_3 => 9,
        }
    }

    const fn number(self) -> i8 {
        match self {
            Self::LEVEL_MINUS_1 => -1,
            Self::LEVEL_0 => 0,
            Self::LEVEL_1 => 1,
            Self::LEVEL_2 => 2,
            Self::LEVEL_3 => 3,
        }
    }
}

impl fmt::Display for RttLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.number(), f)
    }
}

impl fmt::Debug for RttLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RttLevel({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn level_block_sizes_match_the_architecture() {
        let sizes = [
            (-1, 0x1_0000_0000_0000),
            (0, 0x80_0000_0000),
            (1, 0x4000_0000),
            (2, 0x20_0000),
            (3, 0x1000),
        ];
        for (level, size) in sizes {
            assert_eq!(RttLevel::new(level).unwrap().block_size(), size);
        }
    }

    #[test]
    fn level_tables_cover_their_parents_entry() {
        for level in RttLevel::ALL {
            match level.parent() {
                Some(parent) => {
                    assert_eq!(parent.block_size(), level.table_size());
                    assert_eq!(parent.child(), Some(level));
                    assert_eq!(level.entries(), 512);
                }
                None => {
                    assert_eq!(level, RttLevel::LEVEL_MINUS_1);
                    assert_eq!(level.entries(), 16);
                    assert_eq!(level.table_size(), 1 << 52);
                }
            }
        }
        assert_eq!(RttLevel::LEVEL_3.child(), None);
    }

    #[test]
    fn level_rejects_numbers_outside_the_tree() {
        for level in [-2, 4, i64::MIN, i64::MAX, 255, 256] {
            assert_eq!(RttLevel::new(level), None);
        }
        assert_eq!(RttLevel::from_register(0xff), None);
        assert_eq!(RttLevel::from_index(4), None);
    }

    #[test]
    fn level_round_trips_registers_and_indices() {
        for level in RttLevel::ALL {
            assert_eq!(RttLevel::from_register(level.to_register()), Some(level));
            assert_eq!(RttLevel::from_index(level.to_index()), Some(level));
        }
        assert_eq!(RttLevel::LEVEL_MINUS_1.to_register(), u64::MAX);
        assert_eq!(RttLevel::LEVEL_MINUS_1.to_index(), 0xff);
    }

    #[test]
    fn level_maps_memory_from_level_1_down() {
        let mapping = RttLevel::ALL.map(RttLevel::can_map);
        assert_eq!(mapping, [false, false, true, true, true]);
        assert!(RttLevel::LEVEL_2.is_aligned(Ipa::new(0x20_0000)));
        assert!(!RttLevel::LEVEL_1.is_aligned(Ipa::new(0x20_0000)));
    }
}
