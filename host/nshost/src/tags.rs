// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Allocation tags of memory (FEAT_MTE2), four bits for each 16 bytes.
//!
//! EL3 decides with `SCR_EL3.ATA` whether anybody below it reaches tags; without, they read as zero
//! and writes do nothing. That cannot be read here, so the host tries. Where tags can be used, a
//! normal VM is told of them and has them (rule F21 of `host/mm`); a Realm never is, whatever the
//! machine has: RMM 1.0 has no tags.

use alloc::vec::Vec;
use core::arch::asm;
use core::ptr;

use host_mm::addr::{PAGE_SIZE, Pfn};
use host_mm::host::Host;
use host_mm::machine::PhysMemory;
use host_mm::pages::{MAX_ORDER, PageAllocator, PageUse, Wish};
use spin::Once;

use crate::cpu;
use crate::machine::Machine;
use crate::sysreg::read_sysreg;

/// Bytes with one tag.
const GRANULE: u64 = 16;
/// The greatest tag.
pub(crate) const MOST: u64 = 0xF;
/// Place of the tag in an address.
const TAG_SHIFT: u32 = 56;
/// A register full of one tag is this many times the tag.
const ALL_TAGS: u64 = 0x1111_1111_1111_1111;

/// What [`check`] has found.
static FOUND: Once<Tags> = Once::new();

/// What a machine has of tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tags {
    /// No memory for them.
    None,
    /// EL3 keeps them from everybody.
    Kept,
    /// They can be used, and clearing and copying work.
    Usable,
}

/// Tells whether tags can be used, after [`check`].
pub(crate) fn are_usable() -> bool {
    FOUND.get() == Some(&Tags::Usable)
}

/// Finds out what the machine has of tags, on two pages of the host, and tries the host's own
/// handling of them.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn check(host: &Host<Machine>) -> Result<Tags, &'static str> {
    let found = if cpu::has_tags() {
        try_pages(host)?
    } else {
        Tags::None
    };
    Ok(*FOUND.call_once(|| found))
}

fn try_pages(host: &Host<Machine>) -> Result<Tags, &'static str> {
    let (pages, machine) = (host.pages(), host.machine());
    let page = || pages.allocate(PageUse::Host, Wish::Any);
    let (Some(one), Some(other)) = (page(), page()) else {
        return Err("no memory to try tags on");
    };
    let places = [0, PAGE_SIZE / 2, PAGE_SIZE - GRANULE];
    let tags = |pfn: Pfn| places.map(|offset| load(pfn.address() + offset));
    for (tag, offset) in (1..).zip(places) {
        store(one.address() + offset, tag);
    }
    let found = tags(one);
    machine.copy_page(one, other);
    let copied = tags(other);
    machine.clear_tags(one);
    machine.clear_tags(other);
    let cleared = [tags(one), tags(other)];
    pages.put(one);
    pages.put(other);
    match (found, copied) {
        ([0, 0, 0], _) => Ok(Tags::Kept),
        ([1, 2, 3], [1, 2, 3]) if cleared == [[0; 3]; 2] => Ok(Tags::Usable),
        ([1, 2, 3], [1, 2, 3]) => Err("a cleared page still has tags"),
        ([1, 2, 3], _) => Err("the copy of a page has other tags"),
        _ => Err("tags are not what was stored"),
    }
}

/// Leaves tags on all free memory that comes in blocks, as former guests do; returns how many pages
/// that are. Whoever gets them must not see the tags.
pub(crate) fn leave_on_free_memory(pages: &PageAllocator) -> u64 {
    let block = || pages.allocate_block(MAX_ORDER, PageUse::Host, Wish::Any);
    let mut taken = Vec::new();
    while let Some(first) = block() {
        taken.push(first);
    }
    let mut count = 0;
    for first in taken {
        for pfn in (0..1 << MAX_ORDER).map(|page| first.offset(page)) {
            fill(pfn, 1 + pfn.raw() % MOST);
            pages.put(pfn);
            count += 1;
        }
    }
    count
}

/// Clears the tags of a page, on a CPU that has them.
pub(crate) fn clear(pfn: Pfn) {
    fill(pfn, 0);
}

/// Gives all of a page one tag, on a CPU that has them.
pub(crate) fn fill(pfn: Pfn, tag: u64) {
    blocks(pfn).for_each(|at| store_block(at, tag * ALL_TAGS));
}

/// Copies the tags of one page to another, on a CPU that has them.
pub(crate) fn copy(from: Pfn, to: Pfn) {
    for (from, to) in blocks(from).zip(blocks(to)) {
        store_block(to, load_block(from));
    }
}

/// The parts of a page whose tags one instruction moves (`GMID_EL1.BS`: words, as a power of two).
fn blocks(pfn: Pfn) -> impl Iterator<Item = u64> {
    let bytes = size_of::<u32>() << (read_sysreg!("S3_1_C0_C0_4") & 0xF);
    (pfn.address()..pfn.address() + PAGE_SIZE).step_by(bytes)
}

/// Returns the tags of a page, one for each 16 bytes, on a CPU that has them.
pub(crate) fn of_page(pfn: Pfn) -> [u8; 256] {
    core::array::from_fn(|granule| load(pfn.address() + granule as u64 * GRANULE) as u8)
}

/// Returns the tag of the 16 bytes at `address`, in a page of the host.
fn load(address: u64) -> u64 {
    let place: *const u8 = ptr::with_exposed_provenance(address as usize);
    let mut tagged = 0_u64;
    // SAFETY: the callers name a page of the host, mapped; reading a tag changes nothing.
    unsafe {
        asm!(
            ".arch_extension memtag",
            "ldg {0}, [{1}]",
            inout(reg) tagged,
            in(reg) place,
            options(nostack, preserves_flags)
        );
    }
    tagged >> TAG_SHIFT & MOST
}

fn store(address: u64, tag: u64) {
    let place: *mut u8 = ptr::with_exposed_provenance_mut(address as usize);
    // SAFETY: the callers name a page of the host, mapped. The host's own accesses are not checked
    // against tags, so changing one has no effect on them.
    unsafe {
        asm!(
            ".arch_extension memtag",
            "stg {0}, [{1}]",
            in(reg) tag << TAG_SHIFT,
            in(reg) place,
            options(nostack, preserves_flags)
        );
    }
}

/// Returns the tags of a block, each where the address says.
fn load_block(address: u64) -> u64 {
    let place: *const u8 = ptr::with_exposed_provenance(address as usize);
    let tags;
    // SAFETY: as for `load`; the block does not leave the page.
    unsafe {
        asm!(
            ".arch_extension memtag",
            "ldgm {0}, [{1}]",
            out(reg) tags,
            in(reg) place,
            options(nostack, preserves_flags)
        );
    }
    tags
}

fn store_block(address: u64, tags: u64) {
    let place: *mut u8 = ptr::with_exposed_provenance_mut(address as usize);
    // SAFETY: as for `store`; the block does not leave the page.
    unsafe {
        asm!(
            ".arch_extension memtag",
            "stgm {0}, [{1}]",
            in(reg) tags,
            in(reg) place,
            options(nostack, preserves_flags)
        );
    }
}
