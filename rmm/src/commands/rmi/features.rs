// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! `RMI_FEATURES`.

use rmi::features::{FEATURE_REGISTER_0_INDEX, S2SZ_MAX_WITHOUT_LPA2};
use rmi::{FeatureRegister0, HashAlgorithm, RMI_SUCCESS};
use rmm_hal::CpuFeatures;

use crate::boot::Monitor;
use crate::commands::Reply;
use crate::limits::MAX_RECS_ORDER;

/// `RMI_FEATURES`: registers that do not exist read as zero.
pub(crate) fn features(monitor: &Monitor<'_>, index: u64) -> Reply {
    let value = if index == FEATURE_REGISTER_0_INDEX {
        monitor.offer().to_register()
    } else {
        0
    };
    Reply::new(RMI_SUCCESS, [value])
}

/// Returns what a machine with these features can do for a Realm.
///
/// A performance monitor is offered only where its number of counters can be granted: with none, a Realm
/// takes `FEAT_HPMN0`.
#[must_use]
pub(crate) fn offer(cpu: &CpuFeatures) -> FeatureRegister0 {
    let s2sz = if cpu.lpa2 {
        cpu.pa_bits
    } else {
        cpu.pa_bits.min(S2SZ_MAX_WITHOUT_LPA2)
    };
    let base = FeatureRegister0::new()
        .with_s2sz(s2sz)
        .with_lpa2(cpu.lpa2)
        .with_num_bps(cpu.breakpoints)
        .with_num_wps(cpu.watchpoints)
        .with_hash(HashAlgorithm::Sha256)
        .with_hash(HashAlgorithm::Sha512)
        .with_gicv3_num_lrs(cpu.list_registers)
        .with_max_recs_order(MAX_RECS_ORDER);
    let with_sve = cpu.sve_vq.map_or(base, |vq| base.with_sve(vq));
    cpu.pmu_counters
        .filter(|counters| *counters > 0 || cpu.hpmn0)
        .map_or(with_sve, |counters| with_sve.with_pmu(counters))
}
