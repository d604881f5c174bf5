// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Access to memory that may belong to another world: a refusal is a value, not the end of the host.
//!
//! For tests only: the exception on the way uses registers of EL1, so no other VM may run.

use core::arch::global_asm;
use core::ptr;

global_asm!(include_str!("guarded.S"));

unsafe extern "C" {
    /// See `guarded.S`.
    ///
    /// # Safety
    /// What is written must be mapped memory that no reference points to, or a buffer of the caller.
    unsafe fn guarded_copy(to: *mut u8, from: *const u8, bytes: usize) -> u64;
}

/// The memory is not the host's now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused;

/// Reads physical memory.
///
/// # Errors
/// [`Refused`]; `into` may have changed.
pub(crate) fn read(from: u64, into: &mut [u8]) -> Result<(), Refused> {
    let source = ptr::with_exposed_provenance(from as usize);
    // SAFETY: the buffer is exclusively ours and has that size. Reading harms nothing.
    let refused = unsafe { guarded_copy(into.as_mut_ptr(), source, into.len()) };
    if refused == 0 { Ok(()) } else { Err(Refused) }
}

/// Writes physical memory.
///
/// # Safety
/// Where the memory is the host's, the caller must have it for itself.
///
/// # Errors
/// [`Refused`]; part may have been written.
pub(crate) unsafe fn write(to: u64, from: &[u8]) -> Result<(), Refused> {
    let target = ptr::with_exposed_provenance_mut(to as usize);
    // SAFETY: the caller has the memory for itself.
    let refused = unsafe { guarded_copy(target, from.as_ptr(), from.len()) };
    if refused == 0 { Ok(()) } else { Err(Refused) }
}
