// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Virtual interrupts and timers.

use alloc::boxed::Box;

use rmi::{ExitReason, RecEnter, RecExit};
use test_realm::protocol::{Command, Outcome as Ended, Report, Timer, sequence};

use super::payload::{Payload, Turn, giving, unexpected};
use super::row;
use crate::check;
use crate::outcome::{Outcome, Stop};
use crate::scenario::Scenario;
use crate::world::World;

/// What these scenarios prove.
pub(super) const SCENARIOS: &[Scenario] = &[
    row("realm_interrupt_taken", taken),
    row("realm_interrupt_masked", masked),
    row("realm_interrupt_active_kept", active_kept),
    row(
        "realm_interrupt_no_pending_maintenance",
        no_pending_maintenance,
    ),
    row("realm_timer_virtual", virtual_timer),
    row("realm_timer_physical", physical_timer),
    row("realm_timer_pending_without_storm", pending_without_storm),
    row("realm_timer_withdrawn", withdrawn),
    row("realm_timer_fires_again", fires_again),
    row("realm_timer_disturbs_nothing", disturbs_nothing),
];

/// A list register: pending, group 1, the highest priority but one.
const PENDING: u64 = 1 << 62 | 1 << 60 | 0x80 << 48;
/// A list register's state: active, and all of it.
const ACTIVE: u64 = 1 << 63;
const STATE: u64 = 0b11 << 62;
/// The end of the interrupt makes a maintenance interrupt.
const EOI: u64 = 1 << 41;
/// An interrupt of no device.
const INTID: u64 = 40;
/// `ICH_HCR_EL2.NPIE` and `ICH_MISR_EL2.NP`: no pending interrupt.
const NO_PENDING: u64 = 1 << 3;
/// `CNTx_CTL_EL0`: on, not masked, condition met.
const FIRED: u64 = 0b101;
/// Ticks that are long for a Realm and short for people.
const A_WHILE: u64 = 20_000_000;
/// Exits that a Realm with one pending timer may make in that time.
const FEW_EXITS: usize = 40;

fn intid(timer: Timer) -> u64 {
    match timer {
        Timer::Virtual => 27,
        Timer::Physical => 30,
    }
}

/// A pending interrupt is taken, and its list register is free again.
fn taken(w: &mut World<'_>) -> Outcome {
    let payload = Payload::one(w)?;
    payload.done(w, Command::Interrupts(true))?;
    let mut enter = giving(Command::WaitInterrupts {
        count: 1,
        ticks: A_WHILE,
    });
    enter.gicv3_lrs[0] = PENDING | INTID;
    let (report, exit) = report_with_exit(w, &payload, &enter)?;
    check!(report.interrupts == 1, "{report:x?}");
    check!(
        exit.gicv3_lrs[0] & STATE == 0,
        "LR {:#x}",
        exit.gicv3_lrs[0]
    );
    check!(exit.gicv3_hcr & 1 == 0, "ICH_HCR_EL2 {:#x}", exit.gicv3_hcr);
    Ok(())
}

/// A Realm that masks interrupts leaves it pending.
fn masked(w: &mut World<'_>) -> Outcome {
    let payload = Payload::one(w)?;
    payload.done(w, Command::Interrupts(true))?;
    payload.done(w, Command::Interrupts(false))?;
    let mut enter = giving(Command::Nothing);
    enter.gicv3_lrs[0] = PENDING | INTID;
    let (report, exit) = report_with_exit(w, &payload, &enter)?;
    check!(report.interrupts == 0, "{report:x?}");
    check!(
        exit.gicv3_lrs[0] == PENDING | INTID,
        "LR {:#x}",
        exit.gicv3_lrs[0]
    );
    Ok(())
}

/// An interrupt that is active stays so.
fn active_kept(w: &mut World<'_>) -> Outcome {
    const ACTIVE: u64 = 1 << 63 | 1 << 60 | 0x80 << 48;
    let payload = Payload::one(w)?;
    payload.done(w, Command::Interrupts(true))?;
    let mut enter = giving(Command::Nothing);
    enter.gicv3_lrs[0] = ACTIVE | INTID;
    let (report, exit) = report_with_exit(w, &payload, &enter)?;
    check!(report.interrupts == 0, "{report:x?}");
    check!(
        exit.gicv3_lrs[0] == ACTIVE | INTID,
        "LR {:#x}",
        exit.gicv3_lrs[0]
    );
    Ok(())
}

/// The Host can ask to hear when nothing is pending.
fn no_pending_maintenance(w: &mut World<'_>) -> Outcome {
    let payload = Payload::one(w)?;
    payload.done(w, Command::Interrupts(true))?;
    let mut enter = giving(Command::WaitInterrupts {
        count: 1,
        ticks: A_WHILE,
    });
    enter.gicv3_hcr = NO_PENDING;
    match payload.enter(w, 0, &enter)? {
        Turn::Exit(exit) if exit.reason() == Some(ExitReason::Irq) => {
            check!(exit.gicv3_misr == NO_PENDING, "MISR {:#x}", exit.gicv3_misr);
            check!(exit.gicv3_hcr == NO_PENDING, "HCR {:#x}", exit.gicv3_hcr);
            check!(exit.esr == 0, "esr {:#x}", exit.esr);
            Ok(())
        }
        Turn::Exit(exit) => Err(unexpected("a wait", &exit)),
        Turn::Report(report, _) => Err(Stop::Failed(alloc::format!("no exit: {report:x?}"))),
    }
}

/// The virtual timer's interrupt.
fn virtual_timer(w: &mut World<'_>) -> Outcome {
    one_timer(w, Timer::Virtual)
}

/// The physical timer's interrupt.
fn physical_timer(w: &mut World<'_>) -> Outcome {
    one_timer(w, Timer::Physical)
}

/// A timer that fires before the Host hears that it was set, and one that fires later.
fn one_timer(w: &mut World<'_>, timer: Timer) -> Outcome {
    let payload = Payload::one(w)?;
    payload.done(w, Command::Interrupts(true))?;
    for (count, ticks) in [(1, 1), (2, A_WHILE)] {
        let started = start_timer(w, &payload, timer, ticks, 0)?;
        let mut wait = giving(Command::WaitInterrupts {
            count,
            ticks: 50 * A_WHILE,
        });
        present(&mut wait, &started, timer);
        let Served { report, exits, .. } = serve_timer(w, &payload, timer, wait)?;
        let [_, virtual_count, physical_count, ..] = report.registers;
        let expected = match timer {
            Timer::Virtual => (count, 0),
            Timer::Physical => (0, count),
        };
        check!((virtual_count, physical_count) == expected, "{report:x?}");
        check!(exits <= FEW_EXITS, "{exits} exits for one interrupt");
    }
    Ok(())
}

/// A Realm that does not take its timer's interrupt is not interrupted again and again.
fn pending_without_storm(w: &mut World<'_>) -> Outcome {
    let payload = Payload::one(w)?;
    for timer in [Timer::Virtual, Timer::Physical] {
        start_timer(w, &payload, timer, 1, 0)?;
        let wait = Command::WaitInterrupts {
            count: u64::MAX,
            ticks: A_WHILE,
        };
        let mut enter = giving(wait);
        let mut exits = 0;
        loop {
            match payload.enter(w, 0, &enter)? {
                Turn::Report(report, _) => {
                    check!(report.interrupts == 0, "{report:x?}");
                    break;
                }
                Turn::Exit(exit) if exit.reason() == Some(ExitReason::Irq) => {
                    check!(
                        control(&exit, timer) == FIRED,
                        "control {:#x}",
                        control(&exit, timer)
                    );
                    exits += 1;
                    check!(exits <= FEW_EXITS, "{exits} exits");
                }
                Turn::Exit(exit) => return Err(unexpected("a wait", &exit)),
            }
            enter = RecEnter::default();
        }
        start_timer(w, &payload, timer, 0, 0)?;
    }
    Ok(())
}

/// A Realm that turns its timer off before it takes the interrupt leaves one that the Host has to
/// withdraw, and the Host hears of it.
fn withdrawn(w: &mut World<'_>) -> Outcome {
    let payload = Payload::one(w)?;
    payload.done(w, Command::Interrupts(true))?;
    payload.done(w, Command::Interrupts(false))?;
    for timer in [Timer::Virtual, Timer::Physical] {
        let started = start_timer(w, &payload, timer, 1, 0)?;
        check!(
            control(&started, timer) == FIRED,
            "{:#x}",
            control(&started, timer)
        );
        let mut enter = giving(Command::SetTimer {
            timer,
            ticks: 0,
            again: 0,
        });
        enter.gicv3_lrs[0] = PENDING | intid(timer);
        let mut exits = 0;
        let exit = loop {
            match payload.enter(w, 0, &enter)? {
                Turn::Exit(exit) if exit.reason() == Some(ExitReason::Irq) => {
                    if control(&exit, timer) & FIRED != FIRED {
                        break exit;
                    }
                    enter = RecEnter::default();
                    enter.gicv3_lrs = exit.gicv3_lrs;
                }
                Turn::Exit(exit) => return Err(unexpected("a timer turned off", &exit)),
                Turn::Report(report, _) => check!(false, "not heard: {report:x?}"),
            }
            exits += 1;
            check!(exits < FEW_EXITS, "too many interrupts");
        };
        check!(control(&exit, timer) == 0, "{:#x}", control(&exit, timer));
        let (report, _) = report_with_exit(w, &payload, &RecEnter::default())?;
        check!(report.interrupts == 0, "{report:x?}");
    }
    Ok(())
}

/// A timer that the Realm sets again in its handler fires again, though the Host masked it meanwhile and
/// does not ask to hear of the end of the interrupt.
fn fires_again(w: &mut World<'_>) -> Outcome {
    const TIMES: u64 = 20;
    // Far longer than an exit takes on a busy machine, so that the Realm gets on between two of them.
    const TICKS: u64 = 5_000_000;
    const TOO_LONG: u64 = 5_000_000_000;
    let payload = Payload::one(w)?;
    payload.done(w, Command::Interrupts(true))?;
    let mut taken = 0;
    for timer in [Timer::Virtual, Timer::Physical] {
        let mut lr = 0;
        let [ticks, again] = [TICKS; 2];
        let set = Command::SetTimer {
            timer,
            ticks,
            again,
        };
        drive(w, &payload, timer, set, &mut lr)?;
        taken += TIMES;
        let wait = Command::WaitInterrupts {
            count: taken,
            ticks: TOO_LONG,
        };
        let report = drive(w, &payload, timer, wait, &mut lr)?;
        check!(report.interrupts >= taken, "{report:x?}");
        let off = Command::SetTimer {
            timer,
            ticks: 0,
            again: 0,
        };
        let report = drive(w, &payload, timer, off, &mut lr)?;
        taken = report.interrupts;
    }
    Ok(())
}

/// Gives a command and keeps one list register for a timer until the report: pending exactly when the
/// timer's output is high, also while the interrupt before is active.
fn drive(
    w: &mut World<'_>,
    payload: &Payload,
    timer: Timer,
    command: Command,
    lr: &mut u64,
) -> Outcome<Report> {
    const MOST_EXITS: usize = 100_000;
    let mut enter = giving(command);
    for _ in 0..MOST_EXITS {
        enter.gicv3_lrs[0] = *lr;
        let turn = payload.enter(w, 0, &enter)?;
        let (Turn::Report(_, exit) | Turn::Exit(exit)) = &turn;
        let active = exit.gicv3_lrs[0] & ACTIVE;
        *lr = if control(exit, timer) == FIRED {
            active | PENDING | intid(timer)
        } else if active != 0 {
            exit.gicv3_lrs[0] & !STATE | ACTIVE
        } else {
            0
        };
        match turn {
            Turn::Report(report, _) => return Ok(*report),
            Turn::Exit(exit) if exit.reason() == Some(ExitReason::Irq) => {}
            Turn::Exit(exit) => return Err(unexpected("a command", &exit)),
        }
        enter = RecEnter::default();
    }
    Err(Stop::Failed("the command does not end".into()))
}

/// A computation gives the same however often a timer interrupts it.
fn disturbs_nothing(w: &mut World<'_>) -> Outcome {
    const ROUNDS: u64 = 10_000_000;
    let payload = Payload::one(w)?;
    payload.done(w, Command::Interrupts(true))?;
    for (seed, timer, ticks) in [
        (1, Timer::Virtual, 4_000_000),
        (2, Timer::Physical, 4_000_000),
        (3, Timer::Virtual, 5_000_003),
    ] {
        let started = start_timer(w, &payload, timer, ticks, ticks)?;
        let mut enter = giving(Command::Sequence {
            seed,
            rounds: ROUNDS,
        });
        present(&mut enter, &started, timer);
        let Served { report, .. } = serve_timer(w, &payload, timer, enter)?;
        check!(
            report.registers[0] == sequence(seed, ROUNDS),
            "after {} interrupts: {:#x}",
            report.interrupts,
            report.registers[0]
        );
        check!(report.interrupts > 0, "no interrupt came");
        start_timer(w, &payload, timer, 0, 0)?;
    }
    Ok(())
}

/// Starts a timer; returns what the Host knows of the vCPU after that.
fn start_timer(
    w: &mut World<'_>,
    payload: &Payload,
    timer: Timer,
    ticks: u64,
    again: u64,
) -> Outcome<Box<RecExit>> {
    let command = Command::SetTimer {
        timer,
        ticks,
        again,
    };
    let served = serve_timer(w, payload, timer, giving(command))?;
    check!(served.report.outcome == Ended::Done, "{:x?}", served.report);
    Ok(served.last)
}

/// A command that was carried out while a timer ran.
struct Served {
    report: Report,
    /// The exit that the report came with.
    last: Box<RecExit>,
    /// How many exits came before it.
    exits: usize,
}

/// Enters with a command and presents a timer's interrupt whenever it has fired, until the report.
fn serve_timer(
    w: &mut World<'_>,
    payload: &Payload,
    timer: Timer,
    mut enter: RecEnter,
) -> Outcome<Served> {
    const MOST_EXITS: usize = 100_000;
    for exits in 0..MOST_EXITS {
        match payload.enter(w, 0, &enter)? {
            Turn::Report(report, last) => {
                return Ok(Served {
                    report: *report,
                    last,
                    exits,
                });
            }
            Turn::Exit(exit) if exit.reason() == Some(ExitReason::Irq) => {
                enter = RecEnter::default();
                present(&mut enter, &exit, timer);
            }
            Turn::Exit(exit) => return Err(unexpected("a command", &exit)),
        }
    }
    Err(Stop::Failed("the command does not end".into()))
}

/// Presents a timer's interrupt in an entry if the vCPU was left with one that it has not taken. A
/// timer may fire in any exit, and one that the Host has been told of makes no exit again.
fn present(enter: &mut RecEnter, exit: &RecExit, timer: Timer) {
    let is_listed = exit.gicv3_lrs[0] & STATE != 0;
    if is_listed {
        enter.gicv3_lrs[0] = exit.gicv3_lrs[0];
    } else if control(exit, timer) == FIRED {
        enter.gicv3_lrs[0] = PENDING | EOI | intid(timer);
    }
}

fn control(exit: &RecExit, timer: Timer) -> u64 {
    match timer {
        Timer::Virtual => exit.cntv_ctl,
        Timer::Physical => exit.cntp_ctl,
    }
}

/// Enters until the report, and returns it with the exit it came with. Interrupts of the Host keep
/// the list registers as they were.
fn report_with_exit(
    w: &mut World<'_>,
    payload: &Payload,
    enter: &RecEnter,
) -> Outcome<(Report, RecExit)> {
    let mut enter = enter.clone();
    for _ in 0..FEW_EXITS {
        match payload.enter(w, 0, &enter)? {
            Turn::Report(report, exit) => return Ok((*report, *exit)),
            Turn::Exit(exit) if exit.reason() == Some(ExitReason::Irq) => {
                enter.gprs = [0; 31];
                enter.gicv3_lrs = exit.gicv3_lrs;
            }
            Turn::Exit(exit) => return Err(unexpected("a command", &exit)),
        }
    }
    Err(Stop::Failed("too many interrupts".into()))
}
