// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The processing elements the host runs on.

use aarch64_cpu::registers::{Readable, TPIDR_EL2};

/// Returns the number of this PE: its place in the device tree's list of CPUs.
pub(crate) fn current() -> usize {
    TPIDR_EL2.get() as usize
}
