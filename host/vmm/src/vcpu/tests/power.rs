// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! vCPUs turned on and off.

use super::*;

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
