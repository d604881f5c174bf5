// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! How much of each 2 MiB of a Realm is mapped: when a range is complete it can be folded.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use rmi::Ipa;

use super::Geometry;
use crate::addr::{BLOCK_1G, BLOCK_2M, Gfn, PAGES_PER_2M};

/// The state of a naturally aligned 2 MiB range.
#[derive(Clone, Copy, Debug, Default)]
struct Block {
    /// Pages mapped, 0 to 512.
    mapped: u16,
    /// Whether one entry maps them all.
    folded: bool,
}

/// How protected memory is mapped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MappingSizes {
    /// Pages mapped one by one.
    pub pages: u64,
    /// 2 MiB ranges mapped by one entry.
    pub blocks_2m: u64,
    /// 1 GiB ranges mapped by one entry; their 2 MiB ranges are not counted again.
    pub blocks_1g: u64,
}

/// The 2 MiB ranges of one Realm that have something mapped, both halves.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    by_number: BTreeMap<u64, Block>,
    /// 1 GiB ranges mapped by one entry.
    giant: BTreeSet<u64>,
}

fn number(ipa: Ipa) -> u64 {
    ipa.raw() / BLOCK_2M
}

impl Blocks {
    /// Counts a page as mapped; says whether its range is now complete.
    pub(super) fn add(&mut self, ipa: Ipa) -> bool {
        let block = self.by_number.entry(number(ipa)).or_default();
        block.mapped += 1;
        u64::from(block.mapped) == PAGES_PER_2M
    }

    /// Counts a page as not mapped any more.
    pub(super) fn remove(&mut self, ipa: Ipa) {
        if let Some(block) = self.by_number.get_mut(&number(ipa)) {
            block.mapped = block.mapped.saturating_sub(1);
            block.folded = false;
            if block.mapped == 0 {
                self.by_number.remove(&number(ipa));
            }
        }
    }

    /// Forgets the mappings of the `size` bytes at `ipa`, which one entry mapped.
    pub(super) fn remove_block(&mut self, ipa: Ipa, size: u64) {
        let first = number(ipa);
        (first..first + size / BLOCK_2M).for_each(|number| _ = self.by_number.remove(&number));
        self.giant.remove(&(ipa.raw() / BLOCK_1G));
    }

    /// Whether the range around `ipa` is mapped by one entry.
    pub(super) fn is_folded(&self, ipa: Ipa) -> bool {
        self.by_number.get(&number(ipa)).is_some_and(|b| b.folded)
    }

    /// Records a fold of 2 MiB; says whether all of the 1 GiB around it is now folded.
    pub(super) fn fold(&mut self, ipa: Ipa) -> bool {
        if let Some(block) = self.by_number.get_mut(&number(ipa)) {
            block.folded = true;
        }
        let per_giant = BLOCK_1G / BLOCK_2M;
        let first = number(ipa) / per_giant * per_giant;
        let range = self.by_number.range(first..first + per_giant);
        u64::try_from(range.filter(|(_, block)| block.folded).count()) == Ok(per_giant)
    }

    /// Records a fold of 1 GiB.
    pub(super) fn fold_giant(&mut self, ipa: Ipa) {
        self.giant.insert(ipa.raw() / BLOCK_1G);
    }

    /// Records that the entry that mapped the 2 MiB around `ipa` has been replaced by a table.
    pub(super) fn unfold(&mut self, ipa: Ipa) -> bool {
        match self.by_number.get_mut(&number(ipa)) {
            Some(block) => core::mem::take(&mut block.folded),
            None => false,
        }
    }

    /// Records that the entry that mapped the 1 GiB around `ipa` has been replaced by a table.
    pub(super) fn unfold_giant(&mut self, ipa: Ipa) -> bool {
        self.giant.remove(&(ipa.raw() / BLOCK_1G))
    }

    /// Returns the starts of the protected 2 MiB ranges that have something mapped.
    pub(super) fn protected(&self, geometry: &Geometry) -> Vec<Ipa> {
        let end = geometry.shared_bit() / BLOCK_2M;
        let numbers = self.by_number.range(..end).map(|(number, _)| number);
        numbers.map(|number| Ipa::new(number * BLOCK_2M)).collect()
    }

    /// Returns the 2 MiB ranges of guest pages of which something is mapped in the unprotected half,
    /// each by its first page.
    pub(super) fn shared(&self, geometry: &Geometry) -> Vec<Gfn> {
        let start = geometry.shared_bit() / BLOCK_2M;
        let numbers = self.by_number.range(start..).map(|(number, _)| number);
        numbers
            .map(|number| geometry.gfn(Ipa::new(number * BLOCK_2M)))
            .collect()
    }

    /// Forgets everything: the Realm is going away.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Adds up the protected half.
    pub(super) fn sizes(&self, geometry: &Geometry) -> MappingSizes {
        let mut sizes = MappingSizes::default();
        let end = geometry.shared_bit() / BLOCK_2M;
        for (number, block) in self.by_number.range(..end) {
            if self.giant.contains(&(number * BLOCK_2M / BLOCK_1G)) {
                continue;
            }
            if block.folded {
                sizes.blocks_2m += 1;
            } else {
                sizes.pages += u64::from(block.mapped);
            }
        }
        let giant_end = geometry.shared_bit() / BLOCK_1G;
        let giant = self.giant.range(..giant_end).count();
        sizes.blocks_1g = u64::try_from(giant).unwrap_or(u64::MAX);
        sizes
    }
}
