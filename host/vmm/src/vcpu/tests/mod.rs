// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The run loop against a guest that is a list of exits.

mod devices;
mod life;
mod memory;
mod power;

use super::*;
use crate::exits::FaultClass;
use crate::machine::GuestMap;
use rmi::{EnterFlags, ExitReason, Ipa, Ripas};
use std::boxed::Box;
use std::collections::VecDeque;
use std::string::{String, ToString};
use std::sync::Mutex;
use std::vec::Vec;

const SHARED: u64 = 0x80_0000_0000;
const LR_PENDING: u64 = 1 << 62;

/// One entry of the guest: what it does, seeing what the host gave it.
type Step<'a> = Box<dyn FnMut(&RecEnter, &mut RecExit) -> Result<(), EnterError> + Send + 'a>;

/// A guest that does its steps and then turns the system off.
#[derive(Default)]
struct Port<'a> {
    steps: VecDeque<Step<'a>>,
    entries: Vec<RecEnter>,
    completions: Vec<(usize, PsciReturn)>,
    completion_error: Option<EnterError>,
    serviced: usize,
    waits: usize,
    on_wait: Option<Box<dyn FnMut() + Send>>,
}

impl<'a> Port<'a> {
    fn then(
        mut self,
        step: impl FnMut(&RecEnter, &mut RecExit) -> Result<(), EnterError> + Send + 'a,
    ) -> Self {
        self.steps.push_back(Box::new(step));
        self
    }

    fn exits(self, exit: &RecExit) -> Self {
        let exit = exit.clone();
        self.then(move |_, out| {
            *out = exit.clone();
            Ok(())
        })
    }

    fn refuses(self, error: EnterError) -> Self {
        self.then(move |_, _| Err(error))
    }

    fn flags(&self, entry: usize) -> EnterFlags {
        self.entries[entry].enter_flags()
    }
}

impl VcpuPort for Port<'_> {
    fn enter(&mut self, enter: &RecEnter, exit: &mut RecExit) -> Result<(), EnterError> {
        self.entries.push(enter.clone());
        match self.steps.pop_front() {
            Some(mut step) => step(enter, exit),
            None => {
                *exit = psci(0x8400_0008, 0);
                Ok(())
            }
        }
    }

    fn complete_psci(&mut self, target: usize, status: PsciReturn) -> Result<(), EnterError> {
        self.completions.push((target, status));
        self.completion_error.map_or(Ok(()), Err)
    }

    fn service_interrupts(&mut self) {
        self.serviced += 1;
    }

    fn wait_for_interrupt(&mut self) {
        self.waits += 1;
        if let Some(on_wait) = &mut self.on_wait {
            on_wait();
        }
        std::thread::yield_now();
    }
}

/// Memory and host of the tests: records what it was asked.
#[derive(Default)]
struct World {
    faults: Mutex<Vec<MemoryFault>>,
    fault_error: Option<&'static str>,
    changes: Mutex<Vec<RipasChange>>,
    rejects_changes: bool,
    kicks: Mutex<Vec<VcpuSet>>,
    lines: Mutex<Vec<String>>,
}

impl SharedMemory for World {
    fn read(&self, _ipa: Ipa, _bytes: &mut [u8]) -> Option<()> {
        None
    }

    fn write(&self, _ipa: Ipa, _bytes: &[u8]) -> Option<()> {
        None
    }
}

impl MemoryFaults for World {
    fn handle_fault(&self, _vcpu: usize, fault: &MemoryFault) -> Result<(), &'static str> {
        self.faults.lock().unwrap().push(*fault);
        self.fault_error.map_or(Ok(()), Err)
    }

    fn change_ripas(&self, _vcpu: usize, change: &RipasChange) -> RipasAnswer {
        self.changes.lock().unwrap().push(*change);
        if self.rejects_changes {
            RipasAnswer::Reject
        } else {
            RipasAnswer::Accept
        }
    }
}

impl Host for World {
    fn kick(&self, vcpus: VcpuSet) {
        self.kicks.lock().unwrap().push(vcpus);
    }

    fn console_line(&self, line: &str) {
        self.lines.lock().unwrap().push(line.to_string());
    }

    fn fill_random(&self, _bytes: &mut [u8]) -> Option<()> {
        None
    }

    fn host_call(&self, vcpu: usize, imm: u16, gprs: &mut [u64; REC_GPRS]) -> HostCallAnswer {
        match imm {
            1 => {
                gprs[0] += 1;
                HostCallAnswer::Resume
            }
            2 => HostCallAnswer::Stop,
            _ => {
                assert_eq!(vcpu, 0);
                HostCallAnswer::Resume
            }
        }
    }

    fn ticks(&self) -> u64 {
        0
    }

    fn ticks_per_second(&self) -> u64 {
        1000
    }
}

fn realm(vcpus: usize) -> Vm {
    Vm::new(GuestMap::realm(40, vcpus, 0x1000_0000).unwrap(), 4)
}

fn normal_vm(vcpus: usize) -> Vm {
    Vm::new(GuestMap::normal(40, vcpus, 0x1000_0000).unwrap(), 4)
}

fn run<'a>(vm: &Vm, world: &World, port: Port<'a>) -> (StopReason, Port<'a>) {
    let mut port = port;
    let state = &mut VcpuState::default();
    let reason = vm.run_vcpu(0, state, &mut port, world, world);
    (reason.expect("nobody pauses it"), port)
}

fn with_reason(reason: ExitReason) -> RecExit {
    let mut exit = RecExit::default();
    exit.exit_reason = reason.code();
    exit
}

fn psci(fid: u64, target: u64) -> RecExit {
    let mut exit = with_reason(ExitReason::Psci);
    exit.gprs[0] = fid;
    exit.gprs[1] = target;
    exit
}

fn sync(esr: u64, ipa: u64) -> RecExit {
    let mut exit = with_reason(ExitReason::Sync);
    exit.esr = esr;
    exit.hpfar = RecExit::hpfar_of(Ipa::new(ipa));
    exit.far = ipa & 0xFFF;
    exit
}

/// A described data access of four bytes that nothing maps.
fn load(ipa: u64) -> RecExit {
    sync(0x24 << 26 | 1 << 24 | 2 << 22 | 0x07, ipa)
}

fn store(ipa: u64, value: u64) -> RecExit {
    let mut exit = sync(0x24 << 26 | 1 << 24 | 2 << 22 | 1 << 6 | 0x07, ipa);
    exit.gprs[0] = value;
    exit
}

/// An access to a Realm's own memory.
fn own_access(ipa: u64) -> RecExit {
    sync(0x24 << 26 | 0x07, ipa & !0xFFF)
}

/// Group 1 on, and private interrupts of a vCPU enabled in it.
fn enable_private(vm: &Vm, vcpu: usize, bits: u64) {
    vm.gic().write_distributor(0, 4, 0b10);
    vm.gic()
        .write_redistributor(vcpu, 0x1_0080, 4, u64::from(u32::MAX));
    vm.gic().write_redistributor(vcpu, 0x1_0100, 4, bits);
}

fn listed(enter: &RecEnter) -> Vec<u32> {
    enter
        .gicv3_lrs
        .iter()
        .filter(|word| **word != 0)
        .map(|word| *word as u32)
        .collect()
}
