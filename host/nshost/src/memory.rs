// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Physical memory as the host reaches it, and the records of its pages.
//!
//! The host's map maps DRAM to itself, so a physical address is also a pointer. A guest, or the RMM
//! on its behalf, may write Non-secure pages at any time, which is why no reference to one is ever
//! made except to a translation table, whose entries are atomics.

use alloc::vec::Vec;
use core::ops::Range;
use core::ptr;
use core::sync::atomic::AtomicU64;

use host_mm::addr::{BLOCK_2M, PAGE_BYTES, PAGE_SIZE, Pfn, PhysRange};
use host_mm::client::RmiCalls;
use host_mm::host::Host;
use host_mm::machine::{PhysMemory, Table};
use host_mm::memmap::{Mapping, MemoryMap};
use host_mm::pages::{Delegable, PageAllocator, PageUse, Wish};
use host_vmm::platform::{self, Platform, PlatformError, SIZE_BYTES};

use crate::machine::Machine;
use crate::{cpu, tags};

/// Size of the pieces in which memory is probed at first, in bytes.
const PROBE_BYTES: u64 = 256 << 20;
/// Words of a page.
const WORDS: usize = PAGE_BYTES / size_of::<u64>();

impl PhysMemory for Machine {
    fn zero_page(&self, pfn: Pfn) {
        // SAFETY: the trait's callers name a page of the host, mapped and not delegated.
        unsafe { ptr::write_bytes(page(pfn), 0, WORDS) };
    }

    fn copy_page(&self, from: Pfn, to: Pfn) {
        // SAFETY: the trait's callers name pages of the host, mapped and not delegated; `copy`
        // allows that they are one page.
        unsafe { ptr::copy(page(from).cast_const(), page(to), WORDS) };
        if cpu::has_tags() {
            tags::copy(from, to);
        }
    }

    fn read(&self, address: u64, bytes: &mut [u8]) {
        let from = ptr::with_exposed_provenance::<u8>(address as usize);
        // SAFETY: the trait's callers name bytes within a page of the host; a local buffer does not
        // overlap with it.
        unsafe { ptr::copy_nonoverlapping(from, bytes.as_mut_ptr(), bytes.len()) };
    }

    fn write(&self, address: u64, bytes: &[u8]) {
        let to = ptr::with_exposed_provenance_mut::<u8>(address as usize);
        // SAFETY: as for `read`.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) };
    }

    fn table(&self, pfn: Pfn) -> &Table {
        let table = page(pfn).cast::<[AtomicU64; WORDS]>();
        // SAFETY: the trait's callers name a page of the host that is a table; everybody reaches it
        // through atomics or is the MMU.
        unsafe { &*table }
    }

    fn clear_tags(&self, pfn: Pfn) {
        if cpu::has_tags() {
            tags::clear(pfn);
        }
    }

    fn contains(&self, pfn: Pfn, pattern: &[u8]) -> bool {
        let Some((first, rest)) = pattern.split_first_chunk() else {
            return false;
        };
        let first = u64::from_ne_bytes(*first);
        (0..WORDS - rest.len() / size_of::<u64>())
            .filter(|index| read_word(pfn, *index) == first)
            .any(|index| {
                let mut found = [0; PAGE_BYTES];
                let offset = index * size_of::<u64>();
                self.read(pfn.address(), &mut found);
                found[offset..].starts_with(pattern)
            })
    }

    fn is_uniform(&self, pfn: Pfn) -> bool {
        let first = read_word(pfn, 0);
        (1..WORDS).all(|index| read_word(pfn, index) == first)
    }
}

fn page(pfn: Pfn) -> *mut u64 {
    ptr::with_exposed_provenance_mut(pfn.address() as usize)
}

fn read_word(pfn: Pfn, index: usize) -> u64 {
    let word = page(pfn).wrapping_add(index);
    // SAFETY: callers name a page of the host and an index below `WORDS`.
    unsafe { word.read() }
}

/// Returns memory as it is.
///
/// # Safety
/// `range` must be mapped memory that nobody changes, ever.
pub(crate) unsafe fn bytes(range: Range<u64>) -> &'static [u8] {
    let start = ptr::with_exposed_provenance(range.start as usize);
    let len = (range.end - range.start) as usize;
    // SAFETY: the caller vouches for the memory.
    unsafe { core::slice::from_raw_parts(start, len) }
}

/// Reads the device tree at `address`; returns the machine and where the tree is.
///
/// # Safety
/// `address` must be the start of a page of mapped memory, with a device tree or something else in
/// it, that nobody changes.
///
/// # Errors
/// There is no useful device tree.
pub(crate) unsafe fn read_platform(address: u64) -> Result<(Platform, Range<u64>), PlatformError> {
    // SAFETY: the caller vouches for a page.
    let head = unsafe { bytes(address..address + SIZE_BYTES as u64) };
    let head = head.first_chunk().expect("it has that size");
    let size = platform::tree_bytes(head).ok_or(PlatformError::Malformed)?;
    let range = address..address + size as u64;
    // SAFETY: what starts like a device tree has the size it says.
    let tree = unsafe { bytes(range.clone()) };
    Ok((Platform::parse(tree)?, range))
}

/// Returns the records of all pages of `dram`, with those of `in_use` taken out.
pub(crate) fn allocator(dram: &[Range<u64>], in_use: &[Range<u64>]) -> PageAllocator {
    let ranges: Vec<PhysRange> = dram.iter().map(phys_range).collect();
    let pages = PageAllocator::new(&ranges);
    for range in in_use {
        pages.reserve(phys_range(range));
    }
    pages
}

/// Returns the map in which `dram` is memory and everything else a device.
pub(crate) fn map(dram: &[Range<u64>]) -> MemoryMap {
    let regions: Vec<_> = dram
        .iter()
        .map(|range| (phys_range(range), Mapping::Map))
        .collect();
    MemoryMap::new(&regions)
}

/// Finds out which memory the RMM accepts, from a free page at both ends of each piece; a piece
/// whose ends differ is halved until it is small. A page in the middle that is refused after all is
/// met, and set aside, when it is first used.
///
/// Returns how many bytes the RMM refuses.
pub(crate) fn probe(host: &Host<Machine>, dram: &[Range<u64>]) -> u64 {
    let mut refused = 0;
    for range in dram {
        let mut start = range.start;
        while start < range.end {
            let end = range.end.min((start / PROBE_BYTES + 1) * PROBE_BYTES);
            refused += probe_piece(host, PhysRange::new(start, end - start));
            start = end;
        }
    }
    refused
}

fn probe_piece(host: &Host<Machine>, piece: PhysRange) -> u64 {
    let pages = piece.size / PAGE_SIZE;
    let first = Pfn::containing(piece.base);
    let bottom = probe_first(host, (0..pages).map(|page| first.offset(page)));
    let top = probe_first(host, (0..pages).rev().map(|page| first.offset(page)));
    if bottom && top {
        return 0;
    }
    if bottom != top && piece.size > BLOCK_2M {
        let half = (piece.size / 2).next_multiple_of(BLOCK_2M);
        let upper = PhysRange::new(piece.base + half, piece.size - half);
        return probe_piece(host, PhysRange::new(piece.base, half)) + probe_piece(host, upper);
    }
    host.pages().set_delegable(piece, Delegable::No);
    piece.size
}

/// Tries the first free page of `candidates`. Where there is none, there is nothing to give away
/// and nothing to refuse.
fn probe_first(host: &Host<Machine>, mut candidates: impl Iterator<Item = Pfn>) -> bool {
    let (pages, machine) = (host.pages(), host.machine());
    let free = candidates.find(|pfn| pages.allocate_at(*pfn, 0, PageUse::Spare, Wish::Any));
    let Some(pfn) = free else {
        return true;
    };
    let is_accepted = machine.granule_delegate(pfn).is_ok();
    if is_accepted && machine.granule_undelegate(pfn).is_err() {
        pages.leak(pfn);
    }
    pages.put(pfn);
    is_accepted
}

fn phys_range(range: &Range<u64>) -> PhysRange {
    PhysRange::new(range.start, range.end - range.start)
}
