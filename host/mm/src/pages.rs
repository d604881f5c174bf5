// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The page allocator: every page of DRAM, who uses it and how often it is referenced.
//!
//! Memory is a list of *zones*, one per DRAM range. Free pages of a zone live in buddy lists by
//! order, from a page up to 2 MiB. Some DRAM cannot be given to the Realm world (EL3 refuses), so a
//! zone has two sets of lists: one of *delegable* pages, one of the others. A request that does not
//! care takes from the others first.
//!
//! Each page has a [`Frame`] of 16 bytes: a reference count, a use, flags and its owner (the
//! reverse link to the object whose page it is). A page with references belongs to whoever holds
//! them; the last reference returns it to the lists, unless it is poisoned, delegated or leaked:
//! such pages never come back.

mod zone;

use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use bitflags::bitflags;

use crate::addr::{PAGE_SIZE, Pfn, PhysRange};
use zone::{Frame, FreeLists, Zone, ZoneLists, clear_flag, largest_order, set_flag};

/// The largest order of a block: 2^9 pages, 2 MiB.
pub const MAX_ORDER: usize = 9;

/// What a page is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum PageUse {
    /// In the free lists.
    Free,
    /// Not the allocator's: firmware, the host's image, boot data.
    Reserved,
    /// The host's own data.
    Host,
    /// Memory of a guest that the host can read: a normal VM's, or what a Realm shares.
    Guest,
    /// A stage 2 table of a normal VM.
    Table,
    /// A page of a memcache that is no table yet.
    Spare,
    /// Data of a Realm.
    Data,
    /// A Realm descriptor.
    Rd,
    /// A Realm translation table.
    Rtt,
    /// A Realm execution context.
    Rec,
    /// Auxiliary storage of a REC.
    RecAux,
}

impl PageUse {
    /// Every use, in the order of the summary.
    pub const ALL: [Self; 11] = [
        Self::Free,
        Self::Reserved,
        Self::Host,
        Self::Guest,
        Self::Table,
        Self::Spare,
        Self::Data,
        Self::Rd,
        Self::Rtt,
        Self::Rec,
        Self::RecAux,
    ];

    /// Returns the short name used in summaries.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Reserved => "reserved",
            Self::Host => "host",
            Self::Guest => "guest",
            Self::Table => "table",
            Self::Spare => "spare",
            Self::Data => "data",
            Self::Rd => "rd",
            Self::Rtt => "rtt",
            Self::Rec => "rec",
            Self::RecAux => "rec_aux",
        }
    }

    const fn index(self) -> usize {
        self as usize
    }

    fn of_index(index: u8) -> Self {
        Self::ALL
            .into_iter()
            .find(|u| *u as u8 == index)
            .unwrap_or(Self::Reserved)
    }
}

bitflags! {
    /// Facts about one page.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct PageFlags: u16 {
        /// Given to the Realm world, or about to be: the host must not touch it.
        const DELEGATED = 1 << 0;
        /// Has an uncorrectable memory error.
        const POISONED = 1 << 1;
        /// EL3 or the RMM refuses to delegate it.
        const NOT_DELEGABLE = 1 << 2;
        /// Could not be taken back from the Realm world; never used again.
        const LEAKED = 1 << 3;
        /// A guest used it.
        const ACCESSED = 1 << 4;
        /// A guest may have written it since the flag was last cleared.
        const DIRTY = 1 << 5;
        /// Its allocation tags have been cleared.
        const TAGS_CLEARED = 1 << 6;
        /// Contents are left over from somebody else: to be wiped before anyone may read them.
        const STALE = 1 << 7;
        /// The host is touching the contents right now.
        const PINNED = 1 << 8;
    }
}

/// Where a request may be served from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Any page; pages that cannot be delegated are preferred.
    Any,
    /// Only pages that can be given to the Realm world.
    Delegable,
}

/// A number that remembers its maximum.
#[derive(Debug, Default)]
pub struct Gauge {
    now: AtomicU64,
    peak: AtomicU64,
}

impl Gauge {
    /// Returns the present value.
    pub fn now(&self) -> u64 {
        self.now.load(Ordering::Relaxed)
    }

    /// Returns the largest value seen.
    pub fn peak(&self) -> u64 {
        self.peak.load(Ordering::Relaxed)
    }

    fn add(&self, count: u64) {
        let now = self.now.fetch_add(count, Ordering::Relaxed) + count;
        self.peak.fetch_max(now, Ordering::Relaxed);
    }

    fn sub(&self, count: u64) {
        self.now.fetch_sub(count, Ordering::Relaxed);
    }
}

/// A copy of the allocator's counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PageStats {
    /// Pages in all zones.
    pub total: u64,
    /// Free pages that can be delegated.
    pub free_delegable: u64,
    /// Free pages that cannot.
    pub free_other: u64,
    /// Pages that are delegated now.
    pub delegated: u64,
    /// The most pages that were delegated at one time.
    pub delegated_peak: u64,
    /// Pages lost because the Realm world did not give them back.
    pub leaked: u64,
    /// Pages with memory errors.
    pub poisoned: u64,
}

/// All of the machine's DRAM that the host may use.
#[derive(Debug)]
pub struct PageAllocator {
    zones: Vec<Zone>,
    uses: [Gauge; PageUse::ALL.len()],
    delegated: Gauge,
    leaked: Gauge,
    poisoned: Gauge,
}

impl PageAllocator {
    /// Returns an allocator over `ranges`, all of it free and believed delegable.
    ///
    /// Ranges must not overlap. Partial pages at their ends are left out. The metadata takes about
    /// 16.5 bytes a page from the global heap.
    pub fn new(ranges: &[PhysRange]) -> Self {
        let mut zones: Vec<Zone> = ranges.iter().map(|range| Zone::new(*range)).collect();
        zones.sort_by_key(|zone| zone.first);
        let allocator = Self {
            zones,
            uses: Default::default(),
            delegated: Gauge::default(),
            leaked: Gauge::default(),
            poisoned: Gauge::default(),
        };
        let total = allocator.total_pages();
        allocator.uses[PageUse::Free.index()].add(total);
        allocator
    }

    /// Returns the number of pages of all zones.
    pub fn total_pages(&self) -> u64 {
        self.zones
            .iter()
            .map(|zone| to_u64(zone.frames.len()))
            .sum()
    }

    fn zone(&self, pfn: Pfn) -> Option<&Zone> {
        let after = self.zones.partition_point(|zone| zone.first <= pfn);
        let zone = self.zones.get(after.checked_sub(1)?)?;
        zone.frame(pfn).map(|_| zone)
    }

    fn frame(&self, pfn: Pfn) -> Option<&Frame> {
        self.zone(pfn)?.frame(pfn)
    }

    /// Whether `pfn` is one of the allocator's pages.
    pub fn has(&self, pfn: Pfn) -> bool {
        self.frame(pfn).is_some()
    }

    /// Calls `each` for naturally aligned blocks (zone, first page index, order) that make up the
    /// part of `range` that the allocator has.
    fn for_each_block(&self, range: PhysRange, mut each: impl FnMut(&Zone, usize, usize)) {
        let first = Pfn::containing(range.base).raw();
        let end = range.end().div_ceil(PAGE_SIZE);
        for zone in &self.zones {
            let zone_end = zone.first.raw() + to_u64(zone.frames.len());
            let mut pfn = first.max(zone.first.raw());
            while pfn < end.min(zone_end) {
                let index = zone.index(Pfn::new(pfn));
                let limit = zone.index(Pfn::new(end.min(zone_end)));
                let order = largest_order(index, limit);
                each(zone, index, order);
                pfn += 1 << order;
            }
        }
    }

    /// Takes `range` (firmware, images, boot data) out of use. Pages in use already stay so.
    pub fn reserve(&self, range: PhysRange) {
        self.for_each_block(range, |zone, start, order| {
            for index in start..start + (1 << order) {
                let Some(frame) = zone.frame(zone.pfn(index)) else {
                    continue;
                };
                if zone.lists.lock().of(frame.flags()).take_at(index, 0) {
                    frame.references.store(1, Ordering::Relaxed);
                    self.change_use(frame, PageUse::Reserved);
                }
            }
        });
    }

    /// Records whether pages of `range` can be given to the Realm world.
    ///
    /// Meant for start-up, after probing; pages in use keep their place until they are freed.
    pub fn set_delegable(&self, range: PhysRange, delegable: Delegable) {
        self.for_each_block(range, |zone, start, order| {
            zone.move_block(start, order, delegable);
        });
    }

    /// Allocates one page with one reference. Its contents are whatever they were.
    pub fn allocate(&self, used_for: PageUse, wish: Wish) -> Option<Pfn> {
        self.allocate_block(0, used_for, wish)
    }

    /// Allocates 2^`order` naturally aligned contiguous pages, each with one reference of its own:
    /// they are freed page by page.
    pub fn allocate_block(&self, order: usize, used_for: PageUse, wish: Wish) -> Option<Pfn> {
        let other = (wish == Wish::Any)
            .then(|| self.take(order, |lists| &mut lists.other))
            .flatten();
        let pfn = other.or_else(|| self.take(order, |lists| &mut lists.delegable))?;
        self.hand_out(pfn, order, used_for);
        Some(pfn)
    }

    /// Allocates the block of 2^`order` pages that starts at `pfn`, if all of it is free: how a
    /// backing grows contiguously.
    pub fn allocate_at(&self, pfn: Pfn, order: usize, used_for: PageUse, wish: Wish) -> bool {
        let Some((zone, frame)) = self.zone(pfn).and_then(|z| Some((z, z.frame(pfn)?))) else {
            return false;
        };
        if wish == Wish::Delegable && frame.flags().contains(PageFlags::NOT_DELEGABLE) {
            return false;
        }
        let index = zone.index(pfn);
        let aligned = index.is_multiple_of(1 << order);
        if !aligned || !zone.lists.lock().of(frame.flags()).take_at(index, order) {
            return false;
        }
        self.hand_out(pfn, order, used_for);
        true
    }

    fn take(&self, order: usize, of: fn(&mut ZoneLists) -> &mut FreeLists) -> Option<Pfn> {
        self.zones.iter().find_map(|zone| {
            let index = of(&mut zone.lists.lock()).take(order)?;
            Some(zone.pfn(index))
        })
    }

    fn hand_out(&self, first: Pfn, order: usize, used_for: PageUse) {
        for pfn in (0..1 << order).map(|i| first.offset(i)) {
            if let Some(frame) = self.frame(pfn) {
                self.change_use(frame, used_for);
                frame.references.store(1, Ordering::Release);
            }
        }
    }

    fn change_use(&self, frame: &Frame, used_for: PageUse) {
        let old = frame.used_for.swap(used_for as u8, Ordering::Relaxed);
        self.uses[PageUse::of_index(old).index()].sub(1);
        self.uses[used_for.index()].add(1);
    }

    /// Takes one more reference on a page that already has one. Pages that are not the
    /// allocator's (devices, reserved carve-outs) are not counted.
    pub fn get(&self, pfn: Pfn) {
        if let Some(frame) = self.frame(pfn) {
            frame.references.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Drops a reference; the last one frees the page.
    pub fn put(&self, pfn: Pfn) {
        let Some((zone, frame)) = self.zone(pfn).and_then(|z| Some((z, z.frame(pfn)?))) else {
            return;
        };
        let before = frame.references.fetch_sub(1, Ordering::AcqRel);
        assert!(
            before > 0,
            "page {pfn:?} was put more often than it was taken"
        );
        if before > 1 {
            return;
        }
        // Under the lock, so that a memory error is seen here or finds the page in the lists.
        let mut lists = zone.lists.lock();
        let flags = frame.flags();
        if flags.contains(PageFlags::DELEGATED) {
            self.leak(pfn);
        }
        if flags.intersects(PageFlags::DELEGATED | PageFlags::LEAKED | PageFlags::POISONED) {
            self.change_use(frame, PageUse::Reserved);
            return;
        }
        self.change_use(frame, PageUse::Free);
        frame.owner.store(0, Ordering::Relaxed);
        let kept = PageFlags::NOT_DELEGABLE;
        frame.flags.fetch_and(kept.bits(), Ordering::Relaxed);
        lists.of(flags).insert(zone.index(pfn), 0);
    }

    /// Returns how many references a page has; 0 for a free page or a foreign one.
    pub fn references(&self, pfn: Pfn) -> u32 {
        self.frame(pfn)
            .map_or(0, |frame| frame.references.load(Ordering::Acquire))
    }

    /// Returns the flags of a page; none for a foreign one.
    pub fn flags(&self, pfn: Pfn) -> PageFlags {
        self.frame(pfn).map_or(PageFlags::empty(), Frame::flags)
    }

    /// Sets `flag`; says whether this call is the one that set it.
    pub fn mark(&self, pfn: Pfn, flag: PageFlags) -> bool {
        self.frame(pfn).is_some_and(|frame| set_flag(frame, flag))
    }

    /// Clears `flag`; says whether this call is the one that cleared it.
    pub fn unmark(&self, pfn: Pfn, flag: PageFlags) -> bool {
        self.frame(pfn).is_some_and(|frame| clear_flag(frame, flag))
    }

    /// Returns what a page is used for.
    pub fn used_for(&self, pfn: Pfn) -> PageUse {
        self.frame(pfn).map_or(PageUse::Reserved, Frame::used_for)
    }

    /// Changes what a page with references is used for.
    pub fn set_use(&self, pfn: Pfn, used_for: PageUse) {
        if let Some(frame) = self.frame(pfn) {
            self.change_use(frame, used_for);
        }
    }

    /// Returns the reverse link of a page, 0 when there is none.
    pub fn owner(&self, pfn: Pfn) -> u64 {
        self.frame(pfn)
            .map_or(0, |frame| frame.owner.load(Ordering::Relaxed))
    }

    /// Records the reverse link of a page.
    pub fn set_owner(&self, pfn: Pfn, owner: u64) {
        if let Some(frame) = self.frame(pfn) {
            frame.owner.store(owner, Ordering::Relaxed);
        }
    }

    /// Claims a page for the Realm world; false when somebody else already has.
    ///
    /// The claim comes before the call to the RMM, so that of two faults on one page only one
    /// makes it. A pinned page cannot be claimed.
    pub fn begin_delegate(&self, pfn: Pfn) -> bool {
        let busy = PageFlags::DELEGATED | PageFlags::PINNED;
        let first = self.mark_unless(pfn, PageFlags::DELEGATED, busy);
        if first {
            self.delegated.add(1);
        }
        first
    }

    /// Keeps a page from being delegated while the host touches its contents; nothing when it is
    /// delegated or foreign. Waits for another pin to end.
    pub fn pin(&self, pfn: Pfn) -> Option<Pin<'_>> {
        let busy = PageFlags::DELEGATED | PageFlags::PINNED;
        self.frame(pfn)?;
        while !self.mark_unless(pfn, PageFlags::PINNED, busy) {
            if self.flags(pfn).contains(PageFlags::DELEGATED) {
                return None;
            }
            core::hint::spin_loop();
        }
        Some(Pin { pages: self, pfn })
    }

    /// Sets `flag` unless one of `busy` is set; says whether it did.
    fn mark_unless(&self, pfn: Pfn, flag: PageFlags, busy: PageFlags) -> bool {
        self.frame(pfn).is_some_and(|frame| {
            let update = |flags: u16| (flags & busy.bits() == 0).then_some(flags | flag.bits());
            frame
                .flags
                .fetch_update(Ordering::AcqRel, Ordering::Acquire, update)
                .is_ok()
        })
    }

    /// Records that a page is the host's again.
    pub fn end_delegate(&self, pfn: Pfn) {
        if self.unmark(pfn, PageFlags::DELEGATED) {
            self.delegated.sub(1);
        }
    }

    /// Gives a page up: it could not be taken back from the Realm world. It stays counted as
    /// delegated and is never used again.
    pub fn leak(&self, pfn: Pfn) {
        if self.mark(pfn, PageFlags::LEAKED) {
            self.leaked.add(1);
        }
    }

    /// Records a memory error. A free page leaves the lists at once, one in use when it is freed.
    pub fn poison(&self, pfn: Pfn) {
        let Some((zone, frame)) = self.zone(pfn).and_then(|z| Some((z, z.frame(pfn)?))) else {
            return;
        };
        let mut lists = zone.lists.lock();
        if !set_flag(frame, PageFlags::POISONED) {
            return;
        }
        self.poisoned.add(1);
        if lists.of(frame.flags()).take_at(zone.index(pfn), 0) {
            self.change_use(frame, PageUse::Reserved);
        }
    }

    /// Returns the count of pages with `used_for` now and at its peak.
    pub fn usage(&self, used_for: PageUse) -> &Gauge {
        &self.uses[used_for.index()]
    }

    /// Returns a copy of the counters.
    pub fn stats(&self) -> PageStats {
        let mut stats = PageStats {
            total: self.total_pages(),
            delegated: self.delegated.now(),
            delegated_peak: self.delegated.peak(),
            leaked: self.leaked.now(),
            poisoned: self.poisoned.now(),
            ..PageStats::default()
        };
        for zone in &self.zones {
            let lists = zone.lists.lock();
            stats.free_delegable += lists.delegable.pages;
            stats.free_other += lists.other.pages;
        }
        stats
    }

    /// Takes a reference that ends with the returned guard.
    pub fn hold(&self, pfn: Pfn) -> PageHold<'_> {
        self.get(pfn);
        PageHold { pages: self, pfn }
    }

    /// Turns a reference the caller already has into a guard.
    pub fn adopt(&self, pfn: Pfn) -> PageHold<'_> {
        PageHold { pages: self, pfn }
    }
}

/// Whether the Realm world accepts a range of pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delegable {
    /// It does.
    Yes,
    /// It refuses.
    No,
}

/// A reference on a page. Dropping the guard drops the reference.
#[derive(Debug)]
pub struct PageHold<'a> {
    pages: &'a PageAllocator,
    pfn: Pfn,
}

impl PageHold<'_> {
    /// Returns the page.
    pub fn pfn(&self) -> Pfn {
        self.pfn
    }

    /// Keeps the reference without the guard: the caller stores the page somewhere.
    pub fn into_pfn(self) -> Pfn {
        let pfn = self.pfn;
        core::mem::forget(self);
        pfn
    }
}

impl Drop for PageHold<'_> {
    fn drop(&mut self) {
        self.pages.put(self.pfn);
    }
}

/// The right to touch the contents of a page. Dropping it lets the page be delegated again.
#[derive(Debug)]
pub struct Pin<'a> {
    pages: &'a PageAllocator,
    pfn: Pfn,
}

impl Drop for Pin<'_> {
    fn drop(&mut self) {
        self.pages.unmark(self.pfn, PageFlags::PINNED);
    }
}

/// Widens a length; no supported machine has a `usize` of more than 64 bits.
pub(crate) fn to_u64(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

/// Narrows a count of things that are in memory, which therefore fits.
pub(crate) fn to_usize(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
