// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! A run of one guest or two: created, filled, run, taken apart, summed up.
//!
//! Each vCPU has a PE of its own: those of the first guest come first.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::ops::Range;

use host_mm::host::Host;
use host_mm::realm::Rec;
use host_mm::vm::Vm as MemoryVm;
use host_vmm::bundle::Options;
use host_vmm::image::{KernelImage, Layout};
use host_vmm::machine::GuestMap;
use host_vmm::normal::Cpus;
use host_vmm::vcpu::VcpuState;
use host_vmm::vm::{StopReason, Vm};
use log::info;
use rmi::FeatureRegister0;
use spin::Mutex;

use crate::bundle::LoadedBundle;
use crate::disturb::{self, Disturbances};
use crate::guest::{Events, GuestMemory, Name};
use crate::machine::Machine;
use crate::normal::{self, NormalPort};
use crate::realm::{self, RecPort};
use crate::summary::{self, Before};
use crate::{pe, stage, timer};

/// VMID of a normal VM. A Realm's is in another world and never meets it.
const VMID: u16 = 1;

/// A guest that is ready to run.
struct Prepared<'h> {
    name: Name,
    /// Its devices.
    vm: Vm,
    memory: MemoryVm<'h, Machine>,
    vcpus: Vcpus,
    /// The PEs of its vCPUs.
    pes: Range<usize>,
    disturbances: Disturbances,
}

/// The vCPUs of a guest.
enum Vcpus {
    Realm(Vec<Rec>),
    Normal(Cpus),
}

/// Runs the bundle's guest as each of `names`, all at the same time, from creation to summary.
///
/// # Errors
/// A sentence that says why the run is not what it should be.
pub(crate) fn run(
    host: &Host<Machine>,
    features: FeatureRegister0,
    bundle: &LoadedBundle,
    names: &[Name],
) -> Result<(), String> {
    let before = Before::take(host);
    host.set_secret(bundle.header.secret);
    let options = bundle.header.options;
    let vcpus = bundle.header.vcpus as usize * names.len();
    let wanted = vcpus + usize::from(disturb::is_wanted(options));
    if wanted > pe::count() {
        return Err(format!(
            "the run needs {wanted} CPUs, there are {}",
            pe::count()
        ));
    }
    stage::enter("create");
    let mut guests = Vec::new();
    for name in names {
        guests.push(prepare(host, features, bundle, *name, guests.len())?);
    }
    stage::enter("run");
    run_vcpus(&guests, options)?;
    stage::enter("teardown");
    let mut reports = Vec::new();
    for guest in &guests {
        reports.push(tear_down(guest)?);
    }
    stage::enter("summary");
    host.machine().rmi.report(|line| info!("summary: {line}"));
    for (guest, sizes) in guests.iter().zip(&reports) {
        let prefix = if guests.len() > 1 {
            guest.name.prefix()
        } else {
            ""
        };
        summary::report(prefix, &guest.vm, &guest.memory, sizes);
        guest.disturbances.report(prefix, options);
    }
    stage::report();
    let ends: Vec<_> = guests
        .iter()
        .filter_map(|guest| guest.vm.stopped())
        .collect();
    drop(guests);
    summary::report_pages(host);
    summary::check(host, &before)?;
    ends.iter()
        .find(|end| !end.is_orderly())
        .map_or(Ok(()), |end| Err(end.to_string()))
}

/// Makes guest number `place` of the run.
fn prepare<'h>(
    host: &'h Host<Machine>,
    features: FeatureRegister0,
    bundle: &LoadedBundle,
    name: Name,
    place: usize,
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
            (normal::list_registers(), memory, Vcpus::Normal(cpus))
        }
    };
    Ok(Prepared {
        name,
        vm: Vm::new(map, lists),
        memory,
        vcpus,
        pes: place * map.vcpus()..(place + 1) * map.vcpus(),
        disturbances: Disturbances::default(),
    })
}

impl<'h> Prepared<'h> {
    fn target(&self) -> disturb::Target<'_, 'h> {
        disturb::Target {
            vm: &self.vm,
            memory: &self.memory,
            counters: &self.disturbances,
        }
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

/// What the PEs of one guest share.
struct Running<'a, 'h> {
    guest: &'a Prepared<'h>,
    events: &'a Events<'a>,
    memory: GuestMemory<'a, 'h>,
    seats: Seats<'a>,
}

/// A vCPU as its PE runs it.
type Seat<P> = Mutex<(P, VcpuState)>;

enum Seats<'a> {
    Realm(Vec<Seat<RecPort<'a>>>),
    Normal(Vec<Seat<NormalPort<'a>>>),
}

/// Runs every vCPU of every guest on its PE until all guests have stopped.
fn run_vcpus(guests: &[Prepared<'_>], options: Options) -> Result<(), String> {
    let is_alone = guests.len() == 1;
    let events: Vec<_> = guests
        .iter()
        .map(|guest| {
            let name = (!is_alone).then_some(guest.name);
            Events::new(name, &guest.vm, guest.memory.counters(), guest.pes.start)
        })
        .collect();
    let running: Result<Vec<_>, _> = guests
        .iter()
        .zip(&events)
        .map(|(guest, events)| Running::new(guest, events))
        .collect();
    let running = running?;
    let targets: Vec<_> = guests.iter().map(Prepared::target).collect();
    let vcpus: usize = guests.iter().map(|guest| guest.pes.len()).sum();
    let pes = vcpus + usize::from(disturb::is_wanted(options));
    pe::on_each(pes, &|pe| {
        if pe == vcpus {
            disturb::run(&targets, options);
        }
        for guest in &running {
            if guest.guest.pes.contains(&pe) {
                guest.run(pe - guest.guest.pes.start);
            }
        }
    });
    for (guest, events) in guests.iter().zip(&events) {
        guest.vm.finish_console(events);
        let ended: StopReason = guest
            .vm
            .stopped()
            .ok_or("the vCPUs came back without a reason")?;
        info!("the {} stopped: {ended}", guest.name.noun());
    }
    Ok(())
}

impl<'a, 'h> Running<'a, 'h> {
    fn new(guest: &'a Prepared<'h>, events: &'a Events<'a>) -> Result<Self, String> {
        let host = guest.memory.host();
        let vcpus = guest.pes.len();
        let (recs, seats) = match &guest.vcpus {
            Vcpus::Realm(recs) => {
                let ports: Option<Vec<_>> = (0..vcpus)
                    .map(|vcpu| RecPort::new(host, recs, vcpu, events).map(seat))
                    .collect();
                let ports = ports.ok_or("no memory for the run pages")?;
                (&recs[..], Seats::Realm(ports))
            }
            Vcpus::Normal(cpus) => {
                let ports = (0..vcpus).map(|vcpu| seat(NormalPort::new(cpus, vcpu, events)));
                (&[][..], Seats::Normal(ports.collect()))
            }
        };
        Ok(Self {
            guest,
            events,
            memory: GuestMemory::new(&guest.memory, vcpus, recs),
            seats,
        })
    }

    /// Runs a vCPU on this PE until its guest stops.
    fn run(&self, vcpu: usize) {
        let (vm, memory, events) = (&self.guest.vm, &self.memory, self.events);
        if vcpu == 0 {
            events.start_ticking();
        }
        match &self.seats {
            Seats::Realm(seats) => {
                let (port, state) = &mut *seats[vcpu].lock();
                vm.run_vcpu(vcpu, state, port, memory, events);
            }
            Seats::Normal(seats) => {
                let (port, state) = &mut *seats[vcpu].lock();
                let stage2 = memory.vm().stage2().expect("it was made as a normal VM");
                port.load(stage2);
                vm.run_vcpu(vcpu, state, port, memory, events);
                port.save();
            }
        }
        if vcpu == 0 {
            timer::clear_alarm();
        }
    }
}

fn seat<P>(port: P) -> Seat<P> {
    Mutex::new((port, VcpuState::default()))
}

/// Takes a guest apart; returns how its memory was mapped until then.
fn tear_down(guest: &Prepared<'_>) -> Result<summary::Mapped, String> {
    let mapped = summary::Mapped::of(&guest.memory);
    if let Vcpus::Realm(recs) = &guest.vcpus {
        realm::destroy_recs(&guest.memory, recs)?;
    }
    guest
        .memory
        .destroy()
        .map_err(|e| format!("the {} cannot be destroyed: {e:?}", guest.name.noun()))?;
    Ok(mapped)
}
