// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Stage 2 translation as the architecture does it (Arm ARM, AArch64.S2Walk), written from the
//! architecture and sharing nothing with the monitor: 4 KiB granule, with and without LPA2.

use std::sync::atomic::Ordering;

use rmi::{GRANULE_SIZE, GranuleAddr, Ipa};
use rmm_hal::Stage2Root;

use crate::machine::{FakeMachine, Pas};

/// What the hardware makes of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Translation {
    /// A valid leaf.
    Valid {
        /// The output page.
        page: u64,
        /// The level of the leaf.
        level: i8,
        /// The leaf descriptor.
        descriptor: u64,
    },
    /// A translation or address size fault.
    Fault {
        /// The level of the fault.
        level: i8,
    },
}

/// Returns the VMID of a root.
pub(crate) fn vmid(root: &Stage2Root) -> u16 {
    (root.vttbr >> 48) as u16
}

/// Walks the tables of `root` for `ipa`.
#[must_use]
pub fn walk(machine: &FakeMachine, root: &Stage2Root, ipa: Ipa) -> Translation {
    let width = 64 - (root.vtcr & 0x3F);
    let lpa2 = root.vtcr >> 32 & 1 == 1;
    let mut level = start_level(root.vtcr);
    let mut table = table_base(root.vttbr, lpa2, width, level);
    if width < 64 && ipa.raw() >> width != 0 {
        return Translation::Fault { level: 0 };
    }
    let mut top = width;
    loop {
        let low = 12 + 9 * (3 - i64::from(level)) as u64;
        let index = (ipa.raw() & ((1 << top) - 1)) >> low;
        let Some(descriptor) = read(machine, table + index * 8) else {
            return Translation::Fault { level };
        };
        let leaf = match (descriptor & 3, level) {
            (3, 3) => true,
            (1, 1 | 2) => true,
            (1, 0) if lpa2 => true,
            (3, ..3) => false,
            _ => return Translation::Fault { level },
        };
        let mut output = descriptor & 0x0000_FFFF_FFFF_F000;
        if lpa2 {
            output = descriptor & 0x0003_FFFF_FFFF_F000 | (descriptor >> 8 & 3) << 50;
        }
        if leaf {
            let block = 1u64 << low;
            let page = (output & !(block - 1)) | (ipa.raw() & (block - 1) & !(GRANULE_SIZE - 1));
            return Translation::Valid {
                page,
                level,
                descriptor,
            };
        }
        table = output;
        top = low;
        level += 1;
    }
}

fn start_level(vtcr: u64) -> i8 {
    if vtcr >> 33 & 1 == 1 {
        return -1;
    }
    match vtcr >> 6 & 3 {
        0 => 2,
        1 => 1,
        2 => 0,
        _ => 3,
    }
}

fn table_base(vttbr: u64, lpa2: bool, width: u64, level: i8) -> u64 {
    let bits = width.saturating_sub(12 + 9 * (3 - i64::from(level)) as u64);
    let size = 8u64 << bits;
    let mut base = vttbr & 0x0000_FFFF_FFFF_FFFE;
    if lpa2 {
        base = (vttbr & 0x0000_FFFF_FFFF_FFC0) | (vttbr >> 2 & 0xF) << 48;
    }
    base & !(size.max(64) - 1)
}

fn read(machine: &FakeMachine, at: u64) -> Option<u64> {
    let granule = GranuleAddr::new(at & !(GRANULE_SIZE - 1))?;
    let words = machine.words_of(granule, Pas::Realm).ok()?;
    Some(words[(at % GRANULE_SIZE) as usize / 8].load(Ordering::SeqCst))
}
