// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

use rmi::{PhysAddr, S2Ap};

use super::*;
use AddressFormat::{Bits48, Bits52};

const L0: RttLevel = RttLevel::LEVEL_0;
const L1: RttLevel = RttLevel::LEVEL_1;
const L2: RttLevel = RttLevel::LEVEL_2;
const L3: RttLevel = RttLevel::LEVEL_3;

fn granule(raw: u64) -> GranuleAddr {
    GranuleAddr::new(raw).unwrap()
}

fn assigned(pa: u64, ripas: Ripas) -> Rtte {
    let pa = granule(pa);
    Rtte::Assigned { pa, ripas }
}

fn host(address: u64, mem_attr: MemAttr, s2ap: S2Ap) -> Rtte {
    let address = PhysAddr::new(address);
    Rtte::AssignedNs {
        desc: UnprotectedDesc {
            address,
            mem_attr,
            s2ap,
        },
    }
}

const MEM_ATTRS: [MemAttr; 7] = [
    MemAttr::DeviceNgnrne,
    MemAttr::DeviceNgnre,
    MemAttr::DeviceNgre,
    MemAttr::DeviceGre,
    MemAttr::NormalNonCacheable,
    MemAttr::NormalWriteBack,
    MemAttr::FromStage1,
];
const S2APS: [S2Ap; 4] = [
    S2Ap::NoAccess,
    S2Ap::ReadOnly,
    S2Ap::WriteOnly,
    S2Ap::ReadWrite,
];
const RIPASES: [Ripas; 3] = [Ripas::Empty, Ripas::Ram, Ripas::Destroyed];

#[test]
fn entry_words_are_what_the_architecture_says() {
    let page = assigned(0x8_8000_1000, Ripas::Ram);
    assert_eq!(page.encode(L3, Bits48), 0x8_8000_17DB);
    assert_eq!(page.encode(L3, Bits52), 0x8_8000_14DB);
    let block = assigned(0x8_8020_0000, Ripas::Ram);
    assert_eq!(block.encode(L2, Bits48), 0x8_8020_07D9);
    let high = assigned(0xC_0000_0020_0000, Ripas::Ram);
    assert_eq!(high.encode(L2, Bits52), 0x0000_0000_0020_07D9);
    let table = Rtte::Table {
        table: granule(0x8_8000_3000),
    };
    assert_eq!(table.encode(L0, Bits48), 0x8_8000_3003);
    let uart = host(0x900_0000, MemAttr::DeviceNgnre, S2Ap::ReadWrite);
    assert_eq!(uart.encode(L3, Bits48), 0x00C0_0000_0900_06C7);
    assert_eq!(uart.encode(L3, Bits52), 0x00C0_0000_0900_04C7);
    let shared = host(0x8_8000_1000, MemAttr::NormalWriteBack, S2Ap::ReadOnly);
    assert_eq!(shared.encode(L3, Bits48), 0x00C0_0008_8000_175B);
}

#[test]
fn entry_zero_is_unassigned_and_empty() {
    for level in RttLevel::ALL {
        let empty = Rtte::Unassigned {
            ripas: Ripas::Empty,
        };
        assert_eq!(Rtte::decode(0, level, Bits52), Ok(empty));
        assert_eq!(empty.encode(level, Bits48), 0);
    }
}

fn samples(level: RttLevel, format: AddressFormat) -> impl Iterator<Item = Rtte> {
    let high = match format {
        Bits48 => 0x7F00_0000_0000,
        Bits52 => 0xE_7F00_0000_0000,
    };
    let pa = high | 3 << 30;
    let unassigned = RIPASES.map(|ripas| Rtte::Unassigned { ripas });
    let mapped = RIPASES.into_iter().map(move |r| assigned(pa, r)).chain(
        MEM_ATTRS
            .into_iter()
            .flat_map(move |m| S2APS.map(move |s| host(pa, m, s))),
    );
    let table = Rtte::Table {
        table: granule(high | 0x5000),
    };
    unassigned
        .into_iter()
        .chain([Rtte::UnassignedNs])
        .chain(mapped.filter(move |_| level.can_map()))
        .chain((level != L3).then_some(table))
}

#[test]
fn entry_round_trips_every_variant() {
    for format in [Bits48, Bits52] {
        for level in RttLevel::ALL {
            for entry in samples(level, format) {
                let raw = entry.encode(level, format);
                assert_eq!(Rtte::decode(raw, level, format), Ok(entry), "{raw:#x}");
                assert_eq!(raw & VALID != 0, entry.is_valid(), "{entry:?}");
                assert_eq!(is_live_word(raw), entry.is_live(), "{entry:?}");
                let table = match entry {
                    Rtte::Table { table } => Some(table),
                    _ => None,
                };
                assert_eq!(table_of(raw, level, format), table, "{entry:?}");
            }
        }
    }
}

#[test]
fn entry_refuses_every_bit_that_it_does_not_have() {
    for format in [Bits48, Bits52] {
        for level in RttLevel::ALL {
            for entry in samples(level, format) {
                let raw = entry.encode(level, format);
                for bit in 0..64 {
                    let other = Rtte::decode(raw ^ 1 << bit, level, format);
                    assert_ne!(other, Ok(entry), "{raw:#x} bit {bit}");
                }
                for bit in 56..64 {
                    let bad = Rtte::decode(raw | 1 << bit, level, format);
                    assert_eq!(bad, Err(BadEntry), "{raw:#x} bit {bit}");
                }
            }
        }
    }
}

#[test]
fn entry_refuses_impossible_words() {
    let impossible = [
        (0b11 << 2, L3),                                   // no such kind
        (0b11 << 5, L3),                                   // no such RIPAS
        (1 << 1, L3),                                      // invalid with a type
        (0x8000_1000, L3),                                 // unassigned with an address
        (KIND_UNASSIGNED_NS | 1 << 5, L3),                 // unprotected with a RIPAS
        (0x8000_1000 | KIND_ASSIGNED | 1 << 5, L3), // RAM with memory that the Realm cannot reach
        (0x8000_17D9, L3),                          // a block at level 3
        (0x8000_17D9, L2),                          // a block that is not aligned
        (0x8000_07D9, L0),                          // a block at level 0
        (0x8000_07DB, L2),                          // a table with attributes
        (0x8000_1003, L3),                          // a page without attributes
        (0x00C0_0000_8000_1753, L3),                // the reserved memory type
        (0x00C0_0000_8000_1703 | 0b110 << 2 | 1 << 5, L3), // MemAttr[3]
        (0x0080_0000_8000_175B, L3),                // memory of the Host that is executable
        (0x0040_0000_8000_17DB, L3),                // memory of the Realm that is not executable
        (0x00C0_0000_8000_165B, L3),                // cacheable memory of the Host, Outer Shareable
    ];
    for (raw, level) in impossible {
        assert_eq!(Rtte::decode(raw, level, Bits48), Err(BadEntry), "{raw:#x}");
    }
}

#[test]
fn entry_shareability_follows_the_memory_type() {
    for mem_attr in MEM_ATTRS {
        let is_cacheable = matches!(mem_attr, MemAttr::NormalWriteBack | MemAttr::FromStage1);
        let raw = host(0x8000_0000, mem_attr, S2Ap::ReadWrite).encode(L3, Bits48);
        assert_eq!(raw >> 8 & 0b11, if is_cacheable { 0b11 } else { 0b10 });
    }
}

#[test]
fn entry_liveness_validity_and_references_differ() {
    let cases = [
        (Rtte::Unassigned { ripas: Ripas::Ram }, false, false, 0),
        (Rtte::UnassignedNs, false, false, 0),
        (assigned(0x1000, Ripas::Ram), true, true, 1),
        (assigned(0x1000, Ripas::Empty), true, false, 1),
        (assigned(0x1000, Ripas::Destroyed), true, false, 1),
        (
            host(0x1000, MemAttr::FromStage1, S2Ap::NoAccess),
            true,
            true,
            0,
        ),
        (
            Rtte::Table {
                table: granule(0x1000),
            },
            true,
            true,
            1,
        ),
    ];
    for (entry, is_live, is_valid, references) in cases {
        assert_eq!(entry.is_live(), is_live, "{entry:?}");
        assert_eq!(entry.is_valid(), is_valid, "{entry:?}");
        assert_eq!(entry.references(), references, "{entry:?}");
    }
}

#[test]
fn entry_with_ripas_keeps_everything_else() {
    let page = assigned(0x1000, Ripas::Ram).with_ripas(Ripas::Destroyed);
    assert_eq!(page, assigned(0x1000, Ripas::Destroyed));
    assert_eq!(
        Rtte::UnassignedNs.with_ripas(Ripas::Ram),
        Rtte::UnassignedNs
    );
    assert_eq!(page.ripas(), Some(Ripas::Destroyed));
    assert_eq!(Rtte::UnassignedNs.ripas(), None);
    assert!(!assigned(0x20_1000, Ripas::Ram).is_allowed(L2));
    assert!(assigned(0x4000_0000, Ripas::Ram).is_allowed(L1));
}
