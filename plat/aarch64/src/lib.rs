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
//! 3. The image's `cold_boot` gets a [`ColdBoot`]: it maps the console and the page shared with EL3,
//!    carves its tables out of the memory behind the image, and serves.
//! 4. Every other PE turns its MMU on with the same map and comes to the image's `warm_boot`.
//!
//! From then on a [`Pe`] stands for the PE it runs on. Interrupts stay masked at R-EL2 for ever.

#![no_std]

pub mod features;
pub mod syndrome;

#[cfg(target_arch = "aarch64")]
mod console;
#[cfg(target_arch = "aarch64")]
mod crash;
#[cfg(target_arch = "aarch64")]
mod entry;
#[cfg(target_arch = "aarch64")]
mod ns_copy;
#[cfg(target_arch = "aarch64")]
mod pe;
#[cfg(target_arch = "aarch64")]
mod shared;
#[cfg(target_arch = "aarch64")]
mod smc;
#[cfg(target_arch = "aarch64")]
mod stage1;
#[cfg(target_arch = "aarch64")]
mod stage2;
#[cfg(target_arch = "aarch64")]
mod switch;
#[cfg(target_arch = "aarch64")]
mod vectors;
#[cfg(target_arch = "aarch64")]
mod window;

#[cfg(target_arch = "aarch64")]
pub use self::{
    console::Console,
    crash::park,
    entry::{ColdBoot, NoMemory, SpareMemory, WarmBoot, cold_boot, read_mpidr, warm_boot},
    pe::Pe,
    shared::SharedPage,
    smc::smc,
    stage1::MapError,
};
