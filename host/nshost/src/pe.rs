// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The processing elements the host runs on, one thread of control each.
//!
//! PE 0 is the boot PE. The others are started once and then wait for work: [`on_each`] hands the
//! same closure to a number of PEs and returns when all of them are through with it, so that the
//! closure may borrow what it likes.

use alloc::vec::Vec;
use core::ops::Range;
use core::sync::atomic::{AtomicUsize, Ordering};

use aarch64_cpu::asm;
use aarch64_cpu::registers::{Readable, TPIDR_EL2};
use host_vmm::platform::Platform;
use log::warn;
use spin::{Mutex, Once};

use crate::entry::MAX_PES;
use crate::{gic, mmu, power, timer};

/// Affinities of the PEs in use, by number.
static AFFINITIES: Once<Vec<u64>> = Once::new();
/// Number of PEs that wait for work or do it.
static STARTED: AtomicUsize = AtomicUsize::new(0);
/// Number of PEs that have not finished the present work.
static BUSY: AtomicUsize = AtomicUsize::new(0);
/// What each PE is to do next.
static WORK: [Mutex<Option<Work>>; MAX_PES] = [const { Mutex::new(None) }; MAX_PES];

/// How long a PE may take to start, in milliseconds.
const START_MILLISECONDS: u64 = 5000;

/// A closure that PE 0 keeps alive until everybody is through with it.
type Work = &'static (dyn Fn(usize) + Sync);

/// Returns the number of this PE: its place in the device tree's list of CPUs.
pub(crate) fn current() -> usize {
    TPIDR_EL2.get() as usize
}

/// Returns the number of PEs in use.
pub(crate) fn count() -> usize {
    STARTED.load(Ordering::Acquire)
}

/// Sets this PE, the first one, up and starts the others. Returns how many there are.
///
/// Those that do not start are left out, and everything after them: PEs are numbered in a row.
pub(crate) fn start_all(platform: &Platform) -> usize {
    let mut affinities = platform.cpus.clone();
    affinities.truncate(MAX_PES);
    let affinities = AFFINITIES.call_once(|| affinities);
    set_up(0);
    for (index, mpidr) in affinities.iter().enumerate().skip(1) {
        if let Err(reason) = power::start(*mpidr, index) {
            warn!("PE {index} does not start: {reason}");
            break;
        }
        if !wait_for_start(index) {
            warn!("PE {index} does not answer");
            break;
        }
    }
    count()
}

fn set_up(index: usize) {
    gic::init_pe(index, affinity(index)).expect("each CPU of the device tree has a redistributor");
    STARTED.fetch_add(1, Ordering::AcqRel);
}

fn wait_for_start(index: usize) -> bool {
    let end = timer::milliseconds() + START_MILLISECONDS;
    while count() <= index {
        if timer::milliseconds() > end {
            return false;
        }
        core::hint::spin_loop();
    }
    true
}

fn affinity(index: usize) -> u64 {
    AFFINITIES.get().expect("the primary wrote it first")[index]
}

/// Makes a PE leave WFI or its guest.
pub(crate) fn kick(index: usize) {
    gic::kick(affinity(index));
}

/// Runs `work` on PEs 0 to `pes` - 1 at the same time, with the PE's number, and waits for all.
pub(crate) fn on_each(pes: usize, work: &(dyn Fn(usize) + Sync)) {
    assert!(current() == 0, "PE 0 hands out the work");
    let others = 1..pes.min(count());
    // SAFETY: only the lifetime changes. No PE uses the closure after it has lowered BUSY, and this
    // function does not return before that is zero.
    let shared = unsafe { core::mem::transmute::<&(dyn Fn(usize) + Sync), Work>(work) };
    BUSY.store(others.len(), Ordering::Release);
    for index in others {
        *WORK[index].lock() = Some(shared);
        kick(index);
    }
    work(0);
    // Not by an interrupt: it could come late and end the next thing this PE runs.
    while BUSY.load(Ordering::Acquire) > 0 {
        sleep_milliseconds(1);
    }
}

/// Which PE runs which vCPU of a guest: as many PEs as it has vCPUs, in a row.
#[derive(Clone, Debug)]
pub(crate) struct Seats {
    pes: Range<usize>,
    /// How many places the vCPUs are from the PE of their own number.
    turn: usize,
}

impl Seats {
    /// Seats the vCPUs on `pes` in order.
    pub(crate) fn new(pes: Range<usize>) -> Self {
        Self { pes, turn: 0 }
    }

    /// Returns how many there are.
    pub(crate) fn count(&self) -> usize {
        self.pes.len()
    }

    /// Seats every vCPU on the PE that its neighbor had.
    pub(crate) fn turned(&self) -> Self {
        Self {
            pes: self.pes.clone(),
            turn: self.turn + 1,
        }
    }

    /// Returns the vCPU on a PE, if it has one of this guest's.
    pub(crate) fn vcpu_on(&self, pe: usize) -> Option<usize> {
        let found = |vcpu: &usize| self.pe_of(*vcpu) == pe;
        (0..self.count()).find(found)
    }

    /// Makes a vCPU leave WFI or its guest.
    pub(crate) fn kick(&self, vcpu: usize) {
        kick(self.pe_of(vcpu));
    }

    fn pe_of(&self, vcpu: usize) -> usize {
        self.pes.start + (vcpu + self.turn) % self.count()
    }
}

/// Continues on every PE but the first
/// Lets time pass on this PE, which belongs to no vCPU and does not use the processor meanwhile.
pub(crate) fn sleep_milliseconds(duration: u64) {
    let end = timer::milliseconds() + duration;
    while timer::milliseconds() < end {
        timer::set_alarm(end * timer::ticks_per_millisecond());
        asm::wfi();
        let _ = gic::acknowledge();
    }
    timer::clear_alarm();
}

/// Continues on every PE but the first after `entry.S`.
#[unsafe(no_mangle)]
extern "C" fn secondary_main(index: usize) -> ! {
    mmu::turn_on();
    set_up(index);
    loop {
        let next = WORK[index].lock().take();
        if let Some(work) = next {
            work(index);
            BUSY.fetch_sub(1, Ordering::AcqRel);
        } else {
            asm::wfi();
        }
        while gic::acknowledge().is_some() {}
    }
}
