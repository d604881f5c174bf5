// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! `RSI_ATTESTATION_TOKEN_INIT` and `RSI_ATTESTATION_TOKEN_CONTINUE`.

use rmi::rsi::bytes_of_registers;
use rmi::{GRANULE_BYTES, GRANULE_SIZE, Ipa, RsiStatus};
use rmm_hal::{Hal, RealmCpu, Timing};

use crate::attest::Attestation;
use crate::attest::progress::Readiness;
use crate::attest::token::Claims;
use crate::commands::rsi::{fail, fail_at, lock_rd, protected_buffer, succeed};
use crate::commands::smc::return_status;
use crate::rec::exit::Stop;
use crate::rec::running::{Next, Running};

/// `RSI_ATTESTATION_TOKEN_INIT`. `UNKNOWN` when the platform gave the monitor no key or no token.
///
/// The bound that the Realm gets is the exact size.
pub(super) fn init<H: Hal>(running: &mut Running<'_, '_, H>) -> Next {
    let Some(attestation) = running.monitor.attestation() else {
        return fail(running, RsiStatus::ErrorUnknown);
    };
    let [_, x1, x2, x3, x4, x5, x6, x7, x8, ..] = running.rec.context.gprs;
    let challenge = bytes_of_registers([x1, x2, x3, x4, x5, x6, x7, x8]);
    let claims = {
        let rd = lock_rd(running);
        Claims::new(challenge, &rd.map(running.hal.window()))
    };
    let bound = running.rec.token.begin(attestation, claims);
    succeed(running, [register(bound)])
}

/// `RSI_ATTESTATION_TOKEN_CONTINUE`. Fails with
///
/// - INPUT on `addr_align`, `addr_bound`, `offset_bound`, `size_overflow` and `size_bound`;
/// - STATE on `state`;
/// - UNKNOWN on `unknown`;
/// - INPUT when the page is EMPTY.
///
/// A physical interrupt during the signature ends the run, and the call, with nothing fetched.
pub(super) fn proceed<H: Hal>(running: &mut Running<'_, '_, H>) -> Next {
    let Some(target) = admit(running) else {
        return fail(running, RsiStatus::ErrorInput);
    };
    let attestation = running.monitor.attestation();
    let Some(attestation) = attestation.filter(|_| running.rec.token.is_in_progress()) else {
        return fail(running, RsiStatus::ErrorState);
    };
    match sign(running, attestation) {
        Readiness::Ready => fetch(running, attestation, target),
        Readiness::Interrupted => {
            return_status(&mut running.rec.context, RsiStatus::Incomplete, [0]);
            Next::Stop(Stop::Irq)
        }
        Readiness::Failed => fail(running, RsiStatus::ErrorUnknown),
    }
}

/// Where a piece of the token goes: bytes inside one page.
#[derive(Clone, Copy)]
struct Target {
    ipa: Ipa,
    bytes: usize,
}

/// Checks the arguments.
fn admit<H: Hal>(running: &Running<'_, '_, H>) -> Option<Target> {
    let [_, addr, offset, size, ..] = running.rec.context.gprs;
    let page = protected_buffer(running, addr, GRANULE_SIZE)?;
    let end = offset.checked_add(size)?;
    if offset >= GRANULE_SIZE || end > GRANULE_SIZE {
        return None;
    }
    Some(Target {
        ipa: Ipa::new(page.raw() + offset),
        bytes: usize::try_from(size).ok()?,
    })
}

fn sign<H: Hal>(running: &mut Running<'_, '_, H>, attestation: &Attestation<'_>) -> Readiness {
    let (hal, token) = (running.hal, &mut running.rec.token);
    hal.timing()
        .data_independent(|| token.sign(attestation, || hal.realm().is_interrupt_pending()))
}

/// Writes the next piece of the token to the Realm's memory. Without room for a byte nothing is accessed.
// Out of line, so that its buffer is not in the frame of every call.
#[inline(never)]
fn fetch<H: Hal>(
    running: &mut Running<'_, '_, H>,
    attestation: &Attestation<'_>,
    target: Target,
) -> Next {
    let remaining = running.rec.token.remaining(attestation);
    let bytes = target.bytes.min(remaining);
    let mut buffer = [0; GRANULE_BYTES];
    let (piece, _) = buffer.split_at_mut(bytes);
    running.rec.token.copy(attestation, piece);
    if !piece.is_empty()
        && let Err(error) = running.write_memory(target.ipa, piece)
    {
        return fail_at(running, target.ipa, error);
    }
    running.rec.token.fetch(attestation, bytes);
    let status = if bytes == remaining {
        RsiStatus::Success
    } else {
        RsiStatus::Incomplete
    };
    return_status(&mut running.rec.context, status, [register(bytes)]);
    Next::Resume
}

fn register(bytes: usize) -> u64 {
    u64::try_from(bytes).expect("a length has at most 64 bits")
}
