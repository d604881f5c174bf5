// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Self-hosted debug registers.
//!
//! Most Realms never use them, so they are switched at a REC's first access (`MDCR_EL2.TDA`), or at once
//! when the REC left a breakpoint or watchpoint armed. The OS lock travels with them.

use rmm_hal::{CpuFeatures, DebugState};

use crate::regs::{read_sysreg, write_sysreg};

/// How many debug registers this PE has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Debug {
    breakpoints: usize,
    watchpoints: usize,
    double_lock: bool,
}

impl Debug {
    pub(crate) fn new(features: &CpuFeatures) -> Self {
        Self {
            breakpoints: usize::from(features.breakpoints).min(15) + 1,
            watchpoints: usize::from(features.watchpoints).min(15) + 1,
            // ID_AA64DFR0_EL1.DoubleLock: 0b0000 says it is implemented.
            double_lock: features.id_register(5, 0) >> 36 & 0xF == 0,
        }
    }

    pub(crate) fn save(self, into: &mut DebugState) {
        for n in 0..self.breakpoints {
            (into.bvr[n], into.bcr[n]) = read_breakpoint(n);
        }
        for n in 0..self.watchpoints {
            (into.wvr[n], into.wcr[n]) = read_watchpoint(n);
        }
        // OSLSR_EL1.OSLK.
        into.os_lock = read_sysreg!("S2_0_C1_C1_4") >> 1 & 1;
        if self.double_lock {
            into.os_double_lock = read_sysreg!("S2_0_C1_C3_4");
        }
    }

    pub(crate) fn load(self, from: &DebugState) {
        for n in 0..self.breakpoints {
            write_breakpoint(n, from.bvr[n], from.bcr[n]);
        }
        for n in 0..self.watchpoints {
            write_watchpoint(n, from.wvr[n], from.wcr[n]);
        }
        write_sysreg!("S2_0_C1_C0_4", from.os_lock);
        if self.double_lock {
            write_sysreg!("S2_0_C1_C3_4", from.os_double_lock);
        }
    }
}

fn read_breakpoint(n: usize) -> (u64, u64) {
    match n {
        0 => (read_sysreg!("S2_0_C0_C0_4"), read_sysreg!("S2_0_C0_C0_5")),
        1 => (read_sysreg!("S2_0_C0_C1_4"), read_sysreg!("S2_0_C0_C1_5")),
        2 => (read_sysreg!("S2_0_C0_C2_4"), read_sysreg!("S2_0_C0_C2_5")),
        3 => (read_sysreg!("S2_0_C0_C3_4"), read_sysreg!("S2_0_C0_C3_5")),
        4 => (read_sysreg!("S2_0_C0_C4_4"), read_sysreg!("S2_0_C0_C4_5")),
        5 => (read_sysreg!("S2_0_C0_C5_4"), read_sysreg!("S2_0_C0_C5_5")),
        6 => (read_sysreg!("S2_0_C0_C6_4"), read_sysreg!("S2_0_C0_C6_5")),
        7 => (read_sysreg!("S2_0_C0_C7_4"), read_sysreg!("S2_0_C0_C7_5")),
        8 => (read_sysreg!("S2_0_C0_C8_4"), read_sysreg!("S2_0_C0_C8_5")),
        9 => (read_sysreg!("S2_0_C0_C9_4"), read_sysreg!("S2_0_C0_C9_5")),
        10 => (read_sysreg!("S2_0_C0_C10_4"), read_sysreg!("S2_0_C0_C10_5")),
        11 => (read_sysreg!("S2_0_C0_C11_4"), read_sysreg!("S2_0_C0_C11_5")),
        12 => (read_sysreg!("S2_0_C0_C12_4"), read_sysreg!("S2_0_C0_C12_5")),
        13 => (read_sysreg!("S2_0_C0_C13_4"), read_sysreg!("S2_0_C0_C13_5")),
        14 => (read_sysreg!("S2_0_C0_C14_4"), read_sysreg!("S2_0_C0_C14_5")),
        _ => (read_sysreg!("S2_0_C0_C15_4"), read_sysreg!("S2_0_C0_C15_5")),
    }
}

fn write_breakpoint(n: usize, value: u64, control: u64) {
    match n {
        0 => {
            write_sysreg!("S2_0_C0_C0_4", value);
            write_sysreg!("S2_0_C0_C0_5", control);
        }
        1 => {
            write_sysreg!("S2_0_C0_C1_4", value);
            write_sysreg!("S2_0_C0_C1_5", control);
        }
        2 => {
            write_sysreg!("S2_0_C0_C2_4", value);
            write_sysreg!("S2_0_C0_C2_5", control);
        }
        3 => {
            write_sysreg!("S2_0_C0_C3_4", value);
            write_sysreg!("S2_0_C0_C3_5", control);
        }
        4 => {
            write_sysreg!("S2_0_C0_C4_4", value);
            write_sysreg!("S2_0_C0_C4_5", control);
        }
        5 => {
            write_sysreg!("S2_0_C0_C5_4", value);
            write_sysreg!("S2_0_C0_C5_5", control);
        }
        6 => {
            write_sysreg!("S2_0_C0_C6_4", value);
            write_sysreg!("S2_0_C0_C6_5", control);
        }
        7 => {
            write_sysreg!("S2_0_C0_C7_4", value);
            write_sysreg!("S2_0_C0_C7_5", control);
        }
        8 => {
            write_sysreg!("S2_0_C0_C8_4", value);
            write_sysreg!("S2_0_C0_C8_5", control);
        }
        9 => {
            write_sysreg!("S2_0_C0_C9_4", value);
            write_sysreg!("S2_0_C0_C9_5", control);
        }
        10 => {
            write_sysreg!("S2_0_C0_C10_4", value);
            write_sysreg!("S2_0_C0_C10_5", control);
        }
        11 => {
            write_sysreg!("S2_0_C0_C11_4", value);
            write_sysreg!("S2_0_C0_C11_5", control);
        }
        12 => {
            write_sysreg!("S2_0_C0_C12_4", value);
            write_sysreg!("S2_0_C0_C12_5", control);
        }
        13 => {
            write_sysreg!("S2_0_C0_C13_4", value);
            write_sysreg!("S2_0_C0_C13_5", control);
        }
        14 => {
            write_sysreg!("S2_0_C0_C14_4", value);
            write_sysreg!("S2_0_C0_C14_5", control);
        }
        _ => {
            write_sysreg!("S2_0_C0_C15_4", value);
            write_sysreg!("S2_0_C0_C15_5", control);
        }
    }
}

fn read_watchpoint(n: usize) -> (u64, u64) {
    match n {
        0 => (read_sysreg!("S2_0_C0_C0_6"), read_sysreg!("S2_0_C0_C0_7")),
        1 => (read_sysreg!("S2_0_C0_C1_6"), read_sysreg!("S2_0_C0_C1_7")),
        2 => (read_sysreg!("S2_0_C0_C2_6"), read_sysreg!("S2_0_C0_C2_7")),
        3 => (read_sysreg!("S2_0_C0_C3_6"), read_sysreg!("S2_0_C0_C3_7")),
        4 => (read_sysreg!("S2_0_C0_C4_6"), read_sysreg!("S2_0_C0_C4_7")),
        5 => (read_sysreg!("S2_0_C0_C5_6"), read_sysreg!("S2_0_C0_C5_7")),
        6 => (read_sysreg!("S2_0_C0_C6_6"), read_sysreg!("S2_0_C0_C6_7")),
        7 => (read_sysreg!("S2_0_C0_C7_6"), read_sysreg!("S2_0_C0_C7_7")),
        8 => (read_sysreg!("S2_0_C0_C8_6"), read_sysreg!("S2_0_C0_C8_7")),
        9 => (read_sysreg!("S2_0_C0_C9_6"), read_sysreg!("S2_0_C0_C9_7")),
        10 => (read_sysreg!("S2_0_C0_C10_6"), read_sysreg!("S2_0_C0_C10_7")),
        11 => (read_sysreg!("S2_0_C0_C11_6"), read_sysreg!("S2_0_C0_C11_7")),
        12 => (read_sysreg!("S2_0_C0_C12_6"), read_sysreg!("S2_0_C0_C12_7")),
        13 => (read_sysreg!("S2_0_C0_C13_6"), read_sysreg!("S2_0_C0_C13_7")),
        14 => (read_sysreg!("S2_0_C0_C14_6"), read_sysreg!("S2_0_C0_C14_7")),
        _ => (read_sysreg!("S2_0_C0_C15_6"), read_sysreg!("S2_0_C0_C15_7")),
    }
}

fn write_watchpoint(n: usize, value: u64, control: u64) {
    match n {
        0 => {
            write_sysreg!("S2_0_C0_C0_6", value);
            write_sysreg!("S2_0_C0_C0_7", control);
        }
        1 => {
            write_sysreg!("S2_0_C0_C1_6", value);
            write_sysreg!("S2_0_C0_C1_7", control);
        }
        2 => {
            write_sysreg!("S2_0_C0_C2_6", value);
            write_sysreg!("S2_0_C0_C2_7", control);
        }
        3 => {
            write_sysreg!("S2_0_C0_C3_6", value);
            write_sysreg!("S2_0_C0_C3_7", control);
        }
        4 => {
            write_sysreg!("S2_0_C0_C4_6", value);
            write_sysreg!("S2_0_C0_C4_7", control);
        }
        5 => {
            write_sysreg!("S2_0_C0_C5_6", value);
            write_sysreg!("S2_0_C0_C5_7", control);
        }
        6 => {
            write_sysreg!("S2_0_C0_C6_6", value);
            write_sysreg!("S2_0_C0_C6_7", control);
        }
        7 => {
            write_sysreg!("S2_0_C0_C7_6", value);
            write_sysreg!("S2_0_C0_C7_7", control);
        }
        8 => {
            write_sysreg!("S2_0_C0_C8_6", value);
            write_sysreg!("S2_0_C0_C8_7", control);
        }
        9 => {
            write_sysreg!("S2_0_C0_C9_6", value);
            write_sysreg!("S2_0_C0_C9_7", control);
        }
        10 => {
            write_sysreg!("S2_0_C0_C10_6", value);
            write_sysreg!("S2_0_C0_C10_7", control);
        }
        11 => {
            write_sysreg!("S2_0_C0_C11_6", value);
            write_sysreg!("S2_0_C0_C11_7", control);
        }
        12 => {
            write_sysreg!("S2_0_C0_C12_6", value);
            write_sysreg!("S2_0_C0_C12_7", control);
        }
        13 => {
            write_sysreg!("S2_0_C0_C13_6", value);
            write_sysreg!("S2_0_C0_C13_7", control);
        }
        14 => {
            write_sysreg!("S2_0_C0_C14_6", value);
            write_sysreg!("S2_0_C0_C14_7", control);
        }
        _ => {
            write_sysreg!("S2_0_C0_C15_6", value);
            write_sysreg!("S2_0_C0_C15_7", control);
        }
    }
}
