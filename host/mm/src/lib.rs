// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Memory of the Non-secure host: areas, slots, faults, stage 2.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod addr;
mod bits;
pub mod machine;
pub mod memcache;
pub mod pages;
