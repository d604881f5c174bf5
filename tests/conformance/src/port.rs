// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The Host's side of a fake machine, as the scenarios want it.

use std::collections::BTreeSet;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::panic::resume_unwind;
use std::rc::Rc;
use std::sync::Barrier;
use std::sync::atomic::Ordering;

use rmi::{Command, ExitReason, GRANULE_BYTES, GRANULE_SIZE, GranuleAddr, RecEnter, RecExit};
use rmm_fake::{FakePe, Pas};
use rmm_granule::StateCode;
use rmm_hal::Hal;
use scenarios::port::{Beside, During, Race};
use scenarios::realm::{RealmAction, RealmResult};
use scenarios::{Capabilities, Facts, Fault, Place, RmiPort};
use zerocopy::{FromZeros, IntoBytes};

use crate::audit::audit;
use crate::guest::{Mailbox, program};
use crate::machine::Site;

/// Where the exit begins in the run page.
const EXIT_OFFSET: u64 = GRANULE_SIZE / 2;

/// A program that is not there: the port plays it.
static PROGRAM: [u8; GRANULE_BYTES] = [0xD5; GRANULE_BYTES];

/// A fake machine with one PE for the Host's calls.
pub struct InProcess<'m> {
    site: Site<'m>,
    pe: FakePe<'m>,
    mailbox: Rc<Mailbox>,
    free: BTreeSet<u64>,
    /// Granules that were ever given out.
    touched: BTreeSet<u64>,
}

impl<'m> InProcess<'m> {
    /// Returns the port of a machine on which nothing happened yet.
    #[must_use]
    pub fn new(site: Site<'m>) -> Self {
        let pe = FakePe::new(site.machine);
        let mailbox = Rc::new(Mailbox::default());
        pe.realm().set_program(program(site, Rc::clone(&mailbox)));
        // The first granule is the monitor's.
        let free = (1..site.machine.granules()).map(|n| site.machine.granule(n).raw());
        Self {
            site,
            pe,
            mailbox,
            free: free.collect(),
            touched: BTreeSet::new(),
        }
    }

    /// Forgets what the next REC that waits was to do.
    pub fn forget_action(&self) {
        self.mailbox.action.set(None);
    }

    /// Takes all granules out of the hands of `obtain` and counts them as touched.
    pub fn touch_all(&mut self) {
        self.touched.append(&mut self.free);
    }

    fn is_in(granule: u64, place: Place) -> bool {
        match place {
            Place::Low => granule < 1 << 48,
            Place::High => granule >= 1 << 48,
        }
    }

    /// Finds free granules in a row.
    fn find(&self, granules: usize, align: u64, place: Place) -> Option<u64> {
        let is_run = |first: u64| {
            (0..granules as u64).all(|n| {
                let granule = first + n * GRANULE_SIZE;
                self.free.contains(&granule) && Self::is_in(granule, place)
            })
        };
        self.free
            .iter()
            .copied()
            .filter(|first| first.is_multiple_of(align))
            .find(|first| is_run(*first))
    }
}

fn granule_of(at: u64) -> (GranuleAddr, usize) {
    let offset = at % GRANULE_SIZE;
    let granule = GranuleAddr::new(at - offset).expect("aligned down");
    (granule, usize::try_from(offset).expect("below 4096"))
}

impl RmiPort for InProcess<'_> {
    fn call(&mut self, registers: [u64; 8]) -> [u64; 8] {
        self.mailbox.before(&registers);
        let reply = self.site.monitor.handle(&self.pe, &registers);
        self.mailbox.after(&registers, &reply);
        assert_eq!(self.pe.views(), 0, "a granule is still shown after a call");
        reply
    }

    fn call_during(&mut self, enter: [u64; 8], call: [u64; 8]) -> Option<During> {
        self.mailbox.during.set(Some(call));
        let enter = self.call(enter);
        self.mailbox.during.set(None);
        let call = self.mailbox.reply.take()?;
        Some(During { call, enter })
    }

    fn calls_beside(&mut self, enter: [u64; 8], calls: &[[u64; 8]], stop: u64) -> Option<Beside> {
        let run_ptr = match Command::decode(&enter) {
            Some(Command::RecEnter { run_ptr, .. }) => run_ptr,
            _ => return None,
        };
        self.mailbox.beside.borrow_mut().begin(calls, stop);
        let mut entries = 0;
        let enter = loop {
            let was_over = self.mailbox.beside.borrow().is_over();
            let reply = self.call(enter);
            entries += 1;
            let mut exit = RecExit::new_zeroed();
            self.read(run_ptr + EXIT_OFFSET, exit.as_mut_bytes()).ok()?;
            let is_again = exit.reason() == Some(ExitReason::Sync) && !was_over;
            if reply[0] != 0 || !is_again {
                break reply;
            }
        };
        let calls = self.mailbox.beside.take().replies;
        Some(Beside {
            calls,
            enter,
            entries,
        })
    }

    fn race(&mut self, ours: &[[u64; 8]], theirs: &[[u64; 8]]) -> Option<Race> {
        let (site, start) = (self.site, Barrier::new(2));
        let make = |calls: &[[u64; 8]]| {
            let pe = FakePe::new(site.machine);
            start.wait();
            let made = calls.iter().map(|call| site.monitor.handle(&pe, call));
            made.collect()
        };
        let make = &make;
        Some(std::thread::scope(|scope| {
            let theirs = scope.spawn(move || make(theirs));
            let ours = make(ours);
            let theirs = theirs.join();
            [ours, theirs.unwrap_or_else(|panic| resume_unwind(panic))]
        }))
    }

    fn obtain(&mut self, granules: usize, align: u64, place: Place) -> Option<u64> {
        let first = self.find(granules, align, place)?;
        for n in 0..granules as u64 {
            let granule = first + n * GRANULE_SIZE;
            self.free.remove(&granule);
            if !self.touched.insert(granule) {
                self.write(granule, &[0; GRANULE_BYTES]).ok()?;
            }
        }
        Some(first)
    }

    fn give_back(&mut self, first: u64, granules: usize) {
        let run = (0..granules as u64).map(|n| first + n * GRANULE_SIZE);
        self.free.extend(run);
    }

    fn not_delegable(&self) -> u64 {
        self.site.machine.granule(0).raw()
    }

    fn beyond_memory(&self) -> u64 {
        let last = self.site.machine.granules() - 1;
        self.site.machine.granule(last).raw() + GRANULE_SIZE
    }

    fn read(&mut self, from: u64, into: &mut [u8]) -> Result<(), Fault> {
        let (granule, offset) = granule_of(from);
        self.site
            .machine
            .host_read(granule, offset, into)
            .map_err(|_| Fault)
    }

    fn write(&mut self, to: u64, from: &[u8]) -> Result<(), Fault> {
        let (granule, offset) = granule_of(to);
        self.site
            .machine
            .host_write(granule, offset, from)
            .map_err(|_| Fault)
    }

    fn make_secure(&mut self, granule: u64) {
        self.site
            .machine
            .set_pas(granule_of(granule).0, Pas::Secure);
    }

    fn make_non_secure(&mut self, granule: u64) {
        self.site
            .machine
            .set_pas(granule_of(granule).0, Pas::NonSecure);
    }

    fn fault_after(&mut self, bytes: Option<usize>) {
        self.pe.fault_ns_after(bytes);
    }

    fn facts(&self) -> Facts {
        let features = self.site.machine.features();
        Facts {
            vmid_bits: if features.vmid16 { 16 } else { 8 },
            reply_registers: 8,
            hpmn0: features.hpmn0,
            priority_bits: features.priority_bits + 1,
        }
    }

    fn capabilities(&self) -> Capabilities {
        let always = Capabilities::SECURE
            | Capabilities::FAULT_HALFWAY
            | Capabilities::RUN
            | Capabilities::SECOND_PE
            | Capabilities::SAFE_READ;
        let last = self.beyond_memory() - GRANULE_SIZE;
        if Self::is_in(last, Place::High) {
            always | Capabilities::HIGH_MEMORY
        } else {
            always
        }
    }

    fn program(&self) -> &[u8] {
        &PROGRAM
    }

    fn set_action(&mut self, _: &mut RecEnter, action: RealmAction) {
        self.mailbox.action.set(Some(action));
    }

    fn take_result(&mut self, exit: &RecExit) -> Option<RealmResult> {
        match exit.reason() {
            Some(ExitReason::Irq) => self.mailbox.result.take(),
            _ => None,
        }
    }

    fn audit(&mut self) -> Result<(), String> {
        audit(&self.site, self.touched.iter().copied())
    }

    fn fingerprint(&mut self) -> Option<u64> {
        let mut hasher = DefaultHasher::new();
        for granule in &self.touched {
            let (at, _) = granule_of(*granule);
            let (state, count) = self.site.table.peek(at.phys())?;
            let code = format!("{state:?}");
            (code, count).hash(&mut hasher);
            self.site
                .machine
                .pas(at.phys())
                .map(|pas| format!("{pas:?}"))
                .hash(&mut hasher);
            if !matches!(state, StateCode::Delegated) {
                self.site.machine.inspect_all(at).hash(&mut hasher);
            }
        }
        for word in self.site.vmids {
            word.load(Ordering::Relaxed).hash(&mut hasher);
        }
        Some(hasher.finish())
    }
}
