// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The rows.

use super::Control::{Cptr, Hcr, Hcrx, Hdfgrtr, Mdcr, Mpam2};
use super::Emulation::{self, Debug, Host, Identification, ReadZero, Revision, Zero};
use super::Group::{self, El1, Gic, Pmu, Simd, Timers};
use super::Trap::{self, Architecture, Clear, FineGrained as fine, Set};
use super::{DebugRegister, Encoding, Register, Treatment};

/// `MDCR_EL2.TDA`, `TDOSA` and `TDRA`.
const TDA: Trap = Set(Mdcr, 9);
const TDOSA: Trap = Set(Mdcr, 10);
const TDRA: Trap = Set(Mdcr, 11);
/// `MDCR_EL2.TPM` and `TPMCR`, for a Realm without a performance monitor: what is not there is undefined
/// (RMM specification, on unavailable features), as its `ID_AA64DFR0_EL1.PMUVer` of zero says.
const TPM: Trap = Set(Mdcr, 6);
const TPMCR: Trap = Set(Mdcr, 5);
/// `HCR_EL2.TERR`.
const TERR: Trap = Set(Hcr, 36);
/// `HCR_EL2.TLOR`.
const TLOR: Trap = Set(Hcr, 35);
/// `HCR_EL2.TID1`, `TID3`, `TID5` and `TIDCP`.
const TID1: Trap = Set(Hcr, 16);
const TID3: Trap = Set(Hcr, 18);
const TID5: Trap = Set(Hcr, 58);
const TIDCP: Trap = Set(Hcr, 20);
/// `HCR_EL2.ATA`.
const ATA: Trap = Clear(Hcr, 56);
/// `CPTR_EL2.TFP`, `TZ`, `TSM`, `TTA` and `TAM`.
const TFP: Trap = Set(Cptr, 10);
const TZ: Trap = Set(Cptr, 8);
const TSM: Trap = Set(Cptr, 12);
const TTA: Trap = Set(Cptr, 20);
const TAM: Trap = Set(Cptr, 30);
/// `HCRX_EL2.SRMASKEn`.
const SRMASKEN: Trap = Clear(Hcrx, 26);

macro_rules! switched_rows {
    (
        both { $($field:ident $name:ident [$($of:literal)*] $feature:ident;)* }
        realm { $($kept:ident $key:ident [$($at:literal)*] $with:ident;)* }
    ) => {
        /// The registers of [`switched_registers!`](crate::switched_registers) by the names that
        /// R-EL2 has for them.
        pub const SWITCHED: &[Register] = &[
            $(own(stringify!($name), at([$($of),*]), feature(stringify!($feature)), El1, Trap::None),)*
            $(own(stringify!($key), at([$($at),*]), feature(stringify!($with)), El1, Trap::None),)*
        ];
    };
}
crate::switched_registers!(switched_rows);

/// Lists rows, each on its line.
macro_rules! rows {
    ($($row:expr;)*) => {
        &[$($row),*]
    };
}

/// All others.
pub const REGISTERS: &[Register] = rows! {
    // op0 = 3, op1 = 0: identification.
    aka("MIDR_EL1", at([3, 0, 0, 0, 0]), "", "VPIDR_EL2");
    aka("MPIDR_EL1", at([3, 0, 0, 0, 5]), "", "VMPIDR_EL2");
    trapped("REVIDR_EL1", at([3, 0, 0, 0, 6]), Revision, TID1);
    trapped("ID_*", block([3, 0, 0, 1, 0], 7, 7), Identification, TID3);
    // Control.
    hidden("SCTLR2_EL1", at([3, 0, 1, 0, 3]), "SCTLR2", Clear(Hcrx, 15));
    hidden("RGSR_EL1", at([3, 0, 1, 0, 5]), "MTE2", ATA);
    hidden("GCR_EL1", at([3, 0, 1, 0, 6]), "MTE2", ATA);
    own("ZCR_EL1", at([3, 0, 1, 2, 0]), "SVE", Simd, TZ);
    hidden("TRFCR_EL1", at([3, 0, 1, 2, 1]), "TRF", Set(Mdcr, 19));
    hidden("TRCITECR_EL1", at([3, 0, 1, 2, 3]), "ITE", fine("nTRCITECR_EL1"));
    hidden("SMPRI_EL1", at([3, 0, 1, 2, 4]), "SME", TSM);
    hidden("SMCR_EL1", at([3, 0, 1, 2, 6]), "SME", TSM);
    hidden("*MASK_EL1, *ALIAS_EL1", block([3, 0, 1, 4, 0], 4, 7), "SRMASK", SRMASKEN);
    // Translation.
    hidden("TCR2_EL1", at([3, 0, 2, 0, 3]), "TCR2", Clear(Hcrx, 14));
    hidden("GCS*_EL1, GCSCRE0_EL1", block([3, 0, 2, 5, 0], 5, 2), "GCS", fine("nGCS_EL1"));
    hidden("TCR*MASK_EL1, TCR*ALIAS_EL1", block([3, 0, 2, 7, 0], 7, 7), "SRMASK", SRMASKEN);
    // PSTATE.
    shared("SPSel", at([3, 0, 4, 2, 0]), "");
    shared("CurrentEL", at([3, 0, 4, 2, 2]), "");
    shared("PAN", at([3, 0, 4, 2, 3]), "PAN");
    shared("UAO", at([3, 0, 4, 2, 4]), "UAO");
    // Only writes can be kept from it; it reads zero.
    hidden("ALLINT", at([3, 0, 4, 3, 0]), "NMI", Set(Hcrx, 6));
    own("ICC_PMR_EL1", at([3, 0, 4, 6, 0]), "", Gic, Trap::None);
    // Errors.
    trapped("ERRIDR_EL1", at([3, 0, 5, 3, 0]), ReadZero, TERR);
    hidden("ERRSELR_EL1", at([3, 0, 5, 3, 1]), "RAS", TERR);
    hidden("ERXGSR_EL1", at([3, 0, 5, 3, 2]), "RASv2", fine("nERXGSR_EL1"));
    hidden("ERX*_EL1", block([3, 0, 5, 4, 0], 5, 7), "RAS", TERR);
    hidden("TFSR_EL1, TFSRE0_EL1", block([3, 0, 5, 6, 0], 6, 1), "MTE2", ATA);
    hidden("PFAR_EL1", at([3, 0, 6, 0, 5]), "PFAR", fine("nPFAR_EL1"));
    // Statistical profiling and the trace buffer.
    hidden("PMS*_EL1", block([3, 0, 9, 9, 0], 9, 7), "SPE", Set(Mdcr, 14));
    hidden("PMBLIMITR_EL1", at([3, 0, 9, 10, 0]), "SPE", Clear(Mdcr, 12));
    hidden("PMBPTR_EL1, PMBSR_EL1", block([3, 0, 9, 10, 1], 10, 3), "SPE", Clear(Mdcr, 13));
    hidden("PMSDSFR_EL1", at([3, 0, 9, 10, 4]), "SPE_FDS", fine("nPMSDSFR_EL1"));
    hidden("PMBIDR_EL1", at([3, 0, 9, 10, 7]), "SPE", Set(Hdfgrtr, 63));
    hidden("TRBLIMITR_EL1", at([3, 0, 9, 11, 0]), "TRBE", Clear(Mdcr, 24));
    hidden("TRB*_EL1", block([3, 0, 9, 11, 1], 11, 6), "TRBE", Clear(Mdcr, 25));
    hidden("TRBIDR_EL1", at([3, 0, 9, 11, 7]), "TRBE", Set(Hdfgrtr, 51));
    // Performance monitor at EL1.
    hidden("PMSSCR_EL1", at([3, 0, 9, 13, 3]), "PMUv3_SS", fine("nPMSSCR_EL1"));
    own("PMINTENSET_EL1, PMINTENCLR_EL1", block([3, 0, 9, 14, 1], 14, 2), "PMUv3", Pmu, TPM);
    hidden("PMUACR_EL1", at([3, 0, 9, 14, 4]), "PMUv3p9", fine("nPMUACR_EL1"));
    hidden("PMECR_EL1", at([3, 0, 9, 14, 5]), "EBEP", fine("nPMECR_EL1"));
    own("PMMIR_EL1", at([3, 0, 9, 14, 6]), "PMUv3p4", Pmu, TPM);
    hidden("PMIAR_EL1", at([3, 0, 9, 14, 7]), "SEBEP", fine("nPMIAR_EL1"));
    // Memory attributes, permissions, regions, partitions.
    hidden("MAIR2_EL1", at([3, 0, 10, 2, 1]), "AIE", fine("nMAIR2_EL1"));
    hidden("PIRE0_EL1", at([3, 0, 10, 2, 2]), "S1PIE", fine("nPIRE0_EL1"));
    hidden("PIR_EL1", at([3, 0, 10, 2, 3]), "S1PIE", fine("nPIR_EL1"));
    hidden("POR_EL1", at([3, 0, 10, 2, 4]), "S1POE", fine("nPOR_EL1"));
    hidden("S2POR_EL1", at([3, 0, 10, 2, 5]), "S2POE", fine("nS2POR_EL1"));
    hidden("AMAIR2_EL1", at([3, 0, 10, 3, 1]), "AIE", fine("nAMAIR2_EL1"));
    hidden("LORSA_EL1, LOREA_EL1, LORN_EL1, LORC_EL1", block([3, 0, 10, 4, 0], 4, 3), "LOR", TLOR);
    hidden("MPAMIDR_EL1", at([3, 0, 10, 4, 4]), "MPAM", Set(Mpam2, 58));
    hidden("LORID_EL1", at([3, 0, 10, 4, 7]), "LOR", TLOR);
    hidden("MPAM1_EL1", at([3, 0, 10, 5, 0]), "MPAM", Set(Mpam2, 48));
    hidden("MPAM0_EL1", at([3, 0, 10, 5, 1]), "MPAM", Set(Mpam2, 49));
    hidden("MPAMSM_EL1", at([3, 0, 10, 5, 3]), "MPAM", Clear(Mpam2, 50));
    // Interrupts.
    own("ISR_EL1", at([3, 0, 12, 1, 0]), "", Gic, Trap::None);
    aka("DISR_EL1", at([3, 0, 12, 1, 1]), "RAS", "VDISR_EL2");
    own("ICC_*0_EL1", block([3, 0, 12, 8, 0], 8, 7), "", Gic, Trap::None);
    own("ICC_AP1R<n>_EL1, ICC_NMIAR1_EL1", block([3, 0, 12, 9, 0], 9, 5), "", Gic, Trap::None);
    // Traps when the Host sets ICH_HCR_EL2.TDIR.
    trapped("ICC_DIR_EL1", at([3, 0, 12, 11, 1]), Host, Trap::None);
    own("ICC_RPR_EL1", at([3, 0, 12, 11, 3]), "", Gic, Trap::None);
    // HCR_EL2.IMO.
    trapped("ICC_SGI1R_EL1 to ICC_SGI0R_EL1", block([3, 0, 12, 11, 5], 11, 7), Host, Set(Hcr, 4));
    own("ICC_*_EL1", block([3, 0, 12, 12, 0], 12, 7), "", Gic, Trap::None);
    hidden("RCWSMASK_EL1", at([3, 0, 13, 0, 3]), "THE", fine("nRCWSMASK_EL1"));
    hidden("ACCDATA_EL1", at([3, 0, 13, 0, 5]), "LS64_ACCDATA", fine("nACCDATA_EL1"));
    hidden("RCWMASK_EL1", at([3, 0, 13, 0, 6]), "THE", fine("nRCWMASK_EL1"));
    // op0 = 3, op1 = 1: caches and more identification.
    shared("CCSIDR_EL1, CLIDR_EL1", block([3, 1, 0, 0, 0], 0, 1), "");
    shared("CCSIDR2_EL1", at([3, 1, 0, 0, 2]), "CCIDX");
    hidden("GMID_EL1", at([3, 1, 0, 0, 4]), "MTE2", TID5);
    hidden("SMIDR_EL1", at([3, 1, 0, 0, 6]), "SME", TID1);
    trapped("AIDR_EL1", at([3, 1, 0, 0, 7]), ReadZero, TID1);
    // op0 = 3, op1 = 3: what EL0 has too.
    shared("CTR_EL0", at([3, 3, 0, 0, 1]), "");
    shared("DCZID_EL0", at([3, 3, 0, 0, 7]), "");
    shared("RNDR, RNDRRS", block([3, 3, 2, 4, 0], 4, 1), "RNG");
    hidden("GCSPR_EL0", at([3, 3, 2, 5, 1]), "GCS", fine("nGCS_EL0"));
    shared("NZCV, DAIF", block([3, 3, 4, 2, 0], 2, 1), "");
    hidden("SVCR", at([3, 3, 4, 2, 2]), "SME", TSM);
    shared("DIT", at([3, 3, 4, 2, 5]), "DIT");
    shared("SSBS", at([3, 3, 4, 2, 6]), "SSBS2");
    // Nothing traps it, and without tagging it has no effect.
    shared("TCO", at([3, 3, 4, 2, 7]), "MTE");
    own("FPCR, FPSR", block([3, 3, 4, 4, 0], 4, 1), "", Simd, TFP);
    hidden("FPMR", at([3, 3, 4, 4, 2]), "FPMR", Clear(Hcrx, 23));
    hidden("DSPSR_EL0, DLR_EL0", block([3, 3, 4, 5, 0], 5, 1), "", Architecture);
    hidden("PMICNTR_EL0", at([3, 3, 9, 4, 0]), "PMUv3_ICNTR", fine("nPMICNTR_EL0"));
    hidden("PMICFILTR_EL0", at([3, 3, 9, 6, 0]), "PMUv3_ICNTR", fine("nPMICFILTR_EL0"));
    own("PMCR_EL0", at([3, 3, 9, 12, 0]), "PMUv3", Pmu, TPMCR);
    own("PMCNTENSET_EL0 to PMCEID1_EL0", block([3, 3, 9, 12, 1], 12, 7), "PMUv3", Pmu, TPM);
    own("PMCCNTR_EL0 to PMXEVCNTR_EL0", block([3, 3, 9, 13, 0], 13, 2), "PMUv3", Pmu, TPM);
    hidden("PMZR_EL0", at([3, 3, 9, 13, 4]), "PMUv3p9", fine("nPMZR_EL0"));
    own("PMUSERENR_EL0", at([3, 3, 9, 14, 0]), "PMUv3", Pmu, TPM);
    own("PMOVSSET_EL0", at([3, 3, 9, 14, 3]), "PMUv3", Pmu, TPM);
    hidden("POR_EL0", at([3, 3, 10, 2, 4]), "S1POE", fine("nPOR_EL0"));
    hidden("TPIDR2_EL0", at([3, 3, 13, 0, 5]), "SME", fine("nTPIDR2_EL0"));
    hidden("AM*_EL0", block([3, 3, 13, 2, 0], 15, 7), "AMUv1", TAM);
    shared("CNTFRQ_EL0, CNTPCT_EL0, CNTVCT_EL0", block([3, 3, 14, 0, 0], 0, 2), "");
    shared("CNTPCTSS_EL0, CNTVCTSS_EL0", block([3, 3, 14, 0, 5], 0, 6), "ECV");
    own("CNTP_*_EL0, CNTV_*_EL0", block([3, 3, 14, 2, 0], 3, 2), "", Timers, Trap::None);
    own("PMEVCNTR<n>_EL0", block([3, 3, 14, 8, 0], 11, 7), "PMUv3", Pmu, TPM);
    own("PMEVTYPER<n>_EL0, PMCCFILTR_EL0", block([3, 3, 14, 12, 0], 15, 7), "PMUv3", Pmu, TPM);
    hidden("CNTPS_*_EL1", block([3, 7, 14, 2, 0], 2, 2), "", Architecture);
    // Implementation defined.
    hidden("S3_<op1>_C11_*", all_op1(block([3, 0, 11, 0, 0], 15, 7)), "", TIDCP);
    hidden("S3_<op1>_C15_*", all_op1(block([3, 0, 15, 0, 0], 15, 7)), "", TIDCP);
    // op0 = 2, op1 = 0: debug.
    trapped("OSDTRRX_EL1", at([2, 0, 0, 0, 2]), Zero, TDA);
    trapped("MDCCINT_EL1", at([2, 0, 0, 2, 0]), Zero, TDA);
    trapped("MDSCR_EL1", at([2, 0, 0, 2, 2]), Debug(DebugRegister::Control), TDA);
    trapped("OSDTRTX_EL1", at([2, 0, 0, 3, 2]), Zero, TDA);
    hidden("MDSELR_EL1", at([2, 0, 0, 4, 2]), "Debugv8p9", TDA);
    hidden("MDSTEPOP_EL1", at([2, 0, 0, 5, 2]), "STEP2", TDA);
    trapped("OSECCR_EL1", at([2, 0, 0, 6, 2]), Zero, TDA);
    trapped("DBGBVR<n>_EL1", numbered(4), Debug(DebugRegister::BreakpointValue), TDA);
    trapped("DBGBCR<n>_EL1", numbered(5), Debug(DebugRegister::BreakpointControl), TDA);
    trapped("DBGWVR<n>_EL1", numbered(6), Debug(DebugRegister::WatchpointValue), TDA);
    trapped("DBGWCR<n>_EL1", numbered(7), Debug(DebugRegister::WatchpointControl), TDA);
    trapped("MDRAR_EL1", at([2, 0, 1, 0, 0]), ReadZero, TDRA);
    trapped("OSLAR_EL1", at([2, 0, 1, 0, 4]), Debug(DebugRegister::OsLock), TDOSA);
    trapped("OSLSR_EL1", at([2, 0, 1, 1, 4]), Debug(DebugRegister::OsLockStatus), TDOSA);
    trapped("OSDLR_EL1", at([2, 0, 1, 3, 4]), Zero, TDOSA);
    trapped("DBGPRCR_EL1", at([2, 0, 1, 4, 4]), Zero, TDOSA);
    trapped("DBGCLAIMSET_EL1", at([2, 0, 7, 8, 6]), Debug(DebugRegister::ClaimSet), TDA);
    trapped("DBGCLAIMCLR_EL1", at([2, 0, 7, 9, 6]), Debug(DebugRegister::ClaimClear), TDA);
    trapped("DBGAUTHSTATUS_EL1", at([2, 0, 7, 14, 6]), ReadZero, TDA);
    hidden("SPM*_EL1", block([2, 0, 9, 0, 0], 15, 7), "SPMU", Clear(Mdcr, 15));
    hidden("PM*SVR<n>_EL1", block([2, 0, 14, 8, 0], 15, 7), "PMUv3_SS", fine("nPMSSDATA"));
    // op0 = 2, op1 = 1: trace and branch records.
    hidden("TRC*", crn_to(block([2, 1, 0, 0, 0], 15, 7), 7), "ETE", TTA);
    hidden("BRBINF*, BRBSRC*, BRBTGT*", block([2, 1, 8, 0, 0], 15, 7), "BRBE", fine("nBRBDATA"));
    hidden("BRBCR_EL1, BRBFCR_EL1", block([2, 1, 9, 0, 0], 0, 1), "BRBE", fine("nBRBCTL"));
    hidden("BRB*INJ_EL1, BRBTS_EL1", block([2, 1, 9, 1, 0], 1, 2), "BRBE", fine("nBRBDATA"));
    hidden("BRBIDR0_EL1", at([2, 1, 9, 2, 0]), "BRBE", fine("nBRBIDR"));
    // op0 = 2, op1 = 3: debug communication and system monitors at EL0.
    trapped("MDCCSR_EL0", at([2, 3, 0, 1, 0]), ReadZero, TDA);
    trapped("DBGDTR_EL0", at([2, 3, 0, 4, 0]), Zero, TDA);
    trapped("DBGDTRRX_EL0, DBGDTRTX_EL0", at([2, 3, 0, 5, 0]), Zero, TDA);
    hidden("SPM*_EL0", block([2, 3, 9, 0, 0], 15, 7), "SPMU", Clear(Mdcr, 15));
    hidden("SPMEV*_EL0", block([2, 3, 14, 0, 0], 15, 7), "SPMU", Clear(Mdcr, 15));
};

const fn own(
    name: &'static str,
    encoding: Encoding,
    feature: &'static str,
    group: Group,
    trap: Trap,
) -> Register {
    Register {
        name,
        encoding,
        feature,
        treatment: Treatment::Switched(group),
        trap,
    }
}

const fn aka(
    name: &'static str,
    encoding: Encoding,
    feature: &'static str,
    of: &'static str,
) -> Register {
    Register {
        name,
        encoding,
        feature,
        treatment: Treatment::Virtual(of),
        trap: Trap::None,
    }
}

const fn trapped(
    name: &'static str,
    encoding: Encoding,
    emulation: Emulation,
    trap: Trap,
) -> Register {
    Register {
        name,
        encoding,
        feature: "",
        treatment: Treatment::Emulated(emulation),
        trap,
    }
}

const fn shared(name: &'static str, encoding: Encoding, feature: &'static str) -> Register {
    Register {
        name,
        encoding,
        feature,
        treatment: Treatment::Shared,
        trap: Trap::None,
    }
}

const fn hidden(
    name: &'static str,
    encoding: Encoding,
    feature: &'static str,
    trap: Trap,
) -> Register {
    Register {
        name,
        encoding,
        feature,
        treatment: Treatment::Hidden,
        trap,
    }
}

/// Returns the encoding op0, op1, CRn, CRm, op2.
const fn at([op0, op1, crn, crm, op2]: [u8; 5]) -> Encoding {
    block([op0, op1, crn, crm, op2], crm, op2)
}

/// Returns the encodings from this one on, up to a CRm and an op2.
const fn block([op0, op1, crn, crm, op2]: [u8; 5], crm_last: u8, op2_last: u8) -> Encoding {
    Encoding {
        op0,
        ranges: [[op1, op1], [crn, crn], [crm, crm_last], [op2, op2_last]],
    }
}

/// Returns the encodings of the debug registers that CRm numbers.
const fn numbered(op2: u8) -> Encoding {
    block([2, 0, 0, 0, op2], 15, op2)
}

const fn all_op1(encoding: Encoding) -> Encoding {
    let [_, crn, crm, op2] = encoding.ranges;
    Encoding {
        ranges: [[0, 7], crn, crm, op2],
        ..encoding
    }
}

const fn crn_to(encoding: Encoding, last: u8) -> Encoding {
    let [op1, [crn, _], crm, op2] = encoding.ranges;
    Encoding {
        ranges: [op1, [crn, last], crm, op2],
        ..encoding
    }
}

/// Returns the name of a feature of [`switched_registers!`](crate::switched_registers).
const fn feature(word: &str) -> &'static str {
    match word.as_bytes() {
        b"ras" => "RAS",
        b"csv2_2" => "CSV2_2",
        b"pauth" => "PAuth",
        _ => "",
    }
}
