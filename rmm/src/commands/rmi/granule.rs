// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! `RMI_GRANULE_DELEGATE` and `RMI_GRANULE_UNDELEGATE`.

use rmi::RmiError;
use rmm_granule::{Delegated, Undelegated};
use rmm_hal::{El3, Hal};

use crate::boot::Monitor;

/// `RMI_GRANULE_DELEGATE`. Fails with INPUT on `gran_align`, `gran_bound`, `gran_state` and, when EL3
/// refuses, `gran_gpt`.
#[inline(never)]
pub(crate) fn delegate<H: Hal>(monitor: &Monitor<'_>, hal: &H, addr: u64) -> Result<(), RmiError> {
    let granule = monitor.lock::<Undelegated>(addr)?;
    let address = granule.addr();
    hal.el3().delegate(address).map_err(|_| RmiError::Input)?;
    match granule.admit(hal.window()) {
        Ok(_delegated) => Ok(()),
        Err(_undelegated) => {
            // No memory answers there, whatever the platform said: it is not the Host's to give.
            hal.el3()
                .undelegate(address)
                .expect("EL3 takes back what it has just given");
            Err(RmiError::Input)
        }
    }
}

/// `RMI_GRANULE_UNDELEGATE`. Fails with INPUT on `gran_align`, `gran_bound` and `gran_state`.
///
/// A delegated granule is all zeroes, so nothing is left to wipe.
#[inline(never)]
pub(crate) fn undelegate<H: Hal>(
    monitor: &Monitor<'_>,
    hal: &H,
    addr: u64,
) -> Result<(), RmiError> {
    let granule = monitor.lock::<Delegated>(addr)?;
    hal.el3()
        .undelegate(granule.addr())
        .expect("a delegated granule belongs to the Realm world");
    let _undelegated = granule.release();
    Ok(())
}
