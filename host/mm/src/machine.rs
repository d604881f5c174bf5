// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What this crate asks of the machine under it.
//!
//! Small traits, one per kind of thing; [`Machine`] is all of them together. The image implements
//! them with instructions, tests with ordinary memory. All methods may be called on several CPUs
//! at once.

use core::sync::atomic::AtomicU64;

use rmi::{Ipa, table::REGISTERS};

use crate::addr::{Granularity, Hva, PAGE_BYTES, Pfn};

/// The way to the RMM.
pub trait Rmi: Sync {
    /// Makes the call in x0 to x7 and returns x0 to x7 of the reply.
    fn call(&self, registers: [u64; REGISTERS]) -> [u64; REGISTERS];
}

/// Entries of one translation table. The walker of the MMU is another observer.
pub type Table = [AtomicU64; 512];

/// Non-secure physical memory, a page at a time.
///
/// The caller vouches that a page is the host's: in a zone of the allocator, not delegated.
pub trait PhysMemory: Sync {
    /// Fills a page with zeros.
    fn zero_page(&self, pfn: Pfn);
    /// Copies one page over another, with its allocation tags where there are any.
    fn copy_page(&self, from: Pfn, to: Pfn);
    /// Reads bytes that lie within one page.
    fn read(&self, address: u64, bytes: &mut [u8]);
    /// Writes bytes that lie within one page.
    fn write(&self, address: u64, bytes: &[u8]);
    /// Returns the entries of a page that is used as a translation table.
    fn table(&self, pfn: Pfn) -> &Table;
    /// Clears the allocation tags of a page.
    fn clear_tags(&self, pfn: Pfn);

    /// Whether `pattern` occurs in the page at an offset that is a multiple of eight.
    fn contains(&self, pfn: Pfn, pattern: &[u8]) -> bool {
        let mut page = [0; PAGE_BYTES];
        self.read(pfn.address(), &mut page);
        !pattern.is_empty()
            && page
                .windows(pattern.len())
                .step_by(8)
                .any(|window| window == pattern)
    }

    /// Whether the page is one 64-bit word repeated: zero, or a scrub pattern.
    fn is_uniform(&self, pfn: Pfn) -> bool {
        let mut page = [0; PAGE_BYTES];
        self.read(pfn.address(), &mut page);
        let (first, rest) = page.split_at(8);
        rest.chunks_exact(8).all(|word| word == first)
    }
}

/// Translation and cache maintenance for the stage 2 of normal VMs.
pub trait Tlb: Sync {
    /// Makes table writes visible to walks by every CPU.
    fn publish(&self);
    /// Invalidates what `vmid` has cached for `size` bytes at `ipa`, leaf entries and walks, on
    /// every CPU, and waits for it.
    fn invalidate_ipa(&self, vmid: u16, ipa: Ipa, size: u64);
    /// Does the same on this CPU alone.
    fn invalidate_ipa_here(&self, vmid: u16, ipa: Ipa, size: u64);
    /// Invalidates everything of `vmid` on every CPU, and waits for it.
    fn invalidate_vm(&self, vmid: u16);
    /// Cleans the data of `size` bytes at `pfn` to the point of coherency.
    fn clean_data(&self, pfn: Pfn, size: u64);
    /// Makes instruction fetches of `size` bytes at `pfn` see the data.
    fn sync_instructions(&self, pfn: Pfn, size: u64);
}

/// What the VMM is told outside the reply to a fault.
pub trait Vmm: Sync {
    /// The memory at `hva`, of the given granularity, has an uncorrectable error (rule F14).
    fn memory_failure(&self, hva: Hva, granularity: Granularity);
    /// Nothing backs `hva`, and its area asks that the VMM be told (`context` is the area's).
    fn missing_page(&self, context: u64, hva: Hva);
}

/// A whole machine.
pub trait Machine: Rmi + PhysMemory + Tlb + Vmm {}

impl<T: Rmi + PhysMemory + Tlb + Vmm> Machine for T {}
