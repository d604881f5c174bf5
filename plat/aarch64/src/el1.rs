// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! EL1&0 system registers: the table of `rmm_hal::registers`.

use rmm_hal::{CpuFeatures, El1Registers, switched_registers};

use crate::regs::{read_sysreg, write_sysreg};

/// Which features that bring registers this PE has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Optional {
    pauth: bool,
    ras: bool,
    pub(crate) csv2_2: bool,
}

impl Optional {
    pub(crate) fn new(features: &CpuFeatures) -> Self {
        let isar1 = features.id_register(6, 1);
        let isar2 = features.id_register(6, 2);
        Self {
            pauth: isar1 & 0xFF00_0FF0 != 0 || isar2 & 0xFF00 != 0,
            ras: features.ras,
            csv2_2: has_context_numbers(features.id_register(4, 0), features.id_register(4, 1)),
        }
    }
}

/// Says whether SCXTNUM registers exist: `ID_AA64PFR0_EL1.CSV2` is at least 2 (`FEAT_CSV2_2`), or it is 1
/// and `ID_AA64PFR1_EL1.CSV2_frac` is 2 (`FEAT_CSV2_1p2`).
fn has_context_numbers(pfr0: u64, pfr1: u64) -> bool {
    let csv2 = pfr0 >> 56 & 0xF;
    csv2 >= 2 || (csv2 == 1 && pfr1 >> 32 & 0xF >= 2)
}

/// Does something if this PE has the feature of a row.
macro_rules! if_has {
    (base, $optional:ident, $do:expr) => {
        $do
    };
    ($feature:ident, $optional:ident, $do:expr) => {
        if $optional.$feature {
            $do
        }
    };
}

macro_rules! switch_table {
    (
        both { $($field:ident $name:ident [$($of:literal)*] $feature:ident;)* }
        realm { $($kept:ident $key:ident [$($at:literal)*] $with:ident;)* }
    ) => {
        /// Reads the registers of whoever owns EL1&0 now, but those that EL3 switches between worlds.
        pub(crate) fn save(into: &mut El1Registers, optional: Optional) {
            $(if_has!($feature, optional, into.$field = read_sysreg!(encoded!($($of)*)));)*
        }

        /// Writes the registers, but those that EL3 switches between worlds.
        pub(crate) fn load(from: &El1Registers, optional: Optional) {
            $(if_has!($feature, optional, write_sysreg!(encoded!($($of)*), from.$field));)*
        }

        /// Reads the Realm's registers that EL3 switches between worlds.
        pub(crate) fn save_realm(into: &mut El1Registers, optional: Optional) {
            $(if_has!($with, optional, into.$kept = read_sysreg!(encoded!($($at)*)));)*
        }

        /// Writes the Realm's registers that EL3 switches between worlds.
        pub(crate) fn load_realm(from: &El1Registers, optional: Optional) {
            $(if_has!($with, optional, write_sysreg!(encoded!($($at)*), from.$kept));)*
        }
    };
}

/// Returns the name of a register by its encoding, as the assembler takes it.
macro_rules! encoded {
    ($op0:literal $op1:literal $crn:literal $crm:literal $op2:literal) => {
        concat!("S", $op0, "_", $op1, "_C", $crn, "_C", $crm, "_", $op2)
    };
}

switched_registers!(switch_table);
