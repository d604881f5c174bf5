// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Arm FVP Base RevC under TF-A's PLAT=fvp. The memory map is in `rmm.ld`.

use rmi::GranuleAddr;

/// What the log calls this board.
pub(crate) const NAME: &str = "FVP Base RevC";

/// UART3, a PL011 of the RMM's own.
pub(crate) const CONSOLE: GranuleAddr = GranuleAddr::new(0x1C0C_0000).expect("a page boundary");
pub(crate) const CONSOLE_PAGES: u64 = 1;
pub(crate) const CONSOLE_CLOCK_HZ: u64 = 14_745_600;
pub(crate) const CONSOLE_BAUD: u64 = 115_200;

/// PEs in a cluster.
const CLUSTER: u64 = 4;

/// Returns the index by which EL3 knows the PE with this `MPIDR_EL1`.
///
/// The PEs of RevC have one thread each (`MPIDR_EL1.MT`): Aff0 is the thread, Aff1 the PE, Aff2 the
/// cluster.
pub(crate) const fn linear_index(mpidr: u64) -> u64 {
    (mpidr >> 16 & 0xFF) * CLUSTER + (mpidr >> 8 & 0xFF)
}
