// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The way in: see `entry.S` and `image.ld`.

use core::arch::global_asm;

use crate::mmu;

/// Number of PEs the host uses; `MAX_PES` of `image.ld`.
pub(crate) const MAX_PES: usize = 8;
/// Size of one PE's stacks with their guard pages in bytes; `STACK_SLOT_BYTES` of `image.ld`.
pub(crate) const STACK_SLOT_BYTES: usize = 0x2_0000;
/// Where the dump stack is in the slot: after a guard page.
pub(crate) const DUMP_STACK: core::ops::Range<usize> = 0x1000..0x5000;
/// Where the stack is in the slot: after another guard page.
pub(crate) const STACK: core::ops::Range<usize> = 0x6000..STACK_SLOT_BYTES;

global_asm!(
    include_str!("entry.S"),
    first_map = sym mmu::FIRST_MAP,
    mair = const mmu::MAIR,
    tcr = const mmu::TCR,
    first_sctlr = const mmu::FIRST_SCTLR,
    stack_slot_bytes = const STACK_SLOT_BYTES,
);
