// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! One PE, as the rules see it.

use rmm_hal::{
    CpuFeatures, El3, ExceptionEntry, Exit, Hal, RealmCpu, RecContext, RunControls, TimerRegister,
    TimerState, TranslationControls,
};

use static_assertions::assert_not_impl_any;

use crate::dit::Dit;
use crate::entry::PeSlot;
use crate::ns_copy::{Means, NsCopy};
use crate::sha::Instructions;
use crate::stage2::Maintenance;
use crate::switch::RealmSide;
use crate::vtimer;
use crate::window::{WindowTable, Windows};

/// The PE this code runs on, with `E` as its way to EL3. It never leaves its PE.
pub struct Pe<'m, E> {
    windows: Windows,
    ns: NsCopy,
    stage2: Maintenance,
    realm: RealmSide,
    el3: E,
    sha2: Instructions,
    features: &'m CpuFeatures,
}

assert_not_impl_any!(Pe<'static, ()>: Send, Sync);

impl<'m, E: El3> Pe<'m, E> {
    /// Returns this PE. `features` are those of the machine.
    #[must_use]
    pub fn new(slot: PeSlot, features: &'m CpuFeatures, el3: E) -> Self {
        let table = WindowTable::new(&slot);
        let means = Means::best(features);
        Self {
            windows: Windows::new(table, means),
            ns: NsCopy::new(table, means),
            stage2: Maintenance,
            realm: RealmSide::new(features),
            el3,
            sha2: Instructions::new(features),
            features,
        }
    }
}

impl<E> core::fmt::Debug for Pe<'_, E> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Pe").finish_non_exhaustive()
    }
}

impl<E: El3> Hal for Pe<'_, E> {
    type Window = Windows;
    type Ns = NsCopy;
    type Stage2 = Maintenance;
    type Realm = Self;
    type El3 = E;
    type Sha2 = Instructions;
    type Timing = Dit;

    fn window(&self) -> &Windows {
        &self.windows
    }

    fn ns(&self) -> &NsCopy {
        &self.ns
    }

    fn stage2(&self) -> &Maintenance {
        &self.stage2
    }

    fn realm(&self) -> &Self {
        self
    }

    fn el3(&self) -> &E {
        &self.el3
    }

    fn sha2(&self) -> &Instructions {
        &self.sha2
    }

    fn timing(&self) -> &Dit {
        &Dit
    }

    fn features(&self) -> &CpuFeatures {
        self.features
    }
}

/// The Realm side, which needs the PE's windows for registers that are kept in auxiliary granules.
impl<E: El3> RealmCpu for Pe<'_, E> {
    fn load(&self, context: &mut RecContext, controls: &RunControls) {
        self.realm.load(context, controls);
    }

    fn run(&self, context: &mut RecContext) -> Exit {
        self.realm.run(context)
    }

    fn save(&self, context: &mut RecContext, controls: &RunControls) {
        self.realm.save(&self.windows, context, controls);
    }

    fn load_debug(&self, context: &RecContext, controls: &RunControls) {
        self.realm.load_debug(context, controls);
    }

    fn timers(&self) -> TimerState {
        self.realm.timers()
    }

    fn mask_timers(&self, mask_virtual: bool, mask_physical: bool) {
        self.realm.mask_timers(mask_virtual, mask_physical);
    }

    fn read_timer(&self, register: TimerRegister) -> u64 {
        vtimer::read_register(register)
    }

    fn write_timer(&self, register: TimerRegister, value: u64) {
        vtimer::write_register(register, value);
    }

    fn exception_controls(&self) -> [u64; 3] {
        self.realm.exception_controls()
    }

    fn translation_controls(&self) -> TranslationControls {
        self.realm.translation_controls()
    }

    fn enter_exception(&self, entry: &ExceptionEntry) {
        self.realm.enter_exception(entry);
    }

    fn pend_serror(&self, vsesr: u64) {
        self.realm.pend_serror(vsesr);
    }

    fn is_serror_pending(&self) -> bool {
        self.realm.is_serror_pending()
    }

    fn enable_simd(&self, context: &mut RecContext, controls: &RunControls) {
        self.realm.enable_simd(&self.windows, context, controls);
    }

    fn is_interrupt_pending(&self) -> bool {
        self.realm.is_interrupt_pending()
    }

    fn is_pmu_overflow(&self) -> bool {
        self.realm.is_pmu_overflow()
    }
}
