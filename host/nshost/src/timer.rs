// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Time: the physical counter, and the EL2 physical timer as an alarm.

use core::arch::asm;

use aarch64_cpu::asm::barrier;
use aarch64_cpu::registers::{CNTFRQ_EL0, CNTHP_CTL_EL2, CNTPCT_EL0, Readable, Writeable};

/// Returns the time in ticks of the counter.
pub(crate) fn now() -> u64 {
    barrier::isb(barrier::SY);
    CNTPCT_EL0.get()
}

/// Returns the ticks that go by during 1000 instructions, which tells whether the counter counts them.
pub(crate) fn ticks_of_1000_instructions() -> u64 {
    let before = now();
    // SAFETY: the instructions do nothing.
    unsafe { asm!(".rept 1000", "nop", ".endr", options(nomem, nostack)) };
    now() - before
}

/// Returns the ticks in a second.
pub(crate) fn ticks_per_second() -> u64 {
    CNTFRQ_EL0.get()
}

/// Returns the ticks in a millisecond.
pub(crate) fn ticks_per_millisecond() -> u64 {
    (ticks_per_second() / 1000).max(1)
}

/// Returns the time since the machine was started, in milliseconds.
pub(crate) fn milliseconds() -> u64 {
    now() / ticks_per_millisecond()
}

/// Lets time pass, at full speed: whoever needs this PE to stay awake.
pub(crate) fn wait_milliseconds(duration: u64) {
    let end = milliseconds() + duration;
    while milliseconds() < end {
        core::hint::spin_loop();
    }
}

/// Asks for the host timer's interrupt on this PE at the time `ticks`.
pub(crate) fn set_alarm(ticks: u64) {
    set_compare_value(ticks);
    CNTHP_CTL_EL2.write(CNTHP_CTL_EL2::ENABLE::SET);
    barrier::isb(barrier::SY);
}

/// Lets the host timer's condition be met at the time `ticks`, without an interrupt.
pub(crate) fn set_deadline(ticks: u64) {
    set_compare_value(ticks);
    CNTHP_CTL_EL2.write(CNTHP_CTL_EL2::ENABLE::SET + CNTHP_CTL_EL2::IMASK::SET);
    barrier::isb(barrier::SY);
}

fn set_compare_value(ticks: u64) {
    // SAFETY: the compare value of a timer that only this image uses; it changes no memory.
    unsafe { asm!("msr cnthp_cval_el2, {}", in(reg) ticks, options(nomem, nostack)) };
}

/// Takes the alarm back, and lowers its interrupt.
pub(crate) fn clear_alarm() {
    CNTHP_CTL_EL2.write(CNTHP_CTL_EL2::ENABLE::CLEAR);
    barrier::isb(barrier::SY);
}
