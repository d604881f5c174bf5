// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! How a machine shows a granule on one PE.

use core::ptr::NonNull;

use rmi::GranuleAddr;

/// An access that the memory system refused: a granule protection fault or an external abort.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessFault;

/// Shows granules of the Realm physical address space on this PE.
///
/// # Safety
///
/// - [`map`](Self::map) returns a pointer to [`rmi::GRANULE_BYTES`] readable and writable bytes,
///   aligned to their size, that are the bytes of `granule` until [`unmap`](Self::unmap) is given that
///   pointer. Mapping another granule meanwhile never changes what the pointer shows.
/// - Memory seen through the window is coherent with every other observer of the granule.
pub unsafe trait GranuleWindow {
    /// Makes `granule` visible on this PE.
    ///
    /// Panics when every slot of the PE is taken: the monitor maps a handful of granules at a time.
    fn map(&self, granule: GranuleAddr) -> NonNull<u8>;

    /// Takes the view away again.
    ///
    /// # Safety
    ///
    /// `view` came from [`map`](Self::map) of this window and is not used afterwards.
    unsafe fn unmap(&self, view: NonNull<u8>);

    /// Writes zeroes over the whole of `granule`.
    ///
    /// # Errors
    ///
    /// [`AccessFault`] when nothing answers at that address; some bytes may then have been written.
    ///
    /// # Safety
    ///
    /// Nobody else reads or writes the granule, and no view of it exists.
    unsafe fn zero(&self, granule: GranuleAddr) -> Result<(), AccessFault>;
}
