// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The boards: what cannot be learned from the device tree, because it is needed before it is read
//! or says where it is. Only these files, and the linker scripts beside them, name addresses.
//!
//! Every board defines the same constants.

#[cfg(feature = "board-fvp")]
mod fvp;
#[cfg(feature = "board-qemu-virt")]
mod qemu_virt;

#[cfg(feature = "board-fvp")]
pub(crate) use fvp::*;
#[cfg(feature = "board-qemu-virt")]
pub(crate) use qemu_virt::*;

#[cfg(all(feature = "board-fvp", feature = "board-qemu-virt"))]
compile_error!("the image is for one board");
#[cfg(not(any(feature = "board-fvp", feature = "board-qemu-virt")))]
compile_error!("choose a board");

/// What a gigabyte of the address space holds, for the first map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gigabyte {
    /// Devices.
    Devices,
    /// Memory.
    Memory,
}
