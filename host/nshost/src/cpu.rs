// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What the CPU says about itself.

use core::arch::asm;

use aarch64_cpu::registers::{ID_AA64ISAR0_EL1, ID_AA64MMFR2_EL1, Readable};
use host_mm::vm::CpuFacts;
use host_vmm::normal::IdRegister;

use crate::sysreg::read_sysreg;
use crate::tags;

/// Place of `ID_AA64PFR1_EL1.MTE`, and of `MTE_frac`.
const MTE_SHIFT: u32 = 8;
const MTE_FRACTION_SHIFT: u32 = 40;
/// Place of `ID_AA64ISAR2_EL1.MOPS`.
const MOPS_SHIFT: u32 = 16;
/// `CTR_EL0.DIC`.
const CTR_DIC: u64 = 1 << 29;
/// How often a random number is asked for before there is none.
const RANDOM_TRIES: usize = 100;

/// Returns what decides how the memory of a normal VM is mapped.
pub(crate) fn facts() -> CpuFacts {
    CpuFacts {
        dic: cache_type() & CTR_DIC != 0,
        fwb: ID_AA64MMFR2_EL1.read(ID_AA64MMFR2_EL1::FWB) != 0,
        mte: tags::are_usable(),
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

/// Returns a register's four-bit field that starts at bit `shift`.
fn field(register: u64, shift: u32) -> u64 {
    register >> shift & 0xF
}

/// Tells whether there are keys of pointer authentication (`ID_AA64ISAR1_EL1` APA, API, GPA, GPI;
/// `ID_AA64ISAR2_EL1` GPA3, APA3).
pub(crate) fn has_pointer_authentication() -> bool {
    let (isar1, isar2) = (
        read_sysreg!("id_aa64isar1_el1"),
        read_sysreg!("S3_0_C0_C6_2"),
    );
    isar1 & 0xFF00_0FF0 != 0 || isar2 & 0xFF00 != 0
}

/// Tells whether there are `SCXTNUM_EL0` and `SCXTNUM_EL1` (`ID_AA64PFR0_EL1.CSV2`; with the lesser
/// form, `ID_AA64PFR1_EL1.CSV2_frac`).
pub(crate) fn has_context_numbers() -> bool {
    match field(read_sysreg!("id_aa64pfr0_el1"), 56) {
        0 => false,
        1 => field(read_sysreg!("id_aa64pfr1_el1"), 32) >= 2,
        _ => true,
    }
}

/// Returns how many breakpoints and watchpoints there are (`ID_AA64DFR0_EL1`).
pub(crate) fn comparators() -> (usize, usize) {
    let features = read_sysreg!("id_aa64dfr0_el1");
    let count = |shift| field(features, shift) as usize + 1;
    (count(12), count(20))
}

/// Tells whether memory has allocation tags (FEAT_MTE2, `ID_AA64PFR1_EL1.MTE`). EL3 may still keep
/// them to itself.
pub(crate) fn has_tags() -> bool {
    field(read_sysreg!("id_aa64pfr1_el1"), MTE_SHIFT) >= 2
}

/// Tells whether translations of a range are forgotten by one instruction (FEAT_TLBIRANGE,
/// `ID_AA64ISAR0_EL1.TLB`).
pub(crate) fn has_range_invalidation() -> bool {
    field(read_sysreg!("id_aa64isar0_el1"), 56) >= 2
}

/// Tells whether there is `HCRX_EL2` (`ID_AA64MMFR1_EL1.HCX`).
pub(crate) fn has_extended_controls() -> bool {
    field(read_sysreg!("id_aa64mmfr1_el1"), 40) != 0
}

/// Tells whether memory copy instructions can be used (`ID_AA64ISAR2_EL1.MOPS`; their control is
/// in `HCRX_EL2`).
pub(crate) fn has_memory_copy() -> bool {
    has_extended_controls() && field(read_sysreg!("S3_0_C0_C6_2"), MOPS_SHIFT) != 0
}

/// Tells whether there is an architected PMU (`ID_AA64DFR0_EL1.PMUVer`).
pub(crate) fn has_counters() -> bool {
    !matches!(field(read_sysreg!("id_aa64dfr0_el1"), 8), 0 | 0xF)
}

/// Tells whether VMIDs have 16 bits (`ID_AA64MMFR1_EL1.VMIDBits`).
pub(crate) fn has_long_vmids() -> bool {
    field(read_sysreg!("id_aa64mmfr1_el1"), 4) == 2
}

/// Returns the code of the width of physical addresses (`ID_AA64MMFR0_EL1.PARange`).
pub(crate) fn physical_range() -> u64 {
    field(read_sysreg!("id_aa64mmfr0_el1"), 0)
}

/// Returns an identification register of group 3, without what this host cannot turn on.
pub(crate) fn read_id(register: IdRegister) -> u64 {
    let value = read_group_3(register);
    let without = |shift: u32| value & !(0xF << shift);
    match (register.crm, register.op2) {
        (4, 1) if !tags::are_usable() => without(MTE_SHIFT) & without(MTE_FRACTION_SHIFT),
        (6, 2) if !has_memory_copy() => without(MOPS_SHIFT),
        _ => value,
    }
}

macro_rules! group_3 {
    ($register:expr; $($crm:literal: $($op2:literal)*;)*) => {
        match ($register.crm, $register.op2) {
            $($(($crm, $op2) => {
                read_sysreg!(concat!("S3_0_C0_C", $crm, "_", $op2))
            })*)*
            _ => 0,
        }
    };
}

fn read_group_3(register: IdRegister) -> u64 {
    group_3!(register;
        1: 0 1 2 3 4 5 6 7;
        2: 0 1 2 3 4 5 6 7;
        3: 0 1 2 3 4 5 6 7;
        4: 0 1 2 3 4 5 6 7;
        5: 0 1 2 3 4 5 6 7;
        6: 0 1 2 3 4 5 6 7;
        7: 0 1 2 3 4 5 6 7;
    )
}
