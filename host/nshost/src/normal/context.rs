// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The registers of a vCPU that stay in the PE from trap to trap: EL1 and EL0, vectors, and the
//! virtual CPU interface of the GIC. Its timers are in `timers.rs`.
//!
//! A vCPU is *loaded* when its PE begins to run it and *saved* when the PE has done with it. In
//! between nobody else on the PE uses these registers: the host runs at EL2 without vector
//! instructions and keeps its scratch registers of EL1 for its last words, and neither EL3 nor the
//! RMM lets a call change them. A vCPU may be loaded into another PE than it was saved from.

use host_vmm::normal::START_SCTLR;

use super::switch::{self, VectorRegisters};
use super::{debug, lists};
use crate::cpu;
use crate::sysreg::{read_sysreg, write_sysreg};
use crate::tags;

/// The keys of pointer authentication: APIA, APIB, APDA, APDB, APGA, low and high.
type Keys = [u64; 10];

macro_rules! registers {
    ($($field:ident = $register:literal,)*) => {
        /// The registers that every PE has.
        #[derive(Clone, Debug, Default)]
        struct Common {
            $($field: u64,)*
        }

        impl Common {
            fn save() -> Self {
                Self {
                    $($field: read_sysreg!($register),)*
                }
            }

            /// Writes them in the order of the list.
            fn load(&self) {
                $(write_sysreg!($register, self.$field);)*
            }
        }
    };
}

registers! {
    sctlr = "sctlr_el1",
    tcr = "tcr_el1",
    ttbr0 = "ttbr0_el1",
    ttbr1 = "ttbr1_el1",
    mair = "mair_el1",
    amair = "amair_el1",
    actlr = "actlr_el1",
    cpacr = "cpacr_el1",
    contextidr = "contextidr_el1",
    vbar = "vbar_el1",
    elr = "elr_el1",
    spsr = "spsr_el1",
    esr = "esr_el1",
    far = "far_el1",
    afsr0 = "afsr0_el1",
    afsr1 = "afsr1_el1",
    par = "par_el1",
    sp_el0 = "sp_el0",
    sp_el1 = "sp_el1",
    tpidr_el0 = "tpidr_el0",
    tpidrro = "tpidrro_el0",
    tpidr_el1 = "tpidr_el1",
    csselr = "csselr_el1",
    mdscr = "mdscr_el1",
    fpcr = "S3_3_C4_C4_0",
    fpsr = "S3_3_C4_C4_1",
    cntkctl = "cntkctl_el1",
    cntv_cval = "cntv_cval_el0",
    cntp_cval = "cntp_cval_el0",
}

/// The state of a vCPU that is not in a PE.
#[derive(Clone, Debug)]
pub(super) struct Context {
    common: Common,
    /// `SCXTNUM_EL0` and `SCXTNUM_EL1`.
    contexts: [u64; 2],
    keys: Keys,
    /// `RGSR_EL1`, `GCR_EL1`, `TFSR_EL1` and `TFSRE0_EL1`.
    tagging: [u64; 4],
    debug: debug::Comparators,
    vectors: VectorRegisters,
    interface: lists::Interface,
}

impl Default for Context {
    /// A vCPU that starts: MMU and caches off, everything else zero.
    fn default() -> Self {
        Self {
            common: Common {
                sctlr: START_SCTLR,
                ..Common::default()
            },
            contexts: [0; 2],
            keys: [0; 10],
            tagging: [0; 4],
            debug: debug::Comparators::default(),
            vectors: [0; 32],
            interface: lists::Interface::default(),
        }
    }
}

impl Context {
    /// Puts the vCPU into this PE.
    pub(super) fn load(&self) {
        self.common.load();
        if cpu::has_pointer_authentication() {
            load_keys(&self.keys);
        }
        if cpu::has_context_numbers() {
            write_sysreg!("S3_3_C13_C0_7", self.contexts[0]);
            write_sysreg!("S3_0_C13_C0_7", self.contexts[1]);
        }
        if tags::are_usable() {
            load_tagging(&self.tagging);
        }
        self.debug.load();
        switch::load_vectors(&self.vectors);
        self.interface.load();
    }

    /// Takes the vCPU out of this PE.
    pub(super) fn save(&mut self) {
        self.common = Common::save();
        if cpu::has_pointer_authentication() {
            self.keys = save_keys();
        }
        if cpu::has_context_numbers() {
            self.contexts = [read_sysreg!("S3_3_C13_C0_7"), read_sysreg!("S3_0_C13_C0_7")];
        }
        if tags::are_usable() {
            self.tagging = save_tagging();
        }
        self.debug = debug::Comparators::save();
        switch::save_vectors(&mut self.vectors);
        self.interface = lists::Interface::save();
    }
}

fn save_keys() -> Keys {
    [
        read_sysreg!("S3_0_C2_C1_0"),
        read_sysreg!("S3_0_C2_C1_1"),
        read_sysreg!("S3_0_C2_C1_2"),
        read_sysreg!("S3_0_C2_C1_3"),
        read_sysreg!("S3_0_C2_C2_0"),
        read_sysreg!("S3_0_C2_C2_1"),
        read_sysreg!("S3_0_C2_C2_2"),
        read_sysreg!("S3_0_C2_C2_3"),
        read_sysreg!("S3_0_C2_C3_0"),
        read_sysreg!("S3_0_C2_C3_1"),
    ]
}

fn load_keys(keys: &Keys) {
    let [
        ia,
        ia_high,
        ib,
        ib_high,
        da,
        da_high,
        db,
        db_high,
        ga,
        ga_high,
    ] = *keys;
    write_sysreg!("S3_0_C2_C1_0", ia);
    write_sysreg!("S3_0_C2_C1_1", ia_high);
    write_sysreg!("S3_0_C2_C1_2", ib);
    write_sysreg!("S3_0_C2_C1_3", ib_high);
    write_sysreg!("S3_0_C2_C2_0", da);
    write_sysreg!("S3_0_C2_C2_1", da_high);
    write_sysreg!("S3_0_C2_C2_2", db);
    write_sysreg!("S3_0_C2_C2_3", db_high);
    write_sysreg!("S3_0_C2_C3_0", ga);
    write_sysreg!("S3_0_C2_C3_1", ga_high);
}

fn save_tagging() -> [u64; 4] {
    [
        read_sysreg!("S3_0_C1_C0_5"),
        read_sysreg!("S3_0_C1_C0_6"),
        read_sysreg!("S3_0_C5_C6_0"),
        read_sysreg!("S3_0_C5_C6_1"),
    ]
}

fn load_tagging(&[seed, control, fault, user_fault]: &[u64; 4]) {
    write_sysreg!("S3_0_C1_C0_5", seed);
    write_sysreg!("S3_0_C1_C0_6", control);
    write_sysreg!("S3_0_C5_C6_0", fault);
    write_sysreg!("S3_0_C5_C6_1", user_fault);
}
