// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! `RSI_VERSION` and `RSI_FEATURES`.

use rmi::RsiStatus;
use rmi::version::RSI_VERSIONS;
use rmm_hal::Hal;

use crate::commands::rsi::succeed;
use crate::commands::smc::return_status;
use crate::rec::running::{Next, Running};

/// `RSI_VERSION`. `INPUT` when the version is not supported; both outputs are valid then too.
pub(super) fn version<H: Hal>(running: &mut Running<'_, '_, H>) -> Next {
    let [_, request, ..] = running.rec.context.gprs;
    let answer = RSI_VERSIONS.negotiate(request);
    let status = if answer.is_supported {
        RsiStatus::Success
    } else {
        RsiStatus::ErrorInput
    };
    let outputs = [answer.lower.to_register(), answer.higher.to_register()];
    return_status(&mut running.rec.context, status, outputs);
    Next::Resume
}

/// `RSI_FEATURES`. Cannot fail; RSI 1.0 has no features.
pub(super) fn features<H: Hal>(running: &mut Running<'_, '_, H>) -> Next {
    succeed(running, [0])
}
