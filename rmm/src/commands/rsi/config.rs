// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! `RSI_REALM_CONFIG`.

use rmi::{GRANULE_SIZE, RealmConfig, RsiStatus};
use rmm_hal::Hal;
use zerocopy::IntoBytes;

use crate::commands::rsi::{fail, fail_at, lock_rd, protected_buffer, succeed};
use crate::rec::running::{Next, Running};

/// `RSI_REALM_CONFIG`. `INPUT` on `addr_align` and `addr_bound`.
pub(super) fn realm_config<H: Hal>(running: &mut Running<'_, '_, H>) -> Next {
    let [_, addr, ..] = running.rec.context.gprs;
    let Some(ipa) = protected_buffer(running, addr, GRANULE_SIZE) else {
        return fail(running, RsiStatus::ErrorInput);
    };
    let config = config_of(running);
    match running.write_memory(ipa, config.as_bytes()) {
        Ok(()) => succeed(running, []),
        Err(error) => fail_at(running, ipa, error),
    }
}

fn config_of<H: Hal>(running: &Running<'_, '_, H>) -> RealmConfig {
    let rd = lock_rd(running);
    let rd = rd.map(running.hal.window());
    RealmConfig::new(u64::from(rd.ipa_bits()), rd.hash_algo(), *rd.rpv())
}
