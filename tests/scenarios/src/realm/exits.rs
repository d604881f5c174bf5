// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Exits: what the Host sees of each, and that the Realm goes on as it should.

use rmi::{CommandId, EnterFlags, ExitReason, RecEnter, RecExit, psci};
use test_realm::instructions::{
    HVC, LDP_X0_X2, LDR_W0, LDR_X0, LDRB_W0, LDRH_W0, LDRSB_W0, LDRSB_X0, LDRSH_X0, LDRSW_X0,
    STR_W0, STR_X0, STR_XZR, STRB_W0, STRH_W0, SystemRegister, UDF, WFE, WFI,
};
use test_realm::protocol::{BASE, Command, Outcome as Ended, SHARED_VIEW, USER_VIEW};

use super::payload::{FREE, Payload, Turn, fault, first, run, unexpected};
use super::row;
use crate::check;
use crate::outcome::{Outcome, Reply, Stop};
use crate::port::GRANULE;
use crate::scenario::Scenario;
use crate::world::World;

/// What these scenarios prove.
pub(super) const SCENARIOS: &[Scenario] = &[
    row("realm_exit_wfi_trapped", wfi_trapped),
    row("realm_exit_wfe_trapped", wfe_trapped),
    row("realm_exit_mmio_loads", mmio_loads),
    row("realm_exit_mmio_stores", mmio_stores),
    row("realm_exit_mmio_any_register", mmio_any_register),
    row("realm_exit_mmio_retried", mmio_retried),
    row("realm_exit_mmio_not_described", mmio_not_described),
    row("realm_exit_mmio_registers", mmio_registers),
    row("realm_exit_data_abort_registers", data_abort_registers),
    row("realm_exit_instruction_abort", instruction_abort),
    row("realm_exit_inject_sea_ignored", inject_sea_ignored),
    row("realm_exit_psci_cpu_on", psci_cpu_on),
    row("realm_exit_sgi_write", sgi_write),
    row("realm_fault_hvc", hvc),
    row("realm_fault_empty_from_user", empty_from_user),
    row("realm_fault_shared_fetch", shared_fetch),
    row("realm_fault_shared_taken_away", shared_taken_away),
];

/// Exception classes.
const WFX: u64 = 0x01;
const SYSREG: u64 = 0x18;
const INSTRUCTION: u64 = 0x20;
const DATA: u64 = 0x24;
/// Exception classes that the Realm takes itself.
const FETCH_SAME: u64 = 0x21;
const DATA_LOWER: u64 = 0x24;
const DATA_SAME: u64 = 0x25;
/// Fault status: synchronous external abort.
const EXTERNAL: u64 = 0x10;
/// What an exit may show of the syndrome of an access that the Host can emulate.
const EMULATABLE: u64 =
    0x3F << 26 | 1 << 24 | 0b11 << 22 | 1 << 15 | 0b11 << 11 | 1 << 10 | 1 << 9 | 1 << 6 | 0x3F;
/// The same of one that it cannot, at an unprotected address.
const NOT_EMULATABLE: u64 = 0x3F << 26 | 1 << 25 | 0b11 << 11 | 1 << 10 | 1 << 9 | 0x3F;
/// A device of the Host, by its offset in the unprotected half.
const DEVICE: u64 = 0x0900_0000;

/// Requires that an exit shows nothing but the interrupt and timer state, and these fields.
pub(super) fn require_only(
    exit: &RecExit,
    esr: u64,
    far: u64,
    hpfar: u64,
    gprs: [u64; 2],
) -> Outcome {
    check!(
        exit.reason() == Some(ExitReason::Sync),
        "exit {}",
        exit.exit_reason
    );
    check!(exit.esr == esr, "esr {:#x} instead of {esr:#x}", exit.esr);
    check!(exit.far == far, "far {:#x} instead of {far:#x}", exit.far);
    check!(
        exit.hpfar == hpfar,
        "hpfar {:#x} instead of {hpfar:#x}",
        exit.hpfar
    );
    check!(
        exit.gprs[..2] == gprs && exit.gprs[2..] == [0; 29],
        "registers {:x?}",
        exit.gprs
    );
    let ripas = (exit.ripas_base, exit.ripas_top, exit.ripas_value);
    check!(
        ripas == (0, 0, 0) && exit.imm == 0,
        "{ripas:x?} imm {}",
        exit.imm
    );
    Ok(())
}

fn trapped(w: &mut World<'_>, instruction: u32, flags: EnterFlags, indicator: u64) -> Outcome {
    let payload = Payload::one(w)?;
    let mut enter = super::payload::giving(run(instruction, 0x1122, 0x3344));
    enter.set_enter_flags(flags);
    let exit = match payload.enter(w, 0, &enter)? {
        Turn::Exit(exit) => exit,
        Turn::Report(report, _) => {
            check!(report.outcome == Ended::Done, "{report:x?}");
            // An event may be there already; an emulator may always have one.
            return Err(Stop::Skipped("the machine did not have to wait".into()));
        }
    };
    require_only(&exit, WFX << 26 | indicator, 0, 0, [0; 2])?;
    let report = payload.resume(w, &RecEnter::default())?;
    check!(
        report.outcome == Ended::Done && report.registers[..2] == [0x1122, 0x3344],
        "{report:x?}"
    );
    Ok(())
}

/// WFI comes to the Host if it asks for that.
fn wfi_trapped(w: &mut World<'_>) -> Outcome {
    trapped(w, WFI, EnterFlags::TRAP_WFI, 0)
}

/// WFE comes to the Host if it asks for that.
fn wfe_trapped(w: &mut World<'_>) -> Outcome {
    trapped(w, WFE, EnterFlags::TRAP_WFE, 1)
}

/// Loads of every size and extension, and what the Host sees of them.
fn mmio_loads(w: &mut World<'_>) -> Outcome {
    const ANSWER: u64 = 0x8182_8384_F5F6_F7F8;
    let payload = Payload::one(w)?;
    let unprotected = payload.realm.unprotected();
    for (instruction, sas, is_wide, expected) in [
        (LDRB_W0, 0, false, 0xF8),
        (LDRH_W0, 1, false, 0xF7F8),
        (LDR_W0, 2, false, 0xF5F6_F7F8),
        (LDR_X0, 3, true, ANSWER),
        (LDRSB_W0, 0, false, 0xFFFF_FFF8),
        (LDRSB_X0, 0, true, 0xFFFF_FFFF_FFFF_FFF8),
        (LDRSH_X0, 1, true, 0xFFFF_FFFF_FFFF_F7F8),
        (LDRSW_X0, 2, true, 0xFFFF_FFFF_F5F6_F7F8),
    ] {
        let offset = DEVICE + 0x18;
        let exit = payload.exit(w, run(instruction, 7, SHARED_VIEW + offset))?;
        let level = exit.esr & 0b11;
        let esr = DATA << 26 | 1 << 24 | sas << 22 | u64::from(is_wide) << 15 | 0b100 | level;
        require_only(&exit, esr, 0x18, (unprotected + DEVICE) >> 8, [0; 2])?;
        check!(exit.esr & !EMULATABLE == 0, "esr {:#x}", exit.esr);
        let mut enter = RecEnter::default();
        enter.complete_mmio_read(ANSWER);
        let report = payload.resume(w, &enter)?;
        check!(
            report.outcome == Ended::Done && report.registers[0] == expected,
            "{instruction:#x} loads {report:x?}"
        );
    }
    Ok(())
}

/// Stores of every size.
fn mmio_stores(w: &mut World<'_>) -> Outcome {
    const VALUE: u64 = 0x8182_8384_F5F6_F7F8;
    let payload = Payload::one(w)?;
    let hpfar = (payload.realm.unprotected() + DEVICE) >> 8;
    for (instruction, sas, is_wide, expected) in [
        (STRB_W0, 0, false, 0xF8),
        (STRH_W0, 1, false, 0xF7F8),
        (STR_W0, 2, false, 0xF5F6_F7F8),
        (STR_X0, 3, true, VALUE),
        (STR_XZR, 3, true, 0),
    ] {
        let exit = payload.exit(w, run(instruction, VALUE, SHARED_VIEW + DEVICE))?;
        let level = exit.esr & 0b11;
        let wide = u64::from(is_wide) << 15;
        let esr = DATA << 26 | 1 << 24 | sas << 22 | wide | 1 << 6 | 0b100 | level;
        // Beyond the size of the access, the value is the monitor's choice.
        let size_mask = u64::MAX >> (64 - (8 << sas));
        let value = exit.gprs[0];
        check!(
            value & size_mask == expected,
            "{instruction:#x} stores {value:#x}"
        );
        check!(
            value == expected || value == VALUE,
            "{instruction:#x} shows {value:#x}"
        );
        require_only(&exit, esr, 0, hpfar, [value, 0])?;
        let mut enter = RecEnter::default();
        enter.complete_mmio_write();
        let report = payload.resume(w, &enter)?;
        check!(
            report.outcome == Ended::Done && report.registers[0] == VALUE,
            "{report:x?}"
        );
    }
    Ok(())
}

/// Which register an access is about is the Realm's own business: the Host sees the value only.
fn mmio_any_register(w: &mut World<'_>) -> Outcome {
    /// x15, in the field Rt of the instruction.
    const RT: u32 = 15;
    const OTHER: u64 = 7;
    const VALUE: u64 = 0x8182_8384_F5F6_F7F8;
    let payload = Payload::one(w)?;
    let hpfar = (payload.realm.unprotected() + DEVICE) >> 8;
    let access = |instruction: u32, value: u64| {
        let mut registers = first(OTHER, SHARED_VIEW + DEVICE);
        registers[RT as usize] = value;
        Command::Run {
            instruction: instruction | RT,
            registers,
        }
    };
    let doubleword = DATA << 26 | 1 << 24 | 0b11 << 22 | 1 << 15 | 0b100;
    let exit = payload.exit(w, access(LDR_X0, 0))?;
    require_only(&exit, doubleword | exit.esr & 0b11, 0, hpfar, [0; 2])?;
    let mut enter = RecEnter::default();
    enter.complete_mmio_read(VALUE);
    let report = payload.resume(w, &enter)?;
    let loaded = (report.registers[0], report.registers[RT as usize]);
    check!(loaded == (OTHER, VALUE), "{report:x?}");
    let exit = payload.exit(w, access(STR_X0, VALUE))?;
    let esr = doubleword | 1 << 6 | exit.esr & 0b11;
    require_only(&exit, esr, 0, hpfar, [VALUE, 0])?;
    let mut enter = RecEnter::default();
    enter.complete_mmio_write();
    let report = payload.resume(w, &enter)?;
    let kept = (report.registers[0], report.registers[RT as usize]);
    check!(kept == (OTHER, VALUE), "{report:x?}");
    Ok(())
}

/// An access that the Host does not complete is made again.
fn mmio_retried(w: &mut World<'_>) -> Outcome {
    let payload = Payload::one(w)?;
    let before = payload.exit(w, run(LDR_W0, 0, SHARED_VIEW + DEVICE))?;
    for _ in 0..3 {
        match payload.enter(w, 0, &RecEnter::default())? {
            Turn::Exit(exit) => check!(
                (exit.esr, exit.far, exit.hpfar) == (before.esr, before.far, before.hpfar),
                "again: esr {:#x} far {:#x} hpfar {:#x}",
                exit.esr,
                exit.far,
                exit.hpfar
            ),
            Turn::Report(report, _) => check!(false, "no exit: {report:x?}"),
        }
    }
    Ok(())
}

/// An access without a description of its instruction can only be failed.
fn mmio_not_described(w: &mut World<'_>) -> Outcome {
    let payload = Payload::one(w)?;
    let view = SHARED_VIEW + DEVICE;
    let exit = payload.exit(w, run(LDP_X0_X2, 0, view))?;
    let esr = DATA << 26 | 1 << 25 | 0b100 | exit.esr & 0b11;
    let hpfar = (payload.realm.unprotected() + DEVICE) >> 8;
    require_only(&exit, esr, 0, hpfar, [0; 2])?;
    check!(exit.esr & !NOT_EMULATABLE == 0, "esr {:#x}", exit.esr);
    let mut enter = RecEnter::default();
    enter.complete_mmio_read(1);
    let (reply, _) = w.enter_with(&payload.recs[0], &enter)?;
    w.check_reply(CommandId::RecEnter, reply, Reply::rec())?;
    let mut enter = RecEnter::default();
    enter.inject_sea();
    let fault = fault(&payload.resume(w, &enter)?)?;
    check!(
        fault.class() == DATA_SAME && fault.status() == EXTERNAL && fault.far == view,
        "{fault:x?}"
    );
    Ok(())
}

/// Nothing but the value passes in either direction.
fn mmio_registers(w: &mut World<'_>) -> Outcome {
    let payload = Payload::one(w)?;
    let command = Command::RunAll {
        instruction: LDR_X0,
        seed: 1,
        first: [0xAAAA, SHARED_VIEW + DEVICE, 0xBBBB],
    };
    let exit = payload.exit(w, command)?;
    check!(exit.gprs == [0; 31], "registers {:x?}", exit.gprs);
    let mut enter = RecEnter::default();
    enter.gprs = [0xEEEE_EEEE_EEEE_EEEE; 31];
    enter.complete_mmio_read(0x1234);
    let report = payload.resume(w, &enter)?;
    let expected = [0x1234, SHARED_VIEW + DEVICE, 0xBBBB, 0];
    check!(
        report.outcome == Ended::Done && report.registers[..4] == expected,
        "{report:x?}"
    );
    Ok(())
}

/// A fault of the Realm's own memory shows its page only, and changes no register.
fn data_abort_registers(w: &mut World<'_>) -> Outcome {
    let payload = Payload::one(w)?;
    let address = FREE + 0x5008;
    let command = Command::RunAll {
        instruction: LDR_X0,
        seed: 2,
        first: [0xAAAA, address, 0xBBBB],
    };
    let exit = payload.exit(w, command)?;
    let page = FREE + 0x5000;
    require_only(&exit, DATA << 26 | 0b111, 0, page >> 8, [0; 2])?;
    w.data_unknown(&payload.realm, page)?;
    let mut enter = RecEnter::default();
    enter.gprs = [0xEEEE_EEEE_EEEE_EEEE; 31];
    let report = payload.resume(w, &enter)?;
    check!(
        report.outcome == Ended::Done && report.registers[1..4] == [address, 0xBBBB, 0],
        "{report:x?}"
    );
    check!(
        report.registers[0] != 0xEEEE_EEEE_EEEE_EEEE,
        "the Host's register came through"
    );
    Ok(())
}

/// A fetch of memory that has not been given yet.
fn instruction_abort(w: &mut World<'_>) -> Outcome {
    let payload = Payload::one(w)?;
    let call = Command::Call {
        address: FREE,
        registers: first(1, 2),
    };
    let exit = payload.exit(w, call)?;
    require_only(&exit, INSTRUCTION << 26 | 0b111, 0, FREE >> 8, [0; 2])?;
    w.data_unknown(&payload.realm, FREE)?;
    let fault = fault(&payload.resume(w, &RecEnter::default())?)?;
    check!(fault.is_undefined() && fault.elr == FREE, "{fault:x?}");
    Ok(())
}

/// A failure can be injected only after an abort at an unprotected address.
fn inject_sea_ignored(w: &mut World<'_>) -> Outcome {
    let payload = Payload::one(w)?;
    payload.exit(w, run(LDR_X0, 0, FREE))?;
    w.data_unknown(&payload.realm, FREE)?;
    let mut enter = RecEnter::default();
    enter.inject_sea();
    let report = payload.resume(w, &enter)?;
    check!(report.outcome == Ended::Done, "{report:x?}");
    let mut enter = super::payload::giving(Command::Nothing);
    enter.inject_sea();
    let report = payload.resume(w, &enter)?;
    check!(report.outcome == Ended::Done, "{report:x?}");
    Ok(())
}

/// A second vCPU starts where the first one says, and the Host does not learn where.
fn psci_cpu_on(w: &mut World<'_>) -> Outcome {
    let payload = Payload::new(w, &crate::RealmPlan::default(), 2)?;
    let exit = payload.exit(w, Command::StartVcpu(1))?;
    check!(
        exit.reason() == Some(ExitReason::Psci),
        "exit {}",
        exit.exit_reason
    );
    let [fid, target, rest @ ..] = exit.gprs;
    check!(
        fid == psci::FID_CPU_ON_64 && target == 1,
        "{fid:#x} {target:#x}"
    );
    // The entry point may be withheld; it is the Realm's own business.
    check!(rest[3..] == [0; 26], "registers {:x?}", exit.gprs);
    w.ok(rmi::Command::PsciComplete {
        calling_rec: payload.recs[0].rec,
        target_rec: payload.recs[1].rec,
        status: 0,
    })?;
    let report = payload.resume(w, &RecEnter::default())?;
    check!(
        report.outcome == Ended::Done && report.registers[0] == 0,
        "{report:x?}"
    );
    match payload.enter(w, 1, &RecEnter::default())? {
        Turn::Report(report, _) => check!(report.vcpu == 1, "{report:x?}"),
        Turn::Exit(exit) => return Err(unexpected("the second vCPU", &exit)),
    }
    let report = payload.tell_to(w, 1, run(LDR_X0, 0, BASE))?;
    check!(report.outcome == Ended::Done, "{report:x?}");
    Ok(())
}

/// A write that sends an interrupt comes to the Host with its value.
fn sgi_write(w: &mut World<'_>) -> Outcome {
    const VALUE: u64 = 0x0300_0001;
    let payload = Payload::one(w)?;
    let sgi1r = SystemRegister::new(3, 0, 12, 11, 5);
    let exit = payload.exit(w, run(sgi1r.write_x0(), VALUE, 0))?;
    let esr = exit.esr;
    check!(
        exit.reason() == Some(ExitReason::Sync),
        "exit {}",
        exit.exit_reason
    );
    check!(esr >> 26 == SYSREG && esr & 1 == 0, "esr {esr:#x}");
    check!(
        exit.gprs[0] == VALUE && exit.gprs[1..] == [0; 30],
        "registers {:x?}",
        exit.gprs
    );
    let report = payload.resume(w, &RecEnter::default())?;
    check!(report.outcome == Ended::Done, "{report:x?}");
    Ok(())
}

/// HVC is undefined, and as any undefined instruction it is where the exception returns to.
fn hvc(w: &mut World<'_>) -> Outcome {
    let payload = Payload::one(w)?;
    let undefined = fault(&payload.tell(w, run(UDF, 0, 0))?)?;
    let hvc = fault(&payload.tell(w, run(HVC, 0, 0))?)?;
    check!(hvc.is_undefined(), "{hvc:x?}");
    check!(hvc.elr == undefined.elr, "{hvc:x?} after {undefined:x?}");
    Ok(())
}

/// An access to empty memory from EL0 is reported as one from EL0.
fn empty_from_user(w: &mut World<'_>) -> Outcome {
    let payload = Payload::one(w)?;
    let address = USER_VIEW + FREE + 0x1000_0000;
    let command = Command::RunUser {
        instruction: LDR_X0,
        registers: first(0, address),
    };
    let fault = fault(&payload.tell(w, command)?)?;
    let is_right = fault.class() == DATA_LOWER && fault.status() == EXTERNAL;
    check!(is_right && fault.far == address, "{fault:x?}");
    check!(fault.spsr & 0x1F == 0, "from {:#x}", fault.spsr);
    Ok(())
}

/// The Realm cannot be made to execute the Host's memory.
fn shared_fetch(w: &mut World<'_>) -> Outcome {
    let payload = Payload::one(w)?;
    let ipa = payload.realm.unprotected() + FREE;
    w.tables(&payload.realm, ipa, 3)?;
    let page = w.granule()?;
    w.map(&payload.realm, ipa, 3, page)?;
    let call = Command::Call {
        address: SHARED_VIEW + FREE,
        registers: first(0, 0),
    };
    let fault = fault(&payload.tell(w, call)?)?;
    let is_right = fault.class() == FETCH_SAME && fault.status() == EXTERNAL;
    check!(is_right, "{fault:x?}");
    let report = payload.tell(w, run(LDR_X0, 0, SHARED_VIEW + FREE + GRANULE - 8))?;
    check!(report.outcome == Ended::Done, "{report:x?}");
    Ok(())
}

/// The Host gives away memory that it has mapped: the Realm takes the fault of its access itself, as from
/// any memory that does not answer, and both go on.
fn shared_taken_away(w: &mut World<'_>) -> Outcome {
    /// Fault status: granule protection fault, not on a walk.
    const PROTECTED: u64 = 0x28;
    let payload = Payload::one(w)?;
    let ipa = payload.realm.unprotected() + FREE;
    w.tables(&payload.realm, ipa, 3)?;
    let page = w.page(&[0x5Au8; 4096])?;
    w.map(&payload.realm, ipa, 3, page)?;
    let load = run(LDR_X0, 0, SHARED_VIEW + FREE + 8);
    let before = payload.tell(w, load)?;
    check!(before.registers[0] == 0x5A5A_5A5A_5A5A_5A5A, "{before:x?}");
    w.delegate(page)?;
    for access in [load, run(STR_X0, 7, SHARED_VIEW + FREE + 8)] {
        let fault = fault(&payload.tell(w, access)?)?;
        let is_right = fault.class() == DATA_SAME && fault.status() == PROTECTED;
        check!(
            is_right && fault.far == SHARED_VIEW + FREE + 8,
            "{fault:x?}"
        );
    }
    w.undelegate(page)?;
    let after = payload.tell(w, load)?;
    check!(
        after.outcome == Ended::Done && after.registers[0] == 0,
        "{after:x?}"
    );
    Ok(())
}
