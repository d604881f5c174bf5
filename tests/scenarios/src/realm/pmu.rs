// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The performance monitor inside a Realm.

use rmi::{ExitReason, RecEnter};
use test_realm::instructions::SystemRegister;
use test_realm::protocol::{Command, Outcome as Ended};

use super::payload::{Payload, Turn, fault, read, run, unexpected, write};
use super::row;
use super::sweep::check_host;
use crate::check;
use crate::outcome::{Outcome, Stop};
use crate::scenario::Scenario;
use crate::world::{RealmPlan, World};

/// What these scenarios prove.
pub(super) const SCENARIOS: &[Scenario] = &[
    row("realm_pmu_cycles", cycles),
    row("realm_pmu_events", events),
    row("realm_pmu_counters_told", counters_told),
    row("realm_pmu_overflow_reported", overflow_reported),
    row("realm_pmu_overflow_held_back", overflow_held_back),
    row("realm_pmu_two_realms", two_realms),
    row("realm_pmu_absent", absent),
];

const PMCR: SystemRegister = SystemRegister::new(3, 3, 9, 12, 0);
const PMCNTENSET: SystemRegister = SystemRegister::new(3, 3, 9, 12, 1);
const PMCNTENCLR: SystemRegister = SystemRegister::new(3, 3, 9, 12, 2);
const PMOVSCLR: SystemRegister = SystemRegister::new(3, 3, 9, 12, 3);
const PMINTENCLR: SystemRegister = SystemRegister::new(3, 0, 9, 14, 2);
const PMSWINC: SystemRegister = SystemRegister::new(3, 3, 9, 12, 4);
const PMCCNTR: SystemRegister = SystemRegister::new(3, 3, 9, 13, 0);
const PMCCFILTR: SystemRegister = SystemRegister::new(3, 3, 14, 15, 7);
const PMOVSSET: SystemRegister = SystemRegister::new(3, 3, 9, 14, 3);
const PMINTENSET: SystemRegister = SystemRegister::new(3, 0, 9, 14, 1);
const PMEVCNTR0: SystemRegister = SystemRegister::new(3, 3, 14, 8, 0);
const PMEVTYPER0: SystemRegister = SystemRegister::new(3, 3, 14, 12, 0);
const DFR0: SystemRegister = SystemRegister::new(3, 0, 0, 5, 0);

/// `PMCR_EL0`: E and LC.
const ENABLE: u64 = 1;
const LONG_CYCLES: u64 = 1 << 6;
/// The cycle counter among the counters.
const CYCLES: u64 = 1 << 31;
/// The interrupt of an overflow (Arm BSA).
const PMU_INTID: u32 = 23;
/// Event `SW_INCR`.
const SOFTWARE: u64 = 0;
/// A computation that takes a while.
const WORK: Command = Command::Sequence {
    seed: 1,
    rounds: 20_000,
};

fn with_pmu(w: &mut World<'_>, pmu_counters: Option<u8>) -> Outcome<Payload> {
    if !w.features()?.has_pmu() {
        return Err(Stop::Skipped("no PMU".into()));
    }
    let plan = RealmPlan {
        pmu: true,
        pmu_counters,
        ..RealmPlan::default()
    };
    Payload::new(w, &plan, 1)
}

/// The cycle counter counts while it is on, and keeps its value while it is off.
fn cycles(w: &mut World<'_>) -> Outcome {
    let payload = with_pmu(w, None)?;
    write(w, &payload, PMCCFILTR, 0)?;
    write(w, &payload, PMCNTENSET, CYCLES)?;
    write(w, &payload, PMCR, LONG_CYCLES | ENABLE)?;
    let before = read(w, &payload, PMCCNTR)?;
    payload.done(w, WORK)?;
    let after = read(w, &payload, PMCCNTR)?;
    check!(after > before, "cycles {before} to {after}");
    write(w, &payload, PMCR, LONG_CYCLES)?;
    let stopped = read(w, &payload, PMCCNTR)?;
    payload.done(w, WORK)?;
    let later = read(w, &payload, PMCCNTR)?;
    check!(
        stopped == later && stopped >= after,
        "cycles {stopped} to {later}"
    );
    Ok(())
}

/// An event counter counts its event, across exits.
fn events(w: &mut World<'_>) -> Outcome {
    let payload = with_pmu(w, None)?;
    write(w, &payload, PMEVTYPER0, SOFTWARE)?;
    write(w, &payload, PMEVCNTR0, 40)?;
    write(w, &payload, PMCNTENSET, 1)?;
    write(w, &payload, PMCR, ENABLE)?;
    for expected in 41..45 {
        write(w, &payload, PMSWINC, 1)?;
        let count = read(w, &payload, PMEVCNTR0)?;
        check!(count == expected, "{count}, not {expected}");
    }
    Ok(())
}

/// `PMCR_EL0.N` is the number of counters that the Realm was made with.
fn counters_told(w: &mut World<'_>) -> Outcome {
    let most = w.features()?.pmu_num_ctrs();
    for counters in [1, most] {
        let payload = with_pmu(w, Some(counters))?;
        let pmcr = read(w, &payload, PMCR)?;
        check!(
            pmcr >> 11 & 0x1F == u64::from(counters),
            "PMCR_EL0 {pmcr:#x}"
        );
        let dfr0 = read(w, &payload, DFR0)?;
        check!(dfr0 >> 8 & 0xF != 0, "ID_AA64DFR0_EL1 {dfr0:#x}");
    }
    Ok(())
}

/// An overflow ends the run with an IRQ and is reported; before there is nothing to report.
fn overflow_reported(w: &mut World<'_>) -> Outcome {
    let payload = with_pmu(w, None)?;
    write(w, &payload, PMEVTYPER0, SOFTWARE)?;
    write(w, &payload, PMEVCNTR0, 0xFFFF_FFFF)?;
    write(w, &payload, PMCNTENSET, 1)?;
    write(w, &payload, PMINTENSET, 1)?;
    match payload.begin(w, run(PMCR.write_x0(), ENABLE, 0))? {
        Turn::Report(_, exit) => {
            check!(exit.pmu_ovf_status == 0, "status {}", exit.pmu_ovf_status);
        }
        Turn::Exit(exit) => return Err(unexpected("PMCR", &exit)),
    }
    let exit = payload.exit(w, run(PMSWINC.write_x0(), 1, 0))?;
    check!(
        exit.reason() == Some(ExitReason::Irq) && exit.pmu_ovf_status == 1,
        "exit {}, status {}",
        exit.exit_reason,
        exit.pmu_ovf_status
    );
    Ok(())
}

/// An overflow ends every run until the Host holds its interrupt back. Then the Realm gets on, and the Host
/// is told for as long as it lasts. It is that of one Realm only.
fn overflow_held_back(w: &mut World<'_>) -> Outcome {
    let (payload, plain) = (with_pmu(w, None)?, Payload::one(w)?);
    write(w, &payload, PMCNTENSET, CYCLES)?;
    write(w, &payload, PMINTENSET, CYCLES)?;
    write(w, &payload, PMCR, LONG_CYCLES | ENABLE)?;
    let mut turn = payload.begin(w, run(PMOVSSET.write_x0(), CYCLES, 0))?;
    for _ in 0..3 {
        match turn {
            Turn::Exit(exit) => check!(
                exit.reason() == Some(ExitReason::Irq) && exit.pmu_ovf_status == 1,
                "exit {}, status {}",
                exit.exit_reason,
                exit.pmu_ovf_status
            ),
            Turn::Report(report, _) => check!(false, "no exit: {report:x?}"),
        }
        let idle = told(w, &plain, Command::Nothing)?;
        check!(idle == 0, "status {idle} of a Realm that has no counters");
        turn = payload.enter(w, 0, &RecEnter::default())?;
    }
    w.port.hold_back(PMU_INTID, true);
    let outcome = held_back(w, &payload);
    w.port.hold_back(PMU_INTID, false);
    outcome?;
    let quiet = told(w, &payload, Command::Nothing)?;
    check!(quiet == 0, "status {quiet} after the overflow was cleared");
    Ok(())
}

/// What a Realm does with an overflow whose interrupt is held back, after it has begun.
fn held_back(w: &mut World<'_>, payload: &Payload) -> Outcome {
    let report = payload.resume(w, &RecEnter::default())?;
    check!(report.outcome == Ended::Done, "{report:x?}");
    for command in [WORK, run(PMINTENSET.read_x0(), 0, 0)] {
        let status = told(w, payload, command)?;
        check!(status == 1, "status {status} after {command:x?}");
    }
    // Each of the four has to be there.
    for (off, on) in [
        (PMINTENCLR, PMINTENSET),
        (PMCNTENCLR, PMCNTENSET),
        (PMOVSCLR, PMOVSSET),
    ] {
        let status = told(w, payload, run(off.write_x0(), CYCLES, 0))?;
        check!(status == 0, "status {status} without {:?}", on.parts());
        let status = told(w, payload, run(on.write_x0(), CYCLES, 0))?;
        check!(status == 1, "status {status} with {:?}", on.parts());
    }
    let status = told(w, payload, run(PMCR.write_x0(), LONG_CYCLES, 0))?;
    check!(status == 0, "status {status} of a monitor that is off");
    write(w, payload, PMOVSCLR, CYCLES)
}

/// Gives a command that ends without an exit, and returns what the Host is told of overflows with it.
fn told(w: &mut World<'_>, payload: &Payload, command: Command) -> Outcome<u8> {
    match payload.begin(w, command)? {
        Turn::Report(report, exit) => {
            check!(report.outcome == Ended::Done, "{command:x?}: {report:x?}");
            Ok(exit.pmu_ovf_status)
        }
        Turn::Exit(exit) => Err(unexpected("a command", &exit)),
    }
}

/// Two Realms with a performance monitor, and the Host's, keep apart.
fn two_realms(w: &mut World<'_>) -> Outcome {
    w.need(crate::Capabilities::REGISTERS, "registers of its own")?;
    let payloads = [with_pmu(w, None)?, with_pmu(w, None)?];
    w.port.fill_registers(11);
    let values = |n| {
        [
            (PMCCNTR, 1000 * n),
            (PMEVCNTR0, 100 * n),
            (PMEVTYPER0, 7 + n),
            (PMCNTENSET, n),
            (PMINTENSET, n),
            (PMOVSSET, n),
        ]
    };
    for (payload, n) in payloads.iter().zip(1..) {
        for (register, value) in values(n) {
            let before = read(w, payload, register)?;
            check!(before == 0, "{:?} is {before:#x}", register.parts());
            write(w, payload, register, value)?;
        }
    }
    for (payload, n) in payloads.iter().zip(1..) {
        for (register, value) in values(n) {
            let now = read(w, payload, register)?;
            check!(now == value, "{:?} is {now:#x}", register.parts());
        }
    }
    check_host(w)
}

/// A Realm without a performance monitor has none, and is told so.
fn absent(w: &mut World<'_>) -> Outcome {
    let payload = Payload::one(w)?;
    let dfr0 = read(w, &payload, DFR0)?;
    check!(dfr0 >> 8 & 0xF == 0, "ID_AA64DFR0_EL1 {dfr0:#x}");
    for register in [PMCR, PMCCNTR, PMINTENSET, PMEVCNTR0, PMEVTYPER0, PMCCFILTR] {
        for instruction in [register.read_x0(), register.write_x0()] {
            let fault = fault(&payload.tell(w, run(instruction, 0, 0))?)?;
            check!(fault.is_undefined(), "{:?}: {fault:x?}", register.parts());
        }
    }
    Ok(())
}
