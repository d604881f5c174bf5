// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! A VM: its slots, the address space behind them, and its stage 2.

mod access;
mod copy;
mod take;

use alloc::sync::Arc;
use alloc::vec::Vec;

use rmi::Ipa;
use spin::RwLock;

use crate::addr::{Gfn, Hva, PAGE_SHIFT, Pfn};
use crate::area::{AddressSpace, Area, AreaError, AreaFlags, Protection};
use crate::backing::{Kind, NoPage, Object};
use crate::fault::{self, Fault, FaultCounters, FaultError};
use crate::host::Host;
use crate::invalidate::MmuLock;
use crate::machine::Machine;
use crate::memcache::MemCache;
use crate::memslot::{MemSlot, MemSlots, Overlap, SlotAccess};
use crate::pages::Wish;
use crate::realm::{Realm, RealmError, Wanted};
use crate::stage2::Stage2;

pub use copy::{Copied, Copying};
pub use take::{Reach, take_away};

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

    /// Adds `size` bytes of zeroed memory at guest address `base`, filled page by page when used. It
    /// may hold allocation tags.
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
            AreaFlags::MTE_ALLOWED,
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
