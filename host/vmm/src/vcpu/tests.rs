// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The run loop against a guest that is a list of exits.

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

#[test]
fn mmio_read_is_completed_with_the_answer() {
    let (vm, world) = (realm(2), World::default());
    let port = Port::default()
        .exits(&load(SHARED | 0x0800_FFE8))
        .exits(&load(SHARED | 0x080C_0008));
    let (reason, port) = run(&vm, &world, port);
    assert_eq!(reason, StopReason::SystemOff);
    assert_eq!(port.flags(0), EnterFlags::empty());
    assert_eq!(port.flags(1), EnterFlags::EMUL_MMIO);
    assert_eq!(port.entries[1].gprs[0], 0x3B);
    assert_eq!(
        port.entries[2].gprs[0],
        1 << 8 | 1 << 4,
        "the last redistributor"
    );
    assert!(world.faults.lock().unwrap().is_empty());
}

#[test]
fn mmio_read_answers_no_more_than_its_size() {
    let (vm, world) = (realm(2), World::default());
    // ldrb of GICD_TYPER, of which the other bytes are not zero.
    let mut byte = load(SHARED | 0x0800_0004);
    byte.esr &= !(3 << 22);
    let (_, port) = run(&vm, &world, Port::default().exits(&byte));
    assert_eq!(port.entries[1].gprs[0], 0x02);
    assert_eq!(port.flags(1), EnterFlags::EMUL_MMIO);
}

#[test]
fn console_prints_lines_and_decisions_are_forgotten() {
    let (vm, world) = (realm(1), World::default());
    let mut port = Port::default();
    for byte in *b"hi\nyou" {
        port = port.exits(&store(SHARED | 0x0900_0000, u64::from(byte)));
    }
    let (_, port) = run(&vm, &world, port.exits(&with_reason(ExitReason::Irq)));
    assert_eq!(port.flags(6), EnterFlags::EMUL_MMIO);
    assert_eq!(
        port.flags(7),
        EnterFlags::empty(),
        "an interrupt completes nothing"
    );
    assert_eq!(port.serviced, 1);
    assert_eq!(*world.lines.lock().unwrap(), ["hi"]);
    vm.finish_console(&world);
    assert_eq!(*world.lines.lock().unwrap(), ["hi", "you"]);
}

#[test]
fn faults_on_memory_go_to_the_handler_and_are_retried() {
    let (vm, world) = (realm(1), World::default());
    let fetch = sync(0x20 << 26 | 0x06, 0x8000_3000);
    let port = Port::default()
        .exits(&own_access(0x8123_4000))
        .exits(&fetch)
        .exits(&store(SHARED | 0x8000_5678, 1));
    let (_, port) = run(&vm, &world, port);
    let faults = world.faults.lock().unwrap();
    let expected = [
        (0x8123_4000, AccessKind::Read, 3),
        (0x8000_3000, AccessKind::Fetch, 2),
        (SHARED | 0x8000_5678, AccessKind::Write, 3),
    ];
    for (fault, (ipa, access, level)) in faults.iter().zip(expected) {
        let ipa = Ipa::new(ipa);
        let class = FaultClass::Translation;
        assert_eq!(
            *fault,
            MemoryFault {
                ipa,
                access,
                class,
                level
            }
        );
    }
    assert_eq!(faults.len(), 3);
    assert!((1..4).all(|entry| port.flags(entry).is_empty()));
    assert_eq!(vm.counters().memory_faults.get(), 3);
}

#[test]
fn unserved_fault_ends_a_realm_or_fails_a_shared_access() {
    let world = World {
        fault_error: Some("no memory"),
        ..World::default()
    };
    let vm = realm(1);
    let port = Port::default()
        .exits(&store(SHARED | 0x8000_5678, 1))
        .exits(&own_access(0x8000_0000));
    let (reason, port) = run(&vm, &world, port);
    assert_eq!(port.flags(1), EnterFlags::INJECT_SEA);
    let fault = StopReason::Fault {
        ipa: Ipa::new(0x8000_0000),
        cause: "no memory",
    };
    assert_eq!(reason, fault);
}

#[test]
fn access_to_nothing_fails_for_the_guest() {
    let (vm, world) = (realm(1), World::default());
    let undescribed = sync(0x24 << 26 | 0x07, SHARED | 0x0900_0000);
    let port = Port::default()
        .exits(&load(SHARED | 0x0B00_0000))
        .exits(&undescribed);
    let (_, port) = run(&vm, &world, port);
    assert_eq!(port.flags(1), EnterFlags::INJECT_SEA);
    assert_eq!(port.flags(2), EnterFlags::INJECT_SEA);
    assert_eq!(vm.counters().hole_accesses.get(), 2);
    let vm = normal_vm(1);
    let (_, port) = run(&vm, &world, Port::default().exits(&load(0x0B00_0000)));
    assert_eq!(port.flags(1), EnterFlags::INJECT_SEA);
}

#[test]
fn fetch_that_a_normal_vm_may_not_make_fails_for_it() {
    let world = World {
        fault_error: Some("a device has no instructions"),
        ..World::default()
    };
    let vm = normal_vm(1);
    let fetch = sync(0x20 << 26 | 0x07, 0x8000_3000);
    let (reason, port) = run(&vm, &world, Port::default().exits(&fetch));
    assert_eq!(port.flags(1), EnterFlags::INJECT_SEA);
    assert_eq!(reason, StopReason::SystemOff);
    // A Realm's fetch is its own affair, and the host may not make it fail.
    let shared = sync(0x20 << 26 | 0x07, SHARED | 0x8000_3000);
    let (reason, _) = run(&realm(1), &world, Port::default().exits(&shared));
    assert!(matches!(reason, StopReason::Fault { .. }));
}

#[test]
fn pause_keeps_what_is_due_at_the_next_entry() {
    let (vm, world) = (normal_vm(1), World::default());
    let mut port = Port::default().exits(&load(0x0800_FFE8));
    let state = &mut VcpuState::default();
    vm.pause(&world);
    assert_eq!(vm.run_vcpu(0, state, &mut port, &world, &world), None);
    assert!(port.entries.is_empty(), "it does not even begin");
    assert_eq!(*world.kicks.lock().unwrap(), [VcpuSet::first(1)]);
    vm.resume();
    // The device access ends the first entry; the pause comes before the second.
    let vm = &vm;
    port = port.then(move |_, out| {
        vm.pause(&World::default());
        *out = load(0x0800_FFE8);
        Ok(())
    });
    assert_eq!(vm.run_vcpu(0, state, &mut port, &world, &world), None);
    assert_eq!(port.entries.len(), 2);
    vm.resume();
    let reason = vm.run_vcpu(0, state, &mut port, &world, &world);
    assert_eq!(reason, Some(StopReason::SystemOff));
    assert_eq!(port.flags(2), EnterFlags::EMUL_MMIO);
    assert_eq!(port.entries[2].gprs[0], 0x3B);
}

#[test]
fn normal_vm_uses_plain_addresses() {
    let (vm, world) = (normal_vm(1), World::default());
    let port = Port::default()
        .exits(&load(0x0800_FFE8))
        .exits(&store(0x8000_1230, 1))
        .exits(&store(0x0900_0000, u64::from(b'\n')));
    let (_, port) = run(&vm, &world, port);
    assert_eq!(port.entries[1].gprs[0], 0x3B);
    assert_eq!(port.flags(2), EnterFlags::empty());
    assert_eq!(world.faults.lock().unwrap()[0].ipa, Ipa::new(0x8000_1230));
    assert_eq!(*world.lines.lock().unwrap(), [""]);
}

#[test]
fn timer_interrupt_follows_the_reported_line() {
    let (vm, world) = (realm(1), World::default());
    enable_private(&vm, 0, 1 << 27 | 1 << 30);
    let reporting = |virtual_control: u64, physical_control: u64| {
        let mut exit = with_reason(ExitReason::Irq);
        exit.cntv_ctl = virtual_control;
        exit.cntp_ctl = physical_control;
        exit
    };
    let both = reporting(0b101, 0b101);
    let masked = reporting(0b111, 0b001);
    let port = Port::default()
        .exits(&both)
        .then(move |enter, exit| {
            assert_eq!(listed(enter), [27, 30]);
            // The guest takes the virtual one and the timer still holds its line.
            *exit = both.clone();
            exit.gicv3_lrs = enter.gicv3_lrs;
            exit.gicv3_lrs[0] = enter.gicv3_lrs[0] & !LR_PENDING | 1 << 63;
            Ok(())
        })
        .then(move |enter, exit| {
            assert_eq!(enter.gicv3_lrs[0] & (LR_PENDING | 1 << 63), 1 << 63);
            // It ends the interrupt with the timer masked: nothing comes back.
            *exit = masked.clone();
            exit.gicv3_lrs = enter.gicv3_lrs;
            exit.gicv3_lrs[0] = 0;
            Ok(())
        })
        .then(|enter, exit| {
            assert_eq!(listed(enter), [0; 0]);
            *exit = psci(0x8400_0008, 0);
            Ok(())
        });
    let (reason, _) = run(&vm, &world, port);
    assert_eq!(reason, StopReason::SystemOff);
    assert_eq!(vm.counters().virtual_timer_interrupts.get(), 1);
    assert_eq!(vm.counters().physical_timer_interrupts.get(), 1);
}

#[test]
fn sgi_is_sent_and_the_target_kicked() {
    let (vm, world) = (realm(3), World::default());
    enable_private(&vm, 1, 0xFFFF);
    // msr ICC_SGI1R_EL1: SGI 4 to vCPUs 0 and 1.
    let mut exit = sync(0x623A_30B6, 0);
    exit.gprs[0] = 4 << 24 | 0b11;
    let (_, port) = run(&vm, &world, Port::default().exits(&exit));
    assert_eq!(port.flags(1), EnterFlags::empty());
    assert_eq!(
        world.kicks.lock().unwrap()[0],
        VcpuSet::only(1),
        "not the sender itself"
    );
    assert_eq!(
        vm.gic().flush(1).words[0] & 0x4000_0000_0000_FFFF,
        LR_PENDING | 4
    );
    assert_eq!(vm.counters().sgis.get(), 1);
}

#[test]
fn refused_entry_loses_no_interrupt() {
    let (vm, world) = (realm(2), World::default());
    enable_private(&vm, 0, 0xFFFF);
    vm.gic().send_sgi(1, crate::gic::SgiRegister::Group1, 1);
    let error = EnterError::Rmi(RmiError::Input);
    let (reason, _) = run(&vm, &world, Port::default().refuses(error));
    assert_eq!(reason, StopReason::Entry(error));
    assert_ne!(vm.gic().flush(0).words[0] & LR_PENDING, 0);
}

#[test]
fn cpu_on_completes_then_wakes_the_target() {
    for (fid, vcpu) in [(0xC400_0003, 1), (0x8400_0003, 2)] {
        let (vm, world) = (realm(3), World::default());
        let (reason, port) = run(&vm, &world, Port::default().exits(&psci(fid, vcpu)));
        assert_eq!(reason, StopReason::SystemOff);
        let vcpu = vcpu as usize;
        assert_eq!(port.completions, [(vcpu, PsciReturn::Success)]);
        assert!(vm.power().is_on(vcpu));
        assert_eq!(world.kicks.lock().unwrap()[0], VcpuSet::only(vcpu));
    }
}

#[test]
fn affinity_info_completes_and_wakes_nobody() {
    let (vm, world) = (realm(2), World::default());
    let (_, port) = run(&vm, &world, Port::default().exits(&psci(0xC400_0004, 1)));
    assert_eq!(port.completions, [(1, PsciReturn::Success)]);
    assert!(!vm.power().is_on(1));
    assert_eq!(
        world.kicks.lock().unwrap().len(),
        1,
        "only the end of the VM"
    );
}

#[test]
fn psci_completion_that_cannot_be_ends_the_vm() {
    let (vm, world) = (realm(2), World::default());
    let (reason, port) = run(&vm, &world, Port::default().exits(&psci(0xC400_0003, 2)));
    assert_eq!(
        reason,
        StopReason::PsciCompletion {
            target: 2,
            error: None
        }
    );
    assert!(port.completions.is_empty());
    let vm = realm(2);
    let error = Some(EnterError::Rmi(RmiError::Input));
    let port = Port {
        completion_error: error,
        ..Port::default()
    };
    let (reason, _) = run(&vm, &world, port.exits(&psci(0xC400_0003, 1)));
    assert_eq!(reason, StopReason::PsciCompletion { target: 1, error });
    assert!(!vm.power().is_on(1));
}

#[test]
fn cpu_suspend_goes_on_and_reset_ends() {
    let (vm, world) = (realm(1), World::default());
    let port = Port::default()
        .exits(&psci(0xC400_0001, 0))
        .exits(&psci(0x8400_0009, 0));
    let (reason, port) = run(&vm, &world, port);
    assert_eq!(reason, StopReason::SystemReset);
    assert!(!reason.is_orderly());
    assert_eq!(port.entries.len(), 2);
    assert_eq!(port.waits, 0);
}

#[test]
fn vcpu_that_is_off_waits_until_it_is_turned_on() {
    let vm: &'static Vm = Box::leak(Box::new(realm(2)));
    let world = World::default();
    let on_wait: Box<dyn FnMut() + Send> = Box::new(|| {
        vm.power().turn_on(0);
    });
    let port = Port {
        on_wait: Some(on_wait),
        ..Port::default()
    };
    let (reason, port) = run(vm, &world, port.exits(&psci(0x8400_0002, 0)));
    assert_eq!(reason, StopReason::SystemOff);
    assert_eq!(port.waits, 1);
    assert_eq!(port.entries.len(), 2);
}

#[test]
fn stale_request_costs_one_refused_entry() {
    let vm: &'static Vm = Box::leak(Box::new(realm(2)));
    let world = World::default();
    // Another vCPU's CPU_ON found this one on already.
    vm.power().turn_on(0);
    let on_wait: Box<dyn FnMut() + Send> = Box::new(|| {
        vm.power().turn_on(0);
    });
    let port = Port {
        on_wait: Some(on_wait),
        ..Port::default()
    };
    let port = port
        .exits(&psci(0x8400_0002, 0))
        .refuses(EnterError::Rmi(RmiError::Rec));
    let (reason, port) = run(vm, &world, port);
    assert_eq!(reason, StopReason::SystemOff);
    assert_eq!(port.waits, 1);
    assert_eq!(port.entries.len(), 3);
}

#[test]
fn refusal_without_a_cause_ends_the_vm() {
    let (vm, world) = (realm(1), World::default());
    let error = EnterError::Rmi(RmiError::Rec);
    let (reason, _) = run(&vm, &world, Port::default().refuses(error));
    assert_eq!(reason, StopReason::Entry(error));
    let vm = realm(1);
    let off = EnterError::Rmi(RmiError::Realm(1));
    let (reason, _) = run(&vm, &world, Port::default().refuses(off));
    assert_eq!(reason, StopReason::SystemOff);
    let vm = realm(1);
    let new = EnterError::Rmi(RmiError::Realm(0));
    let (reason, _) = run(&vm, &world, Port::default().refuses(new));
    assert_eq!(reason, StopReason::Entry(new));
}

#[test]
fn ripas_change_is_asked_and_answered() {
    let mut exit = with_reason(ExitReason::RipasChange);
    (exit.ripas_base, exit.ripas_top, exit.ripas_value) = (0x8000_0000, 0x9000_0000, 1);
    for rejects_changes in [false, true] {
        let (vm, world) = (
            realm(1),
            World {
                rejects_changes,
                ..World::default()
            },
        );
        let (_, port) = run(&vm, &world, Port::default().exits(&exit));
        assert_eq!(
            port.flags(1).contains(EnterFlags::RIPAS_REJECT),
            rejects_changes
        );
        let change = RipasChange {
            base: Ipa::new(0x8000_0000),
            top: Ipa::new(0x9000_0000),
            ripas: Ripas::Ram,
        };
        assert_eq!(*world.changes.lock().unwrap(), [change]);
    }
}

#[test]
fn host_call_returns_registers() {
    let (vm, world) = (realm(1), World::default());
    let call = |imm: u16| {
        let mut exit = with_reason(ExitReason::HostCall);
        exit.imm = imm;
        exit.gprs[0] = 41;
        exit.gprs[30] = 7;
        exit
    };
    let port = Port::default()
        .exits(&call(1))
        .exits(&call(99))
        .exits(&call(2));
    let (reason, port) = run(&vm, &world, port);
    assert_eq!((port.entries[1].gprs[0], port.entries[1].gprs[30]), (42, 7));
    assert_eq!(
        port.entries[2].gprs[0], 41,
        "a call without a meaning changes nothing"
    );
    assert_eq!(reason, StopReason::HostCall(2));
}

#[test]
fn unknown_exits_end_the_vm_with_their_reason() {
    let world = World::default();
    let mut unknown = RecExit::default();
    (unknown.exit_reason, unknown.esr) = (9, 0x55);
    let (reason, _) = run(&realm(1), &world, Port::default().exits(&unknown));
    assert_eq!(reason, StopReason::UnknownExit { code: 9, esr: 0x55 });
    let external = sync(0x24 << 26 | 0x10, 0);
    let (reason, _) = run(&realm(1), &world, Port::default().exits(&external));
    assert_eq!(reason, StopReason::ExternalAbort(0x24 << 26 | 0x10));
    let serror = with_reason(ExitReason::Serror);
    let vm = realm(1);
    let (reason, _) = run(&vm, &world, Port::default().exits(&serror));
    assert_eq!(
        reason,
        StopReason::SystemOff,
        "reported, and the guest goes on"
    );
    assert_eq!(vm.counters().serrors.get(), 1);
}

#[test]
fn stop_reaches_every_vcpu_and_the_first_reason_counts() {
    let (vm, world) = (realm(2), World::default());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Waits to be turned on, which never happens.
            let mut port = Port::default();
            let state = &mut VcpuState::default();
            let reason = vm.run_vcpu(1, state, &mut port, &world, &world);
            assert_eq!(reason, Some(StopReason::SystemOff));
            assert!(port.entries.is_empty());
        });
        let (reason, _) = run(&vm, &world, Port::default());
        assert_eq!(reason, StopReason::SystemOff);
    });
    assert_eq!(*world.kicks.lock().unwrap(), [VcpuSet::first(2)]);
    assert_eq!(
        vm.stop(StopReason::SystemReset, &world),
        StopReason::SystemOff
    );
}

#[test]
fn typed_bytes_interrupt_the_guest() {
    let (vm, world) = (realm(1), World::default());
    let gic = vm.gic();
    gic.write_distributor(0x84, 4, 0b10);
    gic.write_distributor(0x104, 4, 0b10);
    gic.write_distributor(0, 4, 0b10);
    let uart = |offset: u64, value: u64| store(SHARED | 0x0900_0000 | offset, value);
    let port = Port::default()
        .exits(&uart(0x30, 0x301))
        .exits(&uart(0x38, 0x50));
    let (_, _) = run(&vm, &world, port);
    assert_eq!(vm.type_in(b"x", &world), 1);
    assert_eq!(world.kicks.lock().unwrap().last(), Some(&VcpuSet::only(0)));
    assert_eq!(vm.gic().flush(0).words[0] & 0xFFFF_FFFF, 33);
}

#[test]
fn reasons_read_as_sentences() {
    let fault = StopReason::Fault {
        ipa: Ipa::new(0x1000),
        cause: "nothing is there",
    };
    assert_eq!(
        fault.to_string(),
        "memory fault at IPA 0x1000: nothing is there"
    );
    let exit = StopReason::UnknownExit { code: 0, esr: 0x10 };
    assert_eq!(exit.to_string(), "unknown exit: reason 0, syndrome 0x10");
    assert!(StopReason::SystemOff.is_orderly());
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
