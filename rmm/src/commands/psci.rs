// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! PSCI calls of a Realm.
//!
//! The Host turns processors on and off, so most calls end the run. A call that names another processor
//! is answered by `RMI_PSCI_COMPLETE`: its function and arguments stay in x0 to x3 until then.

use rmi::psci::{
    AFFINITY_LEVEL_PROCESSOR, Convention, PSCI_VERSION_1_1, PsciFunction, PsciId, PsciReturn,
    features,
};
use rmi::smccc::fid_of;
use rmi::{Ipa, RecMpidr};
use rmm_hal::Hal;

use crate::commands::smc::return_word;
use crate::realm::{RdState, RealmState};
use crate::rec::context::skip_instruction;
use crate::rec::exit::Stop;
use crate::rec::running::{Next, Running};

/// Serves a call.
pub(crate) fn serve<H: Hal>(running: &mut Running<'_, '_, H>, id: PsciId) -> Next {
    let PsciId::Known(function, convention) = id else {
        return answer(running, PsciReturn::NotSupported.to_register());
    };
    let arguments = arguments(running, convention);
    let [x1, ..] = arguments;
    match function {
        PsciFunction::Version => answer(running, PSCI_VERSION_1_1),
        PsciFunction::Features => answer(running, features(x1).to_register()),
        PsciFunction::CpuSuspend => suspend(running),
        PsciFunction::CpuOff => cpu_off(running),
        PsciFunction::CpuOn => finish(running, cpu_on, arguments),
        PsciFunction::AffinityInfo => finish(running, affinity_info, arguments),
        PsciFunction::SystemOff | PsciFunction::SystemReset => system_off(running),
    }
}

/// What can be said to a call that names a processor.
enum Verdict {
    /// The monitor knows the answer.
    Known(PsciReturn),
    /// The Host has to find the processor.
    AskHost,
}

/// `CPU_ON`: target, entry point and context.
fn cpu_on<H: Hal>(running: &Running<'_, '_, H>, arguments: [u64; 3]) -> Verdict {
    let [target, entry, _] = arguments;
    if !running.realm.tree.is_protected(Ipa::new(entry)) {
        return Verdict::Known(PsciReturn::InvalidAddress);
    }
    match find(running, target) {
        None => Verdict::Known(PsciReturn::InvalidParameters),
        Some(target) if target.index() == running.identity.index => {
            Verdict::Known(PsciReturn::AlreadyOn)
        }
        Some(_) => Verdict::AskHost,
    }
}

/// `AFFINITY_INFO`: target and level.
fn affinity_info<H: Hal>(running: &Running<'_, '_, H>, arguments: [u64; 3]) -> Verdict {
    let [target, level, _] = arguments;
    if Convention::Smc32.argument(level) != AFFINITY_LEVEL_PROCESSOR {
        return Verdict::Known(PsciReturn::InvalidParameters);
    }
    match find(running, target) {
        None => Verdict::Known(PsciReturn::InvalidParameters),
        Some(target) if target.index() == running.identity.index => Verdict::Known(PsciReturn::ON),
        Some(_) => Verdict::AskHost,
    }
}

/// Answers a call that names a processor, or leaves it to the Host.
fn finish<H: Hal>(
    running: &mut Running<'_, '_, H>,
    decide: impl FnOnce(&Running<'_, '_, H>, [u64; 3]) -> Verdict,
    arguments: [u64; 3],
) -> Next {
    match decide(running, arguments) {
        Verdict::Known(result) => answer(running, result.to_register()),
        Verdict::AskHost => {
            let [target, ..] = arguments;
            keep_arguments(running, arguments);
            running.rec.set_psci_pending(true);
            skip_instruction(&mut running.rec.context);
            Next::Stop(Stop::Psci([fid(running), target, 0, 0]))
        }
    }
}

/// `CPU_SUSPEND`: every power state is a standby state, so the Realm goes on behind the call.
fn suspend<H: Hal>(running: &mut Running<'_, '_, H>) -> Next {
    let stop = Stop::Psci([fid(running), 0, 0, 0]);
    return_word(&mut running.rec.context, PsciReturn::Success.to_register());
    Next::Stop(stop)
}

/// `CPU_OFF`: the REC cannot be entered until another turns it on.
fn cpu_off<H: Hal>(running: &mut Running<'_, '_, H>) -> Next {
    running.is_turned_off = true;
    Next::Stop(Stop::Psci([fid(running), 0, 0, 0]))
}

/// `SYSTEM_OFF` and `SYSTEM_RESET`: no REC of the Realm can be entered any more.
fn system_off<H: Hal>(running: &Running<'_, '_, H>) -> Next {
    let owner = running.identity.owner.phys();
    let mut rd = running
        .monitor
        .granules()
        .lock::<RdState>(owner)
        .expect("a Realm with RECs does not go away");
    rd.map_mut(running.hal.window())
        .set_state(RealmState::SystemOff);
    Next::Stop(Stop::Psci([fid(running), 0, 0, 0]))
}

/// Returns the processor that a call names, if the Realm ever had it.
fn find<H: Hal>(running: &Running<'_, '_, H>, target: u64) -> Option<RecMpidr> {
    let target = RecMpidr::from_affinity(target)?;
    let owner = running.identity.owner.phys();
    let rd = running
        .monitor
        .granules()
        .lock::<RdState>(owner)
        .expect("a Realm with RECs does not go away");
    let known = rd.map(running.hal.window()).rec_index();
    (target.index() < known).then_some(target)
}

fn answer<H: Hal>(running: &mut Running<'_, '_, H>, value: u64) -> Next {
    return_word(&mut running.rec.context, value);
    Next::Resume
}

fn fid<H: Hal>(running: &Running<'_, '_, H>) -> u64 {
    let [x0, ..] = running.rec.context.gprs;
    fid_of(x0)
}

/// Returns x1 to x3 as far as they count.
fn arguments<H: Hal>(running: &Running<'_, '_, H>, convention: Convention) -> [u64; 3] {
    let [_, x1, x2, x3, ..] = running.rec.context.gprs;
    [x1, x2, x3].map(|register| convention.argument(register))
}

/// Leaves the part of x1 to x3 that counts for the completion to find.
fn keep_arguments<H: Hal>(running: &mut Running<'_, '_, H>, arguments: [u64; 3]) {
    let [_, x1, x2, x3, ..] = &mut running.rec.context.gprs;
    [*x1, *x2, *x3] = arguments;
}
