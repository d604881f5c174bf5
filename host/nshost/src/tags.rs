// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Allocation tags of memory (FEAT_MTE2), four bits for each 16 bytes.
//!
//! EL3 decides with `SCR_EL3.ATA` whether anybody below it reaches tags; without, they read as zero
//! and writes do nothing. TF-A 2.12 leaves it clear on QEMU virt (`ENABLE_FEAT_MTE2` is 0 there). It
//! cannot be read here, so the host tries. No guest is told of tags (`host_vmm::normal` hides them,
//! and `HCR_EL2.ATA` is clear), so [`check`] is all that uses them on such a machine.

use core::arch::asm;
use core::ptr;

use host_mm::addr::{PAGE_SIZE, Pfn};
use host_mm::host::Host;
use host_mm::machine::PhysMemory;
use host_mm::pages::{PageUse, Wish};

use crate::cpu;
use crate::machine::Machine;

/// Bytes with one tag.
const GRANULE: u64 = 16;
/// Place of the tag in an address.
const TAG_SHIFT: u32 = 56;
const TAG: u64 = 0xF;

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

/// Finds out what the machine has of tags, on two pages of the host, and tries the host's own
/// handling of them.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn check(host: &Host<Machine>) -> Result<Tags, &'static str> {
    if !cpu::has_tags() {
        return Ok(Tags::None);
    }
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

/// Clears the tags of a page, on a CPU that has them.
pub(crate) fn clear(pfn: Pfn) {
    granules(pfn).for_each(|at| store(at, 0));
}

/// Copies the tags of one page to another, on a CPU that has them.
pub(crate) fn copy(from: Pfn, to: Pfn) {
    for (from, to) in granules(from).zip(granules(to)) {
        store(to, load(from));
    }
}

fn granules(pfn: Pfn) -> impl Iterator<Item = u64> {
    let step = GRANULE as usize;
    let start = pfn.address();
    (start..start + PAGE_SIZE).step_by(step)
}

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
    tagged >> TAG_SHIFT & TAG
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
