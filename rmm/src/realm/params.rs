// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Whether a new Realm can be what the Host asks for.

use rmi::{AddressFormat, FeatureRegister0, GranuleAddr, RealmFlags, RealmRequest, RttLevel};
use rmm_hal::{CpuFeatures, Stage2Root};

use crate::realm::stage2::stage2_root;
use crate::rtt::Tree;

/// The parameters ask for something that this machine or this monitor does not have, or that does not
/// fit together: the conditions `params_supp`, `rtt_align` and `rtt_num_level`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotSupported;

/// What follows from parameters that can be granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admission {
    /// The place and shape of the tables.
    pub tree: Tree,
    /// What names them to the hardware.
    pub stage2: Stage2Root,
}

/// Admits the parameters of a new Realm.
///
/// # Errors
///
/// [`NotSupported`] when the Realm cannot be as the Host asks.
pub fn admit(
    request: &RealmRequest,
    offer: FeatureRegister0,
    cpu: &CpuFeatures,
) -> Result<Admission, NotSupported> {
    if !is_offered(request, offer, cpu) {
        return Err(NotSupported);
    }
    let tree = admit_tree(request, cpu)?;
    let stage2 = stage2_root(&tree, request.vmid, cpu);
    Ok(Admission { tree, stage2 })
}

/// The condition `params_supp`.
fn is_offered(request: &RealmRequest, offer: FeatureRegister0, cpu: &CpuFeatures) -> bool {
    let is_lpa2_offered = offer.has_lpa2() || !request.flags.contains(RealmFlags::LPA2);
    is_lpa2_offered
        && is_sve_offered(request, offer)
        && is_pmu_offered(request, offer, cpu)
        && request.s2sz <= offer.s2sz()
        && request.num_bps <= offer.num_bps()
        && request.num_wps <= offer.num_wps()
        && offer.has_hash(request.hash_algo)
}

fn is_sve_offered(request: &RealmRequest, offer: FeatureRegister0) -> bool {
    !request.flags.contains(RealmFlags::SVE)
        || (offer.has_sve() && request.sve_vl <= offer.sve_vl())
}

/// A performance monitor without event counters takes `FEAT_HPMN0`: EL2 cannot keep all counters to
/// itself otherwise.
fn is_pmu_offered(request: &RealmRequest, offer: FeatureRegister0, cpu: &CpuFeatures) -> bool {
    !request.flags.contains(RealmFlags::PMU)
        || (offer.has_pmu()
            && request.pmu_num_ctrs <= offer.pmu_num_ctrs()
            && (request.pmu_num_ctrs > 0 || cpu.hpmn0))
}

/// The conditions `rtt_num_level` and `rtt_align`.
///
/// A starting table that 48-bit tables cannot name is refused as well. The specification does not list
/// it, but the hardware would walk another table.
fn admit_tree(request: &RealmRequest, cpu: &CpuFeatures) -> Result<Tree, NotSupported> {
    let format = if request.flags.contains(RealmFlags::LPA2) {
        AddressFormat::Bits52
    } else {
        AddressFormat::Bits48
    };
    let start = RttLevel::new(request.rtt_level_start).ok_or(NotSupported)?;
    let base = GranuleAddr::new(request.rtt_base).ok_or(NotSupported)?;
    let tree = Tree::new(
        base,
        start,
        request.rtt_num_start,
        request.s2sz,
        format,
        cpu.pa_bits,
    )
    .map_err(|_| NotSupported)?;
    let end = base.checked_next(tree.tables()).ok_or(NotSupported)?;
    let span_bytes = end.raw() - base.raw();
    if base.phys().is_aligned(span_bytes) && tree.reaches(base) {
        Ok(tree)
    } else {
        Err(NotSupported)
    }
}
