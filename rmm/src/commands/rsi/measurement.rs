// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! `RSI_MEASUREMENT_READ` and `RSI_MEASUREMENT_EXTEND`.

use rmi::RsiStatus;
use rmi::rsi::{MEASUREMENT_BYTES, bytes_of_registers, registers_of_bytes};
use rmm_hal::Hal;

use crate::commands::rsi::{fail, lock_rd, succeed};
use crate::rec::running::{Next, Running};

/// `RSI_MEASUREMENT_READ`. `INPUT` on an index that is not 0 to 4.
pub(super) fn read<H: Hal>(running: &mut Running<'_, '_, H>) -> Next {
    let [_, index, ..] = running.rec.context.gprs;
    let value = {
        let rd = lock_rd(running);
        rd.map(running.hal.window()).measurement(index).copied()
    };
    match value {
        Some(value) => succeed(running, registers_of_bytes(&value.0)),
        None => fail(running, RsiStatus::ErrorInput),
    }
}

/// `RSI_MEASUREMENT_EXTEND`. `INPUT` on an index that is not 1 to 4 and on a size above 64.
pub(super) fn extend<H: Hal>(running: &mut Running<'_, '_, H>) -> Next {
    let [_, index, size, x3, x4, x5, x6, x7, x8, x9, x10, ..] = running.rec.context.gprs;
    let bytes: [u8; MEASUREMENT_BYTES] = bytes_of_registers([x3, x4, x5, x6, x7, x8, x9, x10]);
    let value = usize::try_from(size)
        .ok()
        .and_then(|size| bytes.get(..size));
    let is_extended = value.is_some_and(|value| {
        let mut rd = lock_rd(running);
        rd.map_mut(running.hal.window())
            .extend_rem(running.hal.sha2(), index, value)
            .is_ok()
    });
    if is_extended {
        succeed(running, [])
    } else {
        fail(running, RsiStatus::ErrorInput)
    }
}
