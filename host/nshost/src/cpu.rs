// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What the CPU says about itself.

use core::arch::asm;

use aarch64_cpu::registers::{ID_AA64MMFR2_EL1, Readable};
use host_mm::vm::CpuFacts;

/// `CTR_EL0.DIC`.
const CTR_DIC: u64 = 1 << 29;

/// Returns what decides how guest memory is mapped.
pub(crate) fn facts() -> CpuFacts {
    CpuFacts {
        dic: cache_type() & CTR_DIC != 0,
        fwb: ID_AA64MMFR2_EL1.read(ID_AA64MMFR2_EL1::FWB) != 0,
        mte: false,
    }
}

/// Returns `CTR_EL0`.
pub(crate) fn cache_type() -> u64 {
    let value;
    // SAFETY: reading an identification register.
    unsafe { asm!("mrs {}, ctr_el0", out(reg) value, options(nomem, nostack)) };
    value
}
