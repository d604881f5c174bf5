// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What happens when an exception is taken to EL1: a fault of code under guard is recorded and
//! resumes where the guard says; an interrupt is counted and ended; an SError is counted; anything
//! else ends the payload.

use core::arch::{asm, global_asm};
use core::mem::{offset_of, size_of};
use core::panic::PanicInfo;
use core::sync::atomic::Ordering;

use arm_gic::InterruptGroup;
use arm_gic::gicv3::GicCpuInterface;
use test_realm::protocol::Fault;

use crate::cpu::{self, Cpu};
use crate::regs::read_sysreg;
use crate::{end, timer};

global_asm!(
    include_str!("vectors.S"),
    frame_bytes = const size_of::<Frame>(),
    frame_x = const offset_of!(Frame, x),
    frame_elr = const offset_of!(Frame, elr),
    frame_spsr = const offset_of!(Frame, spsr),
);

/// The interrupted registers.
#[repr(C, align(16))]
struct Frame {
    x: [u64; 31],
    elr: u64,
    spsr: u64,
}

/// `ESR_EL1.EC` of BRK, and the bytes of an instruction.
const EC_BRK: u64 = 0x3C;
const INSTRUCTION_BYTES: u64 = 4;
/// `PSTATE.{N,Z,C,V}`.
const NZCV: u64 = 0xF << 28;

/// Handles an exception; `nzcv` are the flags behind the vector. Called from `vectors.S`.
#[unsafe(no_mangle)]
extern "C" fn exception_taken(frame: &mut Frame, vector: u64, nzcv: u64) {
    let cpu = cpu::current();
    match vector % 4 {
        0 => synchronous(cpu, frame, vector, nzcv),
        1 | 2 => interrupt(cpu, frame.elr),
        _ => {
            cpu.serrors.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn synchronous(cpu: &Cpu, frame: &mut Frame, vector: u64, nzcv: u64) {
    let (esr, far) = (read_sysreg!("esr_el1"), read_sysreg!("far_el1"));
    if cpu.is_looking.load(Ordering::Relaxed) && esr >> 26 == EC_BRK {
        cpu.pstate.store(frame.spsr, Ordering::Relaxed);
        frame.elr += INSTRUCTION_BYTES;
        return;
    }
    let fault = Fault {
        esr,
        elr: frame.elr,
        far,
        spsr: frame.spsr,
        vector,
        pstate: find_pstate(cpu) & !NZCV | nzcv,
    };
    let fix_up = cpu.fix_up.swap(0, Ordering::Relaxed);
    if fix_up == 0 {
        end::fail(format_args!(
            "exception {vector} outside the guard: {fault:x?}"
        ));
    }
    for (slot, value) in cpu.fault.iter().zip(fault.to_words()) {
        slot.store(value, Ordering::Relaxed);
    }
    for (slot, value) in cpu.fault_registers.iter().zip(frame.x) {
        slot.store(value, Ordering::Relaxed);
    }
    frame.x[0] = cpu.fix_up_sp.load(Ordering::Relaxed);
    frame.elr = fix_up;
    frame.spsr = cpu.fix_up_pstate.load(Ordering::Relaxed);
}

/// Returns the `PSTATE` in which this runs: an exception says what it was, whatever the machine has of it.
fn find_pstate(cpu: &Cpu) -> u64 {
    cpu.is_looking.store(true, Ordering::Relaxed);
    // SAFETY: `synchronous` goes on behind the instruction, with all registers as they were but those of
    // exceptions, which the vectors have saved.
    unsafe { asm!("brk #0", options(nostack)) };
    cpu.is_looking.store(false, Ordering::Relaxed);
    cpu.pstate.load(Ordering::Relaxed)
}

fn interrupt(cpu: &Cpu, at: u64) {
    let Some(intid) = GicCpuInterface::get_and_acknowledge_interrupt(InterruptGroup::Group1) else {
        return;
    };
    let number = u32::from(intid);
    if !timer::interrupted(number, cpu.rearm_ticks.load(Ordering::Relaxed)) {
        cpu.spurious.fetch_add(1, Ordering::Relaxed);
    }
    cpu.interrupted_at.store(at, Ordering::Relaxed);
    cpu.interrupts.fetch_add(1, Ordering::Release);
    cpu.last_intid.store(u64::from(number), Ordering::Relaxed);
    if let Some(count) = cpu.counts.get(number as usize) {
        count.fetch_add(1, Ordering::Release);
    }
    GicCpuInterface::end_interrupt(intid, InterruptGroup::Group1);
}

/// Reports a broken promise of the payload's own code and ends it.
#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    end::fail(format_args!("{info}"))
}
