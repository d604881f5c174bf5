// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The virtual GIC CPU interface of a REC (Arm GIC architecture, chapter "System registers").

use rmm_hal::{CpuFeatures, GicState};

use crate::regs::{isb, read_sysreg, write_sysreg};

/// How much of the interface this PE has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Vgic {
    list_registers: usize,
    priority_registers: usize,
}

impl Vgic {
    pub(crate) fn new(features: &CpuFeatures) -> Self {
        // Five bits of priority need one active-priority register per group, each more doubles it.
        let priority_bits = u32::from(features.priority_bits) + 1;
        Self {
            list_registers: usize::from(features.list_registers) + 1,
            priority_registers: 1 << priority_bits.saturating_sub(5).min(2),
        }
    }

    /// Loads the REC's interface. What the Non-secure world kept in these registers is lost, as the
    /// specification allows, except the three that `Vgic::aside` saves.
    pub(crate) fn load(self, from: &GicState) {
        write_sysreg!("S3_4_C12_C11_7", from.vmcr);
        for n in 0..self.priority_registers {
            write_active_priorities(n, from.ap0r[n], from.ap1r[n]);
        }
        for n in 0..self.list_registers {
            write_list_register(n, from.lrs[n]);
        }
        write_sysreg!("S3_4_C12_C11_0", from.hcr);
    }

    /// Saves the REC's interface, turns it off and leaves nothing of the Realm in it.
    pub(crate) fn save(self, into: &mut GicState) {
        into.hcr = read_sysreg!("S3_4_C12_C11_0");
        into.misr = read_sysreg!("S3_4_C12_C11_2");
        into.vmcr = read_sysreg!("S3_4_C12_C11_7");
        for n in 0..self.list_registers {
            into.lrs[n] = read_list_register(n);
            write_list_register(n, 0);
        }
        for n in 0..self.priority_registers {
            (into.ap0r[n], into.ap1r[n]) = read_active_priorities(n);
            write_active_priorities(n, 0, 0);
        }
        write_sysreg!("S3_4_C12_C11_0", 0);
        isb();
    }
}

/// The GIC registers of the Non-secure world that EL3 switches only up to interface 0.x.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Aside {
    sre: u64,
    hcr: u64,
    vmcr: u64,
}

/// `ICH_HCR_EL2.En`.
const EN: u64 = 1 << 0;

/// Returns what the Host finds in `ICH_HCR_EL2` after a REC ran: what it left there, with the interface
/// off, so that it gets no maintenance interrupts that it does not expect (RMM specification, A6.1).
const fn hcr_after_exit(hosts: u64) -> u64 {
    hosts & !EN
}

const _: () = assert!(hcr_after_exit(0xF800_40FF) == 0xF800_40FE);

impl Aside {
    pub(crate) fn save() -> Self {
        Self {
            sre: read_sysreg!("S3_0_C12_C12_5"),
            hcr: hcr_after_exit(read_sysreg!("S3_4_C12_C11_0")),
            vmcr: read_sysreg!("S3_4_C12_C11_7"),
        }
    }

    pub(crate) fn load(self) {
        write_sysreg!("S3_0_C12_C12_5", self.sre);
        write_sysreg!("S3_4_C12_C11_7", self.vmcr);
        write_sysreg!("S3_4_C12_C11_0", self.hcr);
    }
}

fn read_list_register(n: usize) -> u64 {
    match n {
        0 => read_sysreg!("S3_4_C12_C12_0"),
        1 => read_sysreg!("S3_4_C12_C12_1"),
        2 => read_sysreg!("S3_4_C12_C12_2"),
        3 => read_sysreg!("S3_4_C12_C12_3"),
        4 => read_sysreg!("S3_4_C12_C12_4"),
        5 => read_sysreg!("S3_4_C12_C12_5"),
        6 => read_sysreg!("S3_4_C12_C12_6"),
        7 => read_sysreg!("S3_4_C12_C12_7"),
        8 => read_sysreg!("S3_4_C12_C13_0"),
        9 => read_sysreg!("S3_4_C12_C13_1"),
        10 => read_sysreg!("S3_4_C12_C13_2"),
        11 => read_sysreg!("S3_4_C12_C13_3"),
        12 => read_sysreg!("S3_4_C12_C13_4"),
        13 => read_sysreg!("S3_4_C12_C13_5"),
        14 => read_sysreg!("S3_4_C12_C13_6"),
        _ => read_sysreg!("S3_4_C12_C13_7"),
    }
}

fn write_list_register(n: usize, value: u64) {
    match n {
        0 => write_sysreg!("S3_4_C12_C12_0", value),
        1 => write_sysreg!("S3_4_C12_C12_1", value),
        2 => write_sysreg!("S3_4_C12_C12_2", value),
        3 => write_sysreg!("S3_4_C12_C12_3", value),
        4 => write_sysreg!("S3_4_C12_C12_4", value),
        5 => write_sysreg!("S3_4_C12_C12_5", value),
        6 => write_sysreg!("S3_4_C12_C12_6", value),
        7 => write_sysreg!("S3_4_C12_C12_7", value),
        8 => write_sysreg!("S3_4_C12_C13_0", value),
        9 => write_sysreg!("S3_4_C12_C13_1", value),
        10 => write_sysreg!("S3_4_C12_C13_2", value),
        11 => write_sysreg!("S3_4_C12_C13_3", value),
        12 => write_sysreg!("S3_4_C12_C13_4", value),
        13 => write_sysreg!("S3_4_C12_C13_5", value),
        14 => write_sysreg!("S3_4_C12_C13_6", value),
        _ => write_sysreg!("S3_4_C12_C13_7", value),
    }
}

fn read_active_priorities(n: usize) -> (u64, u64) {
    match n {
        0 => (read_sysreg!("S3_4_C12_C8_0"), read_sysreg!("S3_4_C12_C9_0")),
        1 => (read_sysreg!("S3_4_C12_C8_1"), read_sysreg!("S3_4_C12_C9_1")),
        2 => (read_sysreg!("S3_4_C12_C8_2"), read_sysreg!("S3_4_C12_C9_2")),
        _ => (read_sysreg!("S3_4_C12_C8_3"), read_sysreg!("S3_4_C12_C9_3")),
    }
}

fn write_active_priorities(n: usize, group0: u64, group1: u64) {
    match n {
        0 => {
            write_sysreg!("S3_4_C12_C8_0", group0);
            write_sysreg!("S3_4_C12_C9_0", group1);
        }
        1 => {
            write_sysreg!("S3_4_C12_C8_1", group0);
            write_sysreg!("S3_4_C12_C9_1", group1);
        }
        2 => {
            write_sysreg!("S3_4_C12_C8_2", group0);
            write_sysreg!("S3_4_C12_C9_2", group1);
        }
        _ => {
            write_sysreg!("S3_4_C12_C8_3", group0);
            write_sysreg!("S3_4_C12_C9_3", group1);
        }
    }
}
