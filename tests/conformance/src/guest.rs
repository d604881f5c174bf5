// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The program of scenarios as a closure on the fake machine: what a Realm does with its actions.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use rmi::{Command, GRANULE_SIZE, Ipa, psci};
use rmm_fake::{FakePe, FakeRealm, Pas, RealmProgram, Translation, walk};
use rmm_hal::{Exit, RecContext, Stage2Root, Syndrome};
use scenarios::realm::{RealmAction, RealmResult};

use crate::machine::Site;

/// Bytes of an instruction.
const INSTRUCTION: u64 = 4;

/// The register in which the program counts its loads.
const LOADS: usize = 13;

/// What passes between the Host's side and the Realms.
#[derive(Debug, Default)]
pub struct Mailbox {
    /// What the next REC that waits does.
    pub action: Cell<Option<RealmAction>>,
    /// What came of the last action.
    pub result: Cell<Option<RealmResult>>,
    /// A call to make while a REC runs.
    pub during: Cell<Option<[u64; 8]>>,
    /// The reply to it.
    pub reply: Cell<Option<[u64; 8]>>,
    /// Calls to make while a REC watches memory.
    pub beside: RefCell<Calls>,
    /// The REC that the Host enters.
    entered: Cell<u64>,
    flights: RefCell<BTreeMap<u64, Flight>>,
}

impl Mailbox {
    /// Hears of a call of the Host that is about to be made.
    pub fn before(&self, call: &[u64; 8]) {
        if let Some(Command::RecEnter { rec, .. }) = Command::decode(call) {
            self.entered.set(rec);
        }
    }

    /// Hears of a call of the Host that was made: a REC that is gone is forgotten.
    pub fn after(&self, call: &[u64; 8], reply: &[u64; 8]) {
        if let (Some(Command::RecDestroy { rec }), [0, ..]) = (Command::decode(call), reply) {
            self.flights.borrow_mut().remove(&rec);
        }
    }
}

/// Calls that are made one by one between what a REC does, and their replies.
#[derive(Debug, Default)]
pub struct Calls {
    left: VecDeque<[u64; 8]>,
    /// x0 to x7 of those that were made.
    pub replies: Vec<[u64; 8]>,
    stop: Option<u64>,
}

impl Calls {
    /// Takes calls, and the word of the Host that says that all are made.
    pub fn begin(&mut self, calls: &[[u64; 8]], stop: u64) {
        self.left.extend(calls);
        self.stop = Some(stop);
    }

    /// Says whether all are made.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.stop.is_none()
    }

    /// Makes the next one.
    fn make(&mut self, site: &Site<'_>, pe: &FakePe<'_>) {
        if let Some(call) = self.left.pop_front() {
            self.replies.push(site.monitor.handle(pe, &call));
        } else if let Some(stop) = self.stop.take() {
            let page = rmi::GranuleAddr::new(stop - stop % GRANULE_SIZE).expect("aligned down");
            let offset = usize::try_from(stop % GRANULE_SIZE).expect("below 4096");
            let written = site.machine.host_write(page, offset, &1_u64.to_le_bytes());
            written.expect("the word is the Host's");
        }
    }
}

/// An action that is not over.
#[derive(Clone, Copy, Debug)]
struct Flight {
    action: RealmAction,
    pc: u64,
    pstate: u64,
    has_begun: bool,
}

/// What one try at an action leads to.
enum Try {
    Done,
    Exit(Exit),
}

/// Returns the program, which serves the mailbox.
pub fn program<'m>(site: Site<'m>, mailbox: Rc<Mailbox>) -> RealmProgram<'m> {
    let guest = Guest {
        site,
        mailbox,
        pe: FakePe::new(site.machine),
    };
    Box::new(move |realm, context| guest.run(realm, context))
}

struct Guest<'m> {
    site: Site<'m>,
    mailbox: Rc<Mailbox>,
    /// Another PE, for calls and accesses.
    pe: FakePe<'m>,
}

impl Guest<'_> {
    fn run(&self, realm: &FakeRealm<'_>, context: &mut RecContext) -> Exit {
        if let Some(call) = self.mailbox.during.take() {
            let reply = self.site.monitor.handle(&self.pe, &call);
            self.mailbox.reply.set(Some(reply));
            return Exit::Irq;
        }
        let controls = realm.controls().expect("a REC is loaded while it runs");
        let who = self.mailbox.entered.get();
        let flight = self.mailbox.flights.borrow_mut().remove(&who);
        let Some(mut flight) = flight.or_else(|| self.begin(context)) else {
            return Exit::Irq;
        };
        let is_moved = context.pc != flight.pc;
        let step = if flight.has_begun && is_moved {
            Try::Done
        } else {
            flight.has_begun = true;
            let traps = (controls.trap_wfi, controls.trap_wfe);
            self.attempt(&flight, &controls.stage2, context, traps)
        };
        match step {
            Try::Exit(exit) => {
                // A processor that turns itself off does not come back to what it did.
                if !matches!(flight.action, RealmAction::Smc([psci::FID_CPU_OFF, ..])) {
                    self.mailbox.flights.borrow_mut().insert(who, flight);
                }
                exit
            }
            Try::Done => {
                self.finish(&flight, realm, context);
                Exit::Irq
            }
        }
    }

    /// Takes the action that the Host gave.
    fn begin(&self, context: &mut RecContext) -> Option<Flight> {
        let action = self.mailbox.action.take()?;
        if let RealmAction::Smc(registers) = action {
            context.gprs[..registers.len()].copy_from_slice(&registers);
        }
        Some(Flight {
            action,
            pc: context.pc,
            pstate: context.pstate,
            has_begun: false,
        })
    }

    /// Reports what came of an action, and goes back to where it began.
    fn finish(&self, flight: &Flight, realm: &FakeRealm<'_>, context: &mut RecContext) {
        let mut result = RealmResult::default();
        let count = result.registers.len();
        result.registers.copy_from_slice(&context.gprs[..count]);
        let next = flight.pc.wrapping_add(INSTRUCTION);
        if context.pc != next && context.pc != flight.pc {
            result.exception = Some(realm.el1.borrow().esr_el1);
        }
        (context.pc, context.pstate) = (flight.pc, flight.pstate);
        self.mailbox.result.set(Some(result));
        self.mailbox.action.set(None);
    }

    fn attempt(
        &self,
        flight: &Flight,
        root: &Stage2Root,
        context: &mut RecContext,
        (trap_wfi, trap_wfe): (bool, bool),
    ) -> Try {
        match flight.action {
            RealmAction::Smc(_) => exit_with(class(0x17), 0, 0),
            RealmAction::Hvc => {
                // HVC is taken with the address behind it.
                context.pc = context.pc.wrapping_add(INSTRUCTION);
                exit_with(class(0x16), 0, 0)
            }
            RealmAction::WaitForInterrupt if trap_wfi => exit_with(class(0x01), 0, 0),
            RealmAction::WaitForEvent if trap_wfe => exit_with(class(0x01) | 1, 0, 0),
            RealmAction::WaitForInterrupt | RealmAction::WaitForEvent => Try::Done,
            RealmAction::Load { ipa } => self.load(root, context, ipa, SINGLE),
            RealmAction::LoadPair { ipa } => self.load(root, context, ipa, 0),
            RealmAction::Store { ipa, value } => self.store(root, context, ipa, value),
            RealmAction::Fetch { ipa } => self.fetch(root, ipa),
            RealmAction::Watch { ipa, value, stop } => {
                self.watch(root, context, [ipa, value, stop])
            }
        }
    }

    /// Loads again and again; the other PE makes one of its calls after each load.
    fn watch(&self, root: &Stage2Root, context: &mut RecContext, watch: [u64; 3]) -> Try {
        let [ipa, value, stop] = watch;
        loop {
            let read_stop = self.load(root, context, stop, SINGLE);
            let is_over = context.gprs[0] != 0;
            let read = self.load(root, context, ipa, SINGLE);
            self.mailbox.beside.borrow_mut().make(&self.site, &self.pe);
            for read in [read_stop, read] {
                if let Try::Exit(_) = read {
                    return read;
                }
            }
            context.gprs[LOADS] += 1;
            if context.gprs[0] != value || is_over {
                context.gprs[1] = context.gprs[LOADS];
                return Try::Done;
            }
        }
    }

    fn load(&self, root: &Stage2Root, context: &mut RecContext, ipa: u64, syndrome: u64) -> Try {
        match self.translate(root, ipa, S2AP_READ) {
            Ok((page, pas)) => {
                let word = usize::try_from(ipa % GRANULE_SIZE / 8).expect("below 512");
                context.gprs[0] = self.site.machine.load(page, pas, word).unwrap_or(0);
                Try::Done
            }
            Err(status) => exit_with(class(0x24) | syndrome | status, ipa, ipa),
        }
    }

    fn store(&self, root: &Stage2Root, context: &mut RecContext, ipa: u64, value: u64) -> Try {
        context.gprs[1] = value;
        match self.translate(root, ipa, S2AP_WRITE) {
            Ok((page, pas)) => {
                let word = usize::try_from(ipa % GRANULE_SIZE / 8).expect("below 512");
                // Memory that is not there swallows the value.
                let _ = self.site.machine.store(page, pas, word, value);
                Try::Done
            }
            Err(status) => {
                let esr = class(0x24) | SINGLE | REGISTER_1 | WRITE | status;
                exit_with(esr, ipa, ipa)
            }
        }
    }

    fn fetch(&self, root: &Stage2Root, ipa: u64) -> Try {
        let is_executable = |descriptor: u64| descriptor >> 53 & 3 == 0;
        match walk(self.site.machine, root, Ipa::new(ipa)) {
            Translation::Valid { descriptor, .. } if is_executable(descriptor) => Try::Done,
            Translation::Valid { level, .. } => {
                exit_with(class(0x20) | permission(level), ipa, ipa)
            }
            Translation::Fault { level } => exit_with(class(0x20) | translation(level), ipa, ipa),
        }
    }

    /// Returns the page and its owner, or the fault status.
    fn translate(
        &self,
        root: &Stage2Root,
        ipa: u64,
        access: u64,
    ) -> Result<(rmi::GranuleAddr, Pas), u64> {
        let walked = walk(self.site.machine, root, Ipa::new(ipa));
        let page = self.pe.translate(root, Ipa::new(ipa));
        match (page, walked) {
            (
                Some(_),
                Translation::Valid {
                    level, descriptor, ..
                },
            ) if descriptor & access == 0 => Err(permission(level)),
            (Some(page), Translation::Valid { descriptor, .. }) if descriptor >> 55 & 1 == 1 => {
                Ok((page, Pas::NonSecure))
            }
            (Some(page), _) => Ok((page, Pas::Realm)),
            (None, Translation::Fault { level }) => Err(translation(level)),
            (None, Translation::Valid { .. }) => unreachable!("the TLB asks the same walker"),
        }
    }
}

/// ISV, eight bytes, a 64-bit register, x0.
const SINGLE: u64 = 1 << 24 | 0b11 << 22 | 1 << 15;
const REGISTER_1: u64 = 1 << 16;
const WRITE: u64 = 1 << 6;
const S2AP_READ: u64 = 1 << 6;
const S2AP_WRITE: u64 = 1 << 7;

/// An exception class, of a 32-bit instruction.
fn class(ec: u64) -> u64 {
    ec << 26 | 1 << 25
}

fn translation(level: i8) -> u64 {
    match level {
        -1 => 0b10_1011,
        _ => 0b00_0100 + u64::from(level.unsigned_abs()),
    }
}

fn permission(level: i8) -> u64 {
    0b00_1100 + u64::from(level.unsigned_abs())
}

fn exit_with(esr: u64, far: u64, ipa: u64) -> Try {
    Try::Exit(Exit::Sync(Syndrome {
        esr,
        far,
        hpfar: ipa >> 12 << 4,
    }))
}
