// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! EL1&0 system registers: the table of `rmm_hal::el1_registers`, and those behind features.
//!
//! EL3 switches the pointer authentication keys between worlds, so the Non-secure ones need no care
//! here. Everything else belongs to whoever ran last.

use rmm_hal::{CpuFeatures, El1Registers, el1_registers};

use crate::regs::{read_sysreg, write_sysreg};

/// Which EL1 registers beyond the table this PE has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Optional {
    pauth: bool,
    ras: bool,
    context_numbers: bool,
}

impl Optional {
    pub(crate) fn new(features: &CpuFeatures) -> Self {
        let isar1 = features.id_register(6, 1);
        let isar2 = features.id_register(6, 2);
        let pfr0 = features.id_register(4, 0);
        Self {
            pauth: isar1 & 0xFF00_0FF0 != 0 || isar2 & 0xFF00 != 0,
            ras: features.ras,
            context_numbers: has_context_numbers(pfr0, features.id_register(4, 1)),
        }
    }
}

/// Says whether SCXTNUM registers exist: `ID_AA64PFR0_EL1.CSV2` is at least 2 (`FEAT_CSV2_2`), or it is 1
/// and `ID_AA64PFR1_EL1.CSV2_frac` is 2 (`FEAT_CSV2_1p2`).
pub(crate) fn has_context_numbers(pfr0: u64, pfr1: u64) -> bool {
    let csv2 = pfr0 >> 56 & 0xF;
    csv2 >= 2 || (csv2 == 1 && pfr1 >> 32 & 0xF >= 2)
}

macro_rules! save_table {
    ($(($field:ident, $register:ident),)*) => {
        fn save_table(into: &mut El1Registers) {
            $(into.$field = read_sysreg!(stringify!($register));)*
        }
    };
}
el1_registers!(save_table);

macro_rules! load_table {
    ($(($field:ident, $register:ident),)*) => {
        fn load_table(from: &El1Registers) {
            $(write_sysreg!(stringify!($register), from.$field);)*
        }
    };
}
el1_registers!(load_table);

/// Reads the registers of whoever owns EL1&0 now, without the keys.
pub(crate) fn save(into: &mut El1Registers, optional: Optional) {
    save_table(into);
    if optional.ras {
        into.vdisr_el2 = read_sysreg!("S3_4_C12_C1_1");
        into.vsesr_el2 = read_sysreg!("S3_4_C5_C2_3");
    }
    if optional.context_numbers {
        into.scxtnum_el0 = read_sysreg!("S3_3_C13_C0_7");
        into.scxtnum_el1 = read_sysreg!("S3_0_C13_C0_7");
    }
}

/// Writes the registers, without the keys.
pub(crate) fn load(from: &El1Registers, optional: Optional) {
    load_table(from);
    if optional.ras {
        write_sysreg!("S3_4_C12_C1_1", from.vdisr_el2);
        write_sysreg!("S3_4_C5_C2_3", from.vsesr_el2);
    }
    if optional.context_numbers {
        write_sysreg!("S3_3_C13_C0_7", from.scxtnum_el0);
        write_sysreg!("S3_0_C13_C0_7", from.scxtnum_el1);
    }
}

/// Reads the Realm's pointer authentication keys.
pub(crate) fn save_keys(into: &mut El1Registers, optional: Optional) {
    if optional.pauth {
        into.pauth_keys = [
            [read_sysreg!("S3_0_C2_C1_0"), read_sysreg!("S3_0_C2_C1_1")],
            [read_sysreg!("S3_0_C2_C1_2"), read_sysreg!("S3_0_C2_C1_3")],
            [read_sysreg!("S3_0_C2_C2_0"), read_sysreg!("S3_0_C2_C2_1")],
            [read_sysreg!("S3_0_C2_C2_2"), read_sysreg!("S3_0_C2_C2_3")],
            [read_sysreg!("S3_0_C2_C3_0"), read_sysreg!("S3_0_C2_C3_1")],
        ];
    }
}

/// Writes the Realm's pointer authentication keys: APIA, APIB, APDA, APDB, APGA.
pub(crate) fn load_keys(from: &El1Registers, optional: Optional) {
    if optional.pauth {
        let [ia, ib, da, db, ga] = from.pauth_keys;
        write_sysreg!("S3_0_C2_C1_0", ia[0]);
        write_sysreg!("S3_0_C2_C1_1", ia[1]);
        write_sysreg!("S3_0_C2_C1_2", ib[0]);
        write_sysreg!("S3_0_C2_C1_3", ib[1]);
        write_sysreg!("S3_0_C2_C2_0", da[0]);
        write_sysreg!("S3_0_C2_C2_1", da[1]);
        write_sysreg!("S3_0_C2_C2_2", db[0]);
        write_sysreg!("S3_0_C2_C2_3", db[1]);
        write_sysreg!("S3_0_C2_C3_0", ga[0]);
        write_sysreg!("S3_0_C2_C3_1", ga[1]);
    }
}
