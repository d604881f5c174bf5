// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What the host does to guest memory while the guests run, on a PE of its own: it logs for a while
//! which pages a normal VM writes, and it takes random pages away. A Realm only loses pages that it
//! shares with the host, because the others cannot be taken without their data.

use core::sync::atomic::{AtomicU64, Ordering};

use host_mm::addr::{Gfn, PAGE_SHIFT, PAGE_SIZE, PAGES_PER_2M};
use host_mm::host::Counter;
use host_mm::realm::Realm;
use host_mm::vm::{Reach, Vm as MemoryVm};
use host_vmm::bundle::Options;
use host_vmm::machine::RAM_BASE;
use host_vmm::vm::Vm;
use log::info;
use rmi::ExitReason;

use crate::guest::Events;
use crate::machine::Machine;
use crate::relocate::{Relocation, Step};
use crate::{pe, timer};

/// Time between two steps, in milliseconds.
const STEP_MILLISECONDS: u64 = 100;
/// Steps after which logging goes on or off.
const STEPS_OF_A_PHASE: u64 = 20;
/// Steps after which the log is read.
const STEPS_OF_A_READING: u64 = 5;
/// Exits, but for interrupts, that a guest makes between two ranges that are taken away: one that is
/// slow, because the machine is, is not disturbed more for that.
const EXITS_OF_A_RANGE: u64 = 128;
/// Most pages that are taken away at a time.
const MOST_PAGES: u64 = 32;

/// What was done to one guest.
#[derive(Debug, Default)]
pub(crate) struct Disturbances {
    /// Times that logging went on.
    logged: Counter,
    /// Pages found dirty.
    dirty: Counter,
    /// Ranges unmapped.
    unmapped: Counter,
    /// Pages moved elsewhere in host memory.
    moved: Counter,
    /// Exits of the guest when a range was last taken away.
    exits: AtomicU64,
}

impl Disturbances {
    /// Reports what was done, each line with `prefix`.
    pub(crate) fn report(&self, prefix: &str, options: Options) {
        if options.contains(Options::DIRTY_LOG) {
            let (logged, dirty) = (self.logged.get(), self.dirty.get());
            info!("summary: {prefix}dirty-log phases {logged} pages {dirty}");
        }
        if options.contains(Options::INVALIDATE) {
            let (unmapped, moved) = (self.unmapped.get(), self.moved.get());
            info!("summary: {prefix}invalidate ranges {unmapped} pages-moved {moved}");
        }
    }
}

/// Tells whether a run with these options needs a PE to disturb its guests.
pub(crate) fn is_wanted(options: Options) -> bool {
    [Options::DIRTY_LOG, Options::INVALIDATE, Options::MIGRATE]
        .iter()
        .any(|option| options.contains(*option))
}

/// One guest to be disturbed.
#[derive(Clone, Copy)]
pub(crate) struct Target<'a, 'h> {
    /// Its devices; it says when it has stopped.
    pub(crate) vm: &'a Vm,
    /// Its memory.
    pub(crate) memory: &'a MemoryVm<'h, Machine>,
    /// How to reach its vCPUs.
    pub(crate) events: &'a Events<'a>,
    /// Where to count.
    pub(crate) counters: &'a Disturbances,
}

/// Disturbs the guests until all have stopped. With a relocation it ends when that is ready, with
/// all guests paused.
pub(crate) fn run(
    targets: &[Target<'_, '_>],
    options: Options,
    relocation: Option<&Relocation<'_, '_>>,
) {
    let seed = timer::now() | 1;
    info!("disturbs the guests, seed {seed:#x}");
    let mut random = Random(seed);
    let mut step = 0;
    while targets.iter().any(|target| target.vm.stopped().is_none()) {
        match relocation.map(Relocation::step) {
            Some(Step::Ready) => {
                targets.iter().for_each(|t| t.vm.pause(t.events));
                return;
            }
            Some(Step::Copying) => (),
            Some(Step::Waiting) | None => pe::sleep_milliseconds(STEP_MILLISECONDS),
        }
        step += 1;
        for target in targets.iter().filter(|t| t.vm.stopped().is_none()) {
            let is_copied = relocation.is_some_and(|r| r.is_copying(target.vm));
            if options.contains(Options::DIRTY_LOG) && !is_copied {
                target.log(step);
            }
            if options.contains(Options::INVALIDATE) && target.has_gone_on() {
                target.take_away(&mut random);
            }
        }
    }
    targets.iter().for_each(Target::stop_logging);
}

impl Target<'_, '_> {
    /// Does what is due in a step: logging on, read, or off. A Realm's pages cannot be logged.
    fn log(&self, step: u64) {
        if self.memory.realm().is_some() {
            return;
        }
        for slot in self.memory.slots() {
            if step.is_multiple_of(STEPS_OF_A_READING) && slot.is_logging() {
                let dirty = self.memory.take_dirty(&slot);
                self.counters.dirty.add(dirty.len() as u64);
            }
            if step.is_multiple_of(STEPS_OF_A_PHASE) {
                if slot.is_logging() {
                    self.memory.stop_logging(&slot);
                } else {
                    self.counters.logged.bump();
                    self.memory.start_logging(&slot);
                }
            }
        }
    }

    fn stop_logging(&self) {
        for slot in self.memory.slots() {
            if slot.is_logging() {
                let dirty = self.memory.take_dirty(&slot);
                self.counters.dirty.add(dirty.len() as u64);
                self.memory.stop_logging(&slot);
            }
        }
    }

    /// Tells whether the guest has made enough exits since the last time it was so.
    fn has_gone_on(&self) -> bool {
        let exits = self.vm.counters().exits(ExitReason::Sync);
        let last = &self.counters.exits;
        let has_gone_on = exits >= last.load(Ordering::Relaxed) + EXITS_OF_A_RANGE;
        if has_gone_on {
            last.store(exits, Ordering::Relaxed);
        }
        has_gone_on
    }

    /// Unmaps a few pages, and every other time gives the guest other host pages with the same
    /// contents.
    fn take_away(&self, random: &mut Random) {
        let (first, count) = self.choose(random);
        self.counters.unmapped.bump();
        if random.below(2) == 0 {
            drop(self.memory.invalidate(first, count, Reach::Shared));
        } else {
            self.counters.moved.add(self.memory.migrate(first, count));
        }
    }

    /// Chooses guest pages anywhere; of a Realm, where it shares something if it does.
    fn choose(&self, random: &mut Random) -> (Gfn, u64) {
        let shared = self.memory.realm().map(Realm::shared_ranges);
        let shared = shared.unwrap_or_default();
        if !shared.is_empty() {
            let place = random.below(shared.len() as u64) as usize;
            return (shared[place], PAGES_PER_2M);
        }
        let pages = self.vm.map().memory_bytes() / PAGE_SIZE;
        let first = (RAM_BASE >> PAGE_SHIFT) + random.below(pages);
        (Gfn::new(first), 1 + random.below(MOST_PAGES))
    }
}

/// A generator that is repeatable from its seed (xorshift64).
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}
