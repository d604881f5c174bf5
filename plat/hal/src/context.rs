// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The state of one REC that the hardware holds while it runs.

use zerocopy::{FromBytes, Immutable, KnownLayout};

macro_rules! el1_struct {
    (
        both { $($field:ident $name:ident [$($of:literal)*] $feature:ident;)* }
        realm { $($kept:ident $key:ident [$($at:literal)*] $with:ident;)* }
    ) => {
        /// The EL1&0 system registers of [`switched_registers!`](crate::switched_registers).
        #[derive(Clone, Debug, Default, FromBytes, Immutable, KnownLayout)]
        #[repr(C)]
        #[allow(missing_docs, reason = "each field is the register of its name")]
        pub struct El1Registers {
            $(pub $field: u64,)*
            $(pub $kept: u64,)*
        }
    };
}
crate::switched_registers!(el1_struct);

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

/// Self-hosted debug. The monitor answers every access of a Realm from here; the hardware holds it
/// while it has an effect.
#[derive(Clone, Debug, Default, FromBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct DebugState {
    /// `MDSCR_EL1`.
    pub mdscr: u64,
    /// `DBGBVR<n>_EL1`.
    pub bvr: [u64; 16],
    /// `DBGBCR<n>_EL1`.
    pub bcr: [u64; 16],
    /// `DBGWVR<n>_EL1`.
    pub wvr: [u64; 16],
    /// `DBGWCR<n>_EL1`.
    pub wcr: [u64; 16],
    /// 1 while the OS lock is held (`OSLSR_EL1.OSLK`).
    pub os_lock: u64,
    /// The claim tags.
    pub claim: u64,
}

impl DebugState {
    /// `MDSCR_EL1.SS`: software step.
    pub const MDSCR_SS: u64 = 1 << 0;
    /// `MDSCR_EL1.MDE`: breakpoints and watchpoints.
    pub const MDSCR_MDE: u64 = 1 << 15;

    /// Says whether a debug exception other than that of an instruction can come of this state.
    #[must_use]
    pub const fn is_in_use(&self) -> bool {
        self.mdscr & (Self::MDSCR_SS | Self::MDSCR_MDE) != 0
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
