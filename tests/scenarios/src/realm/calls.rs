// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Instructions that leave the Realm on purpose: calls, waits, and writes that the Host acts on. What they
//! show, which registers they change, and which forms of them there are.

use rmi::psci;
use rmi::{EnterFlags, ExitReason, RecEnter, RecExit, RsiCommand, SMCCC_NOT_SUPPORTED};
use test_realm::instructions::{HVC, SMC, SystemRegister, WFE, WFI, WFIT_X0};
use test_realm::protocol::{BASE, Command, Outcome as Ended, REGISTERS, pattern};

use super::exits::require_only;
use super::payload::{
    FREE, MOST_ENTRIES, Payload, Turn, fault, first, giving, read, run, unexpected,
};
use super::row;
use crate::check;
use crate::outcome::{Outcome, Stop};
use crate::port::GRANULE;
use crate::scenario::Scenario;
use crate::world::{RealmPlan, World};

/// What these scenarios prove.
pub(super) const SCENARIOS: &[Scenario] = &[
    row("realm_call_registers", registers),
    row("realm_call_immediates", immediates),
    row("realm_call_from_user", from_user),
    row("realm_exit_gic_writes", gic_writes),
    row("realm_exit_wait_not_trapped", wait_not_trapped),
    row("realm_exit_wait_with_timeout", wait_with_timeout),
];

/// Exception classes.
const WFX: u64 = 0x01;
const SYSREG: u64 = 0x18;
/// A value of the Host that no Realm may find in its registers.
const FOREIGN: u64 = 0xEEEE_EEEE_EEEE_EEEE;
/// The first register that SMCCC 1.2 preserves, and the last that a call may change.
const FIRST_PRESERVED: usize = 4;
const LAST_CHANGED: usize = 16;

/// A call, how many outputs it has, and whether the Host has a part in it.
struct Call {
    first: [u64; 4],
    outputs: usize,
    leaves: Option<ExitReason>,
}

const fn call(first: [u64; 4], outputs: usize) -> Call {
    Call {
        first,
        outputs,
        leaves: None,
    }
}

const fn leaving(first: [u64; 4], outputs: usize, reason: ExitReason) -> Call {
    Call {
        first,
        outputs,
        leaves: Some(reason),
    }
}

/// Calls of every kind.
fn calls() -> [Call; 13] {
    use ExitReason::{HostCall, Psci, RipasChange};
    let rsi = |command: RsiCommand, x1, x2, x3| [command.fid(), x1, x2, x3];
    [
        call([0xC400_0150, 1, 2, 3], 0),
        call([0x8600_FF01, 1, 2, 3], 0),
        call(rsi(RsiCommand::Version, 0x1_0000, 2, 3), 2),
        call(rsi(RsiCommand::Features, 7, 2, 3), 1),
        call(rsi(RsiCommand::MeasurementRead, 4, 2, 3), 8),
        call(rsi(RsiCommand::MeasurementRead, 5, 2, 3), 0),
        call(rsi(RsiCommand::IpaStateGet, BASE, BASE + GRANULE, 3), 2),
        call([psci::FID_VERSION, 1, 2, 3], 0),
        call([psci::FID_CPU_ON_64, 0, BASE, 3], 0),
        leaving([psci::FID_CPU_SUSPEND_64, 1, 2, 3], 0, Psci),
        leaving([psci::FID_AFFINITY_INFO_64, 1, 0, 3], 0, Psci),
        leaving(
            rsi(RsiCommand::IpaStateSet, FREE, FREE + GRANULE, 1),
            2,
            RipasChange,
        ),
        leaving(rsi(RsiCommand::HostCall, FREE, 2, 3), 0, HostCall),
    ]
}

/// A call changes its outputs; the others up to x16 become zero or stay, and behind these nothing changes.
/// Nothing of the Host comes through.
fn registers(w: &mut World<'_>) -> Outcome {
    let payload = Payload::new(w, &RealmPlan::default(), 2)?;
    w.data_unknown(&payload.realm, FREE)?;
    for (seed, call) in (0..).zip(&calls()) {
        let mut before: [u64; REGISTERS] = core::array::from_fn(|n| pattern(seed, n as u64));
        before[..4].copy_from_slice(&call.first);
        let command = Command::Run {
            instruction: SMC,
            registers: before,
        };
        let after = make(w, &payload, call, command)?;
        let own = FIRST_PRESERVED.max(call.outputs + 1);
        for n in call.outputs + 1..REGISTERS {
            let is_kept = after[n] == before[n] && n >= own;
            let is_zero = after[n] == 0 && n <= LAST_CHANGED;
            check!(
                is_kept || is_zero,
                "{:x?}: x{n} is {:#x}",
                call.first,
                after[n]
            );
        }
        check!(!after.contains(&FOREIGN), "{:x?}: {after:x?}", call.first);
    }
    // x17 to x29 too, of calls that need only three registers.
    for (seed, call) in (100..).zip(&calls()) {
        if call.leaves == Some(ExitReason::RipasChange) {
            continue;
        }
        let [x0, x1, x2, _] = call.first;
        let command = Command::RunAll {
            instruction: SMC,
            seed,
            first: [x0, x1, x2],
        };
        let [_, _, _, changed, ..] = make(w, &payload, call, command)?;
        let mask = changed >> (LAST_CHANGED + 1);
        check!(mask == 0, "{:x?} changes {changed:#x}", call.first);
    }
    Ok(())
}

/// Makes a call with the Host's part in it, and returns the registers that the payload reports.
fn make(
    w: &mut World<'_>,
    payload: &Payload,
    call: &Call,
    command: Command,
) -> Outcome<[u64; REGISTERS]> {
    let Some(reason) = call.leaves else {
        return payload.done(w, command);
    };
    let exit = payload.exit(w, command)?;
    check!(
        exit.reason() == Some(reason),
        "{:x?} ends in exit {}",
        call.first,
        exit.exit_reason
    );
    if call.first[0] == psci::FID_AFFINITY_INFO_64 {
        w.ok(rmi::Command::PsciComplete {
            calling_rec: payload.recs[0].rec,
            target_rec: payload.recs[1].rec,
            status: 0,
        })?;
    }
    let mut enter = RecEnter::default();
    enter.gprs = [FOREIGN; 31];
    let report = payload.resume(w, &enter)?;
    check!(report.outcome == Ended::Done, "{report:x?}");
    Ok(report.registers)
}

/// The immediate of an SMC does not matter, and HVC has none that is a call.
fn immediates(w: &mut World<'_>) -> Outcome {
    let payload = Payload::one(w)?;
    for immediate in [1, 0xB411, 0xFFFF] {
        let version = [RsiCommand::Version.fid(), 0x1_0000];
        let result = payload.done(w, run(SMC | immediate << 5, version[0], version[1]))?;
        check!(result[..3] == [0, 0x1_0000, 0x1_0000], "{result:x?}");
        let result = payload.done(w, run(SMC | immediate << 5, 0xC400_0150, 1))?;
        check!(result[0] == SMCCC_NOT_SUPPORTED, "{result:x?}");
        let command = run(HVC | immediate << 5, version[0], version[1]);
        let fault = fault(&payload.tell(w, command)?)?;
        check!(fault.is_undefined(), "{fault:x?}");
    }
    Ok(())
}

/// EL0 of a Realm can call nobody.
fn from_user(w: &mut World<'_>) -> Outcome {
    let payload = Payload::one(w)?;
    for instruction in [SMC, HVC] {
        let registers = first(RsiCommand::Version.fid(), 0x1_0000);
        let command = Command::RunUser {
            instruction,
            registers,
        };
        let fault = fault(&payload.tell(w, command)?)?;
        check!(fault.is_undefined() && fault.vector == 8, "{fault:x?}");
    }
    Ok(())
}

/// A write that sends an interrupt comes to the Host with its value; the register that it came from stays
/// the Realm's business, and what cannot be read is undefined.
fn gic_writes(w: &mut World<'_>) -> Outcome {
    const RT: u32 = 7;
    let payload = Payload::one(w)?;
    // SGI1R, ASGI1R, SGI0R.
    for op2 in [5, 6, 7] {
        let register = SystemRegister::new(3, 0, 12, 11, op2);
        let value = 0x0300_0000 + u64::from(op2);
        let mut registers = first(1, 2);
        registers[RT as usize] = value;
        let exit = payload.exit(
            w,
            Command::Run {
                instruction: register.write_x0() | RT,
                registers,
            },
        )?;
        let iss = 3 << 20 | u64::from(op2) << 17 | 12 << 10 | 11 << 1;
        require_only(&exit, SYSREG << 26 | 1 << 25 | iss, 0, 0, [value, 0])?;
        let mut enter = RecEnter::default();
        enter.gprs = [FOREIGN; 31];
        let report = payload.resume(w, &enter)?;
        check!(
            report.outcome == Ended::Done && report.registers == registers,
            "{report:x?}"
        );
        let fault = fault(&payload.tell(w, run(register.read_x0(), 0, 0))?)?;
        check!(fault.is_undefined(), "op2 {op2}: {fault:x?}");
    }
    Ok(())
}

/// Lets the Realm wait, and interrupts of the Host come meanwhile, until it has reported; returns its
/// exit, one that is no interrupt if there was one.
fn wait(
    w: &mut World<'_>,
    payload: &Payload,
    command: Command,
    flags: EnterFlags,
) -> Outcome<Option<RecExit>> {
    const SOON: u64 = 1_000_000;
    let mut enter = giving(command);
    let mut seen = None;
    // An interrupt that comes before the Realm waits wakes nobody: another one follows.
    for _ in 0..MOST_ENTRIES {
        enter.set_enter_flags(flags);
        w.port.set_alarm(SOON);
        let exit = match payload.enter(w, 0, &enter)? {
            Turn::Report(report, _) => {
                check!(report.outcome == Ended::Done, "{report:x?}");
                return Ok(seen);
            }
            Turn::Exit(exit) => exit,
        };
        if is_no_interrupt(&exit) && seen.as_ref().is_some_and(is_no_interrupt) {
            return Err(unexpected("a wait that was over", &exit));
        }
        seen = seen.filter(is_no_interrupt).or(Some(*exit));
        enter = RecEnter::default();
    }
    check!(false, "the Realm goes on waiting");
    Ok(None)
}

fn is_no_interrupt(exit: &RecExit) -> bool {
    exit.reason() != Some(ExitReason::Irq)
}

/// A wait that the Host does not want to hear of ends with an interrupt.
fn wait_not_trapped(w: &mut World<'_>) -> Outcome {
    let payload = Payload::one(w)?;
    for (instruction, flags) in [
        (WFI, EnterFlags::empty()),
        (WFI, EnterFlags::TRAP_WFE),
        (WFE, EnterFlags::empty()),
        (WFE, EnterFlags::TRAP_WFI),
    ] {
        let exit = wait(w, &payload, run(instruction, 0, 0), flags)?;
        if let Some(exit) = exit.filter(is_no_interrupt) {
            return Err(unexpected("a wait", &exit));
        }
    }
    Ok(())
}

/// A wait with a timeout is told from one without, and the Host hears of the timeout.
fn wait_with_timeout(w: &mut World<'_>) -> Outcome {
    const ISAR2: SystemRegister = SystemRegister::new(3, 0, 0, 6, 2);
    let payload = Payload::one(w)?;
    if read(w, &payload, ISAR2)? & 0xF == 0 {
        return Err(Stop::Skipped("no waits with a timeout".into()));
    }
    let never = u64::MAX >> 1;
    let exit = wait(w, &payload, run(WFIT_X0, never, 0), EnterFlags::TRAP_WFI)?;
    let Some(exit) = exit.filter(is_no_interrupt) else {
        return Err(Stop::Skipped("the machine did not have to wait".into()));
    };
    // QEMU 10.0 shows neither the timeout (ISS.RV is clear) nor that there is one (ISS.TI).
    let timeout = exit.gprs[0];
    check!(timeout == never || timeout == 0, "timeout {timeout:#x}");
    let indicator = if timeout == 0 { exit.esr & 0b10 } else { 0b10 };
    require_only(&exit, WFX << 26 | indicator, 0, 0, [timeout, 0])
}
