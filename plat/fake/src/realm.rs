// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! A Realm whose behaviour a test writes as a closure.

use std::cell::{Cell, RefCell};
use std::fmt;

use rmm_hal::{
    DebugState, El1Registers, ExceptionEntry, Exit, GicState, RealmCpu, RecContext, RunControls,
    TimerRegister, TimerState, TranslationControls,
};

/// What the Realm does from one entry to the next exit. It sees the general registers, `pc` and
/// `pstate` in the context and the loaded hardware state in the [`FakeRealm`].
pub type RealmProgram<'p> = Box<dyn FnMut(&FakeRealm<'p>, &mut RecContext) -> Exit + 'p>;

/// The Realm side of a fake PE. Without a program a Realm stops at once with an IRQ.
#[derive(Default)]
pub struct FakeRealm<'p> {
    program: RefCell<Option<RealmProgram<'p>>>,
    loaded: Cell<Option<RunControls>>,
    /// The loaded REC's EL1 registers.
    pub el1: RefCell<El1Registers>,
    /// The debug state that is in effect for the loaded REC.
    pub debug: RefCell<DebugState>,
    /// The loaded REC's virtual GIC.
    pub gic: RefCell<GicState>,
    /// The loaded REC's timers.
    pub timers: Cell<TimerState>,
    /// Which physical timer signals are masked: virtual, physical.
    pub masked: Cell<(bool, bool)>,
    /// A physical interrupt is pending.
    pub interrupt_pending: Cell<bool>,
    /// A PMU overflow is signalled.
    pub pmu_overflow: Cell<bool>,
    /// The syndrome of a virtual SError made pending since the last load.
    pub pending_serror: Cell<Option<u64>>,
    /// The SIMD registers are the REC's.
    pub simd_enabled: Cell<bool>,
    /// How often a Realm ran.
    pub runs: Cell<u64>,
}

impl fmt::Debug for FakeRealm<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeRealm")
            .field("loaded", &self.loaded.get())
            .finish_non_exhaustive()
    }
}

impl<'p> FakeRealm<'p> {
    /// Says what Realms do on this PE from now on.
    pub fn set_program(&self, program: RealmProgram<'p>) {
        *self.program.borrow_mut() = Some(program);
    }

    /// Returns the controls of the loaded REC, `None` when none is loaded.
    #[must_use]
    pub fn controls(&self) -> Option<RunControls> {
        self.loaded.get()
    }
}

impl RealmCpu for FakeRealm<'_> {
    fn load(&self, context: &mut RecContext, controls: &RunControls) {
        assert!(self.loaded.get().is_none(), "a REC is loaded over another");
        self.loaded.set(Some(*controls));
        *self.el1.borrow_mut() = context.el1.clone();
        *self.debug.borrow_mut() = context.debug.clone();
        *self.gic.borrow_mut() = context.gic.clone();
        self.timers.set(context.timers);
        self.pending_serror.set(None);
        self.simd_enabled.set(false);
    }

    fn run(&self, context: &mut RecContext) -> Exit {
        assert!(
            self.loaded.get().is_some(),
            "a Realm runs without being loaded"
        );
        self.runs.set(self.runs.get() + 1);
        let program = self.program.borrow_mut().take();
        let Some(mut program) = program else {
            return Exit::Irq;
        };
        let exit = program(self, context);
        self.program.borrow_mut().get_or_insert(program);
        exit
    }

    fn save(&self, context: &mut RecContext, controls: &RunControls) {
        assert_eq!(
            self.loaded.get().as_ref(),
            Some(controls),
            "another REC is loaded"
        );
        self.loaded.set(None);
        context.el1 = self.el1.borrow().clone();
        context.gic = self.gic.borrow().clone();
        context.timers = self.timers.get();
    }

    fn load_debug(&self, context: &RecContext, _: &RunControls) {
        *self.debug.borrow_mut() = context.debug.clone();
    }

    fn timers(&self) -> TimerState {
        self.timers.get()
    }

    fn mask_timers(&self, mask_virtual: bool, mask_physical: bool) {
        self.masked.set((mask_virtual, mask_physical));
    }

    fn read_timer(&self, register: TimerRegister) -> u64 {
        let timers = self.timers.get();
        match register {
            TimerRegister::VirtualControl => timers.cntv_ctl,
            TimerRegister::VirtualValue | TimerRegister::VirtualCompare => timers.cntv_cval,
            TimerRegister::PhysicalControl => timers.cntp_ctl,
            TimerRegister::PhysicalValue | TimerRegister::PhysicalCompare => timers.cntp_cval,
        }
    }

    fn write_timer(&self, register: TimerRegister, value: u64) {
        let mut timers = self.timers.get();
        let TimerState {
            cntv_ctl,
            cntv_cval,
            cntp_ctl,
            cntp_cval,
        } = &mut timers;
        match register {
            TimerRegister::VirtualControl => write_control(cntv_ctl, value),
            TimerRegister::VirtualValue | TimerRegister::VirtualCompare => {
                write_compare(cntv_ctl, cntv_cval, value);
            }
            TimerRegister::PhysicalControl => write_control(cntp_ctl, value),
            TimerRegister::PhysicalValue | TimerRegister::PhysicalCompare => {
                write_compare(cntp_ctl, cntp_cval, value);
            }
        }
        self.timers.set(timers);
    }

    fn exception_controls(&self) -> [u64; 3] {
        let el1 = self.el1.borrow();
        [el1.vbar_el1, el1.sctlr_el1, 0]
    }

    fn translation_controls(&self) -> TranslationControls {
        let el1 = self.el1.borrow();
        TranslationControls {
            sctlr: el1.sctlr_el1,
            tcr: el1.tcr_el1,
            ttbr0: el1.ttbr0_el1,
            ttbr1: el1.ttbr1_el1,
        }
    }

    fn enter_exception(&self, entry: &ExceptionEntry) {
        let mut el1 = self.el1.borrow_mut();
        el1.esr_el1 = entry.esr;
        if let Some(far) = entry.far {
            el1.far_el1 = far;
        }
        el1.elr_el1 = entry.elr;
        el1.spsr_el1 = entry.spsr;
    }

    fn pend_serror(&self, vsesr: u64) {
        self.pending_serror.set(Some(vsesr));
    }

    fn is_serror_pending(&self) -> bool {
        self.pending_serror.get().is_some()
    }

    fn enable_simd(&self, _context: &mut RecContext, _controls: &RunControls) {
        self.simd_enabled.set(true);
    }

    fn is_interrupt_pending(&self) -> bool {
        self.interrupt_pending.get()
    }

    fn is_pmu_overflow(&self) -> bool {
        self.pmu_overflow.get()
    }
}

/// `CNTx_CTL_EL0.ISTATUS`, which is read only.
const ISTATUS: u64 = 1 << 2;

fn write_control(control: &mut u64, value: u64) {
    *control = value & !ISTATUS | *control & ISTATUS;
}

/// The fake machine's counter stands at zero: whatever is not there yet lies ahead.
fn write_compare(control: &mut u64, compare: &mut u64, value: u64) {
    *compare = value;
    *control = *control & !ISTATUS | if value == 0 { ISTATUS } else { 0 };
}
