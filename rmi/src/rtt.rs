// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Translation tables as the Host sees them: address states, entry states and descriptors.
//!
//! A descriptor is the word that `RMI_RTT_MAP_UNPROTECTED` takes and `RMI_RTT_READ_ENTRY` returns.
//! It has the fields of an architectural stage 2 descriptor that belong to the Host, in place:
//!
//! | bits | field |
//! |---|---|
//! | 4:2 | `MemAttr[2:0]`, as `FEAT_S2FWB` defines it |
//! | 7:6 | `S2AP` |
//! | 9:8 | output address bits 51:50, in a Realm with 52-bit tables; otherwise zero |
//! | 47:12, or 49:12 with 52-bit tables | output address |
//! | all others | zero |

use crate::addr::PhysAddr;
use crate::bits::Field;
use crate::level::RttLevel;

const DESC_MEM_ATTR: Field = Field::new(4, 2);
const DESC_S2AP: Field = Field::new(7, 6);
const DESC_ADDRESS_HIGH: Field = Field::new(9, 8);
const DESC_ADDRESS_48: Field = Field::new(47, 12);
const DESC_ADDRESS_50: Field = Field::new(49, 12);

/// Where bits 9:8 of a descriptor belong in the output address.
const ADDRESS_HIGH: Field = Field::new(51, 50);

/// What a Realm may expect of an address (`RmiRipas`, `RsiRipas`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ripas {
    /// Nothing: an access is an error of the Realm.
    Empty,
    /// Private memory.
    Ram,
    /// Private memory of which the Host has taken the contents.
    Destroyed,
}

impl Ripas {
    /// Returns the state with this code, if it is not reserved.
    #[must_use]
    pub const fn new(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Empty),
            1 => Some(Self::Ram),
            2 => Some(Self::Destroyed),
            _ => None,
        }
    }

    /// Returns the code of the state.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Empty => 0,
            Self::Ram => 1,
            Self::Destroyed => 2,
        }
    }
}

/// What a table entry holds (`RmiRttEntryState`). The address says which half it is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RttEntryState {
    /// Nothing.
    Unassigned,
    /// A page or a block.
    Assigned,
    /// A table of the next level.
    Table,
}

impl RttEntryState {
    /// Returns the state with this code, if it is not reserved.
    #[must_use]
    pub const fn new(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Unassigned),
            1 => Some(Self::Assigned),
            2 => Some(Self::Table),
            _ => None,
        }
    }

    /// Returns the code of the state.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Unassigned => 0,
            Self::Assigned => 1,
            Self::Table => 2,
        }
    }
}

/// The width of output addresses in the tables of a Realm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AddressFormat {
    /// 48 bits.
    Bits48,
    /// 52 bits: `FEAT_LPA2` descriptors.
    Bits52,
}

impl AddressFormat {
    /// Returns whether an output address can be written in this format.
    #[must_use]
    pub const fn contains(self, address: PhysAddr) -> bool {
        let width = match self {
            Self::Bits48 => 48,
            Self::Bits52 => 52,
        };
        address.raw() >> width == 0
    }

    /// Returns the bits of a descriptor that hold the output address.
    const fn mask(self) -> u64 {
        match self {
            Self::Bits48 => DESC_ADDRESS_48.mask(),
            Self::Bits52 => DESC_ADDRESS_50.mask() | DESC_ADDRESS_HIGH.mask(),
        }
    }

    /// Returns the output address in the bits of a descriptor that hold it.
    #[must_use]
    pub const fn address_of(self, desc: u64) -> PhysAddr {
        PhysAddr::new(match self {
            Self::Bits48 => desc & DESC_ADDRESS_48.mask(),
            Self::Bits52 => {
                let low = desc & DESC_ADDRESS_50.mask();
                ADDRESS_HIGH.set(low, DESC_ADDRESS_HIGH.get(desc))
            }
        })
    }

    /// Returns a descriptor of zeros except for the output address, of which the page counts.
    #[must_use]
    pub const fn desc_of(self, address: PhysAddr) -> u64 {
        let raw = address.raw();
        match self {
            Self::Bits48 => raw & DESC_ADDRESS_48.mask(),
            Self::Bits52 => {
                let low = raw & DESC_ADDRESS_50.mask();
                DESC_ADDRESS_HIGH.set(low, ADDRESS_HIGH.get(raw))
            }
        }
    }
}

/// The memory type of a mapping, combined with what the Realm's own tables say (`FEAT_S2FWB`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MemAttr {
    /// Device memory: no gathering, no reordering, no early acknowledgement.
    DeviceNgnrne,
    /// Device memory: no gathering, no reordering.
    DeviceNgnre,
    /// Device memory: no gathering.
    DeviceNgre,
    /// Device memory.
    DeviceGre,
    /// Normal memory that nobody caches.
    NormalNonCacheable,
    /// Normal memory, cached whatever the Realm says.
    NormalWriteBack,
    /// The type that the Realm chooses.
    FromStage1,
}

impl MemAttr {
    /// Returns the type with this encoding, if it is not reserved.
    #[must_use]
    pub const fn new(code: u8) -> Option<Self> {
        match code {
            0b000 => Some(Self::DeviceNgnrne),
            0b001 => Some(Self::DeviceNgnre),
            0b010 => Some(Self::DeviceNgre),
            0b011 => Some(Self::DeviceGre),
            0b101 => Some(Self::NormalNonCacheable),
            0b110 => Some(Self::NormalWriteBack),
            0b111 => Some(Self::FromStage1),
            _ => None,
        }
    }

    /// Returns the encoding of the type.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::DeviceNgnrne => 0b000,
            Self::DeviceNgnre => 0b001,
            Self::DeviceNgre => 0b010,
            Self::DeviceGre => 0b011,
            Self::NormalNonCacheable => 0b101,
            Self::NormalWriteBack => 0b110,
            Self::FromStage1 => 0b111,
        }
    }
}

/// What a Realm may do to unprotected memory (`S2AP`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum S2Ap {
    /// Nothing.
    NoAccess,
    /// Read.
    ReadOnly,
    /// Write.
    WriteOnly,
    /// Read and write.
    ReadWrite,
}

impl S2Ap {
    /// Returns the permission with this encoding, of two bits.
    #[must_use]
    pub const fn new(code: u8) -> Option<Self> {
        match code {
            0b00 => Some(Self::NoAccess),
            0b01 => Some(Self::ReadOnly),
            0b10 => Some(Self::WriteOnly),
            0b11 => Some(Self::ReadWrite),
            _ => None,
        }
    }

    /// Returns the encoding of the permission.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::NoAccess => 0b00,
            Self::ReadOnly => 0b01,
            Self::WriteOnly => 0b10,
            Self::ReadWrite => 0b11,
        }
    }
}

/// A descriptor has a bit set that is none of the Host's, or a reserved memory type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BadDesc;

/// What the Host says of a mapping in the unprotected half.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UnprotectedDesc {
    /// The memory that the addresses lead to, aligned to a page at least.
    pub address: PhysAddr,
    /// How the memory is accessed.
    pub mem_attr: MemAttr,
    /// What the Realm may do to it.
    pub s2ap: S2Ap,
}

impl UnprotectedDesc {
    /// Reads a descriptor: the condition `attr_valid` of `RMI_RTT_MAP_UNPROTECTED`.
    ///
    /// With 48-bit addresses that includes `addr_bound`, as a wider address sets reserved bits.
    ///
    /// # Errors
    /// The descriptor sets a bit that is none of the Host's, or has a reserved memory type.
    pub const fn decode(desc: u64, format: AddressFormat) -> Result<Self, BadDesc> {
        let known = format.mask() | DESC_MEM_ATTR.mask() | DESC_S2AP.mask();
        if desc & !known != 0 {
            return Err(BadDesc);
        }
        let (Some(mem_attr), Some(s2ap)) = (
            MemAttr::new(DESC_MEM_ATTR.get_u8(desc)),
            S2Ap::new(DESC_S2AP.get_u8(desc)),
        ) else {
            return Err(BadDesc);
        };
        Ok(Self {
            address: format.address_of(desc),
            mem_attr,
            s2ap,
        })
    }

    /// Returns the descriptor. The address must fit the format.
    #[must_use]
    pub fn encode(self, format: AddressFormat) -> u64 {
        debug_assert!(format.contains(self.address));
        let desc = format.desc_of(self.address);
        let desc = DESC_MEM_ATTR.set(desc, self.mem_attr.code().into());
        DESC_S2AP.set(desc, self.s2ap.code().into())
    }

    /// Returns whether the memory is suited to map an entry at this level: `addr_align`.
    #[must_use]
    pub const fn is_aligned(self, level: RttLevel) -> bool {
        self.address.is_aligned(level.block_size())
    }
}

/// What `RMI_RTT_READ_ENTRY` says of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RttEntry {
    /// The level at which the walk ended.
    pub walk_level: RttLevel,
    /// What the entry holds.
    pub state: RttEntryState,
    /// The descriptor: see the top of this file.
    pub desc: u64,
    /// The state of the addresses.
    pub ripas: Ripas,
}

impl RttEntry {
    /// Reads x1 to x4 after the command succeeded, or returns nothing if it cannot have said this.
    #[must_use]
    pub fn from_outputs([walk_level, state, desc, ripas]: [u64; 4]) -> Option<Self> {
        Some(Self {
            walk_level: RttLevel::from_register(walk_level)?,
            state: RttEntryState::new(u8::try_from(state).ok()?)?,
            desc,
            ripas: Ripas::new(u8::try_from(ripas).ok()?)?,
        })
    }

    /// Returns x1 to x4.
    #[must_use]
    pub fn to_outputs(self) -> [u64; 4] {
        [
            self.walk_level.to_register(),
            self.state.code().into(),
            self.desc,
            self.ripas.code().into(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use AddressFormat::{Bits48, Bits52};

    use super::*;

    const DESC: UnprotectedDesc = UnprotectedDesc {
        address: PhysAddr::new(0x8_8020_0000),
        mem_attr: MemAttr::NormalWriteBack,
        s2ap: S2Ap::ReadWrite,
    };

    #[test]
    fn desc_fields_are_where_section_5_6_says() {
        assert_eq!(DESC.encode(Bits48), 0x8_8020_00D8);
        assert_eq!(DESC.encode(Bits52), 0x8_8020_00D8);
        let high = UnprotectedDesc {
            address: PhysAddr::new(0xF_0000_0000_1000),
            mem_attr: MemAttr::DeviceNgnre,
            s2ap: S2Ap::ReadOnly,
        };
        assert_eq!(high.encode(Bits52), 0x3_0000_0000_1344);
    }

    #[test]
    fn desc_round_trips_every_attribute() {
        for code in 0..8 {
            let desc = 0x8000_0000 | u64::from(code) << 2;
            let Some(mem_attr) = MemAttr::new(code) else {
                assert_eq!(code, 0b100);
                assert_eq!(UnprotectedDesc::decode(desc, Bits48), Err(BadDesc));
                continue;
            };
            assert_eq!(mem_attr.code(), code);
            for s2ap in 0..4 {
                let desc = desc | u64::from(s2ap) << 6;
                for format in [Bits48, Bits52] {
                    let decoded = UnprotectedDesc::decode(desc, format).unwrap();
                    assert_eq!(decoded.mem_attr, mem_attr);
                    assert_eq!(decoded.s2ap.code(), s2ap);
                    assert_eq!(decoded.address.raw(), 0x8000_0000);
                    assert_eq!(decoded.encode(format), desc);
                }
            }
        }
    }

    #[test]
    fn desc_refuses_every_bit_that_is_not_the_hosts() {
        let desc = DESC.encode(Bits48);
        for bit in (0..2).chain([5]).chain(10..12).chain(50..64) {
            for format in [Bits48, Bits52] {
                let bad = UnprotectedDesc::decode(desc | 1 << bit, format);
                assert_eq!(bad, Err(BadDesc), "bit {bit}");
            }
        }
        for bit in [8, 9, 48, 49] {
            let raw = desc | 1 << bit;
            assert_eq!(UnprotectedDesc::decode(raw, Bits48), Err(BadDesc));
            let wide = UnprotectedDesc::decode(raw, Bits52).unwrap();
            assert!(!Bits48.contains(wide.address));
            assert!(Bits52.contains(wide.address));
            assert_eq!(wide.encode(Bits52), raw);
        }
    }

    #[test]
    fn desc_alignment_depends_on_the_level() {
        assert!(DESC.is_aligned(RttLevel::LEVEL_3));
        assert!(DESC.is_aligned(RttLevel::LEVEL_2));
        assert!(!DESC.is_aligned(RttLevel::LEVEL_1));
    }

    #[test]
    fn entry_survives_the_registers() {
        let entry = RttEntry {
            walk_level: RttLevel::LEVEL_MINUS_1,
            state: RttEntryState::Table,
            desc: 0x8000_0000,
            ripas: Ripas::Destroyed,
        };
        let outputs = entry.to_outputs();
        assert_eq!(outputs, [u64::MAX, 2, 0x8000_0000, 2]);
        assert_eq!(RttEntry::from_outputs(outputs), Some(entry));
        for bad in [[4, 0, 0, 0], [3, 3, 0, 0], [3, 0, 0, 3], [3, 0x100, 0, 0]] {
            assert_eq!(RttEntry::from_outputs(bad), None);
        }
    }

    #[test]
    fn state_codes_round_trip() {
        for code in 0..3 {
            assert_eq!(Ripas::new(code).unwrap().code(), code);
            assert_eq!(RttEntryState::new(code).unwrap().code(), code);
        }
        assert_eq!(Ripas::new(3), None);
        assert_eq!(RttEntryState::new(3), None);
    }
}
