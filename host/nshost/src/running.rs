// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The guests while they run: each vCPU on a PE of its own, and one more PE that disturbs them.

use alloc::string::String;
use alloc::vec::Vec;

use host_vmm::bundle::Options;
use spin::Mutex;

use crate::disturb;
use crate::guest::{Events, GuestMemory};
use crate::guests::{Prepared, Vcpus};
use crate::normal::NormalPort;
use crate::realm::RecPort;
use crate::relocate::Relocation;
use crate::{pe, timer};

/// What the PEs of one guest share.
struct Running<'a, 'h> {
    guest: &'a Prepared<'h>,
    events: &'a Events<'a>,
    memory: GuestMemory<'a, 'h>,
    /// How to enter the RECs of a Realm.
    ports: Vec<Mutex<RecPort<'a>>>,
}

/// Runs every vCPU of every guest on its PE until all guests have stopped, or are paused because
/// the one that is relocated is ready.
///
/// # Errors
/// A sentence that says why they cannot run.
pub(crate) fn run(
    guests: &[Prepared<'_>],
    options: Options,
    relocation: Option<&Relocation<'_, '_>>,
) -> Result<(), String> {
    let is_alone = guests.len() == 1;
    let events: Vec<_> = guests
        .iter()
        .map(|guest| {
            let name = (!is_alone).then_some(guest.name);
            Events::new(name, &guest.vm, guest.memory.counters(), &guest.seats)
        })
        .collect();
    let both = || guests.iter().zip(&events);
    let running: Result<Vec<_>, _> = both().map(|(g, e)| Running::new(g, e)).collect();
    let running = running?;
    let targets: Vec<_> = both()
        .map(|(guest, events)| disturb::Target {
            vm: &guest.vm,
            memory: &guest.memory,
            events,
            counters: &guest.disturbances,
        })
        .collect();
    let vcpus: usize = guests.iter().map(|guest| guest.seats.count()).sum();
    let pes = vcpus + usize::from(disturb::is_wanted(options));
    pe::on_each(pes, &|pe| {
        if pe == vcpus {
            disturb::run(&targets, options, relocation);
        }
        for guest in &running {
            if let Some(vcpu) = guest.guest.seats.vcpu_on(pe) {
                guest.run(vcpu);
            }
        }
    });
    for (guest, events) in both().filter(|(guest, _)| guest.vm.stopped().is_some()) {
        guest.vm.finish_console(events);
    }
    Ok(())
}

impl<'a, 'h> Running<'a, 'h> {
    fn new(guest: &'a Prepared<'h>, events: &'a Events<'a>) -> Result<Self, String> {
        let host = guest.memory.host();
        let vcpus = guest.seats.count();
        let recs = match &guest.vcpus {
            Vcpus::Realm(recs) => &recs[..],
            Vcpus::Normal(..) => &[],
        };
        let ports: Option<Vec<_>> = (0..recs.len())
            .map(|vcpu| RecPort::new(host, recs, vcpu, events).map(Mutex::new))
            .collect();
        Ok(Self {
            guest,
            events,
            memory: GuestMemory::new(&guest.memory, vcpus, recs),
            ports: ports.ok_or("no memory for the run pages")?,
        })
    }

    /// Runs a vCPU on this PE until its guest stops or pauses.
    fn run(&self, vcpu: usize) {
        let (vm, memory, events) = (&self.guest.vm, &self.memory, self.events);
        if vcpu == 0 {
            events.start_ticking();
        }
        let state = &mut *self.guest.states[vcpu].lock();
        match &self.guest.vcpus {
            Vcpus::Realm(_) => {
                let port = &mut *self.ports[vcpu].lock();
                vm.run_vcpu(vcpu, state, port, memory, events);
                port.leave();
            }
            Vcpus::Normal(cpus, vcpus) => {
                let registers = &mut *vcpus[vcpu].lock();
                let stage2 = memory.vm().stage2().expect("it was made as a normal VM");
                let mut port = NormalPort::load(cpus, vcpu, registers, stage2, events);
                vm.run_vcpu(vcpu, state, &mut port, memory, events);
            }
        }
        if vcpu == 0 {
            timer::clear_alarm();
        }
    }
}
