// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Running a Realm on one PE.

use rmi::GranuleAddr;

use crate::context::{RecContext, TimerState};
use crate::stage2::Stage2Root;

/// Syndrome registers of an exception taken to R-EL2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Syndrome {
    /// `ESR_EL2`.
    pub esr: u64,
    /// `FAR_EL2`.
    pub far: u64,
    /// `HPFAR_EL2`.
    pub hpfar: u64,
}

/// Why the Realm stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// A synchronous exception.
    Sync(Syndrome),
    /// A physical IRQ is pending.
    Irq,
    /// A physical FIQ is pending.
    Fiq,
    /// A physical SError was taken, with its `ESR_EL2`.
    SError {
        /// `ESR_EL2`.
        esr: u64,
    },
}

/// The number of granules that hold the Z, P and FFR registers of one REC at the greatest vector
/// length: 32 * 256 + 16 * 32 + 32 bytes.
pub const SVE_GRANULES: usize = 3;

/// SVE for one REC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SveControls {
    /// The greatest vector length in units of 128 bits minus one (`ZCR_EL2.LEN`).
    pub vq: u8,
    /// Auxiliary granules of the REC that hold its vector registers while they are not loaded. They
    /// stay with the REC for as long as it is in use.
    pub storage: [GranuleAddr; SVE_GRANULES],
}

/// What one REC may do while it is loaded; fixed for the time between load and save.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunControls {
    /// The Realm's translation tables.
    pub stage2: Stage2Root,
    /// `VMPIDR_EL2`.
    pub vmpidr: u64,
    /// WFI and WFIT are taken to R-EL2.
    pub trap_wfi: bool,
    /// WFE and WFET are taken to R-EL2.
    pub trap_wfe: bool,
    /// SVE, if the Realm has it.
    pub sve: Option<SveControls>,
    /// What the Host said of its own SVE state.
    pub host_sve: HostSve,
    /// The number of PMU event counters of the Realm; `None` without PMU.
    pub pmu_counters: Option<u8>,
    /// The number of breakpoints of the Realm minus one.
    pub breakpoints: u8,
}

/// Whether the Host needs its Z registers above 128 bits, its P registers and FFR (SMCCC, hint bit of the
/// function identifier). Otherwise they may be zero afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostSve {
    /// They have to be kept.
    Live,
    /// They need not.
    Dead,
}

impl HostSve {
    /// Returns what the caller says; `has_hint` is the bit of its function identifier.
    #[must_use]
    pub const fn of_hint(has_hint: bool) -> Self {
        if has_hint { Self::Dead } else { Self::Live }
    }
}

/// An exception to be taken by the Realm at EL1, computed by the rules of the architecture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExceptionEntry {
    /// `ESR_EL1`.
    pub esr: u64,
    /// `FAR_EL1`, where the exception has one.
    pub far: Option<u64>,
    /// `ELR_EL1`.
    pub elr: u64,
    /// `SPSR_EL1`.
    pub spsr: u64,
}

/// A register of an EL1 timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimerRegister {
    /// `CNTV_TVAL_EL0`.
    VirtualValue,
    /// `CNTV_CTL_EL0`.
    VirtualControl,
    /// `CNTV_CVAL_EL0`.
    VirtualCompare,
    /// `CNTP_TVAL_EL0`.
    PhysicalValue,
    /// `CNTP_CTL_EL0`.
    PhysicalControl,
    /// `CNTP_CVAL_EL0`.
    PhysicalCompare,
}

/// How the loaded REC translates virtual addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TranslationControls {
    /// `SCTLR_EL1`.
    pub sctlr: u64,
    /// `TCR_EL1`.
    pub tcr: u64,
    /// `TTBR0_EL1`.
    pub ttbr0: u64,
    /// `TTBR1_EL1`.
    pub ttbr1: u64,
}

/// The Realm side of a PE. The calls come in the order `load`, any number of the others, `save`.
///
/// Between `load` and `save` the system registers, the GIC state, the timers and, from its first use,
/// the SIMD state of the context live in the hardware; general registers, `pc`, `pstate` and the debug
/// state always live in the context.
pub trait RealmCpu {
    /// Puts the Non-secure world's EL1&0 state aside and loads the REC's. Of the translations that this
    /// PE has cached for the Realm, the REC uses its own only.
    fn load(&self, context: &mut RecContext, controls: &RunControls);

    /// Runs the Realm until it stops.
    fn run(&self, context: &mut RecContext) -> Exit;

    /// Saves the REC's state and brings the Non-secure world's back.
    fn save(&self, context: &mut RecContext, controls: &RunControls);

    /// Makes the debug state of the loaded REC take effect, after the monitor changed it.
    fn load_debug(&self, context: &RecContext, controls: &RunControls);

    /// Reads the EL1 timers of the loaded REC.
    fn timers(&self) -> TimerState;

    /// Masks or unmasks the physical signal of the two EL1 timers (`CNTHCTL_EL2.CNTVMASK`,
    /// `CNTPMASK`), and waits until the GIC shows a masked one no longer. Accesses to the registers of a
    /// masked timer trap, those of the other do not.
    fn mask_timers(&self, mask_virtual: bool, mask_physical: bool);

    /// Reads a register of a timer of the loaded REC.
    fn read_timer(&self, register: TimerRegister) -> u64;

    /// Writes a register of a timer of the loaded REC.
    fn write_timer(&self, register: TimerRegister, value: u64);

    /// Returns `VBAR_EL1`, `SCTLR_EL1` and `SCTLR2_EL1` (zero where absent) of the loaded REC.
    fn exception_controls(&self) -> [u64; 3];

    /// Returns how the loaded REC translates virtual addresses.
    fn translation_controls(&self) -> TranslationControls;

    /// Writes the EL1 syndrome and return registers of the loaded REC; the caller changes `pc` and
    /// `pstate` of the context.
    fn enter_exception(&self, entry: &ExceptionEntry);

    /// Makes a virtual SError pending for the loaded REC with this `VSESR_EL2`.
    fn pend_serror(&self, vsesr: u64);

    /// Says whether a virtual SError made pending since the load has not been taken (`HCR_EL2.VSE`).
    /// `save` takes it back.
    fn is_serror_pending(&self) -> bool;

    /// Gives the loaded REC its SIMD registers, after an access trapped.
    fn enable_simd(&self, context: &mut RecContext, controls: &RunControls);

    /// Says whether a physical interrupt is pending on this PE (`ISR_EL1`).
    fn is_interrupt_pending(&self) -> bool;

    /// Returns `PMCR_EL0.E` and the overflow, interrupt-enable and counter-enable sets of the loaded
    /// REC's counters as one truth: whether a counter overflow is signalled.
    fn is_pmu_overflow(&self) -> bool;
}
