// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Memory of the Non-secure host: areas, slots, faults, stage 2.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod addr;
pub mod area;
pub mod backing;
mod bits;
pub mod client;
pub mod fault;
pub mod host;
pub mod interval;
pub mod invalidate;
pub mod machine;
pub mod memcache;
pub mod memmap;
pub mod memslot;
pub mod pages;
pub mod perms;
pub mod realm;
pub mod stage2;
pub mod vm;
