// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Exceptions that the host makes a guest take at EL1 (Arm ARM, "Exception entry").

use super::Registers;
use rmi::RecExit;
use rmi::syndrome::{
    EC_DATA_ABORT_LOWER, EC_DATA_ABORT_SAME, EC_INSTRUCTION_ABORT_LOWER, EC_INSTRUCTION_ABORT_SAME,
};

/// `ESR_EL1.EC` starts at this bit.
const EC_SHIFT: u32 = 26;
/// `ESR_EL1.IL`: an instruction of four bytes.
const IL: u64 = 1 << 25;
/// Fault status: synchronous external abort, not on a table walk.
const FSC_EXTERNAL: u64 = 0x10;

/// Bits of `SPSR_EL1` and `PSTATE`.
const MODE: u64 = 0xF;
const MODE_EL0: u64 = 0b0000;
const MODE_EL1T: u64 = 0b0100;
const MODE_EL1H: u64 = 0b0101;
const AARCH32: u64 = 1 << 4;
const MASKS: u64 = 0x3C0;
const SSBS: u64 = 1 << 12;
const ALLINT: u64 = 1 << 13;
const PAN: u64 = 1 << 22;
const DIT: u64 = 1 << 24;
const TCO: u64 = 1 << 25;
const FLAGS: u64 = 0xF << 28;

/// Bits of `SCTLR_EL1` that decide about the state after an exception.
const SCTLR_SPAN: u64 = 1 << 23;
const SCTLR_DSSBS: u64 = 1 << 44;
const SCTLR_NMI: u64 = 1 << 61;
const SCTLR_SPINTMASK: u64 = 1 << 62;
/// `SCTLR_EL1.ATA` and `ATA0`: some level uses allocation tags.
const SCTLR_TAGS: u64 = 0b11 << 42;

/// Distance between the groups of vectors.
const VECTORS_SAME_LEVEL: u64 = 0x200;
const VECTORS_LOWER_64: u64 = 0x400;
const VECTORS_LOWER_32: u64 = 0x600;

/// An exception to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Injected {
    class: Class,
    far: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Undefined,
    DataAbort,
    InstructionAbort,
}

/// Where the guest takes its exceptions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vectors {
    /// `VBAR_EL1`.
    pub vbar: u64,
    /// `SCTLR_EL1`.
    pub sctlr: u64,
}

/// What an exception leaves in the registers of EL1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exception {
    /// `ELR_EL1`.
    pub elr: u64,
    /// `SPSR_EL1`.
    pub spsr: u64,
    /// `ESR_EL1`.
    pub esr: u64,
    /// `FAR_EL1`, when the exception has an address.
    pub far: Option<u64>,
}

impl Injected {
    /// The instruction does not exist.
    pub fn undefined() -> Self {
        Self {
            class: Class::Undefined,
            far: None,
        }
    }

    /// The memory system failed the access that `exit` reports.
    pub fn external_abort(exit: &RecExit) -> Self {
        let class = if exit.syndrome().is_instruction_abort() {
            Class::InstructionAbort
        } else {
            Class::DataAbort
        };
        Self {
            class,
            far: Some(exit.far),
        }
    }

    /// Makes the guest with `registers` take the exception; the rest is for the registers of EL1.
    pub fn take(&self, registers: &mut Registers, vectors: &Vectors) -> Exception {
        let before = registers.pstate;
        let is_lower = before & AARCH32 != 0 || before & MODE == MODE_EL0;
        let class = match (self.class, is_lower) {
            (Class::Undefined, _) => 0,
            (Class::DataAbort, true) => EC_DATA_ABORT_LOWER,
            (Class::DataAbort, false) => EC_DATA_ABORT_SAME,
            (Class::InstructionAbort, true) => EC_INSTRUCTION_ABORT_LOWER,
            (Class::InstructionAbort, false) => EC_INSTRUCTION_ABORT_SAME,
        };
        let status = if self.class == Class::Undefined {
            0
        } else {
            FSC_EXTERNAL
        };
        let exception = Exception {
            elr: registers.pc,
            spsr: before,
            esr: u64::from(class) << EC_SHIFT | IL | status,
            far: self.far,
        };
        registers.pc = vectors.vbar.wrapping_add(offset(before));
        registers.pstate = pstate_after(before, vectors.sctlr);
        exception
    }
}

/// The distance of the vector of synchronous exceptions from the state `before`.
fn offset(before: u64) -> u64 {
    if before & AARCH32 != 0 {
        VECTORS_LOWER_32
    } else {
        match before & MODE {
            MODE_EL0 => VECTORS_LOWER_64,
            MODE_EL1T => 0,
            _ => VECTORS_SAME_LEVEL,
        }
    }
}

fn pstate_after(before: u64, sctlr: u64) -> u64 {
    let mut after = before & (FLAGS | DIT | PAN) | MASKS | MODE_EL1H;
    if sctlr & SCTLR_SPAN == 0 {
        after |= PAN;
    }
    if sctlr & SCTLR_DSSBS != 0 {
        after |= SSBS;
    }
    if sctlr & SCTLR_NMI != 0 && sctlr & SCTLR_SPINTMASK == 0 {
        after |= ALLINT;
    }
    if sctlr & SCTLR_TAGS != 0 {
        after |= TCO;
    }
    after
}

#[cfg(test)]
mod tests {
    use super::*;

    fn abort(esr: u64) -> Injected {
        let mut exit = RecExit::default();
        (exit.esr, exit.far) = (esr, 0xFFFF_0000_0000_1234);
        Injected::external_abort(&exit)
    }

    fn at(pstate: u64) -> Registers {
        Registers {
            pc: 0x1000,
            pstate,
            ..Registers::default()
        }
    }

    const VECTORS: Vectors = Vectors {
        vbar: 0x8_0000,
        sctlr: SCTLR_SPAN,
    };

    #[test]
    fn data_abort_from_the_kernel() {
        let mut registers = at(0x6000_0005);
        let exception = abort(0x24 << 26 | 0x07).take(&mut registers, &VECTORS);
        assert_eq!(registers.pc, 0x8_0200);
        assert_eq!(registers.pstate, 0x6000_03C5);
        assert_eq!(exception.elr, 0x1000);
        assert_eq!(exception.spsr, 0x6000_0005);
        assert_eq!(exception.esr, 0x9600_0010);
        assert_eq!(exception.far, Some(0xFFFF_0000_0000_1234));
    }

    #[test]
    fn instruction_abort_from_user_space() {
        let mut registers = at(0);
        let exception = abort(0x20 << 26 | 0x07).take(&mut registers, &VECTORS);
        assert_eq!(registers.pc, 0x8_0400);
        assert_eq!(exception.esr, 0x8200_0010);
        let mut registers = at(0x10);
        abort(0x20 << 26).take(&mut registers, &VECTORS);
        assert_eq!(registers.pc, 0x8_0600, "a 32-bit program");
    }

    #[test]
    fn undefined_has_no_address() {
        let mut registers = at(0x4);
        let exception = Injected::undefined().take(&mut registers, &VECTORS);
        assert_eq!(registers.pc, 0x8_0000, "EL1 on the stack of EL0");
        assert_eq!((exception.esr, exception.far), (0x0200_0000, None));
    }

    #[test]
    fn state_after_an_exception_follows_the_controls() {
        assert_eq!(pstate_after(0x5, SCTLR_SPAN), 0x3C5);
        assert_eq!(pstate_after(0x5, 0), 0x3C5 | PAN);
        assert_eq!(pstate_after(PAN | 0x5, SCTLR_SPAN), 0x3C5 | PAN);
        let all = SCTLR_SPAN | SCTLR_DSSBS | SCTLR_NMI | 1 << 43;
        assert_eq!(pstate_after(0, all), 0x3C5 | SSBS | ALLINT | TCO);
        let masked = SCTLR_SPAN | SCTLR_NMI | SCTLR_SPINTMASK;
        assert_eq!(pstate_after(0, masked), 0x3C5);
        // Single-step, illegal state, branch target state and UAO do not survive.
        assert_eq!(pstate_after(0xB0_0C05, SCTLR_SPAN), 0x3C5);
    }
}
