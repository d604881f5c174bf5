// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! A VM: its slots, the address space behind them, and its stage 2.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;

use rmi::Ipa;
use spin::RwLock;

use crate::addr::{Gfn, Hva, PAGE_BYTES, PAGE_SHIFT, PAGE_SIZE, Pfn};
use crate::area::{AddressSpace, Area, AreaError, AreaFlags, Protection};
use crate::backing::{Fill, Kind, NoPage, Object};
use crate::client::Measure;
use crate::fault::{self, Fault, FaultCounters, FaultError};
use crate::host::Host;
use crate::invalidate::{Invalidation, MmuLock};
use crate::machine::Machine;
use crate::memcache::MemCache;
use crate::memslot::{MemSlot, MemSlots, Overlap, SlotAccess};
use crate::pages::{PageAllocator, PageFlags, Wish, to_u64, to_usize};
use crate::realm::{Realm, RealmError, Source, Wanted};
use crate::stage2::Stage2;

/// Where the host addresses of a VM's memory begin. Host and guest addresses are congruent up to
/// 1 GiB and more, so that blocks can be mapped.
const HVA_BASE: u64 = 1 << 48;

/// Who owns the stage 2 of a VM.
#[derive(Debug)]
pub enum Guest<'h, M> {
    /// The RMM.
    Realm(Realm<'h, M>),
    /// The host.
    Normal(Stage2<'h, M>),
}

/// How much of a Realm's memory an invalidation takes away. For a normal VM both mean all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// What the Realm shares, and its data: the Realm loses it.
    All,
    /// Only what the Realm shares with the host.
    Shared,
}

/// Facts about the CPU that decide how memory is mapped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuFacts {
    /// `CTR_EL0.DIC`: instruction caches need no maintenance for data coherence.
    pub dic: bool,
    /// FEAT_S2FWB: stage 2 decides the memory type alone.
    pub fwb: bool,
    /// The VM may use memory tagging.
    pub mte: bool,
}

/// What a vCPU brings to a fault: pages for tables, of its own.
#[derive(Debug)]
pub struct VcpuMemory<'h> {
    /// Pages for tables.
    pub cache: MemCache<'h>,
}

/// Why memory cannot be added to a VM or reached in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryError {
    /// The guest pages belong to a slot already.
    Slot(Overlap),
    /// The host addresses are in use.
    Area(AreaError),
    /// There is no memory at the address, or not all of it is.
    NoMemory,
    /// The page belongs to the Realm and the host must not touch it.
    Private,
    /// A page could not be filled.
    Page(NoPage),
    /// The Realm would not take a page.
    Realm(RealmError),
}

/// A guest with its own stage 2.
#[derive(Debug)]
pub struct Vm<'h, M> {
    host: &'h Host<M>,
    guest: Guest<'h, M>,
    space: AddressSpace,
    slots: RwLock<MemSlots>,
    mmu: MmuLock,
    cpu: CpuFacts,
    counters: FaultCounters,
}

impl<'h, M: Machine> Vm<'h, M> {
    /// Returns a VM without memory.
    pub fn new(host: &'h Host<M>, guest: Guest<'h, M>, cpu: CpuFacts) -> Self {
        Self {
            host,
            guest,
            space: AddressSpace::new(host.new_space_id()),
            slots: RwLock::default(),
            mmu: MmuLock::default(),
            cpu,
            counters: FaultCounters::default(),
        }
    }

    /// Returns the host.
    pub fn host(&self) -> &'h Host<M> {
        self.host
    }

    /// Returns who owns the stage 2.
    pub fn guest(&self) -> &Guest<'h, M> {
        &self.guest
    }

    /// Returns the Realm, when the VM is one.
    pub fn realm(&self) -> Option<&Realm<'h, M>> {
        match &self.guest {
            Guest::Realm(realm) => Some(realm),
            Guest::Normal(_) => None,
        }
    }

    /// Returns the host's stage 2, when the VM is no Realm.
    pub fn stage2(&self) -> Option<&Stage2<'h, M>> {
        match &self.guest {
            Guest::Realm(_) => None,
            Guest::Normal(stage2) => Some(stage2),
        }
    }

    /// Returns the address space behind the slots.
    pub fn space(&self) -> &AddressSpace {
        &self.space
    }

    /// Returns the MMU lock.
    pub fn mmu(&self) -> &MmuLock {
        &self.mmu
    }

    /// Returns the facts about the CPU.
    pub fn cpu(&self) -> CpuFacts {
        self.cpu
    }

    /// Returns the counters of faults.
    pub fn counters(&self) -> &FaultCounters {
        &self.counters
    }

    /// Returns an empty set of pages for one vCPU.
    pub fn new_vcpu(&self) -> VcpuMemory<'h> {
        VcpuMemory {
            cache: MemCache::new(self.host.pages(), self.wish()),
        }
    }

    /// Which pages serve this VM.
    fn wish(&self) -> Wish {
        match &self.guest {
            Guest::Realm(_) => Wish::Delegable,
            Guest::Normal(_) => Wish::Any,
        }
    }

    /// The IPA bits that carry meaning instead of address.
    pub fn stolen_bits(&self) -> u64 {
        match &self.guest {
            Guest::Realm(realm) => realm.geometry().shared_bit(),
            Guest::Normal(_) => 0,
        }
    }

    /// Returns the guest page that `ipa` names.
    pub fn gfn(&self, ipa: Ipa) -> Gfn {
        Gfn::new((ipa.raw() & !self.stolen_bits()) >> PAGE_SHIFT)
    }

    /// Returns the slot that contains `gfn`.
    pub fn slot(&self, gfn: Gfn) -> Option<Arc<MemSlot>> {
        self.slots.read().find(gfn).cloned()
    }

    /// Returns all slots in the order of their guest pages.
    pub fn slots(&self) -> Vec<Arc<MemSlot>> {
        self.slots.read().iter().cloned().collect()
    }

    /// Adds `size` bytes of zeroed memory at guest address `base`, filled page by page when used.
    ///
    /// # Errors
    ///
    /// [`MemoryError::Slot`] or [`MemoryError::Area`].
    pub fn add_memory(&self, base: Ipa, size: u64) -> Result<Arc<MemSlot>, MemoryError> {
        let object = self.host.new_object(Kind::Anonymous(None), self.wish());
        self.add_object(
            base,
            size,
            object,
            AreaFlags::empty(),
            SlotAccess::ReadWrite,
        )
    }

    /// Adds the device or carve-out of `size` bytes at physical page `first` at guest address
    /// `base`.
    ///
    /// # Errors
    ///
    /// As [`Vm::add_memory`].
    pub fn add_device(
        &self,
        base: Ipa,
        size: u64,
        first: Pfn,
    ) -> Result<Arc<MemSlot>, MemoryError> {
        let object = self.host.new_object(Kind::Raw(first), Wish::Any);
        self.add_object(base, size, object, AreaFlags::PFNMAP, SlotAccess::ReadWrite)
    }

    /// Adds `size` bytes of `object` at guest address `base`.
    ///
    /// # Errors
    ///
    /// As [`Vm::add_memory`].
    pub fn add_object(
        &self,
        base: Ipa,
        size: u64,
        object: Arc<Object>,
        flags: AreaFlags,
        access: SlotAccess,
    ) -> Result<Arc<MemSlot>, MemoryError> {
        let start = Hva::new(HVA_BASE + base.raw());
        let area = Area {
            start,
            end: start.offset(size),
            owner: self.space.id(),
            protection: Protection::READ | Protection::WRITE,
            flags,
            page_offset: 0,
            object,
            user_faults: None,
        };
        let slot = MemSlot::new(self.gfn(base), size >> PAGE_SHIFT, start, access);
        let slot = self.slots.write().insert(slot).map_err(MemoryError::Slot)?;
        if let Err(error) = self.space.insert(area) {
            self.slots.write().remove(slot.base());
            return Err(MemoryError::Area(error));
        }
        Ok(slot)
    }

    /// Handles a stage 2 fault of a vCPU (rules F1 to F28).
    ///
    /// # Errors
    ///
    /// [`FaultError::NotMemory`] when the access is a device's to emulate; whatever else keeps
    /// the guest from going on.
    pub fn handle_fault(&self, vcpu: &mut VcpuMemory<'_>, fault: &Fault) -> Result<(), FaultError> {
        fault::handle(self, vcpu, fault)
    }

    /// Gives the Realm `bytes` of initial contents at `base`, read from `source` on, page by page;
    /// the last page is padded with zeros. `base` and `source` are page aligned.
    ///
    /// # Errors
    ///
    /// Why a page could not be given; earlier ones have been.
    pub fn populate(
        &self,
        vcpu: &mut VcpuMemory<'_>,
        base: Ipa,
        source: Pfn,
        bytes: u64,
        measure: Measure,
    ) -> Result<(), MemoryError> {
        for page in 0..bytes / PAGE_SIZE {
            let ipa = Ipa::new(base.raw() + page * PAGE_SIZE);
            self.populate_page(vcpu, ipa, source.offset(page), measure)?;
        }
        let rest = to_usize(bytes % PAGE_SIZE);
        if rest == 0 {
            return Ok(());
        }
        let mut tail = [0; PAGE_BYTES];
        let done = bytes - bytes % PAGE_SIZE;
        let machine = self.host.machine();
        machine.read(source.address() + done, &mut tail[..rest]);
        self.populate_bytes(vcpu, Ipa::new(base.raw() + done), &tail[..rest], measure)
    }

    /// Gives the Realm `bytes` of initial contents at the page-aligned `base`, padded with zeros.
    ///
    /// # Errors
    ///
    /// As [`Vm::populate`].
    pub fn populate_bytes(
        &self,
        vcpu: &mut VcpuMemory<'_>,
        base: Ipa,
        bytes: &[u8],
        measure: Measure,
    ) -> Result<(), MemoryError> {
        for (page, chunk) in bytes.chunks(PAGE_BYTES).enumerate() {
            let source = self
                .host
                .page_with(chunk)
                .ok_or(MemoryError::Page(NoPage::OutOfMemory))?;
            let ipa = Ipa::new(base.raw() + to_u64(page) * PAGE_SIZE);
            self.populate_page(vcpu, ipa, source.pfn(), measure)?;
        }
        Ok(())
    }

    fn populate_page(
        &self,
        vcpu: &mut VcpuMemory<'_>,
        ipa: Ipa,
        source: Pfn,
        measure: Measure,
    ) -> Result<(), MemoryError> {
        let realm = self.realm().ok_or(MemoryError::NoMemory)?;
        let gfn = self.gfn(ipa);
        let slot = self.slot(gfn).ok_or(MemoryError::NoMemory)?;
        let hva = slot.hva_of(gfn);
        let area = self.space.find(hva).ok_or(MemoryError::NoMemory)?;
        if !vcpu.cache.fill(realm.geometry().tables_per_mapping()) {
            return Err(MemoryError::Page(NoPage::OutOfMemory));
        }
        let machine = self.host.machine();
        let _lock = self.mmu.read_settled();
        let found = area
            .object
            .page(
                area.index_of(hva),
                Fill::Unneeded,
                self.host.pages(),
                machine,
            )
            .map_err(MemoryError::Page)?;
        let pfn = found.page.pfn();
        let source = Source::Page(source, measure);
        let contiguous = found.contiguous.is_some();
        realm
            .create_page(ipa, pfn, source, contiguous, &mut vcpu.cache)
            .map(drop)
            .map_err(MemoryError::Realm)
    }

    /// Applies a RIPAS change that the Realm asked for on `rec` (rule R9); returns how far it
    /// came.
    ///
    /// # Errors
    ///
    /// As [`Realm::change_ripas`].
    pub fn change_ripas(
        &self,
        vcpu: &mut VcpuMemory<'_>,
        rec: Pfn,
        base: Ipa,
        top: Ipa,
        wanted: Wanted,
    ) -> Result<Ipa, RealmError> {
        match &self.guest {
            Guest::Realm(realm) => {
                let _lock = self.mmu.read();
                realm.change_ripas(rec, base, top, wanted, &mut vcpu.cache)
            }
            // Only Realms ask.
            Guest::Normal(_) => Ok(base),
        }
    }

    /// Reads guest memory for the VMM; pages that nobody has written read as zero.
    ///
    /// # Errors
    ///
    /// [`MemoryError::NoMemory`] outside the slots, [`MemoryError::Private`] for what the guest
    /// has not shared.
    pub fn read(&self, ipa: Ipa, bytes: &mut [u8]) -> Result<(), MemoryError> {
        self.for_each_page(ipa, bytes.len(), |address, range| {
            self.host.machine().read(address, &mut bytes[range]);
        })
    }

    /// Writes guest memory for the VMM.
    ///
    /// # Errors
    ///
    /// As [`Vm::read`].
    pub fn write(&self, ipa: Ipa, bytes: &[u8]) -> Result<(), MemoryError> {
        self.for_each_page(ipa, bytes.len(), |address, range| {
            self.host.machine().write(address, &bytes[range]);
        })
    }

    /// Calls `each` with the physical address and the range of bytes of every page piece of
    /// `length` bytes at `ipa`, pinned.
    fn for_each_page(
        &self,
        ipa: Ipa,
        length: usize,
        mut each: impl FnMut(u64, Range<usize>),
    ) -> Result<(), MemoryError> {
        let mut done = 0;
        while done < length {
            let at = Ipa::new(ipa.raw() + to_u64(done));
            let offset = at.raw() & (PAGE_SIZE - 1);
            let piece = to_usize(PAGE_SIZE - offset).min(length - done);
            let gfn = self.gfn(at);
            let slot = self.slot(gfn).ok_or(MemoryError::NoMemory)?;
            let hva = slot.hva_of(gfn);
            let area = self.space.find(hva).ok_or(MemoryError::NoMemory)?;
            let pages = self.host.pages();
            // Nobody moves the page elsewhere between looking it up and touching it.
            let _lock = self.mmu.read_settled();
            let found = area
                .object
                .page(
                    area.index_of(hva),
                    Fill::Contents,
                    pages,
                    self.host.machine(),
                )
                .map_err(MemoryError::Page)?;
            let pfn = found.page.pfn();
            let _pin = pages.pin(pfn).ok_or(MemoryError::Private)?;
            each(pfn.address() + offset, done..done + piece);
            slot.log_dirty(gfn);
            done += piece;
        }
        Ok(())
    }

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
            for run in dirty.chunk_by(|a, b| a.offset(1) == *b) {
                stage2.write_protect(ipa_range(run[0], to_u64(run.len())));
            }
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
            let Some(slot) = self.slot(gfn) else {
                continue;
            };
            let hva = slot.hva_of(gfn);
            if let Some(area) = self.space.find(hva)
                && area.may_lose_pages()
                && let Some(pfn) = area.object.peek(area.index_of(hva))
                && !self.host.pages().flags(pfn).contains(PageFlags::DELEGATED)
                && each(&area.object, area.index_of(hva), self.host.pages())
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

    /// Takes everything apart: the stage 2, the slots, the areas and their pages. vCPUs are gone.
    ///
    /// # Errors
    ///
    /// The first step of a Realm's end that failed; it can be tried again.
    pub fn destroy(&self) -> Result<(), RealmError> {
        match &self.guest {
            Guest::Realm(realm) => realm.destroy()?,
            Guest::Normal(stage2) => stage2.destroy(),
        }
        for area in self.space.areas() {
            // Areas are whole here, so nothing is split and nothing can be refused.
            drop(self.space.remove(area.start, area.end));
            area.object.release(self.host.pages());
        }
        *self.slots.write() = MemSlots::default();
        Ok(())
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
