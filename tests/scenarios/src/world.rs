// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Realms in a few lines, and their end.
//!
//! A [`World`] keeps account of every granule and Realm that a scenario makes, and takes all of it down
//! afterwards with nothing but RMI calls: what the monitor still holds then is a failure.

mod made;
mod plan;
mod recs;
mod teardown;

use alloc::vec;
use alloc::vec::Vec;

use rmi::{Command, CommandId, FeatureRegister0, RecEnter, RecExit, RecParams};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::check;
use crate::outcome::{Outcome, Reply, Stop};
use crate::port::{Capabilities, GRANULE, Place, RmiPort};
use crate::realm::{PROGRAM_BASE, RealmAction, RealmResult};

use made::Made;
pub(crate) use made::realm_of;
pub(crate) use plan::PERSONALIZATION_VALUE;
pub use plan::RealmPlan;

/// A Realm that a scenario made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Realm {
    /// The descriptor's address.
    pub rd: u64,
    /// Address of the first starting table.
    pub root: u64,
    /// The number of starting tables.
    pub roots: u64,
    /// The starting level.
    pub start: i64,
    /// Width of the address space in bits.
    pub width: u32,
    /// The VMID.
    pub vmid: u16,
}

impl Realm {
    /// Returns the first unprotected address.
    #[must_use]
    pub fn unprotected(&self) -> u64 {
        1 << (self.width - 1)
    }

    /// Returns the end of the address space.
    #[must_use]
    pub fn end(&self) -> u64 {
        1 << self.width
    }
}

/// A REC that a scenario made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rec {
    /// The granule of the REC.
    pub rec: u64,
    /// The Host's run page for it.
    pub run: u64,
    /// Its index.
    pub index: u64,
}

/// How a REC starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runnable {
    /// It can be entered.
    Yes,
    /// Another REC has to turn it on.
    No,
}

/// What happened after a REC was told to do something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The action is done.
    Done(RealmResult),
    /// The REC needs the Host.
    Exit(alloc::boxed::Box<RecExit>),
}

/// A table that a scenario made, for snapshots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Table {
    pub(crate) rd: u64,
    pub(crate) ipa: u64,
    pub(crate) level: i64,
}

/// The bytes that one entry of a table of `level` covers.
#[must_use]
pub const fn entry_bytes(level: i64) -> u64 {
    1 << (12 + 9 * (3 - level))
}

/// A level as a command's argument.
#[must_use]
pub const fn level_argument(level: i64) -> u64 {
    level.cast_unsigned()
}

/// Everything one scenario made.
pub struct World<'p> {
    /// The machine.
    pub port: &'p mut dyn RmiPort,
    /// Granules in a row that came from the port.
    runs: Vec<(u64, usize)>,
    /// Granules whose last known owner is the Realm world.
    delegated: Vec<u64>,
    pub(crate) realms: Vec<Realm>,
    pub(crate) recs: Vec<(u64, Rec)>,
    pub(crate) tables: Vec<Table>,
    pub(crate) witness: Option<Realm>,
    secure: Vec<u64>,
    last_vmid: u16,
    made: Made,
}

impl<'p> World<'p> {
    /// Returns an empty world on a machine that has no Realm.
    pub fn new(port: &'p mut dyn RmiPort) -> Self {
        Self::beside(port, 1)
    }

    /// Returns an empty world on a machine whose Realms have VMIDs up to `greatest_vmid`.
    pub(crate) fn beside(port: &'p mut dyn RmiPort, greatest_vmid: u16) -> Self {
        Self {
            port,
            runs: Vec::new(),
            delegated: Vec::new(),
            realms: Vec::new(),
            recs: Vec::new(),
            tables: Vec::new(),
            witness: None,
            secure: Vec::new(),
            last_vmid: greatest_vmid,
            made: Made::default(),
        }
    }

    /// Skips the scenario unless the port can do this.
    pub fn need(&self, what: Capabilities, name: &str) -> Outcome {
        if self.port.capabilities().contains(what) {
            Ok(())
        } else {
            Err(Stop::Skipped(name.into()))
        }
    }

    /// Makes a call.
    pub fn call(&mut self, command: Command) -> Reply {
        self.call_raw(command.encode())
    }

    /// Makes a call from register values.
    pub fn call_raw(&mut self, registers: [u64; 8]) -> Reply {
        let reply = Reply(self.port.call(registers)).without_kept(&registers);
        self.account(&registers, reply);
        reply
    }

    /// Makes a call that has to succeed.
    pub fn ok(&mut self, command: Command) -> Outcome<Reply> {
        let reply = self.call(command);
        check!(reply.is_success(), "{command:?} gave {reply:?}");
        Ok(reply)
    }

    /// Makes a call that has to give exactly this reply.
    pub fn expect(&mut self, command: Command, wanted: Reply) -> Outcome {
        let reply = self.call(command);
        self.check_reply(command.id(), reply, wanted)
    }

    /// Compares as many registers as the monitor decides.
    pub(crate) fn check_reply(&self, id: CommandId, reply: Reply, wanted: Reply) -> Outcome {
        let count = self.port.facts().reply_registers;
        check!(
            reply.0[..count] == wanted.0[..count],
            "{}: {reply:?} instead of {wanted:?}",
            id.name()
        );
        Ok(())
    }

    /// Returns feature register 0.
    pub fn features(&mut self) -> Outcome<FeatureRegister0> {
        let reply = self.ok(Command::Features { index: 0 })?;
        Ok(FeatureRegister0::from_register(reply.output(1)))
    }

    /// Obtains granules of the Host in a row.
    pub fn granules(&mut self, count: usize, align: u64, place: Place) -> Outcome<u64> {
        let Some(first) = self.port.obtain(count, align, place) else {
            return Err(Stop::Skipped("not enough memory".into()));
        };
        self.runs.push((first, count));
        Ok(first)
    }

    /// Obtains a granule of the Host.
    pub fn granule(&mut self) -> Outcome<u64> {
        self.granules(1, GRANULE, Place::Low)
    }

    /// Obtains a granule and delegates it.
    pub fn delegated(&mut self) -> Outcome<u64> {
        self.delegated_run(1, GRANULE, Place::Low)
    }

    /// Obtains granules in a row and delegates them.
    pub fn delegated_run(&mut self, count: usize, align: u64, place: Place) -> Outcome<u64> {
        let first = self.granules(count, align, place)?;
        for n in 0..count as u64 {
            self.delegate(first + n * GRANULE)?;
        }
        Ok(first)
    }

    /// Delegates a granule of this world.
    pub fn delegate(&mut self, addr: u64) -> Outcome {
        self.ok(Command::GranuleDelegate { addr })?;
        self.delegated.push(addr);
        Ok(())
    }

    /// Takes a granule of this world back.
    pub fn undelegate(&mut self, addr: u64) -> Outcome {
        self.ok(Command::GranuleUndelegate { addr })?;
        self.delegated.retain(|granule| *granule != addr);
        Ok(())
    }

    /// Remembers that a granule was delegated by a call the world did not make itself.
    pub fn note_delegated(&mut self, addr: u64) {
        self.delegated.push(addr);
    }

    /// Remembers that a granule was taken back by a call the world did not make itself.
    pub fn note_undelegated(&mut self, addr: u64) {
        self.delegated.retain(|granule| *granule != addr);
    }

    /// Returns the granules of the Realm world that the world knows of.
    pub(crate) fn delegated_granules(&self) -> &[u64] {
        &self.delegated
    }

    /// Gives a granule of the Host to the Secure world until the end.
    pub fn make_secure(&mut self, granule: u64) -> Outcome {
        self.need(Capabilities::SECURE, "no granule can be made Secure")?;
        self.port.make_secure(granule);
        self.secure.push(granule);
        Ok(())
    }

    /// Takes a granule out of the Non-secure world until the end: to the Secure world, or, where nobody
    /// can do that, to the Realm world.
    pub fn take_from_host(&mut self, granule: u64) -> Outcome {
        if self.port.capabilities().contains(Capabilities::SECURE) {
            self.make_secure(granule)
        } else {
            self.delegate(granule)
        }
    }

    /// Gives a granule of the Secure world back to the Host.
    pub fn make_non_secure(&mut self, granule: u64) {
        self.port.make_non_secure(granule);
        self.secure.retain(|secure| *secure != granule);
    }

    /// Returns the greatest VMID that [`Self::vmid`] returned.
    pub(crate) fn last_vmid(&self) -> u16 {
        self.last_vmid
    }

    /// Returns a VMID that no Realm of this world has.
    pub fn vmid(&mut self) -> u16 {
        self.last_vmid += 1;
        self.last_vmid
    }

    /// Reads a structure from the Host's memory.
    pub fn read_page<T: FromBytes + IntoBytes + KnownLayout>(&mut self, at: u64) -> Outcome<T> {
        let mut page = T::new_zeroed();
        let read = self.port.read(at, page.as_mut_bytes());
        check!(read.is_ok(), "the Host cannot read its own page {at:#x}");
        Ok(page)
    }

    /// Writes a structure into the Host's memory.
    pub fn write_page<T: IntoBytes + Immutable>(&mut self, at: u64, page: &T) -> Outcome {
        let written = self.port.write(at, page.as_bytes());
        check!(
            written.is_ok(),
            "the Host cannot write its own page {at:#x}"
        );
        Ok(())
    }

    /// Changes a structure in the Host's memory.
    pub fn edit<T>(&mut self, at: u64, change: impl FnOnce(&mut T)) -> Outcome
    where
        T: FromBytes + IntoBytes + KnownLayout + Immutable,
    {
        let mut page = self.read_page::<T>(at)?;
        change(&mut page);
        self.write_page(at, &page)
    }

    /// Obtains a page of the Host with a structure in it.
    pub fn page<T: IntoBytes + Immutable>(&mut self, contents: &T) -> Outcome<u64> {
        let at = self.granule()?;
        self.write_page(at, contents)?;
        Ok(at)
    }

    /// Creates a Realm with 39 address bits and one starting table at level 1.
    pub fn realm(&mut self) -> Outcome<Realm> {
        self.realm_with(&RealmPlan::default())
    }

    /// Creates a Realm.
    pub fn realm_with(&mut self, plan: &RealmPlan) -> Outcome<Realm> {
        let (command, realm) = self.prepare_realm(plan)?;
        self.ok(command)?;
        self.realms.push(realm);
        Ok(realm)
    }

    /// Prepares all that `RMI_REALM_CREATE` needs and returns the call.
    pub fn prepare_realm(&mut self, plan: &RealmPlan) -> Outcome<(Command, Realm)> {
        let features = self.features()?;
        if !plan.is_possible(features) {
            return Err(Stop::Skipped("no Realm of that shape".into()));
        }
        let tables = usize::try_from(plan.roots).expect("a plan has few tables");
        let root =
            self.delegated_run(tables, plan.roots.next_power_of_two() * GRANULE, Place::Low)?;
        let rd = self.delegated()?;
        let vmid = match plan.vmid {
            Some(vmid) => vmid,
            None => self.vmid(),
        };
        let params = plan.params(features, vmid, root);
        let params_ptr = self.page(&params)?;
        let realm = Realm {
            rd,
            root,
            roots: plan.roots,
            start: plan.start,
            width: plan.width.into(),
            vmid,
        };
        Ok((Command::RealmCreate { rd, params_ptr }, realm))
    }

    /// Lets a Realm run.
    pub fn activate(&mut self, realm: &Realm) -> Outcome {
        self.ok(Command::RealmActivate { rd: realm.rd })?;
        Ok(())
    }

    /// Creates one table.
    pub fn table(&mut self, realm: &Realm, ipa: u64, level: i64) -> Outcome<u64> {
        let rtt = self.delegated()?;
        self.ok(Command::RttCreate {
            rd: realm.rd,
            rtt,
            ipa,
            level: level_argument(level),
        })?;
        self.tables.push(Table {
            rd: realm.rd,
            ipa,
            level,
        });
        Ok(rtt)
    }

    /// Creates the tables from the starting level down to `level` that are missing at `ipa`.
    pub fn tables(&mut self, realm: &Realm, ipa: u64, level: i64) -> Outcome {
        for level in realm.start + 1..=level {
            let size = entry_bytes(level - 1);
            let at = ipa & !(size - 1);
            let entry = self.read_entry(realm, at, level - 1)?;
            if entry.output(2) != 2 {
                self.table(realm, at, level)?;
            }
        }
        Ok(())
    }

    /// Reads an entry.
    pub fn read_entry(&mut self, realm: &Realm, ipa: u64, level: i64) -> Outcome<Reply> {
        self.ok(Command::RttReadEntry {
            rd: realm.rd,
            ipa,
            level: level_argument(level),
        })
    }

    /// Checks what `RMI_RTT_READ_ENTRY` says: level of the entry, state, descriptor, RIPAS.
    pub fn check_entry(
        &mut self,
        realm: &Realm,
        ipa: u64,
        level: i64,
        wanted: [u64; 4],
    ) -> Outcome {
        let reply = self.read_entry(realm, ipa, level)?;
        let found = [1, 2, 3, 4].map(|n| reply.output(n));
        check!(
            found == wanted,
            "the entry of {ipa:#x} is {found:x?} instead of {wanted:x?}"
        );
        Ok(())
    }

    /// Gives a page without contents to a Realm; the tables have to be there.
    pub fn data_unknown(&mut self, realm: &Realm, ipa: u64) -> Outcome<u64> {
        let data = self.delegated()?;
        let rd = realm.rd;
        self.ok(Command::DataCreateUnknown { rd, data, ipa })?;
        Ok(data)
    }

    /// Gives 2 MiB of pages in a row to a Realm at a new level 3 table; returns the first one.
    pub fn assign_block(&mut self, realm: &Realm, ipa: u64) -> Outcome<u64> {
        let pa = self.delegated_run(512, entry_bytes(2), Place::Low)?;
        self.tables(realm, ipa, 3)?;
        let rd = realm.rd;
        for n in 0..512 {
            let (data, ipa) = (pa + n * GRANULE, ipa + n * GRANULE);
            self.ok(Command::DataCreateUnknown { rd, data, ipa })?;
        }
        Ok(pa)
    }

    /// Gives a measured page to a new Realm.
    pub fn data(&mut self, realm: &Realm, ipa: u64, contents: &[u8; 4096]) -> Outcome<u64> {
        let data = self.delegated()?;
        let src = self.page(contents)?;
        self.ok(Command::DataCreate {
            rd: realm.rd,
            data,
            ipa,
            src,
            flags: 1,
        })?;
        Ok(data)
    }

    /// Declares addresses of a new Realm to be memory; the tables decide how far that goes.
    pub fn init_ripas(&mut self, realm: &Realm, base: u64, top: u64) -> Outcome {
        let rd = realm.rd;
        let mut base = base;
        while base < top {
            let reply = self.ok(Command::RttInitRipas { rd, base, top })?;
            check!(reply.output(1) > base, "RTT_INIT_RIPAS makes no progress");
            base = reply.output(1);
        }
        Ok(())
    }

    /// Maps memory of the Host into the unprotected half, read and write, write-back.
    pub fn map(&mut self, realm: &Realm, ipa: u64, level: i64, pa: u64) -> Outcome<u64> {
        let desc = pa | crate::desc::READ_WRITE_BACK;
        self.ok(Command::RttMapUnprotected {
            rd: realm.rd,
            ipa,
            level: level_argument(level),
            desc,
        })?;
        Ok(desc)
    }

    /// Creates the next REC of a new Realm.
    pub fn rec(&mut self, realm: &Realm, runnable: Runnable) -> Outcome<Rec> {
        let index = self.recs.iter().filter(|(rd, _)| *rd == realm.rd).count() as u64;
        let params = self.rec_params(realm, index, runnable)?;
        self.rec_with(realm, index, &params)
    }

    /// Creates the REC `index` of a new Realm with these parameters.
    pub fn rec_with(&mut self, realm: &Realm, index: u64, params: &RecParams) -> Outcome<Rec> {
        let (rec, run) = (self.delegated()?, self.granule()?);
        let params_ptr = self.page(params)?;
        let rd = realm.rd;
        self.ok(Command::RecCreate {
            rd,
            rec,
            params_ptr,
        })?;
        let made = Rec { rec, run, index };
        self.recs.push((rd, made));
        Ok(made)
    }

    /// Returns the parameters of a REC, its auxiliary granules delegated.
    pub fn rec_params(
        &mut self,
        realm: &Realm,
        index: u64,
        runnable: Runnable,
    ) -> Outcome<RecParams> {
        let mut params = RecParams::default();
        params.flags = match runnable {
            Runnable::Yes => 1,
            Runnable::No => 0,
        };
        params.mpidr = rec_mpidr(index);
        params.pc = PROGRAM_BASE;
        params.num_aux = self.ok(Command::RecAuxCount { rd: realm.rd })?.output(1);
        for n in 0..usize::try_from(params.num_aux).unwrap_or(usize::MAX) {
            check!(n < params.aux.len(), "more auxiliary granules than fit");
            params.aux[n] = self.delegated()?;
        }
        Ok(params)
    }

    /// Remembers a REC that was created by a call the world did not make itself.
    pub fn note_rec(&mut self, rd: u64, rec: Rec) {
        self.recs.push((rd, rec));
    }

    /// Puts the program of scenarios into a new Realm, with the tables it needs.
    pub fn load_program(&mut self, realm: &Realm) -> Outcome {
        self.need(Capabilities::RUN, "no Realm can be run")?;
        self.tables(realm, PROGRAM_BASE, 3)?;
        let program: Vec<u8> = self.port.program().to_vec();
        for (n, page) in program.chunks(4096).enumerate() {
            let mut contents = [0; 4096];
            contents[..page.len()].copy_from_slice(page);
            self.data(realm, PROGRAM_BASE + n as u64 * GRANULE, &contents)?;
        }
        Ok(())
    }

    /// Creates an active Realm whose first REC runs the program of scenarios.
    pub fn running_realm(&mut self) -> Outcome<(Realm, Rec)> {
        let realm = self.realm()?;
        self.load_program(&realm)?;
        let rec = self.rec(&realm, Runnable::Yes)?;
        self.activate(&realm)?;
        Ok((realm, rec))
    }

    /// Enters a REC with this first half of its run page.
    pub fn enter_with(&mut self, rec: &Rec, enter: &RecEnter) -> Outcome<(Reply, RecExit)> {
        self.write_page(rec.run, enter)?;
        let reply = self.call(Command::RecEnter {
            rec: rec.rec,
            run_ptr: rec.run,
        });
        Ok((reply, self.read_exit(rec.run)?))
    }

    /// Returns the second half of a run page.
    pub(crate) fn read_exit(&mut self, run: u64) -> Outcome<RecExit> {
        let mut halves = vec![0; 4096];
        let read = self.port.read(run, &mut halves);
        check!(read.is_ok(), "the run page is not readable");
        Ok(RecExit::read_from_bytes(&halves[2048..]).expect("half a granule"))
    }

    /// Lets a REC do something, up to its end or the first exit.
    pub fn act(&mut self, rec: &Rec, action: RealmAction) -> Outcome<Step> {
        let mut enter = RecEnter::default();
        self.port.set_action(&mut enter, action);
        self.resume(rec, &enter)
    }

    /// Lets a REC go on with what it was doing.
    pub fn resume(&mut self, rec: &Rec, enter: &RecEnter) -> Outcome<Step> {
        let (reply, exit) = self.enter_with(rec, enter)?;
        self.check_reply(CommandId::RecEnter, reply, Reply::SUCCESS)?;
        Ok(match self.port.take_result(&exit) {
            Some(result) => Step::Done(result),
            None => Step::Exit(alloc::boxed::Box::new(exit)),
        })
    }

    /// Lets a REC do something that needs no help of the Host.
    pub fn act_done(&mut self, rec: &Rec, action: RealmAction) -> Outcome<RealmResult> {
        match self.act(rec, action)? {
            Step::Done(result) => Ok(result),
            Step::Exit(exit) => fail_exit(action, &exit),
        }
    }

    /// Lets a REC do something that needs the Host.
    pub fn act_exit(
        &mut self,
        rec: &Rec,
        action: RealmAction,
    ) -> Outcome<alloc::boxed::Box<RecExit>> {
        match self.act(rec, action)? {
            Step::Exit(exit) => Ok(exit),
            Step::Done(result) => {
                check!(false, "{action:x?} was done without an exit: {result:x?}");
                unreachable!("checked")
            }
        }
    }
}

/// Fails because a REC needs the Host in the midst of an action.
pub(crate) fn fail_exit<T>(action: RealmAction, exit: &RecExit) -> Outcome<T> {
    let (reason, esr, hpfar) = (exit.exit_reason, exit.esr, exit.hpfar);
    Err(Stop::Failed(alloc::format!(
        "{action:x?} ended in exit {reason}, esr {esr:#x}, hpfar {hpfar:#x}"
    )))
}

/// Returns the `RmiRecMpidr` of a REC index.
#[must_use]
pub fn rec_mpidr(index: u64) -> u64 {
    (index & 0xF)
        | (index >> 4 & 0xFF) << 8
        | (index >> 12 & 0xFF) << 16
        | (index >> 20 & 0xFF) << 24
}
