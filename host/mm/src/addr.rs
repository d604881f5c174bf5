// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Page numbers and host addresses.
//!
//! Three address spaces meet in the host: physical memory (a page of it is a [`Pfn`]), the memory a
//! guest sees (an [`rmi::Ipa`], a page of it is a [`Gfn`]) and the memory a VMM sees (an [`Hva`]).
//! Each is a type of its own so that none is mistaken for another.

use rmi::Ipa;

/// log2 of the page size.
pub const PAGE_SHIFT: u32 = 12;
/// Bytes in a page: the 4 KiB granule.
pub const PAGE_SIZE: u64 = 1 << PAGE_SHIFT;
/// Bytes in a page, as a length of slices.
pub const PAGE_BYTES: usize = 1 << PAGE_SHIFT;
/// Bytes a level 2 block maps.
pub const BLOCK_2M: u64 = 1 << 21;
/// Bytes a level 1 block maps.
pub const BLOCK_1G: u64 = 1 << 30;
/// Pages in a 2 MiB block, which is also the number of entries in a table.
pub const PAGES_PER_2M: u64 = BLOCK_2M / PAGE_SIZE;

/// A physical page number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pfn(u64);

impl Pfn {
    /// Returns page number `number`.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Returns the page that contains physical address `address`.
    pub const fn containing(address: u64) -> Self {
        Self(address >> PAGE_SHIFT)
    }

    /// Returns the page number.
    pub const fn raw(self) -> u64 {
        self.0
    }

    /// Returns the physical address of the first byte, wrapped when the number is bogus.
    ///
    /// [`Pfn::checked_address`] is the one for numbers nobody has vouched for.
    pub const fn address(self) -> u64 {
        self.0 << PAGE_SHIFT
    }

    /// Returns the physical address of the first byte, or nothing when the shift loses bits.
    pub const fn checked_address(self) -> Option<u64> {
        let address = self.0 << PAGE_SHIFT;
        if address >> PAGE_SHIFT == self.0 {
            Some(address)
        } else {
            None
        }
    }

    /// Returns the page `pages` further on.
    pub const fn offset(self, pages: u64) -> Self {
        Self(self.0.wrapping_add(pages))
    }

    /// Returns the first page of the naturally aligned block of `size_bytes` around this page.
    pub const fn align_down(self, size_bytes: u64) -> Self {
        Self(self.0 & !((size_bytes >> PAGE_SHIFT) - 1))
    }

    /// Whether the page starts a naturally aligned block of `size_bytes`.
    pub const fn is_aligned(self, size_bytes: u64) -> bool {
        self.0 & ((size_bytes >> PAGE_SHIFT) - 1) == 0
    }
}

/// A guest page number: an IPA without stolen bits, as a page number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Gfn(u64);

impl Gfn {
    /// Returns guest page number `number`.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Returns the page number.
    pub const fn raw(self) -> u64 {
        self.0
    }

    /// Returns the IPA of the first byte.
    pub fn ipa(self) -> Ipa {
        Ipa::new(self.0 << PAGE_SHIFT)
    }

    /// Returns the guest page `pages` further on.
    pub const fn offset(self, pages: u64) -> Self {
        Self(self.0.wrapping_add(pages))
    }
}

/// A host virtual address: where a VMM sees the memory behind a guest page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hva(u64);

impl Hva {
    /// Returns the address `raw`.
    pub const fn new(raw: u64) -> Self {
        Self(raw)
    }

    /// Returns the address as a number.
    pub const fn raw(self) -> u64 {
        self.0
    }

    /// Returns the address `bytes` further on, or nothing past the end of the address space.
    pub const fn checked_add(self, bytes: u64) -> Option<Self> {
        match self.0.checked_add(bytes) {
            Some(raw) => Some(Self(raw)),
            None => None,
        }
    }

    /// Returns the address `bytes` further on, for offsets inside an area.
    pub const fn offset(self, bytes: u64) -> Self {
        Self(self.0.wrapping_add(bytes))
    }

    /// Returns the first address of the naturally aligned block of `size_bytes` around this one.
    pub const fn align_down(self, size_bytes: u64) -> Self {
        Self(self.0 & !(size_bytes - 1))
    }

    /// Whether the address is a multiple of `size_bytes`, a power of two.
    pub const fn is_aligned(self, size_bytes: u64) -> bool {
        self.0 & (size_bytes - 1) == 0
    }
}

/// How much one mapping covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Granularity {
    /// One 4 KiB page.
    Page,
    /// Sixteen contiguous pages, 64 KiB: the contiguous hint at level 3.
    ContPte,
    /// A level 2 block, 2 MiB.
    Block2M,
    /// Sixteen contiguous level 2 blocks, 32 MiB: the contiguous hint at level 2.
    ContPmd,
    /// A level 1 block, 1 GiB.
    Block1G,
    /// Any other size in bytes; a backing that reports one is reported once itself (rule F8).
    Other(u64),
}

impl Granularity {
    /// Returns the size in bytes.
    pub const fn size_bytes(self) -> u64 {
        match self {
            Self::Page => PAGE_SIZE,
            Self::ContPte => 16 * PAGE_SIZE,
            Self::Block2M => BLOCK_2M,
            Self::ContPmd => 16 * BLOCK_2M,
            Self::Block1G => BLOCK_1G,
            Self::Other(size_bytes) => size_bytes,
        }
    }

    /// Returns the granularity of a backing with pages of `size_bytes`.
    pub const fn of_size(size_bytes: u64) -> Self {
        match size_bytes {
            PAGE_SIZE => Self::Page,
            0x1_0000 => Self::ContPte,
            BLOCK_2M => Self::Block2M,
            0x200_0000 => Self::ContPmd,
            BLOCK_1G => Self::Block1G,
            other => Self::Other(other),
        }
    }
}

/// A range of physical memory, in bytes: `base` is the first byte, `size` the length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PhysRange {
    /// First byte.
    pub base: u64,
    /// Length in bytes.
    pub size: u64,
}

impl PhysRange {
    /// Returns the range of `size` bytes at `base`.
    pub const fn new(base: u64, size: u64) -> Self {
        Self { base, size }
    }

    /// Returns the address after the last byte, saturated.
    pub const fn end(self) -> u64 {
        self.base.saturating_add(self.size)
    }

    /// Whether `address` lies inside.
    pub const fn contains(self, address: u64) -> bool {
        address >= self.base && address < self.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pfn_whose_shift_loses_bits_has_no_address() {
        assert_eq!(Pfn::new(1 << 52).checked_address(), None);
        assert_eq!(Pfn::new(1 << 40).checked_address(), Some(1 << 52));
    }

    #[test]
    fn granularity_sizes_round_trip() {
        for size in [0x1000, 0x1_0000, 0x20_0000, 0x200_0000, 0x4000_0000, 0x8000] {
            assert_eq!(Granularity::of_size(size).size_bytes(), size);
        }
    }
}
