// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The two timers of a normal vCPU.
//!
//! They are on only while the guest runs: out of it their interrupts would come again and again, and
//! the host has no use for them. A timer whose output is high when the guest is entered has been
//! presented as a virtual interrupt already, so its physical one is held back until the output is
//! low again. The guest's end of the virtual interrupt is a trap, at which the output is looked at
//! again.

use aarch64_cpu::asm::barrier;
use host_vmm::machine::{PHYSICAL_TIMER_INTID, VIRTUAL_TIMER_INTID};
use host_vmm::vm::is_timer_high;
use rmi::RecExit;

use crate::sysreg::{read_sysreg, write_sysreg};
use crate::{gic, pe};

/// The timers of a vCPU, out of the guest.
#[derive(Clone, Debug, Default)]
pub(super) struct Timers {
    virtual_timer: Timer,
    physical_timer: Timer,
}

#[derive(Clone, Debug, Default)]
struct Timer {
    /// Its control register.
    control: u64,
    /// Its physical interrupt does not reach this PE.
    is_held_back: bool,
}

impl Timers {
    /// Turns the timers on, as the guest has left them.
    pub(super) fn start(&self) {
        write_sysreg!("cntv_ctl_el0", self.virtual_timer.control);
        write_sysreg!("cntp_ctl_el0", self.physical_timer.control);
    }

    /// Turns the timers off and reports them.
    pub(super) fn stop(&mut self, exit: &mut RecExit) {
        exit.cntv_ctl = read_sysreg!("cntv_ctl_el0");
        exit.cntv_cval = read_sysreg!("cntv_cval_el0");
        exit.cntp_ctl = read_sysreg!("cntp_ctl_el0");
        exit.cntp_cval = read_sysreg!("cntp_cval_el0");
        write_sysreg!("cntv_ctl_el0", 0);
        write_sysreg!("cntp_ctl_el0", 0);
        barrier::isb(barrier::SY);
        self.virtual_timer.note(exit.cntv_ctl, VIRTUAL_TIMER_INTID);
        self.physical_timer
            .note(exit.cntp_ctl, PHYSICAL_TIMER_INTID);
    }

    /// Turns the timers off for a vCPU that begins anew.
    pub(super) fn reset(&mut self) {
        self.virtual_timer.note(0, VIRTUAL_TIMER_INTID);
        self.physical_timer.note(0, PHYSICAL_TIMER_INTID);
    }

    /// Lets the interrupts through again, on a PE that the vCPU leaves.
    pub(super) fn release(&mut self) {
        self.virtual_timer.hold_back(false, VIRTUAL_TIMER_INTID);
        self.physical_timer.hold_back(false, PHYSICAL_TIMER_INTID);
    }
}

impl Timer {
    fn note(&mut self, control: u64, intid: u32) {
        self.control = control;
        self.hold_back(is_timer_high(control), intid);
    }

    fn hold_back(&mut self, is_held_back: bool, intid: u32) {
        if self.is_held_back != is_held_back {
            gic::enable_private(pe::current(), intid, !is_held_back);
            self.is_held_back = is_held_back;
        }
    }
}
