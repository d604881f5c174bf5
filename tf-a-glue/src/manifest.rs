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

use rmi::{GRANULE_BYTES, GRANULE_SIZE, GranuleAddr};
use zerocopy::{FromBytes, Immutable, KnownLayout};

use crate::boot_args::{BootError, Version};

/// The oldest minor version of manifest 0 with both lists.
const OLDEST_MINOR: u16 = 3;

#[derive(Clone, Copy, Debug, FromBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Header {
    version: u32,
    _zero: u32,
    _platform_data: u64,
    dram: List,
    consoles: List,
}

#[derive(Clone, Copy, Debug, FromBytes, Immutable, KnownLayout)]
#[repr(C)]
struct List {
    count: u64,
    pointer: u64,
    checksum: u64,
}

#[derive(Clone, Copy, Debug, FromBytes, Immutable, KnownLayout)]
#[repr(C)]
struct BankEntry {
    base: u64,
    bytes: u64,
}

#[derive(Clone, Copy, Debug, FromBytes, Immutable, KnownLayout)]
#[repr(C)]
struct ConsoleEntry {
    base: u64,
    pages: u64,
    name: [u8; 8],
    clock_hz: u64,
    baud: u64,
    _flags: u64,
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
                base: GranuleAddr::new(entry.base)?,
                pages: entry.pages,
                name: entry.name,
                clock_hz: entry.clock_hz,
                baud: entry.baud,
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
        let version = Version::decode(u64::from(header.version))
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
            base: rmi::PhysAddr::new(bank.base).granule(),
            granules: bank.bytes / GRANULE_SIZE,
        })
    }
}

/// The array of a list, and the sum of all words of the list.
struct Array<'a, T> {
    entries: &'a [T],
    sum: u64,
}

impl<'a, T: FromBytes + Immutable + KnownLayout> Array<'a, T> {
    /// Finds the array inside the page. An empty list has no array, whatever its pointer.
    fn find(page: &'a [u8; GRANULE_BYTES], base: GranuleAddr, list: &List) -> Option<Self> {
        let entries: &[T] = if list.count == 0 {
            &[]
        } else {
            let offset = usize::try_from(list.pointer.checked_sub(base.raw())?).ok()?;
            let count = usize::try_from(list.count).ok()?;
            let (entries, _) =
                <[T]>::ref_from_prefix_with_elems(page.get(offset..)?, count).ok()?;
            entries
        };
        let head = [list.count, list.pointer, list.checksum];
        let sum = head
            .into_iter()
            .chain(words(page, base, list, size_of_val(entries)));
        Some(Self {
            entries,
            sum: sum.fold(0, u64::wrapping_add),
        })
    }
}

/// Returns the 64-bit words of a list's array of `bytes` bytes.
fn words<'a>(
    page: &'a [u8; GRANULE_BYTES],
    base: GranuleAddr,
    list: &List,
    bytes: usize,
) -> impl Iterator<Item = u64> + use<'a> {
    let offset = usize::try_from(list.pointer.wrapping_sub(base.raw())).unwrap_or(GRANULE_BYTES);
    let array = page
        .get(offset..)
        .and_then(|rest| rest.get(..bytes))
        .unwrap_or(&[]);
    array
        .as_chunks()
        .0
        .iter()
        .map(|word| u64::from_le_bytes(*word))
}

fn check_banks(banks: &[BankEntry], pa_bits: u8) -> Result<(), BootError> {
    let limit = 1_u64
        .checked_shl(u32::from(pa_bits))
        .ok_or(BootError::ManifestData)?;
    let mut free_from = 0;
    for bank in banks {
        let end = bank
            .base
            .checked_add(bank.bytes)
            .ok_or(BootError::ManifestData)?;
        let is_aligned = bank.base % GRANULE_SIZE == 0 && bank.bytes % GRANULE_SIZE == 0;
        if !is_aligned || bank.bytes == 0 || bank.base < free_from || end > limit {
            return Err(BootError::ManifestData);
        }
        free_from = end;
    }
    Ok(())
}
