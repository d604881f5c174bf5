// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Data-independent timing.
//!
//! An exception leaves `PSTATE.DIT` as the Realm had it, and EL3 returns with what it was at the SMC, so
//! the monitor turns it on around work on secrets and puts it back. Every machine with RME has `FEAT_DIT`
//! (mandatory from Armv8.4).

use rmm_hal::Timing;

use crate::regs::{isb, read_sysreg, write_sysreg};

/// `PSTATE.DIT` of this PE.
#[derive(Debug)]
pub struct Dit;

/// The field in the register `DIT`.
const DIT: u64 = 1 << 24;

impl Timing for Dit {
    fn data_independent<R>(&self, work: impl FnOnce() -> R) -> R {
        // The register DIT, by its encoding.
        let before = read_sysreg!("S3_3_C4_C2_5");
        write_sysreg!("S3_3_C4_C2_5", DIT);
        // Instructions that follow a write of DIT may not heed it before a synchronization.
        isb();
        let result = work();
        write_sysreg!("S3_3_C4_C2_5", before);
        result
    }
}
