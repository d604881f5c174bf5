// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The one way to EL3.

use core::arch::asm;

/// Issues an SMC with X0 to X8 and puts what EL3 returns into the place of X0 to X7.
///
/// EL3 may keep the PE for long: when the call answers the Host, the Host runs before it returns.
#[inline]
pub fn smc(registers: &mut [u64; 9]) {
    // Each register on its own, so that the array does not have to be in memory.
    let [x0, x1, x2, x3, x4, x5, x6, x7, x8] = *registers;
    let [r0, r1, r2, r3, r4, r5, r6, r7]: [u64; 8];
    // SAFETY: EL3 keeps what the calling convention says (X18 to X30 and the stack); it writes memory of
    // the Realm world only in the shared page, which is not Rust memory outside of its own type. The
    // missing `nomem` orders all earlier stores before the call.
    unsafe {
        asm!(
            "smc #0",
            inlateout("x0") x0 => r0,
            inlateout("x1") x1 => r1,
            inlateout("x2") x2 => r2,
            inlateout("x3") x3 => r3,
            inlateout("x4") x4 => r4,
            inlateout("x5") x5 => r5,
            inlateout("x6") x6 => r6,
            inlateout("x7") x7 => r7,
            inlateout("x8") x8 => _,
            lateout("x9") _, lateout("x10") _, lateout("x11") _, lateout("x12") _,
            lateout("x13") _, lateout("x14") _, lateout("x15") _, lateout("x16") _,
            lateout("x17") _,
            options(nostack)
        );
    }
    *registers = [r0, r1, r2, r3, r4, r5, r6, r7, x8];
}
