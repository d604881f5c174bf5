// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! An interrupt of the Host before each instruction of a Realm.
//!
//! The Host's timer ends a run, and the Host answers with a virtual interrupt, which the Realm takes
//! where it was interrupted and remembers the address of. Every stretch of instructions has to come to
//! the same results as without, and every interrupt has to be taken exactly once.
//!
//! Where a tick of the counter is an instruction ([`Capabilities::EXACT_TIME`]) the ticks are chosen so
//! that each boundary of each instruction is met, and one that is not is a failure: the architecture
//! lets an interrupt be taken between any two of these instructions. Elsewhere the ticks are arbitrary.

use alloc::vec;
use alloc::vec::Vec;

use rmi::{Command as Rmi, ExitReason, RecEnter, RecExit, RsiCommand};
use test_realm::instructions::SMC;
use test_realm::protocol::{
    Bank, Command, NOT_IN_STRETCH, Outcome as Ended, REGISTERS, Report, STRETCH_MEASURED,
    STRETCH_MEASUREMENT, Stretch,
};

use super::payload::{Payload, Turn, giving, unexpected};
use super::{row, vectors};
use crate::check;
use crate::outcome::{Outcome, Stop};
use crate::port::Capabilities;
use crate::scenario::Scenario;
use crate::world::World;

/// What these scenarios prove.
pub(super) const SCENARIOS: &[Scenario] = &[
    row("realm_boundary_general", general),
    row("realm_boundary_memory", memory),
    row("realm_boundary_system", system),
    row("realm_boundary_calls", calls),
    row("realm_boundary_vectors", simd),
    row("realm_boundary_scalable", scalable),
    row("realm_boundary_monitor", monitor),
    row("realm_boundary_commands", commands),
];

/// What the stretches work on.
const SEED: u64 = 0xB0DA;
/// A list register: pending, group 1, the highest priority but one, an interrupt of no device.
const LISTED: u64 = 1 << 62 | 1 << 60 | 0x80 << 48 | 40;
/// A list register's state.
const STATE: u64 = 0b11 << 62;
/// Entries after an interrupt before a Realm counts as hung.
const MOST_ENTRIES: usize = 100;
/// Ticks in which any stretch is over, where a tick is an instruction.
const MOST_TICKS: u64 = 1 << 22;
/// Interrupts where ticks are not instructions, and the ticks of the nth: up to some ten thousand
/// instructions.
const SOME: u64 = 40;
fn some_ticks(n: u64) -> u64 {
    n * 7919 % 200_003
}

fn general(w: &mut World<'_>) -> Outcome {
    let payload = Payload::one(w)?;
    // Keys that are not the Host's.
    payload.done(w, Command::Fill(Bank::System, SEED))?;
    at_every_boundary(w, payload, Stretch::General).map(|_| ())
}

fn memory(w: &mut World<'_>) -> Outcome {
    let payload = Payload::one(w)?;
    at_every_boundary(w, payload, Stretch::Memory).map(|_| ())
}

fn system(w: &mut World<'_>) -> Outcome {
    let payload = Payload::one(w)?;
    at_every_boundary(w, payload, Stretch::System).map(|_| ())
}

fn simd(w: &mut World<'_>) -> Outcome {
    let payload = Payload::one(w)?;
    at_every_boundary(w, payload, Stretch::Vectors).map(|_| ())
}

fn scalable(w: &mut World<'_>) -> Outcome {
    let payload = vectors::wide(w, None)?;
    at_every_boundary(w, payload, Stretch::Scalable).map(|_| ())
}

/// Calls are made once each, wherever the interrupt is: the measurement that one of them extends ends
/// as another one that is extended as often without interrupts.
fn calls(w: &mut World<'_>) -> Outcome {
    let payload = Payload::one(w)?;
    let sweep = at_every_boundary(w, payload, Stretch::Calls)?;
    sweep.check_measurement(w)
}

/// An interrupt that comes while EL3 or the monitor runs waits for the Realm or the Host, whoever is
/// next.
fn monitor(w: &mut World<'_>) -> Outcome {
    /// No divisor of the length of anything.
    const STRIDE: usize = 61;
    /// From the end of the run to the end of the call.
    const WAY_OUT: u64 = 4096;
    let payload = Payload::one(w)?;
    let mut sweep = Sweep::new(w, payload, Stretch::Calls)?;
    if w.port.capabilities().contains(Capabilities::EXACT_TIME) {
        let end = sweep.find_end(w)? + WAY_OUT;
        for ticks in (0..end).step_by(STRIDE) {
            sweep.interrupt(w, ticks)?;
        }
    } else {
        for n in 0..SOME {
            sweep.interrupt(w, some_ticks(n))?;
        }
    }
    sweep.check_measurement(w)
}

/// The same in the midst of commands.
fn commands(w: &mut World<'_>) -> Outcome {
    const LONGEST: u64 = 4096;
    const STRIDE: usize = 37;
    let addr = w.granule()?;
    for ticks in (0..LONGEST).step_by(STRIDE) {
        w.write_page(addr, &[SEED; 512])?;
        w.port.set_alarm(ticks);
        w.delegate(addr)?;
        w.port.set_alarm(ticks);
        w.undelegate(addr)?;
        let left: [u64; 512] = w.read_page(addr)?;
        check!(left == [0; 512], "a granule came back with contents");
        w.port.set_alarm(ticks);
        w.ok(Rmi::Features { index: 0 })?;
    }
    Ok(())
}

/// Where the Realm was interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// In the stretch, before the instruction with this number.
    Before(u64),
    /// Behind it, or not at all.
    Later,
}

/// A stretch that is run again and again.
struct Sweep {
    payload: Payload,
    stretch: Stretch,
    digest: u64,
    /// For each instruction, and the end, whether the Realm was interrupted before it.
    met: Vec<bool>,
    /// Interrupts that the Realm has taken.
    interrupts: u64,
    /// How often the stretch was run.
    runs: u64,
}

fn at_every_boundary(w: &mut World<'_>, payload: Payload, stretch: Stretch) -> Outcome<Sweep> {
    let mut sweep = Sweep::new(w, payload, stretch)?;
    if !w.port.capabilities().contains(Capabilities::EXACT_TIME) {
        for n in 0..SOME {
            sweep.interrupt(w, some_ticks(n))?;
        }
        return Ok(sweep);
    }
    sweep.meet_all(w)?;
    let missed = |(index, is_met): (usize, &bool)| (!is_met).then_some(index);
    let missed: Vec<usize> = sweep.met.iter().enumerate().filter_map(missed).collect();
    check!(
        missed.is_empty(),
        "{stretch:?} of {} was never interrupted before {missed:?}",
        sweep.met.len() - 1
    );
    Ok(sweep)
}

impl Sweep {
    /// Runs the stretch without interrupts, for its length and its results.
    fn new(w: &mut World<'_>, payload: Payload, stretch: Stretch) -> Outcome<Self> {
        // The interface on, interrupts masked outside of stretches.
        payload.done(w, Command::Interrupts(true))?;
        payload.done(w, Command::Interrupts(false))?;
        let [digest, length, taken, place, ..] =
            payload.done(w, Command::Stretch(stretch, SEED))?;
        check!((taken, place) == (0, NOT_IN_STRETCH), "{taken} {place:#x}");
        check!(length > 20, "a stretch of {length}");
        let length = usize::try_from(length).expect("addresses fit");
        Ok(Self {
            payload,
            stretch,
            digest,
            met: vec![false; length + 1],
            interrupts: 0,
            runs: 1,
        })
    }

    /// Meets every boundary, if that can be done: later ticks are later places, so between two ticks
    /// with the same place there is nothing to look for.
    fn meet_all(&mut self, w: &mut World<'_>) -> Outcome {
        let end = self.find_end(w)?;
        let mut ranges = vec![(0, self.interrupt(w, 0)?, end, Place::Later)];
        while let Some((from, first, to, last)) = ranges.pop() {
            if to - from <= 1 || first == last {
                continue;
            }
            let middle = from + (to - from) / 2;
            let place = self.interrupt(w, middle)?;
            ranges.push((from, first, middle, place));
            ranges.push((middle, place, to, last));
        }
        Ok(())
    }

    /// Returns ticks after which the stretch is over.
    fn find_end(&mut self, w: &mut World<'_>) -> Outcome<u64> {
        let mut ticks = 1024;
        while self.interrupt(w, ticks)? != Place::Later {
            check!(ticks < MOST_TICKS, "{:?} does not end", self.stretch);
            ticks *= 2;
        }
        Ok(ticks)
    }

    /// Runs the stretch with the Host's interrupt after so many ticks; says where it met the Realm.
    fn interrupt(&mut self, w: &mut World<'_>, ticks: u64) -> Outcome<Place> {
        w.port.set_alarm(ticks);
        let command = giving(Command::Stretch(self.stretch, SEED));
        match self.payload.enter(w, 0, &command)? {
            Turn::Report(report, _) => self.check_run(&report, 0).map(|_| Place::Later),
            Turn::Exit(exit) => {
                check_irq(&exit)?;
                self.answer(w)
            }
        }
    }

    /// Answers the Host's interrupt with one of the Realm.
    fn answer(&mut self, w: &mut World<'_>) -> Outcome<Place> {
        let mut enter = RecEnter::default();
        enter.gicv3_lrs[0] = LISTED;
        let (report, exit) = self.finish(w, enter)?;
        if exit.gicv3_lrs[0] & STATE == 0 {
            return self.check_run(&report, 1);
        }
        // It came too late for the stretch and waits; the next one takes it at once.
        check!(exit.gicv3_lrs[0] == LISTED, "LR {:#x}", exit.gicv3_lrs[0]);
        self.check_run(&report, 0)?;
        let mut enter = giving(Command::Stretch(self.stretch, SEED));
        enter.gicv3_lrs[0] = LISTED;
        let (report, exit) = self.finish(w, enter)?;
        check!(
            exit.gicv3_lrs[0] & STATE == 0,
            "LR {:#x}",
            exit.gicv3_lrs[0]
        );
        let place = self.check_run(&report, 1)?;
        check!(place == Place::Before(0), "a pending one came {place:?}");
        Ok(Place::Later)
    }

    /// Enters until the report. Other interrupts of the Host leave the list registers as they were.
    fn finish(&self, w: &mut World<'_>, mut enter: RecEnter) -> Outcome<(Report, RecExit)> {
        for _ in 0..MOST_ENTRIES {
            match self.payload.enter(w, 0, &enter)? {
                Turn::Report(report, exit) => return Ok((*report, *exit)),
                Turn::Exit(exit) => {
                    check_irq(&exit)?;
                    enter = RecEnter::default();
                    enter.gicv3_lrs = exit.gicv3_lrs;
                }
            }
        }
        Err(Stop::Failed("the stretch does not end".into()))
    }

    /// Checks a run in which so many interrupts were taken, and says where the last was.
    fn check_run(&mut self, report: &Report, taken: u64) -> Outcome<Place> {
        self.runs += 1;
        self.interrupts += taken;
        let [digest, _, taken_here, index, ..] = report.registers;
        check!(report.outcome == Ended::Done, "{report:x?}");
        check!(
            digest == self.digest,
            "{:?} interrupted before {index} gives {digest:#x} instead of {:#x}",
            self.stretch,
            self.digest
        );
        check!(taken_here == taken, "{taken_here} taken instead of {taken}");
        check!(
            report.interrupts == self.interrupts && report.serrors == 0,
            "{} interrupts, not {}, {} SErrors",
            report.interrupts,
            self.interrupts,
            report.serrors
        );
        if taken == 0 {
            return Ok(Place::Later);
        }
        let met = usize::try_from(index).ok();
        let Some(met) = met.and_then(|index| self.met.get_mut(index)) else {
            return Err(Stop::Failed(alloc::format!("taken at {index:#x}")));
        };
        *met = true;
        Ok(Place::Before(index))
    }

    /// Checks that the measurement was extended once in each run.
    fn check_measurement(&self, w: &mut World<'_>) -> Outcome {
        let other = STRETCH_MEASUREMENT + 1;
        for _ in 0..self.runs {
            let mut registers = [0; REGISTERS];
            registers[..3].copy_from_slice(&[RsiCommand::MeasurementExtend.fid(), other, 64]);
            registers[3..11].fill(STRETCH_MEASURED);
            let [status, ..] = self.call(w, registers)?;
            check!(status == 0, "RSI_MEASUREMENT_EXTEND {status:#x}");
        }
        let [interrupted, other] = [STRETCH_MEASUREMENT, other].map(|index| {
            let mut registers = [0; REGISTERS];
            registers[..2].copy_from_slice(&[RsiCommand::MeasurementRead.fid(), index]);
            self.call(w, registers)
        });
        let (interrupted, other) = (interrupted?, other?);
        check!(interrupted == other, "{interrupted:x?} is not {other:x?}");
        Ok(())
    }

    fn call(&self, w: &mut World<'_>, registers: [u64; REGISTERS]) -> Outcome<[u64; REGISTERS]> {
        let instruction = SMC;
        self.payload.done(
            w,
            Command::Run {
                instruction,
                registers,
            },
        )
    }
}

/// An interrupt of the Host shows nothing of the Realm.
fn check_irq(exit: &RecExit) -> Outcome {
    if exit.reason() != Some(ExitReason::Irq) {
        return Err(unexpected("a stretch", exit));
    }
    let shown = [exit.esr, exit.far, exit.hpfar];
    check!(
        shown == [0; 3] && exit.gprs == [0; 31],
        "{shown:x?} {:x?}",
        exit.gprs
    );
    Ok(())
}
