// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Self-hosted debug: breakpoints, watchpoints and software step inside a Realm.

use test_realm::instructions::{ADR_X0, DAIFCLR_D, LDR_X0, NOP, SMC, STR_X0, SystemRegister};
use test_realm::protocol::{Command, Fault, Outcome as Ended, USER_VIEW};

use super::payload::{FREE, Payload, fault, first, go, read, run, write, write_code};
use super::row;
use super::sweep::check_host;
use crate::check;
use crate::outcome::Outcome;
use crate::scenario::Scenario;
use crate::world::{RealmPlan, World};

/// What these scenarios prove.
pub(super) const SCENARIOS: &[Scenario] = &[
    row("realm_debug_breakpoint", breakpoint),
    row("realm_debug_breakpoint_at_el1", breakpoint_at_el1),
    row("realm_debug_watchpoint", watchpoint),
    row("realm_debug_linked_watchpoint", linked_watchpoint),
    row("realm_debug_step", step),
    row("realm_debug_step_over_the_monitor", step_over_the_monitor),
    row("realm_debug_numbers", numbers),
    row("realm_debug_two_realms", two_realms),
    row("realm_debug_host_kept", host_kept),
];

const MDSCR: SystemRegister = SystemRegister::new(2, 0, 0, 2, 2);
const CONTEXTIDR: SystemRegister = SystemRegister::new(3, 0, 13, 0, 1);
const DFR0: SystemRegister = SystemRegister::new(3, 0, 0, 5, 0);

const fn bvr(n: u32) -> SystemRegister {
    SystemRegister::new(2, 0, 0, n, 4)
}

const fn bcr(n: u32) -> SystemRegister {
    SystemRegister::new(2, 0, 0, n, 5)
}

const fn wvr(n: u32) -> SystemRegister {
    SystemRegister::new(2, 0, 0, n, 6)
}

const fn wcr(n: u32) -> SystemRegister {
    SystemRegister::new(2, 0, 0, n, 7)
}

/// `MDSCR_EL1`: SS, KDE, MDE.
const SS: u64 = 1;
const KDE: u64 = 1 << 13;
const MDE: u64 = 1 << 15;
/// `DBGBCR<n>_EL1`: a whole instruction at EL0, or at EL1.
const BREAK_USER: u64 = 0xF << 5 | 0b10 << 1 | 1;
const BREAK_KERNEL: u64 = 0xF << 5 | 0b01 << 1 | 1;
/// `DBGBCR<n>_EL1`: a linked comparison with `CONTEXTIDR_EL1`.
const BREAK_CONTEXT: u64 = 0b0011 << 20 | 0xF << 5 | 0b11 << 1 | 1;
/// `DBGWCR<n>_EL1`: stores of any of eight bytes at EL0.
const WATCH_USER_STORES: u64 = 0xFF << 5 | 0b10 << 3 | 0b10 << 1 | 1;
/// `DBGWCR<n>_EL1.WT`, and where LBN is.
const LINKED: u64 = 1 << 20;
const LINK_SHIFT: u32 = 16;
/// `SPSR_EL1`: EL0 or EL1, interrupts masked, debug not, software step.
const USER_STEP: u64 = 1 << 21 | 0x3C0;
const KERNEL_STEP: u64 = 1 << 21 | 0x1C0 | 0b0101;

/// Exception classes from a lower level; that from the same level is one more.
const BREAKPOINT: u64 = 0x30;
const STEP: u64 = 0x32;
const WATCHPOINT: u64 = 0x34;

/// Host entries between arming and hitting.
const ENTRIES: usize = 3;

fn run_user(instruction: u32, x0: u64, x1: u64) -> Command {
    Command::RunUser {
        instruction,
        registers: first(x0, x1),
    }
}

fn idle(w: &mut World<'_>, payload: &Payload) -> Outcome {
    (0..ENTRIES).try_for_each(|_| payload.done(w, Command::Nothing).map(|_| ()))
}

fn faults(w: &mut World<'_>, payload: &Payload, command: Command) -> Outcome<Fault> {
    fault(&payload.tell(w, command)?)
}

/// A breakpoint at EL0 hits, across exits, until it is turned off.
fn breakpoint(w: &mut World<'_>) -> Outcome {
    let payload = Payload::one(w)?;
    let [slot, ..] = payload.done(w, run_user(ADR_X0, 0, 0))?;
    write(w, &payload, bvr(1), slot)?;
    write(w, &payload, bcr(1), BREAK_USER)?;
    payload.done(w, run_user(NOP, 0, 0))?;
    write(w, &payload, MDSCR, MDE)?;
    for _ in 0..2 {
        idle(w, &payload)?;
        let fault = faults(w, &payload, run_user(NOP, 0, 0))?;
        check!(
            fault.class() == BREAKPOINT && fault.elr == slot,
            "{fault:x?}, not at {slot:#x}"
        );
    }
    write(w, &payload, bcr(1), 0)?;
    payload.done(w, run_user(NOP, 0, 0)).map(|_| ())
}

/// A breakpoint at EL1 hits.
fn breakpoint_at_el1(w: &mut World<'_>) -> Outcome {
    let payload = Payload::one(w)?;
    let [slot, ..] = payload.done(w, run(ADR_X0, 0, 0))?;
    payload.done(w, run(DAIFCLR_D, 0, 0))?;
    write(w, &payload, bvr(0), slot)?;
    write(w, &payload, bcr(0), BREAK_KERNEL)?;
    write(w, &payload, MDSCR, KDE | MDE)?;
    let fault = faults(w, &payload, run(NOP, 0, 0))?;
    check!(
        fault.class() == BREAKPOINT + 1 && fault.elr == slot,
        "{fault:x?}, not at {slot:#x}"
    );
    Ok(())
}

/// A watchpoint hits a store and no load, across exits.
fn watchpoint(w: &mut World<'_>) -> Outcome {
    let payload = Payload::one(w)?;
    w.data_unknown(&payload.realm, FREE)?;
    let watched = USER_VIEW + FREE + 8;
    write(w, &payload, wvr(1), watched)?;
    write(w, &payload, wcr(1), WATCH_USER_STORES)?;
    write(w, &payload, MDSCR, MDE)?;
    idle(w, &payload)?;
    let fault = faults(w, &payload, run_user(STR_X0, 0, watched))?;
    check!(
        fault.class() == WATCHPOINT && fault.far == watched,
        "{fault:x?}, not at {watched:#x}"
    );
    payload.done(w, run_user(LDR_X0, 0, watched))?;
    payload.done(w, run_user(STR_X0, 0, watched + 8))?;
    Ok(())
}

/// The last breakpoint compares contexts, however many the Realm has: a watchpoint that is linked to it
/// hits in one context only.
fn linked_watchpoint(w: &mut World<'_>) -> Outcome {
    let most = w.features()?.num_bps();
    for breakpoints in [1, most] {
        let plan = RealmPlan {
            breakpoints,
            ..RealmPlan::default()
        };
        let payload = Payload::new(w, &plan, 1)?;
        w.data_unknown(&payload.realm, FREE)?;
        let (watched, last) = (USER_VIEW + FREE, u32::from(breakpoints));
        write(w, &payload, bvr(last), 77)?;
        write(w, &payload, bcr(last), BREAK_CONTEXT)?;
        write(w, &payload, wvr(0), watched)?;
        let link = LINKED | u64::from(last) << LINK_SHIFT;
        write(w, &payload, wcr(0), WATCH_USER_STORES | link)?;
        write(w, &payload, MDSCR, MDE)?;
        write(w, &payload, CONTEXTIDR, 76)?;
        payload.done(w, run_user(STR_X0, 0, watched))?;
        write(w, &payload, CONTEXTIDR, 77)?;
        let fault = faults(w, &payload, run_user(STR_X0, 0, watched))?;
        check!(fault.class() == WATCHPOINT, "{breakpoints}: {fault:x?}");
    }
    Ok(())
}

/// One instruction at EL0 at a time.
fn step(w: &mut World<'_>) -> Outcome {
    let payload = Payload::one(w)?;
    let target = USER_VIEW + write_code(w, &payload, &[NOP, NOP, NOP])?;
    write(w, &payload, MDSCR, SS)?;
    for at in [target, target + 4] {
        idle(w, &payload)?;
        let fault = faults(w, &payload, go(at, USER_STEP))?;
        check!(
            fault.class() == STEP && fault.elr == at + 4,
            "{fault:x?} after {at:#x}"
        );
    }
    Ok(())
}

/// An instruction that the monitor executes for the Realm is one step.
fn step_over_the_monitor(w: &mut World<'_>) -> Outcome {
    let payload = Payload::one(w)?;
    let target = write_code(w, &payload, &[DFR0.read_x0(), SMC, NOP])?;
    write(w, &payload, MDSCR, SS | KDE)?;
    for at in [target, target + 4] {
        let fault = faults(w, &payload, go(at, KERNEL_STEP))?;
        check!(
            fault.class() == STEP + 1 && fault.elr == at + 4,
            "{fault:x?} after {at:#x}"
        );
    }
    Ok(())
}

/// There are as many breakpoints and watchpoints as the Realm was made with, and it is told so.
fn numbers(w: &mut World<'_>) -> Outcome {
    let features = w.features()?;
    for (breakpoints, watchpoints) in [(1, 1), (features.num_bps(), features.num_wps())] {
        let plan = RealmPlan {
            breakpoints,
            watchpoints,
            ..RealmPlan::default()
        };
        let payload = Payload::new(w, &plan, 1)?;
        let dfr0 = read(w, &payload, DFR0)?;
        let told = [dfr0 >> 12 & 0xF, dfr0 >> 20 & 0xF].map(|field| field as u8);
        check!(told == [breakpoints, watchpoints], "{dfr0:#x}");
        for n in 0..16 {
            for (register, last) in [
                (bvr(n), breakpoints),
                (bcr(n), breakpoints),
                (wvr(n), watchpoints),
                (wcr(n), watchpoints),
            ] {
                let report = payload.tell(w, run(register.write_x0(), 0, 0))?;
                let is_there = report.outcome == Ended::Done;
                check!(
                    is_there == (n <= u32::from(last)),
                    "{:?}: {report:x?}",
                    register.parts()
                );
            }
        }
    }
    Ok(())
}

/// A Realm's watchpoint does not hit in another one.
fn two_realms(w: &mut World<'_>) -> Outcome {
    let watched = USER_VIEW + FREE;
    let mut payloads = alloc::vec::Vec::new();
    for _ in 0..2 {
        let payload = Payload::one(w)?;
        w.data_unknown(&payload.realm, FREE)?;
        write(w, &payload, MDSCR, MDE)?;
        payloads.push(payload);
    }
    write(w, &payloads[0], wvr(0), watched)?;
    write(w, &payloads[0], wcr(0), WATCH_USER_STORES)?;
    for _ in 0..2 {
        payloads[1].done(w, run_user(STR_X0, 0, watched))?;
        let control = read(w, &payloads[1], wcr(0))?;
        check!(control == 0, "the other Realm's control {control:#x}");
        let fault = faults(w, &payloads[0], run_user(STR_X0, 0, watched))?;
        check!(fault.class() == WATCHPOINT, "{fault:x?}");
    }
    Ok(())
}

/// Host and Realm have different watchpoints, and neither meets the other's.
fn host_kept(w: &mut World<'_>) -> Outcome {
    w.need(crate::Capabilities::REGISTERS, "registers of its own")?;
    let payload = Payload::one(w)?;
    w.data_unknown(&payload.realm, FREE)?;
    payload.done(w, run(DAIFCLR_D, 0, 0))?;
    w.port.fill_registers(3);
    // The Host watches all of the payload's memory: the first load would hit.
    write(w, &payload, MDSCR, KDE | MDE)?;
    payload.done(w, run_user(LDR_X0, 0, USER_VIEW + FREE))?;
    write(w, &payload, wvr(0), USER_VIEW + FREE)?;
    write(w, &payload, wcr(0), WATCH_USER_STORES)?;
    let fault = faults(w, &payload, run_user(STR_X0, 0, USER_VIEW + FREE))?;
    check!(fault.class() == WATCHPOINT, "{fault:x?}");
    check_host(w)
}
