// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The end of a run, and processors on and off: PSCI.

use aarch64_cpu::asm;
use smccc::{Smc, psci};

/// Turns the machine off.
pub(crate) fn off() -> ! {
    // A machine whose firmware refuses has nothing better to do than to wait for its owner.
    let _ = psci::system_off::<Smc>();
    loop {
        asm::wfi();
    }
}

/// Starts the PE `mpidr` at `entry_secondary`, as number `index`.
///
/// # Errors
/// What PSCI answers.
pub(crate) fn start(mpidr: u64, index: usize) -> Result<(), psci::Error> {
    unsafe extern "C" {
        static entry_secondary: u8;
    }
    let entry = (&raw const entry_secondary).addr();
    psci::cpu_on::<Smc>(mpidr, entry as u64, index as u64)
}
