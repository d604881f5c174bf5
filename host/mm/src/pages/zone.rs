// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Zones: one range of DRAM each, its frames and its buddy lists.

use alloc::vec::Vec;
use core::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};

use spin::Mutex;

use super::{Delegable, MAX_ORDER, PageFlags, PageUse, to_u64, to_usize};
use crate::addr::{BLOCK_2M, PAGE_SIZE, PAGES_PER_2M, Pfn, PhysRange};
use crate::bits::BitTree;

/// The state of one page.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) references: AtomicU32,
    pub(super) flags: AtomicU16,
    pub(super) used_for: AtomicU8,
    /// Object and page index inside it, packed by the owner; 0 when nobody is recorded.
    pub(super) owner: AtomicU64,
}

/// Free pages of one kind, by order. Blocks are counted from the zone's aligned base.
#[derive(Debug)]
pub(super) struct FreeLists {
    orders: [BitTree; MAX_ORDER + 1],
    pub(super) pages: u64,
}

impl FreeLists {
    pub(super) fn new(pages: usize) -> Self {
        Self {
            orders: core::array::from_fn(|order| BitTree::new(pages >> order)),
            pages: 0,
        }
    }

    /// Adds the block, merged with its free buddies.
    pub(super) fn insert(&mut self, index: usize, order: usize) {
        self.pages += 1 << order;
        let (mut index, mut order) = (index, order);
        while order < MAX_ORDER && self.orders[order].remove((index >> order) ^ 1) {
            index &= !(1 << order);
            order += 1;
        }
        self.orders[order].insert(index >> order);
    }

    /// Takes the free block that contains page `index`; returns its first page and order.
    pub(super) fn take_around(&mut self, index: usize) -> Option<(usize, usize)> {
        for (order, blocks) in self.orders.iter_mut().enumerate() {
            if blocks.remove(index >> order) {
                self.pages -= 1 << order;
                return Some((index >> order << order, order));
            }
        }
        None
    }

    /// Takes exactly the block of `order` at `index`, if all of it is free.
    pub(super) fn take_at(&mut self, index: usize, order: usize) -> bool {
        let Some((start, have)) = self.take_around(index) else {
            return false;
        };
        if have < order {
            self.insert(start, have);
            return false;
        }
        self.put_rest(start, have, index, order);
        true
    }

    /// Takes some block of `order`, splitting the smallest one that is large enough.
    pub(super) fn take(&mut self, order: usize) -> Option<usize> {
        let (have, block) =
            (order..=MAX_ORDER).find_map(|have| Some((have, self.orders[have].first()?)))?;
        let start = block << have;
        self.orders[have].remove(block);
        self.pages -= 1 << have;
        self.put_rest(start, have, start, order);
        Some(start)
    }

    /// Returns to the lists what remains of a block after a part of it was taken.
    pub(super) fn put_rest(&mut self, start: usize, have: usize, taken: usize, order: usize) {
        let (mut start, mut have) = (start, have);
        while have > order {
            have -= 1;
            let half = 1 << have;
            let other = if taken < start + half {
                start + half
            } else {
                core::mem::replace(&mut start, taken >> have << have)
            };
            self.pages += 1 << have;
            self.orders[have].insert(other >> have);
        }
    }
}

/// The two sets of free lists of a zone.
#[derive(Debug)]
pub(super) struct ZoneLists {
    pub(super) delegable: FreeLists,
    pub(super) other: FreeLists,
}

impl ZoneLists {
    pub(super) fn of(&mut self, flags: PageFlags) -> &mut FreeLists {
        if flags.contains(PageFlags::NOT_DELEGABLE) {
            &mut self.other
        } else {
            &mut self.delegable
        }
    }
}

/// One range of DRAM.
#[derive(Debug)]
pub(super) struct Zone {
    /// First page, rounded down to 2 MiB so that block indexes are naturally aligned.
    base: Pfn,
    /// First page that exists.
    pub(super) first: Pfn,
    pub(super) frames: Vec<Frame>,
    pub(super) lists: Mutex<ZoneLists>,
}

impl Zone {
    pub(super) fn new(range: PhysRange) -> Self {
        let first = Pfn::new(range.base.div_ceil(PAGE_SIZE));
        let end = Pfn::containing(range.end());
        let base = first.align_down(BLOCK_2M);
        let span = to_usize(end.raw().saturating_sub(base.raw()));
        let count = to_usize(end.raw().saturating_sub(first.raw()));
        let span = span.next_multiple_of(to_usize(PAGES_PER_2M));
        let mut lists = ZoneLists {
            delegable: FreeLists::new(span),
            other: FreeLists::new(span),
        };
        let offset = to_usize(first.raw() - base.raw());
        let mut index = offset;
        while index < offset + count {
            let order = largest_order(index, offset + count);
            lists.delegable.insert(index, order);
            index += 1 << order;
        }
        Self {
            base,
            first,
            frames: core::iter::repeat_with(Frame::free).take(count).collect(),
            lists: Mutex::new(lists),
        }
    }

    pub(super) fn frame(&self, pfn: Pfn) -> Option<&Frame> {
        let index = pfn.raw().checked_sub(self.first.raw())?;
        self.frames.get(usize::try_from(index).ok()?)
    }

    /// Marks a block of pages and moves those that are free to the lists of their kind.
    pub(super) fn move_block(&self, start: usize, order: usize, delegable: Delegable) {
        let mut lists = self.lists.lock();
        let ZoneLists {
            delegable: yes,
            other: no,
        } = &mut *lists;
        let (from, to) = match delegable {
            Delegable::Yes => (no, yes),
            Delegable::No => (yes, no),
        };
        if from.take_at(start, order) {
            to.insert(start, order);
        } else {
            for index in start..start + (1 << order) {
                if from.take_at(index, 0) {
                    to.insert(index, 0);
                }
            }
        }
        for frame in (start..start + (1 << order)).filter_map(|i| self.frame(self.pfn(i))) {
            match delegable {
                Delegable::Yes => clear_flag(frame, PageFlags::NOT_DELEGABLE),
                Delegable::No => set_flag(frame, PageFlags::NOT_DELEGABLE),
            };
        }
    }

    pub(super) fn index(&self, pfn: Pfn) -> usize {
        to_usize(pfn.raw() - self.base.raw())
    }

    pub(super) fn pfn(&self, index: usize) -> Pfn {
        self.base.offset(to_u64(index))
    }
}

impl Frame {
    pub(super) fn free() -> Self {
        Self {
            references: AtomicU32::new(0),
            flags: AtomicU16::new(0),
            used_for: AtomicU8::new(PageUse::Free as u8),
            owner: AtomicU64::new(0),
        }
    }

    pub(super) fn flags(&self) -> PageFlags {
        PageFlags::from_bits_truncate(self.flags.load(Ordering::Acquire))
    }

    pub(super) fn used_for(&self) -> PageUse {
        PageUse::of_index(self.used_for.load(Ordering::Relaxed))
    }
}

/// Returns the order of the largest naturally aligned block that starts at `index` and does not
/// reach past `limit`.
pub(super) fn largest_order(index: usize, limit: usize) -> usize {
    (0..=MAX_ORDER)
        .rev()
        .find(|order| index.is_multiple_of(1 << order) && index + (1 << order) <= limit)
        .unwrap_or(0)
}

pub(super) fn set_flag(frame: &Frame, flag: PageFlags) -> bool {
    frame.flags.fetch_or(flag.bits(), Ordering::AcqRel) & flag.bits() == 0
}

pub(super) fn clear_flag(frame: &Frame, flag: PageFlags) -> bool {
    frame.flags.fetch_and(!flag.bits(), Ordering::AcqRel) & flag.bits() != 0
}
