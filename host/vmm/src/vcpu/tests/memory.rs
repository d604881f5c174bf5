// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Exits about memory, and calls to the host.

use super::*;

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
