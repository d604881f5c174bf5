// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The stage 2 fault handler: rules F1 to F28, in their order.

use alloc::sync::Arc;
use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};

use rmi::Ipa;

use crate::addr::{BLOCK_1G, BLOCK_2M, Gfn, Granularity, Hva, PAGE_SIZE, Pfn};
use crate::area::{Area, Protection};
use crate::backing::{Fill, Found, NoPage};
use crate::host::Counter;
use crate::machine::Machine;
use crate::memslot::{MemSlot, SlotAccess};
use crate::pages::PageFlags;
use crate::perms::Permissions;
use crate::realm::RealmError;
use crate::vm::{Guest, VcpuMemory, Vm};

/// The class of a stage 2 fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultClass {
    /// No mapping.
    Translation,
    /// A mapping whose access flag is clear.
    AccessFlag,
    /// A mapping that does not allow the access.
    Permission,
}

/// A stage 2 fault of a vCPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The faulting IPA, rounded down to a page, stolen bits included.
    pub ipa: Ipa,
    /// The low address bits of the access, below a page.
    pub low_bits: u64,
    /// Why the walk failed.
    pub class: FaultClass,
    /// Whether the access was a write.
    pub write: bool,
    /// Whether the access was an instruction fetch.
    pub fetch: bool,
    /// The lookup level at which the walk failed.
    pub level: i64,
}

/// Exception classes of aborts from a lower exception level (Arm ARM, ESR_ELx.EC).
const EC_INSTRUCTION_ABORT: u64 = 0x20;
const EC_DATA_ABORT: u64 = 0x24;
const EC_SHIFT: u32 = 26;
const EC_MASK: u64 = 0x3F;
/// ISS bits of aborts.
const ISS_WNR: u64 = 1 << 6;
const ISS_S1PTW: u64 = 1 << 7;
const ISS_FSC_MASK: u64 = 0x3F;
/// Fault status: translation fault at level -1.
const FSC_TRANSLATION_MINUS_1: u64 = 0b10_1011;
/// HPFAR_EL2.FIPA: bits 51:12 of the IPA in bits 43:4.
const HPFAR_FIPA_MASK: u64 = 0xFFF_FFFF_FFF0;
const HPFAR_TO_IPA_SHIFT: u32 = 8;

impl Fault {
    /// Decodes a stage 2 abort from the syndrome registers; nothing when it is not a fault that
    /// mapping can cure.
    pub fn from_syndrome(esr: u64, far: u64, hpfar: u64) -> Option<Self> {
        let fetch = match esr >> EC_SHIFT & EC_MASK {
            EC_INSTRUCTION_ABORT => true,
            EC_DATA_ABORT => false,
            _ => return None,
        };
        let status = esr & ISS_FSC_MASK;
        let level = i64::try_from(status & 3).ok()?;
        let (class, level) = match status >> 2 {
            0b0001 => (FaultClass::Translation, level),
            0b0010 => (FaultClass::AccessFlag, level),
            0b0011 => (FaultClass::Permission, level),
            _ if status == FSC_TRANSLATION_MINUS_1 => (FaultClass::Translation, -1),
            _ => return None,
        };
        // A stage 1 walk only writes when it updates a descriptor that it may not write.
        let walk = esr & ISS_S1PTW != 0;
        let write = if walk {
            class == FaultClass::Permission
        } else {
            !fetch && esr & ISS_WNR != 0
        };
        Some(Self {
            ipa: Ipa::new((hpfar & HPFAR_FIPA_MASK) << HPFAR_TO_IPA_SHIFT),
            low_bits: far & (PAGE_SIZE - 1),
            class,
            write,
            fetch: fetch && !walk,
            level,
        })
    }
}

/// Why the guest cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultError {
    /// No slot, or a write to a read-only one: a device access to emulate.
    NotMemory,
    /// Both a write and an instruction fetch (rule F2): we misread the syndrome.
    Impossible,
    /// A permission fault on a read (rule F3).
    UnexpectedReadPermission,
    /// Nothing usable is behind the address (rules F4, F15, F21, R1).
    BadAddress(Hva),
    /// The Realm used the shared alias of memory it has not shared.
    StillPrivate(Gfn),
    /// The Realm used memory whose RIPAS is not RAM.
    NotRam(Gfn),
    /// An instruction fetch from a device (rule F18).
    NotExecutable,
    /// Memory ran out.
    OutOfMemory,
    /// The RMM gave an answer that makes no sense here.
    Realm(RealmError),
}

impl fmt::Display for FaultError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotMemory => f.write_str("no memory at the address"),
            Self::Impossible => f.write_str("both a write and an instruction fetch"),
            Self::UnexpectedReadPermission => f.write_str("unexpected read permission error"),
            Self::BadAddress(hva) => write!(f, "nothing behind host address {:#x}", hva.raw()),
            Self::StillPrivate(gfn) => {
                write!(
                    f,
                    "guest page {:#x} used as shared but is private",
                    gfn.raw()
                )
            }
            Self::NotRam(gfn) => write!(f, "guest page {:#x} used but is not RAM", gfn.raw()),
            Self::NotExecutable => f.write_str("instruction fetch from a device"),
            Self::OutOfMemory => f.write_str("out of memory"),
            Self::Realm(error) => write!(f, "RMM: {error:?}"),
        }
    }
}

/// What the handler did, for the summary.
#[derive(Debug, Default)]
pub struct FaultCounters {
    /// Faults handled, whatever the outcome.
    pub faults: Counter,
    /// Of these, translation faults.
    pub translation: Counter,
    /// Of these, access flag faults.
    pub access_flag: Counter,
    /// Of these, permission faults.
    pub permission: Counter,
    /// Faults that ended in a mapping.
    pub mapped: Counter,
    /// Faults that found the page mapped by somebody else, or lost a race, and retried.
    pub retried: Counter,
    /// Of the mappings: larger than a page.
    pub blocks: Counter,
    /// Of the mappings: device pages.
    pub devices: Counter,
    /// Pages whose dirty bit a fault has set.
    pub logged: Counter,
    /// Faults that found a poisoned page.
    pub poisoned: Counter,
    /// Faults that failed.
    pub failed: Counter,
    /// The last device access: full IPA without stolen bits (rule F16).
    pub last_device: AtomicU64,
}

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
    let hva = slot.hva_of(gfn);

    let access = classify(vm, fault)?; // F1 to F3
    let area = find_area(vm, hva)?; // F4
    let logging = slot.is_logging();
    let extent = choose_extent(vm, fault, &slot, &area, logging); // F5 to F10
    fill_cache(vm, vcpu, fault, access, logging)?; // F11
    let sequence = vm.mmu().read_sequence(); // F12
    let Some(found) = get_page(vm, fault, &slot, &area, &extent, access)? else {
        return Ok(()); // F13 to F15
    };
    map_page(
        vm, vcpu, fault, &slot, &area, extent, access, sequence, &found,
    )
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
    let (granularity, _) = if logging || vm.realm().is_some() {
        (Granularity::Page, true) // F5, F6
    } else {
        fit(area.granularity(hva), slot, gfn) // F7, F8
    };
    let size = granularity.size_bytes();
    let ipa = fault.ipa.align_down(size); // F9
    Extent {
        ipa,
        gfn: vm.gfn(ipa), // F10
        hva: hva.align_down(size),
        granularity,
    }
}

/// F8: the granularity that the slot can carry, and whether it is a page by force.
fn fit(wished: Granularity, slot: &MemSlot, gfn: Gfn) -> (Granularity, bool) {
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
            log::warn!("a backing reports the unknown granularity {size:#x}");
            (Granularity::Page, false)
        }
    }
}

/// F11: pages for as many tables as one mapping can need, before any lock.
fn fill_cache<M: Machine>(
    vm: &Vm<'_, M>,
    vcpu: &mut VcpuMemory<'_>,
    fault: &Fault,
    access: Access,
    logging: bool,
) -> Result<(), FaultError> {
    if fault.class == FaultClass::Permission && !(logging && access.write) {
        return Ok(());
    }
    let tables = match vm.guest() {
        Guest::Realm(realm) => realm.geometry().tables_per_mapping(),
    };
    if vcpu.cache.fill(tables) {
        Ok(())
    } else {
        Err(FaultError::OutOfMemory)
    }
}

/// A page and what may be done with it.
struct Lookup<'h> {
    found: Found<'h>,
    writable: bool,
}

/// F13 to F15: the page behind the host address. `None` means that the VMM has been told of a
/// problem and the guest may retry.
fn get_page<'h, M: Machine>(
    vm: &Vm<'h, M>,
    fault: &Fault,
    slot: &MemSlot,
    area: &Area,
    extent: &Extent,
    access: Access,
) -> Result<Option<Lookup<'h>>, FaultError> {
    let bad_address = Err(FaultError::BadAddress(extent.hva));
    let writable =
        area.protection.contains(Protection::WRITE) && slot.access() == SlotAccess::ReadWrite;
    if !area.protection.contains(Protection::READ) || access.write && !writable {
        return bad_address;
    }
    let index = area.index_of(extent.hva);
    let machine = vm.host().machine();
    if let Some(context) = area.user_faults
        && area.object.peek(index).is_none()
    {
        machine.missing_page(context, extent.hva);
        return Ok(None);
    }
    let fill = match vm.guest() {
        Guest::Realm(realm) if realm.geometry().is_protected(fault.ipa) => Fill::Unneeded,
        Guest::Realm(_) => Fill::Contents,
    };
    match area.object.page(index, fill, vm.host().pages(), machine) {
        Ok(found) => Ok(Some(Lookup { found, writable })),
        Err(NoPage::Poisoned) => {
            vm.counters().poisoned.bump();
            machine.memory_failure(extent.hva, extent.granularity); // F14
            Ok(None)
        }
        Err(NoPage::Hole) => bad_address, // F15
        Err(NoPage::OutOfMemory) => Err(FaultError::OutOfMemory),
    }
}

/// F16 to F28: map the page that was found.
#[expect(
    clippy::too_many_arguments,
    reason = "the whole of one fault, gathered by its caller"
)]
fn map_page<M: Machine>(
    vm: &Vm<'_, M>,
    vcpu: &mut VcpuMemory<'_>,
    fault: &Fault,
    slot: &MemSlot,
    area: &Area,
    extent: Extent,
    access: Access,
    sequence: u64,
    lookup: &Lookup<'_>,
) -> Result<(), FaultError> {
    let pfn = lookup.found.page.pfn();
    let device = vm.host().memory_map().is_device(pfn);
    if device {
        note_device(vm, fault); // F16
    }
    let writable = lookup.writable && (device || !slot.is_logging() || access.write); // F17
    if access.fetch && device {
        return Err(FaultError::NotExecutable); // F18
    }
    let lock = vm.mmu().read();
    if vm.mmu().must_retry(sequence) {
        vm.counters().retried.bump();
        return Ok(()); // F19, F27
    }
    let permissions = permissions(vm, access, writable, device); // F22
    let result = match vm.guest() {
        Guest::Realm(realm) => {
            if !realm.geometry().is_protected(fault.ipa)
                && vm.host().pages().flags(pfn).contains(PageFlags::DELEGATED)
            {
                return Err(FaultError::StillPrivate(extent.gfn));
            }
            let contiguous = lookup.found.contiguous.is_some();
            let size = extent.granularity.size_bytes();
            realm
                .map(
                    extent.ipa,
                    pfn,
                    size,
                    permissions,
                    contiguous,
                    &mut vcpu.cache,
                )
                .map(drop) // F24
        }
    };
    let outcome = finish(vm, slot, area, &extent, pfn, writable, device, result);
    vm.host().pages().mark(pfn, PageFlags::ACCESSED); // F27
    drop(lock);
    outcome
}

/// F26 and F28: what the result of mapping means for the page and for the guest.
#[expect(
    clippy::too_many_arguments,
    reason = "the whole of one mapping, gathered by its caller"
)]
fn finish<M: Machine>(
    vm: &Vm<'_, M>,
    slot: &MemSlot,
    area: &Area,
    extent: &Extent,
    pfn: Pfn,
    writable: bool,
    device: bool,
    result: Result<(), RealmError>,
) -> Result<(), FaultError> {
    let counters = vm.counters();
    match result {
        Ok(()) => {
            counters.mapped.bump();
            if device {
                counters.devices.bump();
            }
            if writable && !device {
                vm.host().pages().mark(pfn, PageFlags::DIRTY);
                if slot.log_dirty(extent.gfn) {
                    counters.logged.bump();
                }
            }
            Ok(())
        }
        Err(RealmError::Busy) => {
            counters.retried.bump();
            Ok(()) // F28
        }
        Err(RealmError::NotDelegable) if !device => {
            // Another page will do; this one stays with the host.
            area.object
                .discard(area.index_of(extent.hva), vm.host().pages());
            counters.retried.bump();
            Ok(())
        }
        Err(RealmError::ReadOnly | RealmError::NotDelegable) => {
            Err(FaultError::BadAddress(extent.hva))
        }
        Err(RealmError::OutOfMemory) => Err(FaultError::OutOfMemory),
        Err(RealmError::NotRam) => Err(FaultError::NotRam(extent.gfn)),
        Err(error @ RealmError::Refused(_)) => Err(FaultError::Realm(error)),
    }
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
