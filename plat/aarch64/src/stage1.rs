// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The monitor's own map, the same on every PE.
//!
//! Everything is where it is in physical memory, except the windows. With 39 bits of address the walk
//! starts at level 1; what a window shows may be anywhere in 48 bits.
//!
//! | what | how |
//! |---|---|
//! | code | read-only, executable |
//! | constants | read-only |
//! | data, tables, memory behind the image | read-write |
//! | per PE: block with emergency stack, stack | read-write; nothing mapped between them |
//! | console | device |
//! | page shared with EL3 | read-write |
//! | windows, from 2^38: 2 MiB per PE | a table per PE, empty |
//!
//! `SCTLR_EL2.WXN` makes anything writable non-executable whatever the tables say. There is no map of
//! DRAM.

use core::fmt;
use core::mem::ManuallyDrop;
use core::ptr::{NonNull, with_exposed_provenance_mut};
use core::sync::atomic::Ordering;

use aarch64_paging::Mapping;
use aarch64_paging::descriptor::{El23Attributes, PhysicalAddress};
use aarch64_paging::paging::{Constraints, El2, MemoryRegion, PAGE_SIZE, PageTable, Translation};
use rmi::GranuleAddr;

use crate::entry::{self, EMERGENCY_TOP, SLOT_BYTES, STACK_BYTES, symbol};
use crate::regs::read_sysreg;

/// Address bits of the monitor's map.
const VA_BITS: usize = 39;
/// Where the walk starts with [`VA_BITS`].
const ROOT_LEVEL: usize = 1;
/// Address of the first PE's windows.
const WINDOWS: usize = 1 << (VA_BITS - 1);
/// Distance between the windows of two PEs: what one level 3 table covers.
const WINDOWS_STRIDE: usize = 512 * PAGE_SIZE;

/// `MAIR_EL2`: 0 is write-back memory, 1 is Device-nGnRE.
const MAIR: u64 = 0xFF | 0x04 << 8;
const MEMORY: El23Attributes =
    El23Attributes::ATTRIBUTE_INDEX_0.union(El23Attributes::INNER_SHAREABLE);
const DEVICE: El23Attributes = El23Attributes::ATTRIBUTE_INDEX_1;
/// `USER_RES1` is AP\[1\], which must be one in a regime with one privilege level.
const VALID: El23Attributes = El23Attributes::VALID
    .union(El23Attributes::ACCESSED)
    .union(El23Attributes::USER_RES1);
const CODE: El23Attributes = VALID.union(MEMORY).union(El23Attributes::READ_ONLY);
const CONSTANT: El23Attributes = CODE.union(El23Attributes::XN);
const DATA: El23Attributes = VALID.union(MEMORY).union(El23Attributes::XN);
const REGISTERS: El23Attributes = VALID.union(DEVICE).union(El23Attributes::XN);
/// An entry that is not valid, and not empty either.
const RESERVED: El23Attributes = El23Attributes::SWFLAG_0;

/// The descriptor of a window on Realm memory, without the address.
pub(crate) const REALM_WINDOW: u64 = DATA.union(El23Attributes::TABLE_OR_PAGE).bits() as u64;
/// The descriptor of a window on Non-secure memory, without the address.
pub(crate) const NS_WINDOW: u64 = REALM_WINDOW | El23Attributes::NS.bits() as u64;

/// `SCTLR_EL2`: its bits that are one (EIS and EOS among them), M, C, SA, I, WXN.
const SCTLR: u64 = 0x30C5_0830 | 1 | 1 << 2 | 1 << 3 | 1 << 12 | 1 << 19;

/// `TCR_EL2`: its bits that are one, inner shareable write-back walks, 4 KiB granule.
const TCR: u64 = 1 << 31 | 1 << 23 | 0b11 << 12 | 1 << 10 | 1 << 8 | (64 - VA_BITS as u64);
const TCR_PS_SHIFT: u32 = 16;
/// The physical address size of 48 bits, the most a descriptor holds without `TCR_EL2.DS`.
const PS_48_BITS: u64 = 5;

/// A range could not be mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapError;

impl fmt::Display for MapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the range is not free in the monitor's map")
    }
}

/// The registers that make a PE use the map, as `entry.S` reads them.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct MapRegisters {
    ttbr: u64,
    tcr: u64,
    mair: u64,
    sctlr: u64,
}

/// The map itself. It outlives everything, so it is never dropped.
pub(crate) struct Stage1(ManuallyDrop<Mapping<Pool, El2>>);

impl Stage1 {
    /// Writes the map of the image, its memory and the windows. Runs with the MMU off.
    pub(crate) fn build() -> Self {
        let mut stage1 = Self(ManuallyDrop::new(Mapping::new(
            Pool::new(),
            ROOT_LEVEL,
            El2,
        )));
        let code = symbol!(__image_start);
        let constants = symbol!(__text_end);
        let data = symbol!(__rodata_end);
        let slots = entry::slots();
        let spare = symbol!(__image_end);
        stage1.map(code, constants, CODE);
        stage1.map(constants, data, CONSTANT);
        stage1.map(data, slots.start, DATA);
        stage1.map(spare, symbol!(__region_end), DATA);
        for (number, slot) in slots.step_by(SLOT_BYTES).enumerate() {
            stage1.map(slot, slot + EMERGENCY_TOP, DATA);
            stage1.map(slot + SLOT_BYTES - STACK_BYTES, slot + SLOT_BYTES, DATA);
            let table = stage1.reserve_windows(windows_of(number));
            entry::block(slot)
                .window_table
                .store(table as u64, Ordering::Relaxed);
        }
        stage1
    }

    /// Returns what a PE needs to use the map.
    pub(crate) fn registers(&self) -> MapRegisters {
        let pa_range = read_sysreg!("ID_AA64MMFR0_EL1") & 0xF;
        MapRegisters {
            ttbr: self.0.root_address().0 as u64,
            tcr: TCR | pa_range.min(PS_48_BITS) << TCR_PS_SHIFT,
            mair: MAIR,
            sctlr: SCTLR,
        }
    }

    /// Says that PEs walk the tables from now on.
    pub(crate) fn mark_active(&self) {
        self.0.mark_active();
    }

    /// Maps the registers of a device and returns their address.
    pub(crate) fn map_device(
        &mut self,
        base: GranuleAddr,
        pages: u64,
    ) -> Result<NonNull<u8>, MapError> {
        self.map_new(base, pages, REGISTERS)
    }

    /// Maps one page of memory and returns its address.
    pub(crate) fn map_memory(&mut self, page: GranuleAddr) -> Result<NonNull<u8>, MapError> {
        self.map_new(page, 1, DATA)
    }

    fn map_new(
        &mut self,
        base: GranuleAddr,
        pages: u64,
        attributes: El23Attributes,
    ) -> Result<NonNull<u8>, MapError> {
        let start = base.raw() as usize;
        let end = base.checked_next(pages).ok_or(MapError)?.raw() as usize;
        if pages == 0 || end > WINDOWS {
            return Err(MapError);
        }
        let range = MemoryRegion::new(start, end);
        let is_free = self
            .0
            .walk_range(&range, &mut |_, entry, _| match entry.is_valid() {
                true => Err(()),
                false => Ok(()),
            });
        is_free.map_err(|_| MapError)?;
        self.0
            .map_range(
                &range,
                PhysicalAddress(start),
                attributes,
                Constraints::empty(),
            )
            .map_err(|_| MapError)?;
        NonNull::new(with_exposed_provenance_mut(start)).ok_or(MapError)
    }

    fn map(&mut self, start: usize, end: usize, attributes: El23Attributes) {
        let range = MemoryRegion::new(start, end);
        let pa = PhysicalAddress(start);
        self.0
            .map_range(&range, pa, attributes, Constraints::NO_CONTIGUOUS_HINT)
            .expect("the image's memory lies inside the monitor's map");
    }

    /// Makes a level 3 table for the windows at `windows` and returns its address.
    fn reserve_windows(&mut self, windows: usize) -> usize {
        let range = MemoryRegion::new(windows, windows + PAGE_SIZE);
        self.0
            .map_range(
                &range,
                PhysicalAddress(0),
                RESERVED,
                Constraints::NO_BLOCK_MAPPINGS,
            )
            .expect("the windows lie inside the monitor's map");
        let mut first = 0;
        self.0
            .walk_range(&range, &mut |_, entry, level| {
                assert!(level == 3, "a window has no table of its own");
                first = core::ptr::from_ref(entry).addr();
                Ok(())
            })
            .expect("the windows lie inside the monitor's map");
        first
    }
}

impl fmt::Debug for Stage1 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stage1")
    }
}

/// Returns the address of the windows of the PE with this slot number.
pub(crate) fn windows_of(number: usize) -> usize {
    WINDOWS + number * WINDOWS_STRIDE
}

/// The pages the linker script sets aside for tables.
struct Pool {
    next: usize,
    end: usize,
}

impl Pool {
    fn new() -> Self {
        Self {
            next: symbol!(__tables_start),
            end: symbol!(__tables_end),
        }
    }
}

impl Translation<El23Attributes> for Pool {
    fn allocate_table(&mut self) -> (NonNull<PageTable<El23Attributes>>, PhysicalAddress) {
        assert!(
            self.next < self.end,
            "the pages for the monitor's own tables are used up"
        );
        let page = self.next;
        self.next += PAGE_SIZE;
        let words = with_exposed_provenance_mut::<u64>(page);
        for n in 0..PAGE_SIZE / size_of::<u64>() {
            // SAFETY: word `n` lies in the page.
            let word = unsafe { words.add(n) };
            // SAFETY: the page is memory of the image that nobody uses. Volatile, so that the loop stays
            // one of plain aligned stores while the MMU is off.
            unsafe { word.write_volatile(0) };
        }
        let table = self.physical_to_virtual(PhysicalAddress(page));
        (table, PhysicalAddress(page))
    }

    unsafe fn deallocate_table(&mut self, _table: NonNull<PageTable<El23Attributes>>) {
        // The map only grows.
    }

    fn physical_to_virtual(&self, pa: PhysicalAddress) -> NonNull<PageTable<El23Attributes>> {
        NonNull::new(with_exposed_provenance_mut(pa.0)).expect("no table is at address zero")
    }
}
