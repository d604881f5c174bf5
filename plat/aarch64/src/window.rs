// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Windows: how a PE sees a granule for a moment.
//!
//! Each PE has a level 3 table of its own and addresses that no other PE uses, so showing and hiding a
//! granule is a store and local maintenance. Two windows are for the copies and fills of one call; the
//! others are a pool of slots, each taken by one view at a time.

use core::arch::asm;
use core::cell::Cell;
use core::marker::PhantomData;
use core::ptr::{NonNull, with_exposed_provenance_mut};
use core::sync::atomic::{AtomicU64, Ordering};

use rmi::{GRANULE_BYTES, GranuleAddr};
use rmm_granule::{AccessFault, GranuleWindow};

use crate::entry::PeSlot;
use crate::ns_copy::Means;
use crate::stage1::{REALM_WINDOW, windows_of};

/// The window for Non-secure memory.
pub(crate) const NS_SLOT: usize = 0;
/// The window for filling a granule with zeroes.
const ZERO_SLOT: usize = 1;
/// The first window of the pool.
const POOL: usize = 2;
/// Windows in the pool: one command maps about five granules, a table walk included.
const POOL_SLOTS: usize = 16;
/// The entries of a level 3 table. What it covers is aligned to its size.
const WINDOWS: usize = 512;

/// The window table of this PE.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WindowTable {
    entries: &'static [AtomicU64; WINDOWS],
    base: NonNull<u8>,
    _on_this_pe: PhantomData<*mut ()>,
}

impl WindowTable {
    pub(crate) fn new(slot: &PeSlot) -> Self {
        let table = slot.window_table() as usize;
        let entries = with_exposed_provenance_mut::<[AtomicU64; WINDOWS]>(table);
        // SAFETY: stage 1 set a level 3 table aside for this PE, for ever; it is 4 KiB of mapped memory
        // whose only writer is this PE, through these atomics.
        let entries = unsafe { &*entries };
        let base = NonNull::new(with_exposed_provenance_mut(windows_of(slot.number())));
        let table = Self {
            entries,
            base: base.expect("windows are not at address zero"),
            _on_this_pe: PhantomData,
        };
        for slot in 0..POOL + POOL_SLOTS {
            table.hide(table.view(slot));
        }
        table
    }

    /// Shows `granule` in the empty window `slot`.
    #[inline]
    pub(crate) fn show(&self, slot: usize, granule: GranuleAddr, attributes: u64) -> NonNull<u8> {
        self.entries[slot].store(granule.raw() | attributes, Ordering::Relaxed);
        // SAFETY: barriers only: the walker of this PE sees the entry, then the instructions behind use
        // it (Arm ARM D8.2.6). An invalid entry is not cached, so nothing needs to be invalidated.
        unsafe { asm!("dsb nshst", "isb", options(nostack, preserves_flags)) };
        self.view(slot)
    }

    /// Empties the window whose view this is, and returns its slot.
    ///
    /// Waits until no earlier access can use the old entry. Instructions that were fetched already may
    /// not, so nothing needs to be synchronised: the next to use the address shows something there first.
    #[inline]
    pub(crate) fn hide(&self, view: NonNull<u8>) -> usize {
        let page = view.addr().get() / GRANULE_BYTES;
        let slot = page % WINDOWS;
        self.entries[slot].store(0, Ordering::Relaxed);
        // SAFETY: invalidates one page of addresses that only windows use; the owner of the view promised
        // not to use it again.
        unsafe {
            asm!(
                "dsb nshst",
                "tlbi vae2, {page}",
                "dsb nsh",
                page = in(reg) page,
                options(nostack, preserves_flags)
            );
        }
        slot
    }

    fn view(&self, slot: usize) -> NonNull<u8> {
        self.base.map_addr(|base| base | (slot * GRANULE_BYTES))
    }
}

/// The windows of this PE on granules of the Realm world.
#[derive(Debug)]
pub struct Windows {
    table: WindowTable,
    means: Means,
    /// Bit n: window n, one of the pool, is free.
    free: Cell<u32>,
}

impl Windows {
    pub(crate) fn new(table: WindowTable, means: Means) -> Self {
        Self {
            table,
            means,
            free: Cell::new(((1 << POOL_SLOTS) - 1) << POOL),
        }
    }
}

// SAFETY: a taken slot is not given out again before its `unmap`, so a view keeps showing its granule; the
// descriptor maps all of it read-write, cacheable and inner shareable as every observer of Realm memory
// does. Panics when the pool is empty.
unsafe impl GranuleWindow for Windows {
    #[inline]
    fn map(&self, granule: GranuleAddr) -> NonNull<u8> {
        let free = self.free.get();
        assert!(free != 0, "every window of this PE is taken");
        // The lowest bit that is set, and the others.
        self.free.set(free & (free - 1));
        self.table
            .show(free.trailing_zeros() as usize, granule, REALM_WINDOW)
    }

    #[inline]
    unsafe fn unmap(&self, view: NonNull<u8>) {
        let slot = self.table.hide(view);
        self.free
            .set(self.free.get() | 1_u32.wrapping_shl(slot as u32));
    }

    unsafe fn zero(&self, granule: GranuleAddr) -> Result<(), AccessFault> {
        let view = self.table.show(ZERO_SLOT, granule, REALM_WINDOW);
        // SAFETY: the window shows the granule until `hide`, and the caller promises that nobody else
        // uses it. `means` was chosen for this PE.
        let result = unsafe { self.means.zero(view) };
        self.table.hide(view);
        result
    }
}
