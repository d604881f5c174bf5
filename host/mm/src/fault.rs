// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The stage 2 fault handler: rules F1 to F28, in their order.

mod report;

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use rmi::Ipa;

use crate::addr::{BLOCK_1G, BLOCK_2M, Gfn, Granularity, Hva, PAGE_SHIFT, PAGE_SIZE, Pfn};
use crate::area::{Area, Protection};
use crate::backing::{Fill, NoPage};
use crate::machine::Machine;
use crate::memslot::{MemSlot, SlotAccess};
use crate::pages::{PageFlags, PageHold};
use crate::perms::Permissions;
use crate::realm::RealmError;
use crate::stage2::map::level_of;
use crate::stage2::walk::WalkError;
use crate::vm::{Guest, VcpuMemory, Vm};

pub use report::{Fault, FaultClass, FaultCounters, FaultError};

/// What the guest did, after rule F1.
#[derive(Clone, Copy, Debug)]
struct Access {
    write: bool,
    fetch: bool,
}

/// What is to be mapped.
#[derive(Clone, Copy, Debug)]
struct Extent {
    ipa: Ipa,
    gfn: Gfn,
    hva: Hva,
    granularity: Granularity,
    /// A page and nothing larger.
    forced: bool,
}

/// Handles one fault. `Ok` means: enter the guest again, it will retry or succeed.
pub(crate) fn handle<M: Machine>(
    vm: &Vm<'_, M>,
    vcpu: &mut VcpuMemory<'_>,
    fault: &Fault,
) -> Result<(), FaultError> {
    let counters = vm.counters();
    counters.faults.bump();
    match fault.class {
        FaultClass::Translation => counters.translation.bump(),
        FaultClass::AccessFlag => counters.access_flag.bump(),
        FaultClass::Permission => counters.permission.bump(),
    }
    let result = resolve(vm, vcpu, fault);
    match result {
        Err(FaultError::NotMemory) | Ok(()) => (),
        Err(_) => counters.failed.bump(),
    }
    result
}

fn resolve<M: Machine>(
    vm: &Vm<'_, M>,
    vcpu: &mut VcpuMemory<'_>,
    fault: &Fault,
) -> Result<(), FaultError> {
    let gfn = vm.gfn(fault.ipa);
    let slot = vm.slot(gfn).ok_or(FaultError::NotMemory)?;
    if fault.write && slot.access() == SlotAccess::ReadOnly {
        return Err(FaultError::NotMemory);
    }
    if fault.class == FaultClass::AccessFlag {
        return mark_young(vm, fault);
    }
    let hva = slot.hva_of(gfn);

    let access = classify(vm, fault)?; // F1 to F3
    let area = find_area(vm, hva)?; // F4
    let logging = slot.is_logging();
    let extent = choose_extent(vm, fault, &slot, &area, logging); // F5 to F10
    if fault.class != FaultClass::Permission || logging && access.write {
        fill_cache(vm, vcpu)?; // F11
    }
    let sequence = vm.mmu().read_sequence(); // F12
    let context = Context {
        vm,
        fault,
        slot: &slot,
        area: &area,
        access,
        logging,
    };
    match context.get_page(extent)? {
        Some(lookup) => context.map_page(vcpu, &lookup, sequence), // F16 to F28
        None => Ok(()),                                            // F14
    }
}

/// An access flag fault: the mapping is there and only has to be marked used.
fn mark_young<M: Machine>(vm: &Vm<'_, M>, fault: &Fault) -> Result<(), FaultError> {
    if let Guest::Normal(stage2) = vm.guest() {
        let _lock = vm.mmu().read();
        // A mapping that is gone faults again.
        if stage2.mark_young(fault.ipa).is_err() {
            vm.counters().retried.bump();
        }
    }
    Ok(())
}

/// F1 to F3: what kind of access it was, and whether it makes sense.
fn classify<M: Machine>(vm: &Vm<'_, M>, fault: &Fault) -> Result<Access, FaultError> {
    if fault.write && fault.fetch {
        log::error!("fault at {:#x} is a write and a fetch", fault.ipa.raw());
        return Err(FaultError::Impossible);
    }
    let write = match vm.guest() {
        // A Realm's protected memory is always writable and executable: one kind of fault.
        Guest::Realm(_) => true,
        Guest::Normal(_) => fault.write,
    };
    if fault.class == FaultClass::Permission && !write && !fault.fetch {
        return Err(FaultError::UnexpectedReadPermission);
    }
    Ok(Access {
        write,
        fetch: fault.fetch,
    })
}

/// F4: the area behind the host address.
fn find_area<M: Machine>(vm: &Vm<'_, M>, hva: Hva) -> Result<Arc<Area>, FaultError> {
    vm.space().find(hva).ok_or_else(|| {
        log::warn!("no area contains host address {:#x}", hva.raw());
        FaultError::BadAddress(hva)
    })
}

/// F5 to F10: how much to map, and where it starts.
fn choose_extent<M: Machine>(
    vm: &Vm<'_, M>,
    fault: &Fault,
    slot: &MemSlot,
    area: &Area,
    logging: bool,
) -> Extent {
    let gfn = vm.gfn(fault.ipa);
    let hva = slot.hva_of(gfn);
    let (granularity, forced) = if logging || vm.realm().is_some() {
        (Granularity::Page, true) // F5, F6
    } else {
        fit(vm, area.granularity(hva), slot, gfn) // F7, F8
    };
    let size = granularity.size_bytes();
    let ipa = fault.ipa.align_down(size); // F9
    Extent {
        ipa,
        gfn: vm.gfn(ipa), // F10
        hva: hva.align_down(size),
        granularity,
        forced,
    }
}

/// F8: the granularity that the slot can carry, and whether it is a page by force.
fn fit<M: Machine>(
    vm: &Vm<'_, M>,
    wished: Granularity,
    slot: &MemSlot,
    gfn: Gfn,
) -> (Granularity, bool) {
    let carries = |size| slot.can_carry(gfn, size);
    match wished {
        Granularity::Block1G if carries(BLOCK_1G) => (wished, false),
        Granularity::Block1G | Granularity::ContPmd | Granularity::Block2M if carries(BLOCK_2M) => {
            (Granularity::Block2M, false)
        }
        Granularity::Block1G | Granularity::ContPmd | Granularity::Block2M => {
            (Granularity::Page, true)
        }
        Granularity::ContPte => (Granularity::Page, true),
        Granularity::Page => (Granularity::Page, false),
        Granularity::Other(size) => {
            if vm.counters().odd_granularity.swap(size, Ordering::Relaxed) != size {
                log::warn!("a backing reports the unknown granularity {size:#x}");
            }
            (Granularity::Page, false)
        }
    }
}

/// F11: pages for as many tables as one mapping can need, before any lock.
fn fill_cache<M: Machine>(vm: &Vm<'_, M>, vcpu: &mut VcpuMemory<'_>) -> Result<(), FaultError> {
    let tables = match vm.guest() {
        Guest::Realm(realm) => realm.geometry().tables_per_mapping(),
        Guest::Normal(stage2) => stage2.geometry().tables_per_mapping(),
    };
    if vcpu.cache.fill(tables) {
        Ok(())
    } else {
        Err(FaultError::OutOfMemory)
    }
}

/// One fault, as far as it has been understood.
struct Context<'a, 'h, M> {
    vm: &'a Vm<'h, M>,
    fault: &'a Fault,
    slot: &'a MemSlot,
    area: &'a Area,
    access: Access,
    logging: bool,
}

/// A page and what may be done with it.
struct Lookup<'h> {
    page: PageHold<'h>,
    /// What the page is to be mapped as; smaller than asked when the memory is not contiguous.
    extent: Extent,
    /// The whole 2 MiB around the page is one piece of memory.
    contiguous: bool,
    writable: bool,
}

impl<'h, M: Machine> Context<'_, 'h, M> {
    /// F13 to F15: the page behind the host address. `None` means that the VMM has been told of a
    /// problem and the guest may retry.
    fn get_page(&self, extent: Extent) -> Result<Option<Lookup<'h>>, FaultError> {
        let bad_address = Err(FaultError::BadAddress(extent.hva));
        let protection = self.area.protection;
        let writable =
            protection.contains(Protection::WRITE) && self.slot.access() == SlotAccess::ReadWrite;
        if !protection.contains(Protection::READ) || self.access.write && !writable {
            return bad_address;
        }
        let machine = self.vm.host().machine();
        let index = self.area.index_of(extent.hva);
        if let Some(context) = self.area.user_faults
            && self.area.object.peek(index).is_none()
        {
            machine.missing_page(context, extent.hva);
            return Ok(None);
        }
        match self.find(extent) {
            Ok((page, extent, contiguous)) => Ok(Some(Lookup {
                page,
                extent,
                contiguous,
                writable,
            })),
            Err(NoPage::Poisoned) => {
                self.vm.counters().poisoned.bump();
                machine.memory_failure(extent.hva, extent.granularity); // F14
                Ok(None)
            }
            Err(NoPage::Hole) => bad_address, // F15
            Err(NoPage::OutOfMemory) => Err(FaultError::OutOfMemory),
        }
    }

    /// F13: a block of the wished granularity if the backing has one, else the faulting page.
    fn find(&self, extent: Extent) -> Result<(PageHold<'h>, Extent, bool), NoPage> {
        let (object, host) = (&self.area.object, self.vm.host());
        let size = extent.granularity.size_bytes();
        if size > PAGE_SIZE {
            let index = self.area.index_of(extent.hva);
            let (pages, machine) = (host.pages(), host.machine());
            if let Some(page) = object.block(index, size, pages, machine) {
                return Ok((page, extent, true));
            }
        }
        let extent = self.page_extent(extent);
        let fill = match self.vm.guest() {
            Guest::Realm(realm) if realm.geometry().is_protected(self.fault.ipa) => Fill::Unneeded,
            Guest::Realm(_) | Guest::Normal(_) => Fill::Contents,
        };
        let index = self.area.index_of(extent.hva);
        let found = object.page(index, fill, host.pages(), host.machine())?;
        Ok((found.page, extent, found.contiguous.is_some()))
    }

    /// The faulting page alone.
    fn page_extent(&self, extent: Extent) -> Extent {
        let gfn = self.vm.gfn(self.fault.ipa);
        Extent {
            ipa: self.fault.ipa,
            gfn,
            hva: self.slot.hva_of(gfn),
            granularity: Granularity::Page,
            ..extent
        }
    }

    /// F16 to F28: map the page that was found.
    fn map_page(
        &self,
        vcpu: &mut VcpuMemory<'_>,
        lookup: &Lookup<'h>,
        sequence: u64,
    ) -> Result<(), FaultError> {
        let (vm, fault) = (self.vm, self.fault);
        let found = lookup.page.pfn();
        let device = vm.host().memory_map().is_device(found);
        if device {
            note_device(vm, fault); // F16
        }
        let writable = lookup.writable && (device || !self.logging || self.access.write); // F17
        if self.access.fetch && device {
            vm.counters().device_fetches.bump();
            return Err(FaultError::NotExecutable); // F18
        }
        let block = self.grown(lookup, device); // the lookup of F20
        let lock = vm.mmu().read();
        // Logging that began meanwhile write-protects under the lock: what was decided without it
        // would be missed.
        if vm.mmu().must_retry(sequence) || self.slot.is_logging() != self.logging {
            vm.counters().retried.bump();
            return Ok(()); // F19, F27
        }
        let (extent, pfn) = match &block {
            Some((page, extent)) => (*extent, page.pfn()), // F20
            None => (lookup.extent, found),
        };
        self.clear_tags(extent, pfn, device)?; // F21
        let permissions = permissions(vm, self.access, writable, device); // F22
        let result = self.install(vcpu, extent, pfn, permissions, lookup.contiguous); // F23 to F25
        let outcome = self.finish(extent, pfn, writable, device, result); // F26, F28
        vm.host().pages().mark(found, PageFlags::ACCESSED); // F27: the guards drop the references
        drop(lock);
        vm.free_detached();
        if outcome == Err(FaultError::OutOfMemory) && fault.class == FaultClass::Permission {
            // A block turned out to need splitting, which F11 does not foresee: with pages in the
            // cache the next attempt can.
            fill_cache(vm, vcpu)?;
            vm.counters().retried.bump();
            return Ok(());
        }
        outcome
    }

    /// F20: a page that is not forced grows to the block it lies in, when the backing is
    /// contiguous and congruent and the slot and the area hold the block. A permission fault on a
    /// block keeps the block's size.
    fn grown(&self, lookup: &Lookup<'h>, device: bool) -> Option<(PageHold<'h>, Extent)> {
        let extent = lookup.extent;
        let page = extent.granularity == Granularity::Page;
        if !page || extent.forced || device || self.vm.realm().is_some() {
            return None;
        }
        let granularity = match (self.fault.class, self.fault.level) {
            (FaultClass::Permission, 1) => Granularity::Block1G,
            _ => Granularity::Block2M,
        };
        let size = granularity.size_bytes();
        let in_object = self.area.index_of(extent.hva) << PAGE_SHIFT;
        let fits = self.slot.can_carry(extent.gfn, size)
            && self.area.holds_block(extent.hva, size)
            && (in_object ^ extent.hva.raw()) & (size - 1) == 0;
        if !fits {
            return None;
        }
        let (object, host) = (&self.area.object, self.vm.host());
        let index = self.area.index_of(extent.hva);
        let page = object.block(index, size, host.pages(), host.machine())?;
        let ipa = extent.ipa.align_down(size);
        let extent = Extent {
            ipa,
            gfn: self.vm.gfn(ipa),
            hva: extent.hva.align_down(size),
            granularity,
            forced: false,
        };
        Some((page, extent))
    }

    /// F21: a guest with memory tagging gets pages with clear tags, once. Nobody maps a page before
    /// that is done: another fault on it waits for the pin.
    fn clear_tags(&self, extent: Extent, pfn: Pfn, device: bool) -> Result<(), FaultError> {
        if self.fault.class == FaultClass::Permission || device || !self.vm.cpu().mte {
            return Ok(());
        }
        if !self.area.allows_tags() {
            return Err(FaultError::BadAddress(extent.hva));
        }
        let (pages, machine) = (self.vm.host().pages(), self.vm.host().machine());
        let is_clear = |pfn| pages.flags(pfn).contains(PageFlags::TAGS_CLEARED);
        for page in 0..extent.granularity.size_bytes() / PAGE_SIZE {
            let pfn = pfn.offset(page);
            if !is_clear(pfn)
                && let Some(_pin) = pages.pin(pfn)
                && !is_clear(pfn)
            {
                machine.clear_tags(pfn);
                pages.mark(pfn, PageFlags::TAGS_CLEARED);
            }
        }
        Ok(())
    }

    /// F23 to F25: ask the RMM, add permissions, or map.
    fn install(
        &self,
        vcpu: &mut VcpuMemory<'_>,
        extent: Extent,
        pfn: Pfn,
        permissions: Permissions,
        contiguous: bool,
    ) -> Result<(), MapError> {
        let size = extent.granularity.size_bytes();
        match self.vm.guest() {
            Guest::Realm(realm) => {
                let pages = self.vm.host().pages();
                if !realm.geometry().is_protected(self.fault.ipa)
                    && pages.flags(pfn).contains(PageFlags::DELEGATED)
                {
                    return Err(MapError::StillPrivate);
                }
                let cache = &mut vcpu.cache;
                let mapped = realm.map(extent.ipa, pfn, size, permissions, contiguous, cache);
                mapped.map(drop).map_err(MapError::Realm) // F24
            }
            Guest::Normal(stage2) => {
                let level = level_of(size);
                let same_size = self.fault.level == level.raw();
                if self.fault.class == FaultClass::Permission && same_size {
                    stage2.relax(extent.ipa, level, permissions) // F23
                } else {
                    stage2.map(extent.ipa, pfn, size, permissions, &mut vcpu.cache) // F25
                }
                .map_err(MapError::Walk)
            }
        }
    }

    /// F26 and F28: what the result of mapping means for the page and for the guest.
    fn finish(
        &self,
        extent: Extent,
        pfn: Pfn,
        writable: bool,
        device: bool,
        result: Result<(), MapError>,
    ) -> Result<(), FaultError> {
        let counters = self.vm.counters();
        let Err(error) = result else {
            counters.mapped.bump();
            if device {
                counters.devices.bump();
            }
            if extent.granularity != Granularity::Page {
                counters.blocks.bump();
            }
            if writable && !device {
                self.mark_dirty(extent, pfn);
            }
            return Ok(());
        };
        match error {
            MapError::Walk(WalkError::Again) | MapError::Realm(RealmError::Busy) => {
                counters.retried.bump();
                Ok(()) // F28
            }
            MapError::Realm(RealmError::NotDelegable) if !device => {
                // Another page will do; this one stays with the host.
                let index = self.area.index_of(extent.hva);
                self.area.object.discard(index, self.vm.host().pages());
                counters.retried.bump();
                Ok(())
            }
            MapError::Realm(RealmError::ReadOnly | RealmError::NotDelegable) => {
                Err(FaultError::BadAddress(extent.hva))
            }
            MapError::Realm(RealmError::OutOfMemory) | MapError::Walk(WalkError::OutOfMemory) => {
                Err(FaultError::OutOfMemory)
            }
            MapError::Realm(RealmError::NotRam) => Err(FaultError::NotRam(extent.gfn)),
            MapError::Realm(error @ RealmError::Refused(_)) => Err(FaultError::Realm(error)),
            MapError::StillPrivate => Err(FaultError::StillPrivate(extent.gfn)),
            MapError::Walk(WalkError::Unexpected) => Err(FaultError::Impossible),
        }
    }

    /// F26: pages that the guest may write from now on are dirty.
    fn mark_dirty(&self, extent: Extent, pfn: Pfn) {
        for page in 0..extent.granularity.size_bytes() / PAGE_SIZE {
            let pages = self.vm.host().pages();
            pages.mark(pfn.offset(page), PageFlags::DIRTY);
            if self.slot.log_dirty(extent.gfn.offset(page)) {
                self.vm.counters().logged.bump();
            }
        }
    }
}

/// Why a mapping was not made.
#[derive(Clone, Copy, Debug)]
enum MapError {
    Realm(RealmError),
    Walk(WalkError),
    StillPrivate,
}

/// F16: remember where the guest touched a device.
fn note_device<M: Machine>(vm: &Vm<'_, M>, fault: &Fault) {
    let address = fault.ipa.raw() & !vm.stolen_bits() | fault.low_bits;
    vm.counters().last_device.store(address, Ordering::Relaxed);
    log::debug!("device page touched at {address:#x}");
}

/// F22: what the mapping allows.
fn permissions<M: Machine>(
    vm: &Vm<'_, M>,
    access: Access,
    writable: bool,
    device: bool,
) -> Permissions {
    let mut permissions = Permissions::READ;
    permissions.set(Permissions::WRITE, writable);
    if device {
        permissions |= Permissions::DEVICE;
    } else if access.fetch || vm.cpu().dic {
        permissions |= Permissions::EXECUTE;
    }
    permissions
}
