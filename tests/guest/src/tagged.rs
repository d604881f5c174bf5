// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Memory with allocation tags, and the instructions that only such memory is for (Arm ARM,
//! FEAT_MTE2).

use core::arch::asm;
use core::ptr::with_exposed_provenance_mut;

use crate::failure::Failure;
use crate::system;

/// Bytes with one tag.
pub(crate) const GRANULE: usize = 16;
/// Place of the tag in an address.
const TAG_SHIFT: u32 = 56;
const TAG: usize = 0xF;

/// Memory that only this program writes, with tags that are all zero at first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tagged {
    base: usize,
    bytes: usize,
}

/// Returns an address with another tag.
pub(crate) fn with_tag(address: usize, tag: usize) -> usize {
    address & !(TAG << TAG_SHIFT) | (tag & TAG) << TAG_SHIFT
}

/// Returns the tag of an address.
pub(crate) fn tag_of(address: usize) -> usize {
    address >> TAG_SHIFT & TAG
}

/// Returns an address with a tag that the CPU chooses among those it may (`IRG`).
pub(crate) fn choose_tag(address: usize) -> usize {
    let tagged;
    // SAFETY: the instruction makes a number of another. It changes `RGSR_EL1`, which only such
    // instructions use.
    unsafe {
        asm!(
            ".arch_extension memtag",
            "irg {0}, {1}",
            out(reg) tagged,
            in(reg) address,
            options(nomem, nostack, preserves_flags)
        );
    }
    tagged
}

impl Tagged {
    /// Asks the kernel for memory.
    pub(crate) fn new(bytes: usize) -> Result<Self, Failure> {
        let base = system::map_tagged(bytes)?;
        Ok(Self { base, bytes })
    }

    /// Returns the addresses, without a tag, of the pieces that have one.
    pub(crate) fn granules(&self) -> impl Iterator<Item = usize> + use<> {
        (self.base..self.base + self.bytes).step_by(GRANULE)
    }

    /// Returns the tag of the memory at an address.
    pub(crate) fn tag(&self, address: usize) -> usize {
        let place = self.place(address);
        let mut tagged = 0;
        // SAFETY: the place is in the mapping; reading a tag changes nothing.
        unsafe {
            asm!(
                ".arch_extension memtag",
                "ldg {0}, [{1}]",
                inout(reg) tagged,
                in(reg) place,
                options(nostack, preserves_flags)
            );
        }
        tag_of(tagged)
    }

    /// Gives the memory at an address the address's tag.
    pub(crate) fn set_tag(&self, address: usize) {
        let place = self.place(address);
        // SAFETY: the place is in the mapping, which nobody but this type accesses.
        unsafe {
            asm!(
                ".arch_extension memtag",
                "stg {0}, [{0}]",
                in(reg) place,
                options(nostack, preserves_flags)
            );
        }
    }

    /// Reads a word by way of an address with the memory's tag.
    pub(crate) fn read(&self, address: usize) -> u64 {
        // SAFETY: the place is in the mapping and aligned; any bytes are a value.
        unsafe { self.place(address).read_volatile() }
    }

    /// Writes a word by way of an address with the memory's tag; with any other the kernel ends the
    /// program. (`enable_tags` has been called.)
    pub(crate) fn write(&self, address: usize, value: u64) {
        // SAFETY: the place is in the mapping and aligned; nobody has a reference to it.
        unsafe { self.place(address).write_volatile(value) }
    }

    fn place(&self, address: usize) -> *mut u64 {
        let offset = with_tag(address, 0).wrapping_sub(self.base);
        assert!(
            offset < self.bytes && offset.is_multiple_of(GRANULE),
            "an address outside of the memory"
        );
        with_exposed_provenance_mut(address)
    }
}
