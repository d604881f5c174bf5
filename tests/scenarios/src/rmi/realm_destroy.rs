// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! `RMI_REALM_DESTROY`.

use rmi::{Command, CommandId, ExitReason};

use super::common::{BLOCK_1G, State, wrong_granules};
use super::conditions::{rd_align, rd_bound, rd_state};
use crate::check;
use crate::contract::{Call, contract, refuse};
use crate::outcome::{Outcome, Reply};
use crate::port::GRANULE;
use crate::realm::RealmAction;
use crate::world::{Realm, RealmPlan, Rec, Runnable, World};

fn base(w: &mut World<'_>) -> Outcome<Call> {
    let rd = w.realm()?.rd;
    Ok(Command::RealmDestroy { rd }.into())
}

fn realm_live(w: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
    let realm = super::common::realm_of(w, c)?;
    w.table(&realm, 0, 2)?;
    Ok(Reply::realm(0))
}

/// Descriptor and starting tables are unused granules again, and the VMID is free.
fn success(w: &mut World<'_>) -> Outcome {
    let plan = RealmPlan::default().shaped(42, 1, 8);
    let realm = w.realm_with(&plan)?;
    let reply = w.call(Command::RealmDestroy { rd: realm.rd });
    w.check_reply(CommandId::RealmDestroy, reply, Reply::SUCCESS)?;
    w.realms.clear();
    check!(w.is_delegated(realm.rd)?, "the descriptor is still in use");
    for n in 0..realm.roots {
        check!(
            w.is_delegated(realm.root + n * GRANULE)?,
            "table {n} is still in use"
        );
    }
    w.expect(Command::RecAuxCount { rd: realm.rd }, Reply::input())?;
    let again = RealmPlan {
        vmid: Some(realm.vmid),
        ..RealmPlan::default()
    };
    w.realm_with(&again)?;
    Ok(())
}

/// A REC keeps the Realm alive, whatever it does.
fn live_by_rec(w: &mut World<'_>) -> Outcome {
    let call = base(w)?;
    let realm = super::common::realm_of(w, &call)?;
    let rec = w.rec(&realm, Runnable::No)?;
    refuse(w, &call, Reply::realm(0))?;
    w.ok(Command::RecDestroy { rec: rec.rec })?;
    w.destroy_realm(&realm)
}

/// A table in the last entry of the last starting table does too.
fn live_by_last_table(w: &mut World<'_>) -> Outcome {
    let realm = w.realm_with(&RealmPlan::default().shaped(40, 1, 2))?;
    w.table(&realm, realm.end() - crate::entry_bytes(1), 2)?;
    let call = Call::from(Command::RealmDestroy { rd: realm.rd });
    refuse(w, &call, Reply::realm(0))
}

/// Memory of the Host in a starting table does not.
fn not_live_by_unprotected(w: &mut World<'_>) -> Outcome {
    let realm = w.realm()?;
    w.map(&realm, realm.unprotected(), 1, 0x8000_0000)?;
    w.ok(Command::RealmDestroy { rd: realm.rd })?;
    w.realms.clear();
    Ok(())
}

/// What the TLBs know of a Realm that is gone is not the next one's with its VMID: here of memory of the
/// Host in a starting table, which `RMI_REALM_DESTROY` does not ask to be unmapped.
fn vmid_used_again(w: &mut World<'_>) -> Outcome {
    const VALUE: u64 = 0x5EED_1234;
    let page = w.page(&[VALUE; 512])?;
    let (block, offset) = (page & !(BLOCK_1G - 1), page & (BLOCK_1G - 1));
    let (first, rec) = reader(w, None, |w, realm| {
        w.map(realm, realm.unprotected(), 1, block)?;
        Ok(())
    })?;
    let load = RealmAction::Load {
        ipa: first.unprotected() + offset,
    };
    let [value, ..] = w.act_done(&rec, load)?.registers;
    check!(value == VALUE, "the Realm read {value:#x}");
    w.ok(Command::RecDestroy { rec: rec.rec })?;
    w.recs.clear();
    // All but the starting tables, so that the memory of the Host is still mapped at the end.
    w.clear_protected(&first)?;
    w.ok(Command::RealmDestroy { rd: first.rd })?;
    w.realms.clear();
    w.tables.clear();

    let (_, rec) = reader(w, Some(first.vmid), |_, _| Ok(()))?;
    let exit = w.act_exit(&rec, load)?;
    let is_abort = exit.reason() == Some(ExitReason::Sync) && exit.syndrome().is_data_abort();
    check!(is_abort, "exit {}, esr {:#x}", exit.exit_reason, exit.esr);
    Ok(())
}

/// Creates an active Realm with a REC.
fn reader(
    w: &mut World<'_>,
    vmid: Option<u16>,
    prepare: impl FnOnce(&mut World<'_>, &Realm) -> Outcome,
) -> Outcome<(Realm, Rec)> {
    let realm = w.realm_with(&RealmPlan {
        vmid,
        ..RealmPlan::default()
    })?;
    w.load_program(&realm)?;
    prepare(w, &realm)?;
    let rec = w.rec(&realm, Runnable::Yes)?;
    w.activate(&realm)?;
    Ok((realm, rec))
}

/// An active Realm and one that is off can be destroyed too.
fn in_every_state(w: &mut World<'_>) -> Outcome {
    let active = w.realm()?;
    w.activate(&active)?;
    w.destroy_realm(&active)?;
    let (off, rec) = w.running_realm()?;
    w.system_off(&rec)?;
    w.ok(Command::RecDestroy { rec: rec.rec })?;
    w.destroy_realm(&off)
}

fn wrong_rd(w: &mut World<'_>) -> Outcome {
    wrong_granules(w, base, "rd", State::Rd)
}

contract! {
    RealmDestroy, "realm_destroy", base;
    conditions { rd_align rd_bound rd_state realm_live }
    orders { rd_bound < realm_live rd_state < realm_live }
    others {
        success live_by_rec live_by_last_table not_live_by_unprotected vmid_used_again in_every_state wrong_rd
    }
}
