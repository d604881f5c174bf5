// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The shape of a Realm's tables: where the walk of an address starts.
//!
//! A starting level must fit the width of the address space, and the space is covered by one starting
//! table or by up to 16 consecutive ones (Arm ARM D8.2, "concatenated translation tables"):
//!
//! | start | width with 48-bit tables | with 52-bit tables | tables |
//! |---|---|---|---|
//! | -1 | | 49..=52 | 1 |
//! | 0 | 40..=48 | 40..=52 | 1; 2 to 16 from 49 bits on |
//! | 1 | 32..=43 | same | 1; 2 to 16 from 40 bits on |
//! | 2 | 32..=34 | same | 4 to 16 |
//!
//! The lower half of the space is protected, the upper half is shared with the Host.

use core::ops::Range;

use rmi::{AddressFormat, GRANULE_SIZE, GranuleAddr, Ipa, PhysAddr, RttLevel};

use crate::limits::{
    MAX_IPA_BITS_48, MAX_IPA_BITS_52, MAX_STARTING_TABLES, MIN_IPA_BITS, MIN_PA_BITS_FOR_LEVEL_0,
};

/// The index bits of an address at one level.
const INDEX_MASK: u64 = 0x1FF;

/// The place and shape of one Realm's tables. A plain copy of what its descriptor says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tree {
    base: GranuleAddr,
    start: RttLevel,
    ipa_bits: u8,
    format: AddressFormat,
}

/// The level, the number of starting tables and the width of the address space do not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadShape;

impl Tree {
    /// Returns the tree whose `tables` starting tables begin at `base`.
    ///
    /// # Errors
    ///
    /// [`BadShape`] when the level and the number do not suit the width, or the machine with its
    /// `pa_bits` of physical addresses cannot start there.
    pub fn new(
        base: GranuleAddr,
        start: RttLevel,
        tables: u32,
        ipa_bits: u8,
        format: AddressFormat,
        pa_bits: u8,
    ) -> Result<Self, BadShape> {
        let needed = starting_tables(start, ipa_bits, format).ok_or(BadShape)?;
        let is_reachable = start != RttLevel::LEVEL_0 || pa_bits >= MIN_PA_BITS_FOR_LEVEL_0;
        if u64::from(tables) != needed || !is_reachable {
            return Err(BadShape);
        }
        Ok(Self::from_parts(base, start, ipa_bits, format))
    }

    /// Returns a tree that was checked when it was written down.
    pub(crate) fn from_parts(
        base: GranuleAddr,
        start: RttLevel,
        ipa_bits: u8,
        format: AddressFormat,
    ) -> Self {
        Self {
            base,
            start,
            ipa_bits,
            format,
        }
    }

    /// Returns the address of the first starting table.
    #[must_use]
    pub fn base(&self) -> GranuleAddr {
        self.base
    }

    /// Returns the level at which walks start.
    #[must_use]
    pub fn start(&self) -> RttLevel {
        self.start
    }

    /// Returns the width of the address space in bits.
    #[must_use]
    pub fn ipa_bits(&self) -> u8 {
        self.ipa_bits
    }

    /// Returns the width of output addresses.
    #[must_use]
    pub fn format(&self) -> AddressFormat {
        self.format
    }

    /// Returns the end of the address space.
    #[must_use]
    pub fn ipa_end(&self) -> Ipa {
        Ipa::new(1 << self.ipa_bits)
    }

    /// Returns the end of the protected half.
    #[must_use]
    pub fn protected_end(&self) -> Ipa {
        Ipa::new(1 << (self.ipa_bits - 1))
    }

    /// Says whether `ipa` is in the address space.
    #[must_use]
    pub fn contains(&self, ipa: Ipa) -> bool {
        ipa < self.ipa_end()
    }

    /// Says whether `ipa` is in the protected half.
    #[must_use]
    pub fn is_protected(&self, ipa: Ipa) -> bool {
        ipa < self.protected_end()
    }

    /// Says whether an entry can point to `at`.
    #[must_use]
    pub fn reaches(&self, at: GranuleAddr) -> bool {
        self.format.contains(at.phys())
    }

    /// Says whether a walk can end at `level`.
    #[must_use]
    pub fn has_level(&self, level: RttLevel) -> bool {
        level >= self.start
    }

    /// Returns the number of starting tables.
    #[must_use]
    pub fn tables(&self) -> u64 {
        starting_tables(self.start, self.ipa_bits, self.format)
            .expect("the shape was checked when the Realm was created")
    }

    /// Returns the physical addresses of the starting tables.
    #[must_use]
    pub fn span(&self) -> Range<PhysAddr> {
        let end = self.base.raw() + self.tables() * GRANULE_SIZE;
        self.base.phys()..PhysAddr::new(end)
    }

    /// Returns the starting tables in ascending order, each with the first address it translates.
    pub fn roots(&self) -> impl Iterator<Item = (GranuleAddr, Ipa)> + use<> {
        let (base, table_size) = (self.base, self.start.table_size());
        (0..self.tables()).map(move |n| {
            let table = base
                .checked_next(n)
                .expect("checked when the Realm was created");
            (table, Ipa::new(n * table_size))
        })
    }

    /// Returns the starting table that translates `ipa`, which is in the address space.
    #[must_use]
    pub fn root(&self, ipa: Ipa) -> GranuleAddr {
        debug_assert!(self.contains(ipa));
        self.base
            .checked_next(ipa.raw() >> self.start.table_bits())
            .expect("checked when the Realm was created")
    }
}

/// Returns the index of the entry that translates `ipa` in a table of `level`.
///
/// Level -1 has fewer entries than others, but then no address is wider than 52 bits.
#[must_use]
pub fn index_at(level: RttLevel, ipa: Ipa) -> usize {
    let entry = ipa.raw() >> level.block_bits();
    usize::try_from(entry & INDEX_MASK).expect("at most 511")
}

/// Returns how many starting tables an address space of `ipa_bits` needs at level `start`, if it can
/// start there at all.
fn starting_tables(start: RttLevel, ipa_bits: u8, format: AddressFormat) -> Option<u64> {
    let (widest, concatenates) = match format {
        AddressFormat::Bits48 => (MAX_IPA_BITS_48, start >= RttLevel::LEVEL_1),
        AddressFormat::Bits52 => (MAX_IPA_BITS_52, start >= RttLevel::LEVEL_0),
    };
    if !(MIN_IPA_BITS..=widest).contains(&ipa_bits) {
        return None;
    }
    let space = 1_u64 << ipa_bits;
    let entries = space >> start.block_bits();
    let tables = space.div_ceil(start.table_size());
    let most = if concatenates {
        u64::try_from(MAX_STARTING_TABLES).expect("16")
    } else {
        1
    };
    // With two entries at least, the border of the two halves is a border of entries.
    (entries >= 2 && tables <= most).then_some(tables)
}

#[cfg(test)]
mod tests {
    use super::*;
    use AddressFormat::{Bits48, Bits52};

    /// A width in bits and the number of starting tables that it needs.
    type Widths = &'static [(u8, u64)];

    const LEVEL_1_WIDTHS: Widths = &[
        (32, 1),
        (33, 1),
        (39, 1),
        (40, 2),
        (41, 4),
        (42, 8),
        (43, 16),
    ];
    const LEVEL_2_WIDTHS: Widths = &[(32, 4), (33, 8), (34, 16)];

    /// The table at the top of this file, written out.
    const ROWS: [(i64, AddressFormat, Widths); 7] = [
        (-1, Bits52, &[(49, 1), (50, 1), (51, 1), (52, 1)]),
        (0, Bits48, &[(40, 1), (41, 1), (44, 1), (47, 1), (48, 1)]),
        (
            0,
            Bits52,
            &[(40, 1), (48, 1), (49, 2), (50, 4), (51, 8), (52, 16)],
        ),
        (1, Bits48, LEVEL_1_WIDTHS),
        (1, Bits52, LEVEL_1_WIDTHS),
        (2, Bits48, LEVEL_2_WIDTHS),
        (2, Bits52, LEVEL_2_WIDTHS),
    ];

    fn level(raw: i64) -> RttLevel {
        RttLevel::new(raw).unwrap()
    }

    fn base() -> GranuleAddr {
        GranuleAddr::new(0x8800_0000).unwrap()
    }

    #[test]
    fn tree_accepts_every_row_of_section_4() {
        for (start, format, widths) in ROWS {
            for &(ipa_bits, tables) in widths {
                let number = u32::try_from(tables).unwrap();
                let tree = Tree::new(base(), level(start), number, ipa_bits, format, 52).unwrap();
                assert_eq!(tree.tables(), tables);
                for wrong in [0, number - 1, number + 1, number * 2, u32::MAX] {
                    let bad = Tree::new(base(), level(start), wrong, ipa_bits, format, 52);
                    assert_eq!(bad, Err(BadShape), "{start} {ipa_bits} {wrong}");
                }
            }
        }
    }

    #[test]
    fn tree_accepts_exactly_the_widths_of_section_4() {
        let ranges = [
            (-1, Bits48, None),
            (-1, Bits52, Some(49..=52)),
            (0, Bits48, Some(40..=48)),
            (0, Bits52, Some(40..=52)),
            (1, Bits48, Some(32..=43)),
            (1, Bits52, Some(32..=43)),
            (2, Bits48, Some(32..=34)),
            (2, Bits52, Some(32..=34)),
            (3, Bits48, None),
            (3, Bits52, None),
        ];
        for (start, format, widths) in ranges {
            for ipa_bits in 0..=u8::MAX {
                let is_accepted = [1, 2, 4, 8, 16]
                    .into_iter()
                    .any(|n| Tree::new(base(), level(start), n, ipa_bits, format, 52).is_ok());
                let is_listed = widths.as_ref().is_some_and(|w| w.contains(&ipa_bits));
                assert_eq!(is_accepted, is_listed, "{start} {ipa_bits}");
            }
        }
    }

    #[test]
    fn tree_starts_at_level_0_only_on_wide_machines() {
        let level_0 = |pa_bits| Tree::new(base(), level(0), 1, 40, Bits48, pa_bits).is_ok();
        assert!(level_0(44));
        assert!(!level_0(43));
        assert!(Tree::new(base(), level(1), 2, 40, Bits48, 40).is_ok());
    }

    #[test]
    fn tree_finds_the_starting_table_and_the_entry() {
        let tree = Tree::new(base(), level(1), 8, 42, Bits48, 48).unwrap();
        let ipa = Ipa::new(3 << 39 | 5 << 30 | 7 << 21 | 9 << 12 | 0x123);
        assert_eq!(tree.root(ipa).raw(), base().raw() + 3 * 0x1000);
        assert_eq!(index_at(level(1), ipa), 5);
        assert_eq!(index_at(level(2), ipa), 7);
        assert_eq!(index_at(level(3), ipa), 9);
        assert_eq!(index_at(level(-1), Ipa::new(0xF_0000_0000_0000)), 15);
        assert_eq!(tree.span().end.raw(), base().raw() + 0x8000);
        assert_eq!(tree.roots().count(), 8);
        assert_eq!(tree.roots().last().unwrap().1.raw(), 7 << 39);
    }

    #[test]
    fn tree_splits_the_space_in_two_halves() {
        let tree = Tree::new(base(), level(2), 16, 34, Bits48, 48).unwrap();
        assert!(tree.is_protected(Ipa::new((1 << 33) - 1)));
        assert!(!tree.is_protected(Ipa::new(1 << 33)));
        assert!(tree.contains(Ipa::new((1 << 34) - 1)));
        assert!(!tree.contains(Ipa::new(1 << 34)));
        assert!(!tree.has_level(level(1)));
        assert!(tree.has_level(level(2)));
    }
}
