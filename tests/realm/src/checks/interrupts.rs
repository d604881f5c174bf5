// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Timers, their interrupts, and waiting for them.

use core::cell::Cell;
use core::sync::atomic::Ordering;

use test_realm::protocol::{Timer, sequence};

use super::{Detail, Verdict, detail, require, tell};
use crate::commands::long_sequence;
use crate::smp::wait_until;
use crate::{cpu, gic, regs, timer};

/// `CNTx_CTL_EL0`: enabled, masked, condition met.
const FIRED_AND_MASKED: u64 = 0b111;
/// How often a timer fires in a row.
const REPEATS: u64 = 40;
/// Steps of a computation that interrupts disturb.
const ROUNDS: u64 = 400_000;

/// Sets the interrupt controller up on this vCPU and takes interrupts from here on.
pub(super) fn controller() -> Verdict {
    let vcpus = super::power::count_vcpus();
    gic::init(vcpus).map_err(|error| detail!("{error}"))?;
    gic::init_vcpu().map_err(|error| detail!("{error}"))?;
    regs::unmask_interrupts();
    Ok(detail!("{vcpus} redistributors"))
}

/// Takes interrupts of the virtual timer.
pub(super) fn virtual_timer() -> Verdict {
    one_timer(Timer::Virtual)
}

/// Takes interrupts of the physical timer.
pub(super) fn physical_timer() -> Verdict {
    one_timer(Timer::Physical)
}

fn one_timer(which: Timer) -> Verdict {
    let second = timer::frequency();
    let millisecond = second / 1000;
    let before = taken(which);
    let due = timer::now(which) + 5 * millisecond;
    timer::start(which, 5 * millisecond);
    // However long it took to get here: what was taken before it is due came early.
    let is_early = taken(which) != before && timer::now(which) < due;
    require!(!is_early, "fired at once");
    require!(
        wait_until(second, || taken(which) != before),
        "not fired within a second, control {:#b}",
        timer::status(which)
    );
    // Nothing more may come while the handler keeps it masked.
    wait_until(20 * millisecond, || taken(which) > before + 1);
    require!(
        taken(which) == before + 1,
        "fired {} times",
        taken(which) - before
    );
    let status = timer::status(which);
    require!(status == FIRED_AND_MASKED, "control {status:#b} afterwards");
    pending_while_masked(which)?;
    repeated(which)?;
    timer::stop(which);
    let spurious = cpu::current().spurious.load(Ordering::Relaxed);
    Ok(detail!(
        "{} interrupts, {spurious} without a reason so far",
        taken(which) - before
    ))
}

/// A Realm that does not take its interrupt must still get on.
fn pending_while_masked(which: Timer) -> Result<(), Detail> {
    let second = timer::frequency();
    let before = taken(which);
    regs::mask_interrupts();
    timer::start(which, 0);
    let result = long_sequence(5, ROUNDS);
    wait_until(second / 100, || false);
    let early = taken(which) != before;
    regs::unmask_interrupts();
    require!(!early, "taken while masked");
    require!(
        wait_until(second, || taken(which) != before),
        "not taken after unmasking"
    );
    require!(
        result == sequence(5, ROUNDS),
        "a computation beside it went wrong"
    );
    Ok(())
}

/// Fires again and again while something is computed.
fn repeated(which: Timer) -> Result<(), Detail> {
    let second = timer::frequency();
    let before = taken(which);
    let cpu = cpu::current();
    cpu.rearm_ticks.store(second / 2000, Ordering::Relaxed);
    timer::start(which, second / 2000);
    let is_right = Cell::new(true);
    let expected = sequence(6, ROUNDS / 8);
    let is_done = wait_until(4 * second, || {
        is_right.set(is_right.get() && long_sequence(6, ROUNDS / 8) == expected);
        taken(which) >= before + REPEATS
    });
    cpu.rearm_ticks.store(0, Ordering::Relaxed);
    timer::stop(which);
    require!(
        is_done,
        "fired {} of {REPEATS} times",
        taken(which) - before
    );
    require!(
        is_right.get(),
        "a computation between interrupts went wrong"
    );
    Ok(())
}

fn taken(which: Timer) -> u64 {
    cpu::current().count(timer::intid(which))
}

/// Waits with WFI, with interrupts masked and not.
pub(super) fn wait() -> Verdict {
    let second = timer::frequency();
    for which in [Timer::Virtual, Timer::Physical] {
        let before = taken(which);
        let start = timer::now(which);
        timer::start(which, second / 100);
        while taken(which) == before {
            regs::mask_interrupts();
            if taken(which) == before {
                regs::wfi();
            }
            regs::unmask_interrupts();
            regs::isb();
            require!(
                timer::now(which) - start < 5 * second,
                "{which:?} timer did not end a wait"
            );
        }
        timer::stop(which);
        tell!(
            "{which:?} timer ended a wait after {} ticks",
            timer::now(which) - start
        );
    }
    let spurious = cpu::current().spurious.load(Ordering::Relaxed);
    Ok(detail!(
        "both timers end it, {spurious} interrupts without a reason so far"
    ))
}
