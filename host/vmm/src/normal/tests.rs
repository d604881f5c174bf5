// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Traps of a normal vCPU, one by one.

use super::*;
use crate::exits::{Exit, Mmio, MmioOperation, SystemRegister};
use crate::gic::SgiRegister;
use crate::machine::{GuestMap, RAM_BASE};
use rmi::Ipa;
use rmi::psci::PsciReturn;

const PC: u64 = 0x8000_1000;

struct Vcpu {
    cpus: Cpus,
    registers: Registers,
    exit: RecExit,
}

impl Vcpu {
    fn new() -> Self {
        let start = Start {
            pc: RAM_BASE,
            argument: 0,
        };
        let registers = Registers {
            gprs: core::array::from_fn(|n| 0x1111_1111_1111_1111 * (n as u64 % 15 + 1)),
            pc: PC,
            ..Registers::default()
        };
        Self {
            cpus: Cpus::new(GuestMap::normal(40, 2, 0x1000_0000).unwrap(), start),
            registers,
            exit: RecExit::default(),
        }
    }

    fn trap(&mut self, trap: &Trap) -> Next {
        let id = |register: IdRegister| 0x1000 + u64::from(register.op2);
        handle(trap, &mut self.registers, &self.cpus, 0, id, &mut self.exit)
    }

    fn sync(&mut self, esr: u64) -> Next {
        self.trap(&Trap {
            esr,
            ..Trap::default()
        })
    }

    fn abort(&mut self, esr: u64, ipa: u64) -> Next {
        self.trap(&Trap {
            kind: TrapKind::Synchronous,
            esr,
            far: 0xFFFF_0000_0000_0000 | ipa & 0xFFF,
            hpfar: RecExit::hpfar_of(Ipa::new(ipa)),
        })
    }
}

/// `str w5, [..]` and `ldrsh x9, [..]` on an unmapped address.
const STORE_W5: u64 = 0x9385_0047;
const LOAD_X9: u64 = 0x24 << 26 | 1 << 25 | 1 << 24 | 1 << 22 | 1 << 21 | 9 << 16 | 1 << 15 | 7;

#[test]
fn interrupts_are_exits_and_change_nothing() {
    for (kind, reason) in [
        (TrapKind::Irq, ExitReason::Irq),
        (TrapKind::Fiq, ExitReason::Fiq),
        (TrapKind::Serror, ExitReason::Serror),
    ] {
        let mut vcpu = Vcpu::new();
        let before = vcpu.registers.clone();
        let trap = Trap {
            kind,
            esr: 0xBE00_0011,
            ..Trap::default()
        };
        assert_eq!(vcpu.trap(&trap), Next::Exit);
        assert_eq!(vcpu.exit.reason(), Some(reason));
        assert_eq!(vcpu.exit.esr, 0xBE00_0011);
        assert_eq!(vcpu.registers, before);
    }
}

#[test]
fn device_store_reports_its_register_and_goes_on_behind_it() {
    let mut vcpu = Vcpu::new();
    vcpu.registers.gprs[5] = 0xAAAA_BBBB_CCCC_DDDD;
    assert_eq!(vcpu.abort(STORE_W5, 0x0900_0000), Next::Exit);
    let Exit::DataAbort(fault, Some(mmio)) = Exit::decode(&vcpu.exit) else {
        panic!("not an access");
    };
    assert_eq!(fault.ipa, Ipa::new(0x0900_0000));
    let expected = Mmio {
        ipa: Ipa::new(0x0900_0000),
        size_bytes: 4,
        operation: MmioOperation::Write(0xCCCC_DDDD),
    };
    assert_eq!(mmio, expected);
    assert_eq!(vcpu.registers.pc, PC, "not before it is done");
    let mut enter = RecEnter::default();
    enter.complete_mmio_write();
    assert_eq!(complete(&enter, &vcpu.exit, &mut vcpu.registers), None);
    assert_eq!(vcpu.registers.pc, PC + 4);
}

#[test]
fn device_load_fills_its_register() {
    let mut vcpu = Vcpu::new();
    assert_eq!(vcpu.abort(LOAD_X9, 0x0900_0018), Next::Exit);
    let mut enter = RecEnter::default();
    enter.complete_mmio_read(0x8001);
    assert_eq!(complete(&enter, &vcpu.exit, &mut vcpu.registers), None);
    assert_eq!(vcpu.registers.gprs[9], 0xFFFF_FFFF_FFFF_8001);
    assert_eq!(vcpu.registers.pc, PC + 4);
}

#[test]
fn register_31_is_zero_and_takes_nothing() {
    let mut vcpu = Vcpu::new();
    let before = vcpu.registers.gprs;
    let store = STORE_W5 | 31 << 16;
    assert_eq!(vcpu.abort(store, 0x0900_0000), Next::Exit);
    assert_eq!(vcpu.exit.gprs[0], 0);
    let load = LOAD_X9 | 31 << 16;
    assert_eq!(vcpu.abort(load, 0x0900_0000), Next::Exit);
    let mut enter = RecEnter::default();
    enter.complete_mmio_read(5);
    complete(&enter, &vcpu.exit, &mut vcpu.registers);
    assert_eq!(vcpu.registers.gprs, before);
}

#[test]
fn memory_fault_is_retried() {
    let mut vcpu = Vcpu::new();
    assert_eq!(vcpu.abort(0x24 << 26 | 1 << 6 | 0x0F, RAM_BASE), Next::Exit);
    let before = vcpu.registers.clone();
    let enter = RecEnter::default();
    assert_eq!(complete(&enter, &vcpu.exit, &mut vcpu.registers), None);
    assert_eq!(vcpu.registers, before);
}

#[test]
fn refused_access_is_an_external_abort() {
    let mut vcpu = Vcpu::new();
    vcpu.abort(LOAD_X9, 0x1234);
    let mut enter = RecEnter::default();
    enter.inject_sea();
    let injected = complete(&enter, &vcpu.exit, &mut vcpu.registers);
    let exception = injected
        .unwrap()
        .take(&mut vcpu.registers, &Vectors::default());
    assert_eq!((exception.elr, exception.esr), (PC, 0x9600_0010));
    assert_eq!(exception.far, Some(0xFFFF_0000_0000_0234));
}

#[test]
fn smc_is_answered_behind_the_instruction() {
    let mut vcpu = Vcpu::new();
    vcpu.registers.gprs[0] = 0x8400_0000;
    assert_eq!(vcpu.sync(0x17 << 26), Next::Resume);
    assert_eq!(vcpu.registers.gprs[0], 0x1_0001);
    assert_eq!(vcpu.registers.pc, PC + 4);
    assert_eq!(vcpu.sync(0x16 << 26), Next::Resume);
    assert_eq!(vcpu.registers.gprs[0], u64::MAX, "no hypervisor calls");
    assert_eq!(vcpu.registers.pc, PC + 4, "an HVC is already behind itself");
}

#[test]
fn cpu_on_is_completed_by_the_run_loop() {
    let mut vcpu = Vcpu::new();
    vcpu.registers.gprs[..4].copy_from_slice(&[0xC400_0003, 1, RAM_BASE + 0x2000, 9]);
    assert_eq!(vcpu.sync(0x17 << 26), Next::Exit);
    assert_eq!(vcpu.exit.reason(), Some(ExitReason::Psci));
    assert_eq!(
        vcpu.exit.psci_call(),
        [0xC400_0003, 1, RAM_BASE + 0x2000, 9]
    );
    vcpu.cpus
        .complete(1, &mut vcpu.registers, PsciReturn::Success);
    assert_eq!(vcpu.registers.gprs[0], 0);
    let start = Start {
        pc: RAM_BASE + 0x2000,
        argument: 9,
    };
    assert_eq!(vcpu.cpus.arrive(1), Arrival::Start(start));
}

#[test]
fn suspend_comes_back_with_success() {
    let mut vcpu = Vcpu::new();
    vcpu.registers.gprs[0] = 0xC400_0001;
    assert_eq!(vcpu.sync(0x17 << 26), Next::Exit);
    assert_eq!(vcpu.registers.gprs[0], 0);
    assert_eq!(vcpu.registers.pc, PC + 4);
}

#[test]
fn id_register_is_read_with_its_limits() {
    let mut vcpu = Vcpu::new();
    // mrs x5, ID_AA64ISAR1_EL1: Op2 1, CRm 6.
    assert_eq!(vcpu.sync(0x6232_00AD), Next::Resume);
    assert_eq!(vcpu.registers.gprs[5], 0x1001);
    assert_eq!(vcpu.registers.pc, PC + 4);
}

#[test]
fn sgi_is_an_exit_and_other_registers_do_not_exist() {
    let mut vcpu = Vcpu::new();
    vcpu.registers.gprs[5] = 0x1234;
    // msr ICC_SGI1R_EL1, x5.
    assert_eq!(vcpu.sync(0x623A_30B6), Next::Exit);
    let sent = SystemRegister::SendSgi(SgiRegister::Group1, 0x1234);
    assert_eq!(Exit::decode(&vcpu.exit), Exit::SystemRegister(sent));
    assert_eq!(vcpu.registers.pc, PC + 4);
    // mrs x5, ZCR_EL1 (Op0 3, CRn 1, CRm 2, Op2 0), and an SVE instruction.
    assert_eq!(vcpu.sync(0x6230_04A5), Next::Inject(Injected::undefined()));
    assert_eq!(vcpu.sync(0x19 << 26), Next::Inject(Injected::undefined()));
    assert_eq!(vcpu.registers.pc, PC + 4);
}

#[test]
fn trapped_wait_is_over() {
    let mut vcpu = Vcpu::new();
    assert_eq!(vcpu.sync(0x01 << 26), Next::Exit);
    assert_eq!(Exit::decode(&vcpu.exit), Exit::Wait);
    assert_eq!(vcpu.registers.pc, PC + 4);
}
