// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The calls of a Realm to the monitor: one function per call.
//!
//! The specification orders no failures here: arguments are checked from x1 up.

mod attest;
mod config;
mod host_call;
mod ipa_state;
mod measurement;
mod version;

use rmi::{Ipa, RsiCommand, RsiStatus};
use rmm_granule::Locked;
use rmm_hal::Hal;

use crate::commands::smc::return_status;
use crate::realm::{RdState, RealmMemoryError};
use crate::rec::exit::Stop;
use crate::rec::running::{Next, Running};

pub(crate) use host_call::complete as complete_host_call;
pub(crate) use ipa_state::complete as complete_ipa_state_set;

/// Serves a call.
pub(crate) fn serve<H: Hal>(running: &mut Running<'_, '_, H>, command: RsiCommand) -> Next {
    match command {
        RsiCommand::Version => version::version(running),
        RsiCommand::Features => version::features(running),
        RsiCommand::MeasurementRead => measurement::read(running),
        RsiCommand::MeasurementExtend => measurement::extend(running),
        RsiCommand::AttestationTokenInit => attest::init(running),
        RsiCommand::AttestationTokenContinue => attest::proceed(running),
        RsiCommand::RealmConfig => config::realm_config(running),
        RsiCommand::IpaStateSet => ipa_state::set(running),
        RsiCommand::IpaStateGet => ipa_state::get(running),
        RsiCommand::HostCall => host_call::call(running),
    }
}

/// Ends a call with success and its outputs.
fn succeed<H: Hal, const N: usize>(running: &mut Running<'_, '_, H>, outputs: [u64; N]) -> Next {
    return_status(&mut running.rec.context, RsiStatus::Success, outputs);
    Next::Resume
}

/// Ends a call without outputs.
fn fail<H: Hal>(running: &mut Running<'_, '_, H>, status: RsiStatus) -> Next {
    return_status(&mut running.rec.context, status, []);
    Next::Resume
}

/// Ends a call whose buffer at `ipa` could not be accessed. The Realm makes the call again when the
/// Host has provided the page; a page that is EMPTY is the Realm's own mistake.
fn fail_at<H: Hal>(running: &mut Running<'_, '_, H>, ipa: Ipa, error: RealmMemoryError) -> Next {
    match error {
        RealmMemoryError::NotProtected | RealmMemoryError::Empty => {
            fail(running, RsiStatus::ErrorInput)
        }
        RealmMemoryError::Missing { level } => Next::Stop(Stop::missing_page(ipa, level)),
    }
}

/// Locks the descriptor of the Realm.
fn lock_rd<'m, H: Hal>(running: &Running<'_, 'm, H>) -> Locked<'m, RdState> {
    running
        .monitor
        .granules()
        .lock(running.identity.owner.phys())
        .expect("a Realm with RECs does not go away")
}

/// Admits the address of a protected buffer: `addr_align` and `addr_bound`.
fn protected_buffer<H: Hal>(
    running: &Running<'_, '_, H>,
    addr: u64,
    alignment: u64,
) -> Option<Ipa> {
    let ipa = Ipa::new(addr);
    (ipa.is_aligned(alignment) && running.realm.tree.is_protected(ipa)).then_some(ipa)
}
