// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Copies to and from Non-secure memory, and fills, that may fail.
//!
//! The Host can move a granule out of the Non-secure world halfway through a copy, and may name an
//! address with nothing behind it. Both end as an abort on one of the instructions in the fix-up list,
//! which `vectors.rs` turns into a return value.

use core::arch::global_asm;
use core::ptr::NonNull;

use rmi::{GRANULE_BYTES, GranuleAddr};
use rmm_granule::AccessFault;
use rmm_hal::{CpuFeatures, NsMemory};

use crate::stage1::NS_WINDOW;
use crate::window::{NS_SLOT, WindowTable};

global_asm!(include_str!("ns_copy.S"), include_str!("features.S"));

unsafe extern "C" {
    fn rmm_copy_in(to: *mut u8, from: *const u8, bytes: usize) -> u64;
    fn rmm_copy_out(to: *mut u8, from: *const u8, bytes: usize) -> u64;
    fn rmm_zero_granule(at: *mut u8) -> u64;
    fn rmm_copy_granule(to: *mut u8, from: *const u8, bytes: usize) -> u64;
    fn rmm_set_granule(at: *mut u8) -> u64;
}

/// Non-secure memory as this PE copies it.
#[derive(Debug)]
pub struct NsCopy {
    table: WindowTable,
    means: Means,
}

impl NsCopy {
    pub(crate) fn new(table: WindowTable, means: Means) -> Self {
        Self { table, means }
    }

    fn with_window(
        &self,
        granule: GranuleAddr,
        offset: usize,
        bytes: usize,
        copy: impl FnOnce(*mut u8) -> u64,
    ) -> Result<(), AccessFault> {
        assert!(
            offset.is_multiple_of(8) && bytes.is_multiple_of(8),
            "a copy of Non-secure memory is not made of whole words"
        );
        assert!(
            offset <= GRANULE_BYTES && bytes <= GRANULE_BYTES - offset,
            "a copy of Non-secure memory leaves its granule"
        );
        let view = self.table.show(NS_SLOT, granule, NS_WINDOW);
        let status = copy(view.as_ptr().wrapping_add(offset));
        self.table.hide(view);
        outcome(status)
    }
}

impl NsMemory for NsCopy {
    fn read(&self, from: GranuleAddr, offset: usize, into: &mut [u8]) -> Result<(), AccessFault> {
        let (to, bytes) = (into.as_mut_ptr(), into.len());
        self.with_window(from, offset, bytes, |view| match self.means {
            // SAFETY: `into` is writable for its length, a multiple of 8; the window shows that much
            // behind `view`, and an abort there is an error value.
            Means::Registers => unsafe { rmm_copy_in(to, view, bytes) },
            // SAFETY: as above, and the PE has the instructions (`Means::best`).
            Means::Instructions => unsafe { rmm_copy_granule(to, view, bytes) },
        })
    }

    fn write(&self, to: GranuleAddr, offset: usize, from: &[u8]) -> Result<(), AccessFault> {
        let (from, bytes) = (from.as_ptr(), from.len());
        self.with_window(to, offset, bytes, |view| match self.means {
            // SAFETY: `from` is readable for its length, a multiple of 8; the window shows that much
            // behind `view`, and an abort there is an error value.
            Means::Registers => unsafe { rmm_copy_out(view, from, bytes) },
            // SAFETY: as above, and the PE has the instructions (`Means::best`).
            Means::Instructions => unsafe { rmm_copy_granule(view, from, bytes) },
        })
    }
}

/// How this PE copies and fills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Means {
    /// With pairs of registers, and `DC ZVA`.
    Registers,
    /// With the memory copy and set instructions.
    Instructions,
}

impl Means {
    /// Returns the fastest way of a PE with these features.
    pub(crate) fn best(features: &CpuFeatures) -> Self {
        if features.mops && !cfg!(feature = "register-copies") {
            Self::Instructions
        } else {
            Self::Registers
        }
    }

    /// Writes zeroes over the granule that a window shows at `view`.
    ///
    /// # Safety
    ///
    /// The window shows the granule for the whole call and nobody else uses the granule. The PE has what
    /// this way needs.
    pub(crate) unsafe fn zero(self, view: NonNull<u8>) -> Result<(), AccessFault> {
        let status = match self {
            // SAFETY: 4 KiB at `view` are mapped writable (caller); an abort there is an error value.
            Self::Registers => unsafe { rmm_zero_granule(view.as_ptr()) },
            // SAFETY: as above, and the PE has the instructions (caller).
            Self::Instructions => unsafe { rmm_set_granule(view.as_ptr()) },
        };
        outcome(status)
    }
}

fn outcome(status: u64) -> Result<(), AccessFault> {
    if status == 0 {
        Ok(())
    } else {
        Err(AccessFault)
    }
}
