// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What the run loop of `host-vmm` needs from this image whatever kind of VM it runs: guest memory
//! from `host-mm`, and the host's side of events.

use alloc::format;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use host_mm::addr::PAGE_SIZE;
use host_mm::fault::{Fault, FaultClass, FaultCounters, FaultError};
use host_mm::realm::{Rec, Wanted};
use host_mm::vm::{VcpuMemory, Vm as MemoryVm};
use host_vmm::exits::{self, AccessKind, MemoryFault};
use host_vmm::fdt::{GuestTree, TreeError};
use host_vmm::image::Layout;
use host_vmm::machine::{GuestMap, UART_BASE, VcpuSet};
use host_vmm::vcpu::{Host, HostCallAnswer, MemoryFaults, RipasAnswer};
use host_vmm::virtio::SharedMemory;
use host_vmm::vm::Vm;
use log::{debug, error, info, warn};
use rmi::rec_run::REC_GPRS;
use rmi::{Ipa, Ripas, RipasChange};
use spin::Mutex;

use crate::bundle::LoadedBundle;
use crate::gic::Interrupt;
use crate::machine::Machine;
use crate::pe::Seats;
use crate::{console, cpu, gic, tags, timer};

/// Most characters taken from the console at a time; the guest's FIFO has room for fewer.
const CONSOLE_BYTES: usize = 16;

/// Which of the guests of a run it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    /// The Realm.
    Realm,
    /// The normal VM.
    Normal,
}

impl Name {
    /// Returns what to call it in a sentence.
    pub(crate) fn noun(self) -> &'static str {
        match self {
            Self::Realm => "Realm",
            Self::Normal => "normal VM",
        }
    }

    /// Returns the word in front of what is said about it, where there are two; with a space.
    pub(crate) fn prefix(self) -> &'static str {
        match self {
            Self::Realm => "realm ",
            Self::Normal => "normal ",
        }
    }
}

/// Returns the device tree of a guest. Its command line is the bundle's, with what depends on the
/// kind of guest: where an early console would be, and what the guest is expected to find itself.
///
/// # Errors
/// The command line is not a text, or too long.
pub(crate) fn device_tree(
    map: &GuestMap,
    layout: &Layout,
    bundle: &LoadedBundle,
) -> Result<Vec<u8>, TreeError> {
    let early = map.shared_alias(Ipa::new(UART_BASE)).raw();
    let kind = if map.is_realm() { "realm" } else { "normal" };
    let pmu = u8::from(map.has_pmu());
    let tags = u8::from(!map.is_realm() && tags::are_usable());
    let command_line = format!(
        "{} earlycon=pl011,{early:#x} bailey.vm={kind} bailey.pmu={pmu} bailey.tags={tags}",
        bundle.header.command_line
    );
    let tree = GuestTree {
        map,
        command_line: &command_line,
        initrd: layout.initrd,
        // A run can be repeated exactly; a Realm has its own source of random numbers.
        seed: None,
        has_entropy: cpu::has_random(),
    };
    tree.to_bytes()
}

/// Guest memory, shared by the vCPUs of a VM.
pub(crate) struct GuestMemory<'a, 'h> {
    vm: &'a MemoryVm<'h, Machine>,
    recs: &'a [Rec],
    /// Each vCPU's own pages for tables. Only its own PE takes the lock.
    vcpus: Vec<Mutex<VcpuMemory<'h>>>,
}

impl<'a, 'h> GuestMemory<'a, 'h> {
    /// Returns the memory of `vm` for `vcpus` vCPUs; `recs` are those of a Realm, in order.
    pub(crate) fn new(vm: &'a MemoryVm<'h, Machine>, vcpus: usize, recs: &'a [Rec]) -> Self {
        let vcpus = (0..vcpus).map(|_| Mutex::new(vm.new_vcpu())).collect();
        Self { vm, recs, vcpus }
    }

    /// Returns the VM whose memory it is.
    pub(crate) fn vm(&self) -> &'a MemoryVm<'h, Machine> {
        self.vm
    }
}

impl SharedMemory for GuestMemory<'_, '_> {
    fn read(&self, ipa: Ipa, bytes: &mut [u8]) -> Option<()> {
        self.vm.read(ipa, bytes).ok()
    }

    fn write(&self, ipa: Ipa, bytes: &[u8]) -> Option<()> {
        self.vm.write(ipa, bytes).ok()
    }
}

impl MemoryFaults for GuestMemory<'_, '_> {
    fn handle_fault(&self, vcpu: usize, fault: &MemoryFault) -> Result<(), &'static str> {
        let page = fault.ipa.align_down(PAGE_SIZE);
        let request = Fault {
            ipa: page,
            low_bits: fault.ipa.raw() - page.raw(),
            class: match fault.class {
                exits::FaultClass::Translation => FaultClass::Translation,
                exits::FaultClass::AccessFlag => FaultClass::AccessFlag,
                exits::FaultClass::Permission => FaultClass::Permission,
            },
            write: fault.access == AccessKind::Write,
            fetch: fault.access == AccessKind::Fetch,
            level: i64::from(fault.level),
        };
        let served = self.vm.handle_fault(&mut self.vcpus[vcpu].lock(), &request);
        served.map_err(|reason| {
            debug!("vCPU {vcpu}: fault at IPA {:#x}: {reason}", fault.ipa.raw());
            cause(reason)
        })
    }

    fn change_ripas(&self, vcpu: usize, change: &RipasChange) -> RipasAnswer {
        let wanted = match change.ripas {
            Ripas::Empty => Wanted::Empty,
            Ripas::Ram => Wanted::Ram,
            Ripas::Destroyed => return RipasAnswer::Reject,
        };
        let Some(rec) = self.recs.get(vcpu) else {
            return RipasAnswer::Reject;
        };
        let (base, top) = (change.base, change.top);
        let mut memory = self.vcpus[vcpu].lock();
        match self
            .vm
            .change_ripas(&mut memory, rec.rec, base, top, wanted)
        {
            Ok(reached) if reached > base => RipasAnswer::Accept,
            Ok(_) => RipasAnswer::Reject,
            Err(reason) => {
                let (base, top) = (base.raw(), top.raw());
                error!("vCPU {vcpu}: {base:#x} to {top:#x} does not become {wanted:?}: {reason:?}");
                RipasAnswer::Reject
            }
        }
    }
}

fn cause(reason: FaultError) -> &'static str {
    match reason {
        FaultError::NotMemory => "no memory is there",
        FaultError::Impossible => "the syndrome contradicts itself",
        FaultError::UnexpectedReadPermission => "reading is not allowed",
        FaultError::BadAddress(_) => "nothing usable is behind it",
        FaultError::StillPrivate(_) => "the guest has not shared it",
        FaultError::NotRam(_) => "it is not RAM",
        FaultError::NotExecutable => "a device has no instructions",
        FaultError::OutOfMemory => "the host is out of memory",
        FaultError::Realm(_) => "the RMM gave an unexpected answer",
    }
}

/// The host's side of one VM's events.
pub(crate) struct Events<'a> {
    /// Which guest it is, where there are two.
    name: Option<Name>,
    vm: &'a Vm,
    /// The PEs of the vCPUs.
    seats: &'a Seats,
    faults: &'a FaultCounters,
    /// Faults at the time of the last progress line.
    told: AtomicU64,
}

impl<'a> Events<'a> {
    /// Returns the events of `vm`, whose memory faults are counted in `faults` and whose vCPUs run
    /// where `seats` says. A guest that is not the only one has a name.
    pub(crate) fn new(
        name: Option<Name>,
        vm: &'a Vm,
        faults: &'a FaultCounters,
        seats: &'a Seats,
    ) -> Self {
        Self {
            name,
            vm,
            seats,
            faults,
            told: AtomicU64::new(0),
        }
    }

    /// Handles everything that is pending on this PE.
    pub(crate) fn service(&self) {
        while let Some(interrupt) = gic::acknowledge() {
            match interrupt {
                // What they mean is in the guest's own state, or was to end its run.
                Interrupt::Kick | Interrupt::Maintenance | Interrupt::Guest => (),
                Interrupt::HostTimer => self.tick(),
                Interrupt::Console => self.type_in(),
                Interrupt::Other(intid) => warn!("interrupt {intid} is nobody's"),
            }
        }
    }

    /// Starts the tick of this PE: once a second.
    pub(crate) fn start_ticking(&self) {
        timer::set_alarm(timer::now() + timer::ticks_per_second());
    }

    /// Once a second: says how far the guest is, and prints what it has left half a line of.
    fn tick(&self) {
        self.start_ticking();
        let faults = self.faults.mapped.get();
        if self.told.swap(faults, Ordering::Relaxed) != faults {
            let prefix = self.name.map_or("", Name::prefix);
            info!("progress: {prefix}{faults} faults served");
        }
        self.vm.flush_console(self);
    }

    /// Passes what was typed to the guest; what it has no room for is lost, as on a wire.
    fn type_in(&self) {
        loop {
            let mut bytes = [0; CONSOLE_BYTES];
            let mut count = 0;
            while count < CONSOLE_BYTES
                && let Some(byte) = console::read()
            {
                bytes[count] = byte;
                count += 1;
            }
            if count == 0 {
                return;
            }
            self.vm.type_in(&bytes[..count], self);
        }
    }
}

impl Host for Events<'_> {
    fn kick(&self, vcpus: VcpuSet) {
        vcpus.iter().for_each(|vcpu| self.seats.kick(vcpu));
    }

    fn console_line(&self, line: &str) {
        let tag = match self.name {
            None => "[guest] ",
            Some(Name::Realm) => "[guest-realm] ",
            Some(Name::Normal) => "[guest-normal] ",
        };
        console::guest_line(tag, line);
    }

    fn fill_random(&self, bytes: &mut [u8]) -> Option<()> {
        cpu::fill_random(bytes)
    }

    fn host_call(&self, _vcpu: usize, _imm: u16, _gprs: &mut [u64; REC_GPRS]) -> HostCallAnswer {
        HostCallAnswer::Resume
    }

    fn ticks(&self) -> u64 {
        timer::now()
    }

    fn ticks_per_second(&self) -> u64 {
        timer::ticks_per_second()
    }
}
