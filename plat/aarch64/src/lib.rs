// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The real machine at R-EL2.
//!
//! The order of boot:
//!
//! 1. `entry.S`: EL3 enters at the first byte of the image, MMU and caches off. The first PE clears the
//!    image's memory; each PE claims a slot with its stack.
//! 2. `entry.rs`: the first PE builds the monitor's own map (`stage1.rs`) and turns the MMU on. Only this
//!    much runs with the MMU off: no atomics, no unaligned access, no console.
//! 3. The image's `cold_boot` gets a `ColdBoot`: it maps the console and the page shared with EL3,
//!    carves its tables out of the memory behind the image, and serves.
//! 4. Every other PE turns its MMU on with the same map and comes to the image's `warm_boot`.
//!
//! From then on a `Pe` stands for the PE it runs on. Interrupts stay masked at R-EL2 for ever.

#![no_std]

mod features;
mod last_rec;
mod syndrome;

#[cfg(target_os = "none")]
mod console;
#[cfg(target_os = "none")]
mod crash;
#[cfg(target_os = "none")]
mod debug;
#[cfg(target_os = "none")]
mod dit;
#[cfg(target_os = "none")]
mod el1;
#[cfg(target_os = "none")]
mod entry;
#[cfg(target_os = "none")]
mod loan;
#[cfg(target_os = "none")]
mod mem;
#[cfg(target_os = "none")]
mod ns_copy;
#[cfg(target_os = "none")]
mod pe;
#[cfg(target_os = "none")]
mod pmu;
#[cfg(target_os = "none")]
mod probe;
#[cfg(target_os = "none")]
mod regs;
#[cfg(target_os = "none")]
mod sha;
#[cfg(target_os = "none")]
mod shared;
#[cfg(target_os = "none")]
mod simd;
#[cfg(target_os = "none")]
mod smc;
#[cfg(target_os = "none")]
mod stage1;
#[cfg(target_os = "none")]
mod stage2;
#[cfg(target_os = "none")]
mod switch;
#[cfg(target_os = "none")]
mod vectors;
#[cfg(target_os = "none")]
mod vgic;
#[cfg(target_os = "none")]
mod vtimer;
#[cfg(target_os = "none")]
mod window;

#[cfg(target_os = "none")]
pub use self::{
    console::Console,
    crash::park,
    entry::{ColdBoot, NoMemory, PeSlot, SpareMemory, WarmBoot},
    pe::Pe,
    probe::read_features,
    shared::SharedPage,
    smc::smc,
    stage1::MapError,
};
