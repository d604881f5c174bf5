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

use crate::cpu::cache_type;
use crate::machine::Machine;

/// Bits of `VTTBR_EL2` to the right of the VMID.
const VMID_SHIFT: u32 = 48;
/// Ranges with more bytes are forgotten with everything else of the VM.
const LARGEST_BY_PAGE: u64 = 16 * PAGE_SIZE;
/// log2 of the bytes in a word, the unit of `CTR_EL0`'s line sizes.
const WORD_SHIFT: u64 = 2;

impl Tlb for Machine {
    fn publish(&self) {
        barrier::dsb(barrier::ISHST);
    }

    fn invalidate_ipa(&self, vmid: u16, ipa: Ipa, size: u64) {
        if size > LARGEST_BY_PAGE {
            return self.invalidate_vm(vmid);
        }
        barrier::dsb(barrier::ISHST);
        with_vmid(vmid, || {
            for page in 0..size.div_ceil(PAGE_SIZE) {
                let operand = (ipa.raw() >> 12) + page;
                // SAFETY: forgetting translations changes no memory.
                unsafe { asm!("tlbi ipas2e1is, {}", in(reg) operand, options(nostack)) };
            }
            barrier::dsb(barrier::ISH);
            // SAFETY: as above. Combined entries of both stages have to go too.
            unsafe { asm!("tlbi vmalle1is", options(nostack)) };
            barrier::dsb(barrier::ISH);
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
