// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Exits that a device answers, and the interrupts that follow.

use super::*;

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
fn overflow_interrupt_follows_the_reported_status() {
    let (vm, world) = (realm(1), World::default());
    enable_private(&vm, 0, 1 << 23);
    let mut overflowed = with_reason(ExitReason::Irq);
    overflowed.pmu_ovf_status = 1;
    let port = Port::default()
        .exits(&overflowed)
        .then(|enter, exit| {
            assert_eq!(listed(enter), [23]);
            // The guest has cleared the overflow and ended the interrupt.
            *exit = with_reason(ExitReason::Irq);
            Ok(())
        })
        .then(|enter, exit| {
            assert_eq!(listed(enter), [0; 0]);
            *exit = psci(0x8400_0008, 0);
            Ok(())
        });
    let (reason, _) = run(&vm, &world, port);
    assert_eq!(reason, StopReason::SystemOff);
    assert_eq!(vm.counters().pmu_interrupts.get(), 1);
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
