// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Into a normal VM and back out: see `switch.S`.

use core::arch::global_asm;
use core::mem::offset_of;

use host_vmm::normal::{Registers, TrapKind};

global_asm!(
    include_str!("switch.S"),
    guest_gprs = const offset_of!(Registers, gprs),
    guest_pc = const offset_of!(Registers, pc),
    guest_pstate = const offset_of!(Registers, pstate),
);

/// V0 to V31.
pub(super) type VectorRegisters = [u128; 32];

unsafe extern "C" {
    /// See `switch.S`.
    ///
    /// # Safety
    /// The PE must be set up for the guest: whatever the guest can reach is the guest's.
    unsafe fn guest_enter(registers: *mut Registers) -> u64;
    /// See `switch.S`.
    ///
    /// # Safety
    /// The buffer must be the caller's to write.
    unsafe fn guest_save_vectors(to: *mut VectorRegisters);
    /// See `switch.S`.
    ///
    /// # Safety
    /// The buffer must be the caller's to read.
    unsafe fn guest_load_vectors(from: *const VectorRegisters);
}

/// Runs the guest whose system registers are in this PE until it traps.
///
/// # Safety
/// The stage 2 in force must map nothing but the guest's own memory and devices.
pub(super) unsafe fn enter(registers: &mut Registers) -> TrapKind {
    // SAFETY: the caller vouches for what the guest can reach. The guest is at EL1 and reaches
    // memory only through its stage 2.
    match unsafe { guest_enter(registers) } {
        0 => TrapKind::Synchronous,
        1 => TrapKind::Irq,
        2 => TrapKind::Fiq,
        _ => TrapKind::Serror,
    }
}

/// Reads the vector registers, which this image itself does not use.
pub(super) fn save_vectors(into: &mut VectorRegisters) {
    // SAFETY: the buffer is exclusively ours and has room for all registers.
    unsafe { guest_save_vectors(into) }
}

/// Writes the vector registers, which this image itself does not use.
pub(super) fn load_vectors(from: &VectorRegisters) {
    // SAFETY: the buffer holds all registers.
    unsafe { guest_load_vectors(from) }
}
