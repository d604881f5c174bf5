// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Addresses: where a byte is for the machine (`PhysAddr`, `GranuleAddr`) and for a Realm (`Ipa`).
//!
//! None of these types says that the address exists, that it is memory or who owns it.

use core::fmt;

/// The size in bytes of a granule, the unit in which memory changes hands.
pub const GRANULE_SIZE: u64 = 0x1000;

/// [`GRANULE_SIZE`] as a length of arrays and slices.
pub const GRANULE_BYTES: usize = 0x1000;

/// Returns whether `value` is a multiple of `size`, which must be a power of two.
const fn is_multiple(value: u64, size: u64) -> bool {
    debug_assert!(size.is_power_of_two());
    value & (size - 1) == 0
}

/// A physical address: a byte as the memory system sees it, without its address space.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PhysAddr(u64);

impl PhysAddr {
    /// Names the byte at `raw`.
    #[must_use]
    pub const fn new(raw: u64) -> Self {
        Self(raw)
    }

    /// Returns the address as a register value.
    #[must_use]
    pub const fn raw(self) -> u64 {
        self.0
    }

    /// Returns the address `bytes` further up, or nothing if that wraps.
    #[must_use]
    pub const fn checked_add(self, bytes: u64) -> Option<Self> {
        match self.0.checked_add(bytes) {
            Some(raw) => Some(Self(raw)),
            None => None,
        }
    }

    /// Returns whether the address is a multiple of `size`, a power of two.
    #[must_use]
    pub const fn is_aligned(self, size: u64) -> bool {
        is_multiple(self.0, size)
    }

    /// Returns the granule that contains this byte.
    #[must_use]
    pub const fn granule(self) -> GranuleAddr {
        GranuleAddr(self.0 & !(GRANULE_SIZE - 1))
    }
}

/// The physical address of a granule: a multiple of [`GRANULE_SIZE`] by construction.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GranuleAddr(u64);

impl GranuleAddr {
    /// Names the granule that starts at `raw`, or nothing if no granule starts there.
    #[must_use]
    pub const fn new(raw: u64) -> Option<Self> {
        if is_multiple(raw, GRANULE_SIZE) {
            Some(Self(raw))
        } else {
            None
        }
    }

    /// Returns the address as a register value.
    #[must_use]
    pub const fn raw(self) -> u64 {
        self.0
    }

    /// Returns the address of the first byte.
    #[must_use]
    pub const fn phys(self) -> PhysAddr {
        PhysAddr(self.0)
    }

    /// Returns the granule `count` granules further up, or nothing if that wraps.
    #[must_use]
    pub const fn checked_next(self, count: u64) -> Option<Self> {
        let Some(bytes) = count.checked_mul(GRANULE_SIZE) else {
            return None;
        };
        match self.0.checked_add(bytes) {
            Some(raw) => Some(Self(raw)),
            None => None,
        }
    }
}

impl From<GranuleAddr> for PhysAddr {
    fn from(granule: GranuleAddr) -> Self {
        granule.phys()
    }
}

/// An intermediate physical address: a byte as one Realm sees it, before stage 2.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ipa(u64);

impl Ipa {
    /// Names the byte at `raw`.
    #[must_use]
    pub const fn new(raw: u64) -> Self {
        Self(raw)
    }

    /// Returns the address as a register value.
    #[must_use]
    pub const fn raw(self) -> u64 {
        self.0
    }

    /// Returns the address `bytes` further up, or nothing if that wraps.
    #[must_use]
    pub const fn checked_add(self, bytes: u64) -> Option<Self> {
        match self.0.checked_add(bytes) {
            Some(raw) => Some(Self(raw)),
            None => None,
        }
    }

    /// Returns whether the address is a multiple of `size`, a power of two.
    #[must_use]
    pub const fn is_aligned(self, size: u64) -> bool {
        is_multiple(self.0, size)
    }

    /// Returns the greatest multiple of `size`, a power of two, that is not above the address.
    #[must_use]
    pub const fn align_down(self, size: u64) -> Self {
        debug_assert!(size.is_power_of_two());
        Self(self.0 & !(size - 1))
    }
}

/// Prints an address type as a number in hexadecimal.
macro_rules! fmt_as_hex {
    ($($name:ident),*) => {$(
        impl fmt::LowerHex for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::LowerHex::fmt(&self.0, f)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:#x}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:#x})"), self.0)
            }
        }
    )*};
}

fmt_as_hex!(PhysAddr, GranuleAddr, Ipa);

#[cfg(test)]
mod tests {
    extern crate std;

    use std::format;

    use super::*;

    #[test]
    fn granule_addr_is_aligned() {
        assert_eq!(GranuleAddr::new(0x8000_1000).unwrap().raw(), 0x8000_1000);
        for offset in [1, 0x8, 0x800, 0xfff] {
            assert_eq!(GranuleAddr::new(0x8000_1000 + offset), None);
        }
    }

    #[test]
    fn granule_addr_next_does_not_wrap() {
        let last = GranuleAddr::new(0xffff_ffff_ffff_f000).unwrap();
        assert_eq!(last.checked_next(0), Some(last));
        assert_eq!(last.checked_next(1), None);
        assert_eq!(last.checked_next(u64::MAX), None);
        let first = GranuleAddr::new(0).unwrap();
        assert_eq!(first.checked_next(3).unwrap().raw(), 0x3000);
    }

    #[test]
    fn phys_addr_lies_in_a_granule() {
        let byte = PhysAddr::new(0x1234_5678);
        assert_eq!(byte.granule().raw(), 0x1234_5000);
        assert_eq!(PhysAddr::new(u64::MAX).checked_add(1), None);
    }

    #[test]
    fn ipa_aligns_to_powers_of_two() {
        let ipa = Ipa::new(0x4020_1000);
        assert!(ipa.is_aligned(0x1000));
        assert!(!ipa.is_aligned(0x20_0000));
        assert_eq!(ipa.align_down(0x20_0000).raw(), 0x4020_0000);
        assert_eq!(ipa.align_down(0x4000_0000).raw(), 0x4000_0000);
        assert_eq!(ipa.checked_add(u64::MAX), None);
    }

    #[test]
    fn addresses_print_in_hexadecimal() {
        assert_eq!(format!("{}", Ipa::new(0x8000_0000)), "0x80000000");
        assert_eq!(format!("{:?}", PhysAddr::new(0x10)), "PhysAddr(0x10)");
        assert_eq!(format!("{:x}", GranuleAddr::new(0xf000).unwrap()), "f000");
    }
}
