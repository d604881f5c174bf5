// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! How a VM pauses, goes on elsewhere and ends.

use super::*;

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

/// A guest is paused in the middle of everything and goes on in another VM.
#[test]
fn paused_guest_goes_on_in_another_vm() {
    let (vm, world) = (normal_vm(2), World::default());
    enable_private(&vm, 0, 1 << 3 | 1 << 27);
    vm.power().turn_on(1);
    let uart = |value| store(0x0900_0000, value);
    // Half a line, an interrupt that is listed and one that is not, and a read to be answered.
    let mut timer = uart(u64::from(b'a'));
    timer.cntv_ctl = 0b101;
    let mut port = Port::default().exits(&timer).exits(&uart(u64::from(b'b')));
    let source = &vm;
    port = port.then(move |enter, out| {
        source.pause(&World::default());
        *out = load(0x0800_FFE8);
        out.cntv_ctl = 0b101;
        out.gicv3_lrs = enter.gicv3_lrs;
        Ok(())
    });
    let state = &mut VcpuState::default();
    assert_eq!(vm.run_vcpu(0, state, &mut port, &world, &world), None);
    vm.gic()
        .send_sgi(1, crate::gic::SgiRegister::Group1, 1 | 3 << 24);
    let mut state = state.clone();
    let copy = vm.continued();
    assert!(!copy.is_paused() && copy.stopped().is_none());
    assert!(copy.power().is_on(0) && copy.power().is_on(1));
    // What happens to the source from now on does not matter.
    vm.gic().write_distributor(0, 4, 0);
    vm.stop(StopReason::SystemReset, &world);
    let mut port = Port::default().exits(&uart(u64::from(b'\n')));
    let reason = copy.run_vcpu(0, &mut state, &mut port, &world, &world);
    assert_eq!(reason, Some(StopReason::SystemOff));
    assert_eq!(port.flags(0), EnterFlags::EMUL_MMIO);
    assert_eq!(port.entries[0].gprs[0], 0x3B);
    assert_eq!(listed(&port.entries[0]), [3, 27]);
    assert_eq!(*world.lines.lock().unwrap(), ["ab"]);
    assert_eq!(vm.stopped(), Some(StopReason::SystemReset));
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
