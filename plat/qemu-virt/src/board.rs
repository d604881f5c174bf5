// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! QEMU virt under TF-A's PLAT=qemu. The memory map is in `rmm.ld`.

use rmi::GranuleAddr;

/// What the log calls this board.
pub(crate) const NAME: &str = "QEMU virt";

/// UART0, a PL011 that all worlds share and EL3 has set up.
pub(crate) const CONSOLE: GranuleAddr = GranuleAddr::new(0x0900_0000).expect("a page boundary");
pub(crate) const CONSOLE_PAGES: u64 = 1;
/// The divisors mean nothing.
pub(crate) const CONSOLE_CLOCK_HZ: u64 = 1;
pub(crate) const CONSOLE_BAUD: u64 = 115_200;

/// PEs in a cluster: QEMU counts them in Aff0 and clusters in Aff1.
const CLUSTER: u64 = 16;

/// Returns the index by which EL3 knows the PE with this `MPIDR_EL1`.
pub(crate) const fn linear_index(mpidr: u64) -> u64 {
    (mpidr >> 8 & 0xFF) * CLUSTER + (mpidr & 0xFF)
}
