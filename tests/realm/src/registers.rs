// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What the architecture says of the system registers of a Realm (Arm ARM, D24), independent of what a
//! monitor does: a register is there exactly if the identification registers, as the Realm reads them,
//! show its feature.

use crate::instructions::SystemRegister;
use crate::protocol::{Fault, pattern};

/// What reading an encoding of op0 2 or 3 gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// A value.
    Value,
    /// The instruction is undefined.
    Undefined,
    /// The architecture leaves it open, or has no means to keep the register from a Realm.
    Either,
}

/// The identification registers S3_0_C0_C<m>_<n>, as a Realm reads them.
#[derive(Clone, Copy, Debug)]
pub struct Identification {
    /// By CRm * 8 + op2.
    pub registers: [u64; 64],
}

impl Identification {
    /// Returns a field of four bits.
    #[must_use]
    pub const fn field(&self, crm: usize, op2: usize, shift: u32) -> u64 {
        self.registers[crm * 8 + op2] >> shift & 0xF
    }

    const fn has(&self, crm: usize, op2: usize, shift: u32) -> Reading {
        self.at_least(crm, op2, shift, 1)
    }

    const fn at_least(&self, crm: usize, op2: usize, shift: u32, least: u64) -> Reading {
        if self.field(crm, op2, shift) >= least {
            Reading::Value
        } else {
            Reading::Undefined
        }
    }

    /// `ID_AA64DFR0_EL1.PMUVer`.
    const fn pmu(&self) -> Reading {
        self.at_least(5, 0, 8, 1)
    }

    const fn pointer_authentication(&self) -> Reading {
        let fields = self.registers[6 * 8 + 1] & 0xFF0 | self.registers[6 * 8 + 2] & 0xF000;
        if fields == 0 {
            Reading::Undefined
        } else {
            Reading::Value
        }
    }

    /// `FEAT_CSV2_2` or `FEAT_CSV2_1p2`.
    const fn context_numbers(&self) -> Reading {
        if self.field(4, 0, 56) == 1 {
            self.at_least(4, 1, 32, 2)
        } else {
            self.at_least(4, 0, 56, 2)
        }
    }

    /// A breakpoint or watchpoint, whose greatest number is in `ID_AA64DFR0_EL1`.
    const fn debug(&self, shift: u32, number: u32) -> Reading {
        if number as u64 <= self.field(5, 0, shift) {
            Reading::Value
        } else {
            Reading::Undefined
        }
    }
}

/// Returns what reading a register gives at EL1 of a Realm.
#[must_use]
pub const fn reading(register: SystemRegister, id: &Identification) -> Reading {
    match register.parts() {
        [2, 0, ..] | [2, 3, ..] => debug_reading(register, id),
        [3, 0, ..] => el1_reading(register, id),
        [3, 1 | 2, ..] => cache_reading(register, id),
        [3, 3, ..] => el0_reading(register, id),
        _ => Reading::Undefined,
    }
}

const fn el1_reading(register: SystemRegister, id: &Identification) -> Reading {
    use Reading::{Either, Undefined, Value};
    let [_, _, crn, crm, op2] = register.parts();
    match (crn, crm, op2) {
        // MIDR, MPIDR, REVIDR; the identification registers.
        (0, 0, 0 | 5 | 6) | (0, 1..=7, _) => Value,
        // SCTLR, ACTLR, CPACR; TTBR0, TTBR1, TCR.
        (1 | 2, 0, 0..=2) => Value,
        (1, 0, 3) => id.has(7, 3, 4),
        (1, 0, 5 | 6) | (5, 6, 0 | 1) => id.at_least(4, 1, 8, 2),
        (1, 2, 0) => id.has(4, 0, 32),
        (1, 2, 1) => id.has(5, 0, 40),
        (1, 2, 4 | 6) => id.has(4, 1, 24),
        (2, 0, 3) => id.has(7, 3, 0),
        (2, 1 | 2, 0..=3) | (2, 3, 0 | 1) => id.pointer_authentication(),
        (2, 5, 0..=2) => id.has(4, 1, 44),
        // SPSR, ELR; SP_EL0, if it is not in use; SPSel, CurrentEL.
        (4, 0 | 1, 0) | (4, 0, 1) | (4, 2, 0 | 2) => Value,
        (4, 2, 3) => id.has(7, 1, 20),
        (4, 2, 4) => id.has(7, 2, 4),
        // ALLINT: only writes can be kept from a Realm.
        (4, 3, 0) => Either,
        // ICC_PMR; AFSR0, AFSR1, ESR, FAR, PAR, MAIR, AMAIR, VBAR, ISR.
        (4, 6, 0) | (5, 1, 0 | 1) | (5 | 10, 2, 0) | (6, 0, 0) | (7, 4, 0) => Value,
        (10, 3, 0) | (12, 0 | 1, 0) => Value,
        (5, 3, 0) | (12, 1, 1) => id.has(4, 0, 28),
        // Error records may be undefined when there are none.
        (5, 3, 1) | (5, 4 | 5, _) => Either,
        (9, 14, 1 | 2) => id.pmu(),
        (9, 14, 6) => id.at_least(5, 0, 8, 4),
        (10, 2, 2 | 3) => id.has(7, 3, 8),
        (10, 2, 4) => id.has(7, 3, 16),
        (10, 4, 4) | (10, 5, 0 | 1) => id.has(4, 0, 40),
        // ICC_IAR0, HPPIR0, BPR0, AP0R0, AP1R0; the other active priorities may be missing; NMIAR1.
        (12, 8, 0 | 2..=4) | (12, 9, 0) => Value,
        (12, 8, 5..=7) | (12, 9, 1..=3 | 5) => Either,
        // RPR; IAR1, HPPIR1, BPR1, CTLR, SRE, IGRPEN0, IGRPEN1.
        (12, 11, 3) | (12, 12, 0 | 2..=7) => Value,
        // CONTEXTIDR, TPIDR; CNTKCTL.
        (13, 0, 1 | 4) | (14, 1, 0) => Value,
        (13, 0, 7) => id.context_numbers(),
        _ => Undefined,
    }
}

const fn cache_reading(register: SystemRegister, id: &Identification) -> Reading {
    match register.parts() {
        // CCSIDR, CLIDR, AIDR, CSSELR.
        [3, 1, 0, 0, 0 | 1 | 7] | [3, 2, 0, 0, 0] => Reading::Value,
        [3, 1, 0, 0, 2] => id.has(7, 2, 20),
        [3, 1, 0, 0, 4] => id.at_least(4, 1, 8, 2),
        [3, 1, 0, 0, 6] => id.has(4, 1, 24),
        _ => Reading::Undefined,
    }
}

const fn el0_reading(register: SystemRegister, id: &Identification) -> Reading {
    use Reading::{Either, Undefined, Value};
    let [_, _, crn, crm, op2] = register.parts();
    match (crn, crm, op2) {
        // CTR, DCZID; NZCV, DAIF; FPCR, FPSR; TPIDR, TPIDRRO; CNTFRQ, CNTPCT, CNTVCT; the timers.
        (0, 0, 1 | 7) | (4, 2 | 4, 0 | 1) | (13, 0, 2 | 3) => Value,
        (14, 0, 0..=2) | (14, 2 | 3, 0..=2) => Value,
        (2, 4, 0 | 1) => id.has(6, 0, 60),
        (2, 5, 1) => id.has(4, 1, 44),
        (4, 2, 2) | (13, 0, 5) => id.has(4, 1, 24),
        (4, 2, 5) => id.has(4, 0, 48),
        (4, 2, 6) => id.at_least(4, 1, 4, 2),
        // TCO: nothing keeps it from a Realm.
        (4, 2, 7) => Either,
        (9, 12, 0..=3 | 5..=7) | (9, 13, 0) | (9, 14, 0 | 3) => id.pmu(),
        // The counter that PMSELR_EL0 names, and counters beyond the Realm's, may be missing.
        (9, 13, 1 | 2) | (14, 8..=10, _) | (14, 11, 0..=6) => either_if(id.pmu()),
        (14, 12..=14, _) | (14, 15, 0..=6) => either_if(id.pmu()),
        (14, 15, 7) => id.pmu(),
        (10, 2, 4) => id.has(7, 3, 16),
        (13, 0, 7) => id.context_numbers(),
        (13, 2..=15, _) => id.has(4, 0, 44),
        (14, 0, 5 | 6) => id.has(7, 0, 60),
        _ => Undefined,
    }
}

const fn either_if(reading: Reading) -> Reading {
    match reading {
        Reading::Value => Reading::Either,
        other => other,
    }
}

const fn debug_reading(register: SystemRegister, id: &Identification) -> Reading {
    use Reading::{Undefined, Value};
    match register.parts() {
        [2, 0, 0, n, 4 | 5] => id.debug(12, n),
        [2, 0, 0, n, 6 | 7] => id.debug(20, n),
        // OSDTRRX, OSDTRTX, MDCCINT, MDSCR, OSECCR; MDRAR, OSLSR, OSDLR.
        [2, 0, 0, 0, 2] | [2, 0, 0, 2, 0 | 2] | [2, 0, 0, 3 | 6, 2] => Value,
        [2, 0, 1, 0, 0] | [2, 0, 1, 1 | 3, 4] => Value,
        // DBGPRCR, DBGAUTHSTATUS, DBGDTR: QEMU 10 has none of them.
        [2, 0, 1, 4, 4] | [2, 0, 7, 14, 6] | [2, 3, 0, 4, 0] => Reading::Either,
        // DBGCLAIMSET, DBGCLAIMCLR; MDCCSR, DBGDTRRX.
        [2, 0, 7, 8 | 9, 6] | [2, 3, 0, 1 | 5, 0] => Value,
        _ => Undefined,
    }
}

/// Tells whether a fault is that of a register which is not there. With `FEAT_IDST` some encodings of
/// identification registers are reported as a trapped access.
#[must_use]
pub const fn is_undefined(register: SystemRegister, fault: &Fault) -> bool {
    const EC_SYSTEM_REGISTER: u64 = 0x18;
    let is_id = matches!(register.parts(), [3, 0 | 1 | 3, 0, ..]);
    fault.is_undefined() || (is_id && fault.class() == EC_SYSTEM_REGISTER)
}

/// The outcome of [`Command::Sweep`](crate::protocol::Command::Sweep): masks of encodings by CRm * 8 + op2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sweep {
    /// The instruction was done.
    pub done: u128,
    /// It was undefined.
    pub undefined: u128,
    /// It gave a value that belongs to the secret pattern.
    pub leaked: u128,
    /// The syndrome of the last exception that was neither.
    pub other_esr: u64,
}

impl Sweep {
    /// Returns the words of a report.
    #[must_use]
    pub const fn to_words(self) -> [u64; 7] {
        [
            self.done as u64,
            (self.done >> 64) as u64,
            self.undefined as u64,
            (self.undefined >> 64) as u64,
            self.leaked as u64,
            (self.leaked >> 64) as u64,
            self.other_esr,
        ]
    }

    /// Reads what [`Self::to_words`] wrote.
    #[must_use]
    pub const fn from_words(words: [u64; 7]) -> Self {
        Self {
            done: (words[1] as u128) << 64 | words[0] as u128,
            undefined: (words[3] as u128) << 64 | words[2] as u128,
            leaked: (words[5] as u128) << 64 | words[4] as u128,
            other_esr: words[6],
        }
    }
}

/// Words of the pattern that a Host puts into its registers, at most.
pub const SECRET_WORDS: u64 = 64;

/// Tells whether a value has 32 bits in a row in common with a word of the pattern `seed`.
#[must_use]
pub fn is_secret(value: u64, seed: u64) -> bool {
    let halves = |value: u64| [value & 0xFFFF_FFFF, value >> 32];
    let [low, high] = halves(value);
    (0..SECRET_WORDS).any(|index| {
        let [secret_low, secret_high] = halves(pattern(seed, index));
        low == secret_low || high == secret_high
    })
}

/// A register that is filled with a pattern: its name, and the bits that may have any value without
/// an effect on the payload.
#[derive(Clone, Copy, Debug)]
pub struct PatternRegister {
    /// Its name in the architecture.
    pub name: &'static str,
    /// Its encoding.
    pub register: SystemRegister,
    /// The bits that are filled.
    pub mask: u64,
}

const fn row(name: &'static str, parts: [u32; 5], mask: u64) -> PatternRegister {
    let [op0, op1, crn, crm, op2] = parts;
    PatternRegister {
        name,
        register: SystemRegister::new(op0, op1, crn, crm, op2),
        mask,
    }
}

/// Registers of EL1 and EL0 whose values belong to the Realm, in the order in which they are filled.
///
/// The exception registers come last: filling a register that is undefined changes them.
pub const SYSTEM_REGISTERS: &[PatternRegister] = &[
    row("TPIDR_EL0", [3, 3, 13, 0, 2], u64::MAX),
    row("TPIDRRO_EL0", [3, 3, 13, 0, 3], u64::MAX),
    row("TPIDR_EL1", [3, 0, 13, 0, 4], u64::MAX),
    row("SCXTNUM_EL0", [3, 3, 13, 0, 7], u64::MAX),
    row("SCXTNUM_EL1", [3, 0, 13, 0, 7], u64::MAX),
    row("CONTEXTIDR_EL1", [3, 0, 13, 0, 1], 0xFFFF_FFFF),
    row("SP_EL0", [3, 0, 4, 1, 0], u64::MAX),
    row("AFSR0_EL1", [3, 0, 5, 1, 0], 0xFFFF_FFFF),
    row("AFSR1_EL1", [3, 0, 5, 1, 1], 0xFFFF_FFFF),
    row("AMAIR_EL1", [3, 0, 10, 3, 0], u64::MAX),
    // The memory types that the payload does not use.
    row("MAIR_EL1", [3, 0, 10, 2, 0], 0x4444_4444_4444_0000),
    row("CNTKCTL_EL1", [3, 0, 14, 1, 0], 0x303),
    row("CSSELR_EL1", [3, 2, 0, 0, 0], 0x3),
    row("PAR_EL1", [3, 0, 7, 4, 0], 0x0000_FFFF_FFFF_F000),
    row("CNTV_CVAL_EL0", [3, 3, 14, 3, 2], u64::MAX),
    row("CNTP_CVAL_EL0", [3, 3, 14, 2, 2], u64::MAX),
    row("APIAKEYLO_EL1", [3, 0, 2, 1, 0], u64::MAX),
    row("APIAKEYHI_EL1", [3, 0, 2, 1, 1], u64::MAX),
    row("APIBKEYLO_EL1", [3, 0, 2, 1, 2], u64::MAX),
    row("APIBKEYHI_EL1", [3, 0, 2, 1, 3], u64::MAX),
    row("APDAKEYLO_EL1", [3, 0, 2, 2, 0], u64::MAX),
    row("APDAKEYHI_EL1", [3, 0, 2, 2, 1], u64::MAX),
    row("APDBKEYLO_EL1", [3, 0, 2, 2, 2], u64::MAX),
    row("APDBKEYHI_EL1", [3, 0, 2, 2, 3], u64::MAX),
    row("APGAKEYLO_EL1", [3, 0, 2, 3, 0], u64::MAX),
    row("APGAKEYHI_EL1", [3, 0, 2, 3, 1], u64::MAX),
    // Breakpoints and watchpoints that are off.
    row("DBGBVR0_EL1", [2, 0, 0, 0, 4], 0x0000_FFFF_FFFF_FFFC),
    row("DBGWVR0_EL1", [2, 0, 0, 0, 6], 0x0000_FFFF_FFFF_FFF8),
    row("DBGBVR1_EL1", [2, 0, 0, 1, 4], 0x0000_FFFF_FFFF_FFFC),
    row("DBGWVR1_EL1", [2, 0, 0, 1, 6], 0x0000_FFFF_FFFF_FFF8),
    row("DBGBCR0_EL1", [2, 0, 0, 0, 5], 0x000F_E1E6),
    row("DBGWCR0_EL1", [2, 0, 0, 0, 7], 0x1F1F_FFFE),
    row("MDSCR_EL1", [2, 0, 0, 2, 2], 0x1000),
    // The performance monitor, which is off.
    row("PMSELR_EL0", [3, 3, 9, 12, 5], 0x1F),
    row("PMCCNTR_EL0", [3, 3, 9, 13, 0], u64::MAX),
    row("PMUSERENR_EL0", [3, 3, 9, 14, 0], 0xF),
    row("PMEVCNTR0_EL0", [3, 3, 14, 8, 0], 0xFFFF_FFFF),
    row("PMEVTYPER0_EL0", [3, 3, 14, 12, 0], 0x3FF),
    row("PMINTENSET_EL1", [3, 0, 9, 14, 1], 0x8000_0001),
    row("DISR_EL1", [3, 0, 12, 1, 1], 0x1FF_FFFF),
    // Permission indirection that is off.
    row("PIRE0_EL1", [3, 0, 10, 2, 2], 0x1111_1111_1111_1111),
    row("PIR_EL1", [3, 0, 10, 2, 3], 0x1111_1111_1111_1111),
    row("POR_EL1", [3, 0, 10, 2, 4], 0x1111_1111_1111_1111),
    row("POR_EL0", [3, 3, 10, 2, 4], 0x1111_1111_1111_1111),
    row("FAR_EL1", [3, 0, 6, 0, 0], u64::MAX),
    row("ESR_EL1", [3, 0, 5, 2, 0], 0xFFFF_FFFF),
    row("ELR_EL1", [3, 0, 4, 0, 1], u64::MAX),
    row("SPSR_EL1", [3, 0, 4, 0, 0], 0xF000_03C5),
];

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: Identification = Identification { registers: [0; 64] };
    const EVERYTHING: Identification = Identification {
        registers: [u64::MAX; 64],
    };

    fn reads(parts: [u32; 5], id: &Identification) -> Reading {
        let [op0, op1, crn, crm, op2] = parts;
        reading(SystemRegister::new(op0, op1, crn, crm, op2), id)
    }

    #[test]
    fn registers_come_with_their_features() {
        // PMCR_EL0, SMCR_EL1, TCR2_EL1, AMCR_EL0, SCXTNUM_EL1, APIAKeyLo_EL1.
        for parts in [
            [3, 3, 9, 12, 0],
            [3, 0, 1, 2, 6],
            [3, 0, 2, 0, 3],
            [3, 3, 13, 2, 0],
            [3, 0, 13, 0, 7],
            [3, 0, 2, 1, 0],
        ] {
            assert_eq!(reads(parts, &NOTHING), Reading::Undefined, "{parts:?}");
            assert_eq!(reads(parts, &EVERYTHING), Reading::Value, "{parts:?}");
        }
        // SCTLR_EL1 and SCTLR_EL2.
        assert_eq!(reads([3, 0, 1, 0, 0], &NOTHING), Reading::Value);
        assert_eq!(reads([3, 4, 1, 0, 0], &EVERYTHING), Reading::Undefined);
    }

    #[test]
    fn breakpoints_are_counted() {
        let mut id = NOTHING;
        id.registers[5 * 8] = 2 << 12 | 1 << 20;
        for n in 0..16 {
            let expected = |last| {
                if n <= last {
                    Reading::Value
                } else {
                    Reading::Undefined
                }
            };
            assert_eq!(reads([2, 0, 0, n, 4], &id), expected(2));
            assert_eq!(reads([2, 0, 0, n, 7], &id), expected(1));
        }
    }

    #[test]
    fn sweeps_survive_a_report() {
        let sweep = Sweep {
            done: 1 << 127 | 1,
            undefined: 1 << 64,
            leaked: 1 << 63,
            other_esr: 7,
        };
        assert_eq!(Sweep::from_words(sweep.to_words()), sweep);
    }

    #[test]
    fn secrets_are_found_by_half() {
        let word = pattern(3, 9);
        assert!(is_secret(word, 3));
        assert!(is_secret(word & 0xFFFF_FFFF, 3));
        assert!(is_secret(word | 0xFFFF, 3));
        assert!(!is_secret(word, 4));
        assert!(!is_secret(0, 3));
    }

    #[test]
    fn system_registers_fit_their_masks() {
        assert!(SYSTEM_REGISTERS.len() <= 64);
        for (n, row) in SYSTEM_REGISTERS.iter().enumerate() {
            let others = &SYSTEM_REGISTERS[n + 1..];
            assert!(
                others.iter().all(|o| o.register != row.register),
                "{}",
                row.name
            );
        }
    }
}
