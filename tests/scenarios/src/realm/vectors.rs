// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Vector registers of the Host and of Realms: kept on both sides, and never seen from the other.

use rmi::smccc::FID_SVE_HINT;
use rmi::{ExitReason, RecEnter, RsiCommand};
use test_realm::instructions::{RDVL_X0, SMC, SystemRegister};
use test_realm::protocol::{Bank, Command, REGISTERS};

use super::payload::{Payload, giving, run};
use super::row;
use crate::check;
use crate::outcome::{Outcome, Stop};
use crate::scenario::Scenario;
use crate::vectors::{HostVectors, VectorMode};
use crate::world::{RealmPlan, Rec, World};

/// What these scenarios prove.
pub(super) const SCENARIOS: &[Scenario] = &[
    row("realm_vectors_host_plain", host_plain),
    row("realm_vectors_host_scalable", host_scalable),
    row("realm_vectors_host_streaming", host_streaming),
    row("realm_vectors_host_array", host_array),
    row("realm_vectors_host_hint", host_hint),
    row("realm_vectors_host_measuring", host_measuring),
    row("realm_vectors_new_hold_nothing", new_hold_nothing),
    row("realm_vectors_all_lengths", all_lengths),
    row("realm_vectors_realm_measuring", realm_measuring),
    row("realm_vectors_two_lengths", two_lengths),
];

/// What the Host's registers hold.
const HOST: u64 = 0x4057;
/// What a Realm's registers hold.
const REALM: u64 = 0x4EA1;
/// `ZCR_EL1`, and its value for the longest vectors.
const ZCR: SystemRegister = SystemRegister::new(3, 0, 1, 2, 0);
const LONGEST: u64 = 0xF;
/// The greatest length that can be asked for, in the form of `sve_vl`.
const MOST_QUADS: u8 = 15;

/// Creates a Realm with SVE of this length, or the greatest, and lets it use all of it.
pub(super) fn wide(w: &mut World<'_>, length: Option<u8>) -> Outcome<Payload> {
    if !w.features()?.has_sve() {
        return Err(Stop::Skipped("no SVE".into()));
    }
    let plan = RealmPlan {
        sve: true,
        sve_vl: length,
        ..RealmPlan::default()
    };
    let payload = Payload::new(w, &plan, 1)?;
    payload.done(w, run(ZCR.write_x0(), LONGEST, 0))?;
    Ok(payload)
}

fn require_kept(w: &mut World<'_>, payload: &Payload, bank: Bank) -> Outcome {
    let [first, second, bytes, ..] = payload.done(w, Command::Check(bank))?;
    check!(
        (first, second) == (0, 0),
        "the Realm's {bank:?} changed: {first:#x} {second:#x}, {bytes} bytes"
    );
    Ok(())
}

/// Fills the Host's registers, lets the Realm do something, and looks at the Host's registers.
fn survive(
    w: &mut World<'_>,
    payload: &Payload,
    state: HostVectors,
    command: Command,
) -> Outcome<[u64; REGISTERS]> {
    if !w.port.fill_vectors(state, HOST) {
        return Err(Stop::Skipped(alloc::format!("no {state:?}")));
    }
    let results = payload.done(w, command)?;
    let wrong = w.port.check_vectors(REALM);
    check!(
        wrong.is_none(),
        "{state:?}, {command:x?}: {}",
        wrong.unwrap_or_default()
    );
    Ok(results)
}

/// Lets a Realm use nothing, V0 to V31, and the bank.
fn survive_all(w: &mut World<'_>, payload: &Payload, state: HostVectors, bank: Bank) -> Outcome {
    survive(w, payload, state, Command::Nothing)?;
    survive(w, payload, state, Command::Fill(Bank::Vectors, REALM))?;
    survive(w, payload, state, Command::Fill(bank, REALM))?;
    let [first, second, ..] = survive(w, payload, state, Command::Check(bank))?;
    check!(
        (first, second) == (0, 0),
        "{state:?}: the Realm's {bank:?} changed: {first:#x} {second:#x}"
    );
    Ok(())
}

/// V0 to V31 of the Host.
fn host_plain(w: &mut World<'_>) -> Outcome {
    let payload = Payload::one(w)?;
    survive_all(w, &payload, HostVectors::PLAIN, Bank::Vectors)?;
    match wide_or_none(w)? {
        Some(payload) => survive_all(w, &payload, HostVectors::PLAIN, Bank::Scalable),
        None => Ok(()),
    }
}

/// All of SVE of the Host, at every length, beside Realms with and without SVE.
fn host_scalable(w: &mut World<'_>) -> Outcome {
    let (narrow, wide) = (Payload::one(w)?, wide(w, None)?);
    for length in 0..=MOST_QUADS {
        let state = HostVectors::scalable(length);
        survive_all(w, &narrow, state, Bank::Vectors)?;
        survive_all(w, &wide, state, Bank::Scalable)?;
    }
    Ok(())
}

/// Streaming mode of the Host, with FFR and without.
fn host_streaming(w: &mut World<'_>) -> Outcome {
    let payload = Payload::one(w)?;
    for mode in [VectorMode::Streaming, VectorMode::StreamingAll] {
        for length in [0, 1, 3, 7, MOST_QUADS] {
            let state = HostVectors {
                mode,
                length,
                array: false,
            };
            survive_all(w, &payload, state, Bank::Vectors)?;
        }
    }
    Ok(())
}

/// ZA and ZT0 of the Host, in streaming mode and out of it.
fn host_array(w: &mut World<'_>) -> Outcome {
    let payload = Payload::one(w)?;
    for mode in [VectorMode::Plain, VectorMode::StreamingAll] {
        let state = HostVectors {
            mode,
            length: MOST_QUADS,
            array: true,
        };
        survive_all(w, &payload, state, Bank::Vectors)?;
    }
    let wide = wide(w, None)?;
    for mode in [VectorMode::Scalable, VectorMode::Streaming] {
        let state = HostVectors {
            mode,
            length: MOST_QUADS,
            array: true,
        };
        survive_all(w, &wide, state, Bank::Scalable)?;
    }
    Ok(())
}

/// A Host that says it has no live SVE state keeps V0 to V31 and sees nothing of the Realm.
fn host_hint(w: &mut World<'_>) -> Outcome {
    let narrow = Payload::one(w)?;
    let wide = wide_or_none(w)?;
    for (payload, bank) in [(Some(narrow), Bank::Vectors), (wide, Bank::Scalable)] {
        let Some(payload) = payload else {
            continue;
        };
        // All of what the hint gives up can be seen when the Realm has run.
        let state = HostVectors {
            length: MOST_QUADS,
            ..HostVectors::PLAIN
        };
        check!(w.port.fill_vectors(state, HOST), "no vectors");
        enter_with_hint(w, &payload, Command::Fill(bank, REALM))?;
        let wrong = w.port.check_vectors(REALM);
        check!(wrong.is_none(), "{bank:?}: {}", wrong.unwrap_or_default());
        require_kept(w, &payload, bank)?;
    }
    Ok(())
}

/// Gives a command with the hint bit set in the function identifier.
fn enter_with_hint(w: &mut World<'_>, payload: &Payload, command: Command) -> Outcome {
    let Some(Rec { rec, run, .. }) = payload.recs.first().copied() else {
        return Ok(());
    };
    let mut call = rmi::Command::RecEnter { rec, run_ptr: run }.encode();
    call[0] |= FID_SVE_HINT;
    let mut enter = giving(command);
    loop {
        w.write_page(run, &enter)?;
        let reply = w.call_raw(call);
        check!(reply.is_success(), "entry: {reply:?}");
        let exit = w.read_exit(run)?;
        if exit.reason() != Some(ExitReason::Irq) {
            return Ok(());
        }
        enter = RecEnter::default();
    }
}

/// Calls in which the monitor hashes.
fn host_measuring(w: &mut World<'_>) -> Outcome {
    let states = [
        VectorMode::Plain,
        VectorMode::Scalable,
        VectorMode::Streaming,
        VectorMode::StreamingAll,
    ];
    for mode in states {
        let state = HostVectors {
            mode,
            length: MOST_QUADS,
            array: false,
        };
        if !w.port.fill_vectors(state, HOST) {
            continue;
        }
        Payload::one(w)?;
        let wrong = w.port.check_vectors(REALM);
        check!(wrong.is_none(), "{state:?}: {}", wrong.unwrap_or_default());
    }
    Ok(())
}

/// The first look of a new Realm at its registers finds nothing of the Host's.
fn new_hold_nothing(w: &mut World<'_>) -> Outcome {
    let narrow = Payload::one(w)?;
    let wide = wide_or_none(w)?;
    for (payload, bank) in [(Some(narrow), Bank::Vectors), (wide, Bank::Scalable)] {
        let Some(payload) = payload else {
            continue;
        };
        let state = HostVectors::scalable(MOST_QUADS);
        if !w.port.fill_vectors(state, HOST) {
            check!(w.port.fill_vectors(HostVectors::PLAIN, HOST), "no vectors");
        }
        let [first, second, ..] = payload.done(w, Command::Residue(bank))?;
        w.port.check_vectors(REALM);
        check!(
            (first, second) == (0, 0),
            "{bank:?} not zero: {first:#x} {second:#x}"
        );
    }
    Ok(())
}

fn wide_or_none(w: &mut World<'_>) -> Outcome<Option<Payload>> {
    match wide(w, None) {
        Ok(payload) => Ok(Some(payload)),
        Err(Stop::Skipped(_)) => Ok(None),
        Err(stop) => Err(stop),
    }
}

/// A Realm gets the length it was made with, and keeps its registers at it.
fn all_lengths(w: &mut World<'_>) -> Outcome {
    for length in 0..=w.features()?.sve_vl() {
        let payload = wide(w, Some(length))?;
        let [bytes, ..] = payload.done(w, run(RDVL_X0, 0, 0))?;
        let wanted = 16 * (u64::from(length) + 1);
        // A machine has all powers of two up to its longest.
        let is_right = bytes == wanted || bytes < wanted && !wanted.is_power_of_two();
        check!(is_right, "length {length} gives {bytes} bytes");
        survive_all(
            w,
            &payload,
            HostVectors::scalable(MOST_QUADS),
            Bank::Scalable,
        )?;
    }
    Ok(())
}

/// A call of the Realm in which the monitor hashes changes none of its registers.
fn realm_measuring(w: &mut World<'_>) -> Outcome {
    let mut registers = [0; REGISTERS];
    registers[..3].copy_from_slice(&[RsiCommand::MeasurementExtend.fid(), 1, 64]);
    let extend = Command::Run {
        instruction: SMC,
        registers,
    };
    let narrow = Payload::one(w)?;
    narrow.done(w, Command::Fill(Bank::Vectors, REALM))?;
    let [status, ..] = narrow.done(w, extend)?;
    check!(status == 0, "RSI_MEASUREMENT_EXTEND {status:#x}");
    require_kept(w, &narrow, Bank::Vectors)?;
    let wide = wide(w, None)?;
    wide.done(w, Command::Fill(Bank::Scalable, REALM))?;
    wide.done(w, extend)?;
    require_kept(w, &wide, Bank::Scalable)
}

/// Realms of different lengths take turns.
fn two_lengths(w: &mut World<'_>) -> Outcome {
    let (short, long) = (wide(w, Some(0))?, wide(w, None)?);
    long.done(w, Command::Fill(Bank::Scalable, REALM))?;
    short.done(w, Command::Fill(Bank::Scalable, REALM + 1))?;
    for _ in 0..3 {
        require_kept(w, &long, Bank::Scalable)?;
        require_kept(w, &short, Bank::Scalable)?;
    }
    Ok(())
}
