// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What the PEs of a machine can do, as plain data.

/// The number of encodings in the ID space op0 = 3, op1 = 0, CRn = 0, CRm = 0..=7, op2 = 0..=7.
pub const ID_REGISTERS: usize = 64;

/// Read once at boot; the same on every PE. A test writes it by hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CpuFeatures {
    /// Implemented physical address width in bits: 32 to 52.
    pub pa_bits: u8,
    /// `ID_AA64MMFR0_EL1.PARange` as the hardware encodes it.
    pub pa_range: u8,
    /// Stage 1 and stage 2 both take 52-bit addresses with the 4 KiB granule.
    pub lpa2: bool,
    /// VMIDs have 16 bits.
    pub vmid16: bool,
    /// The greatest SVE vector length in units of 128 bits minus one; `None` without SVE.
    pub sve_vq: Option<u8>,
    /// SME is implemented.
    pub sme: bool,
    /// Breakpoints minus one.
    pub breakpoints: u8,
    /// Watchpoints minus one.
    pub watchpoints: u8,
    /// The number of PMU event counters; `None` without a PMU.
    pub pmu_counters: Option<u8>,
    /// The PMU can be divided with no counter left to the guest (`FEAT_HPMN0`).
    pub hpmn0: bool,
    /// List registers minus one (`ICH_VTR_EL2.ListRegs`).
    pub list_registers: u8,
    /// Virtual priority bits minus one (`ICH_VTR_EL2.PRIbits`).
    pub priority_bits: u8,
    /// Virtual INTID bits: 16 or 24 (`ICH_VTR_EL2.IDbits`).
    pub intid_bits: u8,
    /// Extended SPI and PPI ranges (`ICC_CTLR_EL1.ExtRange`).
    pub extended_intids: bool,
    /// WFET and WFIT (`FEAT_WFxT`).
    pub wfxt: bool,
    /// RAS with virtual SError syndromes.
    pub ras: bool,
    /// Realms may use the memory copy instructions: `FEAT_MOPS`, and the machine sets
    /// `HCRX_EL2.MSCEn` for them.
    pub mops: bool,
    /// The SHA-2 instructions for SHA-256 are there.
    pub sha256: bool,
    /// The SHA-2 instructions for SHA-512 are there.
    pub sha512: bool,
    /// `MIDR_EL1`.
    pub midr: u64,
    /// Every register of the ID space as the hardware shows it to R-EL2: index CRm * 8 + op2.
    pub id_registers: [u64; ID_REGISTERS],
}

impl CpuFeatures {
    /// Returns the ID register op0 = 3, op1 = 0, CRn = 0, `crm`, `op2`; zero outside 0..=7.
    #[must_use]
    pub fn id_register(&self, crm: u8, op2: u8) -> u64 {
        if crm > 7 || op2 > 7 {
            return 0;
        }
        let index = usize::from(crm) * 8 + usize::from(op2);
        self.id_registers.get(index).copied().unwrap_or(0)
    }
}
