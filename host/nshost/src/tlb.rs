// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Translation and cache maintenance for the stage 2 of normal VMs.
//!
//! An invalidation by IPA acts on the VMID in `VTTBR_EL2`, so it is loaded for the time being
//! (Arm ARM, `TLBI IPAS2E1IS`). The host invalidates while it is at EL2, where stage 2 is off.

use core::arch::asm;

use aarch64_cpu::asm::barrier;
use aarch64_cpu::registers::{Readable, VTTBR_EL2, Writeable};
use host_mm::addr::{PAGE_SIZE, Pfn};
use host_mm::machine::Tlb;
use rmi::Ipa;

use crate::cpu::{self, cache_type};
use crate::machine::Machine;

/// Bits of `VTTBR_EL2` to the right of the VMID.
const VMID_SHIFT: u32 = 48;
/// Ranges with more bytes are forgotten with everything else of the VM: what one range operation of
/// the smallest scale covers.
const LARGEST: u64 = 64 * PAGE_SIZE;
/// Operand of a range operation: 4 KiB granule; the place of the number of pairs of pages less one.
const RANGE_GRANULE: u64 = 0b01 << 46;
const RANGE_NUMBER_SHIFT: u32 = 39;
/// log2 of the bytes in a word, the unit of `CTR_EL0`'s line sizes.
const WORD_SHIFT: u64 = 2;

impl Tlb for Machine {
    fn publish(&self) {
        barrier::dsb(barrier::ISHST);
    }

    fn invalidate_ipa(&self, vmid: u16, ipa: Ipa, size: u64) {
        if size > LARGEST {
            return self.invalidate_vm(vmid);
        }
        barrier::dsb(barrier::ISHST);
        with_vmid(vmid, || {
            forget_everywhere(ipa.raw() / PAGE_SIZE, size.div_ceil(PAGE_SIZE));
            barrier::dsb(barrier::ISH);
            // SAFETY: forgetting translations changes no memory. Combined entries of both stages
            // have to go too.
            unsafe { asm!("tlbi vmalle1is", options(nostack)) };
            barrier::dsb(barrier::ISH);
        });
    }

    fn invalidate_ipa_here(&self, vmid: u16, ipa: Ipa, size: u64) {
        barrier::dsb(barrier::NSHST);
        with_vmid(vmid, || {
            if size > LARGEST {
                // SAFETY: forgetting translations changes no memory.
                unsafe { asm!("tlbi vmalls12e1", options(nostack)) };
            } else {
                let first = ipa.raw() / PAGE_SIZE;
                for page in first..first + size.div_ceil(PAGE_SIZE) {
                    // SAFETY: as above.
                    unsafe { asm!("tlbi ipas2e1, {}", in(reg) page, options(nostack)) };
                }
                barrier::dsb(barrier::NSH);
                // SAFETY: as above.
                unsafe { asm!("tlbi vmalle1", options(nostack)) };
            }
            barrier::dsb(barrier::NSH);
        });
    }

    fn invalidate_vm(&self, vmid: u16) {
        barrier::dsb(barrier::ISHST);
        with_vmid(vmid, || {
            // SAFETY: forgetting translations changes no memory.
            unsafe { asm!("tlbi vmalls12e1is", options(nostack)) };
            barrier::dsb(barrier::ISH);
        });
    }

    fn clean_data(&self, pfn: Pfn, size: u64) {
        for_each_line(data_line_bytes(), pfn, size, |line| {
            // SAFETY: cleaning writes back what is already there.
            unsafe { asm!("dc cvac, {}", in(reg) line, options(nostack)) };
        });
        barrier::dsb(barrier::ISH);
    }

    fn sync_instructions(&self, pfn: Pfn, size: u64) {
        for_each_line(data_line_bytes(), pfn, size, |line| {
            // SAFETY: cleaning writes back what is already there.
            unsafe { asm!("dc cvau, {}", in(reg) line, options(nostack)) };
        });
        barrier::dsb(barrier::ISH);
        for_each_line(instruction_line_bytes(), pfn, size, |line| {
            // SAFETY: instructions are fetched again.
            unsafe { asm!("ic ivau, {}", in(reg) line, options(nostack)) };
        });
        barrier::dsb(barrier::ISH);
        barrier::isb(barrier::SY);
    }
}

/// Makes all CPUs forget `count` pages of stage 2, at most 64, from page number `first` on.
fn forget_everywhere(first: u64, count: u64) {
    if count > 1 && cpu::has_range_invalidation() {
        let number = count.div_ceil(2) - 1;
        let operand = first | RANGE_GRANULE | number << RANGE_NUMBER_SHIFT;
        // SAFETY: `TLBI RIPAS2E1IS` forgets translations and changes no memory.
        unsafe { asm!("sys #4, c8, c0, #2, {}", in(reg) operand, options(nostack)) };
        return;
    }
    for page in first..first + count {
        // SAFETY: forgetting translations changes no memory.
        unsafe { asm!("tlbi ipas2e1is, {}", in(reg) page, options(nostack)) };
    }
}

fn with_vmid(vmid: u16, act: impl FnOnce()) {
    let before = VTTBR_EL2.get();
    VTTBR_EL2.set(u64::from(vmid) << VMID_SHIFT);
    barrier::isb(barrier::SY);
    act();
    VTTBR_EL2.set(before);
    barrier::isb(barrier::SY);
}

fn for_each_line(line_bytes: u64, pfn: Pfn, size: u64, mut act: impl FnMut(u64)) {
    let start = pfn.address();
    (0..size.div_ceil(line_bytes)).for_each(|line| act(start + line * line_bytes));
}

fn data_line_bytes() -> u64 {
    1 << (WORD_SHIFT + (cache_type() >> 16 & 0xF))
}

fn instruction_line_bytes() -> u64 {
    1 << (WORD_SHIFT + (cache_type() & 0xF))
}
