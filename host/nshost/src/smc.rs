// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The way to EL3, and through it to the RMM.

use rmi::table::REGISTERS;

/// Makes an SMC with x0 to x7 and returns what it left there.
pub(crate) fn call(registers: [u64; REGISTERS]) -> [u64; REGISTERS] {
    let [function, arguments @ ..] = registers;
    let mut all = [0; 17];
    all[..arguments.len()].copy_from_slice(&arguments);
    let reply = smccc::smc64(function as u32, all);
    core::array::from_fn(|register| reply[register])
}
