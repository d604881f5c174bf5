// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! `RMI_PSCI_COMPLETE`.

use rmi::psci::{PsciFunction, PsciId, PsciReturn};
use rmi::{PhysAddr, RecMpidr, RmiError};
use rmm_hal::Hal;

use crate::boot::Monitor;
use crate::commands::rmi::unavailable;
use crate::commands::smc::set_word;
use crate::rec::context::turn_on;
use crate::rec::{RecState, Runnable};

/// `RMI_PSCI_COMPLETE`. All failures are INPUT: `alias`, `calling_align`, `calling_bound`,
/// `calling_state`, `target_align`, `target_bound`, `target_state`, `pending`, `owner`, `target`,
/// `status`.
///
/// A caller that runs has no call pending. A status that is not permitted leaves the call pending, to be
/// completed with another one: only a command that succeeds changes anything (specification, B1.6, B1.9).
#[inline(never)]
pub(crate) fn complete<H: Hal>(
    monitor: &Monitor<'_>,
    hal: &H,
    calling: u64,
    target: u64,
    status: u64,
) -> Result<(), RmiError> {
    loop {
        match try_complete(monitor, hal, calling, target, status) {
            Ok(()) => return Ok(()),
            Err(Refusal::Invalid(error)) => return Err(error),
            Err(Refusal::TargetBusy) => core::hint::spin_loop(),
        }
    }
}

/// Why nothing was completed.
enum Refusal {
    /// The Host is wrong.
    Invalid(RmiError),
    /// The target is off, so it does not run, but another PE has it in use: an `RMI_REC_ENTER` that is
    /// about to fail, or one that has yet to report that the REC turned itself off. Neither waits for
    /// anything, and what the Realm learns must not depend on them.
    TargetBusy,
}

impl From<RmiError> for Refusal {
    fn from(error: RmiError) -> Self {
        Self::Invalid(error)
    }
}

fn try_complete<H: Hal>(
    monitor: &Monitor<'_>,
    hal: &H,
    calling: u64,
    target: u64,
    status: u64,
) -> Result<(), Refusal> {
    let (mut calling, mut target) = monitor
        .granules()
        .lock_set2::<RecState, RecState>(PhysAddr::new(calling), PhysAddr::new(target))
        .map_err(unavailable)?;
    let owner = calling.map_header(hal.window()).owner();
    let (target_owner, target_mpidr, is_on) = {
        let header = target.map_header(hal.window());
        (header.owner(), header.mpidr(), header.is_runnable())
    };
    let mut calling = calling.map_idle(hal.window()).map_err(unavailable)?;
    if !calling.is_psci_pending() || owner != target_owner {
        return Err(RmiError::Input.into());
    }
    let [x0, x1, entry, context_id, ..] = calling.context.gprs;
    if RecMpidr::from_affinity(x1) != Some(target_mpidr) {
        return Err(RmiError::Input.into());
    }
    let result = decide(function(x0), status, is_on).ok_or(RmiError::Input)?;

    if result == Completion::TurnOn {
        let callers_sctlr = calling.context.el1.sctlr_el1;
        let mut target_rec = target
            .map_idle(hal.window())
            .map_err(|_| Refusal::TargetBusy)?;
        turn_on(&mut target_rec.context, entry, context_id, callers_sctlr);
        target_rec.set_pending_serror(None);
        drop(target_rec);
        target.map_header(hal.window()).set_runnable(Runnable::Yes);
    }
    set_word(&mut calling.context, result.answer().to_register());
    calling.set_psci_pending(false);
    Ok(())
}

/// How a pending call ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Completion {
    /// The target starts, and the caller learns of success.
    TurnOn,
    /// The caller learns something.
    Answer(PsciReturn),
}

impl Completion {
    fn answer(self) -> PsciReturn {
        match self {
            Self::TurnOn => PsciReturn::Success,
            Self::Answer(result) => result,
        }
    }
}

fn function(x0: u64) -> PsciFunction {
    match PsciId::from_fid(x0) {
        Some(PsciId::Known(function, _)) => function,
        Some(PsciId::Unknown) | None => unreachable!("only a known function becomes pending"),
    }
}

/// Says how a call of `function` ends when the Host says `status` of a target that is on or off.
/// Nothing when the Host may not say that.
fn decide(function: PsciFunction, status: u64, is_on: bool) -> Option<Completion> {
    let is_cpu_on = function == PsciFunction::CpuOn;
    match PsciReturn::from_register(status)? {
        PsciReturn::Success => Some(match (is_cpu_on, is_on) {
            (true, true) => Completion::Answer(PsciReturn::AlreadyOn),
            (true, false) => Completion::TurnOn,
            (false, true) => Completion::Answer(PsciReturn::ON),
            (false, false) => Completion::Answer(PsciReturn::Off),
        }),
        PsciReturn::Denied if is_cpu_on && !is_on => Some(Completion::Answer(PsciReturn::Denied)),
        PsciReturn::Denied
        | PsciReturn::Off
        | PsciReturn::NotSupported
        | PsciReturn::InvalidParameters
        | PsciReturn::AlreadyOn
        | PsciReturn::OnPending
        | PsciReturn::InternalFailure
        | PsciReturn::NotPresent
        | PsciReturn::Disabled
        | PsciReturn::InvalidAddress => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn completion_follows_the_table() {
        use PsciFunction::{AffinityInfo, CpuOn};
        let rows = [
            (CpuOn, true, PsciReturn::AlreadyOn),
            (AffinityInfo, true, PsciReturn::ON),
            (AffinityInfo, false, PsciReturn::Off),
        ];
        for (function, is_on, expected) in rows {
            assert_eq!(
                decide(function, 0, is_on),
                Some(Completion::Answer(expected))
            );
        }
        assert_eq!(decide(CpuOn, 0, false), Some(Completion::TurnOn));
    }

    #[test]
    fn host_may_deny_only_to_turn_on_what_is_off() {
        let denied = PsciReturn::Denied.to_register();
        let answer = Some(Completion::Answer(PsciReturn::Denied));
        assert_eq!(decide(PsciFunction::CpuOn, denied, false), answer);
        assert_eq!(decide(PsciFunction::CpuOn, denied, true), None);
        assert_eq!(decide(PsciFunction::AffinityInfo, denied, false), None);
        assert_eq!(decide(PsciFunction::AffinityInfo, denied, true), None);
    }

    #[test]
    fn host_may_say_nothing_else() {
        for status in PsciReturn::ALL {
            if matches!(status, PsciReturn::Success | PsciReturn::Denied) {
                continue;
            }
            for function in [PsciFunction::CpuOn, PsciFunction::AffinityInfo] {
                for is_on in [true, false] {
                    assert_eq!(decide(function, status.to_register(), is_on), None);
                }
            }
        }
        assert_eq!(decide(PsciFunction::CpuOn, 0xFFFF_FFFD, false), None);
        assert_eq!(decide(PsciFunction::CpuOn, 2, false), None);
    }
}
