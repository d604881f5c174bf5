// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What replaces an entry by a table, and a table by an entry.
//!
//! Both directions keep what the Realm sees. Nothing here touches a granule.

use core::sync::atomic::Ordering;

use rmi::{AddressFormat, RttLevel};

use crate::rtt::entry::Rtte;
use crate::rtt::table::{Pattern, RTT_ENTRIES, TableEntries};

/// The contents of a table that says the same as one entry of its parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unfolded {
    /// The entries.
    pub pattern: Pattern,
    /// The reference count of the table.
    pub references: u16,
}

/// Returns the table of `level` that says the same as `parent`, unless that is a table itself.
#[must_use]
pub fn unfold(parent: Rtte, level: RttLevel, format: AddressFormat) -> Option<Unfolded> {
    let references = match parent {
        Rtte::Unassigned { .. } | Rtte::UnassignedNs | Rtte::AssignedNs { .. } => 0,
        Rtte::Assigned { .. } => u16::try_from(RTT_ENTRIES).expect("512"),
        Rtte::Table { .. } => return None,
    };
    let pattern = Pattern {
        first: parent.encode(level, format),
        step: step_of(parent, level),
    };
    Some(Unfolded {
        pattern,
        references,
    })
}

/// Returns the entry that says the same as a table of `level`, if the table is homogeneous.
#[must_use]
pub fn fold(table: &TableEntries, level: RttLevel, format: AddressFormat) -> Option<Rtte> {
    let parent_level = level.parent()?;
    let [first, ..] = table;
    let first = first.load(Ordering::Relaxed);
    let entry = Rtte::decode(first, level, format).expect("the monitor wrote the entry");
    let is_foldable = match entry {
        Rtte::Unassigned { .. } | Rtte::UnassignedNs => true,
        Rtte::Assigned { pa, .. } => {
            parent_level.can_map() && pa.phys().is_aligned(parent_level.block_size())
        }
        Rtte::AssignedNs { desc } => parent_level.can_map() && desc.is_aligned(parent_level),
        Rtte::Table { .. } => false,
    };
    let step = step_of(entry, level);
    let is_homogeneous = is_foldable && Pattern { first, step }.matches(table);
    is_homogeneous.then_some(entry)
}

/// Returns what the words of alike entries differ by: addresses that follow on each other do not carry
/// into the address bits that 52-bit tables keep apart, because they lie in one aligned block.
fn step_of(entry: Rtte, level: RttLevel) -> u64 {
    match entry {
        Rtte::Unassigned { .. } | Rtte::UnassignedNs | Rtte::Table { .. } => 0,
        Rtte::Assigned { .. } | Rtte::AssignedNs { .. } => level.block_size(),
    }
}

#[cfg(test)]
mod tests {
    use core::sync::atomic::AtomicU64;

    use rmi::{GranuleAddr, MemAttr, PhysAddr, Ripas, S2Ap, UnprotectedDesc};

    use super::*;

    const L1: RttLevel = RttLevel::LEVEL_1;
    const L2: RttLevel = RttLevel::LEVEL_2;
    const L3: RttLevel = RttLevel::LEVEL_3;
    const FORMATS: [AddressFormat; 2] = [AddressFormat::Bits48, AddressFormat::Bits52];
    const RIPASES: [Ripas; 3] = [Ripas::Empty, Ripas::Ram, Ripas::Destroyed];

    fn granule(raw: u64) -> GranuleAddr {
        GranuleAddr::new(raw).unwrap()
    }

    fn host(address: u64, s2ap: S2Ap) -> Rtte {
        Rtte::AssignedNs {
            desc: UnprotectedDesc {
                address: PhysAddr::new(address),
                mem_attr: MemAttr::NormalWriteBack,
                s2ap,
            },
        }
    }

    fn table(
        entries: impl Fn(u64) -> Rtte,
        level: RttLevel,
        format: AddressFormat,
    ) -> TableEntries {
        core::array::from_fn(|n| {
            let n = u64::try_from(n).unwrap();
            AtomicU64::new(entries(n).encode(level, format))
        })
    }

    fn unfolded(parent: Rtte, level: RttLevel, format: AddressFormat) -> TableEntries {
        let mut table = [const { AtomicU64::new(0) }; RTT_ENTRIES];
        let unfolded = unfold(parent, level, format).unwrap();
        unfolded.pattern.fill(&mut table);
        table
    }

    #[test]
    fn unfold_then_fold_gives_the_entry_back() {
        for format in FORMATS {
            let high = match format {
                AddressFormat::Bits48 => 0x4000_0000_0000,
                AddressFormat::Bits52 => 0x7_4000_0000_0000,
            };
            for (parent, child) in [(L1, L2), (L2, L3)] {
                let block = high + parent.block_size();
                let entries = RIPASES
                    .into_iter()
                    .flat_map(|ripas| {
                        let pa = granule(block);
                        [Rtte::Unassigned { ripas }, Rtte::Assigned { pa, ripas }]
                    })
                    .chain([Rtte::UnassignedNs, host(block, S2Ap::ReadOnly)]);
                for entry in entries {
                    let table = unfolded(entry, child, format);
                    assert_eq!(fold(&table, child, format), Some(entry));
                    let counted: u16 = table
                        .iter()
                        .map(|raw| {
                            let raw = raw.load(Ordering::Relaxed);
                            Rtte::decode(raw, child, format).unwrap().references()
                        })
                        .sum();
                    assert_eq!(unfold(entry, child, format).unwrap().references, counted);
                }
            }
        }
    }

    #[test]
    fn unfold_gives_consecutive_addresses() {
        let block = Rtte::Assigned {
            pa: granule(0x8000_0000),
            ripas: Ripas::Ram,
        };
        for (level, size) in [(L2, 0x20_0000), (L3, 0x1000)] {
            let expected = |n| Rtte::Assigned {
                pa: granule(0x8000_0000 + n * size),
                ripas: Ripas::Ram,
            };
            let made = unfolded(block, level, AddressFormat::Bits48);
            let table = table(expected, level, AddressFormat::Bits48);
            for (one, other) in made.iter().zip(&table) {
                assert_eq!(one.load(Ordering::Relaxed), other.load(Ordering::Relaxed));
            }
        }
    }

    #[test]
    fn unfold_refuses_a_table() {
        let parent = Rtte::Table {
            table: granule(0x1000),
        };
        assert_eq!(unfold(parent, L3, AddressFormat::Bits48), None);
    }

    #[test]
    fn fold_at_upper_levels_takes_only_what_has_no_address() {
        let format = AddressFormat::Bits48;
        for level in [RttLevel::LEVEL_0, L1] {
            let size = level.block_size();
            for ripas in RIPASES {
                let entry = Rtte::Unassigned { ripas };
                assert_eq!(
                    fold(&table(|_| entry, level, format), level, format),
                    Some(entry)
                );
            }
            if level.can_map() {
                let blocks = table(
                    |n| Rtte::Assigned {
                        pa: granule(n * size),
                        ripas: Ripas::Ram,
                    },
                    level,
                    format,
                );
                assert_eq!(fold(&blocks, level, format), None);
                let blocks = table(|n| host(n * size, S2Ap::ReadWrite), level, format);
                assert_eq!(fold(&blocks, level, format), None);
            }
        }
    }

    #[test]
    fn fold_refuses_tables_that_are_not_homogeneous() {
        let format = AddressFormat::Bits48;
        let page = |n: u64, ripas| Rtte::Assigned {
            pa: granule(0x8000_0000 + n * 0x1000),
            ripas,
        };
        let cases: [fn(u64) -> Rtte; 2] = [
            |_| Rtte::Table {
                table: GranuleAddr::new(0x1000).unwrap(),
            },
            |n| Rtte::Table {
                table: GranuleAddr::new(0x8000_0000 + n * 0x20_0000).unwrap(),
            },
        ];
        for entries in cases {
            assert_eq!(fold(&table(entries, L2, format), L2, format), None);
        }
        for odd in [0, 1, 255, 511] {
            let mixed = |other: Rtte| {
                let entries = |n| if n == odd { other } else { page(n, Ripas::Ram) };
                fold(&table(entries, L3, format), L3, format)
            };
            assert_eq!(mixed(page(odd, Ripas::Empty)), None);
            assert_eq!(mixed(page(odd + 1, Ripas::Ram)), None);
            assert_eq!(mixed(Rtte::Unassigned { ripas: Ripas::Ram }), None);
            assert_eq!(mixed(page(odd, Ripas::Ram)), Some(page(0, Ripas::Ram)));
            let ripas = |n| {
                let ripas = if n == odd {
                    Ripas::Destroyed
                } else {
                    Ripas::Empty
                };
                Rtte::Unassigned { ripas }
            };
            assert_eq!(fold(&table(ripas, L3, format), L3, format), None);
            let rights = |n| {
                let s2ap = if n == odd {
                    S2Ap::ReadOnly
                } else {
                    S2Ap::ReadWrite
                };
                host(0x8000_0000 + n * 0x1000, s2ap)
            };
            assert_eq!(fold(&table(rights, L3, format), L3, format), None);
        }
        let shifted = |n| page(n + 1, Ripas::Ram);
        assert_eq!(fold(&table(shifted, L3, format), L3, format), None);
    }
}
