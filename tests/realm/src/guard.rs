// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Running code that may fault: see `guard.S`.
//!
//! Any single instruction can be run by writing it into this vCPU's slot, which is code.

use core::arch::global_asm;
use core::mem::offset_of;
use core::sync::atomic::{AtomicU32, Ordering};

use test_realm::protocol::{Fault, Outcome, REGISTERS};

use crate::cpu::{self, Cpu};
use crate::entry::MAX_VCPUS;
use crate::mmu;

global_asm!(
    include_str!("guard.S"),
    fix_up = const offset_of!(Cpu, fix_up),
    fix_up_sp = const offset_of!(Cpu, fix_up_sp),
    fix_up_pstate = const offset_of!(Cpu, fix_up_pstate),
    slots = const MAX_VCPUS,
);

/// Values of x0 to x17.
pub(crate) type Registers = [u64; REGISTERS];

/// Values of x0 to x30.
pub(crate) type AllRegisters = [u64; 31];

/// The code of one vCPU's instruction: see `guard_slots`.
#[repr(C, align(64))]
struct Slot {
    privileged: AtomicU32,
    _ret: u32,
    user: AtomicU32,
    _svc: u32,
}

unsafe extern "C" {
    static guard_slots: [Slot; MAX_VCPUS];
    fn guard_run(code: u64, registers: *mut Registers, cpu: &Cpu) -> u64;
    fn guard_run_user(code: u64, registers: *mut Registers, cpu: &Cpu) -> u64;
    fn run_all(registers: *mut AllRegisters, code: u64);
}

/// Exception class of `SVC` from AArch64.
const EC_SVC64: u64 = 0x15;

/// Calls code at EL1 with these registers, which are changed when it returns.
///
/// # Safety
/// If the code does anything but fault it must return with the stack pointer as it was, and change
/// neither memory nor registers that this image relies on.
pub(crate) unsafe fn call(code: u64, registers: &mut Registers) -> Outcome {
    let cpu = cpu::current();
    // SAFETY: `registers` is a valid block, `cpu` is this vCPU's; the caller answers for the code.
    let has_faulted = unsafe { guard_run(code, registers, cpu) } != 0;
    if has_faulted {
        Outcome::Fault(last_fault(cpu))
    } else {
        Outcome::Done
    }
}

/// Runs one instruction at EL1 with these registers, which are changed when it completes.
///
/// # Safety
/// As for [`call`].
pub(crate) unsafe fn run(instruction: u32, registers: &mut Registers) -> Outcome {
    let code = write(&slot().privileged, instruction);
    // SAFETY: the code is the instruction and a return; the caller answers for the former.
    unsafe { call(code, registers) }
}

/// Runs one instruction at EL0 with these registers, which are changed when it completes.
///
/// # Safety
/// The instruction must not change memory that this image relies on.
pub(crate) unsafe fn run_user(instruction: u32, registers: &mut Registers) -> Outcome {
    let code = mmu::user_view(write(&slot().user, instruction));
    let cpu = cpu::current();
    // SAFETY: `registers` is a valid block, `cpu` is this vCPU's; EL0 cannot reach anything else.
    let _ = unsafe { guard_run_user(code, registers, cpu) };
    let fault = last_fault(cpu);
    if fault.class() == EC_SVC64 {
        *registers = cpu.fault_registers();
        return Outcome::Done;
    }
    Outcome::Fault(fault)
}

/// Runs one instruction at EL1 with all of these registers but x30, which are changed when it
/// completes.
///
/// # Safety
/// As for [`call`].
pub(crate) unsafe fn run_with_all(instruction: u32, registers: &mut AllRegisters) -> Outcome {
    let routine: unsafe extern "C" fn(*mut AllRegisters, u64) = run_all;
    let mut arguments = [0; REGISTERS];
    arguments[0] = core::ptr::from_mut(registers) as u64;
    arguments[1] = write(&slot().privileged, instruction);
    // SAFETY: `run_all` returns as a function does and writes only to the block.
    unsafe { call(routine as usize as u64, &mut arguments) }
}

fn last_fault(cpu: &Cpu) -> Fault {
    let words = core::array::from_fn(|n| cpu.fault[n].load(Ordering::Relaxed));
    Fault::from_words(words)
}

fn slot() -> &'static Slot {
    // SAFETY: the slots are where guard.S puts them, and their words are atomics.
    let slots = unsafe { &guard_slots };
    &slots[cpu::number()]
}

/// Writes an instruction and returns its address once this vCPU will fetch it.
fn write(place: &AtomicU32, instruction: u32) -> u64 {
    let address = place.as_ptr() as u64;
    place.store(instruction, Ordering::Relaxed);
    // SAFETY: maintenance of one line of this image's code, to the point where fetches see it.
    unsafe {
        core::arch::asm!(
            "dc cvau, {0}",
            "dsb ish",
            "ic ivau, {0}",
            "dsb ish",
            "isb",
            in(reg) address,
            options(nostack, preserves_flags)
        );
    }
    address
}
