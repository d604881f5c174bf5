// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The performance monitor, for Realms that have one.
//!
//! EL3 switches `PMCR_EL0` between worlds; it is switched here too, because the Realm changes it.

use rmm_hal::{CpuFeatures, PmuState};

use crate::regs::{isb, read_sysreg, write_sysreg};

/// How many event counters this PE has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pmu {
    counters: usize,
}

impl Pmu {
    /// Returns nothing on a PE without a PMU.
    pub(crate) fn new(features: &CpuFeatures) -> Option<Self> {
        features.pmu_counters.map(|counters| Self {
            counters: usize::from(counters).min(31),
        })
    }

    /// Saves everything and stops the counters.
    pub(crate) fn save(self, into: &mut PmuState) {
        into.pmcr = read_sysreg!("PMCR_EL0");
        // PMCR_EL0.E off: nothing counts while the registers change hands.
        write_sysreg!("PMCR_EL0", into.pmcr & !1);
        isb();
        into.enabled = read_sysreg!("PMCNTENSET_EL0");
        into.interrupts = read_sysreg!("PMINTENSET_EL1");
        into.overflow = read_sysreg!("PMOVSSET_EL0");
        into.selector = read_sysreg!("PMSELR_EL0");
        into.user = read_sysreg!("PMUSERENR_EL0");
        into.cycles = read_sysreg!("PMCCNTR_EL0");
        into.cycle_filter = read_sysreg!("PMCCFILTR_EL0");
        for n in 0..self.counters {
            (into.counters[n], into.types[n]) = read_counter(n);
        }
    }

    /// Loads everything; the counters run again when the owner had them running.
    pub(crate) fn load(self, from: &PmuState) {
        write_sysreg!("PMCNTENCLR_EL0", !from.enabled);
        write_sysreg!("PMINTENCLR_EL1", !from.interrupts);
        write_sysreg!("PMOVSCLR_EL0", !from.overflow);
        for n in 0..self.counters {
            write_counter(n, from.counters[n], from.types[n]);
        }
        write_sysreg!("PMCCNTR_EL0", from.cycles);
        write_sysreg!("PMCCFILTR_EL0", from.cycle_filter);
        write_sysreg!("PMSELR_EL0", from.selector);
        write_sysreg!("PMUSERENR_EL0", from.user);
        write_sysreg!("PMCNTENSET_EL0", from.enabled);
        write_sysreg!("PMINTENSET_EL1", from.interrupts);
        write_sysreg!("PMOVSSET_EL0", from.overflow);
        isb();
        write_sysreg!("PMCR_EL0", from.pmcr & !RESET);
    }
}

/// `PMCR_EL0.P` and `.C`: writing them would clear the counters just loaded.
const RESET: u64 = 0b110;

/// Says whether an overflow of the first `counters` counters, or of the cycle counter, is signalled
/// now (`PMCR_EL0.E`, and overflow, interrupt enable and counter enable of one counter).
pub(crate) fn is_overflow_signalled(counters: u8) -> bool {
    let mine = ((1u64 << counters) - 1) | 1 << 31;
    read_sysreg!("PMCR_EL0") & 1 == 1
        && read_sysreg!("PMOVSSET_EL0")
            & read_sysreg!("PMINTENSET_EL1")
            & read_sysreg!("PMCNTENSET_EL0")
            & mine
            != 0
}

fn read_counter(n: usize) -> (u64, u64) {
    match n {
        0 => (
            read_sysreg!("S3_3_C14_C8_0"),
            read_sysreg!("S3_3_C14_C12_0"),
        ),
        1 => (
            read_sysreg!("S3_3_C14_C8_1"),
            read_sysreg!("S3_3_C14_C12_1"),
        ),
        2 => (
            read_sysreg!("S3_3_C14_C8_2"),
            read_sysreg!("S3_3_C14_C12_2"),
        ),
        3 => (
            read_sysreg!("S3_3_C14_C8_3"),
            read_sysreg!("S3_3_C14_C12_3"),
        ),
        4 => (
            read_sysreg!("S3_3_C14_C8_4"),
            read_sysreg!("S3_3_C14_C12_4"),
        ),
        5 => (
            read_sysreg!("S3_3_C14_C8_5"),
            read_sysreg!("S3_3_C14_C12_5"),
        ),
        6 => (
            read_sysreg!("S3_3_C14_C8_6"),
            read_sysreg!("S3_3_C14_C12_6"),
        ),
        7 => (
            read_sysreg!("S3_3_C14_C8_7"),
            read_sysreg!("S3_3_C14_C12_7"),
        ),
        8 => (
            read_sysreg!("S3_3_C14_C9_0"),
            read_sysreg!("S3_3_C14_C13_0"),
        ),
        9 => (
            read_sysreg!("S3_3_C14_C9_1"),
            read_sysreg!("S3_3_C14_C13_1"),
        ),
        10 => (
            read_sysreg!("S3_3_C14_C9_2"),
            read_sysreg!("S3_3_C14_C13_2"),
        ),
        11 => (
            read_sysreg!("S3_3_C14_C9_3"),
            read_sysreg!("S3_3_C14_C13_3"),
        ),
        12 => (
            read_sysreg!("S3_3_C14_C9_4"),
            read_sysreg!("S3_3_C14_C13_4"),
        ),
        13 => (
            read_sysreg!("S3_3_C14_C9_5"),
            read_sysreg!("S3_3_C14_C13_5"),
        ),
        14 => (
            read_sysreg!("S3_3_C14_C9_6"),
            read_sysreg!("S3_3_C14_C13_6"),
        ),
        15 => (
            read_sysreg!("S3_3_C14_C9_7"),
            read_sysreg!("S3_3_C14_C13_7"),
        ),
        16 => (
            read_sysreg!("S3_3_C14_C10_0"),
            read_sysreg!("S3_3_C14_C14_0"),
        ),
        17 => (
            read_sysreg!("S3_3_C14_C10_1"),
            read_sysreg!("S3_3_C14_C14_1"),
        ),
        18 => (
            read_sysreg!("S3_3_C14_C10_2"),
            read_sysreg!("S3_3_C14_C14_2"),
        ),
        19 => (
            read_sysreg!("S3_3_C14_C10_3"),
            read_sysreg!("S3_3_C14_C14_3"),
        ),
        20 => (
            read_sysreg!("S3_3_C14_C10_4"),
            read_sysreg!("S3_3_C14_C14_4"),
        ),
        21 => (
            read_sysreg!("S3_3_C14_C10_5"),
            read_sysreg!("S3_3_C14_C14_5"),
        ),
        22 => (
            read_sysreg!("S3_3_C14_C10_6"),
            read_sysreg!("S3_3_C14_C14_6"),
        ),
        23 => (
            read_sysreg!("S3_3_C14_C10_7"),
            read_sysreg!("S3_3_C14_C14_7"),
        ),
        24 => (
            read_sysreg!("S3_3_C14_C11_0"),
            read_sysreg!("S3_3_C14_C15_0"),
        ),
        25 => (
            read_sysreg!("S3_3_C14_C11_1"),
            read_sysreg!("S3_3_C14_C15_1"),
        ),
        26 => (
            read_sysreg!("S3_3_C14_C11_2"),
            read_sysreg!("S3_3_C14_C15_2"),
        ),
        27 => (
            read_sysreg!("S3_3_C14_C11_3"),
            read_sysreg!("S3_3_C14_C15_3"),
        ),
        28 => (
            read_sysreg!("S3_3_C14_C11_4"),
            read_sysreg!("S3_3_C14_C15_4"),
        ),
        29 => (
            read_sysreg!("S3_3_C14_C11_5"),
            read_sysreg!("S3_3_C14_C15_5"),
        ),
        _ => (
            read_sysreg!("S3_3_C14_C11_6"),
            read_sysreg!("S3_3_C14_C15_6"),
        ),
    }
}

fn write_counter(n: usize, value: u64, event: u64) {
    match n {
        0 => {
            write_sysreg!("S3_3_C14_C8_0", value);
            write_sysreg!("S3_3_C14_C12_0", event);
        }
        1 => {
            write_sysreg!("S3_3_C14_C8_1", value);
            write_sysreg!("S3_3_C14_C12_1", event);
        }
        2 => {
            write_sysreg!("S3_3_C14_C8_2", value);
            write_sysreg!("S3_3_C14_C12_2", event);
        }
        3 => {
            write_sysreg!("S3_3_C14_C8_3", value);
            write_sysreg!("S3_3_C14_C12_3", event);
        }
        4 => {
            write_sysreg!("S3_3_C14_C8_4", value);
            write_sysreg!("S3_3_C14_C12_4", event);
        }
        5 => {
            write_sysreg!("S3_3_C14_C8_5", value);
            write_sysreg!("S3_3_C14_C12_5", event);
        }
        6 => {
            write_sysreg!("S3_3_C14_C8_6", value);
            write_sysreg!("S3_3_C14_C12_6", event);
        }
        7 => {
            write_sysreg!("S3_3_C14_C8_7", value);
            write_sysreg!("S3_3_C14_C12_7", event);
        }
        8 => {
            write_sysreg!("S3_3_C14_C9_0", value);
            write_sysreg!("S3_3_C14_C13_0", event);
        }
        9 => {
            write_sysreg!("S3_3_C14_C9_1", value);
            write_sysreg!("S3_3_C14_C13_1", event);
        }
        10 => {
            write_sysreg!("S3_3_C14_C9_2", value);
            write_sysreg!("S3_3_C14_C13_2", event);
        }
        11 => {
            write_sysreg!("S3_3_C14_C9_3", value);
            write_sysreg!("S3_3_C14_C13_3", event);
        }
        12 => {
            write_sysreg!("S3_3_C14_C9_4", value);
            write_sysreg!("S3_3_C14_C13_4", event);
        }
        13 => {
            write_sysreg!("S3_3_C14_C9_5", value);
            write_sysreg!("S3_3_C14_C13_5", event);
        }
        14 => {
            write_sysreg!("S3_3_C14_C9_6", value);
            write_sysreg!("S3_3_C14_C13_6", event);
        }
        15 => {
            write_sysreg!("S3_3_C14_C9_7", value);
            write_sysreg!("S3_3_C14_C13_7", event);
        }
        16 => {
            write_sysreg!("S3_3_C14_C10_0", value);
            write_sysreg!("S3_3_C14_C14_0", event);
        }
        17 => {
            write_sysreg!("S3_3_C14_C10_1", value);
            write_sysreg!("S3_3_C14_C14_1", event);
        }
        18 => {
            write_sysreg!("S3_3_C14_C10_2", value);
            write_sysreg!("S3_3_C14_C14_2", event);
        }
        19 => {
            write_sysreg!("S3_3_C14_C10_3", value);
            write_sysreg!("S3_3_C14_C14_3", event);
        }
        20 => {
            write_sysreg!("S3_3_C14_C10_4", value);
            write_sysreg!("S3_3_C14_C14_4", event);
        }
        21 => {
            write_sysreg!("S3_3_C14_C10_5", value);
            write_sysreg!("S3_3_C14_C14_5", event);
        }
        22 => {
            write_sysreg!("S3_3_C14_C10_6", value);
            write_sysreg!("S3_3_C14_C14_6", event);
        }
        23 => {
            write_sysreg!("S3_3_C14_C10_7", value);
            write_sysreg!("S3_3_C14_C14_7", event);
        }
        24 => {
            write_sysreg!("S3_3_C14_C11_0", value);
            write_sysreg!("S3_3_C14_C15_0", event);
        }
        25 => {
            write_sysreg!("S3_3_C14_C11_1", value);
            write_sysreg!("S3_3_C14_C15_1", event);
        }
        26 => {
            write_sysreg!("S3_3_C14_C11_2", value);
            write_sysreg!("S3_3_C14_C15_2", event);
        }
        27 => {
            write_sysreg!("S3_3_C14_C11_3", value);
            write_sysreg!("S3_3_C14_C15_3", event);
        }
        28 => {
            write_sysreg!("S3_3_C14_C11_4", value);
            write_sysreg!("S3_3_C14_C15_4", event);
        }
        29 => {
            write_sysreg!("S3_3_C14_C11_5", value);
            write_sysreg!("S3_3_C14_C15_5", event);
        }
        _ => {
            write_sysreg!("S3_3_C14_C11_6", value);
            write_sysreg!("S3_3_C14_C15_6", event);
        }
    }
}
