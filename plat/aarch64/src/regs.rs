// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! System registers by name, for those that no crate knows.
//!
//! Registers that the assembler ties to an architecture extension are written by their encoding
//! (`S3_4_C1_C2_0`), so that the image builds for the base architecture.

/// Reads a system register that this PE has and EL3 lets R-EL2 read.
macro_rules! read_sysreg {
    ($register:expr) => {{
        let value: u64;
        // SAFETY: reading the register has no effect on memory the compiler knows of; the caller
        // names a register that this PE implements.
        unsafe {
            core::arch::asm!(
                concat!("mrs {}, ", $register),
                out(reg) value,
                options(nomem, nostack, preserves_flags)
            );
        }
        value
    }};
}

/// Writes a system register whose effect on this PE is limited to the Realm that runs next, or to
/// traps and timers: never to the monitor's own translation or stack.
macro_rules! write_sysreg {
    ($register:expr, $value:expr) => {{
        let value: u64 = $value;
        // SAFETY: the register does not change how the monitor itself runs (see the macro's contract).
        unsafe {
            core::arch::asm!(
                concat!("msr ", $register, ", {}"),
                in(reg) value,
                options(nostack, preserves_flags)
            );
        }
    }};
}

pub(crate) use {read_sysreg, write_sysreg};

/// Waits until every earlier system register write has taken effect.
pub(crate) fn isb() {
    // SAFETY: a barrier changes nothing but order.
    unsafe { core::arch::asm!("isb", options(nostack, preserves_flags)) }
}
