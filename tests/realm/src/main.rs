// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The R-EL1 payload of the on-target tests.
//!
//! With a device tree in x0 it is a guest like any other: it tests itself and the machine, says on
//! the console how that went, and turns itself off. With zero in x0 it does what its Host says, by the
//! protocol of this package's library.

#![no_std]
#![no_main]

mod banks;
mod checks;
mod commands;
mod console;
mod cpu;
mod end;
mod entry;
mod exceptions;
mod gic;
mod guard;
mod machine;
mod mmu;
mod regs;
mod smc;
mod smp;
mod stretches;
mod sweep;
mod tagging;
mod timer;

use core::sync::atomic::Ordering;

/// Runs vCPU 0; called from `entry.S` with the MMU off.
#[unsafe(no_mangle)]
extern "C" fn primary_main(device_tree: u64) -> ! {
    if device_tree == 0 {
        end::set_driven();
    }
    machine::discover(device_tree);
    mmu::enable();
    cpu::current().alive.store(1, Ordering::Release);
    if device_tree == 0 {
        commands::serve()
    } else {
        checks::run()
    }
}

/// Runs any other vCPU; called from `entry.S` with the MMU off.
#[unsafe(no_mangle)]
extern "C" fn secondary_main(vcpu: u64) -> ! {
    mmu::enable();
    if end::is_driven() {
        cpu::current().alive.store(1, Ordering::Release);
        commands::serve()
    } else {
        checks::secondary(vcpu)
    }
}
