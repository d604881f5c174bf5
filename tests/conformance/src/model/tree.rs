// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! A Realm's address space as tables of entries.

use std::collections::BTreeMap;

/// What covers an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// Protected, nothing there.
    Unassigned {
        /// Code of the RIPAS.
        ripas: u8,
    },
    /// Protected, a page or a block of them.
    Assigned {
        /// The first page.
        pa: u64,
        /// Code of the RIPAS.
        ripas: u8,
    },
    /// Unprotected, nothing there.
    UnassignedNs,
    /// Unprotected, memory of the Host.
    AssignedNs {
        /// As the Host wrote it.
        desc: u64,
    },
    /// A table.
    Table {
        /// Its granule.
        pa: u64,
    },
}

impl Entry {
    pub(super) fn is_live(self) -> bool {
        !matches!(self, Self::Unassigned { .. } | Self::UnassignedNs)
    }

    pub(super) fn ripas(self) -> Option<u8> {
        match self {
            Self::Unassigned { ripas } | Self::Assigned { ripas, .. } => Some(ripas),
            Self::UnassignedNs | Self::AssignedNs { .. } | Self::Table { .. } => None,
        }
    }

    /// Returns the entry of a part of what this one covers.
    pub(super) fn part(self, offset: u64) -> Self {
        match self {
            Self::Assigned { pa, ripas } => Self::Assigned {
                pa: pa + offset,
                ripas,
            },
            Self::AssignedNs { desc } => Self::AssignedNs {
                desc: desc_plus(desc, offset),
            },
            other => other,
        }
    }
}

/// Adds to the address in a descriptor, whose bits 51:50 may be at 9:8.
pub(super) fn desc_plus(desc: u64, offset: u64) -> u64 {
    let high = desc >> 8 & 3;
    let address = (desc & 0x0003_FFFF_FFFF_F000 | high << 50) + offset;
    desc & 0xFC | address & 0x0003_FFFF_FFFF_F000 | (address >> 50 & 3) << 8
}

/// Returns the bytes of an entry.
pub(super) fn size(level: i64) -> u64 {
    1 << (12 + 9 * (3 - level))
}

fn entries(level: i64) -> u64 {
    if level == -1 { 16 } else { 512 }
}

fn span(level: i64) -> u64 {
    size(level) * entries(level)
}

/// Where a walk ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) level: i64,
    /// First address of the entry.
    pub(super) base: u64,
    pub(super) entry: Entry,
}

/// The tables of a Realm.
#[derive(Clone, Debug)]
pub struct Tree {
    /// Width of the address space in bits.
    pub width: u32,
    /// Starting level.
    pub start: i64,
    /// 52-bit descriptors.
    pub is_lpa2: bool,
    /// Granule and entries, by level and first address.
    tables: BTreeMap<(i64, u64), (u64, Vec<Entry>)>,
}

impl Tree {
    pub(super) fn new(width: u32, start: i64, is_lpa2: bool, root: u64, roots: u64) -> Self {
        let mut tree = Self {
            width,
            start,
            is_lpa2,
            tables: BTreeMap::new(),
        };
        for n in 0..roots {
            let base = n * span(start);
            let entries = (0..entries(start)).map(|entry| tree.fresh(base + entry * size(start)));
            let table = (root + n * super::GRANULE, entries.collect());
            tree.tables.insert((start, base), table);
        }
        tree
    }

    fn fresh(&self, ipa: u64) -> Entry {
        if self.is_protected(ipa) {
            Entry::Unassigned { ripas: 0 }
        } else {
            Entry::UnassignedNs
        }
    }

    pub(super) fn is_protected(&self, ipa: u64) -> bool {
        ipa < self.half()
    }

    pub(super) fn half(&self) -> u64 {
        1 << (self.width - 1)
    }

    pub(super) fn end(&self) -> u64 {
        1 << self.width
    }

    pub(super) fn has_level(&self, level: i64) -> bool {
        (self.start..=3).contains(&level)
    }

    /// Returns every table: level, first address, granule, entries.
    pub fn tables(&self) -> impl Iterator<Item = (i64, u64, u64, &[Entry])> + '_ {
        self.tables
            .iter()
            .map(|((level, base), (pa, entries))| (*level, *base, *pa, entries.as_slice()))
    }

    fn slot(&self, level: i64, ipa: u64) -> ((i64, u64), usize) {
        let base = ipa - ipa % span(level);
        ((level, base), ((ipa - base) / size(level)) as usize)
    }

    fn get(&self, level: i64, ipa: u64) -> Entry {
        let (table, slot) = self.slot(level, ipa);
        self.tables[&table].1[slot]
    }

    pub(super) fn set(&mut self, level: i64, ipa: u64, entry: Entry) {
        let (table, slot) = self.slot(level, ipa);
        let table = self.tables.get_mut(&table);
        table.expect("a table that a walk found").1[slot] = entry;
    }

    /// Walks to `level` or to what ends the walk before.
    pub(super) fn walk(&self, ipa: u64, to: i64) -> Found {
        let mut level = self.start;
        loop {
            let entry = self.get(level, ipa);
            if level == to || !matches!(entry, Entry::Table { .. }) {
                let base = ipa - ipa % size(level);
                return Found { level, base, entry };
            }
            level += 1;
        }
    }

    /// The next live entry of the one table; the address itself if its entry is live.
    pub(super) fn skip_non_live(&self, level: i64, ipa: u64) -> u64 {
        let (table, slot) = self.slot(level, ipa);
        let found = self.tables[&table].1[slot..]
            .iter()
            .position(|entry| entry.is_live());
        let slot = found.map_or(entries(level), |found| (slot + found) as u64);
        (table.1 + slot * size(level)).max(ipa)
    }

    /// Returns the entries of the one table from an address on.
    pub(super) fn row(&self, level: i64, ipa: u64) -> Vec<Entry> {
        let (table, slot) = self.slot(level, ipa);
        self.tables[&table].1[slot..].to_vec()
    }

    /// Hangs a table under an entry.
    pub(super) fn unfold(&mut self, level: i64, ipa: u64, pa: u64) {
        let parent = self.get(level - 1, ipa);
        let parts = (0..entries(level)).map(|n| parent.part(n * size(level)));
        self.tables.insert((level, ipa), (pa, parts.collect()));
        self.set(level - 1, ipa, Entry::Table { pa });
    }

    /// Takes the table under an entry away and leaves `entry` there.
    pub(super) fn remove(&mut self, level: i64, ipa: u64, entry: Entry) {
        self.tables.remove(&(level, ipa));
        self.set(level - 1, ipa, entry);
    }

    /// Says whether a table holds pages or tables.
    pub(super) fn is_table_live(&self, level: i64, ipa: u64) -> bool {
        let holds = |entry: &Entry| matches!(entry, Entry::Assigned { .. } | Entry::Table { .. });
        self.tables[&(level, ipa)].1.iter().any(holds)
    }

    /// Says whether a starting table holds pages or tables.
    pub(super) fn is_root_live(&self) -> bool {
        let roots = self.tables.keys().filter(|(level, _)| *level == self.start);
        let mut roots = roots.copied();
        roots.any(|(level, base)| self.is_table_live(level, base))
    }

    /// Returns what a table folds into.
    pub(super) fn folded(&self, level: i64, ipa: u64) -> Option<Entry> {
        let entries = &self.tables[&(level, ipa)].1;
        let first = *entries.first()?;
        let is_aligned = match first {
            Entry::Table { .. } => return None,
            Entry::Unassigned { .. } | Entry::UnassignedNs => true,
            Entry::Assigned { pa, .. } => level >= 2 && pa.is_multiple_of(size(level - 1)),
            Entry::AssignedNs { desc } => {
                level >= 2 && desc_address(desc).is_multiple_of(size(level - 1))
            }
        };
        let is_row = entries
            .iter()
            .enumerate()
            .all(|(n, entry)| *entry == first.part(n as u64 * size(level)));
        (is_aligned && is_row).then_some(first)
    }
}

pub(super) fn desc_address(desc: u64) -> u64 {
    desc & 0x0003_FFFF_FFFF_F000 | (desc >> 8 & 3) << 50
}
