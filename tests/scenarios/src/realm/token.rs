// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Attestation tokens and the interrupts of the Host.

use alloc::vec::Vec;

use rmi::{ExitReason, RecEnter, RsiCommand, RsiStatus};
use test_realm::instructions::{LDR_X0, SMC};
use test_realm::protocol::{Command, REGISTERS, Timer};
use token_verifier::verify;

use super::payload::{FREE, Payload, Turn, run, unexpected};
use super::row;
use crate::check;
use crate::outcome::{Outcome, Stop};
use crate::port::GRANULE;
use crate::scenario::Scenario;
use crate::world::World;

/// What these scenarios prove.
pub(super) const SCENARIOS: &[Scenario] = &[row("realm_token_interrupted", interrupted)];

/// Signatures that a timer is set to interrupt, each a step later than the one before.
const ATTEMPTS: u64 = 100;
/// Ticks of a step: less than a signature takes on any machine.
const STEP: u64 = 50_000;

const SUCCESS: u64 = RsiStatus::Success.to_register();
const INCOMPLETE: u64 = RsiStatus::Incomplete.to_register();

/// The Host gets its interrupt in the midst of a signature, and the Realm learns that it has to ask again.
fn interrupted(w: &mut World<'_>) -> Outcome {
    let payload = Payload::one(w)?;
    w.data_unknown(&payload.realm, FREE)?;
    for attempt in 1..=ATTEMPTS {
        let [status, ..] =
            payload.done(w, call(RsiCommand::AttestationTokenInit, &[attempt; 8]))?;
        check!(status == SUCCESS, "init: status {status:#x}");
        if proceed_with_timer(w, &payload, attempt * STEP)? {
            let token = fetch(w, &payload)?;
            let claims = verify(&token);
            check!(claims.is_ok(), "the token: {claims:x?}");
            return Ok(());
        }
    }
    Err(Stop::Failed("no signature was interrupted".into()))
}

/// Asks for a byte of the token while a timer fires after so many ticks. Tells whether that was during the
/// signature: the run ends and no byte comes.
fn proceed_with_timer(w: &mut World<'_>, payload: &Payload, ticks: u64) -> Outcome<bool> {
    set_timer(w, payload, ticks)?;
    let mut turn = payload.begin(w, proceed(1))?;
    let mut interrupt = None;
    let report = loop {
        match turn {
            Turn::Report(report, _) => break report,
            Turn::Exit(exit) if exit.reason() == Some(ExitReason::Irq) => interrupt = Some(exit),
            Turn::Exit(exit) => return Err(unexpected("a token", &exit)),
        }
        turn = payload.enter(w, 0, &RecEnter::default())?;
    };
    set_timer(w, payload, 0)?;
    let [status, bytes, ..] = report.registers;
    check!(status == INCOMPLETE && bytes <= 1, "{report:x?}");
    if bytes == 1 {
        return Ok(false);
    }
    let Some(exit) = interrupt else {
        return Err(Stop::Failed("no byte came, and no exit".into()));
    };
    check!(
        exit.gprs == [0; 31] && (exit.esr, exit.far, exit.hpfar) == (0, 0, 0),
        "the exit shows {:x?}, esr {:#x}",
        exit.gprs,
        exit.esr
    );
    Ok(true)
}

fn set_timer(w: &mut World<'_>, payload: &Payload, ticks: u64) -> Outcome {
    let timer = Timer::Virtual;
    let command = Command::SetTimer {
        timer,
        ticks,
        again: 0,
    };
    payload.done(w, command).map(|_| ())
}

/// Fetches the token at once and reads it as the Realm does.
fn fetch(w: &mut World<'_>, payload: &Payload) -> Outcome<Vec<u8>> {
    let bytes = loop {
        let [status, bytes, ..] = payload.done(w, proceed(GRANULE))?;
        if status == SUCCESS {
            break bytes;
        }
        check!(
            status == INCOMPLETE && bytes == 0,
            "{status:#x}, {bytes} bytes"
        );
    };
    let mut token = Vec::new();
    for at in (FREE..FREE + bytes).step_by(8) {
        let [word, ..] = payload.done(w, run(LDR_X0, 0, at))?;
        token.extend(word.to_le_bytes());
    }
    token.truncate(usize::try_from(bytes).expect("at most a page"));
    Ok(token)
}

/// Returns the command that asks for up to so many bytes of the token.
fn proceed(bytes: u64) -> Command {
    call(RsiCommand::AttestationTokenContinue, &[FREE, 0, bytes])
}

fn call(command: RsiCommand, arguments: &[u64]) -> Command {
    let mut registers = [0; REGISTERS];
    registers[0] = command.fid();
    registers[1..=arguments.len()].copy_from_slice(arguments);
    Command::Run {
        instruction: SMC,
        registers,
    }
}
