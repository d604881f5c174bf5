// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The GICv3: its CPU interface, and the distributor and redistributors that a Host emulates.

use arm_gic::gicv3::registers::{Gicd, GicrSgi};
use arm_gic::gicv3::{GicCpuInterface, GicError, GicV3, SgiTarget, SgiTargetGroup};
use arm_gic::{IntId, UniqueMmioPointer};
use spin::Mutex;

use crate::machine::{self, PHYSICAL_TIMER, VIRTUAL_TIMER};
use crate::{cpu, regs};

static DRIVER: Mutex<Option<GicV3<'static>>> = Mutex::new(None);

/// Lets this vCPU's CPU interface deliver interrupts. Needs no distributor.
pub(crate) fn enable_cpu_interface() {
    GicCpuInterface::enable_system_register_el1();
    GicCpuInterface::set_priority_mask(0xFF);
    GicCpuInterface::enable_group1(true);
    regs::isb();
}

/// Sets the distributor up for `vcpus`.
///
/// # Errors
/// The redistributors are not laid out as they should be.
pub(crate) fn init(vcpus: usize) -> Result<(), GicError> {
    let gicd = machine::shared::<Gicd>(machine::GICD);
    // SAFETY: the machine has its distributor here, mapped as a device, and only `DRIVER` uses it.
    let gicd = unsafe { UniqueMmioPointer::new(gicd) };
    let gicr = machine::shared::<GicrSgi>(machine::GICR);
    // SAFETY: as for the distributor; the redistributors follow one another.
    let mut driver = unsafe { GicV3::new(gicd, gicr, vcpus) }?;
    driver.distributor().configure_default_settings();
    *DRIVER.lock() = Some(driver);
    Ok(())
}

/// Lets this vCPU take SGIs and its timers' interrupts.
///
/// # Errors
/// There is no redistributor for this vCPU.
pub(crate) fn init_vcpu() -> Result<(), GicError> {
    let mut driver = DRIVER.lock();
    let driver = driver.as_mut().expect("`init` comes first");
    let frame = cpu::number();
    driver.init_cpu(frame);
    let mut redistributor = driver.redistributor(frame)?;
    redistributor.configure_default_settings();
    for intid in (0..16).map(IntId::sgi) {
        redistributor.enable_interrupt(intid, true)?;
    }
    for intid in [VIRTUAL_TIMER, PHYSICAL_TIMER] {
        redistributor.enable_interrupt(IntId::ppi(intid - 16), true)?;
    }
    enable_cpu_interface();
    Ok(())
}

/// Sends an SGI to a set of vCPUs, one bit for each.
///
/// # Errors
/// It is no SGI.
pub(crate) fn send_sgi(sgi: u32, targets: u16) -> Result<(), GicError> {
    let target = SgiTarget::List {
        affinity3: 0,
        affinity2: 0,
        affinity1: 0,
        target_list: targets,
    };
    GicCpuInterface::send_sgi(IntId::sgi(sgi), target, SgiTargetGroup::CurrentGroup1)
}
