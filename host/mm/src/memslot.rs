// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Memslots: which guest pages are backed by which host addresses.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use spin::Once;

use crate::addr::{Gfn, Hva, PAGE_SHIFT, PAGE_SIZE};
use crate::pages::{to_u64, to_usize};

/// Whether a guest may write a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotAccess {
    /// Reads and writes.
    ReadWrite,
    /// Reads only; a write is not memory but a device access.
    ReadOnly,
}

/// A range of guest pages mapped to a contiguous range of host addresses.
#[derive(Debug)]
pub struct MemSlot {
    base: Gfn,
    pages: u64,
    hva: Hva,
    access: SlotAccess,
    logging: AtomicBool,
    /// One bit a page; exists once the slot has logged.
    dirty: Once<Vec<AtomicU64>>,
}

impl MemSlot {
    /// Returns a slot of `pages` pages from `base`, backed from `hva` on.
    pub fn new(base: Gfn, pages: u64, hva: Hva, access: SlotAccess) -> Self {
        Self {
            base,
            pages,
            hva,
            access,
            logging: AtomicBool::new(false),
            dirty: Once::new(),
        }
    }

    /// Returns the first guest page.
    pub fn base(&self) -> Gfn {
        self.base
    }

    /// Returns the number of pages.
    pub fn pages(&self) -> u64 {
        self.pages
    }

    /// Iterates over the guest pages in ascending order.
    pub fn gfns(&self) -> impl Iterator<Item = Gfn> {
        let base = self.base;
        (0..self.pages).map(move |page| base.offset(page))
    }

    /// Returns the first host address.
    pub fn hva(&self) -> Hva {
        self.hva
    }

    /// Returns what the guest may do.
    pub fn access(&self) -> SlotAccess {
        self.access
    }

    /// Whether `gfn` is one of the slot's pages.
    pub fn contains(&self, gfn: Gfn) -> bool {
        gfn >= self.base && gfn.raw() - self.base.raw() < self.pages
    }

    /// Returns the host address behind `gfn`, which is one of the slot's pages.
    pub fn hva_of(&self, gfn: Gfn) -> Hva {
        self.hva.offset((gfn.raw() - self.base.raw()) << PAGE_SHIFT)
    }

    /// Returns the guest page behind host address `hva`, if the slot has one.
    pub fn gfn_of(&self, hva: Hva) -> Option<Gfn> {
        let page = hva.raw().checked_sub(self.hva.raw())? >> PAGE_SHIFT;
        (page < self.pages).then(|| self.base.offset(page))
    }

    /// Whether a block of `size` bytes around `gfn` can be one mapping: host address and guest
    /// address are congruent and the whole block lies inside the slot (rule F8).
    pub fn can_carry(&self, gfn: Gfn, size: u64) -> bool {
        let ipa = gfn.raw() << PAGE_SHIFT;
        let congruent = (ipa ^ self.hva_of(gfn).raw()) & (size - 1) == 0;
        let block = ipa & !(size - 1);
        let start = self.base.raw() << PAGE_SHIFT;
        let end = start + self.pages * PAGE_SIZE;
        congruent && block >= start && block.checked_add(size).is_some_and(|top| top <= end)
    }

    /// Starts logging which pages the guest writes. The caller write-protects the slot's mappings.
    pub fn start_logging(&self) {
        let words = to_usize(self.pages.div_ceil(64));
        self.dirty.call_once(|| {
            core::iter::repeat_with(|| AtomicU64::new(0))
                .take(words)
                .collect()
        });
        self.logging.store(true, Ordering::Release);
    }

    /// Stops logging; bits that are set stay until they are taken.
    pub fn stop_logging(&self) {
        self.logging.store(false, Ordering::Release);
    }

    /// Whether the slot logs dirty pages.
    pub fn is_logging(&self) -> bool {
        self.logging.load(Ordering::Acquire)
    }

    /// Sets the dirty bit of `gfn` if the slot logs; says whether it was clear before.
    pub fn log_dirty(&self, gfn: Gfn) -> bool {
        if !self.is_logging() || !self.contains(gfn) {
            return false;
        }
        let page = gfn.raw() - self.base.raw();
        self.dirty.get().is_some_and(|words| {
            let bit = 1 << (page % 64);
            words[to_usize(page / 64)].fetch_or(bit, Ordering::AcqRel) & bit == 0
        })
    }

    /// Returns the dirty pages and clears their bits.
    pub fn take_dirty(&self) -> Vec<Gfn> {
        let words = self.dirty.get().map_or(&[][..], Vec::as_slice);
        let mut pages = Vec::new();
        for (index, word) in words.iter().enumerate() {
            let mut bits = word.swap(0, Ordering::AcqRel);
            while bits != 0 {
                let page = to_u64(index) * 64 + u64::from(bits.trailing_zeros());
                pages.push(self.base.offset(page));
                bits &= bits - 1;
            }
        }
        pages
    }
}

/// The slot overlaps one that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overlap;

/// The slots of one VM, sorted by guest page.
#[derive(Debug, Default)]
pub struct MemSlots {
    slots: Vec<Arc<MemSlot>>,
}

impl MemSlots {
    /// Adds `slot`.
    ///
    /// # Errors
    ///
    /// [`Overlap`] when one of its pages already belongs to a slot.
    pub fn insert(&mut self, slot: MemSlot) -> Result<Arc<MemSlot>, Overlap> {
        let at = self.slots.partition_point(|other| other.base < slot.base);
        let end = slot.base.raw() + slot.pages;
        let before = at.checked_sub(1).and_then(|i| self.slots.get(i));
        if before.is_some_and(|other| other.contains(slot.base))
            || self
                .slots
                .get(at)
                .is_some_and(|other| other.base.raw() < end)
        {
            return Err(Overlap);
        }
        let slot = Arc::new(slot);
        self.slots.insert(at, slot.clone());
        Ok(slot)
    }

    /// Removes and returns the slot that starts at `base`.
    pub fn remove(&mut self, base: Gfn) -> Option<Arc<MemSlot>> {
        let at = self.slots.iter().position(|slot| slot.base == base)?;
        Some(self.slots.remove(at))
    }

    /// Returns the slot that contains `gfn`.
    pub fn find(&self, gfn: Gfn) -> Option<&Arc<MemSlot>> {
        let after = self.slots.partition_point(|slot| slot.base <= gfn);
        let slot = self.slots.get(after.checked_sub(1)?)?;
        slot.contains(gfn).then_some(slot)
    }

    /// Iterates over the slots in the order of their guest pages.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<MemSlot>> {
        self.slots.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addr::{BLOCK_1G, BLOCK_2M};
    use std::vec;

    fn slot(base: u64, pages: u64, hva: u64) -> MemSlot {
        MemSlot::new(Gfn::new(base), pages, Hva::new(hva), SlotAccess::ReadWrite)
    }

    #[test]
    fn slots_are_found_exactly_and_never_overlap() {
        let mut slots = MemSlots::default();
        slots.insert(slot(0x100, 0x10, 0x1000_0000)).unwrap();
        slots.insert(slot(0x120, 0x10, 0x2000_0000)).unwrap();
        assert_eq!(slots.insert(slot(0x10F, 2, 0)).unwrap_err(), Overlap);
        assert_eq!(slots.insert(slot(0x11F, 2, 0)).unwrap_err(), Overlap);
        slots.insert(slot(0x110, 0x10, 0x3000_0000)).unwrap();
        assert!(slots.find(Gfn::new(0xFF)).is_none());
        assert!(slots.find(Gfn::new(0x130)).is_none());
        let found = slots.find(Gfn::new(0x12F)).unwrap();
        assert_eq!(found.hva_of(Gfn::new(0x12F)).raw(), 0x2000_F000);
        assert_eq!(found.gfn_of(Hva::new(0x2000_F123)), Some(Gfn::new(0x12F)));
        assert!(slots.remove(Gfn::new(0x110)).is_some());
        assert!(slots.find(Gfn::new(0x110)).is_none());
    }

    #[test]
    fn f8_a_block_is_carried_when_congruent_and_inside_the_slot() {
        // Three and a half 2 MiB blocks from half a block on.
        let slot = slot(0x8_0100, 0x700, 0x1010_0000);
        for (gfn, carried) in [
            (0x8_0100, false),
            (0x8_01FF, false),
            (0x8_0200, true),
            (0x8_07FF, true),
        ] {
            assert_eq!(slot.can_carry(Gfn::new(gfn), BLOCK_2M), carried, "{gfn:#x}");
        }
        assert!(!slot.can_carry(Gfn::new(0x8_0200), BLOCK_1G));
        let crooked = self::slot(0x8_0000, 0x400, 0x1000_1000);
        assert!(!crooked.can_carry(Gfn::new(0x8_0000), BLOCK_2M));
    }

    #[test]
    fn f26_exactly_the_bit_of_the_page_is_logged() {
        let slot = slot(0x1000, 200, 0);
        assert!(!slot.log_dirty(Gfn::new(0x1000)), "nothing without logging");
        slot.start_logging();
        assert!(slot.log_dirty(Gfn::new(0x1000 + 40)));
        assert_eq!(slot.take_dirty(), vec![Gfn::new(0x1000 + 40)]);
        assert!(slot.log_dirty(Gfn::new(0x1000 + 64)));
        assert!(!slot.log_dirty(Gfn::new(0x1000 + 64)), "already dirty");
        assert!(slot.log_dirty(Gfn::new(0x1000 + 199)));
        assert!(!slot.log_dirty(Gfn::new(0x1000 + 200)), "outside");
        assert_eq!(
            slot.take_dirty(),
            vec![Gfn::new(0x1000 + 64), Gfn::new(0x1000 + 199)]
        );
        assert!(slot.take_dirty().is_empty());
    }
}
