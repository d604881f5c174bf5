// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What each vCPU keeps for itself, found by its number in `MPIDR_EL1`.
//!
//! Other vCPUs may look at it, so the fields are atomics. No register holds its address: every
//! register of EL1 but the stack pointer, the vectors and the translation may hold a pattern.

use core::array;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use test_realm::protocol::FAULT_WORDS;

use crate::entry::MAX_VCPUS;
use crate::regs::read_sysreg;

/// Interrupts that are counted one by one: SGIs, PPIs and the first SPIs.
pub(crate) const COUNTED_INTIDS: usize = 64;

/// State of one vCPU.
#[repr(C, align(64))]
pub(crate) struct Cpu {
    /// Where a fault of the code under guard resumes; zero when no code is.
    pub(crate) fix_up: AtomicU64,
    /// The stack pointer there.
    pub(crate) fix_up_sp: AtomicU64,
    /// `PSTATE` there.
    pub(crate) fix_up_pstate: AtomicU64,
    /// The last fault under guard.
    pub(crate) fault: [AtomicU64; FAULT_WORDS],
    /// The handler looks for its own `PSTATE`, and finds it here.
    pub(crate) is_looking: AtomicBool,
    pub(crate) pstate: AtomicU64,
    /// x0 to x17 at that fault.
    pub(crate) fault_registers: [AtomicU64; 18],
    /// Interrupts taken.
    pub(crate) interrupts: AtomicU64,
    /// INTID of the last one.
    pub(crate) last_intid: AtomicU64,
    /// Where it was taken: the address of the instruction that came next.
    pub(crate) interrupted_at: AtomicU64,
    /// How often each was taken.
    pub(crate) counts: [AtomicU64; COUNTED_INTIDS],
    /// Ticks until a timer fires again when its interrupt is taken; zero to mask it.
    pub(crate) rearm_ticks: AtomicU64,
    /// Interrupts of a timer whose condition was not met.
    pub(crate) spurious: AtomicU64,
    /// SErrors taken.
    pub(crate) serrors: AtomicU64,
    /// Whether the vCPU has been turned on and has reached its main function.
    pub(crate) alive: AtomicU64,
}

static CPUS: [Cpu; MAX_VCPUS] = [const { Cpu::new() }; MAX_VCPUS];

impl Cpu {
    const fn new() -> Self {
        Self {
            fix_up: AtomicU64::new(0),
            fix_up_sp: AtomicU64::new(0),
            fix_up_pstate: AtomicU64::new(0),
            fault: [const { AtomicU64::new(0) }; FAULT_WORDS],
            is_looking: AtomicBool::new(false),
            pstate: AtomicU64::new(0),
            fault_registers: [const { AtomicU64::new(0) }; 18],
            interrupts: AtomicU64::new(0),
            last_intid: AtomicU64::new(0),
            interrupted_at: AtomicU64::new(0),
            counts: [const { AtomicU64::new(0) }; COUNTED_INTIDS],
            rearm_ticks: AtomicU64::new(0),
            spurious: AtomicU64::new(0),
            serrors: AtomicU64::new(0),
            alive: AtomicU64::new(0),
        }
    }

    /// Returns how often an interrupt was taken; zero for one that is not counted.
    pub(crate) fn count(&self, intid: u32) -> u64 {
        self.counts
            .get(intid as usize)
            .map_or(0, |count| count.load(Ordering::Acquire))
    }

    /// Returns x0 to x17 of the last fault under guard.
    pub(crate) fn fault_registers(&self) -> [u64; 18] {
        array::from_fn(|n| self.fault_registers[n].load(Ordering::Relaxed))
    }
}

/// Returns the number of this vCPU.
pub(crate) fn number() -> usize {
    // Aff0 counts to 15 before Aff1 does; there are no more vCPUs than that.
    (read_sysreg!("mpidr_el1") & 0xF) as usize
}

/// Returns the state of this vCPU.
pub(crate) fn current() -> &'static Cpu {
    &CPUS[number()]
}

/// Returns the state of a vCPU.
pub(crate) fn of(vcpu: usize) -> &'static Cpu {
    &CPUS[vcpu]
}
