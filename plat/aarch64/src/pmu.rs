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

/// Calls `$action!` with the numbers of all event counters that a PE can have.
macro_rules! each_counter {
    ($action:ident) => {
        $action! { 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 }
    };
}

/// Reads `PMEVCNTR<n>_EL0` (`$crm` = 8) or `PMEVTYPER<n>_EL0` (12).
macro_rules! read_numbered {
    ($crm:literal, $n:literal) => {{
        let value: u64;
        // SAFETY: as for `read_sysreg`; the caller's count says that this PE implements the register.
        unsafe {
            core::arch::asm!(
                "mrs {value}, S3_3_C14_C{crm}_{op2}",
                value = out(reg) value,
                crm = const $crm + $n / 8,
                op2 = const $n % 8,
                options(nomem, nostack, preserves_flags)
            );
        }
        value
    }};
}

/// Writes the same registers.
macro_rules! write_numbered {
    ($crm:literal, $n:literal, $value:expr) => {{
        let value: u64 = $value;
        // SAFETY: as for `write_sysreg`; the caller's count says that this PE implements the register.
        unsafe {
            core::arch::asm!(
                "msr S3_3_C14_C{crm}_{op2}, {value}",
                value = in(reg) value,
                crm = const $crm + $n / 8,
                op2 = const $n % 8,
                options(nostack, preserves_flags)
            );
        }
    }};
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
        macro_rules! save {
            ($($n:literal)*) => {$(
                if $n < self.counters {
                    into.counters[$n] = read_numbered!(8, $n);
                    into.types[$n] = read_numbered!(12, $n);
                }
            )*};
        }
        each_counter!(save);
    }

    /// Loads everything; the counters run again when the owner had them running. The interrupts come last:
    /// an overflow that is there already signals from that write on.
    pub(crate) fn load(self, from: &PmuState) {
        write_sysreg!("PMCNTENCLR_EL0", !from.enabled);
        write_sysreg!("PMINTENCLR_EL1", !from.interrupts);
        write_sysreg!("PMOVSCLR_EL0", !from.overflow);
        macro_rules! load {
            ($($n:literal)*) => {$(
                if $n < self.counters {
                    write_numbered!(8, $n, from.counters[$n]);
                    write_numbered!(12, $n, from.types[$n]);
                }
            )*};
        }
        each_counter!(load);
        write_sysreg!("PMCCNTR_EL0", from.cycles);
        write_sysreg!("PMCCFILTR_EL0", from.cycle_filter);
        write_sysreg!("PMSELR_EL0", from.selector);
        write_sysreg!("PMUSERENR_EL0", from.user);
        write_sysreg!("PMCNTENSET_EL0", from.enabled);
        write_sysreg!("PMOVSSET_EL0", from.overflow);
        isb();
        write_sysreg!("PMCR_EL0", from.pmcr & !RESET);
        isb();
        write_sysreg!("PMINTENSET_EL1", from.interrupts);
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
