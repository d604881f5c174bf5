// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Taking things away from a running guest: writes (dirty logging), pages (invalidation, rules I1
//! and I2), and what is behind them (reclaim, migration).

use alloc::vec::Vec;
use core::ops::Range;

use rmi::Ipa;

use super::{Guest, Vm};
use crate::addr::{Gfn, Hva, PAGE_SHIFT, Pfn};
use crate::backing::Object;
use crate::host::Host;
use crate::invalidate::Invalidation;
use crate::machine::Machine;
use crate::memcache::MemCache;
use crate::memslot::MemSlot;
use crate::pages::{PageAllocator, PageFlags, Wish, to_u64};
use crate::realm::Realm;

/// How much of a Realm's memory an invalidation takes away. For a normal VM both mean all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// What the Realm shares, and its data: the Realm loses it.
    All,
    /// Only what the Realm shares with the host.
    Shared,
}

impl<M: Machine> Vm<'_, M> {
    /// Starts logging which pages of `slot` the guest writes: everything is mapped page by page
    /// and read-only from now on, until it is written.
    pub fn start_logging(&self, slot: &MemSlot) {
        slot.start_logging();
        if let Guest::Normal(stage2) = &self.guest {
            let _alone = self.mmu.write();
            stage2.write_protect(ipa_range(slot.base(), slot.pages()));
        }
    }

    /// Returns the pages of `slot` written since the last call, write-protected again.
    pub fn take_dirty(&self, slot: &MemSlot) -> Vec<Gfn> {
        let _alone = self.mmu.write();
        let dirty = slot.take_dirty();
        if let Guest::Normal(stage2) = &self.guest
            && slot.is_logging()
        {
            let runs = dirty.chunk_by(|a, b| a.offset(1) == *b);
            stage2.write_protect_all(runs.map(|run| ipa_range(run[0], to_u64(run.len()))));
        }
        dirty
    }

    /// Stops logging and makes blocks again of what has stayed contiguous.
    pub fn stop_logging(&self, slot: &MemSlot) {
        slot.stop_logging();
        if let Guest::Normal(stage2) = &self.guest {
            let _alone = self.mmu.write();
            stage2.collapse(ipa_range(slot.base(), slot.pages()));
        }
    }

    /// Starts taking `pages` guest pages from `first` on away from the guest (rules I1 and I2):
    /// unmaps them and keeps faults from mapping what they find until the returned guard is
    /// dropped. With [`Reach::All`] a Realm loses the data of its protected pages.
    pub fn invalidate(&self, first: Gfn, pages: u64, reach: Reach) -> Invalidation<'_> {
        let (guard, ()) = self.mmu.begin(|| self.unmap(first, pages, reach));
        guard
    }

    fn unmap(&self, first: Gfn, pages: u64, reach: Reach) {
        let range = ipa_range(first, pages);
        match &self.guest {
            Guest::Normal(stage2) => {
                stage2.unmap(range);
            }
            Guest::Realm(realm) => unmap_realm(realm, &range, reach),
        }
    }

    /// Takes `pages` guest pages from `first` on away and gives the host pages behind them back;
    /// the guest finds zeros there, or what the backing fills them with. Returns how many host
    /// pages that were. Pages that belong to the Realm stay with [`Reach::Shared`].
    pub fn reclaim(&self, first: Gfn, pages: u64, reach: Reach) -> u64 {
        self.for_each_backed(first, pages, reach, |object, index, host| {
            object.discard(index, host).is_some()
        })
    }

    /// Moves the host pages behind `pages` guest pages from `first` on elsewhere, contents and
    /// all, while the guest runs; returns how many were moved. A Realm's protected pages stay.
    pub fn migrate(&self, first: Gfn, pages: u64) -> u64 {
        self.for_each_backed(first, pages, Reach::Shared, |object, index, host| {
            object.migrate(index, host, self.host.machine())
        })
    }

    /// Unmaps guest pages and, before faults may map again, calls `each` with the backing of those
    /// that the host may touch; returns how often it said yes.
    fn for_each_backed(
        &self,
        first: Gfn,
        pages: u64,
        reach: Reach,
        each: impl Fn(&Object, u64, &PageAllocator) -> bool,
    ) -> u64 {
        let guard = self.invalidate(first, pages, reach);
        let mut count = 0;
        for gfn in (0..pages).map(|page| first.offset(page)) {
            if let Some((area, index, pfn)) = self.backed(gfn)
                && area.may_lose_pages()
                && !self.host.pages().flags(pfn).contains(PageFlags::DELEGATED)
                && each(&area.object, index, self.host.pages())
            {
                count += 1;
            }
        }
        drop(guard);
        count
    }

    /// Returns the guest pages at which host address `hva` is visible.
    pub fn gfns_of(&self, hva: Hva) -> Vec<Gfn> {
        let slots = self.slots.read();
        slots.iter().filter_map(|slot| slot.gfn_of(hva)).collect()
    }

    /// Frees tables that faults have detached, when nobody holds the MMU lock; else the next
    /// exclusive walk does.
    pub(crate) fn free_detached(&self) {
        if let Guest::Normal(stage2) = &self.guest
            && stage2.has_detached()
            && let Some(_alone) = self.mmu.try_write()
        {
            stage2.free_detached();
        }
    }
}

/// Takes page `pfn` away from everybody among `vms` who maps it, whatever the address space, and
/// out of its object: the way of a page that is shared, or has gone bad. Returns how many guest
/// pages it was visible at, or nothing when no object has it or a Realm keeps it.
pub fn take_away<M: Machine>(vms: &[&Vm<'_, M>], host: &Host<M>, pfn: Pfn) -> Option<usize> {
    let (object, index) = host.owner_of(pfn)?;
    let mut guards = Vec::new();
    for (space, hva) in host.users_of(pfn) {
        for vm in vms.iter().filter(|vm| vm.space.id() == space) {
            for gfn in vm.gfns_of(hva) {
                guards.push(vm.invalidate(gfn, 1, Reach::All));
            }
        }
    }
    if host.pages().flags(pfn).contains(PageFlags::DELEGATED) {
        return None;
    }
    object.discard(index, host.pages())?;
    Some(guards.len())
}

/// The IPAs of `pages` guest pages from `first` on.
fn ipa_range(first: Gfn, pages: u64) -> Range<u64> {
    let start = first.raw() << PAGE_SHIFT;
    start..start + (pages << PAGE_SHIFT)
}

/// Unmaps a range of a Realm: its shared half, and with [`Reach::All`] its data too (rule I2).
fn unmap_realm<M: Machine>(realm: &Realm<'_, M>, range: &Range<u64>, reach: Reach) {
    let mut cache = MemCache::new(realm.host().pages(), Wish::Delegable);
    let (base, top) = (Ipa::new(range.start), Ipa::new(range.end));
    let alias = |ipa| realm.geometry().shared_alias(ipa);
    if let Err(error) = realm.unmap_unprotected(alias(base), alias(top), &mut cache) {
        log::error!("invalidation of shared memory is incomplete: {error:?}");
    }
    if reach == Reach::Shared {
        return;
    }
    match realm.destroy_data(base, top, &mut cache) {
        Ok(0) => (),
        Ok(lost) => log::warn!("the Realm has lost {lost} pages of data"),
        Err(error) => log::error!("invalidation of data is incomplete: {error:?}"),
    }
}
