// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! ID registers -> [`CpuFeatures`].

#![cfg_attr(
    not(target_os = "none"),
    allow(dead_code, reason = "used on the machine only")
)]

use rmm_hal::{CpuFeatures, ID_REGISTERS};

type IdRegisters = [u64; ID_REGISTERS];

/// Indices of ID registers: CRm * 8 + op2.
const MIDR: usize = 0;
const PFR0: usize = 4 * 8;
const PFR1: usize = 4 * 8 + 1;
const DFR0: usize = 5 * 8;
const ISAR0: usize = 6 * 8;
const ISAR2: usize = 6 * 8 + 2;
const MMFR0: usize = 7 * 8;
const MMFR1: usize = 7 * 8 + 1;

/// What only an access could tell.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Probed {
    /// The greatest vector length in bytes, 0 when there is none to be had.
    pub(crate) sve_bytes: u64,
    /// `PMCR_EL0`, where there is a PMU to be had.
    pub(crate) pmcr: Option<u64>,
    /// `ICH_VTR_EL2`.
    pub(crate) ich_vtr: u64,
    /// `ICC_CTLR_EL1`.
    pub(crate) icc_ctlr: u64,
}

/// Says whether the ID registers show SVE.
pub(crate) fn has_sve(ids: &IdRegisters) -> bool {
    field(ids, PFR0, 32) != 0
}

/// Says whether the ID registers show an architected PMU.
pub(crate) fn has_pmu(ids: &IdRegisters) -> bool {
    !matches!(field(ids, DFR0, 8), 0 | 0xF)
}

/// Returns the features behind these registers.
pub(crate) fn decode(ids: &IdRegisters, probed: &Probed) -> CpuFeatures {
    let pa_range = field(ids, MMFR0, 0);
    CpuFeatures {
        pa_bits: pa_bits(pa_range),
        pa_range,
        lpa2: has_lpa2(ids),
        vmid16: field(ids, MMFR1, 4) == 2,
        sve_vq: vector_quads(probed.sve_bytes),
        sme: field(ids, PFR1, 24) != 0,
        breakpoints: field(ids, DFR0, 12),
        watchpoints: field(ids, DFR0, 20),
        pmu_counters: probed.pmcr.map(|pmcr| (pmcr >> 11 & 0x1F) as u8),
        hpmn0: field(ids, DFR0, 60) == 1,
        list_registers: (probed.ich_vtr & 0x1F) as u8,
        priority_bits: (probed.ich_vtr >> 29 & 7) as u8,
        intid_bits: if probed.ich_vtr >> 23 & 7 == 0 {
            16
        } else {
            24
        },
        extended_intids: probed.icc_ctlr >> 19 & 1 != 0,
        wfxt: field(ids, ISAR2, 0) >= 2,
        ras: field(ids, PFR0, 28) != 0,
        // The control that lets a Realm use them is in HCRX_EL2 (ID_AA64MMFR1_EL1.HCX).
        mops: field(ids, ISAR2, 16) != 0 && field(ids, MMFR1, 40) != 0,
        sha256: field(ids, ISAR0, 12) >= 1,
        sha512: field(ids, ISAR0, 12) >= 2,
        midr: ids[MIDR],
        id_registers: *ids,
    }
}

/// Returns the four-bit field that starts at bit `shift`.
fn field(ids: &IdRegisters, register: usize, shift: u32) -> u8 {
    (ids[register] >> shift & 0xF) as u8
}

/// `ID_AA64MMFR0_EL1.PARange`; values to come are taken as the greatest known.
const fn pa_bits(pa_range: u8) -> u8 {
    match pa_range {
        0 => 32,
        1 => 36,
        2 => 40,
        3 => 42,
        4 => 44,
        5 => 48,
        _ => 52,
    }
}

/// `ID_AA64MMFR0_EL1`: TGran4 is 1 with 52-bit stage 1, TGran4_2 is 3 with 52-bit stage 2 or 0 when it is
/// as TGran4 says.
fn has_lpa2(ids: &IdRegisters) -> bool {
    field(ids, MMFR0, 28) == 1 && matches!(field(ids, MMFR0, 40), 0 | 3)
}

/// Returns the units of 16 bytes minus one.
fn vector_quads(bytes: u64) -> Option<u8> {
    u8::try_from((bytes / 16).checked_sub(1)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(registers: &[(usize, u64)]) -> IdRegisters {
        let mut ids = [0; ID_REGISTERS];
        for (at, value) in registers {
            ids[*at] = *value;
        }
        ids
    }

    /// CPU `max` of QEMU 10.0.2, as measured at R-EL2.
    #[test]
    fn qemu_max() {
        let ids = with(&[
            (MMFR0, 0x2100_0323_1020_1126),
            (PFR0, 0x1311_0011_2111_2222),
        ]);
        assert!(has_sve(&ids));
        let probed = Probed {
            sve_bytes: 256,
            pmcr: Some(0x4130_3000),
            ich_vtr: 0x90B8_0003,
            icc_ctlr: 0,
        };
        let features = decode(&ids, &probed);
        assert_eq!((features.pa_range, features.pa_bits), (6, 52));
        assert!(features.lpa2 && features.ras);
        assert_eq!(features.sve_vq, Some(15));
        assert_eq!(features.pmu_counters, Some(6));
        assert_eq!((features.list_registers, features.priority_bits), (3, 4));
        assert_eq!(features.intid_bits, 24);
    }

    #[test]
    fn nothing_is_assumed() {
        let features = decode(&with(&[]), &Probed::default());
        assert!(!(features.lpa2 || features.vmid16 || features.sme));
        assert!(!(features.wfxt || features.ras || features.mops || features.sha256));
        assert_eq!((features.sve_vq, features.pmu_counters), (None, None));
        assert_eq!((features.pa_bits, features.intid_bits), (32, 16));
    }

    #[test]
    fn lpa2_needs_both_stages() {
        for (mmfr0, lpa2) in [
            (0x1000_0000, true),
            (0x0300_1000_0000, true),
            (0x0200_1000_0000, false),
            (0x0100_1000_0000, false),
            (0x0300_0000_0000, false),
            (0xF000_0000, false),
        ] {
            assert_eq!(
                decode(&with(&[(MMFR0, mmfr0)]), &Probed::default()).lpa2,
                lpa2
            );
        }
    }

    #[test]
    fn an_unarchitected_pmu_is_none() {
        assert!(!has_pmu(&with(&[(DFR0, 0xF00)])));
        assert!(!has_pmu(&with(&[])));
        assert!(has_pmu(&with(&[(DFR0, 0x800)])));
    }

    #[test]
    fn memory_copies_need_their_control() {
        let mops = (ISAR2, 1 << 16);
        assert!(!decode(&with(&[mops]), &Probed::default()).mops);
        assert!(decode(&with(&[mops, (MMFR1, 1 << 40)]), &Probed::default()).mops);
    }
}
