// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Which VMIDs are taken.

use core::sync::atomic::{AtomicU64, Ordering};

use crate::limits::VMIDS_8_BITS;

/// One bit per VMID, set from the successful creation of a Realm to its destruction.
#[derive(Debug)]
pub(crate) struct Vmids<'m> {
    words: &'m [AtomicU64],
    limit: u64,
}

/// The VMID is too large for the machine, or another Realm has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct VmidUnavailable;

impl<'m> Vmids<'m> {
    /// Returns the reservations kept in `words`, for VMIDs of 16 bits or of 8.
    pub(crate) fn new(words: &'m [AtomicU64], has_16_bits: bool) -> Self {
        let limit = if has_16_bits { 1 << 16 } else { VMIDS_8_BITS };
        Self { words, limit }
    }

    /// Reserves a VMID: at most one of several callers succeeds.
    pub(crate) fn reserve(&self, vmid: u16) -> Result<(), VmidUnavailable> {
        if u64::from(vmid) >= self.limit {
            return Err(VmidUnavailable);
        }
        let (word, bit) = self.find(vmid).ok_or(VmidUnavailable)?;
        // Acquire: whoever reserves a VMID sees that the Realm which had it is gone.
        let before = word.fetch_or(bit, Ordering::Acquire);
        if before & bit == 0 {
            Ok(())
        } else {
            Err(VmidUnavailable)
        }
    }

    /// Gives a reserved VMID back. No translation with it may be in any TLB.
    pub(crate) fn release(&self, vmid: u16) {
        let (word, bit) = self.find(vmid).expect("a reserved VMID has a bit");
        let before = word.fetch_and(!bit, Ordering::Release);
        assert!(before & bit != 0, "a VMID is released twice");
    }

    fn find(&self, vmid: u16) -> Option<(&'m AtomicU64, u64)> {
        let word = self.words.get(usize::from(vmid / 64))?;
        Some((word, 1 << (vmid % 64)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vmid_is_reserved_once_until_released() {
        let words = [const { AtomicU64::new(0) }; 1024];
        let vmids = Vmids::new(&words, true);
        for vmid in [0, 1, 63, 64, 255, 256, u16::MAX] {
            assert_eq!(vmids.reserve(vmid), Ok(()));
            assert_eq!(vmids.reserve(vmid), Err(VmidUnavailable));
        }
        vmids.release(64);
        assert_eq!(vmids.reserve(63), Err(VmidUnavailable));
        assert_eq!(vmids.reserve(64), Ok(()));
    }

    #[test]
    fn vmid_is_limited_by_the_machine_and_the_memory() {
        let words = [const { AtomicU64::new(0) }; 1024];
        let narrow = Vmids::new(&words, false);
        assert_eq!(narrow.reserve(256), Err(VmidUnavailable));
        assert_eq!(narrow.reserve(255), Ok(()));
        let short = Vmids::new(&words[..2], true);
        assert_eq!(short.reserve(128), Err(VmidUnavailable));
        assert_eq!(short.reserve(127), Ok(()));
    }
}
