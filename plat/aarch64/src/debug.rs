// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Self-hosted debug registers.
//!
//! A Realm never reaches them: its accesses trap (`MDCR_EL2.TDA`, `TDOSA`, `TDRA`) and are answered from
//! the REC's [`DebugState`]. Most Realms have no breakpoint or watchpoint enabled, so the hardware gets
//! theirs, and the Host's are put aside, only while `MDSCR_EL1` gives them an effect.

use rmm_hal::{CpuFeatures, DebugState};

use crate::regs::{read_sysreg, write_sysreg};

/// How many debug registers this PE has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Debug {
    breakpoints: usize,
    watchpoints: usize,
    double_lock: bool,
}

/// The Host's debug registers.
#[derive(Default)]
pub(crate) struct HostDebug {
    state: DebugState,
    double_lock: u64,
    is_aside: bool,
}

/// Calls `$action!` with the numbers of all breakpoints, or watchpoints, that a PE can have.
macro_rules! each_number {
    ($action:ident) => {
        $action! { 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 }
    };
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

    /// Puts the Host's control register aside.
    pub(crate) fn save_control(host: &mut HostDebug) {
        host.state.mdscr = read_sysreg!("MDSCR_EL1");
    }

    /// Makes a REC's debug state take effect; `last` is its greatest breakpoint number.
    pub(crate) fn load(self, host: &mut HostDebug, state: &DebugState, last: u8) {
        if state.is_in_use() {
            if !host.is_aside {
                self.save_host(host);
            }
            // The last breakpoints of a PE are those that can compare contexts, so the Realm gets these.
            let unused = (self.breakpoints - 1).saturating_sub(usize::from(last));
            self.write(state, unused);
            if self.double_lock {
                write_sysreg!("S2_0_C1_C3_4", 0);
            }
        }
        write_sysreg!("MDSCR_EL1", state.mdscr);
    }

    /// Brings the Host's debug registers back.
    pub(crate) fn restore(self, host: &mut HostDebug) {
        write_sysreg!("MDSCR_EL1", host.state.mdscr);
        if host.is_aside {
            self.write(&host.state, 0);
            if self.double_lock {
                write_sysreg!("S2_0_C1_C3_4", host.double_lock);
            }
            host.is_aside = false;
        }
    }

    fn save_host(self, host: &mut HostDebug) {
        let state = &mut host.state;
        macro_rules! save {
            ($($n:literal)*) => {$(
                if $n < self.breakpoints {
                    state.bvr[$n] = read_sysreg!(concat!("S2_0_C0_C", $n, "_4"));
                    state.bcr[$n] = read_sysreg!(concat!("S2_0_C0_C", $n, "_5"));
                }
                if $n < self.watchpoints {
                    state.wvr[$n] = read_sysreg!(concat!("S2_0_C0_C", $n, "_6"));
                    state.wcr[$n] = read_sysreg!(concat!("S2_0_C0_C", $n, "_7"));
                }
            )*};
        }
        each_number!(save);
        // OSLSR_EL1.OSLK.
        state.os_lock = read_sysreg!("S2_0_C1_C1_4") >> 1 & 1;
        if self.double_lock {
            host.double_lock = read_sysreg!("S2_0_C1_C3_4");
        }
        host.is_aside = true;
    }

    /// Writes a state whose first breakpoint is number `first` of the PE; those before are off.
    fn write(self, state: &DebugState, first: usize) {
        macro_rules! write {
            ($($n:literal)*) => {$(
                if $n < self.breakpoints {
                    let (value, control) = breakpoint(state, $n, first);
                    write_sysreg!(concat!("S2_0_C0_C", $n, "_4"), value);
                    write_sysreg!(concat!("S2_0_C0_C", $n, "_5"), control);
                }
                if $n < self.watchpoints {
                    write_sysreg!(concat!("S2_0_C0_C", $n, "_6"), state.wvr[$n]);
                    write_sysreg!(concat!("S2_0_C0_C", $n, "_7"), linked(state.wcr[$n], first));
                }
            )*};
        }
        each_number!(write);
        write_sysreg!("S2_0_C1_C0_4", state.os_lock);
    }
}

/// Returns value and control of the PE's breakpoint `n` when a state begins at its breakpoint `first`.
fn breakpoint(state: &DebugState, n: usize, first: usize) -> (u64, u64) {
    match n.checked_sub(first) {
        Some(own) => (state.bvr[own], linked(state.bcr[own], first)),
        None => (0, 0),
    }
}

/// Returns a control whose linked breakpoint (LBN, bits 19 to 16) is counted from `first`. What would be
/// beyond the last breakpoint stays there.
fn linked(control: u64, first: usize) -> u64 {
    let number = (control >> 16 & 0xF) + first as u64;
    control & !(0xF << 16) | number.min(0xF) << 16
}
