// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! From EL3's entry to the image's code, on every PE.
//!
//! Each PE owns a slot of memory:
//!
//! ```text
//! 0        block: affinity, crash flag, table of the PE's windows
//! ..8K     emergency stack, for a crash dump after an overflow
//! 8K..64K  not mapped
//! 64K..    stack, grows down from the end of the slot at 128K
//! ```
//!
//! so that in an address bit 16 tells stack from gap.

use core::arch::global_asm;
use core::fmt;
use core::marker::PhantomData;
use core::mem::{align_of, offset_of, size_of};
use core::ops::Range;
use core::ptr::with_exposed_provenance_mut;
use core::sync::atomic::{AtomicU64, Ordering};

use arm_pl011_uart::Uart;
use rmi::GranuleAddr;

use crate::regs::read_sysreg;
use crate::shared::SharedPage;
use crate::stage1::{MapError, MapRegisters, Stage1};

/// The bit that is set in the addresses of a stack and clear in those of the gap below it.
pub(crate) const STACK_BIT: u32 = 16;
pub(crate) const SLOT_BYTES: usize = 2 << STACK_BIT;
pub(crate) const STACK_BYTES: usize = 1 << STACK_BIT;
/// End of the emergency stack in a slot.
pub(crate) const EMERGENCY_TOP: usize = 0x2000;

global_asm!(
    include_str!("entry.S"),
    SLOT_PAGES = const SLOT_BYTES >> 12,
    BLOCK_CRASHING = const PeBlock::CRASHING,
);

unsafe extern "C" {
    /// Turns the MMU on with this map, for this PE now and for every later PE; see `entry.S`.
    fn rmm_enter_map(map: *const MapRegisters);
}

unsafe extern "Rust" {
    // Defined by the image through `image!`.
    safe fn rmm_image_cold(boot: ColdBoot) -> !;
    safe fn rmm_image_warm(boot: WarmBoot) -> !;
}

/// Names the two functions of an image that a boot comes to: `fn(ColdBoot) -> !` on the first PE,
/// `fn(WarmBoot) -> !` on every other one and again whenever a PE is switched on.
#[macro_export]
macro_rules! image {
    (cold: $cold:path, warm: $warm:path) => {
        const _: () = {
            #[unsafe(no_mangle)]
            fn rmm_image_cold(boot: $crate::ColdBoot) -> ! {
                $cold(boot)
            }

            #[unsafe(no_mangle)]
            fn rmm_image_warm(boot: $crate::WarmBoot) -> ! {
                $warm(boot)
            }
        };
    };
}

/// Returns the address of a symbol of the linker script.
macro_rules! symbol {
    ($name:ident) => {{
        unsafe extern "C" {
            static $name: u8;
        }
        (&raw const $name).expose_provenance()
    }};
}
pub(crate) use symbol;

/// What is at the start of a PE's slot.
#[repr(C)]
pub(crate) struct PeBlock {
    /// Whose slot it is: affinity fields of `MPIDR_EL1` and bit 31, or zero.
    affinity: AtomicU64,
    /// Not zero once the PE writes its crash dump.
    crashing: AtomicU64,
    /// Address of the table with the PE's windows.
    pub(crate) window_table: AtomicU64,
}

impl PeBlock {
    /// Where the crash flag is, for `vectors.S`.
    pub(crate) const CRASHING: usize = offset_of!(PeBlock, crashing);

    /// Says whether the PE is writing its crash dump, and that it is from now on.
    pub(crate) fn begin_crash(&self) -> bool {
        self.crashing.swap(1, Ordering::Relaxed) != 0
    }

    /// Says whether the PE is writing its crash dump.
    pub(crate) fn is_crashing(&self) -> bool {
        self.crashing.load(Ordering::Relaxed) != 0
    }
}

/// Returns the memory of all slots.
pub(crate) fn slots() -> Range<usize> {
    symbol!(__slots_start)..symbol!(__slots_end)
}

/// Returns the address of this PE's slot.
pub(crate) fn this_slot() -> usize {
    // The register is 64 bits wide, as is `usize`.
    read_sysreg!("TPIDR_EL2") as usize
}

/// Returns the block of the PE whose slot is at `slot`.
pub(crate) fn block(slot: usize) -> &'static PeBlock {
    debug_assert!(slots().contains(&slot) && slot.is_multiple_of(SLOT_BYTES));
    // SAFETY: the slot's first bytes are a block of atomics in memory that is mapped for ever; all bit
    // patterns are valid, and nothing else refers to them.
    unsafe { &*with_exposed_provenance_mut::<PeBlock>(slot) }
}

/// The right to be this PE: exists once per boot of a PE.
#[derive(Debug)]
pub struct PeSlot {
    slot: usize,
    _on_this_pe: PhantomData<*mut ()>,
}

impl PeSlot {
    /// The caller is the code that runs first on this PE.
    fn new() -> Self {
        Self {
            slot: this_slot(),
            _on_this_pe: PhantomData,
        }
    }

    /// Returns the number of the slot, which stays the PE's for as long as the image runs.
    #[must_use]
    pub fn number(&self) -> usize {
        number_of(self.slot)
    }

    /// Returns `MPIDR_EL1`.
    #[must_use]
    pub fn mpidr(&self) -> u64 {
        read_sysreg!("MPIDR_EL1")
    }

    pub(crate) fn window_table(&self) -> u64 {
        block(self.slot).window_table.load(Ordering::Relaxed)
    }
}

/// Returns the number of the slot at this address.
pub(crate) fn number_of(slot: usize) -> usize {
    (slot - slots().start) / SLOT_BYTES
}

/// The first PE, with the machine in its hands.
#[derive(Debug)]
pub struct ColdBoot {
    /// X0 to X3 as EL3 set them.
    pub registers: [u64; 4],
    /// This PE.
    pub slot: PeSlot,
    /// Memory behind the image.
    pub spare: SpareMemory,
    stage1: Stage1,
}

impl ColdBoot {
    /// Returns the number of PEs this image has room for.
    #[must_use]
    pub fn pe_limit(&self) -> u64 {
        (slots().len() / SLOT_BYTES) as u64
    }

    /// Returns the first granule of the RMM's memory and the number of granules.
    #[must_use]
    pub fn own_memory(&self) -> (GranuleAddr, u64) {
        let start = symbol!(__image_start) as u64;
        let end = symbol!(__region_end) as u64;
        let first = GranuleAddr::new(start).expect("the image is linked to a page boundary");
        (first, (end - start) / rmi::GRANULE_SIZE)
    }

    /// Maps a console: `pages` pages of PL011 registers.
    ///
    /// # Errors
    ///
    /// [`MapError`] when the range cannot be mapped or something else is mapped there. Mapping the same
    /// console twice is an error too.
    pub fn map_console(
        &mut self,
        base: GranuleAddr,
        pages: u64,
    ) -> Result<Uart<'static>, MapError> {
        let registers = self.stage1.map_device(base, pages)?;
        Ok(crate::console::uart(registers))
    }

    /// Maps the page shared with EL3.
    ///
    /// # Errors
    ///
    /// [`MapError`] when it cannot be mapped or something else is mapped there.
    pub fn map_shared_page(&mut self, page: GranuleAddr) -> Result<SharedPage, MapError> {
        Ok(SharedPage::new(self.stage1.map_memory(page)?))
    }
}

/// A PE that EL3 switched on later.
#[derive(Debug)]
pub struct WarmBoot {
    /// X0 as EL3 set it.
    pub x0: u64,
    /// This PE.
    pub slot: PeSlot,
}

/// There is not enough memory behind the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoMemory;

impl fmt::Display for NoMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the memory behind the image is used up")
    }
}

/// The memory between the image and the end of the RMM's region; given out once, never back.
#[derive(Debug)]
pub struct SpareMemory {
    free: Range<usize>,
}

impl SpareMemory {
    /// Returns a new slice of `count` elements, element `n` being `init(n)`.
    ///
    /// # Errors
    ///
    /// [`NoMemory`] when fewer bytes are left.
    pub fn take<T: 'static>(
        &mut self,
        count: usize,
        mut init: impl FnMut(usize) -> T,
    ) -> Result<&'static mut [T], NoMemory> {
        let start = self.free.start.next_multiple_of(align_of::<T>());
        let bytes = count.checked_mul(size_of::<T>()).ok_or(NoMemory)?;
        let end = start.checked_add(bytes).ok_or(NoMemory)?;
        if end > self.free.end {
            return Err(NoMemory);
        }
        self.free.start = end;
        let first = with_exposed_provenance_mut::<T>(start);
        for n in 0..count {
            // SAFETY: element `n` lies in `start..end`, aligned, in mapped memory that was given to
            // nobody before.
            let element = unsafe { first.add(n) };
            // SAFETY: as above; writing does not read or drop what was there.
            unsafe { element.write(init(n)) };
        }
        // SAFETY: `count` initialised elements, which nobody else can reach, for as long as the image
        // runs.
        Ok(unsafe { core::slice::from_raw_parts_mut(first, count) })
    }
}

/// Called by `entry.S` on the first PE, MMU off.
#[unsafe(no_mangle)]
extern "C" fn rmm_cold_boot(x0: u64, x1: u64, x2: u64, x3: u64) -> ! {
    let stage1 = Stage1::build();
    let registers = stage1.registers();
    // SAFETY: the map shows the image, this stack and everything Rust can reach where they are now, and
    // nothing writable is executable. Called once, with the MMU off.
    unsafe { rmm_enter_map(&registers) };
    stage1.mark_active();
    let spare = SpareMemory {
        free: symbol!(__image_end)..symbol!(__region_end),
    };
    rmm_image_cold(ColdBoot {
        registers: [x0, x1, x2, x3],
        slot: PeSlot::new(),
        spare,
        stage1,
    })
}

/// Called by `entry.S` on every other PE, MMU on.
#[unsafe(no_mangle)]
extern "C" fn rmm_warm_boot(x0: u64) -> ! {
    rmm_image_warm(WarmBoot {
        x0,
        slot: PeSlot::new(),
    })
}
