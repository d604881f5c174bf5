// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What EL3 does for the monitor.

use rmi::GranuleAddr;

/// EL3 refused a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct El3Error;

/// The granule protection table is EL3's; the monitor only asks.
pub trait El3 {
    /// Moves a granule from the Non-secure to the Realm physical address space.
    ///
    /// # Errors
    ///
    /// [`El3Error`] when the granule is not Non-secure or not described granule by granule.
    fn delegate(&self, granule: GranuleAddr) -> Result<(), El3Error>;

    /// Moves a granule from the Realm to the Non-secure physical address space.
    ///
    /// # Errors
    ///
    /// [`El3Error`] when the granule does not belong to the Realm world.
    fn undelegate(&self, granule: GranuleAddr) -> Result<(), El3Error>;
}
