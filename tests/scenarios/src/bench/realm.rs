// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Runs of a REC, and calls of the Realm.

use rmi::{Command, EnterFlags, ExitReason, RecEnter, RsiCommand, RsiStatus};

use super::{Measure, count, last_call, ticks};
use crate::check;
use crate::outcome::Outcome;
use crate::port::GRANULE;
use crate::realm::{PROGRAM_BASE, RealmAction, RealmResult};
use crate::world::{Realm, Rec, Runnable, Step, World, fail_exit};

pub(super) const MEASURES: &[Measure] = &[
    ticks("RMI_REC_ENTER to host call", host_call),
    ticks("RMI_REC_ENTER to WFI", wait),
    ticks("RMI_REC_ENTER to MMIO", mmio),
    ticks("RMI_REC_ENTER to RIPAS change", ripas_change),
    ticks("RMI_RTT_SET_RIPAS, one page", set_ripas),
    ticks("fault: enter, DATA_CREATE_UNKNOWN, enter", fault),
    ticks("RSI_VERSION", rsi_version),
    ticks("RSI_REALM_CONFIG", rsi_realm_config),
    ticks("RSI_IPA_STATE_GET", rsi_ipa_state_get),
    ticks("RSI_MEASUREMENT_READ", rsi_measurement_read),
    ticks("RSI_MEASUREMENT_EXTEND", rsi_measurement_extend),
    ticks("PSCI_VERSION", psci_version),
    ticks("attestation token, INIT to the end", token),
    ticks(
        "attestation token, longest wait of an interrupt",
        token_wait,
    ),
];

/// A page of RAM with memory, and one without.
const BUFFER: u64 = PROGRAM_BASE + 0x8_0000;
const MISSING: u64 = BUFFER + GRANULE;
const END: u64 = MISSING + GRANULE;
/// When the Host's timer fires after the entry of a REC that asks for a token.
const ALARM: u64 = 20_000;
/// `PSCI_VERSION`.
const PSCI_VERSION: u64 = 0x8400_0000;

/// An active Realm with a buffer, whose REC waits for its first action.
fn stage(w: &mut World<'_>) -> Outcome<(Realm, Rec)> {
    let realm = w.realm()?;
    w.load_program(&realm)?;
    w.init_ripas(&realm, BUFFER, END)?;
    w.data_unknown(&realm, BUFFER)?;
    let rec = w.rec(&realm, Runnable::Yes)?;
    w.activate(&realm)?;
    w.act_done(
        &rec,
        RealmAction::smc(&[RsiCommand::Version.fid(), 1 << 16]),
    )?;
    Ok((realm, rec))
}

/// The program's report is a host call, and so is the answer to it.
fn host_call(w: &mut World<'_>) -> Outcome<u64> {
    let (_, rec) = stage(w)?;
    w.enter_with(&rec, &RecEnter::default())?;
    last_call(w)
}

fn wait(w: &mut World<'_>) -> Outcome<u64> {
    let (_, rec) = stage(w)?;
    let mut enter = RecEnter::default();
    w.port.set_action(&mut enter, RealmAction::WaitForInterrupt);
    enter.flags = EnterFlags::TRAP_WFI.bits();
    w.resume(&rec, &enter)?;
    last_call(w)
}

fn mmio(w: &mut World<'_>) -> Outcome<u64> {
    let (realm, rec) = stage(w)?;
    let ipa = realm.unprotected();
    w.act_exit(&rec, RealmAction::Load { ipa })?;
    last_call(w)
}

fn ripas_change(w: &mut World<'_>) -> Outcome<u64> {
    let (_, rec) = stage(w)?;
    w.act_exit(&rec, to_empty())?;
    last_call(w)
}

fn set_ripas(w: &mut World<'_>) -> Outcome<u64> {
    let (realm, rec) = stage(w)?;
    w.act_exit(&rec, to_empty())?;
    let (rd, rec) = (realm.rd, rec.rec);
    let (base, top) = (MISSING, MISSING + GRANULE);
    count(w, Command::RttSetRipas { rd, rec, base, top })
}

/// The request that [`MISSING`] be no RAM any more.
fn to_empty() -> RealmAction {
    RealmAction::smc(&[RsiCommand::IpaStateSet.fid(), MISSING, MISSING + GRANULE])
}

/// A Realm touches new memory, gets a page and goes on, up to its report.
fn fault(w: &mut World<'_>) -> Outcome<u64> {
    let (realm, rec) = stage(w)?;
    let data = w.delegated()?;
    w.act_exit(&rec, RealmAction::Load { ipa: MISSING })?;
    let touched = last_call(w)?;
    let (rd, ipa) = (realm.rd, MISSING);
    let created = count(w, Command::DataCreateUnknown { rd, data, ipa })?;
    let step = w.resume(&rec, &RecEnter::default())?;
    check!(matches!(step, Step::Done(_)), "{step:x?}");
    Ok(touched + created + last_call(w)?)
}

fn rsi_version(w: &mut World<'_>) -> Outcome<u64> {
    realm_call(w, RsiCommand::Version, &[1 << 16])
}

fn rsi_realm_config(w: &mut World<'_>) -> Outcome<u64> {
    realm_call(w, RsiCommand::RealmConfig, &[BUFFER])
}

fn rsi_ipa_state_get(w: &mut World<'_>) -> Outcome<u64> {
    realm_call(w, RsiCommand::IpaStateGet, &[BUFFER, END])
}

fn rsi_measurement_read(w: &mut World<'_>) -> Outcome<u64> {
    realm_call(w, RsiCommand::MeasurementRead, &[0])
}

fn rsi_measurement_extend(w: &mut World<'_>) -> Outcome<u64> {
    let command = RsiCommand::MeasurementExtend;
    realm_call(w, command, &[1, 32, 0x11, 0x22, 0x33, 0x44])
}

fn psci_version(w: &mut World<'_>) -> Outcome<u64> {
    let (_, rec) = stage(w)?;
    let call = RealmAction::smc(&[PSCI_VERSION]);
    Ok(w.act_done(&rec, call)?.ticks)
}

/// Counts a call of the Realm that has to succeed.
fn realm_call(w: &mut World<'_>, command: RsiCommand, arguments: &[u64]) -> Outcome<u64> {
    let (_, rec) = stage(w)?;
    let result = w.act_done(&rec, action(command, arguments))?;
    let status = RsiStatus::from_register(result.registers[0]);
    check!(status == Some(RsiStatus::Success), "{result:x?}");
    Ok(result.ticks)
}

fn action(command: RsiCommand, arguments: &[u64]) -> RealmAction {
    let mut registers = alloc::vec![command.fid()];
    registers.extend_from_slice(arguments);
    RealmAction::smc(&registers)
}

/// Counts in the Realm: the start of a token, and calls for the rest until it is complete.
fn token(w: &mut World<'_>) -> Outcome<u64> {
    let (_, rec) = stage(w)?;
    let mut total = w.act_done(&rec, challenge())?.ticks;
    loop {
        let result = w.act_done(&rec, rest_of_token())?;
        total += result.ticks;
        if is_complete(&result)? {
            return Ok(total);
        }
    }
}

/// While the Realm asks for a token again and again, an interrupt of the Host comes during each of its
/// runs; returns how long the longest of them took from there.
fn token_wait(w: &mut World<'_>) -> Outcome<u64> {
    let (_, rec) = stage(w)?;
    w.act_done(&rec, challenge())?;
    let mut longest = 0;
    loop {
        w.port.set_alarm(ALARM);
        let mut step = w.act(&rec, rest_of_token())?;
        longest = longest.max(last_call(w)?.saturating_sub(ALARM));
        let result = loop {
            match step {
                Step::Done(result) => break result,
                Step::Exit(exit) if exit.reason() == Some(ExitReason::Irq) => {
                    w.port.set_alarm(ALARM);
                    step = w.resume(&rec, &RecEnter::default())?;
                    longest = longest.max(last_call(w)?.saturating_sub(ALARM));
                }
                Step::Exit(exit) => return fail_exit(rest_of_token(), &exit),
            }
        };
        if is_complete(&result)? {
            return Ok(longest);
        }
    }
}

fn challenge() -> RealmAction {
    action(
        RsiCommand::AttestationTokenInit,
        &[0x0123_4567_89AB_CDEF; 8],
    )
}

fn rest_of_token() -> RealmAction {
    action(RsiCommand::AttestationTokenContinue, &[BUFFER, 0, GRANULE])
}

/// Tells whether the token is complete, or the Realm has to ask again.
fn is_complete(result: &RealmResult) -> Outcome<bool> {
    let status = RsiStatus::from_register(result.registers[0]);
    let is_complete = status == Some(RsiStatus::Success);
    check!(
        is_complete || status == Some(RsiStatus::Incomplete),
        "{result:x?}"
    );
    Ok(is_complete)
}
