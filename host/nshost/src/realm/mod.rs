// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! A run of one Realm: created, filled, activated, run, taken apart, summed up.

mod params;
mod port;

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use host_mm::client::Measure;
use host_mm::host::Host;
use host_mm::realm::{Geometry, Realm, Rec};
use host_mm::vm::{Guest, Vm as MemoryVm};
use host_vmm::fdt::GuestTree;
use host_vmm::image::{KernelImage, Layout};
use host_vmm::machine::{GuestMap, RAM_BASE};
use host_vmm::vm::{StopReason, Vm};
use log::info;
use rmi::{FeatureRegister0, Ipa};
use spin::Mutex;

use crate::bundle::LoadedBundle;
use crate::guest::{Events, GuestMemory};
use crate::machine::Machine;
use crate::summary::{self, Before};
use crate::{cpu, pe, stage, timer};

use params::Start;
use port::RecPort;

/// Runs the bundle's guest as a Realm, from creation to summary.
///
/// # Errors
/// A sentence that says why the run is not what it should be.
pub(crate) fn run(
    host: &Host<Machine>,
    features: FeatureRegister0,
    bundle: &LoadedBundle,
) -> Result<(), String> {
    let before = Before::take(host);
    host.set_secret(bundle.header.secret);
    let vcpus = bundle.header.vcpus as usize;
    if vcpus > pe::count() {
        return Err(format!(
            "{vcpus} vCPUs need as many CPUs, there are {}",
            pe::count()
        ));
    }
    let geometry = params::geometry(features).ok_or("the RMM offers too small a Realm")?;
    let map = GuestMap::realm(geometry.ipa_bits, vcpus, bundle.header.memory_bytes)
        .ok_or("the guest's memory does not fit into a Realm")?;
    let layout = layout(bundle)?;
    let lists = usize::from(features.gicv3_num_lrs()) + 1;
    let vm = Vm::new(map, lists);

    stage::enter("realm-create");
    let memory = create(host, features, geometry, &map)?;
    stage::enter("populate");
    populate(&memory, &map, &layout, bundle)?;
    let realm = memory.realm().expect("it was made as a Realm");
    let recs = create_recs(realm, vcpus, &layout)?;
    stage::enter("activate");
    realm
        .activate()
        .map_err(|e| format!("the Realm cannot be activated: {e:?}"))?;
    stage::enter("run");
    let ended = run_vcpus(&vm, &memory, &recs)?;
    info!("the Realm stopped: {ended}");
    let sizes = realm.mapping_sizes();
    stage::enter("teardown");
    tear_down(&memory, &recs)?;
    stage::enter("summary");
    summary::report(host, &vm, &memory, &sizes);
    drop(memory);
    summary::report_pages(host);
    summary::check(host, &before)?;
    if ended.is_orderly() {
        Ok(())
    } else {
        Err(ended.to_string())
    }
}

/// Finds out where everything goes in guest memory.
fn layout(bundle: &LoadedBundle) -> Result<Layout, String> {
    let kernel = bundle.header.kernel.ok_or("the bundle has no kernel")?;
    let initrd_bytes = bundle.header.initrd.map_or(0, |initrd| initrd.size_bytes);
    KernelImage::parse(bundle.contents(&kernel), kernel.size_bytes)
        .and_then(|image| image.place(initrd_bytes, bundle.header.memory_bytes))
        .map_err(|e| e.to_string())
}

fn create<'h>(
    host: &'h Host<Machine>,
    features: FeatureRegister0,
    geometry: Geometry,
    map: &GuestMap,
) -> Result<MemoryVm<'h, Machine>, String> {
    let realm = Realm::create(host, geometry, |root| {
        params::realm(features, &geometry, root)
    })
    .map_err(|e| format!("the Realm cannot be created: {e:?}"))?;
    let memory = MemoryVm::new(host, Guest::Realm(realm), cpu::facts());
    memory
        .add_memory(Ipa::new(RAM_BASE), map.memory_bytes())
        .map_err(|e| format!("the Realm's memory cannot be described: {e:?}"))?;
    Ok(memory)
}

/// Declares all of the Realm's memory to be RAM (Linux takes page tables from anywhere in it before
/// it can ask for anything) and gives the Realm its initial contents, all of it measured.
fn populate(
    memory: &MemoryVm<'_, Machine>,
    map: &GuestMap,
    layout: &Layout,
    bundle: &LoadedBundle,
) -> Result<(), String> {
    let mut vcpu = memory.new_vcpu();
    let realm = memory.realm().expect("it was made as a Realm");
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
    let tree = GuestTree {
        map,
        command_line: &bundle.header.command_line,
        initrd: layout.initrd,
        // A run can be repeated exactly; a Realm has its own source of random numbers.
        seed: None,
        has_entropy: cpu::has_random(),
    };
    let tree = tree.to_bytes().map_err(|e| e.to_string())?;
    memory
        .populate_bytes(&mut vcpu, layout.device_tree, &tree, Measure::Contents)
        .map_err(|e| format!("the device tree cannot be placed: {e:?}"))
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

/// Runs every vCPU on its PE until the VM stops.
fn run_vcpus(vm: &Vm, memory: &MemoryVm<'_, Machine>, recs: &[Rec]) -> Result<StopReason, String> {
    let events = Events::new(vm, memory.counters());
    let guest_memory = GuestMemory::new(memory, recs.len(), recs);
    let ports: Option<Vec<_>> = (0..recs.len())
        .map(|vcpu| RecPort::new(memory.host(), recs, vcpu, &events).map(Mutex::new))
        .collect();
    let ports = ports.ok_or("no memory for the run pages")?;
    events.start_ticking();
    pe::on_each(recs.len(), &|pe| {
        vm.run_vcpu(pe, &mut *ports[pe].lock(), &guest_memory, &events);
    });
    timer::clear_alarm();
    vm.finish_console(&events);
    vm.stopped()
        .ok_or_else(|| "the vCPUs came back without a reason".into())
}

fn tear_down(memory: &MemoryVm<'_, Machine>, recs: &[Rec]) -> Result<(), String> {
    let realm = memory.realm().expect("it was made as a Realm");
    for (vcpu, rec) in recs.iter().enumerate() {
        realm
            .destroy_rec(rec)
            .map_err(|e| format!("REC {vcpu} cannot be destroyed: {e:?}"))?;
    }
    memory
        .destroy()
        .map_err(|e| format!("the Realm cannot be destroyed: {e:?}"))
}
