// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Which REC a PE has loaded last, because TLBs belong to a PE.
//!
//! Software may map an address differently on each of its processors: what one of them has cached no
//! other one sees (Arm ARM D8.17, TLBs). To the hardware RECs of a Realm are the same, as long as they
//! have its VMID: of two that take turns on a PE, one would find what the other has cached. A Host could
//! bring that about at will.

#![cfg_attr(
    not(target_os = "none"),
    allow(dead_code, reason = "used on the machine only")
)]

use core::cell::Cell;

/// The REC that this PE has loaded last: `VTTBR_EL2` and `VMPIDR_EL2`, none of which is zero.
///
/// A Realm that has both after another one has died does not find the other's translations either: they
/// were forgotten with its VMID (`RMI_REALM_DESTROY`). No REC has the index of an earlier one.
#[derive(Debug, Default)]
pub(crate) struct LastRec(Cell<[u64; 2]>);

impl LastRec {
    /// Records that a REC is being loaded. Says whether the last one was another, so that what is in the
    /// TLB of this PE under the Realm's VMID may not be this REC's.
    pub(crate) fn changes_to(&self, vttbr: u64, vmpidr: u64) -> bool {
        self.0.replace([vttbr, vmpidr]) != [vttbr, vmpidr]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two Realms and two RECs.
    const VTTBR: [u64; 2] = [0x0001_0000_8800_0000, 0x0002_0000_8900_0000];
    const VMPIDR: [u64; 2] = [0x8000_0000, 0x8000_0001];

    #[test]
    fn a_rec_that_stays_alone_keeps_its_translations() {
        let last = LastRec::default();
        assert!(last.changes_to(VTTBR[0], VMPIDR[0]), "the first one");
        for _ in 0..3 {
            assert!(!last.changes_to(VTTBR[0], VMPIDR[0]));
        }
    }

    #[test]
    fn recs_of_a_realm_replace_each_other() {
        let last = LastRec::default();
        for rec in [0, 1, 0, 1] {
            assert!(last.changes_to(VTTBR[0], VMPIDR[rec]));
        }
    }

    #[test]
    fn a_rec_of_another_realm_between_hides_nothing() {
        let last = LastRec::default();
        for (realm, rec) in [(0, 0), (1, 0), (0, 1), (1, 0), (0, 0)] {
            assert!(last.changes_to(VTTBR[realm], VMPIDR[rec]));
        }
    }
}
