// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The scenarios of a Realm's calls: RSI, PSCI, and those that nobody answers.
//!
//! Of the registers x1 to x16 that a call does not list as outputs the RMM specification says zero, and
//! SMCCC 1.2 says of x4 and up that they are preserved. Both are accepted, as of the Host's calls.

mod attestation_token;
mod calls;
mod host_call;
mod initial_measurement;
mod measurement;
mod memory;
mod psci;

use rmi::{Command, ExitReason, RecExit};

use crate::check;
use crate::outcome::{Outcome, Stop};
use crate::port::GRANULE;
use crate::realm::{ACTION_REGISTERS, RealmAction};
use crate::scenario::Scenario;
use crate::world::{Realm, RealmPlan, Rec, Runnable, Step, World};

/// The scenarios, one file after another.
pub(crate) const GROUPS: &[&[Scenario]] = &[
    calls::SCENARIOS,
    measurement::SCENARIOS,
    initial_measurement::SCENARIOS,
    memory::SCENARIOS,
    host_call::SCENARIOS,
    attestation_token::SCENARIOS,
    psci::SCENARIOS,
];

/// Statuses of RSI.
const SUCCESS: u64 = 0;
const INPUT: u64 = 1;

/// Pages of the Realm under test: RAM without memory, destroyed, RAM with memory, never declared.
const UNASSIGNED: u64 = 0x2000;
const DESTROYED: u64 = 0x3000;
const ASSIGNED: u64 = 0x4000;
const EMPTY: u64 = 0x8000;

/// What an exit shows of an access that the monitor could not make for the Realm at level 3: a data
/// abort, translation fault.
const MISSING: u64 = 0x24 << 26 | 0x07;

/// The first register that SMCCC 1.2 preserves.
const FIRST_PRESERVED: usize = 4;

/// Creates an active Realm with the pages above and one REC that runs the program.
fn stage(w: &mut World<'_>) -> Outcome<(Realm, Rec)> {
    stage_with(w, &RealmPlan::default())
}

fn stage_with(w: &mut World<'_>, plan: &RealmPlan) -> Outcome<(Realm, Rec)> {
    let realm = w.realm_with(plan)?;
    w.load_program(&realm)?;
    w.init_ripas(&realm, UNASSIGNED, ASSIGNED + GRANULE)?;
    for ipa in [DESTROYED, ASSIGNED] {
        w.data_unknown(&realm, ipa)?;
    }
    let rec = w.rec(&realm, Runnable::Yes)?;
    w.activate(&realm)?;
    w.ok(Command::DataDestroy {
        rd: realm.rd,
        ipa: DESTROYED,
    })?;
    Ok((realm, rec))
}

/// Makes a call that needs no Host and has `outputs` outputs; returns x0 to x10 without registers that
/// kept the caller's values.
fn call(
    w: &mut World<'_>,
    rec: &Rec,
    registers: &[u64],
    outputs: usize,
) -> Outcome<[u64; ACTION_REGISTERS]> {
    let result = w.act_done(rec, RealmAction::smc(registers))?;
    check!(result.exception.is_none(), "{registers:x?}: {result:x?}");
    Ok(without_kept(result.registers, registers, outputs))
}

fn without_kept(
    mut results: [u64; ACTION_REGISTERS],
    call: &[u64],
    outputs: usize,
) -> [u64; ACTION_REGISTERS] {
    let first = FIRST_PRESERVED.max(outputs + 1);
    for (result, kept) in results.iter_mut().zip(call).skip(first) {
        if result == kept {
            *result = 0;
        }
    }
    results
}

/// Requires that a call gives x0 and these outputs, and nothing else.
fn require(w: &mut World<'_>, rec: &Rec, registers: &[u64], wanted: &[u64]) -> Outcome {
    let found = call(w, rec, registers, wanted.len() - 1)?;
    let mut all = [0; ACTION_REGISTERS];
    all[..wanted.len()].copy_from_slice(wanted);
    check!(found == all, "{registers:x?} gives {found:x?}");
    Ok(())
}

/// Requires that a call is refused because of its arguments, without an exit.
fn refused(w: &mut World<'_>, rec: &Rec, registers: &[u64]) -> Outcome {
    let [status, ..] = call(w, rec, registers, 0)?;
    check!(status == INPUT, "{registers:x?} gives status {status:#x}");
    Ok(())
}

/// Makes a call that needs the Host, and returns the exit.
fn exit(w: &mut World<'_>, rec: &Rec, registers: &[u64]) -> Outcome<alloc::boxed::Box<RecExit>> {
    w.act_exit(rec, RealmAction::smc(registers))
}

/// Requires that a call ends the run because its page is missing in a table of level 3.
fn require_missing(w: &mut World<'_>, rec: &Rec, registers: &[u64], page: u64) -> Outcome {
    require_missing_at(w, rec, registers, page, 3)
}

/// Requires that a call ends the run because its page is missing, or the tables behind `level` are.
fn require_missing_at(
    w: &mut World<'_>,
    rec: &Rec,
    registers: &[u64],
    page: u64,
    level: u64,
) -> Outcome {
    let exit = exit(w, rec, registers)?;
    let missing = MISSING & !0b11 | level;
    let hpfar = page >> 8;
    check!(
        exit.reason() == Some(ExitReason::Sync),
        "exit {}",
        exit.exit_reason
    );
    check!(
        (exit.esr, exit.far, exit.hpfar) == (missing, 0, hpfar),
        "esr {:#x} far {:#x} hpfar {:#x}",
        exit.esr,
        exit.far,
        exit.hpfar
    );
    require_nothing_else(&exit)
}

/// Requires that an exit shows no register, no change of RIPAS and no immediate.
fn require_nothing_else(exit: &RecExit) -> Outcome {
    check!(exit.gprs == [0; 31], "registers {:x?}", exit.gprs);
    let ripas = (exit.ripas_base, exit.ripas_top, exit.ripas_value);
    check!(ripas == (0, 0, 0), "RIPAS {ripas:x?}");
    check!(exit.imm == 0, "imm {:#x}", exit.imm);
    Ok(())
}

/// Lets a REC go on with a call that the Host had to help with, and requires x0 and outputs.
fn require_end(w: &mut World<'_>, rec: &Rec, registers: &[u64], wanted: &[u64]) -> Outcome {
    match w.resume(rec, &rmi::RecEnter::default())? {
        Step::Done(result) => {
            let found = without_kept(result.registers, registers, wanted.len() - 1);
            let (listed, _) = found.split_at(wanted.len());
            check!(listed == wanted, "{registers:x?} ends with {found:x?}");
            Ok(())
        }
        Step::Exit(exit) => Err(Stop::Failed(alloc::format!(
            "{registers:x?} ends in exit {}",
            exit.exit_reason
        ))),
    }
}

/// Reads a word of the Realm's memory as the Realm sees it.
fn load(w: &mut World<'_>, rec: &Rec, ipa: u64) -> Outcome<u64> {
    let result = w.act_done(rec, RealmAction::Load { ipa })?;
    check!(result.exception.is_none(), "load of {ipa:#x}: {result:x?}");
    Ok(result.registers[0])
}

/// Writes a word of the Realm's memory as the Realm does.
fn store(w: &mut World<'_>, rec: &Rec, ipa: u64, value: u64) -> Outcome {
    let result = w.act_done(rec, RealmAction::Store { ipa, value })?;
    check!(result.exception.is_none(), "store to {ipa:#x}: {result:x?}");
    Ok(())
}
