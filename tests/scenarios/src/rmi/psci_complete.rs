// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! `RMI_PSCI_COMPLETE`.

use rmi::psci::{self, PsciReturn};
use rmi::{Command, CommandId, ExitReason, RecEnter};

use super::common::{State, misalign, out_of_bound, unused, wrong_granules};
use crate::check;
use crate::contract::{Call, contract, refuse};
use crate::outcome::{Outcome, Reply};
use crate::realm::{PROGRAM_BASE, RealmAction};
use crate::world::{Rec, Runnable, Step, World};

fn complete(calling: &Rec, target: &Rec, status: PsciReturn) -> Command {
    Command::PsciComplete {
        calling_rec: calling.rec,
        target_rec: target.rec,
        status: status.to_register(),
    }
}

/// REC 0 asks for REC 1 to be turned on.
fn asking(w: &mut World<'_>) -> Outcome<(Rec, Rec)> {
    let ((_, calling), target) = w.two_rec_realm()?;
    w.cpu_on(&calling, 1, PROGRAM_BASE, 0xC0)?;
    Ok((calling, target))
}

fn base(w: &mut World<'_>) -> Outcome<Call> {
    let (calling, target) = asking(w)?;
    Ok(complete(&calling, &target, PsciReturn::Success).into())
}

fn alias(_: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
    c.set("target_rec", c.get("calling_rec"));
    Ok(Reply::input())
}

fn calling_align(_: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
    Ok(misalign(c, "calling_rec"))
}

fn calling_bound(w: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
    Ok(out_of_bound(w, c, "calling_rec"))
}

fn calling_state(w: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
    unused(w, c, "calling_rec")
}

fn target_align(_: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
    Ok(misalign(c, "target_rec"))
}

fn target_bound(w: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
    Ok(out_of_bound(w, c, "target_rec"))
}

fn target_state(w: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
    unused(w, c, "target_rec")
}

fn pending(w: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
    let ((_, calling), target) = w.two_rec_realm()?;
    c.set("calling_rec", calling.rec);
    c.set("target_rec", target.rec);
    Ok(Reply::input())
}

fn owner(w: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
    let (_, other) = w.two_rec_realm()?;
    c.set("target_rec", other.rec);
    Ok(Reply::input())
}

fn target(w: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
    let ((_, calling), one, two) = w.three_rec_realm()?;
    w.cpu_on(&calling, 1, PROGRAM_BASE, 0)?;
    c.set("calling_rec", calling.rec);
    c.set("target_rec", two.rec);
    check!(one.rec != two.rec, "two RECs");
    Ok(Reply::input())
}

fn status(_: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
    c.set("status", PsciReturn::InternalFailure.to_register());
    Ok(Reply::input())
}

/// Lets the calling REC see the answer: x0 to x3.
fn answer(w: &mut World<'_>, calling: &Rec) -> Outcome<[u64; 4]> {
    match w.resume(calling, &RecEnter::default())? {
        Step::Done(result) => {
            let [x0, x1, x2, x3, ..] = result.registers;
            Ok([x0, x1, x2, x3])
        }
        Step::Exit(exit) => {
            check!(false, "exit {}", exit.exit_reason);
            unreachable!("checked")
        }
    }
}

/// CPU_ON of a REC that is off turns it on.
fn success(w: &mut World<'_>) -> Outcome {
    let (calling, target) = asking(w)?;
    let enter_target = Call::from(Command::RecEnter {
        rec: target.rec,
        run_ptr: target.run,
    });
    refuse(w, &enter_target, Reply::rec())?;
    let reply = w.call(complete(&calling, &target, PsciReturn::Success));
    w.check_reply(CommandId::PsciComplete, reply, Reply::SUCCESS)?;
    let registers = answer(w, &calling)?;
    check!(registers == [0; 4], "the caller sees {registers:x?}");
    let result = w.act_done(&target, RealmAction::smc(&[0xC400_0190, 0x1_0000]))?;
    check!(result.registers[0] == 0, "the target runs: {result:x?}");
    Ok(())
}

/// CPU_ON of a REC that is on says so.
fn already_on(w: &mut World<'_>) -> Outcome {
    let realm = w.realm()?;
    w.load_program(&realm)?;
    let (calling, target) = (w.rec(&realm, Runnable::Yes)?, w.rec(&realm, Runnable::Yes)?);
    w.activate(&realm)?;
    w.cpu_on(&calling, 1, PROGRAM_BASE, 0)?;
    w.ok(complete(&calling, &target, PsciReturn::Success))?;
    let registers = answer(w, &calling)?;
    let wanted = [PsciReturn::AlreadyOn.to_register(), 0, 0, 0];
    check!(registers == wanted, "the caller sees {registers:x?}");
    Ok(())
}

/// The Host may deny CPU_ON of a REC that is off.
fn denied(w: &mut World<'_>) -> Outcome {
    let (calling, target) = asking(w)?;
    w.ok(complete(&calling, &target, PsciReturn::Denied))?;
    let registers = answer(w, &calling)?;
    let wanted = [PsciReturn::Denied.to_register(), 0, 0, 0];
    check!(registers == wanted, "the caller sees {registers:x?}");
    let enter_target = Call::from(Command::RecEnter {
        rec: target.rec,
        run_ptr: target.run,
    });
    refuse(w, &enter_target, Reply::rec())
}

/// It may not deny it when the REC is on, and the request stays pending.
fn denied_but_on(w: &mut World<'_>) -> Outcome {
    let realm = w.realm()?;
    w.load_program(&realm)?;
    let (calling, target) = (w.rec(&realm, Runnable::Yes)?, w.rec(&realm, Runnable::Yes)?);
    w.activate(&realm)?;
    w.cpu_on(&calling, 1, PROGRAM_BASE, 0)?;
    let deny = Call::from(complete(&calling, &target, PsciReturn::Denied));
    refuse(w, &deny, Reply::input())?;
    w.ok(complete(&calling, &target, PsciReturn::Success))?;
    Ok(())
}

fn affinity_info(w: &mut World<'_>, runnable: Runnable) -> Outcome<(Rec, Rec)> {
    let realm = w.realm()?;
    w.load_program(&realm)?;
    let (calling, target) = (w.rec(&realm, Runnable::Yes)?, w.rec(&realm, runnable)?);
    w.activate(&realm)?;
    let call = RealmAction::smc(&[psci::FID_AFFINITY_INFO_64, 1, 0]);
    let exit = w.act_exit(&calling, call)?;
    check!(
        exit.reason() == Some(ExitReason::Psci),
        "exit {}",
        exit.exit_reason
    );
    check!(
        exit.gprs[..2] == [psci::FID_AFFINITY_INFO_64, 1],
        "{:x?}",
        exit.gprs
    );
    Ok((calling, target))
}

/// AFFINITY_INFO of a REC that is on, and of one that is off.
fn affinity_info_states(w: &mut World<'_>) -> Outcome {
    for (runnable, wanted) in [(Runnable::Yes, 0), (Runnable::No, 1)] {
        let (calling, target) = affinity_info(w, runnable)?;
        w.ok(complete(&calling, &target, PsciReturn::Success))?;
        let registers = answer(w, &calling)?;
        check!(
            registers == [wanted, 0, 0, 0],
            "the caller sees {registers:x?}"
        );
    }
    Ok(())
}

/// AFFINITY_INFO cannot be denied.
fn affinity_info_denied(w: &mut World<'_>) -> Outcome {
    let (calling, target) = affinity_info(w, Runnable::No)?;
    let deny = Call::from(complete(&calling, &target, PsciReturn::Denied));
    refuse(w, &deny, Reply::input())
}

/// No other status is permitted, nor is a number that is no status.
fn other_statuses(w: &mut World<'_>) -> Outcome {
    let (calling, target) = asking(w)?;
    let permitted = [PsciReturn::Success, PsciReturn::Denied];
    let others = PsciReturn::ALL
        .iter()
        .filter(|status| !permitted.contains(status))
        .map(|status| status.to_register())
        .chain([2, 0xFFFF_FFFD, u64::MAX - 9, 1 << 63]);
    for status in others {
        let mut call = Call::from(complete(&calling, &target, PsciReturn::Success));
        call.set("status", status);
        refuse(w, &call, Reply::input())?;
    }
    Ok(())
}

/// A request is completed once.
fn twice(w: &mut World<'_>) -> Outcome {
    let (calling, target) = asking(w)?;
    let call = Call::from(complete(&calling, &target, PsciReturn::Success));
    w.ok(complete(&calling, &target, PsciReturn::Success))?;
    refuse(w, &call, Reply::input())
}

fn wrong_calling(w: &mut World<'_>) -> Outcome {
    wrong_granules(w, base, "calling_rec", State::Rec)
}

fn wrong_target(w: &mut World<'_>) -> Outcome {
    wrong_granules(w, base, "target_rec", State::Rec)
}

contract! {
    PsciComplete, "psci_complete", base;
    conditions {
        alias calling_align calling_bound calling_state target_align target_bound target_state pending
        owner target status
    }
    orders {}
    others {
        success already_on denied denied_but_on affinity_info_states affinity_info_denied other_statuses
        twice wrong_calling wrong_target
    }
}
