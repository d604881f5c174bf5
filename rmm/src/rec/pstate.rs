// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The bits of PSTATE as a saved program status register holds them (Arm ARM, `SPSR_EL2`).

pub(crate) const MODE_EL1H: u64 = 0b0101;
pub(crate) const MODE_SP: u64 = 1 << 0;
pub(crate) const MODE_EL: u64 = 0b11 << 2;
/// AArch32, which a Realm has at EL0 only.
pub(crate) const NRW: u64 = 1 << 4;
/// PSTATE.{D,A,I,F}.
pub(crate) const DAIF: u64 = 0b1111 << 6;
pub(crate) const BTYPE: u64 = 0b11 << 10;
pub(crate) const SSBS: u64 = 1 << 12;
pub(crate) const ALLINT: u64 = 1 << 13;
pub(crate) const SS: u64 = 1 << 21;
pub(crate) const PAN: u64 = 1 << 22;
pub(crate) const DIT: u64 = 1 << 24;
pub(crate) const TCO: u64 = 1 << 25;
pub(crate) const NZCV: u64 = 0b1111 << 28;
/// In AArch32: IT[7:2] and IT[1:0], how far a block of conditional instructions is.
pub(crate) const IT_HIGH_SHIFT: u32 = 10;
pub(crate) const IT_HIGH: u64 = 0x3F << IT_HIGH_SHIFT;
pub(crate) const IT_LOW_SHIFT: u32 = 25;
pub(crate) const IT_LOW: u64 = 0b11 << IT_LOW_SHIFT;

/// After a reset: EL1 with its own stack pointer, all interrupts masked.
pub(crate) const RESET: u64 = DAIF | MODE_EL1H;
