// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Reading what this PE can do.

use rmm_hal::{CpuFeatures, ID_REGISTERS};

use crate::features::{Probed, decode, has_pmu, has_sve};
use crate::regs::read_sysreg;

unsafe extern "C" {
    fn rmm_read_id_registers(into: *mut u64);
    safe fn rmm_probe_sve() -> u64;
    safe fn rmm_probe_pmu() -> u64;
}

/// Reads the features of this PE.
///
/// An ID register shows what the PE has, not what EL3 lets the Realm world use of it. What EL3 can keep
/// back is tried.
#[must_use]
pub fn read_features() -> CpuFeatures {
    let mut ids = [0; ID_REGISTERS];
    // SAFETY: writes words 8 to 63 of the array.
    unsafe { rmm_read_id_registers(ids.as_mut_ptr()) };
    let midr = read_sysreg!("MIDR_EL1");
    [ids[0], ids[5], ids[6]] = [midr, read_sysreg!("MPIDR_EL1"), read_sysreg!("REVIDR_EL1")];
    let probed = Probed {
        sve_bytes: if has_sve(&ids) { rmm_probe_sve() } else { 0 },
        pmcr: has_pmu(&ids)
            .then(|| rmm_probe_pmu())
            .filter(|pmcr| *pmcr != u64::MAX),
        ich_vtr: read_sysreg!("S3_4_C12_C11_1"),
        icc_ctlr: read_sysreg!("S3_0_C12_C12_4"),
    };
    decode(&ids, &probed)
}
