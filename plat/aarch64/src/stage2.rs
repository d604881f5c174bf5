// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Stage 2 entries and the TLBs of all PEs.
//!
//! Maintenance by VMID works on the VMID in `VTTBR_EL2`, so that register is borrowed for it, unless it
//! has the right value already. Entries for one intermediate address, then everything that combines both
//! stages, then a wait for all PEs: the order of the Arm ARM (D8.17.5).
//!
//! Instruction caches hold copies by physical address. Data caches need nothing of the kind: with
//! `FEAT_S2FWB`, which the Realm world takes for granted, what is written is where instructions are fetched
//! from (`CLIDR_EL1.LoUU` and `LoUIS` are zero).

use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering};

use rmi::Ipa;
use rmm_hal::{MustInvalidate, Stage2, Stage2Root};

use crate::regs::{isb, read_sysreg, write_sysreg};

/// The greatest number of entries that are invalidated one by one; beyond it the whole VMID goes.
const ONE_BY_ONE: u64 = 32;

/// `CTR_EL0.DIC`: instruction caches follow what is written to memory by themselves.
const CTR_DIC: u64 = 1 << 29;

/// Stage 2 maintenance on this PE.
#[derive(Debug)]
pub struct Maintenance;

impl Stage2 for Maintenance {
    fn write_entry(&self, entry: &AtomicU64, value: u64) {
        entry.store(value, Ordering::Release);
        publish();
    }

    fn publish_table(&self) {
        publish();
    }

    fn invalidate(&self, root: &Stage2Root, range: MustInvalidate) {
        let entries = range.size / range.leaf;
        if entries > ONE_BY_ONE {
            return self.invalidate_all(root);
        }
        with_vmid(root, || {
            for n in 0..entries {
                invalidate_ipa(Ipa::new(range.base.raw() + n * range.leaf));
            }
            invalidate_combined();
        });
    }

    fn invalidate_all(&self, root: &Stage2Root) {
        with_vmid(root, invalidate_vmid);
    }

    fn invalidate_instructions(&self) {
        if read_sysreg!("CTR_EL0") & CTR_DIC == 0 {
            invalidate_instruction_caches();
        }
    }
}

/// Makes every earlier store visible to all walkers, and TLB maintenance behind it see them.
fn publish() {
    // SAFETY: a barrier.
    unsafe { asm!("dsb ishst", options(nostack, preserves_flags)) }
}

/// Runs `maintenance` with the VMID of `root` in `VTTBR_EL2`.
///
/// `VTCR_EL2` goes with it: it says how many bits a VMID has.
fn with_vmid(root: &Stage2Root, maintenance: impl FnOnce()) {
    let (vttbr, vtcr) = (read_sysreg!("VTTBR_EL2"), read_sysreg!("VTCR_EL2"));
    if vttbr == root.vttbr && vtcr == root.vtcr {
        return maintenance();
    }
    write_sysreg!("VTCR_EL2", root.vtcr);
    write_sysreg!("VTTBR_EL2", root.vttbr);
    isb();
    maintenance();
    write_sysreg!("VTCR_EL2", vtcr);
    write_sysreg!("VTTBR_EL2", vttbr);
    isb();
}

/// Starts forgetting stage 2 entries, of every level, for the entry that covers `ipa`.
fn invalidate_ipa(ipa: Ipa) {
    // SAFETY: removes cached translations only; R-EL2's own regime is another.
    unsafe {
        asm!("tlbi ipas2e1is, {}", in(reg) ipa.raw() >> 12, options(nostack, preserves_flags));
    }
}

/// Waits for the stage 2 entries, then forgets what combines both stages.
fn invalidate_combined() {
    // SAFETY: removes cached translations only.
    unsafe {
        asm!(
            "dsb ish",
            "tlbi vmalle1is",
            "dsb ish",
            "isb",
            options(nostack, preserves_flags)
        );
    }
}

/// Makes this PE forget what it has cached of stage 1 for the VMID that was just written to `VTTBR_EL2`,
/// alone or combined with stage 2. What comes next of the Realm is behind an exception return.
pub(crate) fn forget_here() {
    // SAFETY: removes cached translations only.
    unsafe {
        asm!(
            "isb",
            "tlbi vmalle1",
            "dsb nsh",
            options(nostack, preserves_flags)
        );
    }
}

/// Forgets everything of the VMID.
fn invalidate_vmid() {
    // SAFETY: removes cached translations only.
    unsafe {
        asm!(
            "tlbi vmalls12e1is",
            "dsb ish",
            "isb",
            options(nostack, preserves_flags)
        );
    }
}

/// Empties the instruction caches of all PEs. Realms fetch again after their next entry, which is a
/// context synchronization event.
fn invalidate_instruction_caches() {
    // SAFETY: removes cached instructions only, which are fetched again.
    unsafe {
        asm!(
            "ic ialluis",
            "dsb ish",
            "isb",
            options(nostack, preserves_flags)
        );
    }
}
