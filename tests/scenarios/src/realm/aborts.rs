// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Aborts by where the access went, and exceptions that the monitor has the Realm take.

use rmi::{Command as Rmi, CommandId, RecEnter};
use test_realm::instructions::{
    LDP_X0_X2, LDR_W0, LDR_X0, STP_X0_X2, STR_W0, STR_X0, SystemRegister, UDF,
};
use test_realm::protocol::{
    BEYOND_VIEW, Command, Fault, Outcome as Ended, SHARED_VIEW, USER_SHARED_VIEW, USER_VIEW,
};

use super::exits::require_only;
use super::payload::{FREE, Payload, Turn, fault, first, go, read, run, write, write_code};
use super::row;
use crate::check;
use crate::desc;
use crate::outcome::{Outcome, Reply};
use crate::port::GRANULE;
use crate::scenario::Scenario;
use crate::world::{World, level_argument};

/// What these scenarios prove.
pub(super) const SCENARIOS: &[Scenario] = &[
    row("realm_abort_unassigned", unassigned),
    row("realm_abort_destroyed", destroyed),
    row("realm_abort_shared_from_user", shared_from_user),
    row("realm_abort_shared_not_permitted", shared_not_permitted),
    row("realm_abort_external", external),
    row("realm_fault_beyond", beyond),
    row("realm_fault_empty", empty),
    row("realm_fault_as_the_hardware", as_the_hardware),
];

/// Exception classes at R-EL2, and the ones that the Realm takes from its own level.
const FETCH: u64 = 0x20;
const DATA: u64 = 0x24;
const FETCH_SAME: u64 = 0x21;
const DATA_SAME: u64 = 0x25;
/// Fault statuses: translation and permission fault at level 3, external abort, address size fault.
const TRANSLATION_3: u64 = 0x07;
const PERMISSION_3: u64 = 0x0F;
const EXTERNAL: u64 = 0x10;
const ADDRESS_SIZE: u64 = 0x00;
/// ISS: EA, WnR.
const EA: u64 = 1 << 9;
const WRITE: u64 = 1 << 6;
/// `ESR_EL1.IL`.
const IL: u64 = 1 << 25;

fn call(address: u64) -> Command {
    Command::Call {
        address,
        registers: first(0, 0),
    }
}

fn run_user(instruction: u32, x0: u64, x1: u64) -> Command {
    Command::RunUser {
        instruction,
        registers: first(x0, x1),
    }
}

/// Makes an access that has to end in an abort at a page that is the Host's to give: nothing shows but the
/// page, and the Host can neither emulate nor fail it.
fn abort_at(w: &mut World<'_>, payload: &Payload, ipa: u64, access: Command) -> Outcome {
    let class = match access {
        Command::Call { .. } => FETCH,
        _ => DATA,
    };
    let shown = class << 26 | TRANSLATION_3;
    let exit = payload.exit(w, access)?;
    require_only(&exit, shown, 0, ipa >> 8, [0; 2])?;
    let mut enter = RecEnter::default();
    enter.complete_mmio_write();
    let (reply, _) = w.enter_with(&payload.recs[0], &enter)?;
    w.check_reply(CommandId::RecEnter, reply, Reply::rec())?;
    enter.reset();
    enter.inject_sea();
    let (reply, exit) = w.enter_with(&payload.recs[0], &enter)?;
    w.check_reply(CommandId::RecEnter, reply, Reply::SUCCESS)?;
    require_only(&exit, shown, 0, ipa >> 8, [0; 2])
}

/// Accesses of every kind to the page `ipa`.
fn accesses(ipa: u64) -> [Command; 7] {
    [
        run(LDR_W0, 1, ipa + 4),
        run(STR_X0, 2, ipa + 8),
        run(STR_W0, 2, ipa + 0xFFC),
        run(LDP_X0_X2, 3, ipa + 16),
        run(STP_X0_X2, 4, ipa + 32),
        run_user(STR_X0, 5, USER_VIEW + ipa),
        call(ipa),
    ]
}

/// Memory that has not been given yet: whatever the access was, it is made again when the page is there.
fn unassigned(w: &mut World<'_>) -> Outcome {
    let payload = Payload::one(w)?;
    for page in 0..accesses(0).len() {
        let ipa = FREE + page as u64 * GRANULE;
        let access = accesses(ipa)[page];
        abort_at(w, &payload, ipa, access)?;
        w.data_unknown(&payload.realm, ipa)?;
        let report = payload.resume(w, &RecEnter::default())?;
        match access {
            Command::Call { .. } => {
                let fault = fault(&report)?;
                check!(fault.is_undefined() && fault.elr == ipa, "{fault:x?}");
            }
            _ => check!(report.outcome == Ended::Done, "{access:x?}: {report:x?}"),
        }
    }
    let [value, ..] = payload.done(w, run(LDR_X0, 0, FREE + GRANULE + 8))?;
    check!(value == 2, "the store left {value:#x}");
    Ok(())
}

/// Memory that the Host took away, whether or not it gives other memory in its place: the Realm has to
/// agree first.
fn destroyed(w: &mut World<'_>) -> Outcome {
    for access in [1, 4, 6].map(|n| accesses(FREE)[n]) {
        let payload = Payload::one(w)?;
        w.data_unknown(&payload.realm, FREE)?;
        payload.done(w, run(LDR_X0, 0, FREE))?;
        let (rd, ipa) = (payload.realm.rd, FREE);
        w.ok(Rmi::DataDestroy { rd, ipa })?;
        abort_at(w, &payload, FREE, access)?;
        w.data_unknown(&payload.realm, FREE)?;
        match payload.enter(w, 0, &RecEnter::default())? {
            Turn::Exit(exit) => {
                let class = if matches!(access, Command::Call { .. }) {
                    FETCH
                } else {
                    DATA
                };
                require_only(&exit, class << 26 | TRANSLATION_3, 0, FREE >> 8, [0; 2])?;
            }
            Turn::Report(report, _) => check!(false, "{access:x?}: {report:x?}"),
        }
    }
    Ok(())
}

/// EL0 of a Realm reaches devices as EL1 does.
fn shared_from_user(w: &mut World<'_>) -> Outcome {
    const DEVICE: u64 = 0x0900_0024;
    let payload = Payload::one(w)?;
    let hpfar = (payload.realm.unprotected() + DEVICE) >> 12 << 4;
    let view = USER_SHARED_VIEW + DEVICE;
    let exit = payload.exit(w, run_user(LDR_W0, 7, view))?;
    // ISV, four bytes.
    let load = DATA << 26 | 1 << 24 | 2 << 22 | 0b100 | exit.esr & 0b11;
    require_only(&exit, load, DEVICE & 0xFFF, hpfar, [0; 2])?;
    let mut enter = RecEnter::default();
    enter.complete_mmio_read(0xFFFF_FFFF_8765_4321);
    let report = payload.resume(w, &enter)?;
    check!(
        report.outcome == Ended::Done && report.registers[0] == 0x8765_4321,
        "{report:x?}"
    );
    let exit = payload.exit(w, run_user(STR_W0, 0x99, view))?;
    require_only(&exit, load | WRITE, DEVICE & 0xFFF, hpfar, [0x99, 0])?;
    enter.reset();
    enter.inject_sea();
    let fault = fault(&payload.resume(w, &enter)?)?;
    // From a lower level, to its vector, with what EL1 needs to tell the access.
    let esr = DATA << 26 | IL | EA | WRITE | EXTERNAL;
    check!(fault.esr == esr && fault.far == view, "{fault:x?}");
    check!(fault.vector == 8 && fault.spsr & 0x1F == 0, "{fault:x?}");
    Ok(())
}

/// What the Host maps for reading only, it emulates the writes to; and the other way round.
fn shared_not_permitted(w: &mut World<'_>) -> Outcome {
    const WRITE_ONLY: u64 = 0b10 << 6;
    let payload = Payload::one(w)?;
    let ipa = payload.realm.unprotected() + FREE;
    let (view, hpfar) = (SHARED_VIEW + FREE + 0x128, ipa >> 8);
    w.tables(&payload.realm, ipa, 3)?;
    let page = w.page(&[0x5Au8; 4096])?;
    let (rd, level) = (payload.realm.rd, level_argument(3));
    // ISV, eight bytes, a register of 64 bits.
    let described = DATA << 26 | 1 << 24 | 3 << 22 | 1 << 15 | PERMISSION_3;
    let desc = page | desc::WRITE_BACK | desc::READ_ONLY;
    w.ok(Rmi::RttMapUnprotected {
        rd,
        ipa,
        level,
        desc,
    })?;
    let [value, ..] = payload.done(w, run(LDR_X0, 0, view))?;
    check!(value == 0x5A5A_5A5A_5A5A_5A5A, "reads {value:#x}");
    let exit = payload.exit(w, run(STR_X0, 0x77, view))?;
    require_only(&exit, described | WRITE, 0x128, hpfar, [0x77, 0])?;
    let mut enter = RecEnter::default();
    enter.complete_mmio_write();
    let report = payload.resume(w, &enter)?;
    check!(report.outcome == Ended::Done, "{report:x?}");
    let [value, ..] = payload.done(w, run(LDR_X0, 0, view))?;
    check!(value == 0x5A5A_5A5A_5A5A_5A5A, "then reads {value:#x}");
    w.ok(Rmi::RttUnmapUnprotected { rd, ipa, level })?;
    let desc = page | desc::WRITE_BACK | WRITE_ONLY;
    w.ok(Rmi::RttMapUnprotected {
        rd,
        ipa,
        level,
        desc,
    })?;
    payload.done(w, run(STR_X0, 0x88, view))?;
    let exit = payload.exit(w, run(LDR_X0, 0, view))?;
    require_only(&exit, described, 0x128, hpfar, [0; 2])?;
    enter.reset();
    enter.complete_mmio_read(0x1234_5678_9ABC_DEF0);
    let report = payload.resume(w, &enter)?;
    check!(report.registers[0] == 0x1234_5678_9ABC_DEF0, "{report:x?}");
    Ok(())
}

/// Nothing answers behind what the Host mapped: the Realm takes the abort, and the Host hears of it, but
/// not where it was.
fn external(w: &mut World<'_>) -> Outcome {
    let payload = Payload::one(w)?;
    let ipa = payload.realm.unprotected() + FREE;
    w.tables(&payload.realm, ipa, 3)?;
    let hole = w.port.beyond_memory();
    w.map(&payload.realm, ipa, 3, hole)?;
    let view = SHARED_VIEW + FREE + 0x40;
    for (instruction, write) in [(LDR_X0, 0), (STR_X0, WRITE)] {
        let exit = match payload.begin(w, run(instruction, 7, view))? {
            Turn::Exit(exit) => exit,
            // QEMU 10.0 does not route it to R-EL2 (HCR_EL2.TEA).
            Turn::Report(report, _) => {
                let fault = fault(&report)?;
                let is_right = fault.class() == DATA_SAME && fault.status() == EXTERNAL;
                check!(is_right && fault.far == view, "{fault:x?}");
                continue;
            }
        };
        let kept = DATA << 26 | 0b11 << 11 | 1 << 10 | EA | 0x3F;
        check!(exit.esr & !kept == 0, "esr {:#x}", exit.esr);
        let severity = exit.esr & (0b11 << 11 | 1 << 10 | EA);
        require_only(&exit, DATA << 26 | severity | EXTERNAL, 0, 0, [0; 2])?;
        let mut enter = RecEnter::default();
        enter.complete_mmio_write();
        let (reply, _) = w.enter_with(&payload.recs[0], &enter)?;
        w.check_reply(CommandId::RecEnter, reply, Reply::rec())?;
        let fault = fault(&payload.resume(w, &RecEnter::default())?)?;
        let is_right = fault.class() == DATA_SAME && fault.status() == EXTERNAL;
        check!(is_right && fault.far == view, "{fault:x?}");
        check!(fault.esr & (EA | WRITE) == EA | write, "{fault:x?}");
    }
    Ok(())
}

/// Beyond its address space a Realm finds nobody, not even its Host.
fn beyond(w: &mut World<'_>) -> Outcome {
    let payload = Payload::one(w)?;
    for offset in [0x1_0000_0000, 0x40_0000_0008] {
        let at = BEYOND_VIEW + offset;
        for (access, class, write) in [
            (run(LDR_X0, 0, at), DATA_SAME, 0),
            (run(STR_X0, 0, at), DATA_SAME, WRITE),
            (run(LDP_X0_X2, 0, at), DATA_SAME, 0),
            (call(at), FETCH_SAME, 0),
        ] {
            let fault = fault(&payload.tell(w, access)?)?;
            // The payload has blocks of 1 GiB: its own walk ends at level 1.
            let esr = class << 26 | IL | write | ADDRESS_SIZE | 1;
            check!(fault.esr == esr && fault.far == at, "{fault:x?}");
            check!(fault.vector == 4, "{fault:x?}");
        }
    }
    Ok(())
}

/// What is no memory of the Realm answers with an abort of the Realm's own, by any access.
fn empty(w: &mut World<'_>) -> Outcome {
    let payload = Payload::one(w)?;
    let at = FREE + 0x1000_0010;
    for (access, class, write) in [
        (run(LDR_W0, 0, at), DATA_SAME, 0),
        (run(STR_X0, 0, at), DATA_SAME, WRITE),
        (run(LDP_X0_X2, 0, at), DATA_SAME, 0),
        (run(STP_X0_X2, 0, at), DATA_SAME, WRITE),
        (call(at), FETCH_SAME, 0),
        (run_user(LDR_X0, 0, USER_VIEW + at), DATA, 0),
        (run_user(STR_X0, 0, USER_VIEW + at), DATA, WRITE),
    ] {
        let fault = fault(&payload.tell(w, access)?)?;
        check!(
            fault.esr == class << 26 | IL | EA | write | EXTERNAL,
            "{access:x?}: {fault:x?}"
        );
        let (view, vector) = match access {
            Command::RunUser { .. } => (USER_VIEW + at, 8),
            _ => (at, 4),
        };
        check!((fault.far, fault.vector) == (view, vector), "{fault:x?}");
    }
    Ok(())
}

/// Bits of PSTATE.
const NZCV: u64 = 0b1010 << 28;
const DIT: u64 = 1 << 24;
const KEPT: u64 = 0xF << 28 | DIT;
const UAO: u64 = 1 << 23;
const PAN: u64 = 1 << 22;
const SSBS: u64 = 1 << 12;
const BTYPE: u64 = 0b10 << 10;
const DAIF: u64 = 0xF << 6;
/// Levels and stack pointers.
const EL0: u64 = 0;
const EL1T: u64 = 0b0100;
const EL1H: u64 = 0b0101;
/// `SCTLR_EL1.SPAN` and `DSSBS`.
const SPAN: u64 = 1 << 23;
const DSSBS: u64 = 1 << 44;
/// `SCTLR_EL1.SPINTMASK`.
const SPINTMASK: u64 = 1 << 62;

/// An exception that the monitor has the Realm take begins as one of the hardware: at the vector of where
/// it comes from, in the same state, with the old state kept.
fn as_the_hardware(w: &mut World<'_>) -> Outcome {
    /// No virtual address: a fault of the Realm's own translation.
    const NOWHERE: u64 = 9 << 39;
    const SCTLR: SystemRegister = SystemRegister::new(3, 0, 1, 0, 0);
    // A register of the implementation, which is undefined for a Realm, and an instruction that is for all.
    let trapped = SystemRegister::new(3, 0, 15, 0, 0).read_x0();
    let payload = Payload::one(w)?;
    // x0 and x1 are the target and PSTATE.
    let code = write_code(w, &payload, &[UDF, trapped, LOAD_X2, LOAD_X3])?;
    let sctlr = read(w, &payload, SCTLR)?;
    for controls in [0, SPAN, DSSBS, SPAN | DSSBS | SPINTMASK] {
        write(
            w,
            &payload,
            SCTLR,
            sctlr & !(SPAN | DSSBS | SPINTMASK) | controls,
        )?;
        for flags in [
            0,
            DAIF,
            NZCV | DIT,
            UAO | DAIF,
            PAN | DAIF,
            SSBS | BTYPE | DAIF,
        ] {
            for level in [EL0, EL1T, EL1H] {
                let view = if level == EL0 { USER_VIEW } else { 0 };
                let taken = |w: &mut World<'_>, index: u64| -> Outcome<Fault> {
                    let mut command = go(view + code + 4 * index, flags | level);
                    if let Command::Call { registers, .. } = &mut command {
                        registers[2..4].copy_from_slice(&[NOWHERE, view + FREE + 0x1000_0000]);
                    }
                    fault(&payload.tell(w, command)?)
                };
                // What EL1 alone could access is undefined at EL0 without a trap.
                let pairs = [[2, 3], [0, 1]].into_iter();
                for [own, injected] in pairs.take(if level == EL0 { 1 } else { 2 }) {
                    let (own, injected) = (taken(w, own)?, taken(w, injected)?);
                    // QEMU 10.0 clears what the architecture keeps.
                    let kept = injected.pstate & KEPT;
                    check!(kept == flags & KEPT, "{injected:x?} after {flags:#x}");
                    let state = |fault: &Fault| (fault.vector, fault.pstate & !KEPT, fault.spsr);
                    check!(
                        state(&own) == state(&injected) && own.class() == injected.class(),
                        "{:#x}, SCTLR_EL1 {controls:#x}: {injected:x?}, not as {own:x?}",
                        flags | level
                    );
                }
            }
        }
    }
    write(w, &payload, SCTLR, sctlr)
}

/// `ldr x0, [x2]` and `ldr x0, [x3]`.
const LOAD_X2: u32 = 0xF940_0040;
const LOAD_X3: u32 = 0xF940_0060;
