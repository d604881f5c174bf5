// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The parameters of the Realm and its RECs.

use host_mm::addr::{PAGE_BYTES, Pfn};
use host_mm::realm::Geometry;
use rmi::rec_params::{MAX_REC_AUX, RecRequest};
use rmi::{
    FeatureRegister0, HashAlgorithm, RealmFlags, RealmParams, RealmRequest, RecFlags, RecMpidr,
    RecParams,
};
use zerocopy::transmute;

/// IPA width in bits, where the RMM allows it.
const IPA_BITS: u8 = 40;
/// VMID of the Realm.
const VMID: u16 = 1;

/// Returns the shape of the Realm's tables with an RMM of these features.
pub(crate) fn geometry(features: FeatureRegister0) -> Option<Geometry> {
    Geometry::new(u32::from(IPA_BITS.min(features.s2sz())))
}

/// Returns the page for `RMI_REALM_CREATE`: all breakpoints, watchpoints and counters there are, no other
/// optional feature, SHA-256.
pub(crate) fn realm(
    features: FeatureRegister0,
    geometry: &Geometry,
    root: Pfn,
) -> [u8; PAGE_BYTES] {
    transmute!(RealmParams::from(&RealmRequest {
        flags: if features.has_pmu() {
            RealmFlags::PMU
        } else {
            RealmFlags::empty()
        },
        s2sz: geometry.ipa_bits as u8,
        sve_vl: 0,
        num_bps: features.num_bps(),
        num_wps: features.num_wps(),
        pmu_num_ctrs: features.pmu_num_ctrs(),
        hash_algo: HashAlgorithm::Sha256,
        rpv: [0; rmi::realm_params::RPV_BYTES],
        vmid: VMID,
        rtt_base: root.address(),
        rtt_level_start: geometry.start_level.raw(),
        rtt_num_start: 1 << geometry.root_order,
    }))
}

/// Where a vCPU starts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Start {
    /// First instruction.
    pub(crate) entry: u64,
    /// Address of the device tree, for x0.
    pub(crate) device_tree: u64,
}

/// Returns the page for `RMI_REC_CREATE` of vCPU `index`; one without `start` waits for PSCI.
pub(crate) fn rec(index: usize, start: Option<Start>, aux: &[Pfn]) -> [u8; PAGE_BYTES] {
    let mut request = RecRequest {
        mpidr: RecMpidr::from_index(index as u64).expect("a VM has few vCPUs"),
        ..RecRequest::default()
    };
    let mut granules = [0; MAX_REC_AUX];
    for (place, granule) in granules.iter_mut().zip(aux) {
        *place = granule.address();
    }
    let has_room = request.set_aux_list(&granules[..aux.len().min(MAX_REC_AUX)]);
    assert!(
        has_room,
        "the RMM asks for no more granules than the page has places"
    );
    if let Some(start) = start {
        request.flags = RecFlags::RUNNABLE;
        request.pc = start.entry;
        request.gprs[0] = start.device_tree;
    }
    transmute!(RecParams::from(&request))
}
