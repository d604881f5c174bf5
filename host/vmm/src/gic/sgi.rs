// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Software generated interrupts: the value written to `ICC_SGI1R_EL1` and its two siblings.
//!
//! | bits | field |
//! |---|---|
//! | 55:48, 39:32, 23:16 | Aff3, Aff2, Aff1 of the targets |
//! | 47:44 | range selector: the target list starts at Aff0 = 16 times this |
//! | 40 | IRM: all but the sender, the affinities do not count |
//! | 27:24 | INTID |
//! | 15:0 | target list: a bit per Aff0 |

use crate::machine::{VcpuSet, vcpu_of};
use rmi::RecMpidr;

/// Which of the three registers was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SgiRegister {
    /// `ICC_SGI0R_EL1`: interrupts of group 0.
    Group0,
    /// `ICC_SGI1R_EL1`: interrupts of either group.
    Group1,
    /// `ICC_ASGI1R_EL1`: the other Security state's group 1; here the same as group 0.
    OtherGroup1,
}

/// A decoded request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SgiRequest {
    pub(super) intid: u32,
    pub(super) targets: VcpuSet,
}

/// Decodes a request of vCPU `sender` in a VM of `vcpus`; targets that do not exist are left out.
pub(super) fn decode(value: u64, sender: usize, vcpus: usize) -> SgiRequest {
    let field = |shift: u32, bits: u32| (value >> shift) as u32 & ((1 << bits) - 1);
    let intid = field(24, 4);
    if field(40, 1) != 0 {
        return SgiRequest {
            intid,
            targets: VcpuSet::first(vcpus).without(sender),
        };
    }
    let cluster = field(48, 8) << 24 | field(32, 8) << 16 | field(16, 8) << 8;
    let first = field(44, 4) * 16;
    let list = field(0, 16);
    let targets = (0..16)
        .filter(|bit| list >> bit & 1 != 0)
        .filter_map(|bit| RecMpidr::new(u64::from(cluster | (first + bit))))
        .filter_map(|mpidr| vcpu_of(mpidr, vcpus))
        .fold(VcpuSet::EMPTY, |set, vcpu| set.with(VcpuSet::only(vcpu)));
    SgiRequest { intid, targets }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sgi_target_list_names_vcpus() {
        let request = decode(0x0500_000A, 0, 4);
        assert_eq!(request.intid, 5);
        assert!(request.targets.iter().eq([1, 3]));
    }

    #[test]
    fn sgi_to_absent_vcpus_goes_nowhere() {
        assert!(decode(0x0100_FFF0, 0, 4).targets.is_empty());
        assert!(decode(0x0101_0001, 0, 4).targets.is_empty());
        assert!(decode(0x1_0100_0001, 0, 4).targets.is_empty());
        assert!(decode(1 << 48 | 1, 0, 4).targets.is_empty());
        assert!(decode(1 << 44 | 1, 0, 4).targets.is_empty());
    }

    #[test]
    fn sgi_irm_means_all_but_the_sender() {
        let request = decode(1 << 40 | 0x0F00_0000 | 0x1, 2, 4);
        assert_eq!(request.intid, 15);
        assert!(request.targets.iter().eq([0, 1, 3]));
    }
}
