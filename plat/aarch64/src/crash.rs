// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The end of a PE: says what happened, then never answers the Host again.
//!
//! A monitor that found itself in an impossible state must not go on, and must not return to the Host
//! either. The PE that found it stops; EL3 cannot take it back, and the console tells why.

use core::panic::PanicInfo;
use core::ptr::with_exposed_provenance;

use log::error;

use crate::entry::{self, SLOT_BYTES};
use crate::regs::read_sysreg;
use crate::syndrome::Described;
use crate::vectors::Frame;

/// The longest backtrace that is printed.
const FRAMES: usize = 32;

/// Stops this PE for good.
pub fn park() -> ! {
    loop {
        // SAFETY: waiting changes nothing.
        unsafe { core::arch::asm!("wfe", options(nomem, nostack, preserves_flags)) };
    }
}

/// Reports an exception that code of the monitor cannot survive, and stops this PE.
pub(crate) fn exception(what: &str, frame: &Frame) -> ! {
    begin();
    error!(
        "PE {} stops: {what}: {}",
        this_number(),
        Described(frame.esr)
    );
    error!(
        "  esr {:#x} far {:#018x} spsr {:#x}",
        frame.esr, frame.far, frame.spsr
    );
    error!(
        "  pc {:#x} sp {:#x} mpidr {:#x}",
        frame.elr,
        frame.sp,
        read_sysreg!("MPIDR_EL1")
    );
    for (n, four) in frame.gprs.chunks(4).enumerate() {
        let value = |at: usize| four.get(at).copied().unwrap_or_default();
        error!(
            "  x{:<2} {:#018x} {:#018x} {:#018x} {:#018x}",
            n * 4,
            value(0),
            value(1),
            value(2),
            value(3)
        );
    }
    backtrace(frame.elr, frame.gprs[29]);
    finish()
}

#[panic_handler]
fn panic(info: &PanicInfo) -> ! {
    begin();
    error!("PE {} stops: {}", this_number(), info.message());
    if let Some(location) = info.location() {
        error!("  in {location}");
    }
    let frame_pointer: u64;
    // SAFETY: reads a register.
    unsafe { core::arch::asm!("mov {}, x29", out(reg) frame_pointer, options(nomem, nostack)) };
    backtrace(0, frame_pointer);
    finish()
}

/// Marks this PE as crashing; a crash while it writes its dump ends at once.
fn begin() {
    if entry::block(entry::this_slot()).begin_crash() {
        park();
    }
}

fn finish() -> ! {
    error!(
        "PE {} is parked and serves no more; reset the machine",
        this_number()
    );
    park()
}

fn this_number() -> usize {
    entry::number_of(entry::this_slot())
}

/// Prints where the code is: `pc`, unless it is zero, then the call of each frame from the record at
/// `frame_pointer` on.
///
/// Records are followed upwards only and only in this PE's slot, so a broken chain just ends.
fn backtrace(pc: u64, mut frame_pointer: u64) {
    let slot = entry::this_slot() as u64;
    if pc != 0 {
        error!("  at {pc:#x}");
    }
    for _ in 0..FRAMES {
        let is_record = frame_pointer.is_multiple_of(16)
            && is_mapped(frame_pointer.wrapping_sub(slot))
            && is_mapped(frame_pointer.wrapping_sub(slot) + 15);
        if !is_record {
            return;
        }
        let record = with_exposed_provenance::<[u64; 2]>(frame_pointer as usize);
        // SAFETY: aligned, and in the mapped part of this PE's slot (checked above); any bytes are valid.
        let [next, return_address] = unsafe { record.read_volatile() };
        if return_address == 0 {
            return;
        }
        // The call is the instruction before; what follows it may belong to another function.
        error!("  at {:#x}", return_address.wrapping_sub(4));
        if next <= frame_pointer {
            return;
        }
        frame_pointer = next;
    }
}

/// Says whether this offset of a slot is in the emergency stack or in the stack.
fn is_mapped(offset: u64) -> bool {
    let (top, stack, end) = (
        entry::EMERGENCY_TOP as u64,
        (SLOT_BYTES - entry::STACK_BYTES) as u64,
        SLOT_BYTES as u64,
    );
    offset < top || (stack..end).contains(&offset)
}
