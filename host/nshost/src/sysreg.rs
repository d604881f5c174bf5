// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! System registers by name, for those that belong to guests.
//!
//! Registers that the assembler ties to an architecture extension are written by their encoding
//! (`S3_4_C12_C11_0`), so that the image builds for the base architecture.

/// Reads a system register that this PE has.
macro_rules! read_sysreg {
    ($register:expr) => {{
        let value: u64;
        // SAFETY: reading the register changes no memory; the caller names one that this PE has.
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

/// Writes a system register of the guest that runs next, or one that decides what it may do; never
/// one of the host's own translation or stack.
macro_rules! write_sysreg {
    ($register:expr, $value:expr) => {{
        let value: u64 = $value;
        // SAFETY: the register does not change how the host itself runs (see the macro's contract).
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
