// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! PSCI of a Realm: what the monitor answers itself, and what the Host sees. How the Host completes a
//! call is in `rmi/psci_complete.rs`.

use rmi::psci::{self, PsciReturn};
use rmi::{Command, ExitReason, RecEnter};

use super::{exit, require, require_end, stage};
use crate::check;
use crate::outcome::{Outcome, Reply};
use crate::realm::{PROGRAM_BASE, row};
use crate::scenario::Scenario;
use crate::world::{Rec, World};

/// What these scenarios prove.
pub(super) const SCENARIOS: &[Scenario] = &[
    row("psci_version", version),
    row("psci_features", features),
    row("psci_unknown_functions", unknown),
    row("psci_cpu_on_refused", cpu_on_refused),
    row("psci_cpu_on_exit", cpu_on_exit),
    row("psci_cpu_on_smc32", cpu_on_smc32),
    row("psci_affinity_info_refused", affinity_info_refused),
    row("psci_affinity_info_exit", affinity_info_exit),
    row("psci_cpu_suspend", cpu_suspend),
    row("psci_cpu_off_and_on", cpu_off_and_on),
    row("psci_system_off", system_off),
    row("psci_system_reset", system_reset),
];

/// Every function that a Realm has.
const FUNCTIONS: [u64; 11] = [
    psci::FID_VERSION,
    psci::FID_CPU_SUSPEND_32,
    psci::FID_CPU_SUSPEND_64,
    psci::FID_CPU_OFF,
    psci::FID_CPU_ON_32,
    psci::FID_CPU_ON_64,
    psci::FID_AFFINITY_INFO_32,
    psci::FID_AFFINITY_INFO_64,
    psci::FID_SYSTEM_OFF,
    psci::FID_SYSTEM_RESET,
    psci::FID_FEATURES,
];

/// Requires an answer of the monitor: x0, and x1 to x3 zero.
fn answers(w: &mut World<'_>, rec: &Rec, registers: &[u64], answer: PsciReturn) -> Outcome {
    require(w, rec, registers, &[answer.to_register()])
}

/// Requires that a call ends the run and shows the Host these registers and nothing else.
fn shows(w: &mut World<'_>, rec: &Rec, registers: &[u64], shown: &[u64]) -> Outcome {
    let exit = exit(w, rec, registers)?;
    check!(
        exit.reason() == Some(ExitReason::Psci),
        "exit {}",
        exit.exit_reason
    );
    let mut gprs = [0; 31];
    gprs[..shown.len()].copy_from_slice(shown);
    check!(exit.gprs == gprs, "registers {:x?}", exit.gprs);
    let others = (exit.esr, exit.far, exit.hpfar, exit.ripas_top, exit.imm);
    check!(others == (0, 0, 0, 0, 0), "{others:x?}");
    Ok(())
}

fn version(w: &mut World<'_>) -> Outcome {
    let (_, rec) = stage(w)?;
    let call = [psci::FID_VERSION, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10];
    require(w, &rec, &call, &[0x1_0001])
}

/// Functions are there in the conventions that they have, and SMCCC_VERSION counts as one.
fn features(w: &mut World<'_>) -> Outcome {
    let (_, rec) = stage(w)?;
    for fid in FUNCTIONS.into_iter().chain([0x8000_0000]) {
        for id in [fid, fid | 0x55 << 32] {
            answers(w, &rec, &[psci::FID_FEATURES, id], PsciReturn::Success)?;
        }
    }
    for fid in [
        0x8000_0001,
        0x8400_0005,
        0x8400_000B,
        0xC400_0000,
        0xC400_0002,
        0xC400_0008,
        0xC400_000E,
        0xC400_0190,
        0,
    ] {
        answers(
            w,
            &rec,
            &[psci::FID_FEATURES, fid],
            PsciReturn::NotSupported,
        )?;
    }
    Ok(())
}

/// No other function in the range of PSCI leaves the Realm.
fn unknown(w: &mut World<'_>) -> Outcome {
    let (_, rec) = stage(w)?;
    for base in [0x8400_0000, 0xC400_0000] {
        for fid in (base..base + 0x20).filter(|fid| !FUNCTIONS.contains(fid)) {
            answers(w, &rec, &[fid, 1, 2, 3], PsciReturn::NotSupported)?;
        }
    }
    Ok(())
}

/// The monitor knows its own processor, and those that there are.
fn cpu_on_refused(w: &mut World<'_>) -> Outcome {
    let (realm, rec) = stage(w)?;
    let half = realm.unprotected();
    let on = |target, entry| [psci::FID_CPU_ON_64, target, entry, 7];
    for entry in [half, half + PROGRAM_BASE, realm.end(), !3] {
        answers(w, &rec, &on(0, entry), PsciReturn::InvalidAddress)?;
    }
    answers(w, &rec, &on(0, half - 4), PsciReturn::AlreadyOn)?;
    for target in [
        1,
        0xF,
        0x10,
        0xFF,
        1 << 8,
        1 << 24,
        1 << 31,
        1 << 32,
        1 << 40,
        u64::MAX,
    ] {
        answers(
            w,
            &rec,
            &on(target, PROGRAM_BASE),
            PsciReturn::InvalidParameters,
        )?;
    }
    Ok(())
}

/// The Host learns which processor, not where it starts or with what.
fn cpu_on_exit(w: &mut World<'_>) -> Outcome {
    let ((_, rec), target) = w.two_rec_realm()?;
    let call = [psci::FID_CPU_ON_64, 1, PROGRAM_BASE, 0x77, 4, 5, 6, 7];
    shows(w, &rec, &call, &[psci::FID_CPU_ON_64, 1])?;
    let enter = RecEnter::default();
    let (reply, _) = w.enter_with(&rec, &enter)?;
    check!(reply == Reply::rec(), "{reply:?}");
    complete(w, &rec, &target)?;
    require_end(w, &rec, &call, &[0, 0, 0, 0])
}

fn complete(w: &mut World<'_>, calling: &Rec, target: &Rec) -> Outcome {
    w.ok(Command::PsciComplete {
        calling_rec: calling.rec,
        target_rec: target.rec,
        status: 0,
    })
    .map(|_| ())
}

/// In SMC32 the upper halves of the arguments do not count.
fn cpu_on_smc32(w: &mut World<'_>) -> Outcome {
    let ((_, rec), target) = w.two_rec_realm()?;
    let high = 0xFFFF_FFFF << 32;
    let call = [psci::FID_CPU_ON_32, high | 1, high | PROGRAM_BASE, high];
    shows(w, &rec, &call, &[psci::FID_CPU_ON_32, 1])?;
    complete(w, &rec, &target)?;
    require_end(w, &rec, &call, &[0, 0, 0, 0])
}

/// The monitor knows that its own processor is on, and only levels of one processor.
fn affinity_info_refused(w: &mut World<'_>) -> Outcome {
    let (_, rec) = stage(w)?;
    let info = |target, level| [psci::FID_AFFINITY_INFO_64, target, level, 3];
    for level in [0, 1 << 32] {
        answers(w, &rec, &info(0, level), PsciReturn::ON)?;
    }
    for (target, level) in [
        (0, 1),
        (0, 2),
        (0, 0xFFFF_FFFF),
        (1, 0),
        (0x10, 0),
        (1 << 40, 0),
    ] {
        let invalid = PsciReturn::InvalidParameters;
        answers(w, &rec, &info(target, level), invalid)?;
    }
    Ok(())
}

fn affinity_info_exit(w: &mut World<'_>) -> Outcome {
    let ((_, rec), target) = w.two_rec_realm()?;
    for fid in [psci::FID_AFFINITY_INFO_64, psci::FID_AFFINITY_INFO_32] {
        let call = [fid, 1, 0, 3];
        shows(w, &rec, &call, &[fid, 1])?;
        complete(w, &rec, &target)?;
        require_end(w, &rec, &call, &[PsciReturn::Off.to_register(), 0, 0, 0])?;
    }
    Ok(())
}

/// The Host may let a processor wait, which then goes on whatever entry point it named.
fn cpu_suspend(w: &mut World<'_>) -> Outcome {
    let (_, rec) = stage(w)?;
    for fid in [psci::FID_CPU_SUSPEND_64, psci::FID_CPU_SUSPEND_32] {
        let call = [fid, 0x101_0002, u64::MAX, 7, 4];
        shows(w, &rec, &call, &[fid])?;
        require_end(w, &rec, &call, &[0, 0, 0, 0])?;
    }
    Ok(())
}

/// A processor that turned itself off comes back when another asks for it.
fn cpu_off_and_on(w: &mut World<'_>) -> Outcome {
    let ((_, rec), other) = w.two_rec_realm()?;
    w.cpu_on(&rec, 1, PROGRAM_BASE, 0)?;
    complete(w, &rec, &other)?;
    require_end(w, &rec, &[psci::FID_CPU_ON_64], &[0, 0, 0, 0])?;
    shows(w, &rec, &[psci::FID_CPU_OFF, 1, 2, 3], &[psci::FID_CPU_OFF])?;
    let (reply, _) = w.enter_with(&rec, &RecEnter::default())?;
    check!(reply == Reply::rec(), "{reply:?}");
    w.cpu_on(&other, 0, PROGRAM_BASE, 0)?;
    complete(w, &other, &rec)?;
    answers(w, &rec, &[psci::FID_AFFINITY_INFO_64, 0, 0], PsciReturn::ON)
}

/// The Realm is over for all of its processors.
fn is_over(w: &mut World<'_>, fid: u64) -> Outcome {
    let ((_, rec), other) = w.two_rec_realm()?;
    w.cpu_on(&rec, 1, PROGRAM_BASE, 0)?;
    complete(w, &rec, &other)?;
    require_end(w, &rec, &[psci::FID_CPU_ON_64], &[0, 0, 0, 0])?;
    shows(w, &rec, &[fid, 1, 2, 3], &[fid])?;
    for rec in [&rec, &other] {
        let (reply, _) = w.enter_with(rec, &RecEnter::default())?;
        check!(reply == Reply::realm(1), "{reply:?}");
    }
    Ok(())
}

fn system_off(w: &mut World<'_>) -> Outcome {
    is_over(w, psci::FID_SYSTEM_OFF)
}

fn system_reset(w: &mut World<'_>) -> Outcome {
    is_over(w, psci::FID_SYSTEM_RESET)
}
