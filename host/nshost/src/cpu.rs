// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What the CPU says about itself.

use core::arch::asm;

use aarch64_cpu::registers::{ID_AA64ISAR0_EL1, ID_AA64MMFR2_EL1, Readable};
use host_mm::vm::CpuFacts;

/// `CTR_EL0.DIC`.
const CTR_DIC: u64 = 1 << 29;
/// How often a random number is asked for before there is none.
const RANDOM_TRIES: usize = 100;

/// Returns what decides how guest memory is mapped.
pub(crate) fn facts() -> CpuFacts {
    CpuFacts {
        dic: cache_type() & CTR_DIC != 0,
        fwb: ID_AA64MMFR2_EL1.read(ID_AA64MMFR2_EL1::FWB) != 0,
        mte: false,
    }
}

/// Tells whether this CPU makes random numbers (FEAT_RNG).
pub(crate) fn has_random() -> bool {
    ID_AA64ISAR0_EL1.read(ID_AA64ISAR0_EL1::RNDR) != 0
}

/// Fills bytes with random numbers; nothing when this CPU has none to give.
pub(crate) fn fill_random(bytes: &mut [u8]) -> Option<()> {
    if !has_random() {
        return None;
    }
    for piece in bytes.chunks_mut(size_of::<u64>()) {
        let word = (0..RANDOM_TRIES).find_map(|_| random())?;
        piece.copy_from_slice(&word.to_ne_bytes()[..piece.len()]);
    }
    Some(())
}

/// Reads `RNDR`, which the CPU must have; it may have no number ready.
fn random() -> Option<u64> {
    let (value, is_ready): (u64, u64);
    // SAFETY: reading the register has no effect but on the condition flags.
    unsafe {
        asm!(
            "mrs {value}, s3_3_c2_c4_0",
            "cset {ready}, ne",
            value = out(reg) value,
            ready = out(reg) is_ready,
            options(nomem, nostack),
        );
    };
    (is_ready != 0).then_some(value)
}

/// Returns `CTR_EL0`.
pub(crate) fn cache_type() -> u64 {
    let value;
    // SAFETY: reading an identification register.
    unsafe { asm!("mrs {}, ctr_el0", out(reg) value, options(nomem, nostack)) };
    value
}
