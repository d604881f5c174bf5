// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Running a Realm: what is switched, when, and what traps.
//!
//! R-EL2 runs with `HCR_EL2.E2H` clear, so EL1&0 registers are reached by their own names and none of the
//! controls below changes how the monitor itself runs. [`RealmSide::load`] makes the PE the Realm's,
//! [`RealmSide::save`] gives it back; in between, an exit and a re-entry move only the general registers,
//! PC and PSTATE. SIMD registers follow at their first use, debug registers when they have an effect.

use core::arch::{asm, global_asm};
use core::cell::{Cell, RefCell};
use core::mem::offset_of;

use rmm_hal::registers::{Control, clear_bits, pmu_trap_bits, trap_bits};
use rmm_hal::{
    CpuFeatures, El1Registers, ExceptionEntry, Exit, GranuleWindow, PmuState, RecContext,
    RunControls, Syndrome, TimerState, TranslationControls,
};

use crate::debug::{Debug, HostDebug};
use crate::el1::{self, Optional};
use crate::last_rec::LastRec;
use crate::pmu::{self, Pmu};
use crate::regs::{isb, read_sysreg, write_sysreg};
use crate::simd::Simd;
use crate::stage2;
use crate::syndrome::{FaultAddress, fault_address};
use crate::vgic::{Aside, Vgic};
use crate::vtimer;

global_asm!(
    include_str!("switch.S"),
    GPRS = const offset_of!(RecContext, gprs),
    PC = const offset_of!(RecContext, pc),
    PSTATE = const offset_of!(RecContext, pstate),
);

unsafe extern "C" {
    /// Runs the Realm of `context` until an exception is taken to R-EL2; see `switch.S`.
    fn realm_enter(context: *mut RecContext) -> u64;
}

/// `HCR_EL2` for a Realm: the traps of the register table, and bit by bit what else; TWI, TWE and VSE are
/// added per run.
///
/// GPF stays clear: the Realm takes a granule protection fault itself. Only memory of the Host that it has
/// mapped and gives away can cause one, the specification has no exit for it, and for the Realm it is one
/// more kind of abort that memory of the Host may answer with at any time.
const HCR_REALM: u64 = trap_bits(Control::Hcr)
    | 1 // VM: stage 2 is on.
    | 1 << 1 // SWIO: invalidate by set/way cleans too.
    | 1 << 2 // PTW: no walks through device memory.
    | 1 << 3 | 1 << 4 | 1 << 5 // FMO, IMO, AMO: physical interrupts come here.
    | 1 << 9 // FB: local maintenance is broadcast, RECs move between PEs.
    | 1 << 10 // BSU: barriers reach the inner shareable domain.
    | 1 << 19 // TSC: SMC traps.
    | 1 << 31 // RW: EL1 is AArch64.
    | 1 << 37 // TEA: synchronous external aborts come here.
    | 1 << 40 | 1 << 41 // APK, API: pointer authentication is the Realm's.
    | 1 << 46; // FWB: stage 2 decides the memory type.
const HCR_TWI: u64 = 1 << 13;
const HCR_TWE: u64 = 1 << 14;
const HCR_VSE: u64 = 1 << 8;
/// Lets a Realm use the SCXTNUM registers.
const HCR_EN_SCXT: u64 = 1 << 53;

/// `HCRX_EL2.MSCEn`: memory copy and set instructions work below EL2.
const HCRX_MSCEN: u64 = 1 << 11;

/// `MDCR_EL2` for every Realm: the traps of the register table; HPMD and HCCD stop counting at EL2.
const MDCR_REALM: u64 = trap_bits(Control::Mdcr) | 1 << 17 | 1 << 23;
/// What is added for a Realm without a performance monitor.
const MDCR_TRAP_PMU: u64 = pmu_trap_bits(Control::Mdcr);

// What traps by a bit that is clear.
const _: () = assert!((HCR_REALM | HCR_EN_SCXT) & clear_bits(Control::Hcr) == 0);
const _: () = assert!((HCRX_MSCEN | trap_bits(Control::Hcrx)) & clear_bits(Control::Hcrx) == 0);
const _: () = assert!((MDCR_REALM | MDCR_TRAP_PMU) & clear_bits(Control::Mdcr) == 0);

unsafe extern "C" {
    /// Closes the second set of fine-grained traps, where EL3 lets R-EL2 have it; see `features.S`.
    safe fn rmm_close_fgt2();
    /// Writes `MPAM2_EL2` and closes `MPAMIDR_EL1`, where EL3 lets R-EL2 have them; see `features.S`.
    safe fn rmm_close_mpam(mpam2: u64);
}

/// What of the Non-secure world this PE keeps while a Realm is loaded.
#[derive(Default)]
struct Host {
    el1: El1Registers,
    timers: TimerState,
    gic: Aside,
    debug: HostDebug,
    pmu: PmuState,
}

/// The Realm side of one PE.
pub(crate) struct RealmSide {
    optional: Optional,
    vgic: Vgic,
    debug: Debug,
    pmu: Option<Pmu>,
    pmu_counters: u8,
    hcr: u64,
    simd: Simd,
    host: RefCell<Host>,
    realm_counters: Cell<Option<u8>>,
    last_rec: LastRec,
}

impl RealmSide {
    /// Sets the controls of this PE that are the same for every Realm, and returns its Realm side.
    pub(crate) fn new(features: &CpuFeatures) -> Self {
        let optional = Optional::new(features);
        let mut hcr = HCR_REALM;
        if optional.csv2_2 {
            hcr |= HCR_EN_SCXT;
        }
        init_controls(features, hcr);
        let side = Self {
            optional,
            vgic: Vgic::new(features),
            debug: Debug::new(features),
            pmu: Pmu::new(features),
            pmu_counters: features.pmu_counters.unwrap_or(0),
            hcr,
            simd: Simd::new(features),
            host: RefCell::new(Host::default()),
            realm_counters: Cell::new(None),
            last_rec: LastRec::default(),
        };
        side.simd.open();
        isb();
        side
    }

    /// See [`rmm_hal::RealmCpu::load`].
    pub(crate) fn load(&self, context: &RecContext, controls: &RunControls) {
        {
            let mut host = self.host.borrow_mut();
            el1::save(&mut host.el1, self.optional);
            host.timers = vtimer::read();
            host.gic = Aside::save();
            Debug::save_control(&mut host.debug);
            if let (Some(pmu), Some(_)) = (self.pmu, controls.pmu_counters) {
                pmu.save(&mut host.pmu);
            }
        }
        self.write_controls(controls);
        if self
            .last_rec
            .changes_to(controls.stage2.vttbr, controls.vmpidr)
        {
            stage2::forget_here();
        }
        el1::load(&context.el1, self.optional);
        el1::load_realm(&context.el1, self.optional);
        if let (Some(pmu), Some(_)) = (self.pmu, controls.pmu_counters) {
            pmu.load(&context.pmu);
        }
        // ICC_SRE_EL1: a Realm has the system register interface only.
        write_sysreg!("S3_0_C12_C12_5", 0b111);
        self.vgic.load(&context.gic);
        vtimer::load(&context.timers);
        self.load_debug(context, controls);
        self.simd.arm(controls.host_sve);
    }

    fn write_controls(&self, controls: &RunControls) {
        let mut hcr = self.hcr;
        if controls.trap_wfi {
            hcr |= HCR_TWI;
        }
        if controls.trap_wfe {
            hcr |= HCR_TWE;
        }
        write_sysreg!("HCR_EL2", hcr);
        write_sysreg!("VTCR_EL2", controls.stage2.vtcr);
        write_sysreg!("VTTBR_EL2", controls.stage2.vttbr);
        write_sysreg!("VMPIDR_EL2", controls.vmpidr);
        self.realm_counters.set(controls.pmu_counters);
        let pmu = match controls.pmu_counters {
            Some(counters) => u64::from(counters),
            None => MDCR_TRAP_PMU | u64::from(self.pmu_counters),
        };
        write_sysreg!("MDCR_EL2", MDCR_REALM | pmu);
    }

    /// See [`rmm_hal::RealmCpu::load_debug`].
    pub(crate) fn load_debug(&self, context: &RecContext, controls: &RunControls) {
        let host = &mut self.host.borrow_mut().debug;
        self.debug.load(host, &context.debug, controls.breakpoints);
    }

    /// See [`rmm_hal::RealmCpu::run`].
    pub(crate) fn run(&self, context: &mut RecContext) -> Exit {
        loop {
            // SAFETY: `load` made the PE the Realm's and filled the controls; the context is whole and
            // exclusively borrowed; the vectors lead back here.
            let kind = unsafe { realm_enter(context) };
            let esr = read_sysreg!("ESR_EL2");
            match kind {
                0 => {
                    if let Some(syndrome) = read_syndrome(esr) {
                        return Exit::Sync(syndrome);
                    }
                }
                1 => return Exit::Irq,
                2 => return Exit::Fiq,
                _ => return Exit::SError { esr },
            }
        }
    }

    /// See [`rmm_hal::RealmCpu::save`].
    pub(crate) fn save<W: GranuleWindow>(
        &self,
        window: &W,
        context: &mut RecContext,
        controls: &RunControls,
    ) {
        self.simd.restore(window, context, controls);
        let mut host = self.host.borrow_mut();
        self.debug.restore(&mut host.debug);
        el1::save(&mut context.el1, self.optional);
        el1::save_realm(&mut context.el1, self.optional);
        context.timers = vtimer::read();
        self.vgic.save(&mut context.gic);
        if let (Some(pmu), Some(_)) = (self.pmu, controls.pmu_counters) {
            pmu.save(&mut context.pmu);
            pmu.load(&host.pmu);
        }
        host.gic.load();
        vtimer::load(&host.timers);
        el1::load(&host.el1, self.optional);
    }

    /// See [`rmm_hal::RealmCpu::timers`].
    pub(crate) fn timers(&self) -> TimerState {
        vtimer::read()
    }

    /// See [`rmm_hal::RealmCpu::mask_timers`].
    pub(crate) fn mask_timers(&self, mask_virtual: bool, mask_physical: bool) {
        vtimer::mask(mask_virtual, mask_physical);
    }

    /// See [`rmm_hal::RealmCpu::exception_controls`]. SCTLR2_EL1 traps, so a Realm has none.
    pub(crate) fn exception_controls(&self) -> [u64; 3] {
        [read_sysreg!("VBAR_EL1"), read_sysreg!("SCTLR_EL1"), 0]
    }

    /// See [`rmm_hal::RealmCpu::translation_controls`].
    pub(crate) fn translation_controls(&self) -> TranslationControls {
        TranslationControls {
            sctlr: read_sysreg!("SCTLR_EL1"),
            tcr: read_sysreg!("TCR_EL1"),
            ttbr0: read_sysreg!("TTBR0_EL1"),
            ttbr1: read_sysreg!("TTBR1_EL1"),
        }
    }

    /// See [`rmm_hal::RealmCpu::enter_exception`].
    pub(crate) fn enter_exception(&self, entry: &ExceptionEntry) {
        write_sysreg!("ESR_EL1", entry.esr);
        if let Some(far) = entry.far {
            write_sysreg!("FAR_EL1", far);
        }
        write_sysreg!("ELR_EL1", entry.elr);
        write_sysreg!("SPSR_EL1", entry.spsr);
    }

    /// See [`rmm_hal::RealmCpu::pend_serror`].
    pub(crate) fn pend_serror(&self, vsesr: u64) {
        // VSESR_EL2.
        write_sysreg!("S3_4_C5_C2_3", vsesr);
        write_sysreg!("HCR_EL2", read_sysreg!("HCR_EL2") | HCR_VSE);
    }

    /// See [`rmm_hal::RealmCpu::is_serror_pending`].
    pub(crate) fn is_serror_pending(&self) -> bool {
        read_sysreg!("HCR_EL2") & HCR_VSE != 0
    }

    /// See [`rmm_hal::RealmCpu::enable_simd`].
    pub(crate) fn enable_simd<W: GranuleWindow>(
        &self,
        window: &W,
        context: &RecContext,
        controls: &RunControls,
    ) {
        self.simd.enable(window, context, controls);
    }

    /// See [`rmm_hal::RealmCpu::is_interrupt_pending`].
    pub(crate) fn is_interrupt_pending(&self) -> bool {
        read_sysreg!("ISR_EL1") != 0
    }

    /// See [`rmm_hal::RealmCpu::is_pmu_overflow`].
    pub(crate) fn is_pmu_overflow(&self) -> bool {
        self.realm_counters
            .get()
            .is_some_and(pmu::is_overflow_signalled)
    }
}

/// Writes the controls that no REC changes.
fn init_controls(features: &CpuFeatures, hcr: u64) {
    let mmfr0 = features.id_register(7, 0);
    let mmfr1 = features.id_register(7, 1);
    write_sysreg!("HCR_EL2", hcr);
    write_sysreg!("VPIDR_EL2", features.midr);
    write_sysreg!("HSTR_EL2", 0);
    write_sysreg!("CNTVOFF_EL2", 0);
    // ID_AA64MMFR0_EL1.ECV 2: CNTPOFF_EL2.
    if mmfr0 >> 60 >= 2 {
        write_sysreg!("S3_4_C14_C0_6", 0);
    }
    // ID_AA64MMFR1_EL1.HCX: HCRX_EL2.
    if mmfr1 >> 40 & 0xF != 0 {
        let mops = if features.mops { HCRX_MSCEN } else { 0 };
        write_sysreg!("S3_4_C1_C2_2", mops | trap_bits(Control::Hcrx));
    }
    // ID_AA64MMFR0_EL1.FGT.
    let fgt = mmfr0 >> 56 & 0xF;
    if fgt != 0 {
        write_sysreg!("S3_4_C1_C1_4", 0);
        write_sysreg!("S3_4_C1_C1_5", 0);
        write_sysreg!("S3_4_C1_C1_6", 0);
        write_sysreg!("S3_4_C3_C1_4", trap_bits(Control::Hdfgrtr));
        write_sysreg!("S3_4_C3_C1_5", 0);
    }
    if fgt >= 2 {
        rmm_close_fgt2();
    }
    // ID_AA64PFR0_EL1.MPAM, ID_AA64PFR1_EL1.MPAM_frac.
    if features.id_register(4, 0) >> 40 & 0xF != 0 || features.id_register(4, 1) >> 16 & 0xF != 0 {
        rmm_close_mpam(trap_bits(Control::Mpam2));
    }
}

/// Reads the syndrome of a synchronous exit. Returns nothing when the address of a fault can no longer
/// be told and the Realm has to fault again.
fn read_syndrome(esr: u64) -> Option<Syndrome> {
    let far = read_sysreg!("FAR_EL2");
    if !matches!(esr >> 26, 0x20 | 0x24) {
        return Some(Syndrome { esr, far, hpfar: 0 });
    }
    let hpfar = match fault_address(esr) {
        FaultAddress::Reported => read_sysreg!("HPFAR_EL2"),
        FaultAddress::ByTranslation => find_hpfar(far)?,
        FaultAddress::None => 0,
    };
    Some(Syndrome { esr, far, hpfar })
}

/// Translates the faulting address through the Realm's stage 1 and returns it as HPFAR_EL2 shows it.
///
/// The Realm may have its tables in memory of the Host, who may have taken that away since the fault:
/// then the walk ends in an abort at R-EL2, and the Realm runs into it by itself the next time.
fn find_hpfar(far: u64) -> Option<u64> {
    let realm_par = read_sysreg!("PAR_EL1");
    let mut is_aborted = 1u64;
    // SAFETY: AT S1E1R changes PAR_EL1 only, which is put back below. An abort goes on behind the second
    // instruction with all registers as they were.
    unsafe {
        asm!(
            "20: at s1e1r, {va}",
            "21: mov {is_aborted}, #0",
            "22:",
            ".pushsection .fixups, \"a\"",
            ".balign 8",
            ".quad 20b, 21b, 22b",
            ".popsection",
            va = in(reg) far,
            is_aborted = inout(reg) is_aborted,
            options(nostack, preserves_flags)
        );
    }
    isb();
    let par = read_sysreg!("PAR_EL1");
    write_sysreg!("PAR_EL1", realm_par);
    // PAR_EL1.F: the walk itself faulted, another PE changed the Realm's tables.
    (is_aborted == 0 && par & 1 == 0).then_some((par & 0x000F_FFFF_FFFF_F000) >> 8)
}
