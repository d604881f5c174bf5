// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The Non-secure host image at NS-EL2.
//!
//! TF-A starts it as BL33. It takes the machine over ([`entry`], [`mmu`], [`heap`], [`platform`],
//! [`gic`], [`pe`]), reads the guest bundle that was loaded beside it, does what the bundle asks,
//! says how it went and turns the machine off.

#![no_std]
#![no_main]

extern crate alloc;

mod board;
mod bundle;
mod conformance;
mod console;
mod cpu;
mod disturb;
mod entry;
mod exceptions;
mod gic;
mod guarded;
mod guest;
mod guests;
mod heap;
mod host;
mod image;
mod line;
mod machine;
mod memory;
mod mmu;
mod normal;
mod pe;
mod power;
mod realm;
mod relocate;
mod run;
mod running;
mod smc;
mod stage;
mod summary;
mod sysreg;
mod tags;
mod timer;
mod tlb;
mod turns;

use log::info;

/// Continues on the boot PE after `entry.S`, with what EL3 left in x0 and x1.
#[unsafe(no_mangle)]
extern "C" fn host_main(x0: u64, x1: u64) -> ! {
    // SAFETY: this is the first and only call; only `console` touches the UART.
    unsafe { console::init() };
    // SAFETY: nothing has been allocated; the memory behind the image is in the first map, and
    // firmware loads nothing there.
    unsafe { heap::init() };
    match host::run(board::device_tree(x0, x1)) {
        Ok(()) => info!("result: ok"),
        Err(reason) => info!("result: fail {reason}"),
    }
    power::off()
}
