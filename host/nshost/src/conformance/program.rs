// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The program of a Realm under test, and what it says and hears.

use core::arch::global_asm;

use rmi::{ExitReason, RecEnter, RecExit};
use scenarios::realm::{ACTION_REGISTERS, IDLE_IMM, RealmAction, RealmResult};

/// First register of a report: the REC has just started and there was no action.
const STARTED: u64 = 2;
/// The action was done.
const DONE: u64 = 0;
/// The action ended in an exception of the Realm's own.
const EXCEPTION: u64 = 1;
/// Code of an action that is not a scenario's: compute until the Host stops it for good.
const SPIN: u64 = 0xA11;
/// Register of the report that holds the syndrome.
const SYNDROME: usize = 1 + ACTION_REGISTERS;
/// Register of the report that holds how long an SMC took.
const TICKS: usize = SYNDROME + 1;

global_asm!(
    include_str!("program.S"),
    idle_imm = const IDLE_IMM,
    started = const STARTED,
    done = const DONE,
    exception = const EXCEPTION,
    spin = const SPIN,
);

unsafe extern "C" {
    static program_start: u8;
    static program_end: u8;
}

/// Returns the program: whole granules, the first instruction first.
pub(super) fn bytes() -> &'static [u8] {
    let start = &raw const program_start;
    let len = (&raw const program_end).addr() - start.addr();
    // SAFETY: the two symbols enclose constants of the image.
    unsafe { core::slice::from_raw_parts(start, len) }
}

/// Says what the program does next.
pub(super) fn set_action(enter: &mut RecEnter, action: RealmAction) {
    let registers = action.to_registers();
    enter.gprs[..registers.len()].copy_from_slice(&registers);
}

/// Lets the program compute until the Host stops it.
pub(super) fn set_spin(enter: &mut RecEnter) {
    enter.gprs[0] = SPIN;
}

/// Tells whether an exit is the one with which a new REC asks for its first action.
pub(super) fn has_just_started(exit: &RecExit) -> bool {
    is_report(exit) && exit.gprs[0] == STARTED
}

/// Returns what came of the last action, if the exit says so.
pub(super) fn result(exit: &RecExit) -> Option<RealmResult> {
    let [kind, ref registers @ ..] = exit.gprs;
    if !is_report(exit) || kind == STARTED {
        return None;
    }
    Some(RealmResult {
        registers: *registers.first_chunk()?,
        exception: (kind == EXCEPTION).then_some(exit.gprs[SYNDROME]),
        ticks: exit.gprs[TICKS],
    })
}

fn is_report(exit: &RecExit) -> bool {
    exit.reason() == Some(ExitReason::HostCall) && exit.imm == IDLE_IMM
}
