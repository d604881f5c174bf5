// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What names a Realm's translation tables to the hardware: `VTCR_EL2` and `VTTBR_EL2`.
//!
//! The monitor runs with `HCR_EL2.E2H` = 0. Fields as Arm ARM D24.2 lists them:
//!
//! | `VTCR_EL2` | field | value |
//! |---|---|---|
//! | 5:0 | T0SZ | 64 - width of the address space |
//! | 7:6, 33 | SL0, SL2 | starting level |
//! | 9:8, 11:10 | IRGN0, ORGN0 | write-back, as the monitor writes the tables |
//! | 13:12 | SH0 | Inner Shareable |
//! | 15:14 | TG0 | 4 KiB |
//! | 18:16 | PS | physical address range |
//! | 19 | VS | 16-bit VMIDs |
//! | 22:21 | HD, HA | no hardware update of stage 2 |
//! | 29, 30 | NSW, NSA | the tables are in the Realm physical address space; NS of the leaf counts |
//! | 31 | RES1 | 1 |
//! | 32 | DS | 52-bit descriptors |

use rmi::{AddressFormat, RttLevel};
use rmm_hal::{CpuFeatures, Stage2Root};

use crate::rtt::Tree;

const SL0_SHIFT: u32 = 6;
const IRGN0_WRITE_BACK: u64 = 0b01 << 8;
const ORGN0_WRITE_BACK: u64 = 0b01 << 10;
const SH0_INNER: u64 = 0b11 << 12;
const PS_SHIFT: u32 = 16;
const VS_16_BITS: u64 = 1 << 19;
const NSA: u64 = 1 << 30;
const RES1: u64 = 1 << 31;
const DS: u64 = 1 << 32;
const SL2: u64 = 1 << 33;

/// `PS` of 48 bits: the most that descriptors without DS express.
const PS_48_BITS: u8 = 0b101;
/// `PS` of 52 bits: the most that 4 KiB granules express.
const PS_52_BITS: u8 = 0b110;

const VMID_SHIFT: u32 = 48;
/// Table address bits in place in `VTTBR_EL2`; bit 0 (CnP) stays zero.
const BADDR_LOW: u64 = 0x0000_FFFF_FFFF_F000;
/// With DS, table address bits 51:48 are in bits 5:2.
const BADDR_HIGH_FROM: u32 = 48;
const BADDR_HIGH_TO: u32 = 2;

/// Returns what the hardware is told about the tables of a Realm.
#[must_use]
pub fn stage2_root(tree: &Tree, vmid: u16, cpu: &CpuFeatures) -> Stage2Root {
    Stage2Root {
        vttbr: vttbr(tree, vmid),
        vtcr: vtcr(tree, cpu),
    }
}

fn vtcr(tree: &Tree, cpu: &CpuFeatures) -> u64 {
    let (ps_limit, ds) = match tree.format() {
        AddressFormat::Bits48 => (PS_48_BITS, 0),
        AddressFormat::Bits52 => (PS_52_BITS, DS),
    };
    let t0sz = 64 - u64::from(tree.ipa_bits());
    let ps = u64::from(cpu.pa_range.min(ps_limit)) << PS_SHIFT;
    let vs = if cpu.vmid16 { VS_16_BITS } else { 0 };
    t0sz | starting_level(tree.start())
        | IRGN0_WRITE_BACK
        | ORGN0_WRITE_BACK
        | SH0_INNER
        | ps
        | vs
        | NSA
        | RES1
        | ds
}

/// Returns SL2 and SL0. Level 3 takes `FEAT_TTST`, but no Realm is narrow enough for it.
fn starting_level(start: RttLevel) -> u64 {
    match start.raw() {
        -1 => SL2,
        0 => 2 << SL0_SHIFT,
        1 => 1 << SL0_SHIFT,
        2 => 0,
        _ => 3 << SL0_SHIFT,
    }
}

fn vttbr(tree: &Tree, vmid: u16) -> u64 {
    let base = tree.base().raw();
    let high = base >> BADDR_HIGH_FROM << BADDR_HIGH_TO;
    u64::from(vmid) << VMID_SHIFT | base & BADDR_LOW | high
}

#[cfg(test)]
mod tests {
    use rmi::GranuleAddr;
    use rmm_fake::default_features;

    use super::*;

    fn root(start: i64, tables: u32, ipa_bits: u8, format: AddressFormat) -> Stage2Root {
        let base = GranuleAddr::new(0x8_8800_0000).unwrap();
        let start = RttLevel::new(start).unwrap();
        let tree = Tree::new(base, start, tables, ipa_bits, format, 52).unwrap();
        stage2_root(&tree, 0xABCD, &default_features())
    }

    #[test]
    fn vtcr_words_are_what_the_architecture_says() {
        let bits48 = |start, tables, width| root(start, tables, width, AddressFormat::Bits48).vtcr;
        let bits52 = |start, tables, width| root(start, tables, width, AddressFormat::Bits52).vtcr;
        assert_eq!(bits48(1, 2, 40), 0xC00D_3558);
        assert_eq!(bits48(0, 1, 40), 0xC00D_3598);
        assert_eq!(bits48(2, 16, 34), 0xC00D_351E);
        assert_eq!(bits52(0, 16, 52), 0x1_C00E_358C);
        assert_eq!(bits52(-1, 1, 52), 0x3_C00E_350C);
    }

    #[test]
    fn vtcr_follows_the_machine() {
        let mut cpu = default_features();
        cpu.pa_range = 0b0010;
        cpu.vmid16 = false;
        let base = GranuleAddr::new(0x8800_0000).unwrap();
        let format = AddressFormat::Bits48;
        let tree = Tree::new(base, RttLevel::LEVEL_1, 2, 40, format, 40).unwrap();
        assert_eq!(stage2_root(&tree, 1, &cpu).vtcr, 0xC002_3558);
    }

    #[test]
    fn vttbr_holds_the_vmid_and_the_table() {
        let low = root(1, 2, 40, AddressFormat::Bits48).vttbr;
        assert_eq!(low, 0xABCD_0008_8800_0000);
        let base = GranuleAddr::new(0x000A_0008_8800_0000).unwrap();
        let format = AddressFormat::Bits52;
        let tree = Tree::new(base, RttLevel::LEVEL_0, 1, 48, format, 52).unwrap();
        let high = stage2_root(&tree, 1, &default_features()).vttbr;
        assert_eq!(high, 0x0001_0008_8800_0028);
    }
}
