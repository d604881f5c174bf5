// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! RECs of test Realms, and Realms that do what a test tells them.

use std::collections::VecDeque;

use rmi::{Command, RecEnter, RecExit, RecMpidr, RecParams, RmiError};
use rmm_fake::FakeRealm;
use rmm_hal::{Exit, Hal, RecContext, Syndrome};
use zerocopy::{FromZeros, IntoBytes};

use super::{PAGE, Realm, Shape, World};

/// What a Realm does between two exits to the monitor.
pub(crate) type Step = Box<dyn FnOnce(&FakeRealm<'_>, &mut RecContext) -> Exit>;

/// Where RECs start.
pub(crate) const START: u64 = 0x1000;

/// Parameters of a REC.
pub(crate) fn params(index: u64, runnable: bool) -> RecParams {
    let mut params = RecParams::default();
    params.flags = u64::from(runnable);
    params.mpidr = RecMpidr::from_index(index).unwrap().raw();
    params.pc = START;
    params.gprs = core::array::from_fn(|n| 0x1000 + u64::try_from(n).unwrap());
    params
}

/// A REC and the page through which the Host runs it.
pub(crate) struct Vcpu<'w, 'm> {
    pub(crate) world: &'w World<'m>,
    pub(crate) rec: u64,
    pub(crate) page: rmi::GranuleAddr,
}

impl<'w, 'm> Realm<'w, 'm> {
    /// Creates a REC with these parameters.
    pub(crate) fn try_rec(&self, rec: u64, params: &RecParams) -> Result<(), RmiError> {
        let params_ptr = self.world.write_page(params.as_bytes());
        let rd = self.rd;
        self.world.run(Command::RecCreate {
            rd,
            rec,
            params_ptr,
        })
    }

    /// Creates the REC with this index.
    pub(crate) fn rec(&self, index: u64, runnable: bool) -> Vcpu<'w, 'm> {
        let rec = self.world.delegated();
        self.try_rec(rec, &params(index, runnable)).unwrap();
        Vcpu {
            world: self.world,
            rec,
            page: self.world.fresh(),
        }
    }
}

impl<'m> World<'m> {
    /// Creates a Realm with one REC that can run. Its first page has memory, the three that follow are
    /// RAM without, the others EMPTY.
    pub(crate) fn running(&self) -> (Realm<'_, 'm>, Vcpu<'_, 'm>) {
        self.running_with(Shape::DEFAULT)
    }

    /// The same with another shape.
    pub(crate) fn running_with(&self, shape: Shape) -> (Realm<'_, 'm>, Vcpu<'_, 'm>) {
        let realm = self.realm(shape);
        realm.tables_to(0, 3);
        assert_eq!(realm.init_ripas(0, 4 * PAGE), Ok(4 * PAGE));
        realm.page(0);
        let vcpu = realm.rec(0, true);
        realm.activate();
        (realm, vcpu)
    }

    /// Says what Realms do from now on; behind the last step they are interrupted.
    pub(crate) fn script(&self, steps: Vec<Step>) {
        let mut steps = VecDeque::from(steps);
        self.pe.realm().set_program(Box::new(move |realm, context| {
            steps
                .pop_front()
                .map_or(Exit::Irq, |step| step(realm, context))
        }));
    }

    /// Returns how often Realms have run.
    pub(crate) fn runs(&self) -> u64 {
        self.pe.realm().runs.get()
    }
}

impl Vcpu<'_, '_> {
    /// Enters the REC.
    pub(crate) fn try_enter(&self, enter: &RecEnter) -> Result<RecExit, RmiError> {
        let machine = self.world.machine();
        machine.host_write(self.page, 0, enter.as_bytes()).unwrap();
        machine
            .host_write(self.page, 0x800, &[0xA5; 0x800])
            .unwrap();
        let (rec, run_ptr) = (self.rec, self.page.raw());
        self.world.run(Command::RecEnter { rec, run_ptr })?;
        let mut exit = RecExit::new_zeroed();
        machine
            .host_read(self.page, 0x800, exit.as_mut_bytes())
            .unwrap();
        Ok(exit)
    }

    /// Enters the REC with nothing to say.
    pub(crate) fn enter(&self) -> RecExit {
        self.try_enter(&RecEnter::default()).unwrap()
    }

    /// Enters the REC, which takes these steps.
    pub(crate) fn enter_and(&self, steps: Vec<Step>) -> RecExit {
        self.world.script(steps);
        self.enter()
    }

    /// Has the REC make a call, with these registers from x0 up. Returns the exit that follows.
    pub(crate) fn call_with<const N: usize>(&self, registers: [u64; N]) -> RecExit {
        self.enter_and(vec![smc(registers)])
    }
}

/// A step: a call with these registers from x0 up. The others hold 0x70 and their number.
pub(crate) fn smc<const N: usize>(registers: [u64; N]) -> Step {
    Box::new(move |_, context| {
        context.gprs = core::array::from_fn(|n| 0x70 + u64::try_from(n).unwrap());
        context.gprs[..N].copy_from_slice(&registers);
        context.pc = START;
        sync(0x17 << 26 | 1 << 25, 0, 0)
    })
}

/// A step: assertions, then an interrupt.
pub(crate) fn check(check: impl FnOnce(&FakeRealm<'_>, &RecContext) + 'static) -> Step {
    Box::new(move |realm, context| {
        check(realm, context);
        Exit::Irq
    })
}

/// A step: an exception.
pub(crate) fn trap(esr: u64, far: u64, hpfar: u64) -> Step {
    Box::new(move |_, _| sync(esr, far, hpfar))
}

/// A step: a data abort at an address.
pub(crate) fn data_abort(esr: u64, ipa: u64) -> Step {
    trap(
        0x24 << 26 | 1 << 25 | esr,
        0xFFFF_8000_0000_0000 | ipa & 0xFFF,
        ipa >> 12 << 4,
    )
}

/// A step: an instruction abort at an address.
pub(crate) fn fetch_abort(esr: u64, ipa: u64) -> Step {
    trap(
        0x20 << 26 | 1 << 25 | esr,
        0xFFFF_8000_0000_0000 | ipa & 0xFFF,
        ipa >> 12 << 4,
    )
}

fn sync(esr: u64, far: u64, hpfar: u64) -> Exit {
    Exit::Sync(Syndrome { esr, far, hpfar })
}
