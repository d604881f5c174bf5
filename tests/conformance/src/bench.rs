// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! A REC whose every step is a closure, with the run page in full view.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use rmi::{Command, GranuleAddr, RecEnter};
use rmm_fake::{FakePe, FakeRealm};
use rmm_hal::{Exit, GicState, Hal, RecContext, TimerState};
use scenarios::{Realm, RealmPlan, Rec, Runnable, World};
use zerocopy::IntoBytes;

use crate::machine::{Profile, Site, profiles, with_site};
use crate::port::InProcess;

/// The exit half of a run page.
pub type ExitPage = [u8; 2048];

/// What a Realm does between an entry and the next exception.
pub type Step = Box<dyn FnOnce(&FakeRealm<'_>, &mut RecContext) -> Exit>;

/// Protected pages of the Realm, which has 39 address bits: RAM without memory, destroyed, RAM with
/// memory, never declared.
pub const UNASSIGNED: u64 = 0x2000;
/// See [`UNASSIGNED`].
pub const DESTROYED: u64 = 0x3000;
/// See [`UNASSIGNED`].
pub const ASSIGNED: u64 = 0x4000;
/// See [`UNASSIGNED`].
pub const EMPTY: u64 = 0x8_0000_0000;
/// The first unprotected address.
pub const SHARED: u64 = 1 << 38;
/// The first address beyond the Realm's space.
pub const BEYOND: u64 = 1 << 39;

/// Where the Realm is when it stops.
pub const PC: u64 = 0x10_0000;
/// Its exception vectors.
pub const VBAR: u64 = 0x20_0000;

/// Returns what x0 to x30 hold when the Realm stops.
#[must_use]
pub fn gprs() -> [u64; 31] {
    std::array::from_fn(|n| 0xA5A5_0000_0000_0000 + n as u64)
}

/// An active Realm with two RECs that are on, of which the first does steps.
pub struct Bench<'m> {
    /// The machine.
    pub site: Site<'m>,
    /// The PE on which the first REC runs.
    pub pe: FakePe<'m>,
    /// The Realm.
    pub realm: Realm,
    /// Its RECs.
    pub recs: [Rec; 2],
    steps: Rc<RefCell<VecDeque<Step>>>,
    seen: Rc<RefCell<Option<RecContext>>>,
    exception: Rc<Cell<[u64; 3]>>,
}

fn machine() -> Profile {
    let mut profile = profiles().remove(1);
    profile.granules = 512;
    profile
}

/// Runs a test with a fresh Realm.
pub fn with_bench(test: impl FnOnce(&Bench<'_>)) {
    with_site(&machine(), |site| {
        let (realm, recs) = build(site).expect("a Realm");
        let bench = Bench {
            site,
            pe: FakePe::new(site.machine),
            realm,
            recs,
            steps: Rc::default(),
            seen: Rc::default(),
            exception: Rc::default(),
        };
        let (steps, seen) = (Rc::clone(&bench.steps), Rc::clone(&bench.seen));
        let exception = Rc::clone(&bench.exception);
        bench
            .pe
            .realm()
            .set_program(Box::new(move |realm, context| {
                let [esr, elr, far] = {
                    let el1 = realm.el1.borrow();
                    [el1.esr_el1, el1.elr_el1, el1.far_el1]
                };
                exception.set([esr, elr, far]);
                *seen.borrow_mut() = Some(context.clone());
                let step = steps.borrow_mut().pop_front();
                step.map_or(Exit::Irq, |step| step(realm, context))
            }));
        test(&bench);
    });
}

fn build(site: Site<'_>) -> scenarios::Outcome<(Realm, [Rec; 2])> {
    let mut port = InProcess::new(site);
    let mut w = World::new(&mut port);
    let realm = w.realm_with(&RealmPlan::default())?;
    w.tables(&realm, 0, 3)?;
    w.init_ripas(&realm, UNASSIGNED, ASSIGNED + rmi::GRANULE_SIZE)?;
    for ipa in [DESTROYED, ASSIGNED] {
        w.data_unknown(&realm, ipa)?;
    }
    let recs = [w.rec(&realm, Runnable::Yes)?, w.rec(&realm, Runnable::Yes)?];
    w.activate(&realm)?;
    let rd = realm.rd;
    w.ok(Command::DataDestroy { rd, ipa: DESTROYED })?;
    Ok((realm, recs))
}

/// Returns virtual interrupts and timers as every step leaves them behind.
#[must_use]
pub fn interrupt_state() -> (GicState, TimerState) {
    let gic = GicState {
        hcr: u64::MAX,
        vmcr: 0x1111,
        misr: 0x22,
        lrs: std::array::from_fn(|n| if n < 3 { 40 + n as u64 } else { 0 }),
        ..GicState::default()
    };
    let timers = TimerState {
        cntv_ctl: 0b011,
        cntv_cval: 0x3333,
        cntp_ctl: 0b001,
        cntp_cval: 0x4444,
    };
    (gic, timers)
}

impl Bench<'_> {
    /// Makes a call of the Host and returns x0 of its reply.
    pub fn call(&self, command: Command) -> u64 {
        let [x0, ..] = self.site.monitor.handle(&self.pe, &command.encode());
        x0
    }

    /// Enters a REC, which does one step after another and then waits for an interrupt. Returns x0 of
    /// the reply and the exit half of the run page.
    pub fn enter(&self, rec: &Rec, enter: &RecEnter, steps: Vec<Step>) -> (u64, ExitPage) {
        self.steps.borrow_mut().extend(steps);
        let run = GranuleAddr::new(rec.run).expect("a granule");
        let memory = self.site.machine;
        let written = memory.host_write(run, 0, enter.as_bytes());
        let soiled = memory.host_write(run, 2048, &[0xEE; 2048]);
        assert!(written.is_ok() && soiled.is_ok(), "the run page");
        let x0 = self.call(Command::RecEnter {
            rec: rec.rec,
            run_ptr: rec.run,
        });
        let mut exit = [0; 2048];
        assert!(memory.host_read(run, 2048, &mut exit).is_ok());
        (x0, exit)
    }

    /// Forgets the steps that were not done because the run ended before.
    pub fn forget_steps(&self) {
        self.steps.borrow_mut().clear();
    }

    /// Lets the first REC stop with this exit.
    pub fn stop(&self, exit: Exit) -> ExitPage {
        self.stop_at(exit, |_| {})
    }

    /// The same after it changed its registers.
    pub fn stop_at(&self, exit: Exit, prepare: impl FnOnce(&mut RecContext) + 'static) -> ExitPage {
        let [rec, _] = self.recs;
        let (x0, page) = self.enter(&rec, &RecEnter::default(), vec![step(exit, prepare)]);
        assert_eq!(x0, 0, "RMI_REC_ENTER fails");
        page
    }

    /// Lets the first REC go on and returns the registers with which it does.
    pub fn resume(&self, enter: &RecEnter) -> RecContext {
        let [rec, _] = self.recs;
        *self.seen.borrow_mut() = None;
        let (x0, _) = self.enter(&rec, enter, Vec::new());
        assert_eq!(x0, 0, "RMI_REC_ENTER fails");
        self.seen.borrow_mut().take().expect("the Realm runs")
    }

    /// Returns `ESR_EL1`, `ELR_EL1` and `FAR_EL1` when the last step began.
    pub fn exception(&self) -> [u64; 3] {
        self.exception.get()
    }
}

/// Returns the step that ends with this exit, with known registers but for what `prepare` changes.
pub fn step(exit: Exit, prepare: impl FnOnce(&mut RecContext) + 'static) -> Step {
    Box::new(move |realm, context| {
        context.gprs = gprs();
        (context.pc, context.pstate) = (PC, 0x5);
        realm.el1.borrow_mut().vbar_el1 = VBAR;
        let (gic, timers) = interrupt_state();
        *realm.gic.borrow_mut() = gic;
        realm.timers.set(timers);
        prepare(context);
        exit
    })
}
