// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The heap: the memory behind the image. A first part serves until the size of DRAM is known, then
//! a second one is added that is large enough for the page allocator's records.

use core::ops::Range;

use host_mm::addr::PAGE_SIZE;
use spin::Mutex;
use talc::TalcLock;
use talc::source::Manual;

use crate::image;

/// Size of the first part in bytes.
const FIRST_BYTES: u64 = 4 << 20;
/// What the host needs beside records of pages, in bytes.
const BASE_BYTES: u64 = 16 << 20;
/// What the records of one page of DRAM need at most, in bytes.
const BYTES_PER_PAGE: u64 = 20;

#[global_allocator]
static HEAP: TalcLock<Mutex<()>, Manual> = TalcLock::new(Manual);

/// Gives the heap its first part.
///
/// # Safety
/// Only once, before anything is allocated; the memory behind the image must be free.
pub(crate) unsafe fn init() {
    // SAFETY: the caller vouches for the memory.
    unsafe { claim(first()) };
}

/// Returns where the second part will be on a machine with `dram_bytes` of memory.
pub(crate) fn second(dram_bytes: u64) -> Range<u64> {
    let start = first().end;
    let records = dram_bytes / PAGE_SIZE * BYTES_PER_PAGE;
    start..(start + BASE_BYTES + records).next_multiple_of(PAGE_SIZE)
}

/// Gives the heap its second part.
///
/// # Safety
/// Only once; `part` must be what [`second`] returned, lie in DRAM, and be free.
pub(crate) unsafe fn add(part: Range<u64>) {
    // SAFETY: the caller vouches for the memory.
    unsafe { claim(part) };
}

fn first() -> Range<u64> {
    let start = image::whole().end;
    start..start + FIRST_BYTES
}

/// # Safety
/// `part` must be mapped memory that nothing else uses, ever.
unsafe fn claim(part: Range<u64>) {
    let bytes = (part.end - part.start) as usize;
    let base = core::ptr::with_exposed_provenance_mut(part.start as usize);
    // SAFETY: the caller vouches for the memory; a `Manual` source allows claims.
    unsafe { HEAP.lock().claim(base, bytes) }.expect("the part is large enough for a heap");
}
