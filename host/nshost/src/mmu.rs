// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The host's own translation: stage 1 of EL2 (`HCR_EL2.E2H` = 0), every address maps to itself.
//!
//! There are two maps. The *first map* is a constant in the image with whole gigabytes; it is on
//! while the device tree is read, because locks and unaligned accesses need memory to be cacheable.
//! The *final map* is built with `aarch64-paging` from what the device tree says: code read-only,
//! nothing writable executable (and `SCTLR_EL2.WXN` to make sure), no page under any stack, DRAM as
//! data. DRAM stays mapped while it is delegated; an access to a delegated granule is a bug that
//! ends in the exception dump.

use core::ops::Range;

use aarch64_paging::MapError;
use aarch64_paging::descriptor::El23Attributes;
use aarch64_paging::idmap::IdMap;
use aarch64_paging::paging::{El2, MemoryRegion};
use spin::Once;

use crate::board::{self, Gigabyte};
use crate::entry::{DUMP_STACK, MAX_PES, STACK, STACK_SLOT_BYTES};
use crate::{cpu, image};

/// Memory attributes: index 0 is device nGnRE, index 1 normal write-back.
pub(crate) const MAIR: u64 = 0x04 | 0xFF << 8;
/// The same where memory has allocation tags: index 1 is tagged.
const MAIR_TAGGED: u64 = 0x04 | 0xF0 << 8;
/// `SCTLR_EL2.ATA`: the host reaches tags. Its accesses are not checked against them (`TCF` is 0).
const SCTLR_TAGS: u64 = 1 << 43;
/// Translation control: 39 bits of address from level 1, 4 KiB granule, walks inner shareable and
/// write-back, 40 bits of physical address.
pub(crate) const TCR: u64 =
    (1 << 31) | (1 << 23) | (0b010 << 16) | (0b11 << 12) | (0b01 << 10) | (0b01 << 8) | (64 - 39);
/// System control while the first map is on: MMU, caches, stack alignment check; and the bits that
/// are one without virtualization host extensions.
pub(crate) const FIRST_SCTLR: u64 = 0x30C5_0830 | 1 | 1 << 2 | 1 << 3 | 1 << 12;
/// System control with the final map: nothing writable is executable.
const SCTLR: u64 = FIRST_SCTLR | 1 << 19;

const ROOT_LEVEL: usize = 1;
const GIGABYTE: u64 = 1 << 30;

/// A level 1 table.
#[repr(C, align(4096))]
pub(crate) struct FirstMap([u64; 512]);

/// The first map.
pub(crate) static FIRST_MAP: FirstMap = first_map();

const fn first_map() -> FirstMap {
    // Block, access flag set; devices never executable, memory write-back inner shareable.
    const DEVICES: u64 = 0b01 | 1 << 10 | 1 << 54;
    const MEMORY: u64 = 0b01 | 1 << 10 | 1 << 2 | 0b11 << 8;
    let mut table = [0; 512];
    let mut at = 0;
    while at < board::FIRST_GIGABYTES.len() {
        table[at] = match board::FIRST_GIGABYTES[at] {
            Some(Gigabyte::Devices) => (at as u64 * GIGABYTE) | DEVICES,
            Some(Gigabyte::Memory) => (at as u64 * GIGABYTE) | MEMORY,
            None => 0,
        };
        at += 1;
    }
    FirstMap(table)
}

const DATA: El23Attributes = El23Attributes::VALID
    .union(El23Attributes::USER_RES1)
    .union(El23Attributes::ATTRIBUTE_INDEX_1)
    .union(El23Attributes::INNER_SHAREABLE)
    .union(El23Attributes::ACCESSED)
    .union(El23Attributes::XN);
const CODE: El23Attributes = DATA
    .difference(El23Attributes::XN)
    .union(El23Attributes::READ_ONLY);
const CONSTANTS: El23Attributes = DATA.union(El23Attributes::READ_ONLY);
const DEVICE: El23Attributes = El23Attributes::VALID
    .union(El23Attributes::USER_RES1)
    .union(El23Attributes::ATTRIBUTE_INDEX_0)
    .union(El23Attributes::ACCESSED)
    .union(El23Attributes::XN);

/// The final map, from the moment it is on.
static FINAL_MAP: Once<IdMap<El2>> = Once::new();

unsafe extern "C" {
    /// See `entry.S`.
    ///
    /// # Safety
    /// The table must map the code, the stack and all memory in use to themselves, and stay as it
    /// is while it is in use.
    unsafe fn mmu_install(ttbr: u64, mair: u64, tcr: u64, sctlr: u64);
}

/// Builds the final map over `dram`, which must not overlap, and turns it on for this PE.
///
/// # Errors
/// A range that cannot be mapped.
pub(crate) fn set_up(dram: &[Range<u64>]) -> Result<(), MapError> {
    let mut map = IdMap::new(ROOT_LEVEL, El2);
    map_range(&mut map, board::DEVICES, DEVICE)?;
    let image = image::whole();
    for range in dram {
        map_range(
            &mut map,
            range.start..range.end.min(image.start).max(range.start),
            DATA,
        )?;
        map_range(
            &mut map,
            range.start.max(image.end).min(range.end)..range.end,
            DATA,
        )?;
    }
    map_range(&mut map, image::text(), CODE)?;
    map_range(&mut map, image::rodata(), CONSTANTS)?;
    map_range(&mut map, image::data(), DATA)?;
    for pe in 0..MAX_PES {
        let slot = image::stacks().start + (pe * STACK_SLOT_BYTES) as u64;
        for part in [DUMP_STACK, STACK] {
            map_range(
                &mut map,
                slot + part.start as u64..slot + part.end as u64,
                DATA,
            )?;
        }
    }
    map.mark_active();
    FINAL_MAP.call_once(|| map);
    turn_on();
    Ok(())
}

fn map_range(
    map: &mut IdMap<El2>,
    range: Range<u64>,
    attributes: El23Attributes,
) -> Result<(), MapError> {
    if range.is_empty() {
        return Ok(());
    }
    map.map_range(
        &MemoryRegion::new(range.start as usize, range.end as usize),
        attributes,
    )
}

/// Turns the final map on for this PE.
pub(crate) fn turn_on() {
    let map = FINAL_MAP
        .get()
        .expect("the primary built it before it started other PEs");
    let root = map.root_address().0 as u64;
    let (mair, sctlr) = if cpu::has_tags() {
        (MAIR_TAGGED, SCTLR | SCTLR_TAGS)
    } else {
        (MAIR, SCTLR)
    };
    // SAFETY: the map covers the image with its stacks and all DRAM in use at the same addresses
    // (see `set_up`), and lives in a static that is never written again.
    unsafe { mmu_install(root, mair, TCR, sctlr) }
}
