// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! PEs that run in turns: QEMU where its counter counts instructions (`-icount shift=0`).
//!
//! There one thread emulates all PEs, one after another. A round lasts to the next deadline of any timer
//! of the machine, and each PE's turn is an equal part of that: with two PEs, half. A timer that is set
//! begins a round, and a PE that has nothing to do gives its turn away. So a PE that sets a timer runs
//! for half of that time and stops there, in whatever code it is, at R-EL2 or EL3 too. The other PE then
//! has as long a turn, and behind the deadline comes the first again.
//!
//! The timer's interrupt stays masked: nobody is interrupted.

use core::arch::asm;

use crate::timer;

/// PEs that share a round.
const PES: u64 = 2;

/// Begins a round in which each PE has a turn of so many instructions.
pub(crate) fn begin(instructions: u64) {
    timer::set_deadline(timer::now() + PES * instructions);
}

/// Takes the deadline back.
pub(crate) fn end() {
    timer::clear_alarm();
}

/// Ends this PE's turn, if it has nothing to do.
pub(crate) fn give_way() {
    // SAFETY: a hint without any other effect.
    unsafe { asm!("yield", options(nomem, nostack, preserves_flags)) };
}

/// Executes so many instructions.
pub(crate) fn spend(instructions: u64) {
    // SAFETY: counts a register of its own down.
    unsafe {
        asm!(
            "2: subs {left}, {left}, #2",
            "b.hi 2b",
            left = inout(reg) instructions => _,
            options(nomem, nostack)
        );
    }
}
