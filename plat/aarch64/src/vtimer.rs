// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The EL1 timers.

use rmm_hal::{TimerRegister, TimerState};

use crate::regs::{isb, read_sysreg, write_sysreg};

/// `CNTHCTL_EL2` for a Realm: EL1 may use the physical counter and timer (EL1PCTEN, EL1PCEN).
const REALM: u64 = 0b11;
/// `CNTHCTL_EL2.EL1PCEN`: clear, the registers of the physical timer trap.
const PHYSICAL_OPEN: u64 = 1 << 1;
/// `CNTHCTL_EL2.EL1TVT`: the registers of the virtual timer trap (FEAT_ECV, which all of Armv9.1 has).
const VIRTUAL_TRAP: u64 = 1 << 13;
/// `CNTHCTL_EL2.CNTVMASK`.
const VIRTUAL_MASK: u64 = 1 << 18;
/// `CNTHCTL_EL2.CNTPMASK`.
const PHYSICAL_MASK: u64 = 1 << 19;

/// The INTIDs of the two EL1 timers (Arm BSA).
const VIRTUAL_INTID: u64 = 27;
const PHYSICAL_INTID: u64 = 30;

/// How often the GIC is asked whether a masked timer's interrupt is gone. It needs a few cycles; a
/// Host that configured the interrupt as an edge would keep it pending for ever.
const SETTLE_READS: usize = 64;

pub(crate) fn read() -> TimerState {
    TimerState {
        cntv_ctl: read_sysreg!("CNTV_CTL_EL0"),
        cntv_cval: read_sysreg!("CNTV_CVAL_EL0"),
        cntp_ctl: read_sysreg!("CNTP_CTL_EL0"),
        cntp_cval: read_sysreg!("CNTP_CVAL_EL0"),
    }
}

/// Loads the timers, the compare value before the control so that no old condition fires.
pub(crate) fn load(from: &TimerState) {
    write_sysreg!("CNTV_CVAL_EL0", from.cntv_cval);
    write_sysreg!("CNTP_CVAL_EL0", from.cntp_cval);
    isb();
    write_sysreg!("CNTV_CTL_EL0", from.cntv_ctl);
    write_sysreg!("CNTP_CTL_EL0", from.cntp_ctl);
    isb();
}

/// Masks the physical signals as asked and waits until the GIC no longer shows a masked one as its
/// highest pending interrupt.
///
/// Nobody hears of a masked timer that is set again and fires again, so its registers trap: the first
/// write that lowers its output ends the masking.
pub(crate) fn mask(mask_virtual: bool, mask_physical: bool) {
    let mut control = REALM;
    if mask_virtual {
        control |= VIRTUAL_MASK | VIRTUAL_TRAP;
    }
    if mask_physical {
        control = (control | PHYSICAL_MASK) & !PHYSICAL_OPEN;
    }
    if read_sysreg!("CNTHCTL_EL2") == control {
        return;
    }
    write_sysreg!("CNTHCTL_EL2", control);
    isb();
    for _ in 0..SETTLE_READS {
        // ICC_HPPIR1_EL1.
        let pending = read_sysreg!("S3_0_C12_C12_2") & 0xFF_FFFF;
        let masked = (mask_virtual && pending == VIRTUAL_INTID)
            || (mask_physical && pending == PHYSICAL_INTID);
        if !masked {
            return;
        }
    }
}

/// Reads a register of a loaded timer.
pub(crate) fn read_register(register: TimerRegister) -> u64 {
    match register {
        TimerRegister::VirtualValue => read_sysreg!("CNTV_TVAL_EL0"),
        TimerRegister::VirtualControl => read_sysreg!("CNTV_CTL_EL0"),
        TimerRegister::VirtualCompare => read_sysreg!("CNTV_CVAL_EL0"),
        TimerRegister::PhysicalValue => read_sysreg!("CNTP_TVAL_EL0"),
        TimerRegister::PhysicalControl => read_sysreg!("CNTP_CTL_EL0"),
        TimerRegister::PhysicalCompare => read_sysreg!("CNTP_CVAL_EL0"),
    }
}

/// Writes a register of a loaded timer; its output is up to date when this returns.
pub(crate) fn write_register(register: TimerRegister, value: u64) {
    match register {
        TimerRegister::VirtualValue => write_sysreg!("CNTV_TVAL_EL0", value),
        TimerRegister::VirtualControl => write_sysreg!("CNTV_CTL_EL0", value),
        TimerRegister::VirtualCompare => write_sysreg!("CNTV_CVAL_EL0", value),
        TimerRegister::PhysicalValue => write_sysreg!("CNTP_TVAL_EL0", value),
        TimerRegister::PhysicalControl => write_sysreg!("CNTP_CTL_EL0", value),
        TimerRegister::PhysicalCompare => write_sysreg!("CNTP_CVAL_EL0", value),
    }
    isb();
}
