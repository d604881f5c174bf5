// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Breakpoint and watchpoint registers of a vCPU (Arm ARM, `DBGBVR<n>_EL1` and its siblings).

use crate::cpu;
use crate::sysreg::{read_sysreg, write_sysreg};

/// Most registers of a kind.
const MOST: usize = 16;

/// Values and controls of the guest's breakpoints and watchpoints; those that the PE does not have
/// stay zero.
#[derive(Clone, Debug, Default)]
pub(super) struct Comparators {
    breakpoints: [[u64; 2]; MOST],
    watchpoints: [[u64; 2]; MOST],
}

/// The register number `$number` of the kind that `op2` selects, as an expression of the number.
macro_rules! for_number {
    ($number:expr, $kind:literal, $act:ident $(, $value:expr)?) => {
        match $number {
            0 => $act!(concat!("S2_0_C0_C0_", $kind) $(, $value)?),
            1 => $act!(concat!("S2_0_C0_C1_", $kind) $(, $value)?),
            2 => $act!(concat!("S2_0_C0_C2_", $kind) $(, $value)?),
            3 => $act!(concat!("S2_0_C0_C3_", $kind) $(, $value)?),
            4 => $act!(concat!("S2_0_C0_C4_", $kind) $(, $value)?),
            5 => $act!(concat!("S2_0_C0_C5_", $kind) $(, $value)?),
            6 => $act!(concat!("S2_0_C0_C6_", $kind) $(, $value)?),
            7 => $act!(concat!("S2_0_C0_C7_", $kind) $(, $value)?),
            8 => $act!(concat!("S2_0_C0_C8_", $kind) $(, $value)?),
            9 => $act!(concat!("S2_0_C0_C9_", $kind) $(, $value)?),
            10 => $act!(concat!("S2_0_C0_C10_", $kind) $(, $value)?),
            11 => $act!(concat!("S2_0_C0_C11_", $kind) $(, $value)?),
            12 => $act!(concat!("S2_0_C0_C12_", $kind) $(, $value)?),
            13 => $act!(concat!("S2_0_C0_C13_", $kind) $(, $value)?),
            14 => $act!(concat!("S2_0_C0_C14_", $kind) $(, $value)?),
            _ => $act!(concat!("S2_0_C0_C15_", $kind) $(, $value)?),
        }
    };
}

impl Comparators {
    /// Puts the values into this PE, each before its control.
    pub(super) fn load(&self) {
        let (breakpoints, watchpoints) = cpu::comparators();
        for (number, [value, control]) in self.breakpoints.iter().enumerate().take(breakpoints) {
            for_number!(number, 4, write_sysreg, *value);
            for_number!(number, 5, write_sysreg, *control);
        }
        for (number, [value, control]) in self.watchpoints.iter().enumerate().take(watchpoints) {
            for_number!(number, 6, write_sysreg, *value);
            for_number!(number, 7, write_sysreg, *control);
        }
    }

    /// Returns the values of this PE.
    pub(super) fn save() -> Self {
        let (breakpoints, watchpoints) = cpu::comparators();
        let mut saved = Self::default();
        for (number, pair) in saved.breakpoints.iter_mut().enumerate().take(breakpoints) {
            *pair = [
                for_number!(number, 4, read_sysreg),
                for_number!(number, 5, read_sysreg),
            ];
        }
        for (number, pair) in saved.watchpoints.iter_mut().enumerate().take(watchpoints) {
            *pair = [
                for_number!(number, 6, read_sysreg),
                for_number!(number, 7, read_sysreg),
            ];
        }
        saved
    }
}
