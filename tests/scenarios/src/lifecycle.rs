// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The lives of Realms, RECs, granules, RIPAS and power, across commands.

use rmi::psci::{self, PsciReturn};
use rmi::{Command, CommandId, EnterFlags, ExitReason, RecEnter};

use crate::check;
use crate::outcome::{Outcome, Reply};
use crate::port::GRANULE;
use crate::realm::{PROGRAM_BASE, RealmAction};
use crate::scenario::{Kind, Scenario};
use crate::world::{Realm, RealmPlan, Rec, Runnable, Step, World, entry_bytes};

/// What these scenarios prove.
pub(crate) const SCENARIOS: &[Scenario] = &[
    row(CommandId::RealmActivate, "lifecycle_realm", realm),
    row(
        CommandId::RealmActivate,
        "lifecycle_realm_reset",
        realm_reset,
    ),
    row(CommandId::RealmCreate, "lifecycle_realm_again", realm_again),
    row(CommandId::RecCreate, "lifecycle_rec", rec),
    row(CommandId::GranuleDelegate, "lifecycle_granule", granule),
    row(CommandId::DataDestroy, "lifecycle_data", data),
    row(CommandId::RttSetRipas, "lifecycle_ripas", ripas),
    row(
        CommandId::RttSetRipas,
        "lifecycle_ripas_destroyed",
        ripas_destroyed,
    ),
    row(CommandId::PsciComplete, "lifecycle_psci", psci_states),
];

const fn row(
    command: CommandId,
    name: &'static str,
    run: fn(&mut World<'_>) -> Outcome,
) -> Scenario {
    Scenario {
        name,
        command,
        kind: Kind::Lifecycle,
        run,
    }
}

const EMPTY: u64 = 0;
const RAM: u64 = 1;
const DESTROYED: u64 = 2;

/// Free pages of a Realm of [`World::load_program`], below the program.
const PAGE: u64 = 0x4000;

/// A Realm is built, runs, is off, and goes.
fn realm(w: &mut World<'_>) -> Outcome {
    life(w, psci::FID_SYSTEM_OFF)
}

/// SYSTEM_RESET ends it too: nothing starts a Realm again.
fn realm_reset(w: &mut World<'_>) -> Outcome {
    life(w, psci::FID_SYSTEM_RESET)
}

fn life(w: &mut World<'_>, end: u64) -> Outcome {
    let realm = w.realm()?;
    w.load_program(&realm)?;
    let rec = w.rec(&realm, Runnable::Yes)?;
    building(w, &realm, &rec)?;
    w.activate(&realm)?;
    built(w, &realm, &rec, Reply::SUCCESS)?;
    let exit = w.act_exit(&rec, RealmAction::smc(&[end]))?;
    check!(
        exit.reason() == Some(ExitReason::Psci),
        "exit {}",
        exit.exit_reason
    );
    check!(exit.gprs[0] == end, "x0 {:#x}", exit.gprs[0]);
    built(w, &realm, &rec, Reply::realm(1))?;
    let rd = realm.rd;
    w.expect(Command::RealmDestroy { rd }, Reply::realm(0))?;
    w.ok(Command::RecDestroy { rec: rec.rec })?;
    w.expect(Command::RealmDestroy { rd }, Reply::realm(0))?;
    w.destroy_realm(&realm)?;
    w.expect(Command::RealmActivate { rd }, Reply::input())?;
    check!(w.is_delegated(rd)?, "the descriptor is in use");
    check!(w.is_delegated(realm.root)?, "the table is in use");
    Ok(())
}

/// What a Realm that is being built lets the Host do.
fn building(w: &mut World<'_>, realm: &Realm, rec: &Rec) -> Outcome {
    w.init_ripas(realm, PAGE, PAGE + GRANULE)?;
    w.data(realm, PAGE + GRANULE, &[7; 4096])?;
    w.expect(entering(rec), Reply::realm(0))?;
    any_time(w, realm)
}

/// What it does not let the Host do later; `entered` is what an entry comes to.
fn built(w: &mut World<'_>, realm: &Realm, rec: &Rec, entered: Reply) -> Outcome {
    let rd = realm.rd;
    w.expect(Command::RealmActivate { rd }, Reply::realm(0))?;
    let (base, top) = (PAGE, PAGE + GRANULE);
    w.expect(Command::RttInitRipas { rd, base, top }, Reply::realm(0))?;
    let (data, src) = (w.delegated()?, w.granule()?);
    let (ipa, flags) = (PAGE, 0);
    let create = Command::DataCreate {
        rd,
        data,
        ipa,
        src,
        flags,
    };
    w.expect(create, Reply::realm(0))?;
    let params = w.rec_params(realm, 1, Runnable::Yes)?;
    let (rec_granule, params_ptr) = (w.delegated()?, w.page(&params)?);
    let create = Command::RecCreate {
        rd,
        rec: rec_granule,
        params_ptr,
    };
    w.expect(create, Reply::realm(0))?;
    w.expect(entering(rec), entered)?;
    any_time(w, realm)
}

/// What does not depend on where a Realm is in its life.
fn any_time(w: &mut World<'_>, realm: &Realm) -> Outcome {
    let (rd, block) = (realm.rd, 3 * entry_bytes(2));
    let table = w.table(realm, block, 3)?;
    let data = w.data_unknown(realm, block)?;
    let destroyed = w.ok(Command::DataDestroy { rd, ipa: block })?;
    check!(destroyed.output(1) == data, "{destroyed:?}");
    let (ipa, level) = (block, 3);
    let folded = w.ok(Command::RttDestroy { rd, ipa, level })?;
    check!(folded.output(1) == table, "{folded:?}");
    w.tables.retain(|known| known.ipa != block);
    let ipa = realm.unprotected() + entry_bytes(1);
    w.map(realm, ipa, 1, 0)?;
    let level = 1;
    w.ok(Command::RttUnmapUnprotected { rd, ipa, level })?;
    w.ok(Command::RecAuxCount { rd })?;
    Ok(())
}

fn entering(rec: &Rec) -> Command {
    Command::RecEnter {
        rec: rec.rec,
        run_ptr: rec.run,
    }
}

/// The same granules and VMID serve one Realm after another, and nothing is left of the one before.
fn realm_again(w: &mut World<'_>) -> Outcome {
    let (create, realm) = w.prepare_realm(&RealmPlan::default())?;
    let rd = realm.rd;
    let data = w.delegated()?;
    for _ in 0..3 {
        w.ok(create)?;
        w.realms.push(realm);
        w.check_entry(&realm, 0, 1, [1, 0, 0, EMPTY])?;
        w.check_entry(&realm, realm.unprotected(), 1, [1, 0, 0, 0])?;
        // The index of the first REC is 0 again.
        let rec = w.rec(&realm, Runnable::Yes)?;
        w.tables(&realm, 0, 3)?;
        let ipa = 0;
        w.ok(Command::DataCreateUnknown { rd, data, ipa })?;
        w.map(&realm, realm.unprotected(), 1, 0)?;
        w.activate(&realm)?;
        w.ok(Command::RecDestroy { rec: rec.rec })?;
        w.recs.retain(|(_, known)| known.rec != rec.rec);
        w.destroy_realm(&realm)?;
        check!(w.is_delegated(data)?, "the page is in use");
    }
    Ok(())
}

/// A REC is off, is turned on, turns itself off, comes back, and goes; its index is never used again.
fn rec(w: &mut World<'_>) -> Outcome {
    let ((realm, first), second) = w.two_rec_realm()?;
    for context in [0x11, 0x22] {
        w.expect(entering(&second), Reply::rec())?;
        w.cpu_on(&first, 1, PROGRAM_BASE, context)?;
        w.expect(entering(&first), Reply::rec())?;
        complete(w, &first, &second, PsciReturn::Success, Reply::SUCCESS)?;
        check!(answer(w, &first)? == 0, "CPU_ON failed");
        let result = w.act_done(&second, RealmAction::smc(&[0xC400_0190, 0x1_0000]))?;
        check!(result.registers[0] == 0, "{result:x?}");
        let off = w.act_exit(&second, RealmAction::smc(&[psci::FID_CPU_OFF]))?;
        check!(off.gprs[0] == psci::FID_CPU_OFF, "x0 {:#x}", off.gprs[0]);
    }
    w.ok(Command::RecDestroy { rec: second.rec })?;
    w.recs.retain(|(_, known)| known.rec != second.rec);
    check!(w.is_delegated(second.rec)?, "the REC is in use");
    w.expect(entering(&second), Reply::input())?;
    let rd = realm.rd;
    w.expect(Command::RealmDestroy { rd }, Reply::realm(0))?;
    // A new Realm counts on past a REC that is gone.
    let realm = w.realm()?;
    let gone = w.rec(&realm, Runnable::No)?;
    w.ok(Command::RecDestroy { rec: gone.rec })?;
    let (rd, rec) = (realm.rd, gone.rec);
    for (index, wanted) in [(0, Reply::input()), (1, Reply::SUCCESS)] {
        let params = w.rec_params(&realm, index, Runnable::No)?;
        let params_ptr = w.page(&params)?;
        let create = Command::RecCreate {
            rd,
            rec,
            params_ptr,
        };
        w.expect(create, wanted)?;
    }
    Ok(())
}

/// A granule goes through every use and back; in each, only what belongs to it works.
fn granule(w: &mut World<'_>) -> Outcome {
    let (create, realm) = w.prepare_realm(&RealmPlan::default())?;
    let (rd, addr) = (realm.rd, w.granule()?);
    w.ok(create)?;
    w.realms.push(realm);
    w.tables(&realm, 0, 2)?;
    let rtt = addr;
    let (delegate, undelegate) = (
        Command::GranuleDelegate { addr },
        Command::GranuleUndelegate { addr },
    );
    w.expect(undelegate, Reply::input())?;
    w.delegate(addr)?;
    let in_use = |w: &mut World<'_>, what: &str| -> Outcome {
        w.expect(delegate, Reply::input())?;
        w.expect(undelegate, Reply::input())?;
        check!(
            !w.is_delegated(addr)?,
            "a granule in use as {what} is unused"
        );
        Ok(())
    };
    let (ipa, level) = (0, 3);
    w.ok(Command::RttCreate {
        rd,
        rtt,
        ipa,
        level,
    })?;
    in_use(w, "a table")?;
    w.ok(Command::RttDestroy { rd, ipa, level })?;
    w.ok(Command::RttCreate {
        rd,
        rtt,
        ipa,
        level,
    })?;
    let folded = w.ok(Command::RttFold { rd, ipa, level })?;
    check!(folded.output(1) == addr, "{folded:?}");
    w.tables(&realm, 0, 3)?;
    let data = addr;
    w.ok(Command::DataCreateUnknown { rd, data, ipa })?;
    in_use(w, "a page")?;
    w.ok(Command::DataDestroy { rd, ipa })?;
    let params = w.rec_params(&realm, 0, Runnable::No)?;
    let (rec, params_ptr) = (addr, w.page(&params)?);
    w.ok(Command::RecCreate {
        rd,
        rec,
        params_ptr,
    })?;
    in_use(w, "a REC")?;
    w.ok(Command::RecDestroy { rec })?;
    let (create, other) = w.prepare_realm(&RealmPlan::default())?;
    let create = match create {
        Command::RealmCreate { params_ptr, .. } => Command::RealmCreate {
            rd: addr,
            params_ptr,
        },
        create => create,
    };
    w.ok(create)?;
    in_use(w, "a descriptor")?;
    w.expect(Command::RealmDestroy { rd: other.rd }, Reply::input())?;
    w.ok(Command::RealmDestroy { rd: addr })?;
    w.expect(delegate, Reply::input())?;
    w.undelegate(addr)?;
    w.expect(undelegate, Reply::input())?;
    let mut page = [0xFF; 4096];
    check!(w.port.read(addr, &mut page).is_ok(), "not the Host's");
    check!(page == [0; 4096], "something is left in the granule");
    Ok(())
}

/// What one Realm wrote into a page the next one does not find there.
fn data(w: &mut World<'_>) -> Outcome {
    let secret = 0x5EC2_E700_1234_5678;
    let (granule, mut found) = (w.delegated()?, 0);
    for _ in 0..2 {
        let realm = w.realm()?;
        w.load_program(&realm)?;
        w.init_ripas(&realm, PAGE, PAGE + GRANULE)?;
        let (rd, data, ipa) = (realm.rd, granule, PAGE);
        w.ok(Command::DataCreateUnknown { rd, data, ipa })?;
        let rec = w.rec(&realm, Runnable::Yes)?;
        w.activate(&realm)?;
        let ipa = PAGE + 0x128;
        found = w.act_done(&rec, RealmAction::Load { ipa })?.registers[0];
        let value = secret;
        w.act_done(&rec, RealmAction::Store { ipa, value })?;
        w.ok(Command::RecDestroy { rec: rec.rec })?;
        w.recs.clear();
        w.destroy_realm(&realm)?;
    }
    check!(found != secret, "a Realm reads what another one wrote");
    Ok(())
}

/// Says what an access of the Realm comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    Value(u64),
    /// The Realm takes an abort.
    Own,
    /// The Host hears of it.
    Host,
}

fn access(w: &mut World<'_>, rec: &Rec, ipa: u64) -> Outcome<Access> {
    Ok(match w.act(rec, RealmAction::Load { ipa })? {
        Step::Done(result) if result.exception.is_some() => Access::Own,
        Step::Done(result) => Access::Value(result.registers[0]),
        Step::Exit(exit) => {
            check!(exit.hpfar == ipa >> 12 << 4, "hpfar {:#x}", exit.hpfar);
            Access::Host
        }
    })
}

/// A page becomes memory and stops being memory as the Realm asks; its contents stay.
fn ripas(w: &mut World<'_>) -> Outcome {
    let (realm, rec) = w.running_realm()?;
    let rd = realm.rd;
    w.check_entry(&realm, PAGE, 3, [3, 0, 0, EMPTY])?;
    check!(
        access(w, &rec, PAGE)? == Access::Own,
        "EMPTY is not the Realm's abort"
    );
    let data = w.data_unknown(&realm, PAGE)?;
    w.check_entry(&realm, PAGE, 3, [3, 1, data, EMPTY])?;
    check!(
        access(w, &rec, PAGE)? == Access::Own,
        "EMPTY is not the Realm's abort"
    );
    w.change_ripas(&realm, &rec, PAGE, PAGE + GRANULE, RAM)?;
    w.check_entry(&realm, PAGE, 3, [3, 1, data, RAM])?;
    let (ipa, value) = (PAGE, 0x77);
    w.act_done(&rec, RealmAction::Store { ipa, value })?;
    w.change_ripas(&realm, &rec, PAGE, PAGE + GRANULE, EMPTY)?;
    w.check_entry(&realm, PAGE, 3, [3, 1, data, EMPTY])?;
    check!(
        access(w, &rec, PAGE)? == Access::Own,
        "EMPTY is not the Realm's abort"
    );
    w.change_ripas(&realm, &rec, PAGE, PAGE + GRANULE, RAM)?;
    let read = access(w, &rec, PAGE)?;
    check!(read == Access::Value(value), "{read:x?}");
    w.ok(Command::DataDestroy { rd, ipa })?;
    w.check_entry(&realm, PAGE, 3, [3, 0, 0, DESTROYED])?;
    check!(
        access(w, &rec, PAGE)? == Access::Host,
        "DESTROYED is not the Host's"
    );
    Ok(())
}

/// What the Host destroyed is memory again only if the Realm lets it.
fn ripas_destroyed(w: &mut World<'_>) -> Outcome {
    let realm = w.realm()?;
    w.load_program(&realm)?;
    w.init_ripas(&realm, PAGE, PAGE + GRANULE)?;
    w.data_unknown(&realm, PAGE)?;
    let rec = w.rec(&realm, Runnable::Yes)?;
    w.activate(&realm)?;
    let (rd, ipa) = (realm.rd, PAGE);
    w.ok(Command::DataDestroy { rd, ipa })?;
    let data = w.data_unknown(&realm, PAGE)?;
    w.check_entry(&realm, PAGE, 3, [3, 1, data, DESTROYED])?;
    // The Realm's answer to "again" is no.
    let (base, top) = (PAGE, PAGE + GRANULE);
    w.ripas_request(&rec, base, top, RAM, 0)?;
    let serve = Command::RttSetRipas {
        rd,
        rec: rec.rec,
        base,
        top,
    };
    w.expect(serve, Reply::rtt(3))?;
    let (status, reached, response) = w.ripas_answer(&rec, EnterFlags::RIPAS_REJECT)?;
    check!(
        (status, reached, response) == (0, PAGE, 1),
        "{status} {reached:#x} {response}"
    );
    w.check_entry(&realm, PAGE, 3, [3, 1, data, DESTROYED])?;
    // And then yes.
    w.change_ripas(&realm, &rec, base, top, RAM)?;
    w.check_entry(&realm, PAGE, 3, [3, 1, data, RAM])?;
    let read = access(w, &rec, PAGE)?;
    check!(read == Access::Value(0), "{read:x?}");
    // Late: the request is over.
    w.expect(serve, Reply::input())
}

/// The power of a REC as another one sees it, from off through on and back.
fn psci_states(w: &mut World<'_>) -> Outcome {
    let ((_, first), second) = w.two_rec_realm()?;
    check!(
        affinity(w, &first, &second)? == 1,
        "a REC that is off is not OFF"
    );
    w.cpu_on(&first, 1, PROGRAM_BASE, 0)?;
    complete(w, &first, &second, PsciReturn::Denied, Reply::SUCCESS)?;
    let denied = PsciReturn::Denied.to_register();
    check!(answer(w, &first)? == denied, "the Host's no is not a no");
    check!(
        affinity(w, &first, &second)? == 1,
        "a denied REC is not OFF"
    );
    w.cpu_on(&first, 1, PROGRAM_BASE, 0)?;
    complete(w, &first, &second, PsciReturn::Success, Reply::SUCCESS)?;
    check!(answer(w, &first)? == 0, "CPU_ON failed");
    check!(
        affinity(w, &first, &second)? == 0,
        "a REC that is on is not ON"
    );
    w.cpu_on(&first, 1, PROGRAM_BASE, 0)?;
    complete(w, &first, &second, PsciReturn::Denied, Reply::input())?;
    complete(w, &first, &second, PsciReturn::Success, Reply::SUCCESS)?;
    let already_on = PsciReturn::AlreadyOn.to_register();
    check!(answer(w, &first)? == already_on, "a REC is turned on twice");
    w.act_exit(&second, RealmAction::smc(&[psci::FID_CPU_OFF]))?;
    check!(
        affinity(w, &first, &second)? == 1,
        "a REC that went off is not OFF"
    );
    Ok(())
}

/// AFFINITY_INFO of the second REC, with the Host's part in it.
fn affinity(w: &mut World<'_>, first: &Rec, second: &Rec) -> Outcome<u64> {
    let call = [psci::FID_AFFINITY_INFO_64, second.index, 0];
    w.act_exit(first, RealmAction::smc(&call))?;
    complete(w, first, second, PsciReturn::Success, Reply::SUCCESS)?;
    answer(w, first)
}

fn complete(
    w: &mut World<'_>,
    calling: &Rec,
    target: &Rec,
    status: PsciReturn,
    wanted: Reply,
) -> Outcome {
    let command = Command::PsciComplete {
        calling_rec: calling.rec,
        target_rec: target.rec,
        status: status.to_register(),
    };
    w.expect(command, wanted)
}

/// Lets the REC see the answer to its call.
fn answer(w: &mut World<'_>, rec: &Rec) -> Outcome<u64> {
    match w.resume(rec, &RecEnter::default())? {
        Step::Done(result) => Ok(result.registers[0]),
        Step::Exit(exit) => {
            check!(false, "exit {}", exit.exit_reason);
            unreachable!("checked")
        }
    }
}
