// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! System registers by name.

/// Reads a system register that every Realm has.
macro_rules! read_sysreg {
    ($register:literal) => {{
        let value: u64;
        // SAFETY: reading one of the registers this image names has no effect.
        unsafe {
            core::arch::asm!(
                concat!("mrs {}, ", $register),
                out(reg) value,
                options(nostack, preserves_flags)
            );
        }
        value
    }};
}

/// Writes a system register that does not change how this image itself runs.
macro_rules! write_sysreg {
    ($register:literal, $value:expr) => {{
        let value: u64 = $value;
        // SAFETY: the register is a timer, a key or a mask: neither translation nor stack.
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

/// Waits for an interrupt, masked or not.
pub(crate) fn wfi() {
    // SAFETY: the instruction waits and changes nothing.
    unsafe { core::arch::asm!("wfi", options(nostack, preserves_flags)) }
}

/// Lets this vCPU take interrupts.
pub(crate) fn unmask_interrupts() {
    // SAFETY: the vectors handle interrupts on any stack at any time.
    unsafe { core::arch::asm!("msr daifclr, #2", options(nostack, preserves_flags)) }
}

/// Lets this vCPU take no interrupts.
pub(crate) fn mask_interrupts() {
    // SAFETY: masked interrupts stay pending.
    unsafe { core::arch::asm!("msr daifset, #2", options(nostack, preserves_flags)) }
}
