// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The way to EL3, and through it to the RMM.

use core::arch::asm;

use rmi::table::REGISTERS;

/// Makes an SMC with x0 to x7 and returns what it left there.
pub(crate) fn call(registers: [u64; REGISTERS]) -> [u64; REGISTERS] {
    let [function, arguments @ ..] = registers;
    let mut all = [0; 17];
    all[..arguments.len()].copy_from_slice(&arguments);
    let reply = smccc::smc64(function as u32, all);
    core::array::from_fn(|register| reply[register])
}

/// Makes the same call and tells how many ticks of the physical counter went by between two reads of it
/// next to the instruction.
pub(crate) fn call_timed(registers: [u64; REGISTERS]) -> ([u64; REGISTERS], u64) {
    let mut reply = registers;
    let [x0, x1, x2, x3, x4, x5, x6, x7] = &mut reply;
    let (before, after): (u64, u64);
    // SAFETY: as in `call`: what the call does to memory, it does to memory that its arguments name, which
    // whoever makes it answers for. SMCCC 1.1 lets it change x0 to x17.
    unsafe {
        asm!(
            "isb",
            "mrs x20, cntpct_el0",
            "smc #0",
            "mrs x21, cntpct_el0",
            inout("x0") *x0, inout("x1") *x1, inout("x2") *x2, inout("x3") *x3,
            inout("x4") *x4, inout("x5") *x5, inout("x6") *x6, inout("x7") *x7,
            out("x8") _, out("x9") _, out("x10") _, out("x11") _, out("x12") _,
            out("x13") _, out("x14") _, out("x15") _, out("x16") _, out("x17") _,
            out("x20") before, out("x21") after,
            options(nostack),
        );
    }
    (reply, after - before)
}
