// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! `RSI_HOST_CALL`, and its end at the next entry.

use rmi::{Command, EnterFlags, ExitReason, RecEnter, RecExit, RsiCommand};

use super::{
    ASSIGNED, DESTROYED, EMPTY, INPUT, MISSING, SUCCESS, UNASSIGNED, exit, load, refused,
    require_end, require_missing, require_nothing_else, stage, store,
};
use crate::check;
use crate::outcome::{Outcome, Reply, Stop};
use crate::port::GRANULE;
use crate::realm::row;
use crate::scenario::Scenario;
use crate::world::{Realm, Rec, Runnable, Step, World};

/// What these scenarios prove.
pub(super) const SCENARIOS: &[Scenario] = &[
    row("rsi_host_call_addr", addr),
    row("rsi_host_call_success", success),
    row("rsi_host_call_at_the_end_of_a_page", at_the_end_of_a_page),
    row("rsi_host_call_missing", missing),
    row("rsi_host_call_destroyed", destroyed),
    row("rsi_host_call_stays_pending", stays_pending),
    row("rsi_host_call_not_an_abort", not_an_abort),
    row("rsi_host_call_empty_at_its_end", empty_at_its_end),
];

const CALL: u64 = RsiCommand::HostCall.fid();
/// Where the structure is, and an immediate that is not the program's.
const AT: u64 = ASSIGNED + 0x300;
const IMM: u64 = 0xFEED;

/// The structure has to be aligned, in the Realm's own half and in its memory.
fn addr(w: &mut World<'_>) -> Outcome {
    let (realm, rec) = stage(w)?;
    let half = realm.unprotected();
    for addr in [
        AT + 8,
        AT + 0x80,
        half,
        half + AT,
        realm.end() + AT,
        !0xFF,
        EMPTY,
    ] {
        refused(w, &rec, &[CALL, addr])?;
    }
    Ok(())
}

/// Fills a structure and makes the call.
fn begin(w: &mut World<'_>, rec: &Rec, at: u64) -> Outcome<alloc::boxed::Box<RecExit>> {
    // The upper bytes of the first word should be zero, and do not matter.
    store(w, rec, at, 0xAAAA_0000_0000_0000 | IMM)?;
    for n in 0..31 {
        store(w, rec, at + 8 + 8 * n, 0xC0DE_0000 + n)?;
    }
    let exit = exit(w, rec, &[CALL, at, 2, 3])?;
    check!(
        exit.reason() == Some(ExitReason::HostCall),
        "exit {}",
        exit.exit_reason
    );
    check!(u64::from(exit.imm) == IMM, "imm {:#x}", exit.imm);
    let is_shown = (0u64..)
        .zip(exit.gprs)
        .all(|(n, gpr)| gpr == 0xC0DE_0000 + n);
    check!(is_shown, "registers {:x?}", exit.gprs);
    let others = (exit.esr, exit.far, exit.hpfar, exit.ripas_top);
    check!(others == (0, 0, 0, 0), "{others:x?}");
    Ok(exit)
}

fn answer() -> RecEnter {
    let mut enter = RecEnter::default();
    for (n, gpr) in (0..).zip(&mut enter.gprs) {
        *gpr = 0xAB00 + n;
    }
    enter
}

/// All 31 values go to the Host and come back; the immediate and the bytes around stay.
fn success(w: &mut World<'_>) -> Outcome {
    let (_, rec) = stage(w)?;
    store(w, &rec, AT - 8, 0x11)?;
    store(w, &rec, AT + 0x100, 0x22)?;
    begin(w, &rec, AT)?;
    end(w, &rec, SUCCESS)?;
    for (at, wanted) in [
        (AT - 8, 0x11),
        (AT, 0xAAAA_0000_0000_0000 | IMM),
        (AT + 8, 0xAB00),
        (AT + 0x80, 0xAB0F),
        (AT + 0xF8, 0xAB1E),
        (AT + 0x100, 0x22),
    ] {
        let found = load(w, &rec, at)?;
        check!(found == wanted, "{at:#x} holds {found:#x}");
    }
    Ok(())
}

/// A structure never reaches into the next page, which is not there.
fn at_the_end_of_a_page(w: &mut World<'_>) -> Outcome {
    const LAST: u64 = ASSIGNED + 0xF00;
    let (_, rec) = stage(w)?;
    begin(w, &rec, LAST)?;
    end(w, &rec, SUCCESS)?;
    for (at, wanted) in [(LAST + 8, 0xAB00), (LAST + 0xF8, 0xAB1E)] {
        let found = load(w, &rec, at)?;
        check!(found == wanted, "{at:#x} holds {found:#x}");
    }
    Ok(())
}

/// Answers the call and requires that the Realm goes on with this status.
///
/// The rules for x1 and up differ: what a command does not list is zero (B1.2), and what is saved at an
/// exit that is none of PSCI is there again at the entry (A4.2.2). Either will do.
fn end(w: &mut World<'_>, rec: &Rec, status: u64) -> Outcome {
    match w.resume(rec, &answer())? {
        Step::Done(result) => {
            let [x0, x1, x2, x3, ..] = result.registers;
            check!(x0 == status, "{result:x?}");
            let is_right = [[0; 3], [AT, 2, 3]].contains(&[x1, x2, x3]);
            check!(is_right, "{result:x?}");
            Ok(())
        }
        Step::Exit(exit) => Err(Stop::Failed(alloc::format!("exit {}", exit.exit_reason))),
    }
}

/// A page that is not there yet ends the run, and the call is made when it is.
fn missing(w: &mut World<'_>) -> Outcome {
    let (realm, rec) = stage(w)?;
    let call = [CALL, UNASSIGNED + 0x100];
    require_missing(w, &rec, &call, UNASSIGNED)?;
    w.data_unknown(&realm, UNASSIGNED)?;
    match w.resume(&rec, &RecEnter::default())? {
        Step::Exit(exit) => check!(
            exit.reason() == Some(ExitReason::HostCall),
            "exit {}",
            exit.exit_reason
        ),
        Step::Done(result) => check!(false, "no call: {result:x?}"),
    }
    require_end(w, &rec, &call, &[SUCCESS])
}

/// One that the Host took away too.
fn destroyed(w: &mut World<'_>) -> Outcome {
    let (_, rec) = stage(w)?;
    require_missing(w, &rec, &[CALL, DESTROYED], DESTROYED)
}

/// Takes the page of the structure away after the call.
fn taken_away(w: &mut World<'_>) -> Outcome<(Realm, Rec)> {
    let (realm, rec) = stage(w)?;
    begin(w, &rec, AT)?;
    let rd = realm.rd;
    w.ok(Command::DataDestroy { rd, ipa: ASSIGNED })?;
    Ok((realm, rec))
}

/// While its page is missing, a call cannot end and the Realm does not run; it is not forgotten.
fn stays_pending(w: &mut World<'_>) -> Outcome {
    let (realm, rec) = taken_away(w)?;
    for _ in 0..3 {
        require_stuck(w, &rec)?;
    }
    // Memory alone does not help: the Realm has to agree to the loss first, and it does not run.
    w.data_unknown(&realm, ASSIGNED)?;
    require_stuck(w, &rec)
}

fn require_stuck(w: &mut World<'_>, rec: &Rec) -> Outcome {
    let (reply, exit) = w.enter_with(rec, &answer())?;
    check!(reply == Reply::SUCCESS, "{reply:?}");
    check!(
        exit.reason() == Some(ExitReason::Sync),
        "exit {}",
        exit.exit_reason
    );
    check!(
        (exit.esr, exit.far, exit.hpfar) == (MISSING, 0, ASSIGNED >> 8),
        "esr {:#x} far {:#x} hpfar {:#x}",
        exit.esr,
        exit.far,
        exit.hpfar
    );
    require_nothing_else(&exit)
}

/// The monitor's own abort can be neither emulated nor failed.
fn not_an_abort(w: &mut World<'_>) -> Outcome {
    let (_, rec) = taken_away(w)?;
    require_stuck(w, &rec)?;
    let mut enter = answer();
    enter.set_enter_flags(EnterFlags::EMUL_MMIO);
    let (reply, _) = w.enter_with(&rec, &enter)?;
    check!(reply == Reply::rec(), "emulated: {reply:?}");
    let mut enter = answer();
    enter.set_enter_flags(EnterFlags::INJECT_SEA);
    let (reply, exit) = w.enter_with(&rec, &enter)?;
    check!(
        reply == Reply::SUCCESS && exit.hpfar == ASSIGNED >> 8,
        "failed: {reply:?}, hpfar {:#x}",
        exit.hpfar
    );
    check!(exit.esr == MISSING, "esr {:#x}", exit.esr);
    Ok(())
}

/// A page that the Realm itself gave up meanwhile takes no answer: the call ends, and says so.
fn empty_at_its_end(w: &mut World<'_>) -> Outcome {
    let realm = w.realm()?;
    w.load_program(&realm)?;
    w.init_ripas(&realm, ASSIGNED, ASSIGNED + GRANULE)?;
    w.data_unknown(&realm, ASSIGNED)?;
    let (rec, other) = (w.rec(&realm, Runnable::Yes)?, w.rec(&realm, Runnable::Yes)?);
    w.activate(&realm)?;
    begin(w, &rec, AT)?;
    w.change_ripas(&realm, &other, ASSIGNED, ASSIGNED + GRANULE, 0)?;
    end(w, &rec, INPUT)?;
    w.change_ripas(&realm, &other, ASSIGNED, ASSIGNED + GRANULE, 1)?;
    let found = load(w, &rec, AT + 8)?;
    check!(found == 0xC0DE_0000, "the structure holds {found:#x}");
    Ok(())
}
