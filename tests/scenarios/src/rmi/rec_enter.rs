// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! `RMI_REC_ENTER`: its conditions, and what an entry leaves in the run page.

mod gic;

use rmi::{Command, CommandId, EnterFlags, ExitReason, RecEnter, RecExit};
use zerocopy::IntoBytes;

use self::gic::{gicv3_hcr_bits, gicv3_intids, gicv3_lr_fields, gicv3_lr_repeated, gicv3_lr_valid};
use super::common::{State, misalign, out_of_bound, wrong_granules};
use super::conditions::{rec_align, rec_bound, rec_gran_state, rec_state};
use crate::check;
use crate::contract::{Call, contract, refuse};
use crate::cut;
use crate::outcome::{Outcome, Reply};
use crate::port::{Capabilities, GRANULE};
use crate::realm::{PROGRAM_BASE, RealmAction};
use crate::world::{Rec, Runnable, World};

/// The call that enters a REC.
fn enter(rec: &Rec) -> Call {
    Command::RecEnter {
        rec: rec.rec,
        run_ptr: rec.run,
    }
    .into()
}

/// A REC that needs memory before its first instruction: an entry that a monitor admits although it must
/// not ends at once.
fn base(w: &mut World<'_>) -> Outcome<Call> {
    let realm = w.realm()?;
    w.tables(&realm, PROGRAM_BASE, 3)?;
    w.init_ripas(&realm, PROGRAM_BASE, PROGRAM_BASE + GRANULE)?;
    let rec = w.rec(&realm, Runnable::Yes)?;
    w.activate(&realm)?;
    w.write_page(rec.run, &RecEnter::default())?;
    Ok(enter(&rec))
}

fn run_align(_: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
    Ok(misalign(c, "run_ptr"))
}

fn run_bound(w: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
    Ok(out_of_bound(w, c, "run_ptr"))
}

fn run_pas(w: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
    w.take_from_host(c.get("run_ptr"))?;
    Ok(Reply::input())
}

fn realm_new(w: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
    let realm = w.realm()?;
    let rec = w.rec(&realm, Runnable::Yes)?;
    c.set("rec", rec.rec);
    Ok(Reply::realm(0))
}

fn system_off(w: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
    let (_, rec) = w.running_realm()?;
    w.system_off(&rec)?;
    c.set("rec", rec.rec);
    Ok(Reply::realm(1))
}

fn rec_runnable(w: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
    let realm = w.realm()?;
    let rec = w.rec(&realm, Runnable::No)?;
    w.activate(&realm)?;
    c.set("rec", rec.rec);
    Ok(Reply::rec())
}

fn rec_mmio(w: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
    edit_enter(w, c, |enter| enter.set_enter_flags(EnterFlags::EMUL_MMIO))
}

fn rec_gicv3(w: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
    edit_enter(w, c, |enter| enter.gicv3_hcr = 1)
}

fn rec_psci(w: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
    let (_, rec) = w.two_rec_realm()?.0;
    w.cpu_on(&rec, 1, 0, 0)?;
    c.set("rec", rec.rec);
    Ok(Reply::rec())
}

fn edit_enter(w: &mut World<'_>, c: &Call, change: impl FnOnce(&mut RecEnter)) -> Outcome<Reply> {
    let mut enter = RecEnter::default();
    change(&mut enter);
    w.write_page(c.get("run_ptr"), &enter)?;
    Ok(Reply::rec())
}

/// The REC runs, and the whole exit half of the run page is defined.
fn success(w: &mut World<'_>) -> Outcome {
    let (_, rec) = w.running_realm()?;
    w.port.write(rec.run + 0x800, &[0xEE; 0x800]).ok();
    let mut enter = RecEnter::default();
    w.port
        .set_action(&mut enter, RealmAction::smc(&[0xC400_0190, 0x1_0000]));
    let (reply, mut exit) = w.enter_with(&rec, &enter)?;
    w.check_reply(CommandId::RecEnter, reply, Reply::SUCCESS)?;
    check!(exit.reason().is_some(), "exit reason {}", exit.exit_reason);
    clear_fields(&mut exit);
    let bytes = exit.as_bytes();
    let stray = bytes.iter().position(|byte| *byte != 0);
    check!(stray.is_none(), "byte {stray:x?} of the exit is not zero");
    Ok(())
}

/// Everything that the specification names in an exit.
fn clear_fields(exit: &mut RecExit) {
    exit.exit_reason = 0;
    (exit.esr, exit.far, exit.hpfar) = (0, 0, 0);
    exit.gprs = [0; 31];
    (exit.gicv3_hcr, exit.gicv3_lrs) = (0, [0; 16]);
    (exit.gicv3_misr, exit.gicv3_vmcr) = (0, 0);
    (exit.cntp_ctl, exit.cntp_cval) = (0, 0);
    (exit.cntv_ctl, exit.cntv_cval) = (0, 0);
    (exit.ripas_base, exit.ripas_top, exit.ripas_value) = (0, 0, 0);
    (exit.imm, exit.pmu_ovf_status) = (0, 0);
}

/// The page can go away halfway through the copy of the first half.
fn run_pas_halfway(w: &mut World<'_>) -> Outcome {
    if !w.can_cut() {
        cut::rec_enter(w)?;
        return cut::rec_answer(w);
    }
    let call = base(w)?;
    for bytes in [0, 0x208, 0x300] {
        w.port.fault_after(Some(bytes));
        let reply = w.call_raw(call.registers);
        w.port.fault_after(None);
        w.check_reply(call.id, reply, Reply::input())?;
    }
    Ok(())
}

/// The page can go away while the exit is written: the call fails, and the Realm has run.
fn exit_pas(w: &mut World<'_>) -> Outcome {
    if !w.can_cut() {
        return cut::rec_exit(w);
    }
    w.need(Capabilities::RUN, "no Realm can be run")?;
    let (_, rec) = w.running_realm()?;
    w.port.fault_after(Some(0x800 + 0x80));
    let mut enter = RecEnter::default();
    w.port
        .set_action(&mut enter, RealmAction::smc(&[0x8400_0008]));
    let (reply, _) = w.enter_with(&rec, &enter)?;
    w.port.fault_after(None);
    w.check_reply(CommandId::RecEnter, reply, Reply::input())?;
    w.expect(
        Command::RecEnter {
            rec: rec.rec,
            run_ptr: rec.run,
        },
        Reply::realm(1),
    )
}

/// Bits of the flags that should be zero, and list registers that the machine does not have, do not
/// matter.
fn sbz(w: &mut World<'_>) -> Outcome {
    let (_, rec) = w.running_realm()?;
    let lrs = usize::from(w.features()?.gicv3_num_lrs()) + 1;
    let mut enter = RecEnter::default();
    w.port
        .set_action(&mut enter, RealmAction::smc(&[0xC400_0190, 0x1_0000]));
    enter.flags = u64::MAX << 5;
    if let Some(lr) = enter.gicv3_lrs.get_mut(lrs) {
        *lr = u64::MAX;
    }
    let (reply, _) = w.enter_with(&rec, &enter)?;
    w.check_reply(CommandId::RecEnter, reply, Reply::SUCCESS)
}

/// A Realm's call does not leave the Realm when the Host has no part in it.
fn serves_realm(w: &mut World<'_>) -> Outcome {
    let (_, rec) = w.running_realm()?;
    let result = w.act_done(&rec, RealmAction::smc(&[0xC400_0190, 0x1_0000]))?;
    check!(
        result.registers[..3] == [0, 0x1_0000, 0x1_0000],
        "{result:x?}"
    );
    Ok(())
}

/// A missing page is reported with its address, and the access goes on when it is there.
fn data_abort(w: &mut World<'_>) -> Outcome {
    let realm = w.realm()?;
    w.load_program(&realm)?;
    w.init_ripas(&realm, 0, 0x10_0000)?;
    let rec = w.rec(&realm, Runnable::Yes)?;
    w.activate(&realm)?;
    let exit = w.act_exit(&rec, RealmAction::Load { ipa: 0x5008 })?;
    check!(
        exit.reason() == Some(ExitReason::Sync),
        "exit {}",
        exit.exit_reason
    );
    check!(exit.syndrome().is_data_abort(), "esr {:#x}", exit.esr);
    check!(exit.hpfar == 0x5000 >> 8, "hpfar {:#x}", exit.hpfar);
    check!(exit.far == 0, "far {:#x}", exit.far);
    check!(exit.gprs == [0; 31], "registers of the Realm are shown");
    check!(
        exit.esr >> 24 & 1 == 0,
        "a syndrome of the instruction: {:#x}",
        exit.esr
    );
    w.data_unknown(&realm, 0x5000)?;
    match w.resume(&rec, &RecEnter::default())? {
        crate::Step::Done(result) => {
            check!(
                result.exception.is_none() && result.registers[0] == 0,
                "{result:x?}"
            );
        }
        crate::Step::Exit(exit) => check!(false, "exit {} again", exit.exit_reason),
    }
    Ok(())
}

/// After an abort that cannot be emulated, emulation is refused.
fn mmio_after_data_abort(w: &mut World<'_>) -> Outcome {
    let realm = w.realm()?;
    w.load_program(&realm)?;
    w.init_ripas(&realm, 0, 0x10_0000)?;
    let rec = w.rec(&realm, Runnable::Yes)?;
    w.activate(&realm)?;
    w.act_exit(&rec, RealmAction::Load { ipa: 0x5000 })?;
    let call = enter(&rec);
    edit_enter(w, &call, |enter| {
        enter.set_enter_flags(EnterFlags::EMUL_MMIO)
    })?;
    refuse(w, &call, Reply::rec())
}

/// A load of a device ends with the value that the Host gives.
fn mmio_read(w: &mut World<'_>) -> Outcome {
    let (realm, rec) = w.running_realm()?;
    let ipa = realm.unprotected() + 0x900_0018;
    let exit = w.act_exit(&rec, RealmAction::Load { ipa })?;
    check!(exit.syndrome().is_data_abort(), "esr {:#x}", exit.esr);
    check!(
        exit.fault_ipa().raw() == ipa,
        "fault at {}",
        exit.fault_ipa()
    );
    check!(exit.syndrome().has_instruction(), "esr {:#x}", exit.esr);
    check!(!exit.syndrome().is_write(), "esr {:#x}", exit.esr);
    let mut enter = RecEnter::default();
    enter.complete_mmio_read(0x1122_3344_5566_7788);
    match w.resume(&rec, &enter)? {
        crate::Step::Done(result) => {
            check!(result.registers[0] == 0x1122_3344_5566_7788, "{result:x?}");
        }
        crate::Step::Exit(exit) => check!(false, "exit {}", exit.exit_reason),
    }
    Ok(())
}

/// A store to a device shows the value, and goes on behind the instruction.
fn mmio_write(w: &mut World<'_>) -> Outcome {
    let (realm, rec) = w.running_realm()?;
    let ipa = realm.unprotected() + 0x900_0000;
    let value = 0xA5A5_0000_1111_2222;
    let exit = w.act_exit(&rec, RealmAction::Store { ipa, value })?;
    check!(exit.syndrome().is_write(), "esr {:#x}", exit.esr);
    check!(
        exit.mmio_write_value() == value,
        "value {:#x}",
        exit.gprs[0]
    );
    check!(exit.gprs[1..] == [0; 30], "more registers are shown");
    let mut enter = RecEnter::default();
    enter.complete_mmio_write();
    match w.resume(&rec, &enter)? {
        crate::Step::Done(result) => check!(result.exception.is_none(), "{result:x?}"),
        crate::Step::Exit(exit) => check!(false, "exit {}", exit.exit_reason),
    }
    Ok(())
}

/// The Host can fail an access to its half; the Realm takes a Synchronous External Abort.
fn inject_sea(w: &mut World<'_>) -> Outcome {
    let (realm, rec) = w.running_realm()?;
    w.act_exit(
        &rec,
        RealmAction::Load {
            ipa: realm.unprotected(),
        },
    )?;
    let mut enter = RecEnter::default();
    enter.inject_sea();
    match w.resume(&rec, &enter)? {
        crate::Step::Done(result) => {
            let esr = result.exception.unwrap_or(0);
            check!(esr & 0x3F == 0x10 && esr >> 9 & 1 == 1, "ESR_EL1 {esr:#x}");
        }
        crate::Step::Exit(exit) => check!(false, "exit {}", exit.exit_reason),
    }
    Ok(())
}

/// An access that is failed is not emulated, whatever the Host says beside it.
fn inject_sea_before_emulation(w: &mut World<'_>) -> Outcome {
    let (realm, rec) = w.running_realm()?;
    let ipa = realm.unprotected();
    w.act_exit(&rec, RealmAction::Load { ipa })?;
    let mut enter = RecEnter::default();
    enter.complete_mmio_read(0x1122_3344_5566_7788);
    enter.inject_sea();
    match w.resume(&rec, &enter)? {
        crate::Step::Done(result) => {
            let esr = result.exception.unwrap_or(0);
            check!(esr & 0x3F == 0x10 && esr >> 9 & 1 == 1, "ESR_EL1 {esr:#x}");
            check!(
                result.registers[0] != 0x1122_3344_5566_7788,
                "the load came through: {result:x?}"
            );
        }
        crate::Step::Exit(exit) => check!(false, "exit {}", exit.exit_reason),
    }
    Ok(())
}

/// An access can be emulated once, and only right after the exit that it made.
fn mmio_once(w: &mut World<'_>) -> Outcome {
    let (realm, rec) = w.running_realm()?;
    let ipa = realm.unprotected();
    w.act_exit(&rec, RealmAction::Load { ipa })?;
    let mut enter = RecEnter::default();
    enter.complete_mmio_read(1);
    w.resume(&rec, &enter)?;
    let call = self::enter(&rec);
    let emulate = |enter: &mut RecEnter| enter.set_enter_flags(EnterFlags::EMUL_MMIO);
    edit_enter(w, &call, emulate)?;
    refuse(w, &call, Reply::rec())?;
    w.act_exit(&rec, RealmAction::Load { ipa })?;
    edit_enter(w, &call, |_| {})?;
    // Made again, and again the same exit.
    w.resume(&rec, &RecEnter::default())?;
    match w.resume(&rec, &enter)? {
        crate::Step::Done(result) => check!(result.registers[0] == 1, "{result:x?}"),
        crate::Step::Exit(exit) => check!(false, "exit {}", exit.exit_reason),
    }
    Ok(())
}

/// A page that the Realm never declared is an abort of the Realm's own.
fn empty_page(w: &mut World<'_>) -> Outcome {
    let (_, rec) = w.running_realm()?;
    let result = w.act_done(&rec, RealmAction::Load { ipa: 0x8000 })?;
    let esr = result.exception.unwrap_or(0);
    check!(esr & 0x3F == 0x10 && esr >> 9 & 1 == 1, "ESR_EL1 {esr:#x}");
    Ok(())
}

/// A REC that turned itself off cannot be entered.
fn cpu_off(w: &mut World<'_>) -> Outcome {
    let (_, rec) = w.running_realm()?;
    let exit = w.act_exit(&rec, RealmAction::smc(&[0x8400_0002]))?;
    check!(
        exit.reason() == Some(ExitReason::Psci),
        "exit {}",
        exit.exit_reason
    );
    check!(exit.gprs[0] == 0x8400_0002, "x0 {:#x}", exit.gprs[0]);
    let call = enter(&rec);
    refuse(w, &call, Reply::rec())
}

fn wrong_rec(w: &mut World<'_>) -> Outcome {
    wrong_granules(w, base, "rec", State::Rec)
}

contract! {
    RecEnter, "rec_enter", base;
    conditions {
        run_align run_bound run_pas rec_align rec_bound rec_gran_state realm_new system_off rec_state
        rec_runnable rec_mmio rec_gicv3 rec_psci
    }
    orders {
        run_align < realm_new run_align < system_off run_align < rec_state run_align < rec_runnable
        run_align < rec_mmio run_align < rec_gicv3 run_align < rec_psci
        run_bound < realm_new run_bound < system_off run_bound < rec_state run_bound < rec_runnable
        run_bound < rec_mmio run_bound < rec_gicv3 run_bound < rec_psci
        run_pas < realm_new run_pas < system_off run_pas < rec_state run_pas < rec_runnable
        run_pas < rec_mmio run_pas < rec_gicv3 run_pas < rec_psci
        rec_align < realm_new rec_align < system_off rec_align < rec_state rec_align < rec_runnable
        rec_align < rec_mmio rec_align < rec_gicv3 rec_align < rec_psci
        rec_bound < realm_new rec_bound < system_off rec_bound < rec_state rec_bound < rec_runnable
        rec_bound < rec_mmio rec_bound < rec_gicv3 rec_bound < rec_psci
        rec_gran_state < realm_new rec_gran_state < system_off rec_gran_state < rec_state
        rec_gran_state < rec_runnable rec_gran_state < rec_mmio rec_gran_state < rec_gicv3
        rec_gran_state < rec_psci
    }
    others {
        success run_pas_halfway exit_pas gicv3_hcr_bits gicv3_lr_fields gicv3_intids gicv3_lr_repeated
        gicv3_lr_valid sbz serves_realm data_abort mmio_after_data_abort mmio_once mmio_read mmio_write
        inject_sea inject_sea_before_emulation empty_page cpu_off wrong_rec
    }
}
