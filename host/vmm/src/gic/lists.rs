// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! List registers and the interface's control word (Arm GICv3: `ICH_LR<n>_EL2`, `ICH_HCR_EL2`).
//!
//! | bits of `ICH_LR` | field |
//! |---|---|
//! | 63:62 | state: 0 invalid, bit 62 pending, bit 63 active |
//! | 61 | HW, always zero here: a guest's interrupt is never tied to a physical one |
//! | 60 | group |
//! | 55:48 | priority |
//! | 41 | EOI: raise the maintenance interrupt when the entry becomes invalid |
//! | 31:0 | virtual INTID |

use super::bank::Candidate;

const LR_ACTIVE: u64 = 1 << 63;
const LR_PENDING: u64 = 1 << 62;
const LR_GROUP_1: u64 = 1 << 60;
const LR_PRIORITY_SHIFT: u32 = 48;
const LR_EOI: u64 = 1 << 41;
const LR_INTID: u64 = 0xFFFF_FFFF;

/// `ICH_HCR_EL2.UIE`: maintenance interrupt when at most one list register is in use.
pub(super) const HCR_UNDERFLOW: u64 = 1 << 1;
/// `ICH_HCR_EL2.LRENPIE`: maintenance interrupt when an interrupt without entry was ended.
pub(super) const HCR_NOT_PRESENT: u64 = 1 << 2;
/// `ICH_HCR_EL2.NPIE`: maintenance interrupt when no list register is pending.
pub(super) const HCR_NO_PENDING: u64 = 1 << 3;
const HCR_EOI_COUNT_SHIFT: u32 = 27;

/// Builds the list register of an interrupt.
pub(super) fn encode(intid: u32, candidate: &Candidate) -> u64 {
    let mut word = u64::from(intid) | u64::from(candidate.priority) << LR_PRIORITY_SHIFT;
    if candidate.is_active {
        word |= LR_ACTIVE;
    }
    if candidate.is_pending {
        word |= LR_PENDING;
    }
    if candidate.is_group_1 {
        word |= LR_GROUP_1;
    }
    if !candidate.is_edge {
        word |= LR_EOI;
    }
    word
}

/// What became of a listed interrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Returned {
    pub(super) is_active: bool,
    pub(super) is_pending: bool,
}

/// Reads the state of a list register that was given `intid`.
///
/// A word that names another interrupt is not the one that was given: it counts as ended.
pub(super) fn decode(word: u64, intid: u32) -> Returned {
    let is_ours = word & LR_INTID == u64::from(intid);
    Returned {
        is_active: is_ours && word & LR_ACTIVE != 0,
        is_pending: is_ours && word & LR_PENDING != 0,
    }
}

/// Returns how many interrupts without a list register were ended.
pub(super) fn eoi_count(hcr: u64) -> usize {
    (hcr >> HCR_EOI_COUNT_SHIFT & 0x1F) as usize
}
