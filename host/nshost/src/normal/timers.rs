// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The two timers of a normal vCPU.
//!
//! They are on only while the guest runs: out of it their interrupts would come again and again, and
//! the host has no use for them.

use aarch64_cpu::asm::barrier;
use host_vmm::machine::{PHYSICAL_TIMER_INTID, VIRTUAL_TIMER_INTID};
use host_vmm::vm::is_timer_high;
use rmi::RecExit;

use crate::line::Line;
use crate::sysreg::{read_sysreg, write_sysreg};

/// The timers of a vCPU, out of the guest.
#[derive(Clone, Debug)]
pub(super) struct Timers {
    virtual_timer: Timer,
    physical_timer: Timer,
}

#[derive(Clone, Debug)]
struct Timer {
    /// Its control register.
    control: u64,
    line: Line,
}

impl Default for Timers {
    fn default() -> Self {
        Self {
            virtual_timer: Timer::new(VIRTUAL_TIMER_INTID),
            physical_timer: Timer::new(PHYSICAL_TIMER_INTID),
        }
    }
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
        self.virtual_timer.note(exit.cntv_ctl);
        self.physical_timer.note(exit.cntp_ctl);
    }

    /// Turns the timers off for a vCPU that begins anew.
    pub(super) fn reset(&mut self) {
        self.virtual_timer.note(0);
        self.physical_timer.note(0);
    }

    /// Lets the interrupts through again, on a PE that the vCPU leaves.
    pub(super) fn release(&mut self) {
        self.virtual_timer.line.note(false);
        self.physical_timer.line.note(false);
    }
}

impl Timer {
    fn new(intid: u32) -> Self {
        Self {
            control: 0,
            line: Line::new(intid),
        }
    }

    fn note(&mut self, control: u64) {
        self.control = control;
        self.line.note(is_timer_high(control));
    }
}
