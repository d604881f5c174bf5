// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The memory map: which physical addresses are memory and which are devices (rules M1 to M3).

use alloc::vec::Vec;

use crate::addr::{Pfn, PhysRange};

/// Whether the host maps a region as ordinary memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mapping {
    /// Ordinary memory.
    Map,
    /// Memory that somebody else owns: never mapped as memory.
    DoNotMap,
}

/// A sorted list of regions of physical memory.
#[derive(Clone, Debug, Default)]
pub struct MemoryMap {
    regions: Vec<(PhysRange, Mapping)>,
}

impl MemoryMap {
    /// Returns the map of `regions`, which must not overlap.
    pub fn new(regions: &[(PhysRange, Mapping)]) -> Self {
        let mut regions = regions.to_vec();
        regions.sort_by_key(|(range, _)| range.base);
        Self { regions }
    }

    /// Whether `address` is map memory: inside a region that may be mapped (rule M1).
    pub fn is_memory(&self, address: u64) -> bool {
        let after = self.regions.partition_point(|(r, _)| r.base <= address);
        after.checked_sub(1).is_some_and(|at| {
            let (range, mapping) = self.regions[at];
            range.contains(address) && mapping == Mapping::Map
        })
    }

    /// Whether `pfn` is a device page: anything that is not map memory (rules M2 and M3).
    pub fn is_device(&self, pfn: Pfn) -> bool {
        !pfn.checked_address().is_some_and(|a| self.is_memory(a))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map() -> MemoryMap {
        MemoryMap::new(&[
            (PhysRange::new(0x8000_0000, 0x1000_0000), Mapping::Map),
            (PhysRange::new(0x4000_0000, 0x10_0000), Mapping::DoNotMap),
            (PhysRange::new(0x4010_0000, 0x10_0000), Mapping::Map),
        ])
    }

    #[test]
    fn m1_memory_is_a_region_without_the_do_not_map_flag() {
        let map = map();
        for (address, memory) in [
            (0x3FFF_FFFF, false),
            (0x4000_0000, false),
            (0x400F_FFFF, false),
            (0x4010_0000, true),
            (0x401F_FFFF, true),
            (0x4020_0000, false),
            (0x8000_0000, true),
            (0x9000_0000, false),
        ] {
            assert_eq!(map.is_memory(address), memory, "{address:#x}");
        }
    }

    #[test]
    fn m2_a_bogus_pfn_does_not_alias_memory() {
        let bogus = Pfn::new((1 << 52) | 0x8_0000);
        assert_eq!(bogus.address(), 0x8000_0000);
        assert!(map().is_device(bogus));
    }

    #[test]
    fn m3_a_device_page_is_what_is_not_memory() {
        assert!(map().is_device(Pfn::containing(0x0900_0000)));
        assert!(map().is_device(Pfn::containing(0x4000_0000)));
        assert!(!map().is_device(Pfn::containing(0x4010_0000)));
    }
}
