// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The guests of a run: made, moved, taken apart.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::ops::Range;

use host_mm::host::Host;
use host_mm::realm::Rec;
use host_mm::vm::Vm as MemoryVm;
use host_vmm::image::{KernelImage, Layout};
use host_vmm::machine::GuestMap;
use host_vmm::normal::Cpus;
use host_vmm::vcpu::VcpuState;
use host_vmm::vm::Vm;
use rmi::FeatureRegister0;
use spin::Mutex;

use crate::bundle::LoadedBundle;
use crate::disturb::Disturbances;
use crate::guest::Name;
use crate::machine::Machine;
use crate::normal::{self, NormalVcpu};
use crate::pe::Seats;
use crate::realm;
use crate::summary::Mapped;

/// VMID of a normal VM; that of its copy is the next. A Realm's is in another world and never meets
/// them.
const VMID: u16 = 1;

/// A guest that is ready to run, or to go on.
pub(crate) struct Prepared<'h> {
    pub(crate) name: Name,
    /// Its devices.
    pub(crate) vm: Vm,
    pub(crate) memory: MemoryVm<'h, Machine>,
    pub(crate) vcpus: Vcpus,
    /// What the run loop knows of each vCPU. Only the PE that runs it takes the lock.
    pub(crate) states: Vec<Mutex<VcpuState>>,
    /// The PEs of its vCPUs.
    pub(crate) seats: Seats,
    pub(crate) disturbances: Disturbances,
    /// What it was before it was moved.
    pub(crate) origin: Option<Origin<'h>>,
}

/// The vCPUs of a guest.
pub(crate) enum Vcpus {
    Realm(Vec<Rec>),
    Normal(Cpus, Vec<Mutex<NormalVcpu>>),
}

/// What a guest leaves behind when it moves.
pub(crate) struct Origin<'h> {
    pub(crate) vm: Vm,
    /// Taken apart; its counters are left.
    pub(crate) memory: MemoryVm<'h, Machine>,
    pub(crate) mapped: Mapped,
    pub(crate) disturbances: Disturbances,
}

/// Makes a guest whose vCPUs run on `pes`.
///
/// # Errors
/// A sentence that says why there is none.
pub(crate) fn prepare<'h>(
    host: &'h Host<Machine>,
    features: FeatureRegister0,
    bundle: &LoadedBundle,
    name: Name,
    pes: Range<usize>,
) -> Result<Prepared<'h>, String> {
    let (vcpus, bytes) = (bundle.header.vcpus as usize, bundle.header.memory_bytes);
    let layout = layout(bundle)?;
    let map = match name {
        Name::Realm => realm::map(features, vcpus, bytes),
        Name::Normal => normal::map(vcpus, bytes),
    };
    let map: GuestMap = map.ok_or("the guest's memory does not fit into its address space")?;
    let (lists, memory, vcpus) = match name {
        Name::Realm => {
            let memory = realm::create(host, features, &map)?;
            let recs = realm::populate(&memory, &map, &layout, bundle)?;
            realm::activate(&memory)?;
            let lists = usize::from(features.gicv3_num_lrs()) + 1;
            (lists, memory, Vcpus::Realm(recs))
        }
        Name::Normal => {
            let memory = normal::create(host, &map, VMID)?;
            let cpus = normal::populate(&memory, &map, &layout, bundle)?;
            let vcpus = (0..map.vcpus()).map(|_| Mutex::default()).collect();
            (normal::list_registers(), memory, Vcpus::Normal(cpus, vcpus))
        }
    };
    Ok(Prepared {
        name,
        states: (0..map.vcpus()).map(|_| Mutex::default()).collect(),
        vm: Vm::new(map, lists),
        memory,
        vcpus,
        seats: Seats::new(pes),
        disturbances: Disturbances::default(),
        origin: None,
    })
}

/// Finds out where everything goes in guest memory.
fn layout(bundle: &LoadedBundle) -> Result<Layout, String> {
    let kernel = bundle.header.kernel.ok_or("the bundle has no kernel")?;
    let initrd_bytes = bundle.header.initrd.map_or(0, |initrd| initrd.size_bytes);
    KernelImage::parse(bundle.contents(&kernel), kernel.size_bytes)
        .and_then(|image| image.place(initrd_bytes, bundle.header.memory_bytes))
        .map_err(|e| e.to_string())
}

impl<'h> Prepared<'h> {
    /// Returns empty memory for this guest to move to.
    ///
    /// # Errors
    /// A sentence that says why there is none.
    pub(crate) fn twin(&self) -> Result<MemoryVm<'h, Machine>, String> {
        normal::create(self.memory.host(), self.vm.map(), VMID + 1)
    }

    /// Makes the guest, which is paused, one that goes on from `memory`, a copy of its own: with
    /// copies of its devices and vCPUs, each vCPU on another PE. What it was is taken apart.
    ///
    /// # Errors
    /// A sentence that says why it stays what it is.
    pub(crate) fn move_to(self, memory: MemoryVm<'h, Machine>) -> Result<Self, String> {
        let Vcpus::Normal(cpus, vcpus) = &self.vcpus else {
            return Err("a Realm cannot be moved".into());
        };
        let copies = vcpus.iter().map(|vcpu| Mutex::new(vcpu.lock().clone()));
        let vcpus = Vcpus::Normal(cpus.clone(), copies.collect());
        let states = self.states.iter().map(|state| state.lock().clone());
        let mapped = self.take_apart()?;
        Ok(Self {
            name: self.name,
            vm: self.vm.continued(),
            memory,
            vcpus,
            states: states.map(Mutex::new).collect(),
            seats: self.seats.turned(),
            disturbances: Disturbances::default(),
            origin: Some(Origin {
                vm: self.vm,
                memory: self.memory,
                mapped,
                disturbances: self.disturbances,
            }),
        })
    }

    /// Takes the guest apart; returns how its memory was mapped until then.
    ///
    /// # Errors
    /// A sentence that says what stays.
    pub(crate) fn take_apart(&self) -> Result<Mapped, String> {
        let mapped = Mapped::of(&self.memory);
        if let Vcpus::Realm(recs) = &self.vcpus {
            realm::destroy_recs(&self.memory, recs)?;
        }
        self.memory
            .destroy()
            .map_err(|e| format!("the {} cannot be destroyed: {e:?}", self.name.noun()))?;
        Ok(mapped)
    }
}
