// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Stage 2 descriptors (Arm ARM, VMSAv8-64 translation table format descriptors, 4 KiB granule).
//!
//! | bits | field |
//! |---|---|
//! | 0 | valid |
//! | 1 | table (levels above 3) or page (level 3); 0 is a block |
//! | 5:2 | `MemAttr` |
//! | 7:6 | `S2AP`: bit 6 read, bit 7 write |
//! | 9:8 | `SH`: 0b11 inner shareable |
//! | 10 | access flag |
//! | 47:12 | output address |
//! | 54 | execute-never |
//!
//! An invalid descriptor is zero, or [`LOCKED`] while one CPU changes it (rule W3).

use rmi::RttLevel;

use crate::addr::Pfn;
use crate::perms::Permissions;

const VALID: u64 = 1 << 0;
const TABLE_OR_PAGE: u64 = 1 << 1;
const ATTRIBUTES_SHIFT: u32 = 2;
const READ: u64 = 1 << 6;
const WRITE: u64 = 1 << 7;
const INNER_SHAREABLE: u64 = 0b11 << 8;
const ACCESSED: u64 = 1 << 10;
const EXECUTE_NEVER: u64 = 1 << 54;
const ADDRESS: u64 = 0x0000_FFFF_FFFF_F000;

/// `MemAttr` of normal write-back memory without and with FEAT_S2FWB, and of device nGnRE memory,
/// where both agree.
const NORMAL: u64 = 0b1111;
const NORMAL_FWB: u64 = 0b0110;
const DEVICE: u64 = 0b0001;
const ATTRIBUTES_MASK: u64 = 0b1111;

/// No mapping.
pub const INVALID: u64 = 0;
/// No mapping, and a CPU is about to change that.
pub const LOCKED: u64 = 1 << 2;

/// What a descriptor says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// Nothing is mapped.
    Invalid,
    /// Nothing is mapped and a CPU is changing the entry.
    Locked,
    /// The next table.
    Table(Pfn),
    /// A block or a page.
    Leaf(Leaf),
}

/// A mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// First page.
    pub pfn: Pfn,
    /// What the guest may do; memory type.
    pub permissions: Permissions,
    /// The access flag: without it the next access faults.
    pub accessed: bool,
}

/// How memory types are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Combined with stage 1.
    Combined,
    /// FEAT_S2FWB: stage 2 decides alone.
    ForcedWriteBack,
}

impl Entry {
    /// Returns what descriptor `raw` of an entry of `level` says.
    pub fn decode(raw: u64, level: RttLevel) -> Self {
        if raw & VALID == 0 {
            return if raw == LOCKED {
                Self::Locked
            } else {
                Self::Invalid
            };
        }
        let pfn = Pfn::containing(raw & ADDRESS);
        if level != RttLevel::LEVEL_3 && raw & TABLE_OR_PAGE != 0 {
            return Self::Table(pfn);
        }
        let mut permissions = Permissions::empty();
        permissions.set(Permissions::READ, raw & READ != 0);
        permissions.set(Permissions::WRITE, raw & WRITE != 0);
        permissions.set(Permissions::EXECUTE, raw & EXECUTE_NEVER == 0);
        let attributes = raw >> ATTRIBUTES_SHIFT & ATTRIBUTES_MASK;
        permissions.set(Permissions::DEVICE, attributes == DEVICE);
        Self::Leaf(Leaf {
            pfn,
            permissions,
            accessed: raw & ACCESSED != 0,
        })
    }
}

/// Returns the descriptor of the table at `pfn`.
pub fn table(pfn: Pfn) -> u64 {
    pfn.address() & ADDRESS | TABLE_OR_PAGE | VALID
}

impl Leaf {
    /// Returns the descriptor of this mapping in an entry of `level`.
    pub fn encode(&self, level: RttLevel, encoding: Encoding) -> u64 {
        let has = |permission, bit| {
            if self.permissions.contains(permission) {
                bit
            } else {
                0
            }
        };
        let attributes = match encoding {
            _ if self.permissions.contains(Permissions::DEVICE) => DEVICE,
            Encoding::Combined => NORMAL,
            Encoding::ForcedWriteBack => NORMAL_FWB,
        };
        let page = if level == RttLevel::LEVEL_3 {
            TABLE_OR_PAGE
        } else {
            0
        };
        let accessed = if self.accessed { ACCESSED } else { 0 };
        self.pfn.address() & ADDRESS
            | attributes << ATTRIBUTES_SHIFT
            | has(Permissions::READ, READ)
            | has(Permissions::WRITE, WRITE)
            | (EXECUTE_NEVER ^ has(Permissions::EXECUTE, EXECUTE_NEVER))
            | INNER_SHAREABLE
            | accessed
            | page
            | VALID
    }
}

/// Returns leaf descriptor `raw` with `permissions` added; nothing is taken away (rule W5).
pub fn with_added(raw: u64, permissions: Permissions) -> u64 {
    let mut raw = raw | ACCESSED;
    if permissions.contains(Permissions::READ) {
        raw |= READ;
    }
    if permissions.contains(Permissions::WRITE) {
        raw |= WRITE;
    }
    if permissions.contains(Permissions::EXECUTE) {
        raw &= !EXECUTE_NEVER;
    }
    raw
}

/// Returns leaf descriptor `raw` without write permission.
pub fn write_protected(raw: u64) -> u64 {
    raw & !WRITE
}

/// Returns leaf descriptor `raw` with the access flag set.
pub fn young(raw: u64) -> u64 {
    raw | ACCESSED
}

/// Returns leaf descriptor `raw` with the access flag clear.
pub fn old(raw: u64) -> u64 {
    raw & !ACCESSED
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn w4_descriptors_are_those_of_the_architecture() {
        let leaf = |permissions| Leaf {
            pfn: Pfn::containing(0x8020_0000),
            permissions,
            accessed: true,
        };
        let rwx = Permissions::READ | Permissions::WRITE | Permissions::EXECUTE;
        let device = Permissions::READ | Permissions::WRITE | Permissions::DEVICE;
        let cases = [
            // Page, normal, read/write/execute: AF, SH inner, S2AP 0b11, MemAttr 0b1111, 0b11.
            (
                leaf(rwx),
                RttLevel::LEVEL_3,
                Encoding::Combined,
                0x8020_07FF,
            ),
            // Block: bit 1 clear.
            (
                leaf(rwx),
                RttLevel::LEVEL_2,
                Encoding::Combined,
                0x8020_07FD,
            ),
            // FEAT_S2FWB: MemAttr 0b0110.
            (
                leaf(rwx),
                RttLevel::LEVEL_3,
                Encoding::ForcedWriteBack,
                0x8020_07DB,
            ),
            // Read only, execute-never.
            (
                leaf(Permissions::READ),
                RttLevel::LEVEL_3,
                Encoding::Combined,
                0x0040_0000_8020_077F,
            ),
            // Device nGnRE, execute-never.
            (
                leaf(device),
                RttLevel::LEVEL_3,
                Encoding::Combined,
                0x0040_0000_8020_07C7,
            ),
        ];
        for (leaf, level, encoding, raw) in cases {
            assert_eq!(leaf.encode(level, encoding), raw, "{leaf:?}");
            assert_eq!(Entry::decode(raw, level), Entry::Leaf(leaf));
        }
    }

    #[test]
    fn tables_and_invalid_entries_are_told_apart() {
        let pfn = Pfn::containing(0x4567_8000);
        assert_eq!(table(pfn), 0x4567_8003);
        assert_eq!(
            Entry::decode(table(pfn), RttLevel::LEVEL_1),
            Entry::Table(pfn)
        );
        assert_eq!(Entry::decode(INVALID, RttLevel::LEVEL_1), Entry::Invalid);
        assert_eq!(Entry::decode(LOCKED, RttLevel::LEVEL_3), Entry::Locked);
        assert!(matches!(
            Entry::decode(table(pfn), RttLevel::LEVEL_3),
            Entry::Leaf(_)
        ));
    }

    #[test]
    fn w5_adding_permissions_removes_none_and_keeps_the_address() {
        let raw = 0x0040_0000_8020_077F;
        assert_eq!(with_added(raw, Permissions::WRITE), 0x0040_0000_8020_07FF);
        assert_eq!(with_added(raw, Permissions::EXECUTE), 0x8020_077F);
        assert_eq!(with_added(raw, Permissions::empty()), raw);
    }
}
