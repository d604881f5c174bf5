// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! QEMU's `virt` machine under TF-A.

use super::Gigabyte;

/// Name of the board.
pub(crate) const NAME: &str = "QEMU virt";
/// The console: a PL011, already set up by TF-A, which shares it with every world.
pub(crate) const UART_BASE: usize = 0x0900_0000;
/// Interrupt of the console: SPI 1.
pub(crate) const UART_INTID: u32 = 33;
/// The clock that a normal VM is given, a PL031.
pub(crate) const CLOCK_BASE: u64 = 0x0901_0000;
/// Where the guest bundle is loaded.
pub(crate) const BUNDLE_BASE: u64 = 0x7000_0000;
/// What the first gigabytes hold, as far as the image needs before it has read the device tree.
pub(crate) const FIRST_GIGABYTES: [Option<Gigabyte>; 3] =
    [Some(Gigabyte::Devices), Some(Gigabyte::Memory), None];
/// Where devices are; all of it is mapped as device memory.
pub(crate) const DEVICES: core::ops::Range<u64> = 0x0800_0000..0x1000_0000;

/// Returns where the device tree is. TF-A passes no address: QEMU leaves it at the start of DRAM.
pub(crate) fn device_tree(_x0: u64, _x1: u64) -> u64 {
    0x4000_0000
}
