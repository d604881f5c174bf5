// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! One table entry: what it means and how it is written down.
//!
//! Entries that the hardware may follow are stage 2 descriptors (Arm ARM D8.3):
//!
//! | bits | field | protected | unprotected |
//! |---|---|---|---|
//! | 1:0 | type | 0b11 table or page, 0b01 block | same |
//! | 4:2 | MemAttr, as `FEAT_S2FWB` has it | 0b110: Normal, write-back | from the Host |
//! | 5 | MemAttr\[3\] | 0 | 0 |
//! | 7:6 | S2AP | 0b11: read and write | from the Host |
//! | 9:8 | SH, or address bits 51:50 with 52-bit tables | Inner Shareable | from the memory type |
//! | 10 | AF | 1 | 1 |
//! | 47:12, 49:12 | output address | | |
//! | 54:53 | XN | 0: executable | 0b10: never |
//! | 55 | NS | 0 | 1 |
//!
//! All others have bit 0 clear and are the monitor's own business:
//!
//! | bits | field |
//! |---|---|
//! | 3:2 | 0 UNASSIGNED, 1 ASSIGNED, 2 UNASSIGNED_NS |
//! | 6:5 | RIPAS, in the protected half |
//! | address | of ASSIGNED, where a descriptor has it |
//!
//! Zero is UNASSIGNED with RIPAS EMPTY: a granule that was just taken from the unused ones is a table
//! of a new Realm's protected half. Every meaning has one encoding, so equal words mean the same.

use rmi::{AddressFormat, GranuleAddr, MemAttr, Ripas, RttLevel, UnprotectedDesc};

const VALID: u64 = 1 << 0;
/// In a valid entry: a table above level 3, a page at level 3.
const TABLE_OR_PAGE: u64 = 1 << 1;
const TYPE: u64 = VALID | TABLE_OR_PAGE;

const MEM_ATTR_WRITE_BACK: u64 = 0b110 << 2;
const S2AP_READ_WRITE: u64 = 0b11 << 6;
const SH: u64 = 0b11 << 8;
const SH_OUTER: u64 = 0b10 << 8;
const SH_INNER: u64 = 0b11 << 8;
const AF: u64 = 1 << 10;
const XN_NEVER: u64 = 0b10 << 53;
const NS: u64 = 1 << 55;

/// What the monitor adds to the Host's part of a descriptor, besides shareability.
const UNPROTECTED: u64 = NS | XN_NEVER | AF;

const KIND_ASSIGNED: u64 = 1 << 2;
const KIND_UNASSIGNED_NS: u64 = 2 << 2;
const KIND: u64 = 0b11 << 2;
const RIPAS_SHIFT: u32 = 5;
const RIPAS: u64 = 0b11 << RIPAS_SHIFT;

/// The meaning of a table entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rtte {
    /// Protected, without memory.
    Unassigned {
        /// What the Realm may expect there.
        ripas: Ripas,
    },
    /// Protected, with memory of the Realm. The Realm reaches it when the state is RAM.
    Assigned {
        /// The first of the DATA granules.
        pa: GranuleAddr,
        /// What the Realm may expect there.
        ripas: Ripas,
    },
    /// Unprotected, without memory.
    UnassignedNs,
    /// Unprotected, with memory of the Host.
    AssignedNs {
        /// What the Host said of it.
        desc: UnprotectedDesc,
    },
    /// A table of the next level.
    Table {
        /// The table's granule.
        table: GranuleAddr,
    },
}

/// A word that the monitor never writes into a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadEntry;

impl Rtte {
    /// Reads an entry of a table of `level`.
    ///
    /// # Errors
    ///
    /// [`BadEntry`] when no entry of that level is written so.
    pub fn decode(raw: u64, level: RttLevel, format: AddressFormat) -> Result<Self, BadEntry> {
        if raw & VALID == 0 {
            return decode_invalid(raw, level, format);
        }
        if let Some(table) = table_of(raw, level, format) {
            return Ok(Self::Table { table });
        }
        let entry = if raw & NS == 0 {
            Self::Assigned {
                pa: format.address_of(raw).granule(),
                ripas: Ripas::Ram,
            }
        } else {
            decode_unprotected(raw, format)?
        };
        entry.read_back(raw, level, format)
    }

    /// Returns the entry if it is written as `raw` in a table of `level`, which catches reserved bits, wrong
    /// types and wrong levels alike.
    #[inline]
    fn read_back(self, raw: u64, level: RttLevel, format: AddressFormat) -> Result<Self, BadEntry> {
        if self.is_allowed(level) && self.encode(level, format) == raw {
            Ok(self)
        } else {
            Err(BadEntry)
        }
    }

    /// Returns the word that says this in a table of `level`.
    #[must_use]
    #[inline]
    pub fn encode(self, level: RttLevel, format: AddressFormat) -> u64 {
        let address = |at: GranuleAddr| format.desc_of(at.phys());
        match self {
            Self::Unassigned { ripas } => ripas_bits(ripas),
            Self::Assigned {
                pa,
                ripas: Ripas::Ram,
            } => {
                let shareability = match format {
                    AddressFormat::Bits48 => SH_INNER,
                    AddressFormat::Bits52 => 0,
                };
                let attributes = AF | shareability | S2AP_READ_WRITE | MEM_ATTR_WRITE_BACK;
                address(pa) | attributes | leaf_type(level)
            }
            Self::Assigned { pa, ripas } => address(pa) | ripas_bits(ripas) | KIND_ASSIGNED,
            Self::UnassignedNs => KIND_UNASSIGNED_NS,
            Self::AssignedNs { desc } => {
                let shareability = match format {
                    AddressFormat::Bits48 => shareability_of(desc.mem_attr),
                    AddressFormat::Bits52 => 0,
                };
                desc.encode(format) | UNPROTECTED | shareability | leaf_type(level)
            }
            Self::Table { table } => address(table) | TYPE,
        }
    }

    /// Says whether the entry holds an address: what `skip_non_live` stops at.
    #[must_use]
    pub fn is_live(self) -> bool {
        match self {
            Self::Unassigned { .. } | Self::UnassignedNs => false,
            Self::Assigned { .. } | Self::AssignedNs { .. } | Self::Table { .. } => true,
        }
    }

    /// Says whether the hardware follows the entry, so that a TLB may have a copy of it.
    #[must_use]
    pub fn is_valid(self) -> bool {
        match self {
            Self::Unassigned { .. } | Self::UnassignedNs => false,
            Self::Assigned { ripas, .. } => ripas == Ripas::Ram,
            Self::AssignedNs { .. } | Self::Table { .. } => true,
        }
    }

    /// Returns the state of the protected addresses the entry covers, if it covers them itself.
    #[must_use]
    pub fn ripas(self) -> Option<Ripas> {
        match self {
            Self::Unassigned { ripas } | Self::Assigned { ripas, .. } => Some(ripas),
            Self::UnassignedNs | Self::AssignedNs { .. } | Self::Table { .. } => None,
        }
    }

    /// Returns the entry with other contents of its protected addresses; others stay as they are.
    #[must_use]
    pub fn with_ripas(self, ripas: Ripas) -> Self {
        match self {
            Self::Unassigned { .. } => Self::Unassigned { ripas },
            Self::Assigned { pa, .. } => Self::Assigned { pa, ripas },
            Self::UnassignedNs | Self::AssignedNs { .. } | Self::Table { .. } => self,
        }
    }

    /// Returns how often the entry counts in its table's reference count: once if what it points to
    /// belongs to the Realm.
    #[must_use]
    pub fn references(self) -> u16 {
        match self {
            Self::Unassigned { .. } | Self::UnassignedNs | Self::AssignedNs { .. } => 0,
            Self::Assigned { .. } | Self::Table { .. } => 1,
        }
    }

    fn is_allowed(self, level: RttLevel) -> bool {
        match self {
            Self::Unassigned { .. } | Self::UnassignedNs => true,
            Self::Assigned { pa, .. } => {
                level.can_map() && pa.phys().is_aligned(level.block_size())
            }
            Self::AssignedNs { desc } => level.can_map() && desc.is_aligned(level),
            Self::Table { .. } => level != RttLevel::LEVEL_3,
        }
    }
}

/// Says whether a word of a table holds an address, as [`Rtte::is_live`] says of its meaning.
///
/// For scans over a whole table, where giving each word its meaning would cost too much.
#[must_use]
pub fn is_live_word(raw: u64) -> bool {
    raw & (VALID | KIND_ASSIGNED) != 0
}

/// Returns the table that a word of a table of `level` points to, if it points to one: what
/// [`Rtte::decode`] says, for walks that only want to go on.
#[must_use]
pub fn table_of(raw: u64, level: RttLevel, format: AddressFormat) -> Option<GranuleAddr> {
    if raw & TYPE != TYPE || level == RttLevel::LEVEL_3 {
        return None;
    }
    let table = format.address_of(raw).granule();
    (format.desc_of(table.phys()) | TYPE == raw).then_some(table)
}

fn decode_invalid(raw: u64, level: RttLevel, format: AddressFormat) -> Result<Rtte, BadEntry> {
    let ripas = match (raw & RIPAS) >> RIPAS_SHIFT {
        0 => Ripas::Empty,
        1 => Ripas::Ram,
        2 => Ripas::Destroyed,
        _ => return Err(BadEntry),
    };
    match raw & KIND {
        0 if raw == ripas_bits(ripas) => Ok(Rtte::Unassigned { ripas }),
        KIND_ASSIGNED => {
            let pa = format.address_of(raw).granule();
            Rtte::Assigned { pa, ripas }.read_back(raw, level, format)
        }
        KIND_UNASSIGNED_NS if raw == KIND_UNASSIGNED_NS => Ok(Rtte::UnassignedNs),
        _ => Err(BadEntry),
    }
}

fn decode_unprotected(raw: u64, format: AddressFormat) -> Result<Rtte, BadEntry> {
    let shareability = match format {
        AddressFormat::Bits48 => SH,
        AddressFormat::Bits52 => 0,
    };
    let from_host = raw & !(UNPROTECTED | shareability | TYPE);
    let desc = UnprotectedDesc::decode(from_host, format).map_err(|_| BadEntry)?;
    Ok(Rtte::AssignedNs { desc })
}

fn ripas_bits(ripas: Ripas) -> u64 {
    u64::from(ripas.code()) << RIPAS_SHIFT
}

fn leaf_type(level: RttLevel) -> u64 {
    if level == RttLevel::LEVEL_3 {
        TYPE
    } else {
        VALID
    }
}

/// Returns the shareability of memory of the Host: Inner where it may be cached, else Outer.
///
/// The type that the Realm chooses may be a cacheable one. The hardware takes any other type as Outer
/// Shareable whatever the entry says (Arm ARM D8.5), and with 52-bit tables it decides alone.
fn shareability_of(mem_attr: MemAttr) -> u64 {
    match mem_attr {
        MemAttr::NormalWriteBack | MemAttr::FromStage1 => SH_INNER,
        MemAttr::DeviceNgnrne
        | MemAttr::DeviceNgnre
        | MemAttr::DeviceNgre
        | MemAttr::DeviceGre
        | MemAttr::NormalNonCacheable => SH_OUTER,
    }
}

#[cfg(test)]
mod tests;
