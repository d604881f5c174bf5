// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The portable half of the virtual machine monitor.
//!
//! Words used in every module: a *guest* is what runs in the VM; a *VM* is a Realm or a normal
//! virtual machine; a *vCPU* is one of its processors (for a Realm: a REC) and runs on one PE of
//! the host; an *exit* is the moment a vCPU hands control back to the host.
//!
//! Nothing here touches hardware. The image crate offers the machine behind small traits.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod bundle;
pub mod exits;
pub mod fdt;
pub mod gic;
pub mod image;
pub mod machine;
pub mod normal;
pub mod platform;
pub mod psci;
pub mod summary;
pub mod uart;
pub mod vcpu;
pub mod virtio;
pub mod vm;
