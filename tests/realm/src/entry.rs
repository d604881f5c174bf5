// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The way in: see `entry.S` and `image.ld`.

use core::arch::global_asm;

/// Number of vCPUs there are stacks for; `MAX_VCPUS` of `image.ld`.
pub(crate) const MAX_VCPUS: usize = 8;
/// Size of a stack in bytes; `STACK_BYTES` of `image.ld`.
const STACK_BYTES: usize = 0x8000;
/// `CPACR_EL1` with FPEN, ZEN and SMEN set.
const CPACR: u64 = 0b11 << 24 | 0b11 << 20 | 0b11 << 16;

global_asm!(
    include_str!("entry.S"),
    stack_bytes = const STACK_BYTES,
    cpacr = const CPACR,
);

unsafe extern "C" {
    fn entry_secondary();
}

/// Returns where a vCPU starts that is turned on with its number as the context.
pub(crate) fn secondary_address() -> u64 {
    let entry: unsafe extern "C" fn() = entry_secondary;
    entry as usize as u64
}
