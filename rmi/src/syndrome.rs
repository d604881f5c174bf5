// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Syndromes: the words in which the architecture describes an exception (Arm ARM, `ESR_ELx`).
//!
//! An exit reports parts of them. This file only knows where the fields are; what the monitor lets
//! through is its decision.

use crate::bits::Field;

/// Exception class of a trapped `WFI` or `WFE`.
pub const EC_WFX: u8 = 0x01;
/// Exception class of an `HVC` from AArch64.
pub const EC_HVC64: u8 = 0x16;
/// Exception class of an `SMC` from AArch64.
pub const EC_SMC64: u8 = 0x17;
/// Exception class of a trapped system register access.
pub const EC_SYSREG: u8 = 0x18;
/// Exception class of an Instruction Abort from a lower exception level.
pub const EC_INSTRUCTION_ABORT_LOWER: u8 = 0x20;
/// Exception class of an Instruction Abort from the same exception level.
pub const EC_INSTRUCTION_ABORT_SAME: u8 = 0x21;
/// Exception class of a Data Abort from a lower exception level.
pub const EC_DATA_ABORT_LOWER: u8 = 0x24;
/// Exception class of a Data Abort from the same exception level.
pub const EC_DATA_ABORT_SAME: u8 = 0x25;

/// Exception class.
const EC: Field = Field::new(31, 26);
/// Whether the fields about the instruction are valid.
const ISV: Field = Field::new(24, 24);
/// Base-2 logarithm of the access size in bytes.
const SAS: Field = Field::new(23, 22);
/// Whether a loaded value is sign-extended.
const SSE: Field = Field::new(21, 21);
/// The register that is loaded or stored.
const SRT: Field = Field::new(20, 16);
/// Whether that register is 64 bits wide.
const SF: Field = Field::new(15, 15);
/// Whether it was stage 2 that stopped a walk of stage 1.
const S1PTW: Field = Field::new(7, 7);
/// Whether the access is a write.
const WNR: Field = Field::new(6, 6);
/// Fault status code of an abort.
const FSC: Field = Field::new(5, 0);

/// Bits of a fault status code that tell the kind of fault from the level.
const FSC_KIND: u8 = 0b11_1100;
/// Kind of fault: no translation.
const FSC_TRANSLATION: u8 = 0b00_0100;
/// Kind of fault: no permission.
const FSC_PERMISSION: u8 = 0b00_1100;

/// The value of `ESR_EL2`, or of what an exit shows of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Syndrome(u64);

impl Syndrome {
    /// Reads the register value.
    #[must_use]
    pub const fn new(esr: u64) -> Self {
        Self(esr)
    }

    /// Returns the register value.
    #[must_use]
    pub const fn raw(self) -> u64 {
        self.0
    }

    /// Returns the exception class.
    #[must_use]
    pub const fn class(self) -> u8 {
        EC.get_u8(self.0)
    }

    /// Returns whether this is a Data Abort from a lower exception level.
    #[must_use]
    pub const fn is_data_abort(self) -> bool {
        self.class() == EC_DATA_ABORT_LOWER
    }

    /// Returns whether this is an Instruction Abort from a lower exception level.
    #[must_use]
    pub const fn is_instruction_abort(self) -> bool {
        self.class() == EC_INSTRUCTION_ABORT_LOWER
    }

    /// Returns whether a Data Abort describes its instruction, so that it can be emulated.
    #[must_use]
    pub const fn has_instruction(self) -> bool {
        ISV.get(self.0) == 1
    }

    /// Returns the size in bytes of the access that caused a Data Abort: 1, 2, 4 or 8.
    #[must_use]
    pub const fn access_bytes(self) -> usize {
        1 << SAS.get(self.0)
    }

    /// Returns whether a load that caused a Data Abort sign-extends.
    #[must_use]
    pub const fn is_sign_extending(self) -> bool {
        SSE.get(self.0) == 1
    }

    /// Returns the number of the register that is loaded or stored; 31 is the zero register.
    #[must_use]
    pub const fn register(self) -> u8 {
        SRT.get_u8(self.0)
    }

    /// Returns whether that register is 64 bits wide.
    #[must_use]
    pub const fn is_register_64(self) -> bool {
        SF.get(self.0) == 1
    }

    /// Returns whether an abort is a stage 2 fault on the walk of a stage 1 table.
    #[must_use]
    pub const fn is_table_walk(self) -> bool {
        S1PTW.get(self.0) == 1
    }

    /// Returns whether the access that caused a Data Abort is a write.
    #[must_use]
    pub const fn is_write(self) -> bool {
        WNR.get(self.0) == 1
    }

    /// Returns the fault status code of an abort.
    #[must_use]
    pub const fn fault_status(self) -> u8 {
        FSC.get_u8(self.0)
    }

    /// Returns whether an abort is because an entry at level 0 to 3 is invalid.
    #[must_use]
    pub const fn is_translation_fault(self) -> bool {
        self.fault_status() & FSC_KIND == FSC_TRANSLATION
    }

    /// Returns whether an abort is because an entry at level 0 to 3 forbids the access.
    #[must_use]
    pub const fn is_permission_fault(self) -> bool {
        self.fault_status() & FSC_KIND == FSC_PERMISSION
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn syndrome_of_a_store_reads_field_by_field() {
        // str w5, [x0] on an unmapped level 3 address: EC 0x24, IL, ISV, SAS 2, SRT 5, WnR, DFSC 7.
        let store = Syndrome::new(0x9385_0047);
        assert!(store.is_data_abort());
        assert!(!store.is_instruction_abort());
        assert!(store.has_instruction());
        assert_eq!(store.access_bytes(), 4);
        assert!(!store.is_sign_extending());
        assert_eq!(store.register(), 5);
        assert!(!store.is_register_64());
        assert!(store.is_write());
        assert_eq!(store.fault_status(), 7);
        assert!(!store.is_table_walk());
        assert!(Syndrome::new(0x8600_0087).is_table_walk());
        assert!(store.is_translation_fault());
        assert!(!store.is_permission_fault());
    }

    #[test]
    fn syndrome_of_a_sign_extending_load_reads_field_by_field() {
        // ldrsb x3, [x0] with a level 3 permission fault.
        let load = Syndrome::new(0x9323_800F);
        assert_eq!(load.access_bytes(), 1);
        assert!(load.is_sign_extending());
        assert_eq!(load.register(), 3);
        assert!(load.is_register_64());
        assert!(!load.is_write());
        assert!(load.is_permission_fault());
    }
}
