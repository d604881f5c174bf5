// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The virtual CPU interface of the GIC: list registers and what goes with them (Arm GICv3,
//! `ICH_*_EL2`).

use aarch64_cpu::asm::barrier;
use host_vmm::gic::MAX_LISTS;
use rmi::{RecEnter, RecExit};

use crate::sysreg::{read_sysreg, write_sysreg};

/// `ICH_HCR_EL2.En`.
const ENABLE: u64 = 1;
/// Bits of `ICH_VTR_EL2`.
const VTR_LISTS: u64 = 0x1F;
const VTR_PRIORITY_SHIFT: u32 = 29;
/// Priority bits of one word of active priorities, as log2.
const BITS_OF_ONE_WORD: u64 = 5;

/// The names of the list registers, as an expression of their number.
macro_rules! for_list {
    ($number:expr, $act:ident $(, $value:expr)?) => {
        match $number {
            0 => $act!("S3_4_C12_C12_0" $(, $value)?),
            1 => $act!("S3_4_C12_C12_1" $(, $value)?),
            2 => $act!("S3_4_C12_C12_2" $(, $value)?),
            3 => $act!("S3_4_C12_C12_3" $(, $value)?),
            4 => $act!("S3_4_C12_C12_4" $(, $value)?),
            5 => $act!("S3_4_C12_C12_5" $(, $value)?),
            6 => $act!("S3_4_C12_C12_6" $(, $value)?),
            7 => $act!("S3_4_C12_C12_7" $(, $value)?),
            8 => $act!("S3_4_C12_C13_0" $(, $value)?),
            9 => $act!("S3_4_C12_C13_1" $(, $value)?),
            10 => $act!("S3_4_C12_C13_2" $(, $value)?),
            11 => $act!("S3_4_C12_C13_3" $(, $value)?),
            12 => $act!("S3_4_C12_C13_4" $(, $value)?),
            13 => $act!("S3_4_C12_C13_5" $(, $value)?),
            14 => $act!("S3_4_C12_C13_6" $(, $value)?),
            _ => $act!("S3_4_C12_C13_7" $(, $value)?),
        }
    };
}

/// The names of the words of active priorities, groups 0 and 1.
macro_rules! for_priorities {
    ($number:expr, $act:ident $(, $group0:expr, $group1:expr)?) => {
        match $number {
            0 => ($act!("S3_4_C12_C8_0" $(, $group0)?), $act!("S3_4_C12_C9_0" $(, $group1)?)),
            1 => ($act!("S3_4_C12_C8_1" $(, $group0)?), $act!("S3_4_C12_C9_1" $(, $group1)?)),
            2 => ($act!("S3_4_C12_C8_2" $(, $group0)?), $act!("S3_4_C12_C9_2" $(, $group1)?)),
            _ => ($act!("S3_4_C12_C8_3" $(, $group0)?), $act!("S3_4_C12_C9_3" $(, $group1)?)),
        }
    };
}

/// What the interface remembers from trap to trap.
#[derive(Clone, Debug, Default)]
pub(super) struct Interface {
    control: u64,
    active: [(u64, u64); 4],
}

impl Interface {
    /// Puts the state into this PE's interface, with all list registers empty.
    pub(super) fn load(&self) {
        write_sysreg!("S3_4_C12_C11_7", self.control);
        for (number, (group0, group1)) in self.active.iter().enumerate().take(priority_words()) {
            for_priorities!(number, write_sysreg, *group0, *group1);
        }
        (0..count()).for_each(|number| for_list!(number, write_sysreg, 0));
    }

    /// Returns the state of this PE's interface.
    pub(super) fn save() -> Self {
        let mut active = [(0, 0); 4];
        for (number, words) in active.iter_mut().enumerate().take(priority_words()) {
            *words = for_priorities!(number, read_sysreg);
        }
        Self {
            control: read_sysreg!("S3_4_C12_C11_7"),
            active,
        }
    }
}

/// Returns how many list registers this PE has.
pub(crate) fn count() -> usize {
    let lists = (read_sysreg!("S3_4_C12_C11_1") & VTR_LISTS) + 1;
    (lists as usize).min(MAX_LISTS)
}

/// Presents the interrupts of `enter` to the guest.
pub(super) fn present(enter: &RecEnter) {
    for (number, word) in enter.gicv3_lrs.iter().enumerate().take(count()) {
        for_list!(number, write_sysreg, *word);
    }
    write_sysreg!("S3_4_C12_C11_0", enter.gicv3_hcr | ENABLE);
}

/// Takes the interrupts back and turns the interface off: its conditions mean nothing while the
/// guest does not run.
pub(super) fn take_back(exit: &mut RecExit) {
    exit.gicv3_hcr = read_sysreg!("S3_4_C12_C11_0");
    exit.gicv3_misr = read_sysreg!("S3_4_C12_C11_2");
    exit.gicv3_vmcr = read_sysreg!("S3_4_C12_C11_7");
    for (number, word) in exit.gicv3_lrs.iter_mut().enumerate().take(count()) {
        *word = for_list!(number, read_sysreg);
    }
    write_sysreg!("S3_4_C12_C11_0", 0);
    barrier::isb(barrier::SY);
}

/// Five bits of priority need one word for each group, each further one doubles it.
fn priority_words() -> usize {
    let bits = (read_sysreg!("S3_4_C12_C11_1") >> VTR_PRIORITY_SHIFT) + 1;
    1 << bits.saturating_sub(BITS_OF_ONE_WORD).min(2)
}
