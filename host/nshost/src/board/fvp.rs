// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Arm's FVP Base RevC-2xAEMvA under TF-A.

use super::Gigabyte;

/// Name of the board.
pub(crate) const NAME: &str = "FVP Base RevC";
/// The console: UART0, a PL011 that TF-A's boot stages have set up.
pub(crate) const UART_BASE: usize = 0x1C09_0000;
/// Interrupt of the console: SPI 5.
pub(crate) const UART_INTID: u32 = 37;
/// The clock that a normal VM is given, a PL031.
pub(crate) const CLOCK_BASE: u64 = 0x1C17_0000;
/// Where the guest bundle is loaded.
pub(crate) const BUNDLE_BASE: u64 = 0x9000_0000;
/// What the first gigabytes hold, as far as the image needs before it has read the device tree.
pub(crate) const FIRST_GIGABYTES: [Option<Gigabyte>; 3] =
    [Some(Gigabyte::Devices), None, Some(Gigabyte::Memory)];
/// Where devices are; all of it is mapped as device memory.
pub(crate) const DEVICES: core::ops::Range<u64> = 0x1C00_0000..0x3000_0000;

/// Returns where the device tree is: TF-A passes the address in x1.
pub(crate) fn device_tree(_x0: u64, x1: u64) -> u64 {
    x1
}
