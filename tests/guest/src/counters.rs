// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The cycle counter of every CPU: what it counts, and the interrupts of its overflows.

use core::fmt;
use core::hint::black_box;

use crate::failure::Failure;
use crate::system::{self, Counter, CounterRequest, nanoseconds};

/// Steps of a piece of work.
const WORK: u64 = 2_000_000;
/// Cycles from one overflow to the next: some milliseconds.
const PERIOD: u64 = 10_000_000;
/// Overflows to wait for on each CPU.
const OVERFLOWS: u32 = 5;
/// No CPU has more cycles in a nanosecond.
const FASTEST: u64 = 16;
/// An overflow that takes longer is lost, in nanoseconds.
const LATE: u64 = 60_000_000_000;

/// What was counted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Report {
    cpus: usize,
    cycles: u64,
    overflows: u32,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} cycles counted and {} overflows signalled on {} CPUs",
            self.cycles, self.overflows, self.cpus
        )
    }
}

/// Counts on every CPU in turn.
pub(crate) fn check() -> Result<Report, Failure> {
    let mut report = Report {
        cpus: 0,
        cycles: 0,
        overflows: 0,
    };
    system::hold_overflows()?;
    while system::run_on(report.cpus).is_some() {
        report.cycles += count(report.cpus)?;
        report.overflows += overflow(report.cpus)?;
        report.cpus += 1;
    }
    match report.cpus {
        0 => Err(Failure::Missing("CPU to run on")),
        _ => Ok(report),
    }
}

/// The counter goes forward while it is on, no faster than a CPU is, and stands still while it is off.
fn count(cpu: usize) -> Result<u64, Failure> {
    let counter = Counter::open(&CounterRequest::cycles(0))?;
    work();
    if counter.read()? != 0 {
        return Err(Failure::OnCpu(cpu, "the counter counts before it is on"));
    }
    let began = nanoseconds();
    counter.enable()?;
    work();
    let first = counter.read()?;
    work();
    let second = counter.read()?;
    counter.disable()?;
    let last = counter.read()?;
    let took = nanoseconds() - began;
    work();
    if last > took.saturating_mul(FASTEST) {
        return Err(Failure::OnCpu(cpu, "the counter jumps"));
    }
    if first == 0 || second <= first || last < second {
        return Err(Failure::OnCpu(cpu, "the counter does not count"));
    }
    if counter.read()? != last {
        return Err(Failure::OnCpu(cpu, "the counter counts when it is off"));
    }
    Ok(last)
}

/// Overflow after overflow arrives.
fn overflow(cpu: usize) -> Result<u32, Failure> {
    let counter = Counter::open(&CounterRequest::cycles(PERIOD))?;
    counter.signal_overflows()?;
    counter.enable()?;
    for _ in 0..OVERFLOWS {
        let end = nanoseconds() + LATE;
        while !system::take_overflow()? {
            if nanoseconds() > end {
                return Err(Failure::OnCpu(cpu, "the overflow of the counter is lost"));
            }
            work();
        }
    }
    counter.disable()?;
    // One may have come since.
    system::take_overflow()?;
    Ok(OVERFLOWS)
}

fn work() {
    for step in 0..WORK {
        black_box(step);
    }
}
