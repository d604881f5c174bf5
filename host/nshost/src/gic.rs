// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The physical GICv3.
//!
//! The host never takes an interrupt: `PSTATE` masks them, a pending one ends WFI or a guest's run,
//! and then [`acknowledge`] says which it is. All interrupts have one priority.

use core::ptr::NonNull;
use core::sync::atomic::{AtomicUsize, Ordering};

use arm_gic::gicv3::registers::{Gicd, GicrSgi};
use arm_gic::gicv3::{GicCpuInterface, GicError, GicV3, SgiTarget, SgiTargetGroup};
use arm_gic::{IntId, InterruptGroup, Trigger, UniqueMmioPointer};
use host_vmm::platform::Platform;
use spin::{Mutex, Once};

use crate::board;
use crate::entry::MAX_PES;

/// Wakes a PE.
const KICK: IntId = IntId::sgi(1);
/// Maintenance of the virtual CPU interface.
const MAINTENANCE: IntId = IntId::ppi(9);
/// The host's timer: EL2 physical.
const HOST_TIMER: IntId = IntId::ppi(10);
/// The guest's performance monitor: a counter overflowed (Arm BSA).
const PMU_OVERFLOW: IntId = IntId::ppi(7);
/// The guest's virtual timer.
const VIRTUAL_TIMER: IntId = IntId::ppi(11);
/// The guest's physical timer.
const PHYSICAL_TIMER: IntId = IntId::ppi(14);

/// Priority mask that lets every interrupt through.
const LOWEST_PRIORITY: u8 = 0xFF;
/// INTID of the first private peripheral interrupt.
const FIRST_PPI: u32 = 16;
const GROUP: InterruptGroup = InterruptGroup::Group1;
/// Affinity 0 to 3 in `MPIDR_EL1`.
const AFFINITY: u64 = 0xFF_00FF_FFFF;

/// Redistributors of the PEs in use, by number.
static FRAMES: [AtomicUsize; MAX_PES] = [const { AtomicUsize::new(0) }; MAX_PES];

static DRIVER: Once<Mutex<GicV3<'static>>> = Once::new();

/// A reason for a PE to look around.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interrupt {
    /// Another PE wants something.
    Kick,
    /// The virtual CPU interface wants list registers refilled.
    Maintenance,
    /// The time the host asked for has come.
    HostTimer,
    /// A timer of the guest fired, or one of its counters overflowed.
    Guest,
    /// The console received something.
    Console,
    /// Nothing the host has enabled.
    Other(u32),
}

/// Sets the distributor up.
///
/// # Safety
/// Only once; nothing else may touch the GIC's registers.
///
/// # Errors
/// The redistributors are laid out in a way the driver does not know.
pub(crate) unsafe fn init(platform: &Platform) -> Result<(), GicError> {
    let gicd = device::<Gicd>(platform.gicd);
    // SAFETY: the device tree says that a distributor is here; the map maps the board's devices as
    // device memory. The caller keeps others away.
    let gicd = unsafe { UniqueMmioPointer::new(gicd) };
    let gicr = device::<GicrSgi>(platform.gicr);
    // SAFETY: as for the distributor.
    let mut gic = unsafe { GicV3::new(gicd, gicr, platform.cpus.len()) }?;
    gic.distributor().configure_default_settings();
    DRIVER.call_once(|| Mutex::new(gic));
    Ok(())
}

fn device<T>(address: u64) -> NonNull<T> {
    let address = (address as usize)
        .try_into()
        .expect("no device is at address zero");
    NonNull::with_exposed_provenance(address)
}

fn driver() -> &'static Mutex<GicV3<'static>> {
    DRIVER
        .get()
        .expect("the primary set the GIC up before anything else used it")
}

/// Sets the redistributor and the CPU interface of this PE, number `pe`, up; `mpidr` is its
/// affinity.
///
/// # Errors
/// No redistributor is this PE's.
pub(crate) fn init_pe(pe: usize, mpidr: u64) -> Result<(), GicError> {
    GicCpuInterface::enable_system_register_el2(true);
    let mut gic = driver().lock();
    let frame = redistributor_of(&mut gic, mpidr)?;
    FRAMES[pe].store(frame, Ordering::Relaxed);
    gic.init_cpu(frame);
    let mut redistributor = gic.redistributor(frame)?;
    redistributor.configure_default_settings();
    for intid in [
        KICK,
        MAINTENANCE,
        HOST_TIMER,
        PMU_OVERFLOW,
        VIRTUAL_TIMER,
        PHYSICAL_TIMER,
    ] {
        redistributor.enable_interrupt(intid, true)?;
    }
    GicCpuInterface::set_priority_mask(LOWEST_PRIORITY);
    GicCpuInterface::enable_group1(true);
    Ok(())
}

/// Lets a private peripheral interrupt of PE `pe` through, or holds it back.
pub(crate) fn enable_private(pe: usize, intid: u32, is_enabled: bool) {
    let frame = FRAMES[pe].load(Ordering::Relaxed);
    let intid = IntId::ppi(intid - FIRST_PPI);
    driver()
        .lock()
        .enable_interrupt(intid, Some(frame), is_enabled)
        .expect("the PE has the redistributor that it was set up with");
}

/// Lets no interrupt of this PE through, whatever its priority, or all again.
pub(crate) fn mask_all(is_masked: bool) {
    GicCpuInterface::set_priority_mask(if is_masked { 0 } else { LOWEST_PRIORITY });
}

fn redistributor_of(gic: &mut GicV3<'_>, mpidr: u64) -> Result<usize, GicError> {
    let mut frame = 0;
    while gic.gicr_typer(frame)?.core_mpidr() & AFFINITY != mpidr & AFFINITY {
        frame += 1;
    }
    Ok(frame)
}

/// Routes the console's interrupt to the PE `mpidr`.
///
/// # Errors
/// The GIC has no such interrupt.
pub(crate) fn enable_console(mpidr: u64) -> Result<(), GicError> {
    let intid = console();
    let mut gic = driver().lock();
    gic.distributor()
        .set_routing(intid, Some(mpidr & AFFINITY))?;
    gic.set_trigger(intid, None, Trigger::Level)?;
    gic.enable_interrupt(intid, None, true)
}

fn console() -> IntId {
    IntId::spi(board::UART_INTID - 32)
}

/// Makes the PE `mpidr` leave WFI or its guest.
pub(crate) fn kick(mpidr: u64) {
    let [aff0, aff1, aff2, _, aff3, ..] = mpidr.to_le_bytes();
    let target = SgiTarget::List {
        affinity3: aff3,
        affinity2: aff2,
        affinity1: aff1,
        target_list: 1 << (aff0 % 16),
    };
    GicCpuInterface::send_sgi(KICK, target, SgiTargetGroup::CurrentGroup1)
        .expect("the kick is an SGI");
}

/// Takes one pending interrupt of this PE, or says that there is none.
///
/// The interrupt is ended at once: a level that is still high makes it pending again, and the PE
/// looks again before it sleeps.
pub(crate) fn acknowledge() -> Option<Interrupt> {
    let intid = GicCpuInterface::get_and_acknowledge_interrupt(GROUP)?;
    GicCpuInterface::end_interrupt(intid, GROUP);
    Some(match intid {
        KICK => Interrupt::Kick,
        MAINTENANCE => Interrupt::Maintenance,
        HOST_TIMER => Interrupt::HostTimer,
        PMU_OVERFLOW | VIRTUAL_TIMER | PHYSICAL_TIMER => Interrupt::Guest,
        other if other == console() => Interrupt::Console,
        other => Interrupt::Other(other.into()),
    })
}
