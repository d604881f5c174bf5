// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The Non-secure host image at NS-EL2.

#![no_std]
#![no_main]

extern crate alloc;

mod board;
mod console;
mod entry;
mod exceptions;
mod heap;
mod image;
mod mmu;
mod pe;
mod platform;
mod power;

use log::info;

use crate::platform::Platform;

/// Continues on the boot PE after `entry.S`, with what EL3 left in x0 and x1.
#[unsafe(no_mangle)]
extern "C" fn host_main(x0: usize, x1: usize) -> ! {
    // SAFETY: this is the first and only call; only `console` touches the UART.
    unsafe { console::init() };
    info!("stage: boot");
    // SAFETY: nothing has been allocated; the memory behind the image is in the first map, and
    // firmware loads nothing there.
    unsafe { heap::init() };
    // SAFETY: the board says that its device tree is there, the first map covers it.
    let platform = match unsafe { Platform::read(board::device_tree(x0, x1)) } {
        Ok(platform) => platform,
        Err(reason) => finish(Err(reason)),
    };
    info!(
        "{}: {} CPUs, {} MiB",
        platform.model,
        platform.cpus.len(),
        platform.dram_bytes() >> 20
    );
    finish(Ok::<(), &str>(()))
}

/// Continues on any other PE after `entry.S`.
#[unsafe(no_mangle)]
extern "C" fn secondary_main(_index: usize) -> ! {
    mmu::turn_on();
    loop {
        aarch64_cpu::asm::wfi();
    }
}

/// Says how the run ended and turns the machine off.
fn finish<E: core::fmt::Display>(result: Result<(), E>) -> ! {
    match result {
        Ok(()) => info!("result: ok"),
        Err(reason) => info!("result: fail {reason}"),
    }
    power::off()
}
