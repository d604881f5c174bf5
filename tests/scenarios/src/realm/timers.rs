// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The timers of a Realm register by register: what the Host sees of them, and that they are the Realm's;
//! and the Host's own interrupts beside them.

use rmi::{ExitReason, RecEnter, RecExit};
use test_realm::instructions::SystemRegister;
use test_realm::protocol::{Command, Outcome as Ended, Report};

use super::payload::{Payload, Turn, giving, read, run, unexpected};
use super::row;
use super::sweep::check_host;
use crate::check;
use crate::outcome::{Outcome, Stop};
use crate::port::Capabilities;
use crate::scenario::Scenario;
use crate::world::World;

/// What these scenarios prove.
pub(super) const SCENARIOS: &[Scenario] = &[
    row("realm_timer_reported", reported),
    row("realm_timer_masked_is_quiet", masked_is_quiet),
    row("realm_timer_counters", counters),
    row("realm_interrupt_of_host_masked", host_masked),
];

/// The registers of a timer, and where an exit has them.
struct Timer {
    control: SystemRegister,
    compare: SystemRegister,
    shown: fn(&RecExit) -> [u64; 2],
}

const TIMERS: [Timer; 2] = [
    Timer {
        control: SystemRegister::new(3, 3, 14, 3, 1),
        compare: SystemRegister::new(3, 3, 14, 3, 2),
        shown: |exit| [exit.cntv_ctl, exit.cntv_cval],
    },
    Timer {
        control: SystemRegister::new(3, 3, 14, 2, 1),
        compare: SystemRegister::new(3, 3, 14, 2, 2),
        shown: |exit| [exit.cntp_ctl, exit.cntp_cval],
    },
];

/// `CNTx_CTL_EL0`: ENABLE, IMASK, ISTATUS.
const ENABLE: u64 = 1 << 0;
const MASKED: u64 = 1 << 1;
const STATUS: u64 = 1 << 2;
/// Compare values that have passed, and that never pass.
const PASSED: u64 = 7;
const NEVER: u64 = u64::MAX - 7;

/// Enters with a command until its report; returns that with its exit, and how many interrupts came before.
fn tell(
    w: &mut World<'_>,
    payload: &Payload,
    command: Command,
) -> Outcome<(Report, RecExit, usize)> {
    const MOST: usize = 40;
    let mut enter = giving(command);
    for interrupts in 0..MOST {
        match payload.enter(w, 0, &enter)? {
            Turn::Report(report, exit) => {
                check!(report.outcome == Ended::Done, "{command:x?}: {report:x?}");
                return Ok((*report, *exit, interrupts));
            }
            Turn::Exit(exit) if exit.reason() == Some(ExitReason::Irq) => {
                enter = RecEnter::default();
            }
            Turn::Exit(exit) => return Err(unexpected("a timer", &exit)),
        }
    }
    Err(Stop::Failed(alloc::format!("{command:x?} does not end")))
}

/// Every exit shows both timers as the Realm has them, whatever it made of their controls, and they are
/// the same after another Realm has run.
fn reported(w: &mut World<'_>) -> Outcome {
    let (payload, other) = (Payload::one(w)?, Payload::one(w)?);
    for timer in &TIMERS {
        for compare in [PASSED, NEVER] {
            for control in [0, ENABLE, MASKED, ENABLE | MASKED] {
                tell(w, &payload, run(timer.compare.write_x0(), compare, 0))?;
                let write = run(timer.control.write_x0(), control, 0);
                let (_, written, _) = tell(w, &payload, write)?;
                let (_, elsewhere, _) = tell(w, &other, Command::Nothing)?;
                check!((timer.shown)(&elsewhere) == [0; 2], "the other Realm's");
                let (_, later, _) = tell(w, &payload, Command::Nothing)?;
                for exit in [&written, &later] {
                    check_shown((timer.shown)(exit), control, compare)?;
                    let other = TIMERS.iter().find(|other| other.control != timer.control);
                    let shown = other.map_or([0; 2], |other| (other.shown)(exit));
                    check!(shown == [0; 2], "the timer that is off: {shown:x?}");
                }
                let (report, ..) = tell(w, &payload, run(timer.control.read_x0(), 0, 0))?;
                let [_, compared] = (timer.shown)(&later);
                check_shown([report.registers[0], compared], control, compare)?;
            }
        }
        tell(w, &payload, run(timer.control.write_x0(), 0, 0))?;
        tell(w, &payload, run(timer.compare.write_x0(), 0, 0))?;
    }
    Ok(())
}

fn check_shown([control, compare]: [u64; 2], written: u64, compared: u64) -> Outcome {
    check!(compare == compared, "compare value {compare:#x}");
    check!(
        control & !STATUS == written,
        "control {control:#x}, not {written:#x}"
    );
    // Of a timer that is off, nobody says whether its condition is met.
    let is_met = control & STATUS != 0;
    check!(
        written & ENABLE == 0 || is_met == (compared == PASSED),
        "control {control:#x} with {compared:#x}"
    );
    Ok(())
}

/// A timer whose output the Realm masks, or that is off, does not interrupt it; one that signals does so
/// once.
fn masked_is_quiet(w: &mut World<'_>) -> Outcome {
    const WORK: Command = Command::Sequence {
        seed: 1,
        rounds: 100_000,
    };
    let payload = Payload::one(w)?;
    for timer in &TIMERS {
        tell(w, &payload, run(timer.compare.write_x0(), PASSED, 0))?;
        for control in [0, MASKED, ENABLE | MASKED] {
            let write = run(timer.control.write_x0(), control, 0);
            let (_, _, interrupts) = tell(w, &payload, write)?;
            check!(interrupts == 0, "{interrupts} interrupts of {control:#x}");
            let (_, _, interrupts) = tell(w, &payload, WORK)?;
            check!(interrupts == 0, "{interrupts} interrupts of {control:#x}");
        }
        let write = run(timer.control.write_x0(), ENABLE, 0);
        let (_, _, interrupts) = tell(w, &payload, write)?;
        check!(interrupts <= 1, "{interrupts} interrupts of one signal");
        let (_, exit, later) = tell(w, &payload, WORK)?;
        check!(
            interrupts + later <= 1,
            "{later} more interrupts of one signal"
        );
        let [control, _] = (timer.shown)(&exit);
        check!(control == ENABLE | STATUS, "control {control:#x}");
        // Quiet again, and the Host hears of that.
        let write = run(timer.control.write_x0(), ENABLE | MASKED, 0);
        let (_, _, interrupts) = tell(w, &payload, write)?;
        check!(interrupts == 1, "{interrupts} exits when the signal ends");
        tell(w, &payload, run(timer.control.write_x0(), 0, 0))?;
    }
    Ok(())
}

/// Both counters of a Realm show the same time, whatever offset the Host has for its guests, and it goes
/// forward.
fn counters(w: &mut World<'_>) -> Outcome {
    const PHYSICAL: SystemRegister = SystemRegister::new(3, 3, 14, 0, 1);
    const VIRTUAL: SystemRegister = SystemRegister::new(3, 3, 14, 0, 2);
    const PHYSICAL_SELF: SystemRegister = SystemRegister::new(3, 3, 14, 0, 5);
    const VIRTUAL_SELF: SystemRegister = SystemRegister::new(3, 3, 14, 0, 6);
    const MMFR0: SystemRegister = SystemRegister::new(3, 0, 0, 7, 0);
    w.need(Capabilities::REGISTERS, "registers of its own")?;
    let payload = Payload::one(w)?;
    let has_more = read(w, &payload, MMFR0)? >> 60 != 0;
    let more = [PHYSICAL_SELF, VIRTUAL_SELF].into_iter();
    w.port.fill_registers(0x0FF5_E700);
    let mut last = 0;
    for _ in 0..3 {
        for counter in [PHYSICAL, VIRTUAL, PHYSICAL]
            .into_iter()
            .chain(more.clone().filter(|_| has_more))
        {
            let now = read(w, &payload, counter)?;
            check!(
                now >= last,
                "{:?} shows {now:#x} after {last:#x}",
                counter.parts()
            );
            last = now;
        }
    }
    check_host(w)
}

/// An interrupt that the Host's priority mask holds back ends no run, and is there when the mask is open.
fn host_masked(w: &mut World<'_>) -> Outcome {
    const WORK: Command = Command::Sequence {
        seed: 1,
        rounds: 100_000,
    };
    let payload = Payload::one(w)?;
    for is_masked in [true, false] {
        w.port.mask_interrupts(is_masked);
        w.port.set_alarm(0);
        let turn = payload.enter(w, 0, &giving(WORK));
        w.port.mask_interrupts(false);
        match turn? {
            Turn::Report(report, _) => check!(is_masked, "no interrupt: {report:x?}"),
            Turn::Exit(exit) if is_masked => return Err(unexpected("a run", &exit)),
            Turn::Exit(exit) => check!(
                exit.reason() == Some(ExitReason::Irq),
                "exit {}",
                exit.exit_reason
            ),
        }
    }
    Ok(())
}
