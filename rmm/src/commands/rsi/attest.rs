// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! `RSI_ATTESTATION_TOKEN_INIT` and `RSI_ATTESTATION_TOKEN_CONTINUE`.
//!
//! The monitor has no key and makes no token: beginning one fails, so that none is ever in progress.

use rmi::{GRANULE_SIZE, RsiStatus};
use rmm_hal::Hal;

use crate::commands::rsi::{fail, protected_buffer};
use crate::rec::running::{Next, Running};

/// `RSI_ATTESTATION_TOKEN_INIT`: `UNKNOWN`.
pub(super) fn init<H: Hal>(running: &mut Running<'_, '_, H>) -> Next {
    fail(running, RsiStatus::ErrorUnknown)
}

/// `RSI_ATTESTATION_TOKEN_CONTINUE`. `INPUT` on `addr_align`, `addr_bound`, `offset_bound`,
/// `size_overflow` and `size_bound`, else `STATE`.
pub(super) fn fetch<H: Hal>(running: &mut Running<'_, '_, H>) -> Next {
    let [_, addr, offset, size, ..] = running.rec.context.gprs;
    let is_page = protected_buffer(running, addr, GRANULE_SIZE).is_some();
    let end = offset.checked_add(size);
    let is_inside = offset < GRANULE_SIZE && end.is_some_and(|end| end <= GRANULE_SIZE);
    let status = if is_page && is_inside {
        RsiStatus::ErrorState
    } else {
        RsiStatus::ErrorInput
    };
    fail(running, status)
}
