// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What a Realm reads from the ID registers (Arm ARM D24.2): an allow-list.
//!
//! A field that is not in the table reads zero, which says for nearly every field that the feature is
//! not there. A field that is in the table reads as the hardware has it, capped where later values
//! stand for something that a Realm does not have. What becomes of the registers that a feature brings is
//! in `rmm_hal::registers`. Missing on purpose:
//!
//! | feature | why |
//! |---|---|
//! | EL2, VHE, NV, LORegions, FGT, HCX, TWED, EVT, stage 2 | a Realm has EL0 and EL1 |
//! | AMU, SPE, TRBE, BRBE, trace | the specification keeps them from Realms, or they show other worlds |
//! | MTE, MPAM | EL3 traps them |
//! | TCR2, SCTLR2, S1PIE, S1POE, GCS, D128, THE, CPA, PAuth masks | EL3 may trap them, or they need state that is not switched |
//! | SME, FP8, FPMR | not for Realms |
//! | NMI | list registers do not carry it |
//! | LS64, RNDR trap, DoubleFault2, PFAR | controls at EL2 or EL3 stay off |

use rmm_hal::CpuFeatures;

use crate::rec::object::RealmTraits;

/// One register: op0 = 3, op1 = 0, CRn = 0.
struct Row {
    crm: u8,
    op2: u8,
    /// Fields that read as the hardware has them.
    keep: u64,
    /// Fields of these with a greatest value.
    caps: &'static [Cap],
}

/// A field of four bits that reads no greater than `most`.
struct Cap {
    shift: u32,
    most: u64,
}

/// Returns the mask of the four-bit fields that begin at these bits.
const fn fields<const N: usize>(shifts: [u32; N]) -> u64 {
    let mut mask = 0;
    let mut rest: &[u32] = &shifts;
    while let [shift, tail @ ..] = rest {
        mask |= 0xF << *shift;
        rest = tail;
    }
    mask
}

const fn row(crm: u8, op2: u8, keep: u64, caps: &'static [Cap]) -> Row {
    Row {
        crm,
        op2,
        keep,
        caps,
    }
}

const fn cap(shift: u32, most: u64) -> Cap {
    Cap { shift, most }
}

const ID_AA64PFR0: (u8, u8) = (4, 0);
const ID_AA64ZFR0: (u8, u8) = (4, 4);
const ID_AA64DFR0: (u8, u8) = (5, 0);
const ID_AA64ISAR2: (u8, u8) = (6, 2);
const ID_DFR0: (u8, u8) = (1, 2);

/// `ID_AA64PFR0_EL1.SVE`.
const PFR0_SVE: u32 = 32;
/// `ID_AA64ZFR0_EL1.F64MM`: takes vectors of 256 bits at least.
const ZFR0_F64MM: u32 = 56;
/// `ID_AA64DFR0_EL1` fields that depend on the Realm.
const DFR0_PMUVER: u32 = 8;
const DFR0_BRPS: u32 = 12;
const DFR0_WRPS: u32 = 20;
const DFR0_DOUBLE_LOCK: u32 = 36;
/// `ID_AA64ISAR2_EL1.MOPS`.
const ISAR2_MOPS: u32 = 16;
/// `ID_DFR0_EL1.PerfMon`.
const AA32_PERFMON: u32 = 24;
/// PMUv3 for Armv8.8: later versions have registers that are not switched.
const PMU_V3P8: u64 = 8;
/// The value of PMUVer and PerfMon for something that is not PMUv3.
const PMU_IMPLEMENTATION_DEFINED: u64 = 0xF;
/// `ID_AA64DFR0_EL1.DoubleLock`: not implemented.
const NO_DOUBLE_LOCK: u64 = 0xF;
/// The greatest number, minus one, that BRPs and WRPs express.
const MOST_BREAKPOINTS: u64 = 0xF;

const ROWS: &[Row] = &[
    // ID_PFR0_EL1: State0 to State3, CSV2, DIT, RAS.
    row(1, 0, fields([0, 4, 8, 12, 16, 24, 28]), &[]),
    // ID_PFR1_EL1: ProgMod, Security, MProgMod, GenTimer, Sec_frac, GIC.
    row(1, 1, fields([0, 4, 8, 16, 20, 28]), &[]),
    // ID_DFR0_EL1: CopDbg, CopSDbg, MMapDbg, MProfDbg, PerfMon.
    row(1, 2, fields([0, 4, 8, 20, AA32_PERFMON]), &[]),
    // ID_MMFR0_EL1 to ID_MMFR3_EL1.
    row(1, 4, u64::MAX, &[]),
    row(1, 5, u64::MAX, &[]),
    row(1, 6, u64::MAX, &[]),
    row(1, 7, u64::MAX, &[]),
    // ID_ISAR0_EL1 to ID_ISAR5_EL1, ID_MMFR4_EL1, ID_ISAR6_EL1.
    row(2, 0, u64::MAX, &[]),
    row(2, 1, u64::MAX, &[]),
    row(2, 2, u64::MAX, &[]),
    row(2, 3, u64::MAX, &[]),
    row(2, 4, u64::MAX, &[]),
    row(2, 5, u64::MAX, &[]),
    // SpecSEI, AC2, XNX (stage 2) not, CnP, HPDS, LSM, CCIDX; EVT not.
    row(2, 6, fields([0, 4, 12, 16, 20, 24]), &[]),
    row(2, 7, u64::MAX, &[]),
    // MVFR0_EL1 to MVFR2_EL1.
    row(3, 0, u64::MAX, &[]),
    row(3, 1, u64::MAX, &[]),
    row(3, 2, u64::MAX, &[]),
    // ID_PFR2_EL1: CSV3, SSBS, RAS_frac.
    row(3, 4, fields([0, 4, 8]), &[]),
    // ID_MMFR5_EL1: ETS, nTLBPA.
    row(3, 6, fields([0, 4]), &[]),
    // ID_AA64PFR0_EL1: EL0, EL1, EL3, FP, AdvSIMD, GIC, RAS, SVE, DIT, CSV2, CSV3.
    row(
        4,
        0,
        fields([0, 4, 12, 16, 20, 24, 28, PFR0_SVE, 48, 56, 60]),
        &[cap(4, 1), cap(12, 1)],
    ),
    // ID_AA64PFR1_EL1: BT, SSBS, RAS_frac, CSV2_frac.
    row(4, 1, fields([0, 4, 12, 32]), &[]),
    // ID_AA64ZFR0_EL1.
    row(4, 4, u64::MAX, &[]),
    // ID_AA64DFR0_EL1: DebugVer up to Armv8.8, PMUVer, BRPs, WRPs. CTX_CMPs zero says that one
    // breakpoint, the last, compares contexts.
    row(
        5,
        0,
        fields([0, DFR0_PMUVER, DFR0_BRPS, DFR0_WRPS]),
        &[cap(0, 0xA)],
    ),
    // ID_AA64ISAR0_EL1: everything but TME.
    row(
        6,
        0,
        fields([4, 8, 12, 16, 20, 28, 32, 36, 40, 44, 48, 52, 56, 60]),
        &[],
    ),
    // ID_AA64ISAR1_EL1: everything but LS64.
    row(
        6,
        1,
        fields([0, 4, 8, 12, 16, 20, 24, 28, 32, 36, 40, 44, 48, 52, 56]),
        &[],
    ),
    // ID_AA64ISAR2_EL1: WFxT, RPRES, GPA3, APA3, MOPS, BC, PAC_frac, CLRBHB, PRFMSLC, RPRFM, CSSC,
    // LUT, ATS1A.
    row(
        6,
        2,
        fields([0, 4, 8, 12, ISAR2_MOPS, 20, 24, 28, 40, 48, 52, 56, 60]),
        &[],
    ),
    // ID_AA64ISAR3_EL1: FAMINMAX.
    row(6, 3, fields([4]), &[]),
    // ID_AA64MMFR0_EL1: PARange, ASIDBits, BigEnd, BigEndEL0, TGran16, TGran64, TGran4, ExS, ECV
    // without the physical offset.
    row(
        7,
        0,
        fields([0, 4, 8, 16, 20, 24, 28, 44, 60]),
        &[cap(60, 1)],
    ),
    // ID_AA64MMFR1_EL1: HAFDBS without HAFT, HPDS, PAN, SpecSEI, ETS, AFP, nTLBPA, TIDCP1, CMOW, ECBHB.
    row(
        7,
        1,
        fields([0, 12, 20, 24, 36, 44, 48, 52, 56, 60]),
        &[cap(0, 2)],
    ),
    // ID_AA64MMFR2_EL1: CnP, UAO, LSM, IESB, VARange without D128, CCIDX, ST, AT, IDS, TTL, BBM, E0PD.
    row(
        7,
        2,
        fields([0, 4, 8, 12, 16, 20, 28, 32, 36, 48, 52, 60]),
        &[cap(16, 1)],
    ),
    // ID_AA64MMFR3_EL1: Spec_FPACC.
    row(7, 3, fields([60]), &[]),
];

/// Returns what the REC of a Realm with these traits reads from the ID register op0 = 3, op1 = 0,
/// CRn = 0, `crm`, `op2`. Encodings without a register read zero.
pub(crate) fn read(crm: u8, op2: u8, cpu: &CpuFeatures, realm: &RealmTraits) -> u64 {
    let Some(row) = ROWS.iter().find(|row| (row.crm, row.op2) == (crm, op2)) else {
        return 0;
    };
    let capped = row
        .caps
        .iter()
        .fold(cpu.id_register(crm, op2) & row.keep, |value, cap| {
            with_field(value, cap.shift, field(value, cap.shift).min(cap.most))
        });
    with_realm((crm, op2), capped, cpu, realm)
}

/// Puts what depends on the Realm into the value of a register.
fn with_realm(register: (u8, u8), value: u64, cpu: &CpuFeatures, realm: &RealmTraits) -> u64 {
    match register {
        ID_AA64PFR0 if realm.sve_vq.is_none() => with_field(value, PFR0_SVE, 0),
        ID_AA64ZFR0 => match realm.sve_vq {
            None => 0,
            Some(0) => with_field(value, ZFR0_F64MM, 0),
            Some(_) => value,
        },
        ID_AA64DFR0 => {
            let value = with_field(value, DFR0_PMUVER, pmu_version(value, DFR0_PMUVER, realm));
            let breakpoints = u64::from(realm.breakpoints).min(MOST_BREAKPOINTS);
            let watchpoints = u64::from(realm.watchpoints).min(MOST_BREAKPOINTS);
            let value = with_field(value, DFR0_BRPS, breakpoints);
            let value = with_field(value, DFR0_WRPS, watchpoints);
            with_field(value, DFR0_DOUBLE_LOCK, NO_DOUBLE_LOCK)
        }
        ID_DFR0 => with_field(value, AA32_PERFMON, pmu_version(value, AA32_PERFMON, realm)),
        ID_AA64ISAR2 if !cpu.mops => with_field(value, ISAR2_MOPS, 0),
        _ => value,
    }
}

fn pmu_version(value: u64, shift: u32, realm: &RealmTraits) -> u64 {
    match field(value, shift) {
        _ if realm.pmu_counters.is_none() => 0,
        PMU_IMPLEMENTATION_DEFINED => 0,
        version => version.min(PMU_V3P8),
    }
}

fn field(value: u64, shift: u32) -> u64 {
    value >> shift & 0xF
}

fn with_field(value: u64, shift: u32, new: u64) -> u64 {
    value & !(0xF << shift) | new << shift
}

#[cfg(test)]
mod tests {
    use rmm_hal::registers::{self, Treatment};

    use super::*;
    use crate::rec::tests::{cpu, realm_traits};

    /// A machine in which every field of every register reads ones.
    fn ones() -> CpuFeatures {
        let mut cpu = cpu();
        cpu.id_registers = [u64::MAX; rmm_hal::ID_REGISTERS];
        cpu.mops = true;
        cpu
    }

    fn everything() -> RealmTraits {
        let mut realm = realm_traits();
        realm.sve_vq = Some(15);
        realm.pmu_counters = Some(6);
        realm
    }

    fn assert_zero(crm: u8, op2: u8, shifts: &[u32]) {
        let value = read(crm, op2, &ones(), &everything());
        for shift in shifts {
            assert_eq!(field(value, *shift), 0, "{crm} {op2} {shift}");
        }
    }

    #[test]
    fn fields_that_no_realm_has_read_zero() {
        // EL2, SEL2, MPAM, AMU, RME.
        assert_zero(4, 0, &[8, 36, 40, 44, 52]);
        // MTE, MPAM_frac, SME, RNDR_trap, NMI, MTE_frac, GCS, THE, MTEX, DF2, PFAR.
        assert_zero(4, 1, &[8, 16, 24, 28, 36, 40, 44, 48, 52, 56, 60]);
        // TraceVer, PMSS, SEBEP, CTX_CMPs, PMSVer, TraceFilt, TraceBuffer, BRBE, ExtTrcBuff.
        assert_zero(5, 0, &[4, 16, 24, 28, 32, 40, 44, 52, 56]);
        // TME; LS64; SYSREG_128, SYSINSTR_128; CPA, PACM.
        assert_zero(6, 0, &[24]);
        assert_zero(6, 1, &[60]);
        assert_zero(6, 2, &[32, 36]);
        assert_zero(6, 3, &[0, 12]);
        // Stage 2 granules, FGT; VMIDBits, VH, LO, XNX, TWED, HCX; NV, FWB, EVT.
        assert_zero(7, 0, &[32, 36, 40, 56]);
        assert_zero(7, 1, &[4, 8, 16, 28, 32, 40]);
        assert_zero(7, 2, &[24, 40, 56]);
        // TCRX, SCTLRX, S1PIE, S2PIE, S1POE, S2POE, AIE, MEC, D128.
        assert_zero(7, 3, &[0, 4, 8, 12, 16, 20, 24, 28, 32]);
        // AMU and trace of AArch32.
        assert_zero(1, 0, &[20]);
        assert_zero(1, 2, &[12, 16, 28]);
    }

    #[test]
    fn registers_that_no_realm_has_read_zero() {
        // ID_AA64PFR2, SMFR0, FPFR0, DFR1, DFR2, AFR0, AFR1, MMFR4, ID_AFR0, ID_DFR1.
        let hidden = [
            (4, 2),
            (4, 5),
            (4, 7),
            (5, 1),
            (5, 2),
            (5, 4),
            (5, 5),
            (7, 4),
            (1, 3),
            (3, 5),
        ];
        for (crm, op2) in hidden {
            assert_eq!(read(crm, op2, &ones(), &everything()), 0, "{crm} {op2}");
        }
        for (crm, op2) in [
            (0, 1),
            (3, 3),
            (3, 7),
            (4, 3),
            (4, 6),
            (5, 7),
            (6, 7),
            (7, 7),
        ] {
            assert_eq!(read(crm, op2, &ones(), &everything()), 0, "{crm} {op2}");
        }
    }

    #[test]
    fn sve_is_shown_to_realms_that_have_it() {
        let mut realm = everything();
        assert_eq!(field(read(4, 0, &ones(), &realm), 32), 0xF);
        assert_eq!(read(4, 4, &ones(), &realm), u64::MAX);
        realm.sve_vq = Some(0);
        assert_eq!(read(4, 4, &ones(), &realm), !(0xF << 56));
        realm.sve_vq = None;
        assert_eq!(field(read(4, 0, &ones(), &realm), 32), 0);
        assert_eq!(read(4, 4, &ones(), &realm), 0);
    }

    #[test]
    fn pmu_is_shown_to_realms_that_have_it() {
        let mut cpu = cpu();
        let mut realm = everything();
        for (hardware, shown) in [(0, 0), (1, 1), (6, 6), (8, 8), (9, 8), (0xF, 0)] {
            cpu.id_registers[5 * 8] = hardware << 8;
            cpu.id_registers[8 + 2] = hardware << 24;
            realm.pmu_counters = Some(0);
            assert_eq!(field(read(5, 0, &cpu, &realm), 8), shown);
            assert_eq!(field(read(1, 2, &cpu, &realm), 24), shown);
            realm.pmu_counters = None;
            assert_eq!(field(read(5, 0, &cpu, &realm), 8), 0);
            assert_eq!(field(read(1, 2, &cpu, &realm), 24), 0);
        }
    }

    #[test]
    fn debug_shows_the_numbers_of_the_realm() {
        let mut realm = everything();
        realm.breakpoints = 2;
        realm.watchpoints = 1;
        let value = read(5, 0, &ones(), &realm);
        assert_eq!(
            (field(value, 12), field(value, 20), field(value, 0)),
            (2, 1, 0xA)
        );
        assert_eq!(field(value, 36), 0xF);
        realm.breakpoints = 63;
        realm.watchpoints = 16;
        let value = read(5, 0, &ones(), &realm);
        assert_eq!((field(value, 12), field(value, 20)), (15, 15));
    }

    #[test]
    fn mops_is_shown_where_the_machine_enables_it() {
        let mut cpu = ones();
        assert_eq!(field(read(6, 2, &cpu, &everything()), 16), 0xF);
        cpu.mops = false;
        assert_eq!(field(read(6, 2, &cpu, &everything()), 16), 0);
    }

    #[test]
    fn caps_leave_lower_values_alone() {
        let mut cpu = cpu();
        cpu.id_registers[7 * 8 + 2] = 2 << 16;
        cpu.id_registers[7 * 8 + 1] = 1;
        cpu.id_registers[4 * 8] = 0x1122;
        assert_eq!(read(7, 2, &cpu, &everything()), 1 << 16);
        assert_eq!(read(7, 1, &cpu, &everything()), 1);
        // AArch32 at EL0 as the hardware has it, AArch64 only at EL1, no EL2.
        assert_eq!(read(4, 0, &cpu, &everything()), 0x1012);
    }

    /// The field that shows a feature whose registers are in `rmm_hal::registers`, and the greatest
    /// value that does not.
    const SHOWN_BY: &[(&str, (u8, u8, u32), u64)] = &[
        ("SCTLR2", (7, 3, 4), 0),
        ("MTE", (4, 1, 8), 0),
        ("MTE2", (4, 1, 8), 1),
        ("SVE", (4, 0, 32), 0),
        ("TRF", (5, 0, 40), 0),
        ("ITE", (5, 1, 32), 0),
        ("SME", (4, 1, 24), 0),
        ("SRMASK", (7, 4, 40), 0),
        ("TCR2", (7, 3, 0), 0),
        ("GCS", (4, 1, 44), 0),
        ("PAN", (7, 1, 20), 0),
        ("UAO", (7, 2, 4), 0),
        ("NMI", (4, 1, 36), 0),
        ("RAS", (4, 0, 28), 0),
        ("RASv2", (4, 0, 28), 2),
        ("PFAR", (4, 1, 60), 0),
        ("SPE", (5, 0, 32), 0),
        ("SPE_FDS", (5, 0, 32), 3),
        ("TRBE", (5, 0, 44), 0),
        ("PMUv3", (5, 0, 8), 0),
        ("PMUv3p4", (5, 0, 8), 4),
        ("PMUv3p9", (5, 0, 8), 8),
        ("PMUv3_SS", (5, 0, 16), 0),
        ("PMUv3_ICNTR", (5, 1, 36), 0),
        ("EBEP", (5, 1, 48), 0),
        ("SEBEP", (5, 0, 24), 0),
        ("AIE", (7, 3, 24), 0),
        ("S1PIE", (7, 3, 8), 0),
        ("S1POE", (7, 3, 16), 0),
        ("S2POE", (7, 3, 20), 0),
        ("LOR", (7, 1, 16), 0),
        ("MPAM", (4, 0, 40), 0),
        ("THE", (4, 1, 48), 0),
        ("LS64_ACCDATA", (6, 1, 60), 2),
        ("CCIDX", (7, 2, 20), 0),
        ("RNG", (6, 0, 60), 0),
        ("DIT", (4, 0, 48), 0),
        ("SSBS2", (4, 1, 4), 1),
        ("FPMR", (4, 2, 32), 0),
        ("AMUv1", (4, 0, 44), 0),
        ("ECV", (7, 0, 60), 0),
        ("Debugv8p9", (5, 0, 0), 0xA),
        ("STEP2", (5, 2, 0), 0),
        ("SPMU", (5, 1, 32), 0),
        ("ETE", (5, 0, 4), 0),
        ("BRBE", (5, 0, 52), 0),
    ];

    #[test]
    fn fields_agree_with_what_becomes_of_the_registers() {
        // There are no error records, whatever the version.
        const WITHOUT_RECORDS: [&str; 2] = ["RAS", "RASv2"];
        // Only writes can be kept from a Realm, or nothing: no promise either way.
        const NOT_TRAPPED: [&str; 1] = ["MTE"];
        let exempt = |feature| WITHOUT_RECORDS.contains(&feature) || NOT_TRAPPED.contains(&feature);
        // PMUv3 for Armv8.9; all ones would be something else.
        let mut cpu = ones();
        cpu.id_registers[5 * 8] = with_field(u64::MAX, DFR0_PMUVER, 9);
        for row in registers::REGISTERS
            .iter()
            .filter(|row| !row.feature.is_empty())
        {
            let shown_by = SHOWN_BY
                .iter()
                .find(|(feature, ..)| *feature == row.feature);
            let Some((feature, (crm, op2, shift), absent)) = shown_by else {
                panic!("{}: which field shows {}?", row.name, row.feature);
            };
            let is_shown = field(read(*crm, *op2, &cpu, &everything()), *shift) > *absent;
            let is_there = row.treatment != Treatment::Hidden;
            assert!(is_shown == is_there || exempt(feature), "{}", row.name);
        }
    }

    #[test]
    fn rows_are_unique() {
        for (n, row) in ROWS.iter().enumerate() {
            assert!(row.crm <= 7 && row.op2 <= 7);
            let others = &ROWS[..n];
            assert!(
                others
                    .iter()
                    .all(|other| (other.crm, other.op2) != (row.crm, row.op2))
            );
        }
    }
}
