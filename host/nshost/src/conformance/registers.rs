// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The Host's own registers of EL1 and EL0, and those of EL2 that EL3 does not switch: full of patterns
//! that no Realm may see or change.
//!
//! Nothing runs at EL1 or EL0 while scenarios do, so any value is as good as another.

use alloc::vec::Vec;

use aarch64_cpu::registers::{ID_AA64DFR0_EL1, ID_AA64PFR0_EL1, Readable};
use scenarios::port::{PAYLOAD_BASE, pattern};

use crate::tags;

/// `MDSCR_EL1`: KDE and MDE.
const MDSCR_ARMED: u64 = 1 << 15 | 1 << 13;
/// `DBGWCR0_EL1`: loads and stores at EL1 and EL0 in 2 GiB: MASK, BAS, LSC, PAC, E.
const WATCH_ALL: u64 = 31 << 24 | 0xFF << 5 | 0b11 << 3 | 0b11 << 1 | 1;

/// `ID_AA64PFR0_EL1.RAS` and `CSV2`.
const RAS_SHIFT: u32 = 28;
const CSV2_SHIFT: u32 = 56;

/// Lists the registers: name, encoding, the bits that are filled, and the feature they come with.
macro_rules! host_registers {
    ($callback:ident) => {
        $callback! {
            SP_EL0 [3 0 4 1 0] u64::MAX, base;
            SP_EL1 [3 4 4 1 0] u64::MAX, base;
            ELR_EL1 [3 0 4 0 1] u64::MAX, base;
            SPSR_EL1 [3 0 4 0 0] 0xF000_03C5, base;
            SCTLR_EL1 [3 0 1 0 0] u64::MAX, base;
            CPACR_EL1 [3 0 1 0 2] 0x3F0_0000, base;
            TTBR0_EL1 [3 0 2 0 0] u64::MAX, base;
            TTBR1_EL1 [3 0 2 0 1] u64::MAX, base;
            TCR_EL1 [3 0 2 0 2] u64::MAX, base;
            ESR_EL1 [3 0 5 2 0] u64::MAX, base;
            AFSR0_EL1 [3 0 5 1 0] u64::MAX, base;
            AFSR1_EL1 [3 0 5 1 1] u64::MAX, base;
            FAR_EL1 [3 0 6 0 0] u64::MAX, base;
            PAR_EL1 [3 0 7 4 0] 0x000F_FFFF_FFFF_F000, base;
            MAIR_EL1 [3 0 10 2 0] u64::MAX, base;
            AMAIR_EL1 [3 0 10 3 0] u64::MAX, base;
            VBAR_EL1 [3 0 12 0 0] u64::MAX, base;
            CONTEXTIDR_EL1 [3 0 13 0 1] 0xFFFF_FFFF, base;
            TPIDR_EL1 [3 0 13 0 4] u64::MAX, base;
            TPIDR_EL0 [3 3 13 0 2] u64::MAX, base;
            TPIDRRO_EL0 [3 3 13 0 3] u64::MAX, base;
            CNTKCTL_EL1 [3 0 14 1 0] 0x3FF, base;
            CSSELR_EL1 [3 2 0 0 0] 0xF, base;
            CNTV_CVAL_EL0 [3 3 14 3 2] u64::MAX, base;
            CNTP_CVAL_EL0 [3 3 14 2 2] u64::MAX, base;
            APIAKeyLo_EL1 [3 0 2 1 0] u64::MAX, base;
            APIBKeyHi_EL1 [3 0 2 1 3] u64::MAX, base;
            APDAKeyLo_EL1 [3 0 2 2 0] u64::MAX, base;
            APGAKeyHi_EL1 [3 0 2 3 1] u64::MAX, base;
            DBGBVR0_EL1 [2 0 0 0 4] 0x0000_FFFF_FFFF_FFFC, base;
            DBGBVR1_EL1 [2 0 0 1 4] 0x0000_FFFF_FFFF_FFFC, base;
            DBGBCR1_EL1 [2 0 0 1 5] 0x0000_E1E6, base;
            DBGWVR1_EL1 [2 0 0 1 6] 0x0000_FFFF_FFFF_FFF8, base;
            DBGWCR1_EL1 [2 0 0 1 7] 0x1F00_FFFE, base;
            CNTVOFF_EL2 [3 4 14 0 3] u64::MAX, base;
            CNTV_CTL_EL0 [3 3 14 3 1] 0b10, base;
            CNTP_CTL_EL0 [3 3 14 2 1] 0b10, base;
            VDISR_EL2 [3 4 12 1 1] 0x1FF_FFFF, ras;
            VSESR_EL2 [3 4 5 2 3] 0x1FF_FFFF, ras;
            SCXTNUM_EL0 [3 3 13 0 7] u64::MAX, context_numbers;
            SCXTNUM_EL1 [3 0 13 0 7] u64::MAX, context_numbers;
            RGSR_EL1 [3 0 1 0 5] 0x00FF_FF0F, tags;
            GCR_EL1 [3 0 1 0 6] 0x1_FFFF, tags;
            TFSR_EL1 [3 0 5 6 0] 0b11, tags;
            TFSRE0_EL1 [3 0 5 6 1] 0b11, tags;
            PMSELR_EL0 [3 3 9 12 5] 0x1F, pmu;
            PMCCNTR_EL0 [3 3 9 13 0] u64::MAX, pmu;
            PMUSERENR_EL0 [3 3 9 14 0] 0xF, pmu;
            PMCCFILTR_EL0 [3 3 14 15 7] 0xF800_0000, pmu;
            PMEVCNTR0_EL0 [3 3 14 8 0] 0xFFFF_FFFF, pmu;
            PMEVTYPER0_EL0 [3 3 14 12 0] 0x3FF, pmu;
            PMCNTENSET_EL0 [3 3 9 12 1] 0x8000_0001, pmu;
            PMINTENSET_EL1 [3 0 9 14 1] 0x8000_0001, pmu;
            PMOVSSET_EL0 [3 3 9 14 3] 0x8000_0001, pmu;
            MDSCR_EL1 [2 0 0 2 2] 0, base;
            DBGWVR0_EL1 [2 0 0 0 6] 0, base;
            DBGWCR0_EL1 [2 0 0 0 7] 0, base;
        }
    };
}

/// Which features that bring registers this CPU has.
#[derive(Clone, Copy)]
struct Has {
    base: bool,
    ras: bool,
    context_numbers: bool,
    tags: bool,
    pmu: bool,
}

impl Has {
    fn now() -> Self {
        Self {
            base: true,
            ras: ID_AA64PFR0_EL1.get() >> RAS_SHIFT & 0xF != 0,
            context_numbers: ID_AA64PFR0_EL1.get() >> CSV2_SHIFT & 0xF >= 2,
            tags: tags::are_usable(),
            pmu: !matches!(ID_AA64DFR0_EL1.read(ID_AA64DFR0_EL1::PMUVer), 0 | 0xF),
        }
    }
}

/// Reads a register that this CPU has.
macro_rules! read {
    ($($part:literal)*) => {{
        let value: u64;
        // SAFETY: reading one of these registers has no effect.
        unsafe {
            core::arch::asm!(
                concat!("mrs {}, ", encoded!($($part)*)),
                out(reg) value,
                options(nomem, nostack, preserves_flags)
            );
        }
        value
    }};
}

/// Writes a register that this CPU has.
macro_rules! write {
    ([$($part:literal)*], $value:expr) => {{
        let value: u64 = $value;
        // SAFETY: the register has an effect at EL1 and EL0 only, where nothing runs.
        unsafe {
            core::arch::asm!(
                concat!("msr ", encoded!($($part)*), ", {}"),
                in(reg) value,
                options(nostack, preserves_flags)
            );
        }
    }};
}

/// Returns the name of a register by its encoding, as the assembler takes it.
macro_rules! encoded {
    ($op0:literal $op1:literal $crn:literal $crm:literal $op2:literal) => {
        concat!("S", $op0, "_", $op1, "_C", $crn, "_C", $crm, "_", $op2)
    };
}

macro_rules! functions {
    ($($name:ident [$($part:literal)*] $mask:expr, $feature:ident;)*) => {
        fn fill_all(seed: u64, has: Has) {
            let mut index = 0..;
            $(
                let word = pattern(seed, index.next().unwrap_or(0));
                if has.$feature {
                    write!([$($part)*], word & $mask);
                }
            )*
        }

        fn read_all(has: Has) -> Vec<(&'static str, u64)> {
            let mut values = Vec::new();
            $(
                if has.$feature {
                    values.push((stringify!($name), read!($($part)*)));
                }
            )*
            values
        }
    };
}
host_registers!(functions);

/// What the registers held after they were filled.
pub(super) struct Filled(Vec<(&'static str, u64)>);

impl Filled {
    /// Fills the registers with a pattern, and watches what a Realm does in its memory: if a Realm runs
    /// with the Host's debug registers, its first load faults.
    pub(super) fn fill(seed: u64) -> Self {
        let has = Has::now();
        fill_all(seed, has);
        write!([2 0 0 0 6], PAYLOAD_BASE);
        write!([2 0 0 0 7], WATCH_ALL);
        write!([2 0 0 2 2], MDSCR_ARMED);
        Self(read_all(has))
    }

    /// Returns the names of registers that hold something else now, and stops watching. Guests have no
    /// offset from here on.
    pub(super) fn changed(&self) -> Vec<&'static str> {
        let now = read_all(Has::now());
        write!([3 4 14 0 3], 0);
        write!([2 0 0 2 2], 0);
        write!([2 0 0 0 7], 0);
        let differs =
            |(before, after): (&(_, u64), &(_, u64))| (before.1 != after.1).then_some(before.0);
        self.0.iter().zip(&now).filter_map(differs).collect()
    }
}
