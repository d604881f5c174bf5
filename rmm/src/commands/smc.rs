// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Calls of a Realm: which function it is, and how the answer gets into the registers.

use rmi::psci::PsciId;
use rmi::smccc::{FID_SMCCC_VERSION, fid_of};
use rmi::{RsiCommand, RsiStatus, SMCCC_NOT_SUPPORTED};
use rmm_hal::{Hal, RecContext};

use crate::commands::{psci, rsi};
use crate::rec::context::skip_instruction;
use crate::rec::running::{Next, Running};

/// SMC Calling Convention 1.2, and 1.3 which adds the SVE hint.
const SMCCC_1_2: u64 = 0x1_0002;
const SMCCC_1_3: u64 = 0x1_0003;

/// The last register that a call may use for outputs.
const LAST_OUTPUT: usize = 16;
/// The last register that SMCCC lets every call change; the callers of 1.1 rely on the others.
const LAST_OUTPUT_SMCCC: usize = 3;

/// Serves the call that the Realm is making.
pub(crate) fn serve<H: Hal>(running: &mut Running<'_, '_, H>) -> Next {
    let [x0, ..] = running.rec.context.gprs;
    if let Some(command) = RsiCommand::from_fid(x0) {
        return rsi::serve(running, command);
    }
    if let Some(id) = PsciId::from_fid(x0) {
        return psci::serve(running, id);
    }
    let answer = match fid_of(x0) {
        FID_SMCCC_VERSION if running.realm.sve_vq.is_some() => SMCCC_1_3,
        FID_SMCCC_VERSION => SMCCC_1_2,
        _ => SMCCC_NOT_SUPPORTED,
    };
    return_word(&mut running.rec.context, answer);
    Next::Resume
}

/// Ends an RSI call with a status and outputs from x1 up; the other registers up to x16 become zero.
pub(crate) fn return_status<const N: usize>(
    context: &mut RecContext,
    status: RsiStatus,
    outputs: [u64; N],
) {
    set_status(context, status, outputs);
    skip_instruction(context);
}

/// Writes the registers of [`return_status`] for a call that the Realm is behind already.
pub(crate) fn set_status<const N: usize>(
    context: &mut RecContext,
    status: RsiStatus,
    outputs: [u64; N],
) {
    const { assert!(N <= LAST_OUTPUT) }
    let (results, _) = context
        .gprs
        .split_first_chunk_mut::<{ LAST_OUTPUT + 1 }>()
        .expect("there are 31 registers");
    let [first, rest @ ..] = results;
    *first = status.to_register();
    let (listed, unlisted) = rest.split_at_mut(N);
    listed.copy_from_slice(&outputs);
    unlisted.fill(0);
}

/// Ends a call of PSCI, or of nobody: x0 is the answer and x1 to x3 become zero.
pub(crate) fn return_word(context: &mut RecContext, answer: u64) {
    set_word(context, answer);
    skip_instruction(context);
}

/// Writes the registers of [`return_word`] for a call that the Realm is behind already.
pub(crate) fn set_word(context: &mut RecContext, answer: u64) {
    let results = context.gprs.iter_mut().take(LAST_OUTPUT_SMCCC + 1);
    for (register, value) in results.zip([answer, 0, 0, 0]) {
        *register = value;
    }
}
