// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What happens when the host itself fails: a dump on the console, a result line, power off.

use core::arch::global_asm;
use core::fmt::Write;
use core::mem::{offset_of, size_of};
use core::panic::PanicInfo;

use aarch64_cpu::registers::{ELR_EL2, ESR_EL2, FAR_EL2, HPFAR_EL2, Readable, SPSR_EL2};

use crate::console;
use crate::entry::{DUMP_STACK, STACK_SLOT_BYTES};
use crate::pe;
use crate::power;

global_asm!(
    include_str!("vectors.S"),
    stack_slot_bytes = const STACK_SLOT_BYTES,
    dump_stack_top = const DUMP_STACK.end,
    frame_bytes = const size_of::<Frame>(),
    frame_x = const offset_of!(Frame, x),
    frame_sp = const offset_of!(Frame, sp),
);

/// The interrupted registers.
#[repr(C, align(16))]
struct Frame {
    x: [u64; 31],
    sp: u64,
}

/// Names of the exception classes a host is likely to die of (Arm ARM, `ESR_ELx.EC`).
const CLASSES: [(u64, &str); 9] = [
    (0x00, "unknown"),
    (0x07, "trapped SIMD"),
    (0x17, "SMC"),
    (0x20, "instruction abort from a lower level"),
    (0x21, "instruction abort"),
    (0x22, "PC alignment"),
    (0x24, "data abort from a lower level"),
    (0x25, "data abort"),
    (0x26, "SP alignment"),
];

/// Reports an exception of the host and turns the machine off. Called from `vectors.S`.
#[unsafe(no_mangle)]
extern "C" fn exception_dump(frame: &Frame, vector: u64) -> ! {
    const ORIGIN: [&str; 4] = ["EL2 on SP_EL0", "EL2", "AArch64 below", "AArch32 below"];
    const KIND: [&str; 4] = ["synchronous", "IRQ", "FIQ", "SError"];
    let (origin, kind) = ((vector / 4) as usize, (vector % 4) as usize);
    let esr = ESR_EL2.get();
    let class = esr >> 26 & 0x3F;
    let name = CLASSES
        .iter()
        .find(|(code, _)| *code == class)
        .map_or("other", |(_, name)| *name);
    let mut out = console::Emergency::open();
    let _ = writeln!(
        out,
        "exception on PE {}: {} from {}: {name}",
        pe::current(),
        KIND[kind % 4],
        ORIGIN[origin % 4]
    );
    let _ = writeln!(out, "esr {esr:#018x} elr {:#018x}", ELR_EL2.get());
    let _ = writeln!(
        out,
        "far {:#018x} hpfar {:#018x}",
        FAR_EL2.get(),
        HPFAR_EL2.get()
    );
    let _ = writeln!(out, "spsr {:#018x} sp {:#018x}", SPSR_EL2.get(), frame.sp);
    for (row, registers) in frame.x.chunks(4).enumerate() {
        let _ = write!(out, "x{:<2}", row * 4);
        for register in registers {
            let _ = write!(out, " {register:#018x}");
        }
        let _ = writeln!(out);
    }
    let _ = writeln!(out, "result: fail host exception");
    power::off()
}

/// Reports a broken promise of the host's own code and turns the machine off.
#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    let mut out = console::Emergency::open();
    let _ = writeln!(out, "PE {}: {info}", pe::current());
    let _ = writeln!(out, "result: fail host panic");
    power::off()
}
