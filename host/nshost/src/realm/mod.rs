// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! A Realm: created, filled, activated, taken apart.

mod params;
mod port;

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use host_mm::client::Measure;
use host_mm::host::Host;
use host_mm::realm::{Geometry, Realm, Rec};
use host_mm::vm::{CpuFacts, Guest, Vm as MemoryVm};
use host_vmm::image::Layout;
use host_vmm::machine::{GuestMap, RAM_BASE};
use rmi::{FeatureRegister0, Ipa};

use crate::bundle::LoadedBundle;
use crate::cpu;
use crate::guest::device_tree;
use crate::machine::Machine;

use params::Start;
pub(crate) use port::RecPort;

/// Returns the machine of a Realm with an RMM of these features.
pub(crate) fn map(features: FeatureRegister0, vcpus: usize, memory_bytes: u64) -> Option<GuestMap> {
    let geometry = params::geometry(features)?;
    let map = GuestMap::realm(geometry.ipa_bits, vcpus, memory_bytes)?;
    Some(if features.has_pmu() {
        map.with_pmu()
    } else {
        map
    })
}

/// Makes an empty Realm of the machine `map`.
///
/// # Errors
/// A sentence that says why there is none.
pub(crate) fn create<'h>(
    host: &'h Host<Machine>,
    features: FeatureRegister0,
    map: &GuestMap,
) -> Result<MemoryVm<'h, Machine>, String> {
    let geometry: Geometry =
        params::geometry(features).ok_or("the RMM offers too small a Realm")?;
    let realm = Realm::create(host, geometry, |root| {
        params::realm(features, &geometry, root)
    })
    .map_err(|e| format!("the Realm cannot be created: {e:?}"))?;
    // A Realm has no tags, and its pages are not the host's to touch.
    let facts = CpuFacts {
        mte: false,
        ..cpu::facts()
    };
    let memory = MemoryVm::new(host, Guest::Realm(realm), facts);
    memory
        .add_memory(Ipa::new(RAM_BASE), map.memory_bytes())
        .map_err(|e| format!("the Realm's memory cannot be described: {e:?}"))?;
    Ok(memory)
}

/// Declares all of the Realm's memory to be RAM (Linux takes page tables from anywhere in it before
/// it can ask for anything), gives the Realm its initial contents, all of it measured, and makes
/// its RECs.
///
/// # Errors
/// A sentence that says what could not be done.
pub(crate) fn populate(
    memory: &MemoryVm<'_, Machine>,
    map: &GuestMap,
    layout: &Layout,
    bundle: &LoadedBundle,
) -> Result<Vec<Rec>, String> {
    let mut vcpu = memory.new_vcpu();
    let realm = of(memory);
    let top = Ipa::new(RAM_BASE + map.memory_bytes());
    realm
        .init_ripas(Ipa::new(RAM_BASE), top, &mut vcpu.cache)
        .map_err(|e| format!("the Realm's memory cannot be declared: {e:?}"))?;
    let parts = [
        (bundle.header.kernel, Some(layout.kernel)),
        (bundle.header.initrd, layout.initrd),
    ];
    for (part, place) in parts {
        let (Some(part), Some(place)) = (part, place) else {
            continue;
        };
        let source = bundle.first_page(&part);
        memory
            .populate(
                &mut vcpu,
                place.base,
                source,
                place.size_bytes,
                Measure::Contents,
            )
            .map_err(|e| format!("{:#x} cannot be filled: {e:?}", place.base.raw()))?;
    }
    let tree = device_tree(map, layout, bundle).map_err(|e| e.to_string())?;
    memory
        .populate_bytes(&mut vcpu, layout.device_tree, &tree, Measure::Contents)
        .map_err(|e| format!("the device tree cannot be placed: {e:?}"))?;
    create_recs(realm, map.vcpus(), layout)
}

fn create_recs(
    realm: &Realm<'_, Machine>,
    vcpus: usize,
    layout: &Layout,
) -> Result<Vec<Rec>, String> {
    let start = |vcpu| {
        (vcpu == 0).then_some(Start {
            entry: layout.entry.raw(),
            device_tree: layout.device_tree.raw(),
        })
    };
    (0..vcpus)
        .map(|vcpu| {
            let rec = realm.create_rec(|aux| params::rec(vcpu, start(vcpu), aux));
            rec.map_err(|e| format!("REC {vcpu} cannot be created: {e:?}"))
        })
        .collect()
}

/// Lets the Realm run.
///
/// # Errors
/// A sentence with the RMM's answer.
pub(crate) fn activate(memory: &MemoryVm<'_, Machine>) -> Result<(), String> {
    of(memory)
        .activate()
        .map_err(|e| format!("the Realm cannot be activated: {e:?}"))
}

/// Destroys the RECs of a Realm that has stopped.
///
/// # Errors
/// A sentence that names the one that stays.
pub(crate) fn destroy_recs(memory: &MemoryVm<'_, Machine>, recs: &[Rec]) -> Result<(), String> {
    for (vcpu, rec) in recs.iter().enumerate() {
        of(memory)
            .destroy_rec(rec)
            .map_err(|e| format!("REC {vcpu} cannot be destroyed: {e:?}"))?;
    }
    Ok(())
}

fn of<'a, 'h>(memory: &'a MemoryVm<'h, Machine>) -> &'a Realm<'h, Machine> {
    memory.realm().expect("it was made as a Realm")
}
