// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The boot manifest: what EL3 tells of the platform, in one page.
//!
//! Each list is a count, a physical pointer into the same page and a checksum that makes the sum of the
//! three words and of every 64-bit word of the array zero. A later minor version appends fields, which
//! this reader does not look at.
//!
//! The memory banks must be right: the granule table is built from them. A console list that does not
//! add up is worth a line of log and is not used (TF-A 2.12 on QEMU leaves the name out of the sum).

use rmi::{GRANULE_BYTES, GRANULE_SIZE, GranuleAddr, PhysAddr};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::boot_args::{BootError, Version};

/// The oldest minor version of manifest 0 with both lists.
const OLDEST_MINOR: u16 = 3;

#[derive(Clone, Copy, Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Header {
    version: U32,
    _zero: U32,
    _platform_data: U64,
    dram: List,
    consoles: List,
}

#[derive(Clone, Copy, Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct List {
    count: U64,
    pointer: U64,
    checksum: U64,
}

#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct BankEntry {
    base: U64,
    bytes: U64,
}

#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct ConsoleEntry {
    base: U64,
    pages: U64,
    name: [u8; 8],
    clock_hz: U64,
    baud: U64,
    _flags: U64,
}

/// A contiguous piece of memory that the Host may delegate, as far as EL3 knows.
///
/// It may contain the RMM itself and addresses with nothing behind them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DramBank {
    /// First granule.
    pub base: GranuleAddr,
    /// Number of granules, at least one.
    pub granules: u64,
}

/// A console the RMM may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Console {
    /// First byte of the device's registers.
    pub base: GranuleAddr,
    /// Number of 4 KiB pages the registers take.
    pub pages: u64,
    /// What the device is, padded with zeroes.
    pub name: [u8; 8],
    /// Input clock in Hz; 0 or 1 when the divisors must be left alone.
    pub clock_hz: u64,
    /// Baud rate.
    pub baud: u64,
}

impl Console {
    /// Says whether the device is an Arm PL011.
    #[must_use]
    pub fn is_pl011(&self) -> bool {
        self.name == *b"pl011\0\0\0"
    }
}

/// What the manifest says of consoles.
#[derive(Clone, Copy, Debug)]
pub enum ConsoleList<'a> {
    /// The list adds up.
    Usable(Consoles<'a>),
    /// The list's words sum to `sum` instead of zero, or it lies outside the page.
    Broken {
        /// What the words sum to; `None` when the list is not inside the page.
        sum: Option<u64>,
    },
}

impl<'a> ConsoleList<'a> {
    /// Returns the first PL011 of a usable list.
    #[must_use]
    pub fn first_pl011(&self) -> Option<Console> {
        match self {
            Self::Usable(list) => list.iter().find(Console::is_pl011),
            Self::Broken { .. } => None,
        }
    }
}

/// A list of consoles that adds up.
#[derive(Clone, Copy, Debug)]
pub struct Consoles<'a>(&'a [ConsoleEntry]);

impl Consoles<'_> {
    /// Returns the consoles whose registers start at a granule.
    pub fn iter(&self) -> impl Iterator<Item = Console> {
        self.0.iter().filter_map(|entry| {
            Some(Console {
                base: GranuleAddr::new(entry.base.get())?,
                pages: entry.pages.get(),
                name: entry.name,
                clock_hz: entry.clock_hz.get(),
                baud: entry.baud.get(),
            })
        })
    }
}

/// A manifest with every check behind it.
#[derive(Clone, Copy, Debug)]
pub struct Manifest<'a> {
    /// The manifest's own version.
    pub version: Version,
    /// The consoles.
    pub consoles: ConsoleList<'a>,
    banks: &'a [BankEntry],
}

impl<'a> Manifest<'a> {
    /// Checks the manifest in a copy of the shared page, which is at `base`. No bank may reach beyond
    /// `pa_bits` bits of address.
    ///
    /// # Errors
    ///
    /// [`BootError::ManifestVersion`], or [`BootError::ManifestData`] when the memory banks are none,
    /// not in the page, do not add up, are empty, unaligned, out of order, overlap or are too high.
    pub fn check(
        page: &'a [u8; GRANULE_BYTES],
        base: GranuleAddr,
        pa_bits: u8,
    ) -> Result<Self, BootError> {
        let (header, _) = Header::read_from_prefix(page).map_err(|_| BootError::ManifestData)?;
        let version = Version::decode(u64::from(header.version.get()))
            .filter(|version| version.major == 0 && version.minor >= OLDEST_MINOR)
            .ok_or(BootError::ManifestVersion)?;

        let dram: Array<'a, BankEntry> =
            Array::find(page, base, &header.dram).ok_or(BootError::ManifestData)?;
        if dram.sum != 0 || dram.entries.is_empty() {
            return Err(BootError::ManifestData);
        }
        check_banks(dram.entries, pa_bits)?;

        let consoles = match Array::find(page, base, &header.consoles) {
            Some(Array { entries, sum: 0 }) => ConsoleList::Usable(Consoles(entries)),
            Some(Array { sum, .. }) => ConsoleList::Broken { sum: Some(sum) },
            None => ConsoleList::Broken { sum: None },
        };
        Ok(Self {
            version,
            consoles,
            banks: dram.entries,
        })
    }

    /// Returns the memory banks in ascending order.
    pub fn banks(&self) -> impl ExactSizeIterator<Item = DramBank> {
        self.banks.iter().map(|bank| DramBank {
            base: PhysAddr::new(bank.base.get()).granule(),
            granules: bank.bytes.get() / GRANULE_SIZE,
        })
    }
}

/// The array of a list, and the sum of all words of the list.
struct Array<'a, T> {
    entries: &'a [T],
    sum: u64,
}

impl<'a, T: FromBytes + IntoBytes + Immutable> Array<'a, T> {
    /// Finds the array inside the page. An empty list has no array, whatever its pointer.
    fn find(page: &'a [u8; GRANULE_BYTES], base: GranuleAddr, list: &List) -> Option<Self> {
        let entries: &[T] = if list.count == 0 {
            &[]
        } else {
            let offset = list.pointer.get().checked_sub(base.raw())?;
            let rest = page.get(usize::try_from(offset).ok()?..)?;
            let count = usize::try_from(list.count.get()).ok()?;
            <[T]>::ref_from_prefix_with_elems(rest, count).ok()?.0
        };
        let (words, _) = entries.as_bytes().as_chunks();
        let sum = [list.count, list.pointer, list.checksum]
            .into_iter()
            .map(U64::get)
            .chain(words.iter().map(|word| u64::from_le_bytes(*word)))
            .fold(0, u64::wrapping_add);
        Some(Self { entries, sum })
    }
}

fn check_banks(banks: &[BankEntry], pa_bits: u8) -> Result<(), BootError> {
    let limit = 1_u64
        .checked_shl(u32::from(pa_bits))
        .ok_or(BootError::ManifestData)?;
    let mut free_from = 0;
    for bank in banks {
        let (base, bytes) = (bank.base.get(), bank.bytes.get());
        let end = base.checked_add(bytes).ok_or(BootError::ManifestData)?;
        let is_aligned = base % GRANULE_SIZE == 0 && bytes % GRANULE_SIZE == 0;
        if !is_aligned || bytes == 0 || base < free_from || end > limit {
            return Err(BootError::ManifestData);
        }
        free_from = end;
    }
    Ok(())
}
