// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The two timers of a Realm.

use test_realm::protocol::Timer;

use crate::machine::{PHYSICAL_TIMER, VIRTUAL_TIMER};
use crate::regs::{isb, read_sysreg, write_sysreg};

/// `CNTx_CTL_EL0`: on.
const ENABLE: u64 = 1;
/// `CNTx_CTL_EL0`: on with its output masked.
const MASKED: u64 = 0b11;

/// `CNTx_CTL_EL0`: on and its condition met.
const FIRED: u64 = 0b101;

/// Returns the counter of a timer.
pub(crate) fn now(timer: Timer) -> u64 {
    isb();
    match timer {
        Timer::Virtual => read_sysreg!("cntvct_el0"),
        Timer::Physical => read_sysreg!("cntpct_el0"),
    }
}

/// Returns how many ticks a second has.
pub(crate) fn frequency() -> u64 {
    read_sysreg!("cntfrq_el0")
}

/// Returns the interrupt of a timer.
pub(crate) fn intid(timer: Timer) -> u32 {
    match timer {
        Timer::Virtual => VIRTUAL_TIMER,
        Timer::Physical => PHYSICAL_TIMER,
    }
}

/// Lets a timer fire so many ticks from now.
pub(crate) fn start(timer: Timer, ticks: u64) {
    let at = now(timer) + ticks;
    match timer {
        Timer::Virtual => {
            write_sysreg!("cntv_cval_el0", at);
            write_sysreg!("cntv_ctl_el0", ENABLE);
        }
        Timer::Physical => {
            write_sysreg!("cntp_cval_el0", at);
            write_sysreg!("cntp_ctl_el0", ENABLE);
        }
    }
    isb();
}

/// Turns a timer off.
pub(crate) fn stop(timer: Timer) {
    control(timer, 0);
}

/// Returns the control register of a timer.
pub(crate) fn status(timer: Timer) -> u64 {
    match timer {
        Timer::Virtual => read_sysreg!("cntv_ctl_el0"),
        Timer::Physical => read_sysreg!("cntp_ctl_el0"),
    }
}

fn control(timer: Timer, value: u64) {
    match timer {
        Timer::Virtual => write_sysreg!("cntv_ctl_el0", value),
        Timer::Physical => write_sysreg!("cntp_ctl_el0", value),
    }
    isb();
}

/// Handles an interrupt that may be a timer's: masks the timer, or starts it again. Returns false if
/// it is a timer's and that has no reason for it.
pub(crate) fn interrupted(number: u32, again_ticks: u64) -> bool {
    let mut has_reason = true;
    for timer in [Timer::Virtual, Timer::Physical] {
        if intid(timer) != number {
            continue;
        }
        has_reason = status(timer) & FIRED == FIRED;
        if again_ticks == 0 {
            control(timer, MASKED);
        } else {
            start(timer, again_ticks);
        }
    }
    has_reason
}
