// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Non-secure memory, as something that can only be copied.

use rmi::GranuleAddr;
use rmm_granule::AccessFault;

/// Copies between the monitor's memory and the Host's.
///
/// Another agent can take a granule out of the Non-secure world at any moment, halfway through a copy
/// too. That is an error value here and never a crash.
pub trait NsMemory {
    /// Copies `into.len()` bytes from `offset` of a Host granule. `offset` and the length are
    /// multiples of 8 inside one granule; anything else panics.
    ///
    /// # Errors
    ///
    /// [`AccessFault`] when the granule is not accessible through the Non-secure address space;
    /// `into` may then hold part of the bytes.
    fn read(&self, from: GranuleAddr, offset: usize, into: &mut [u8]) -> Result<(), AccessFault>;

    /// Copies `from.len()` bytes to `offset` of a Host granule, under the same rules.
    ///
    /// # Errors
    ///
    /// [`AccessFault`] when the granule is not accessible; some bytes may have been written.
    fn write(&self, to: GranuleAddr, offset: usize, from: &[u8]) -> Result<(), AccessFault>;
}
