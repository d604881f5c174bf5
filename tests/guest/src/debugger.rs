// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Every breakpoint and watchpoint that the kernel has to give, all at once, in a child that is
//! interrupted many times before it comes to them.
//!
//! A Realm's debug registers are not always in its CPU: what a child waits for here has been through
//! the monitor's hands many times.

use core::arch::naked_asm;
use core::fmt;
use core::hint::black_box;
use core::sync::atomic::{AtomicU64, Ordering};

use crate::failure::{Failure, expect};
use crate::system::{Child, Resume, SIGTRAP, nanoseconds};

/// Most breakpoints or watchpoints that the architecture has.
const MOST: usize = 16;
/// The kernel's sets of registers.
const BREAKPOINTS: usize = 0x402;
const WATCHPOINTS: usize = 0x403;
/// Kinds of traps: after a step, at a breakpoint or watchpoint.
const AFTER_STEP: u64 = 2;
const AT_POINT: u64 = 4;
/// `DBGBCR`: on, at EL0, all four bytes of an instruction.
const EXECUTE: u64 = 1 | 2 << 1 | 0xF << 5;
/// `DBGWCR`: on, at EL0, stores, all eight bytes.
const STORE: u64 = 1 | 2 << 1 | 2 << 3 | 0xFF << 5;
/// Bytes of an instruction.
const INSTRUCTION: u64 = 4;
/// How often the child comes to everything that can hit, before it ends without.
const ROUNDS: usize = 3;
/// How long it computes before, in nanoseconds: timers of the kernel and of the host interrupt it.
const LINGER: u64 = 50_000_000;

/// What the child stores to. The odd ones are watched, those between must not hit.
static WORDS: [AtomicU64; 2 * MOST + 1] = [const { AtomicU64::new(0) }; 2 * MOST + 1];

/// What hit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Report {
    breakpoints: usize,
    watchpoints: usize,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{0} breakpoints, {1} watchpoints and {0} steps stopped a child where they should",
            self.breakpoints, self.watchpoints
        )
    }
}

/// Debugs a child.
pub(crate) fn check() -> Result<Report, Failure> {
    let child = Child::start(debuggee)?;
    Ok(Report {
        breakpoints: meet_breakpoints(&child)?,
        watchpoints: meet_watchpoints(&child)?,
    })
}

/// What the child does.
fn debuggee() {
    for _ in 0..ROUNDS {
        linger();
        landmarks();
        for (value, word) in (1..).zip(&WORDS) {
            word.store(value, Ordering::Relaxed);
        }
    }
}

fn linger() {
    let end = nanoseconds() + LINGER;
    while nanoseconds() < end {
        for step in 0..1000_u64 {
            black_box(step);
        }
    }
}

/// Instructions to stop at.
#[unsafe(naked)]
extern "C" fn landmarks() {
    naked_asm!(".rept {count}", "nop", ".endr", "ret", count = const MOST)
}

/// A breakpoint at each of the first landmarks; from each a step to the next.
fn meet_breakpoints(child: &Child) -> Result<usize, Failure> {
    let first = landmarks as extern "C" fn() as usize as u64;
    let place = |number: usize| first + INSTRUCTION * number as u64;
    let mut points = Points::read(child, BREAKPOINTS)?;
    let count = points.count();
    for number in 0..count {
        points.set(number, place(number), EXECUTE);
    }
    points.write(child)?;
    for number in 0..count {
        let place = place(number);
        meet(child, Resume::Run, AT_POINT, place)?;
        expect("the PC at a breakpoint", place, child.program_counter()?)?;
        points.clear(number);
        points.write(child)?;
        let next = place + INSTRUCTION;
        meet(child, Resume::Step, AFTER_STEP, next)?;
        expect("the PC after a step", next, child.program_counter()?)?;
    }
    Ok(count)
}

/// A watchpoint on every second word.
fn meet_watchpoints(child: &Child) -> Result<usize, Failure> {
    let place = |number: usize| WORDS[2 * number + 1].as_ptr().addr() as u64;
    let mut points = Points::read(child, WATCHPOINTS)?;
    let count = points.count();
    for number in 0..count {
        points.set(number, place(number), STORE);
    }
    points.write(child)?;
    for number in 0..count {
        meet(child, Resume::Run, AT_POINT, place(number))?;
        points.clear(number);
        points.write(child)?;
    }
    Ok(count)
}

/// Lets the child go on, and stop for the reason and at the address that it should.
fn meet(child: &Child, how: Resume, code: u64, address: u64) -> Result<(), Failure> {
    let Some(signal) = child.resume(how)? else {
        return Err(Failure::Missing(match code {
            AFTER_STEP => "stop after a step",
            _ => "hit of a breakpoint or watchpoint",
        }));
    };
    expect("the signal of a stop", SIGTRAP, signal)?;
    let info = child.stop_info()?;
    expect("the code of a stop", code, info.code as u64)?;
    expect("the address of a stop", address, info.address)
}

/// A set of breakpoints or watchpoints: a word about them, then address and control of each.
struct Points {
    kind: usize,
    words: [u64; 1 + 2 * MOST],
}

impl Points {
    fn read(child: &Child, kind: usize) -> Result<Self, Failure> {
        let mut words = [0; 1 + 2 * MOST];
        child.read_set(kind, &mut words)?;
        let points = Self { kind, words };
        match points.count() {
            1..=MOST => Ok(points),
            _ => Err(Failure::Missing(
                "number of breakpoints and watchpoints between 1 and 16",
            )),
        }
    }

    /// Returns how many the CPU has.
    fn count(&self) -> usize {
        (self.words[0] & 0xFF) as usize
    }

    fn set(&mut self, number: usize, address: u64, control: u64) {
        self.words[1 + 2 * number] = address;
        self.words[2 + 2 * number] = control;
    }

    fn clear(&mut self, number: usize) {
        self.set(number, 0, 0);
    }

    fn write(&self, child: &Child) -> Result<(), Failure> {
        child.write_set(self.kind, &self.words[..1 + 2 * self.count()])
    }
}
