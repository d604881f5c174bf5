// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! `RSI_HOST_CALL`.

use core::mem::offset_of;

use rmi::rsi::HOST_CALL_ALIGNMENT;
use rmi::{HostCall, Ipa, RsiStatus};
use rmm_hal::Hal;
use zerocopy::IntoBytes;

use crate::commands::rsi::{fail, fail_at, protected_buffer};
use crate::commands::smc::set_status;
use crate::realm::RealmMemoryError;
use crate::rec::context::skip_instruction;
use crate::rec::exit::Stop;
use crate::rec::running::{Next, Running};

/// `RSI_HOST_CALL`. `INPUT` on `addr_align` and `addr_bound`. The Realm gets the Host's answer at the
/// next entry.
pub(super) fn call<H: Hal>(running: &mut Running<'_, '_, H>) -> Next {
    let [_, addr, ..] = running.rec.context.gprs;
    let Some(ipa) = protected_buffer(running, addr, HOST_CALL_ALIGNMENT) else {
        return fail(running, RsiStatus::ErrorInput);
    };
    let mut call = HostCall::default();
    if let Err(error) = running.read_memory(ipa, call.as_mut_bytes()) {
        return fail_at(running, ipa, error);
    }
    running.rec.set_host_call_pending(true);
    skip_instruction(&mut running.rec.context);
    *running.host_gprs = call.gprs;
    Next::Stop(Stop::HostCall { imm: call.imm })
}

/// Gives the Realm the Host's answer. The call stays pending while its page is missing.
///
/// A page that became EMPTY meanwhile takes no answer, and the Realm learns that its buffer was wrong.
pub(crate) fn complete<H: Hal>(running: &mut Running<'_, '_, H>, gprs: &[u64; 31]) -> Next {
    let [_, addr, ..] = running.rec.context.gprs;
    let first = addr.saturating_add(u64::try_from(offset_of!(HostCall, gprs)).expect("8"));
    let status = match running.write_memory(Ipa::new(first), gprs.as_bytes()) {
        Ok(()) => RsiStatus::Success,
        Err(RealmMemoryError::Missing { level }) => {
            return Next::Stop(Stop::missing_page(Ipa::new(addr), level));
        }
        Err(RealmMemoryError::Empty | RealmMemoryError::NotProtected) => RsiStatus::ErrorInput,
    };
    running.rec.set_host_call_pending(false);
    set_status(&mut running.rec.context, status, []);
    Next::Resume
}
