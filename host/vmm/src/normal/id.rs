// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What a normal VM is told about its processor.
//!
//! Reads of the identification registers trap. The guest sees what the PE has, without the fields
//! of features that the host does not switch or whose controls it leaves off: whatever a guest is
//! told about, it can use.

/// Bits of a syndrome that name the register: Op0, Op2, Op1, CRn, CRm.
const NAME: u64 = 0x3F_FC1E;
const OP0_SHIFT: u32 = 20;
const OP2_SHIFT: u32 = 17;
const CRM_SHIFT: u32 = 1;
/// First and last CRm of the registers that `HCR_EL2.TID3` traps.
const FIRST: u8 = 1;
const LAST: u8 = 7;
/// Bits of a field.
const FIELD: u64 = 0xF;

/// An identification register of group 3: `S3_0_C0_C<crm>_<op2>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdRegister {
    /// 1 to 7.
    pub crm: u8,
    /// 0 to 7.
    pub op2: u8,
}

impl IdRegister {
    /// Returns the register that a trapped access names, if it is of group 3.
    pub fn of_syndrome(esr: u64) -> Option<Self> {
        let crm = (esr >> CRM_SHIFT & 0xF) as u8;
        let op2 = (esr >> OP2_SHIFT & 0x7) as u8;
        let name = 3 << OP0_SHIFT | u64::from(op2) << OP2_SHIFT | u64::from(crm) << CRM_SHIFT;
        let is_id = esr & NAME == name && (FIRST..=LAST).contains(&crm);
        is_id.then_some(Self { crm, op2 })
    }
}

/// Returns the value a guest sees of a register that holds `value`.
pub fn limit(register: IdRegister, value: u64) -> u64 {
    match HIDDEN
        .iter()
        .find(|(crm, op2, _)| (*crm, *op2) == (register.crm, register.op2))
    {
        Some((_, _, Hidden::All)) => 0,
        Some((_, _, Hidden::Fields(fields))) => {
            let hidden = fields.iter().fold(0, |bits, first| bits | FIELD << first);
            value & !hidden
        }
        None => value,
    }
}

/// What of a register is hidden.
enum Hidden {
    All,
    /// The fields of four bits that start at these.
    Fields(&'static [u32]),
}

/// Registers with something to hide: CRm, op2, and what.
const HIDDEN: &[(u8, u8, Hidden)] = &[
    // ID_AA64PFR0: EL2, EL3, SVE, SEL2, MPAM, AMU, RME.
    (4, 0, Hidden::Fields(&[8, 12, 32, 36, 40, 44, 52])),
    // ID_AA64PFR1: MPAM_frac, SME, RNDR_trap, NMI, GCS, THE, MTEX, DF2, PFAR.
    (4, 1, Hidden::Fields(&[16, 24, 28, 36, 44, 48, 52, 56, 60])),
    // ID_AA64PFR2, ID_AA64ZFR0, ID_AA64SMFR0, ID_AA64FPFR0.
    (4, 2, Hidden::All),
    (4, 4, Hidden::All),
    (4, 5, Hidden::All),
    (4, 7, Hidden::All),
    // ID_AA64DFR0: TraceVer, PMUVer, PMSVer, TraceFilt, TraceBuffer, MTPMU, BRBE, HPMN0.
    (5, 0, Hidden::Fields(&[4, 8, 32, 40, 44, 48, 52, 60])),
    // ID_AA64DFR1, ID_AA64DFR2.
    (5, 1, Hidden::All),
    (5, 2, Hidden::All),
    // ID_AA64ISAR0: TME.
    (6, 0, Hidden::Fields(&[24])),
    // ID_AA64ISAR1: LS64. ID_AA64ISAR2: SYSREG_128, SYSINSTR_128, LUT and what is above.
    (6, 1, Hidden::Fields(&[60])),
    (6, 2, Hidden::Fields(&[32, 36, 44, 60])),
    // ID_AA64ISAR3.
    (6, 3, Hidden::All),
    // ID_AA64MMFR0: granules of stage 2, FGT, ECV. ID_AA64MMFR1: VMIDBits, VH, LO, TWED, HCX.
    (7, 0, Hidden::Fields(&[32, 36, 40, 56, 60])),
    (7, 1, Hidden::Fields(&[4, 8, 16, 32, 40])),
    // ID_AA64MMFR2: NV, FWB, EVT.
    (7, 2, Hidden::Fields(&[24, 40, 56])),
    // ID_AA64MMFR3, ID_AA64MMFR4: translation controls of later architectures.
    (7, 3, Hidden::All),
    (7, 4, Hidden::All),
];

#[cfg(test)]
mod tests {
    use super::*;

    const fn register(crm: u8, op2: u8) -> IdRegister {
        IdRegister { crm, op2 }
    }

    #[test]
    fn registers_are_named_by_the_syndrome() {
        // mrs x5, ID_AA64PFR1_EL1: EC 0x18, IL, Op0 3, Op2 1, Op1 0, CRn 0, Rt 5, CRm 4, read.
        assert_eq!(IdRegister::of_syndrome(0x6232_00A9), Some(register(4, 1)));
        // MIDR_EL1 (CRm 0) does not trap; CNTVCT_EL0 is none.
        assert_eq!(IdRegister::of_syndrome(0x6230_00A1), None);
        assert_eq!(IdRegister::of_syndrome(0x6234_D8A1), None);
    }

    /// CPU `max` of QEMU 10.0.2: CSV3, CSV2, DIT, RAS, GIC, AdvSIMD, FP, EL1 and EL0 stay.
    #[test]
    fn qemu_max_without_what_the_host_keeps() {
        let pfr0 = limit(register(4, 0), 0x1311_0011_2111_2222);
        assert_eq!(pfr0, 0x1301_0000_2111_0022);
        let pfr1 = limit(register(4, 1), 0x0001_1001_0102_0321);
        assert_eq!(pfr1, 0x1_0000_0321, "MTE stays");
        let mmfr0 = limit(register(7, 0), 0x2100_0323_1020_1126);
        assert_eq!(mmfr0, 0x1020_1126);
    }

    #[test]
    fn whole_registers_are_hidden_and_others_are_not() {
        assert_eq!(limit(register(4, 5), u64::MAX), 0);
        assert_eq!(limit(register(1, 0), u64::MAX), u64::MAX);
        assert_eq!(limit(register(6, 1), u64::MAX), u64::MAX >> 4);
    }
}
