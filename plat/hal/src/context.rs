// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The state of one REC that the hardware holds while it runs.

use zerocopy::{FromBytes, Immutable, KnownLayout};

/// Lists the EL1&0 system registers that follow a REC, each with its field name.
///
/// `$callback!` receives `(field, REGISTER)` rows. Registers behind a feature that a Realm does not see
/// are not here; they trap.
#[macro_export]
macro_rules! el1_registers {
    ($callback:ident) => {
        $callback! {
            (sp_el0, SP_EL0),
            (sp_el1, SP_EL1),
            (elr_el1, ELR_EL1),
            (spsr_el1, SPSR_EL1),
            (sctlr_el1, SCTLR_EL1),
            (actlr_el1, ACTLR_EL1),
            (cpacr_el1, CPACR_EL1),
            (ttbr0_el1, TTBR0_EL1),
            (ttbr1_el1, TTBR1_EL1),
            (tcr_el1, TCR_EL1),
            (esr_el1, ESR_EL1),
            (afsr0_el1, AFSR0_EL1),
            (afsr1_el1, AFSR1_EL1),
            (far_el1, FAR_EL1),
            (mair_el1, MAIR_EL1),
            (amair_el1, AMAIR_EL1),
            (vbar_el1, VBAR_EL1),
            (contextidr_el1, CONTEXTIDR_EL1),
            (tpidr_el0, TPIDR_EL0),
            (tpidrro_el0, TPIDRRO_EL0),
            (tpidr_el1, TPIDR_EL1),
            (cntkctl_el1, CNTKCTL_EL1),
            (csselr_el1, CSSELR_EL1),
            (par_el1, PAR_EL1),
            (mdscr_el1, MDSCR_EL1),
            (mdccint_el1, MDCCINT_EL1),
        }
    };
}

macro_rules! el1_struct {
    ($(($field:ident, $register:ident),)*) => {
        /// The EL1&0 system registers of [`el1_registers`], then those that only some PEs have.
        #[derive(Clone, Debug, Default, FromBytes, Immutable, KnownLayout)]
        #[repr(C)]
        #[allow(missing_docs, reason = "each field is the register of its name")]
        pub struct El1Registers {
            $(pub $field: u64,)*
            pub vdisr_el2: u64,
            pub vsesr_el2: u64,
            pub scxtnum_el0: u64,
            pub scxtnum_el1: u64,
            /// APIA, APIB, APDA, APDB, APGA: low and high half each.
            pub pauth_keys: [[u64; 2]; 5],
        }
    };
}
el1_registers!(el1_struct);

/// The virtual GIC CPU interface.
#[derive(Clone, Debug, Default, FromBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct GicState {
    /// `ICH_HCR_EL2`: on load what the monitor decided, after save what the hardware shows.
    pub hcr: u64,
    /// `ICH_VMCR_EL2`.
    pub vmcr: u64,
    /// `ICH_MISR_EL2` at save.
    pub misr: u64,
    /// `ICH_LR<n>_EL2`.
    pub lrs: [u64; 16],
    /// `ICH_AP0R<n>_EL2`.
    pub ap0r: [u64; 4],
    /// `ICH_AP1R<n>_EL2`.
    pub ap1r: [u64; 4],
}

/// The EL1 timers; control values include ISTATUS as read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct TimerState {
    /// `CNTV_CTL_EL0`.
    pub cntv_ctl: u64,
    /// `CNTV_CVAL_EL0`.
    pub cntv_cval: u64,
    /// `CNTP_CTL_EL0`.
    pub cntp_ctl: u64,
    /// `CNTP_CVAL_EL0`.
    pub cntp_cval: u64,
}

impl TimerState {
    /// Says whether the virtual timer's output is asserted: enabled, not masked, condition met.
    #[must_use]
    pub const fn is_virtual_asserted(&self) -> bool {
        self.cntv_ctl & 0b111 == 0b101
    }

    /// Says whether the physical timer's output is asserted.
    #[must_use]
    pub const fn is_physical_asserted(&self) -> bool {
        self.cntp_ctl & 0b111 == 0b101
    }
}

/// The self-hosted debug registers.
#[derive(Clone, Debug, Default, FromBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct DebugState {
    /// `DBGBVR<n>_EL1`.
    pub bvr: [u64; 16],
    /// `DBGBCR<n>_EL1`.
    pub bcr: [u64; 16],
    /// `DBGWVR<n>_EL1`.
    pub wvr: [u64; 16],
    /// `DBGWCR<n>_EL1`.
    pub wcr: [u64; 16],
    /// `OSLSR_EL1.OSLK`: 1 while the OS lock is held.
    pub os_lock: u64,
    /// `OSDLR_EL1`.
    pub os_double_lock: u64,
}

impl DebugState {
    /// Says whether a breakpoint or watchpoint is enabled (bit 0 of its control register).
    #[must_use]
    pub fn is_armed(&self) -> bool {
        self.bcr
            .iter()
            .chain(&self.wcr)
            .any(|control| control & 1 != 0)
    }
}

/// The performance monitor.
#[derive(Clone, Debug, Default, FromBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct PmuState {
    /// `PMCR_EL0`.
    pub pmcr: u64,
    /// `PMCNTENSET_EL0`.
    pub enabled: u64,
    /// `PMINTENSET_EL1`.
    pub interrupts: u64,
    /// `PMOVSSET_EL0`.
    pub overflow: u64,
    /// `PMSELR_EL0`.
    pub selector: u64,
    /// `PMUSERENR_EL0`.
    pub user: u64,
    /// `PMCCNTR_EL0`.
    pub cycles: u64,
    /// `PMCCFILTR_EL0`.
    pub cycle_filter: u64,
    /// `PMEVCNTR<n>_EL0`.
    pub counters: [u64; 31],
    /// `PMEVTYPER<n>_EL0`.
    pub types: [u64; 31],
}

/// Everything of a REC that moves between memory and the PE.
#[derive(Clone, Debug, FromBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct RecContext {
    /// X0 to X30.
    pub gprs: [u64; 31],
    /// Where the Realm goes on.
    pub pc: u64,
    /// PSTATE as `SPSR_EL2` holds it.
    pub pstate: u64,
    /// EL1&0 system registers.
    pub el1: El1Registers,
    /// Virtual GIC.
    pub gic: GicState,
    /// Timers.
    pub timers: TimerState,
    /// Debug registers.
    pub debug: DebugState,
    /// Performance monitor, when the Realm has one.
    pub pmu: PmuState,
    /// FPSR and FPCR.
    pub fp_control: [u64; 2],
    /// V0 to V31, low half first; with SVE the auxiliary granules hold Z, P and FFR instead.
    pub simd: [[u64; 2]; 32],
    /// `ZCR_EL1`.
    pub zcr_el1: u64,
}
