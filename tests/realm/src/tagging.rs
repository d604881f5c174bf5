// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Allocation tags (FEAT_MTE2), which a normal VM has where the machine has them.

use core::arch::asm;

use crate::regs::{isb, read_sysreg, write_sysreg};

/// Bits of `SCTLR_EL1`: EL1 and EL0 reach tags (ATA, ATA0). No access is checked against them.
pub(crate) const SCTLR_TAGS: u64 = 0b11 << 42;

/// Tells whether there are tags, as the CPU says (`ID_AA64PFR1_EL1.MTE`).
pub(crate) fn is_there() -> bool {
    read_sysreg!("id_aa64pfr1_el1") >> 8 & 0xF >= 2
}

/// Returns how many bytes have their tags moved by one [`load`] or [`store`].
pub(crate) fn block_bytes() -> u64 {
    // GMID_EL1.BS: words, as a power of two.
    4 << (read_sysreg!("S3_1_C0_C0_4") & 0xF)
}

/// Returns the tags of a block, each in the four bits that its address selects (`LDGM`).
pub(crate) fn load(block: u64) -> u64 {
    let tags;
    // SAFETY: the callers name memory of this VM; reading tags changes nothing.
    unsafe {
        asm!(
            ".arch_extension memtag",
            "ldgm {0}, [{1}]",
            out(reg) tags,
            in(reg) block,
            options(nostack, preserves_flags)
        );
    }
    tags
}

/// Stores the tags of a block (`STGM`).
pub(crate) fn store(block: u64, tags: u64) {
    // SAFETY: no access of this image is checked against tags.
    unsafe {
        asm!(
            ".arch_extension memtag",
            "stgm {0}, [{1}]",
            in(reg) tags,
            in(reg) block,
            options(nostack, preserves_flags)
        );
    }
}

/// The registers of tagging that a VM has for itself: `RGSR_EL1`, `GCR_EL1`, `TFSR_EL1`,
/// `TFSRE0_EL1`. Nothing in this image depends on them.
pub(crate) type Registers = [u64; 4];

/// Bits of each of them that hold what is written.
pub(crate) const REGISTER_BITS: Registers = [0x00FF_FF0F, 0x1_FFFF, 0b11, 0b11];

/// Reads the registers.
pub(crate) fn read_registers() -> Registers {
    [
        read_sysreg!("S3_0_C1_C0_5"),
        read_sysreg!("S3_0_C1_C0_6"),
        read_sysreg!("S3_0_C5_C6_0"),
        read_sysreg!("S3_0_C5_C6_1"),
    ]
}

/// Writes the registers.
pub(crate) fn write_registers(&[seed, control, fault, user_fault]: &Registers) {
    write_sysreg!("S3_0_C1_C0_5", seed);
    write_sysreg!("S3_0_C1_C0_6", control);
    write_sysreg!("S3_0_C5_C6_0", fault);
    write_sysreg!("S3_0_C5_C6_1", user_fault);
    isb();
}
