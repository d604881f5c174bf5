// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! A REC on a PE: from the moment its registers are loaded to the moment they are saved.

use rmi::{GranuleAddr, Ipa, Ripas, RttLevel};
use rmm_hal::{Exit, Hal, RealmCpu, RunControls, Syndrome, TimerRegister, TimerState};

use crate::boot::Monitor;
use crate::realm::{RealmMemoryError, memory};
use crate::rec::context::{return_to_hvc, skip_instruction, skip_wait};
use crate::rec::exit::Stop;
use crate::rec::inject::{Injected, inject};
use crate::rec::object::{HostAbort, RealmTraits, Rec};
use crate::rec::syndrome::Esr;
use crate::rec::sysreg::{self, Verdict};
use crate::rec::trap::ProtectedPage;
use crate::rec::trap::{self, Access, Emulation, ErrorType, ProtectedVerdict, Target, Trap};
use crate::rec::{stage1, syndrome};
use crate::rtt::{Rtte, Start};

/// Who a REC is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Identity {
    /// The Realm's descriptor.
    pub(crate) owner: GranuleAddr,
    /// Its number among the processors of the Realm.
    pub(crate) index: u64,
}

/// What comes after an exception was dealt with.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// The Realm goes on.
    Resume,
    /// The Host gets its PE back.
    Stop(Stop),
}

/// What the monitor's own handling of an exception came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Handled {
    /// The Realm called the monitor.
    Call,
    /// Anything else, dealt with.
    Next(Next),
}

/// A REC whose registers are loaded on this PE.
pub(crate) struct Running<'r, 'm, H: Hal> {
    /// The monitor.
    pub(crate) monitor: &'r Monitor<'m>,
    /// This PE.
    pub(crate) hal: &'r H,
    /// The REC.
    pub(crate) rec: &'r mut Rec,
    /// Its Realm.
    pub(crate) realm: &'r RealmTraits,
    /// Who it is.
    pub(crate) identity: Identity,
    /// Where the Realm's values of x0 to x30 in a call to the Host go.
    pub(crate) host_gprs: &'r mut [u64; 31],
    /// The Realm turned this processor off.
    pub(crate) is_turned_off: bool,
    controls: RunControls,
    reported_timers: Asserted,
    host_abort: Option<HostAbort>,
    new_serror: Option<u64>,
}

/// Which EL1 timers signal an interrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Asserted {
    is_virtual: bool,
    is_physical: bool,
}

impl Asserted {
    fn of(timers: &TimerState) -> Self {
        Self {
            is_virtual: timers.is_virtual_asserted(),
            is_physical: timers.is_physical_asserted(),
        }
    }
}

impl<'r, 'm, H: Hal> Running<'r, 'm, H> {
    /// Loads a REC.
    ///
    /// A timer that signalled when the Host last looked is masked: the Host knows, and its signal must
    /// not end the run again and again. The run ends when the Realm lowers the signal: the Host has to
    /// withdraw the interrupt, and to hear when the timer fires again (A8.1: a change of the output that
    /// asks for another state of the virtual interrupt is an exit).
    pub(crate) fn load(
        monitor: &'r Monitor<'m>,
        hal: &'r H,
        rec: &'r mut Rec,
        realm: &'r RealmTraits,
        identity: Identity,
        controls: RunControls,
        host_gprs: &'r mut [u64; 31],
    ) -> Self {
        let reported_timers = Asserted::of(&rec.context.timers);
        let cpu = hal.realm();
        cpu.load(&mut rec.context, &controls);
        cpu.mask_timers(reported_timers.is_virtual, reported_timers.is_physical);
        if let Some(syndrome) = rec.pending_serror() {
            cpu.pend_serror(syndrome);
        }
        Self {
            monitor,
            hal,
            rec,
            realm,
            identity,
            host_gprs,
            is_turned_off: false,
            controls,
            reported_timers,
            host_abort: None,
            new_serror: None,
        }
    }

    /// Runs the Realm until something happens that the monitor cannot deal with alone. Calls are made
    /// by `call`.
    pub(crate) fn run(&mut self, mut call: impl FnMut(&mut Self) -> Next) -> Stop {
        loop {
            if Asserted::of(&self.hal.realm().timers()) != self.reported_timers {
                return Stop::Irq;
            }
            let exit = self.hal.realm().run(&mut self.rec.context);
            let next = match self.handle(exit) {
                Handled::Call => call(self),
                Handled::Next(next) => next,
            };
            match next {
                Next::Resume => {}
                Next::Stop(stop) => return stop,
            }
        }
    }

    /// Saves the REC and records what the next entry needs to know of the end of this run. Returns
    /// whether the overflow of a PMU counter is signalled.
    pub(crate) fn save(self, stop: &Stop) -> bool {
        let cpu = self.hal.realm();
        let is_overflow = self.realm.pmu_counters.is_some() && cpu.is_pmu_overflow();
        if self.new_serror.is_some() {
            self.rec.set_pending_serror(self.new_serror);
        } else if self.rec.pending_serror().is_some() && !cpu.is_serror_pending() {
            self.rec.set_pending_serror(None);
        }
        cpu.save(&mut self.rec.context, &self.controls);
        self.rec.set_host_abort(self.host_abort);
        if !matches!(stop, Stop::RipasChange(_)) {
            self.rec.clear_ripas_request();
        }
        is_overflow
    }

    /// Has the Realm take an exception at its current instruction.
    pub(crate) fn inject(&mut self, exception: Injected) {
        let cpu = self.monitor.cpu();
        inject(self.hal.realm(), cpu, &mut self.rec.context, exception);
    }

    /// Copies from the Realm's memory.
    pub(crate) fn read_memory(&self, ipa: Ipa, into: &mut [u8]) -> Result<(), RealmMemoryError> {
        let (granules, tree) = (self.monitor.granules(), &self.realm.tree);
        memory::read(granules, self.hal.window(), tree, ipa, into)
    }

    /// Copies into the Realm's memory.
    pub(crate) fn write_memory(&self, ipa: Ipa, from: &[u8]) -> Result<(), RealmMemoryError> {
        let (granules, tree) = (self.monitor.granules(), &self.realm.tree);
        memory::write(granules, self.hal.window(), tree, ipa, from)
    }

    fn handle(&mut self, exit: Exit) -> Handled {
        Handled::Next(match exit {
            Exit::Sync(syndrome) => return self.handle_sync(&syndrome),
            Exit::Irq => Next::Stop(Stop::Irq),
            Exit::Fiq => Next::Stop(Stop::Fiq),
            Exit::SError { esr } => Next::Stop(self.handle_serror(esr)),
        })
    }

    fn handle_sync(&mut self, syndrome: &Syndrome) -> Handled {
        let next = match Trap::of(syndrome.esr, self.realm.sve_vq.is_some()) {
            Trap::Smc => return Handled::Call,
            Trap::Wait => {
                let stop = Stop::wait(syndrome.esr, &self.rec.context.gprs);
                skip_wait(&mut self.rec.context, syndrome.esr);
                Next::Stop(stop)
            }
            Trap::Hvc => {
                return_to_hvc(&mut self.rec.context);
                self.refuse(Injected::Unknown)
            }
            Trap::Register => self.handle_register(syndrome.esr),
            Trap::Simd => {
                let cpu = self.hal.realm();
                cpu.enable_simd(&mut self.rec.context, &self.controls);
                Next::Resume
            }
            Trap::Undefined => self.refuse(Injected::Unknown),
            Trap::Abort(access) => self.handle_abort(access, syndrome),
        };
        Handled::Next(next)
    }

    fn handle_register(&mut self, esr: u64) -> Next {
        if let Some(register) = sysreg::timer_register(esr) {
            return self.handle_timer(esr, register);
        }
        let (cpu, context) = (self.monitor.cpu(), &mut self.rec.context);
        match sysreg::access(esr, context, cpu, self.realm) {
            Verdict::Done => Next::Resume,
            Verdict::DebugChanged => {
                let cpu = self.hal.realm();
                cpu.load_debug(&self.rec.context, &self.controls);
                Next::Resume
            }
            Verdict::Host => {
                let stop = Stop::register_write(esr, &context.gprs);
                skip_instruction(context);
                Next::Stop(stop)
            }
            Verdict::Undefined => self.refuse(Injected::Unknown),
        }
    }

    /// Makes the access of the Realm to a timer that is masked. If that changes its output, [`Self::run`]
    /// lets the Host know.
    fn handle_timer(&mut self, esr: u64, register: TimerRegister) -> Next {
        let (cpu, context, access) = (self.hal.realm(), &mut self.rec.context, Esr(esr));
        let operand = access.trapped_register();
        if access.is_trapped_read() {
            operand.write(&mut context.gprs, cpu.read_timer(register));
        } else {
            cpu.write_timer(register, operand.read(&context.gprs));
        }
        skip_instruction(context);
        Next::Resume
    }

    fn handle_abort(&mut self, access: Access, abort: &Syndrome) -> Next {
        match trap::target(access, abort, self.rec.context.pstate, self.realm) {
            Target::Error(ErrorType::Restartable) => Next::Stop(Stop::external_abort(abort)),
            Target::Error(ErrorType::Unrecoverable) => {
                self.inject(Injected::external(abort));
                Next::Stop(Stop::external_abort(abort))
            }
            Target::Outside => self.refuse(Injected::AddressSize {
                esr: abort.esr,
                far: abort.far,
                level: self.level_outside(abort.far),
            }),
            Target::Unprotected(Access::Fetch, _) => self.refuse(Injected::external(abort)),
            Target::Unprotected(Access::Data, _) if self.is_mapped_again(abort) => Next::Resume,
            Target::Unprotected(Access::Data, emulation) => {
                self.stop_at_unprotected(abort, emulation)
            }
            Target::Protected(ipa) => match trap::protected_verdict(self.look_up(ipa), abort.esr) {
                ProtectedVerdict::ExternalAbort => self.refuse(Injected::external(abort)),
                ProtectedVerdict::Retry => Next::Resume,
                ProtectedVerdict::Exit => Next::Stop(match access {
                    Access::Fetch => Stop::instruction_abort(abort),
                    Access::Data => Stop::protected_abort(abort),
                }),
            },
        }
    }

    /// Says whether the Host's memory that was missing at the fault is there now.
    ///
    /// `RMI_RTT_CREATE` and `RMI_RTT_FOLD` take a block away for a moment to write it in another form,
    /// which nobody may notice: the Host would take the fault for an access to emulate.
    fn is_mapped_again(&self, abort: &Syndrome) -> bool {
        Esr(abort.esr).is_translation_fault()
            && matches!(
                self.entry_at(trap::fault_ipa(abort)),
                Rtte::AssignedNs { .. }
            )
    }

    fn stop_at_unprotected(&mut self, abort: &Syndrome, emulation: Emulation) -> Next {
        self.host_abort = Some(HostAbort {
            esr: abort.esr,
            far: abort.far,
            is_emulatable: emulation == Emulation::Possible,
        });
        Next::Stop(match emulation {
            Emulation::Possible => Stop::emulatable_abort(abort, &self.rec.context.gprs),
            Emulation::Impossible => Stop::unprotected_abort(abort),
        })
    }

    fn handle_serror(&mut self, esr: u64) -> Stop {
        if trap::serror_type(esr) == ErrorType::Unrecoverable {
            self.new_serror = Some(esr & syndrome::ISS_MASK);
        }
        Stop::serror(esr)
    }

    /// Lets the Realm go on with an exception in place of its current instruction.
    fn refuse(&mut self, exception: Injected) -> Next {
        self.inject(exception);
        Next::Resume
    }

    /// Returns the stage 1 level at which the walk of `va` left the Realm's address space.
    fn level_outside(&self, va: u64) -> RttLevel {
        let controls = self.hal.realm().translation_controls();
        stage1::level_outside(&controls, va, self.realm.tree.ipa_bits(), |ipa| {
            let mut word = [0; size_of::<u64>()];
            self.read_memory(ipa, &mut word).ok()?;
            Some(u64::from_le_bytes(word))
        })
    }

    fn look_up(&self, ipa: Ipa) -> ProtectedPage {
        let (ripas, is_assigned) = match self.entry_at(ipa) {
            Rtte::Assigned { ripas, .. } => (ripas, true),
            Rtte::Unassigned { ripas } => (ripas, false),
            Rtte::UnassignedNs | Rtte::AssignedNs { .. } | Rtte::Table { .. } => {
                unreachable!("the walk of a protected address ends at a protected entry")
            }
        };
        ProtectedPage { ripas, is_assigned }
    }

    /// Returns the table entry that an access to an address of the Realm would use.
    fn entry_at(&self, ipa: Ipa) -> Rtte {
        let (granules, tree) = (self.monitor.granules(), &self.realm.tree);
        let start = Start::lock(granules, tree, ipa);
        start
            .descend(granules, self.hal.window(), RttLevel::LEVEL_3)
            .entry()
    }
}

/// Turns the answer to a pending change of address state into what the Realm learns of it.
pub(crate) fn is_refused(remaining: bool, value: Ripas, is_rejected_by_host: bool) -> bool {
    remaining && value == Ripas::Ram && is_rejected_by_host
}
